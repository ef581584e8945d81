"""Importing pictures with masks beside them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from refusal import codes_and_paths, refused
from scripts import cut_off, save_as, snapshot

from import_dataset import Config, main
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_mask
from utils.importing.pairs import MASK_SUFFIXES, bare_name, find_pairs
from utils.voc.folder import VocFolder

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
MASK = RNG.integers(0, 3, (12, 16), dtype=np.uint8)
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)[MASK]


def pairs(tmp_path, **settings):
    return Config(**{"images": tmp_path / "in", "voc_root": tmp_path / "voc", **settings})


@pytest.mark.parametrize("suffix", MASK_SUFFIXES.split())
def test_pairs_in_one_folder(tmp_path, suffix, capsys):
    for name in ("a.b", "图 1"):
        save_as(tmp_path / "in" / f"{name}.bmp", PICTURE)
        save_as(tmp_path / "in" / f"{name}{suffix.upper()}.BMP", MASK)
    main(pairs(tmp_path))
    folder = VocFolder(tmp_path / "voc")
    assert sorted(folder.images) == ["a.b", "图 1"]
    assert folder.image_path("a.b").read_bytes() == (tmp_path / "in" / "a.b.bmp").read_bytes()
    for name in folder.images:
        np.testing.assert_array_equal(read_mask(folder.mask_path(name)), MASK)
        assert Image.open(folder.mask_path(name)).mode == "P"
    output = capsys.readouterr().out
    assert "2 pairs: 4 files written, 0 there already" in output
    assert f"next: python voc2unet.py --voc-root {tmp_path / 'voc'}" in output


def test_pairs_in_two_folders_twice(tmp_path, capsys):
    save_as(tmp_path / "in" / "a.JPG", PICTURE, "JPEG")
    save_as(tmp_path / "in" / "b_mask.png", PICTURE)
    save_as(tmp_path / "in" / "alone.png", PICTURE)
    save_as(tmp_path / "masks" / "a_label.tif", MASK)
    save_as(tmp_path / "masks" / "b_mask.png", MASK)
    save_as(tmp_path / "masks" / "orphan_GT.png", MASK)
    config = pairs(tmp_path, masks=tmp_path / "masks")
    main(config)
    files = snapshot(tmp_path / "voc")
    assert sorted(files) == [f"{part}/{n}" for part in ("JPEGImages",) for n in ("a.JPG", "b_mask.png")] + [
        f"SegmentationClass/{name}.png" for name in ("a", "b_mask")
    ]
    error = capsys.readouterr().err
    assert all(name in error for name in ("alone.png", "orphan_GT.png"))
    main(config)
    assert "2 pairs: 0 files written, 4 there already" in capsys.readouterr().out
    assert snapshot(tmp_path / "voc") == files


def test_links(tmp_path):
    save_as(tmp_path / "in" / "a.png", PICTURE)
    save_as(tmp_path / "in" / "a_mask.png", MASK)
    main(pairs(tmp_path, link=True))
    main(pairs(tmp_path, link=True))
    assert (tmp_path / "voc" / "JPEGImages" / "a.png").samefile(tmp_path / "in" / "a.png")
    assert not (tmp_path / "voc" / "SegmentationClass" / "a.png").samefile(tmp_path / "in" / "a_mask.png")


def test_disk_without_links(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(18, "Invalid cross-device link")

    save_as(tmp_path / "in" / "a.png", PICTURE)
    save_as(tmp_path / "in" / "a_mask.png", MASK)
    monkeypatch.setattr("os.link", refuse)
    (error,) = refused(tmp_path, main, pairs(tmp_path, link=True))
    assert codes_and_paths([error]) == [("hard-link", str(tmp_path / "voc" / "JPEGImages" / "a.png"))]


@pytest.mark.parametrize("ending", ["bmp", "png"])
def test_coloured_masks_are_kept_for_the_doctor(tmp_path, ending, capsys):
    save_as(tmp_path / "in" / f"x.{ending}", PICTURE)
    save_as(tmp_path / "in" / f"x_GT.{ending}", COLOURS)
    for _ in range(2):
        main(pairs(tmp_path))
        np.testing.assert_array_equal(read_image(tmp_path / "voc" / "SegmentationClass" / "x.png"), COLOURS)
    error = capsys.readouterr().err
    assert f"x_GT.{ending}" in error
    assert "voc2unet.py" in error


@pytest.mark.parametrize("above", [False, True])
def test_layout_of_paddleseg(tmp_path, above):
    images = tmp_path / "in" / "images" if above else tmp_path / "in"
    save_as(images / "a.jpg", PICTURE)
    save_as(tmp_path / "in" / "annotations" / "a.png", MASK)
    (tmp_path / "in" / "class_names.txt").write_text("_background_\n细胞\nb", encoding="utf-8")
    main(pairs(tmp_path, images=images, masks=tmp_path / "in" / "annotations" if above else None))
    assert VocFolder(tmp_path / "voc").read_class_names() == ["_background_", "细胞", "b"]
    (tmp_path / "in" / "class_names.txt").write_text("_background_\nother\nb", encoding="utf-8")
    again = pairs(tmp_path, images=images, masks=tmp_path / "in" / "annotations")
    errors = refused(tmp_path, main, again)
    assert codes_and_paths(errors) == [("content-differs", str(tmp_path / "voc" / "class_names.txt"))]


@pytest.mark.parametrize(
    ("names", "masks", "code", "named"),
    [
        (["x.bmp", "x.JPG"], ["x.png"], "name-twice", ["x.bmp", "x.JPG"]),
        (["x.bmp"], ["x.png", "x_GT.bmp"], "name-twice", ["x.png", "x_GT.bmp"]),
        (["x.bmp"], ["y.png"], "no-pairs", []),
        ([], [], "no-pairs", []),
    ],
)
def test_names_that_do_not_pair(tmp_path, names, masks, code, named):
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    for name in names:
        save_as(tmp_path / "in" / name, PICTURE)
    for name in masks:
        save_as(tmp_path / "masks" / name, MASK)
    (error,) = refused(tmp_path, main, pairs(tmp_path, masks=tmp_path / "masks"))
    assert error.code == code
    assert all(name in error.found for name in named)


def test_two_endings_in_one_folder(tmp_path):
    save_as(tmp_path / "in" / "x.jpg", PICTURE)
    save_as(tmp_path / "in" / "x.png", MASK)
    (error,) = refused(tmp_path, main, pairs(tmp_path))
    assert codes_and_paths([error]) == [("name-twice", str(tmp_path / "in"))]
    assert "x.jpg" in error.found
    assert "--masks" in error.remedy


def test_all_faulty_pairs_are_listed(tmp_path):
    for name in ("cut", "jpeg", "deep", "small", "empty", "fine"):
        save_as(tmp_path / "in" / f"{name}.png", PICTURE)
        save_as(tmp_path / "masks" / f"{name}.png", MASK)
    cut_off(tmp_path / "in" / "cut.png")
    save_as(tmp_path / "masks" / "jpeg.png", COLOURS, "JPEG")
    save_as(tmp_path / "masks" / "deep.png", MASK.astype(np.uint16) * 300)
    save_as(tmp_path / "masks" / "small.png", MASK[1:])
    (tmp_path / "masks" / "empty.png").write_bytes(b"")
    errors = refused(tmp_path, main, pairs(tmp_path, masks=tmp_path / "masks"))
    expected = {
        "in/cut.png": "picture-damaged",
        "masks/deep.png": "mask-channels",
        "masks/empty.png": "file-empty",
        "masks/jpeg.png": "mask-jpeg",
        "masks/small.png": "mask-size",
    }
    found = {error.subject: error.code for error in errors}
    assert found == {str(tmp_path / path): code for path, code in expected.items()}


def test_nothing_is_written_over(tmp_path):
    for name in "abc":
        save_as(tmp_path / "in" / f"{name}.png", PICTURE)
        save_as(tmp_path / "in" / f"{name}_mask.png", MASK)
    save_as(tmp_path / "voc" / "JPEGImages" / "a.png", PICTURE[::-1])
    save_as(tmp_path / "voc" / "JPEGImages" / "b.bmp", PICTURE)
    write_mask(tmp_path / "voc" / "SegmentationClass" / "c.png", MASK[::-1])
    places = ["JPEGImages/a.png", "JPEGImages/b.bmp", "SegmentationClass/c.png"]
    errors = refused(tmp_path, main, pairs(tmp_path))
    assert codes_and_paths(errors) == [("content-differs", str(tmp_path / "voc" / at)) for at in places]


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=9)
)
def test_every_name_is_found_in_its_mask_name(stem):
    for suffix in MASK_SUFFIXES.split():
        assert bare_name(stem + suffix) == (stem.rstrip() or stem[0])
    assert bare_name(f"{stem}_other") is None


@pytest.mark.parametrize("truth", [MASK, COLOURS])
def test_more_pictures_come_in_after_mending(tmp_path, truth, capsys):
    save_as(tmp_path / "in" / "a.png", PICTURE)
    save_as(tmp_path / "in" / "a_mask.png", truth)
    main(pairs(tmp_path))
    masks = tmp_path / "voc" / "SegmentationClass"
    (tmp_path / "voc" / "SegmentationClass.orig").mkdir()
    (masks / "a.png").replace(tmp_path / "voc" / "SegmentationClass.orig" / "a.png")
    write_mask(masks / "a.png", 2 - MASK)
    save_as(tmp_path / "in" / "b.png", PICTURE)
    save_as(tmp_path / "in" / "b_mask.png", truth)
    main(pairs(tmp_path))
    assert "2 pairs: 2 files written, 2 there already" in capsys.readouterr().out
    np.testing.assert_array_equal(read_mask(masks / "a.png"), 2 - MASK)


def test_pairs_are_found_without_reading_files(tmp_path):
    (tmp_path / "._a.png").write_bytes(b"")
    for name in ("a.png", "a_mask.png", "a_mask_x.png"):
        (tmp_path / name).write_bytes(b"")
    assert find_pairs(tmp_path, tmp_path) == {"a": (tmp_path / "a.png", tmp_path / "a_mask.png")}


def test_class_names_with_an_empty_line_are_refused_instead_of_moving_up(tmp_path):
    for name in ("a", "b"):
        save_as(tmp_path / "in" / f"{name}.png", PICTURE)
        write_mask(tmp_path / "masks" / f"{name}.png", MASK)
    (tmp_path / "masks" / "class_names.txt").write_text("background\n\ncell\nnucleus\n", encoding="utf-8")
    (error,) = refused(tmp_path, main, pairs(tmp_path, masks=tmp_path / "masks"))
    assert error.subject == str(tmp_path / "masks" / "class_names.txt")
