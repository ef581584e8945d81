"""import_dataset.py with pairs of files: data that are there already, other types, masks for the doctor."""

import re
import shlex
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tyro
from doctor_folder import check, draw_objects, find_fault, noise, obey
from refusal import codes_and_paths, refused
from scripts import save_as, snapshot

from import_dataset import Config, main
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_mask
from utils.importing.pairs import find_pairs
from utils.voc.folder import VocFolder

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
MASK = RNG.integers(0, 3, (12, 16), dtype=np.uint8)
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)[MASK]


def pairs(tmp_path, **settings):
    return Config(**{"images": tmp_path / "in", "voc_root": tmp_path / "voc", **settings})


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
    assert find_pairs(tmp_path, tmp_path) == [("a", tmp_path / "a.png", tmp_path / "a_mask.png", None)]


def test_class_names_with_an_empty_line_are_refused_instead_of_moving_up(tmp_path):
    for name in ("a", "b"):
        save_as(tmp_path / "in" / f"{name}.png", PICTURE)
        write_mask(tmp_path / "masks" / f"{name}.png", MASK)
    (tmp_path / "masks" / "class_names.txt").write_text("background\n\ncell\nnucleus\n", encoding="utf-8")
    (error,) = refused(tmp_path, main, pairs(tmp_path, masks=tmp_path / "masks"))
    assert error.subject == str(tmp_path / "masks" / "class_names.txt")


@pytest.mark.parametrize("name", ["a.dcm", "a.nii.gz", "a.npy", "a.czi"])
def test_types_that_are_not_read_are_named(tmp_path, name, capsys):
    save_as(tmp_path / "in" / "a_mask.png", MASK)
    (tmp_path / "in" / name).write_bytes(b"\0" * 200)
    (error,) = refused(tmp_path, main, pairs(tmp_path))
    assert error.code == "no-pairs" and name in error.remedy
    save_as(tmp_path / "in" / "b.png", PICTURE)
    save_as(tmp_path / "in" / "b_mask.png", MASK)
    main(pairs(tmp_path))
    assert name in capsys.readouterr().err


def test_the_way_out_for_numpy_arrays_converts_the_whole_folder(tmp_path, capsys):
    values = {"a": MASK, "b": MASK[::-1].astype(np.int64)}
    for name, mask in values.items():
        for place, array in (("images", PICTURE + mask[..., None].astype(np.uint8)), ("masks", mask)):
            (tmp_path / "in $" / place).mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / "in $" / place / f"{name}.npy", array)
    settings = Config(input=tmp_path / "in $", voc_root=tmp_path / "voc")
    (error,) = refused(tmp_path, main, settings)
    assert error.code == "input-unknown"
    _, *arguments = shlex.split(re.search(r"\((python .*)\)$", error.remedy)[1])
    subprocess.run([sys.executable, *arguments], check=True, timeout=60)
    capsys.readouterr()
    main(settings)
    assert "NumPy" not in capsys.readouterr().err
    check(VocFolder(tmp_path / "voc"), fix=True)
    for name, mask in values.items():
        picture = read_image(tmp_path / "voc" / "JPEGImages" / f"{name}.tif")
        np.testing.assert_array_equal(picture, PICTURE + mask[..., None].astype(np.uint8))
        np.testing.assert_array_equal(read_mask(tmp_path / "voc" / "SegmentationClass" / f"{name}.png"), mask)


def test_names_that_folders_do_not_tell_apart(tmp_path):
    for path in ("a/b/x", "a_b/x", "c/x"):
        save_as(tmp_path / "in" / f"{path}.png", PICTURE)
        save_as(tmp_path / "in" / f"{path}_mask.png", MASK)
    (error,) = refused(tmp_path, main, pairs(tmp_path))
    assert error.code == "name-twice" and "a_b_x" in error.found


def test_masks_of_the_shape_of_their_pictures_are_brought_to_the_doctor(tmp_path):
    save_as(tmp_path / "in" / "x.png", np.kron(PICTURE, np.ones((4, 4, 1), np.uint8)))
    save_as(tmp_path / "in" / "x_mask.png", np.kron(MASK, np.ones((2, 2), np.uint8)))
    main(pairs(tmp_path))
    assert read_mask(tmp_path / "voc" / "SegmentationClass" / "x.png").shape == (24, 32)


def test_masks_that_an_earlier_version_wrote_are_known(tmp_path):
    save_as(tmp_path / "in" / "x.png", PICTURE)
    write_mask(tmp_path / "in" / "x_mask.png", MASK)
    save_as(tmp_path / "voc" / "JPEGImages" / "x.png", PICTURE)
    save_as(tmp_path / "voc" / "SegmentationClass" / "x.png", MASK)
    (tmp_path / "voc" / "JPEGImages" / "x.png").write_bytes((tmp_path / "in" / "x.png").read_bytes())
    before = snapshot(tmp_path)
    main(pairs(tmp_path))
    (tmp_path / "voc" / "import_record.json").unlink()
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("mended", [False, True])
def test_corrected_masks_replace_the_old_ones_when_asked(tmp_path, mended, without_drawing, capsys):
    for name in "ab":
        save_as(tmp_path / "in" / f"{name}.png", PICTURE)
        save_as(tmp_path / "in" / f"{name}_mask.png", MASK * np.uint8(100))
    config, voc = pairs(tmp_path), VocFolder(tmp_path / "voc")
    main(config)
    if mended:
        check(voc, map="0:0,100:1,200:2")
    save_as(tmp_path / "in" / "a_mask.png", (2 - MASK) * np.uint8(100))
    (voc.root / "import_record.json").unlink()  # so that no import is known to have written them
    (error,) = refused(tmp_path, main, config)
    assert error.code == "content-differs" and "--overwrite" in error.remedy
    capsys.readouterr()
    old = snapshot(voc.root)
    main(replace(config, overwrite=True))
    said = capsys.readouterr()
    assert "1 updated" in said.out
    np.testing.assert_array_equal(read_mask(voc.mask_path("a")), (2 - MASK) * 100)
    assert old["SegmentationClass/b.png"] == voc.mask_path("b").read_bytes()
    kept = snapshot(voc.root / "set_aside" / "1")
    assert kept["SegmentationClass/a.png"] == old["SegmentationClass/a.png"]
    if mended:
        command = shlex.split(said.err.split("too: ")[1])
        check(VocFolder(voc.root), map=command[-1])
        np.testing.assert_array_equal(read_mask(voc.mask_path("a")), 2 - MASK)
        np.testing.assert_array_equal(read_mask(voc.mask_path("b")), MASK)
    files = snapshot(tmp_path)
    main(config)
    assert snapshot(tmp_path) == files


def test_a_picture_of_another_ending_is_replaced_when_asked(tmp_path):
    save_as(tmp_path / "in" / "a.png", PICTURE)
    save_as(tmp_path / "in" / "a_mask.png", MASK)
    save_as(tmp_path / "voc" / "JPEGImages" / "a.bmp", PICTURE[::-1])
    main(pairs(tmp_path, overwrite=True))
    assert [path.name for path in (tmp_path / "voc" / "JPEGImages").iterdir()] == ["a.png"]
    assert (tmp_path / "voc" / "set_aside" / "1" / "JPEGImages" / "a.bmp").is_file()


def test_a_folder_of_masks_beside_that_of_pictures_is_proposed(tmp_path):
    save_as(tmp_path / "data" / "images" / "a.png", PICTURE)
    save_as(tmp_path / "data" / "masks" / "a.png", MASK)
    (error,) = refused(tmp_path, main, pairs(tmp_path, images=tmp_path / "data" / "images"))
    assert error.code == "no-pairs"
    main(tyro.cli(Config, args=[*shlex.split(error.remedy)[2:], "--voc-root", str(tmp_path / "voc")]))
    np.testing.assert_array_equal(read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png"), MASK)


def test_black_and_white_masks_get_no_palette(tmp_path, without_drawing):
    drawn = (MASK > 0) * np.uint8(255)
    for name, ending, array in (
        ("a", "bmp", drawn),
        ("b", "png", drawn),
        ("c", "tif", drawn.astype(np.uint16)),
    ):
        save_as(tmp_path / "in" / f"{name}.png", np.roll(PICTURE, ord(name), 0))
        save_as(tmp_path / "in" / f"{name}_mask.{ending}", array)
    main(pairs(tmp_path))
    folder = VocFolder(tmp_path / "voc")
    check(folder, map="0:0,255:1")
    for name in "abc":
        np.testing.assert_array_equal(read_mask(folder.mask_path(name)), MASK > 0)
    before = snapshot(folder.masks_dir)
    main(pairs(tmp_path))
    assert snapshot(folder.masks_dir) == before


@pytest.mark.parametrize("edited", [False, True])
def test_corrected_numbers_of_objects_replace_those_that_the_repair_wrote(tmp_path, edited, without_drawing):
    def draw(name: str, count: int) -> None:
        save_as(tmp_path / "images" / f"{name}.png", noise(name, 100, 100))
        save_as(tmp_path / "masks" / f"{name}.png", draw_objects(count).astype(np.uint8))

    config = pairs(tmp_path, images=tmp_path / "images", masks=tmp_path / "masks")
    folder = VocFolder(config.voc_root)
    for name, count in zip("abc", (9, 12, 7), strict=True):
        draw(name, count)
    main(config)
    check(folder, instances=True)
    if edited:
        save_as(folder.objects_path("b"), draw_objects(11))
    old = folder.objects_path("b").read_bytes()
    draw("b", 15)
    draw("d", 5)
    main(config)
    if edited:
        assert find_fault(folder, instances=True).code == "objects-differ"
        return
    obey(folder, find_fault(folder).remedy)
    for name, count in zip("abcd", (9, 15, 7, 5), strict=True):
        assert np.array_equal(read_mask(folder.mask_path(name)), draw_objects(count) > 0)
        assert np.array_equal(VocFolder(folder.root).read_objects(name, (100, 100)), draw_objects(count))
    kept = snapshot(folder.root / "set_aside")
    assert {path: content for path, content in kept.items() if "Object" in path} == {
        "1/SegmentationObject/b.png": old
    }
