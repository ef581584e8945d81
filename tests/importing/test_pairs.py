"""Importing pictures with masks beside them."""

import numpy as np
import pytest
from doctor_folder import check, find_fault
from PIL import Image
from refusal import codes_and_paths, refused
from scripts import cut_off, save_as, snapshot

from import_dataset import Config, main
from utils.core.console import UserError
from utils.images.reading import read_image, read_mask
from utils.voc.folder import VocFolder

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
MASK = RNG.integers(0, 3, (12, 16), dtype=np.uint8)
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)[MASK]


def pairs(tmp_path, **settings):
    return Config(**{"images": tmp_path / "in", "voc_root": tmp_path / "voc", **settings})


@pytest.mark.parametrize(
    "suffix", ["_mask", "-mask", "_gt", ".label", "_labels", "_seg", "_segmentation", "_annotation"]
)
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
    assert sorted({*files} - {"import_record.json"}) == [
        f"{part}/{n}" for part in ("JPEGImages",) for n in ("a.JPG", "b_mask.png")
    ] + [f"SegmentationClass/{name}.png" for name in ("a", "b_mask")]
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


@pytest.mark.parametrize("flag", ["masks", None])
def test_a_photograph_in_the_folder_of_masks_is_named(tmp_path, flag):
    data = tmp_path / "data"
    for name in ("p4", "p5"):
        save_as(data / "images" / f"{name}.jpg", PICTURE)
        save_as(data / "masks" / f"{name}_mask.png", MASK)
    save_as(data / "masks" / "p5.jpg", PICTURE)
    config = pairs(tmp_path, images=data / "images" if flag else data, masks=data / "masks" if flag else None)
    (error,) = refused(tmp_path, main, config)
    places = [data / "images" / "p5.jpg", data / "masks" / "p5.jpg", data / "masks" / "p5_mask.png"]
    assert error.code == "name-twice" and all(str(place) in error.found for place in places)
    assert [str(place) in error.remedy for place in places] == [False, True, False]
    (data / "masks" / "p5.jpg").unlink()
    main(config)


def test_two_endings_in_one_folder(tmp_path):
    save_as(tmp_path / "in" / "x.jpg", PICTURE)
    save_as(tmp_path / "in" / "x.png", MASK)
    (error,) = refused(tmp_path, main, pairs(tmp_path))
    assert codes_and_paths([error]) == [("name-twice", str(tmp_path / "in"))]
    assert "x.jpg" in error.found
    assert "--masks" in error.remedy


def test_all_faulty_pairs_are_listed(tmp_path):
    for name in ("cut", "small", "empty", "fine"):
        save_as(tmp_path / "in" / f"{name}.png", PICTURE)
        save_as(tmp_path / "masks" / f"{name}.png", MASK)
    cut_off(tmp_path / "in" / "cut.png")
    save_as(tmp_path / "masks" / "small.png", MASK[1:])
    (tmp_path / "masks" / "empty.png").write_bytes(b"")
    errors = refused(tmp_path, main, pairs(tmp_path, masks=tmp_path / "masks"))
    expected = {
        "in/cut.png": "picture-damaged",
        "masks/empty.png": "file-empty",
        "masks/small.png": "mask-size",
    }
    found = {error.subject: error.code for error in errors}
    assert found == {str(tmp_path / path): code for path, code in expected.items()}


def test_many_faults_are_few_lines(tmp_path):
    for number in range(60):
        save_as(tmp_path / "in" / f"p{number}.png", PICTURE[:3, :4])
        save_as(tmp_path / "in" / f"p{number}_mask.png", MASK[:3, :3])
    with pytest.raises(UserError) as caught:
        main(pairs(tmp_path))
    assert (caught.value.code, len(caught.value.errors)) == ("mask-size", 60)
    assert len(str(caught.value).splitlines()) == 4


def turned(picture: np.ndarray) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def as_turned(path):
    """A picture that EXIF turns by 90°, and its mask drawn before that."""
    Image.fromarray(PICTURE).save(path / "x.jpg", exif=turned(PICTURE))
    save_as(path / "x_mask.png", MASK)
    return np.rot90(MASK, -1)


def as_16_bits(path):
    save_as(path / "x.png", PICTURE)
    save_as(path / "x_mask.tif", MASK.astype(np.uint16))
    return MASK


def as_gray_rgb(path):
    save_as(path / "x.png", PICTURE)
    save_as(path / "x_mask.bmp", np.dstack([MASK] * 3))
    return MASK


def as_rgba(path):
    save_as(path / "x.png", PICTURE)
    save_as(path / "x_mask.tif", np.dstack([MASK, np.full_like(MASK, 255)]))
    return MASK


@pytest.mark.parametrize("build", [as_turned, as_16_bits, as_gray_rgb, as_rgba])
def test_what_the_doctor_mends_is_brought_to_it(tmp_path, build, without_drawing):
    (tmp_path / "in").mkdir()
    mask = build(tmp_path / "in")
    main(pairs(tmp_path))
    check(VocFolder(tmp_path / "voc"), fix=True)
    path = tmp_path / "voc" / "SegmentationClass" / "x.png"
    np.testing.assert_array_equal(read_mask(path), mask)
    before = snapshot(tmp_path)
    main(pairs(tmp_path))
    assert snapshot(tmp_path) == before


def test_jpeg_masks_are_brought_to_the_doctor(tmp_path, without_drawing):
    drawn = np.kron(MASK > 0, np.ones((8, 8), np.uint8))
    save_as(tmp_path / "in" / "x.png", np.kron(PICTURE, np.ones((8, 8, 1), np.uint8)))
    save_as(tmp_path / "in" / "mask_x.jpg", drawn * np.uint8(255), "JPEG")
    main(pairs(tmp_path))
    error = find_fault(VocFolder(tmp_path / "voc"))
    assert error.code == "mask-jpeg"
    check(VocFolder(tmp_path / "voc"), map="0:0,255:1", nearest=60)
    np.testing.assert_array_equal(read_mask(tmp_path / "voc" / "SegmentationClass" / "x.png"), drawn)
    before = snapshot(tmp_path)
    main(pairs(tmp_path))
    assert snapshot(tmp_path) == before


def test_palettes_are_kept(tmp_path):
    save_as(tmp_path / "in" / "x.png", PICTURE)
    image = Image.fromarray(MASK).convert("P")
    image.putpalette([255, 0, 0, 0, 0, 0, 0, 255, 0])
    image.save(tmp_path / "in" / "x_mask.gif")
    main(pairs(tmp_path))
    copied = tmp_path / "voc" / "SegmentationClass" / "x.gif"
    assert copied.read_bytes() == (tmp_path / "in" / "x_mask.gif").read_bytes()


LAYOUTS = {
    "split/role": ("{split}/images/{name}.png", "{split}/masks/{name}.png"),
    "role/split": ("images/{split}/{name}.png", "annotations/{split}/{name}.png"),
    "SegNet's CamVid": ("{split}/{name}.png", "{split}annot/{name}.png"),
    "Carvana": ("{split}/{name}.jpg", "{split}_masks/{name}_mask.gif"),
    "Cityscapes": (
        "leftImg8bit/{split}/town/{name}_leftImg8bit.png",
        "gtFine/{split}/town/{name}_gtFine_labelIds.png",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_official_splits_stay_splits(tmp_path, layout):
    named = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    for split, names in named.items():
        for name in names:
            for form, array in zip(LAYOUTS[layout], (PICTURE, MASK), strict=True):
                path = tmp_path / "in" / form.format(split=split, name=name)
                save_as(path, array, "PNG" if path.suffix != ".jpg" else None)
    if layout == "Cityscapes":
        save_as(tmp_path / "in" / "gtFine/train/town/a_gtFine_color.png", COLOURS)
    format = "pairs" if layout == "Cityscapes" else "auto"
    main(Config(input=tmp_path / "in", format=format, voc_root=tmp_path / "voc"))
    folder, tail = VocFolder(tmp_path / "voc"), "_leftImg8bit" * (layout == "Cityscapes")
    found = {split: [n.removesuffix(tail) for n in folder.read_split(split)] for split in named}
    assert found == named
    assert sorted(folder.images) == sorted(f"{name}{tail}" for name in "abcd")
    for name in folder.images:
        np.testing.assert_array_equal(read_mask(folder.mask_path(name)), MASK)


def test_splits_imported_one_after_the_other_do_not_lose_each_other(tmp_path):
    for split, names in {"train": "ab", "val": "c", "test": "d"}.items():
        for name in names:
            save_as(tmp_path / "data" / split / "images" / f"{name}.png", PICTURE)
            save_as(tmp_path / "data" / split / "masks" / f"{name}.png", MASK)
    for split in ("train", "val", "test"):
        part = tmp_path / "data" / split
        main(pairs(tmp_path, images=part / "images", masks=part / "masks"))
    folder = VocFolder(tmp_path / "voc")
    assert [folder.read_split(split) for split in ("train", "val", "test")] == [["a", "b"], ["c"], ["d"]]


def test_a_folder_called_test_is_no_test_split(tmp_path):
    save_as(tmp_path / "test" / "images" / "a.png", PICTURE)
    save_as(tmp_path / "test" / "masks" / "a.png", MASK)
    main(Config(input=tmp_path / "test", voc_root=tmp_path / "voc"))
    assert not (tmp_path / "voc" / "ImageSets").exists()


def test_names_that_folders_share_get_the_folder_before_them(tmp_path):
    for number, place in enumerate(("p1", "p2")):
        save_as(tmp_path / "in" / place / "001.png", PICTURE)
        save_as(tmp_path / "masks" / place / "001_seg.png", MASK if number else 2 - MASK)
    main(pairs(tmp_path, masks=tmp_path / "masks"))
    folder = VocFolder(tmp_path / "voc")
    np.testing.assert_array_equal(read_mask(folder.mask_path("p1_001")), 2 - MASK)
    np.testing.assert_array_equal(read_mask(folder.mask_path("p2_001")), MASK)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("labelmap.txt", "# label:rgb:parts:actions\nbackground:0,0,0::\ncell:128,0,0::\nnucleus:0,9,0::\n"),
        ("_classes.csv", "Pixel Value, Class\n0, background\n1, cell\n2, nucleus\n"),
        ("dataset.json", '{"labels": {"background": 0, "cell": 1, "nucleus": 2}}'),
        ("data.yaml", "names:\n  0: cell\n  1: nucleus\n"),
    ],
)
@pytest.mark.parametrize("above", [False, True])
def test_class_names_beside_the_data_are_read(tmp_path, file, content, above):
    save_as(tmp_path / "data" / "in" / "a.png", PICTURE)
    save_as(tmp_path / "data" / "in" / "a_mask.png", MASK)
    (tmp_path / "data" / ("" if above else "in") / file).write_text(content, encoding="utf-8")
    main(pairs(tmp_path, images=tmp_path / "data" / "in"))
    assert VocFolder(tmp_path / "voc").read_class_names() == ["background", "cell", "nucleus"]
