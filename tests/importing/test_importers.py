"""Importing pairs of files, TIFF stacks and SBD: what arrives in the VOC folder, and what is refused before it does."""

import json
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat
from scripts import cut_off, run, save_as, snapshot

from import_dataset import Config, main
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_mask
from utils.importing.pairs import MASK_SUFFIXES, bare_name, find_pairs
from utils.importing.sbd import VOC_CLASSES, read_mat
from utils.voc.folder import VocFolder

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
MASK = RNG.integers(0, 3, (12, 16), dtype=np.uint8)
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)[MASK]
STACK = RNG.integers(0, 256, (5, 12, 16), dtype=np.uint8)
LABELS = RNG.integers(0, 2, (5, 12, 16), dtype=np.uint8) * 255


def refused(before_root, config, *fragments):
    """`main` refuses, says so, and writes nothing below the folder."""
    before = snapshot(before_root)
    with pytest.raises(UserError) as caught:
        main(config)
    assert snapshot(before_root) == before
    for fragment in fragments:
        assert str(fragment) in str(caught.value)


def pairs(tmp_path, **settings):
    return Config(**{"images": tmp_path / "in", "voc_root": tmp_path / "voc", **settings})


# Pairs of files


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
    assert "pictures without a mask are left out: 1, such as" in error
    assert "masks without a picture are left out: 1, such as" in error
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
    with pytest.raises(UserError, match="leave out --link"):
        main(pairs(tmp_path, link=True))


@pytest.mark.parametrize("ending", ["bmp", "png"])
def test_coloured_masks_are_kept_for_the_doctor(tmp_path, ending, capsys):
    save_as(tmp_path / "in" / f"x.{ending}", PICTURE)
    save_as(tmp_path / "in" / f"x_GT.{ending}", COLOURS)
    for _ in range(2):
        main(pairs(tmp_path))
        np.testing.assert_array_equal(read_image(tmp_path / "voc" / "SegmentationClass" / "x.png"), COLOURS)
    error = capsys.readouterr().err
    assert "1 mask in RGB colours" in error
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
    refused(tmp_path, again, "class_names.txt", "nothing is written over")


@pytest.mark.parametrize(
    ("names", "masks", "fragments"),
    [
        (["x.bmp", "x.JPG"], ["x.png"], ["x.bmp", "x.JPG", "two pictures of one name"]),
        (["x.bmp"], ["x.png", "x_GT.bmp"], ["x.png", "x_GT.bmp", "two masks of one name"]),
        (["x.bmp"], ["y.png"], ["no mask that fits one of the pictures (1)"]),
        ([], [], ["no mask that fits"]),
    ],
)
def test_names_that_do_not_pair(tmp_path, names, masks, fragments):
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    for name in names:
        save_as(tmp_path / "in" / name, PICTURE)
    for name in masks:
        save_as(tmp_path / "masks" / name, MASK)
    refused(tmp_path, pairs(tmp_path, masks=tmp_path / "masks"), *fragments)


def test_two_endings_in_one_folder(tmp_path):
    save_as(tmp_path / "in" / "x.jpg", PICTURE)
    save_as(tmp_path / "in" / "x.png", MASK)
    refused(tmp_path, pairs(tmp_path), "x.jpg", "x.png", "folder of their own (--masks)")


def test_all_faulty_pairs_are_listed(tmp_path):
    for name in ("cut", "jpeg", "deep", "small", "empty", "fine"):
        save_as(tmp_path / "in" / f"{name}.png", PICTURE)
        save_as(tmp_path / "masks" / f"{name}.png", MASK)
    cut_off(tmp_path / "in" / "cut.png")
    save_as(tmp_path / "masks" / "jpeg.png", COLOURS, "JPEG")
    save_as(tmp_path / "masks" / "deep.png", MASK.astype(np.uint16) * 300)
    save_as(tmp_path / "masks" / "small.png", MASK[1:])
    (tmp_path / "masks" / "empty.png").write_bytes(b"")
    fragments = [
        "5 faults",
        "a damaged or truncated picture",
        "compression smears class indices",
        "16-bit values",
    ]
    sizes = ["a mask of 11×16", "12×16", "zero bytes"]
    refused(tmp_path, pairs(tmp_path, masks=tmp_path / "masks"), *fragments, *sizes)


def test_nothing_is_written_over(tmp_path):
    for name in "abc":
        save_as(tmp_path / "in" / f"{name}.png", PICTURE)
        save_as(tmp_path / "in" / f"{name}_mask.png", MASK)
    save_as(tmp_path / "voc" / "JPEGImages" / "a.png", PICTURE[::-1])
    save_as(tmp_path / "voc" / "JPEGImages" / "b.bmp", PICTURE)
    write_mask(tmp_path / "voc" / "SegmentationClass" / "c.png", MASK[::-1])
    refused(tmp_path, pairs(tmp_path), "3 faults", "a.png", "b.bmp", "c.png", "nothing is written over")


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


# Stacks


def stack(tmp_path, **settings):
    here = {"images": tmp_path / "train vol.1.tif", "voc_root": tmp_path / "voc"}
    return Config(**{"format": "stack", **here, **settings})


def write_stack(path, pages, **options):
    tifffile.imwrite(path, pages, **{"photometric": "minisblack", "metadata": None, **options})


def unpacked(tmp_path, part="JPEGImages"):
    read = read_mask if part == "SegmentationClass" else read_image
    return [read(path) for path in sorted((tmp_path / "voc" / part).iterdir())]


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"bigtiff": True}, {"compression": "zlib"}])
def test_stack_with_labels(tmp_path, options, capsys):
    write_stack(tmp_path / "train vol.1.tif", STACK, **options)
    write_stack(tmp_path / "labels.tif", LABELS, **options)
    config = stack(tmp_path, masks=tmp_path / "labels.tif")
    main(config)
    before = snapshot(tmp_path / "voc")
    assert [name for name in sorted(before) if name.startswith("JPEG")] == [
        f"JPEGImages/train vol.1_00{number}.png" for number in range(5)
    ]
    np.testing.assert_array_equal(unpacked(tmp_path), STACK)
    np.testing.assert_array_equal(unpacked(tmp_path, "SegmentationClass"), LABELS)
    main(config)
    assert snapshot(tmp_path / "voc") == before
    assert "5 pages of train vol.1: 0 files written, 10 there already" in capsys.readouterr().out


def test_stack_alone_leads_to_labelme(tmp_path, capsys):
    write_stack(tmp_path / "train vol.1.tif", STACK)
    main(stack(tmp_path))
    assert "next: annotate them: labelme" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pages", "options"),
    [
        (STACK.astype(np.uint16) * 257, {}),
        (np.stack([STACK] * 3, axis=-1), {"photometric": "rgb"}),
        (np.stack([STACK] * 3, axis=1), {"photometric": "rgb", "planarconfig": "separate"}),
        (np.stack([STACK.astype(np.uint16) * 257 + k for k in range(3)], axis=-1), {"photometric": "rgb"}),
        (np.stack([STACK] * 4, axis=-1), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    ],
)
def test_pages_keep_their_depth(tmp_path, pages, options):
    write_stack(tmp_path / "train vol.1.tif", pages, **options)
    main(stack(tmp_path))
    main(stack(tmp_path))
    wanted = np.moveaxis(pages, 1, -1) if "planarconfig" in options else pages
    wanted = wanted[..., :3] if wanted.ndim == 4 else wanted
    for page, expected in zip(unpacked(tmp_path), wanted, strict=True):
        assert page.dtype == pages.dtype
        np.testing.assert_array_equal(page, expected)
    assert not (tmp_path / "voc" / "scaling.json").exists()


@pytest.mark.parametrize(
    ("pages", "options", "wanted"),
    [
        (STACK, {"photometric": "miniswhite"}, 255 - STACK),
        (STACK > 99, {}, (STACK > 99) * np.uint8(255)),
        (
            STACK,
            {"photometric": "palette", "colormap": np.arange(768, dtype=np.uint16).reshape(3, 256) * 80},
            None,
        ),
    ],
)
def test_pages_look_as_in_a_viewer(tmp_path, pages, options, wanted):
    write_stack(tmp_path / "train vol.1.tif", pages, **options)
    main(stack(tmp_path))
    if wanted is None:
        wanted = (options["colormap"] >> 8).astype(np.uint8).T[pages]
    np.testing.assert_array_equal(unpacked(tmp_path), wanted)


@settings(max_examples=25)
@given(
    st.sampled_from([np.float32, np.float64, np.int16, np.int32]),
    st.floats(0.1, 1000),
    st.floats(-1e4, 1e4),
    st.integers(0, 2**31),
)
def test_other_numbers_are_scaled_over_their_range(tmp_path_factory, dtype, spread, shift, seed):
    folder = tmp_path_factory.mktemp("stack")
    pages = (np.random.default_rng(seed).normal(size=(3, 6, 7)) * spread + shift).astype(dtype)
    write_stack(folder / "train vol.1.tif", pages)
    main(stack(folder))
    low, high = pages.min(), pages.max()
    known = json.loads((folder / "voc" / "scaling.json").read_text(encoding="utf-8"))["train vol.1"]
    np.testing.assert_allclose([known["low"], known["high"]], [low, high], rtol=1e-5)
    wanted = (pages.astype(float) - low) / ((float(high) - low) or 1) * 65535
    assert np.abs(np.stack(unpacked(folder)).astype(float) - wanted).max() <= 65535 * 1e-4 + 1


@pytest.mark.parametrize(("wild", "low", "high"), [([5], 0, 8000), ([1e9, -1e9], -7000, 8000)])
def test_outliers_leave_the_resolution_to_the_rest(tmp_path, wild, low, high):
    """Percentiles of 0 and 1000: the range ends at 1000 ± 7 · 1000, or where the numbers end."""
    pages = np.repeat(np.float32([0, 1000]), 4000).reshape(2, 40, 100)
    pages[0, 0, : len(wild)] = wild
    pages[1, 0, 0] = 1e6
    write_stack(tmp_path / "train vol.1.tif", pages)
    main(stack(tmp_path))
    known = json.loads((tmp_path / "voc" / "scaling.json").read_text(encoding="utf-8"))["train vol.1"]
    assert known == {"low": low, "high": high, "to": [0, 65535]}
    codes = [round((value - low) / (high - low) * 65535) for value in (0, 1000)]
    assert [np.median(page) for page in unpacked(tmp_path)] == codes
    assert codes[1] - codes[0] >= 4096


def test_rare_numbers_of_a_stack_are_not_cut_off(tmp_path):
    pages = np.zeros((4, 40, 50), np.float32)
    pages[2, 0, :3] = 1, 2, 4
    write_stack(tmp_path / "train vol.1.tif", pages)
    main(stack(tmp_path))
    assert unpacked(tmp_path)[2][0, :4].tolist() == [16384, 32768, 65535, 0]


def test_stacks_of_a_folder_share_a_scale_and_holes_are_dark(tmp_path):
    pages = STACK.astype(np.float32)
    pages[0, 0, :2] = np.nan, -np.inf
    write_stack(tmp_path / "train vol.1.tif", pages)
    write_stack(tmp_path / "second.tif", pages / 2)
    for config in (stack(tmp_path), stack(tmp_path, images=tmp_path / "second.tif"), stack(tmp_path)):
        main(config)
    known = json.loads((tmp_path / "voc" / "scaling.json").read_text(encoding="utf-8"))
    assert known == {name: {"low": 0, "high": 255, "to": [0, 65535]} for name in ("train vol.1", "second")}
    write_stack(tmp_path / "third.tif", pages + 500)
    found = ["third.tif", "numbers of 500 … 755", "expected: 0 … 255", "scaling.json", "widest numbers first"]
    refused(tmp_path, stack(tmp_path, images=tmp_path / "third.tif"), *found)
    first = read_image(tmp_path / "voc" / "JPEGImages" / "train vol.1_000.png")
    assert first.dtype == np.uint16
    assert not first[0, :2].any()


def test_pictures_to_predict_are_scaled_as_those_of_the_training(tmp_path):
    pages = STACK.astype(np.float32)
    write_stack(tmp_path / "train vol.1.tif", pages)
    main(stack(tmp_path))
    write_stack(tmp_path / "new.tif", pages[::-1] * 0.5)
    scaling = tmp_path / "voc" / "scaling.json"
    main(stack(tmp_path, images=tmp_path / "new.tif", voc_root=tmp_path / "new", scaling=scaling))
    known = [
        next(iter(json.loads(path.read_text("utf-8")).values()))
        for path in (scaling, tmp_path / "new/scaling.json")
    ]
    assert known[0] == known[1]
    halved = read_image(tmp_path / "new" / "JPEGImages" / "new_000.png")
    np.testing.assert_allclose(halved, pages[-1] * 0.5 / 255 * 65535, atol=1)
    for text in ("{}", '{"a": 1}', '{"a": {"low": 1}}'):
        (tmp_path / "other.json").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="no scale of any stack"):
            main(
                stack(
                    tmp_path,
                    images=tmp_path / "new.tif",
                    voc_root=tmp_path / "no",
                    scaling=tmp_path / "other.json",
                )
            )


def test_ranges_of_large_stacks_are_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.importing.stacks.SAMPLE", 100)
    write_stack(tmp_path / "train vol.1.tif", np.linspace(0, 1, 4000, dtype=np.float32).reshape(4, 20, 50))
    main(stack(tmp_path))
    known = json.loads((tmp_path / "voc" / "scaling.json").read_text(encoding="utf-8"))["train vol.1"]
    assert known["low"] < 0.02
    assert known["high"] > 0.97


def break_directory(path, page, fault):
    """Let the link to the next page lead nowhere or back, or a page have 65535 entries."""
    with tifffile.TiffFile(path) as tiff:
        offset, entries = tiff.pages[page].offset, len(tiff.pages[page].tags)
    data = bytearray(path.read_bytes())
    where, what = {
        "nowhere": (offset + 2 + 12 * entries, struct.pack("<I", 10**6)),
        "back": (offset + 2 + 12 * entries, struct.pack("<I", offset)),
        "entries": (offset, b"\xff\xff"),
    }[fault]
    data[where : where + len(what)] = what
    path.write_bytes(data)


@pytest.mark.parametrize("fault", ["nowhere", "back", "entries"])
@pytest.mark.parametrize("which", ["images", "masks"])
def test_broken_directory(tmp_path, fault, which, caplog):
    paths = {"images": tmp_path / "train vol.1.tif", "masks": tmp_path / "labels.tif"}
    for path in paths.values():
        write_stack(path, STACK)
    break_directory(paths[which], 2, fault)
    found = f"its directory is broken after page {2 if fault == 'entries' else 3}"
    refused(tmp_path, stack(tmp_path, masks=paths["masks"]), paths[which], found, "all its pages")
    assert not caplog.records


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize("share", [0, 0.001, 0.02, 0.2, 0.5, 0.9])
def test_truncated_stack(tmp_path, options, share):
    write_stack(tmp_path / "train vol.1.tif", STACK, **options)
    data = (tmp_path / "train vol.1.tif").read_bytes()
    (tmp_path / "train vol.1.tif").write_bytes(data[: int(len(data) * share)])
    refused(tmp_path, stack(tmp_path), "train vol.1.tif", "cannot be read")


def write_lzw(path):
    pages = [Image.fromarray(page) for page in STACK]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")


def test_compression_that_needs_another_package(tmp_path):
    write_lzw(tmp_path / "train vol.1.tif")
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        refused(tmp_path, stack(tmp_path), "train vol.1.tif, page 1", "pip install imagecodecs")


@pytest.mark.parametrize(
    ("pages", "labels", "fragments"),
    [
        (STACK, LABELS[:4], ["labels.tif", "4 pages", "5"]),
        (STACK, LABELS[:, 1:], ["labels.tif, page 1", "11×16", "12×16"]),
        (STACK, LABELS.astype(np.uint16) * 300, ["labels.tif, page 1", "values from 0 to"]),
        (STACK, LABELS / np.float32(2), ["labels.tif, page 1", "whole numbers 0 … 255"]),
        (np.full((2, 4, 4), np.nan, np.float32), LABELS, ["no finite number"]),
    ],
)
def test_stacks_that_do_not_fit(tmp_path, pages, labels, fragments):
    write_stack(tmp_path / "train vol.1.tif", pages)
    write_stack(tmp_path / "labels.tif", labels)
    refused(tmp_path, stack(tmp_path, masks=tmp_path / "labels.tif"), *fragments)


@pytest.mark.parametrize("channels", [2, 5])
def test_pages_of_many_channels(tmp_path, channels):
    write_stack(tmp_path / "train vol.1.tif", np.stack([STACK] * channels, axis=-1), planarconfig="contig")
    refused(
        tmp_path, stack(tmp_path), "train vol.1.tif, page 1", f"shape (12, 16, {channels})", "gray or RGB"
    )


def test_labels_of_other_types_keep_whole_numbers(tmp_path):
    write_stack(tmp_path / "train vol.1.tif", STACK)
    for dtype in (np.uint16, np.int32, np.float32):
        write_stack(tmp_path / "labels.tif", LABELS.astype(dtype))
        main(stack(tmp_path, masks=tmp_path / "labels.tif"))
        np.testing.assert_array_equal(unpacked(tmp_path, "SegmentationClass"), LABELS)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_scaling_that_cannot_be_read(tmp_path, text):
    write_stack(tmp_path / "train vol.1.tif", STACK.astype(np.float32))
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "scaling.json").write_text(text, encoding="utf-8")
    refused(tmp_path, stack(tmp_path), "scaling.json", "move the file away")


def test_real_slices_as_a_stack(tmp_path, shared):
    files = [
        [shared / "isbi" / part / f"{number}.png" for number in range(3)] for part in ("images", "labels")
    ]
    if not files[0][0].is_file():
        pytest.skip("needs the real slices")
    arrays = [np.stack([np.array(Image.open(path)) for path in paths]) for paths in files]
    for name, array in zip(("train vol.1.tif", "labels.tif"), arrays, strict=True):
        write_stack(tmp_path / name, array, imagej=True)
    main(stack(tmp_path, masks=tmp_path / "labels.tif"))
    np.testing.assert_array_equal(unpacked(tmp_path), arrays[0])
    np.testing.assert_array_equal(unpacked(tmp_path, "SegmentationClass"), arrays[1])


# SBD


def make_sbd(tmp_path):
    """SBD with s1 … s3 for training and s4, v2 for validation; VOC with v1 (and s1) to train, v2 and s3 to validate."""
    sbd, voc = tmp_path / "sbd", VocFolder(tmp_path / "VOC2012")
    for name in ("s1", "s2", "s3", "s4", "v2"):
        save_as(sbd / "img" / f"{name}.jpg", PICTURE)
        write_mat(sbd / "cls" / f"{name}.mat", Segmentation=MASK)
    write_lines(sbd / "train.txt", ["s1", "s2 ", "s3"])
    write_lines(sbd / "val.txt", ["s4", "v2"])
    for name in ("v1", "s1", "v2", "s3"):
        save_as(voc.images_dir / f"{name}.jpg", PICTURE[::-1])
        write_mask(voc.mask_path(name), np.where(MASK == 2, 255, MASK))
    voc.write_split("train", ["v1", "s1"])
    voc.write_split("val", ["v2", "s3"])
    return Config(format="sbd", sbd=sbd, voc=voc.root, voc_root=tmp_path / "voc")


def write_mat(path, **fields):
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"GTcls": {"CategoriesPresent": np.array([1, 2]), **fields}})


@pytest.mark.parametrize("link", [False, True])
def test_trainaug(tmp_path, link, capsys):
    config = make_sbd(tmp_path)
    config.link = link
    for _ in range(2):
        main(config)
    folder = VocFolder(config.voc_root)
    assert folder.read_split("train") == ["s1", "s2", "s4", "v1"]
    assert folder.read_split("val") == ["v2", "s3"]
    assert folder.read_class_names() == list(VOC_CLASSES)
    assert len(VOC_CLASSES) == 21
    np.testing.assert_array_equal(read_mask(folder.mask_path("s2")), MASK)
    assert Image.open(folder.mask_path("s2")).mode == "P"
    for name in ("s1", "v1", "v2", "s3"):
        assert folder.mask_path(name).read_bytes() == VocFolder(config.voc).mask_path(name).read_bytes()
        assert folder.image_path(name).samefile(config.voc / "JPEGImages" / f"{name}.jpg") == link
    output = capsys.readouterr().out
    assert "6 pairs, 4 of them VOC's: 16 files written, 0 there already" in output
    assert "6 pairs, 4 of them VOC's: 0 files written, 16 there already" in output
    assert "train 4 (trainaug), val 2" in output
    splits = config.voc_root / "ImageSets" / "Segmentation"
    assert (splits / "trainaug.txt").read_bytes() == (splits / "train.txt").read_bytes()


def test_sbd_alone(tmp_path):
    config = make_sbd(tmp_path)
    config.voc = None
    main(config)
    folder = VocFolder(config.voc_root)
    assert (folder.read_split("train"), folder.read_split("val")) == (["s1", "s2", "s3"], ["s4", "v2"])
    assert len(folder.images) == 5


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (
            {"GTcls": {"Boundaries": MASK, "CategoriesPresent": MASK}},
            ["GTcls.Boundaries, GTcls.CategoriesPresent"],
        ),
        ({"GTinst": {"Segmentation": MASK}}, ["the fields GTinst", "inst has other fields"]),
        ({"GTcls": MASK}, ["expected: a .mat file of SBD's folder cls, with the field GTcls.Segmentation"]),
        ({"GTcls": {"Segmentation": np.zeros((2, 3, 4))}}, ["shape (2, 3, 4)"]),
        ({"GTcls": {"Segmentation": MASK + 300.5}}, ["type float64"]),
        ({"GTcls": {"Segmentation": np.where(MASK == 2, 77, MASK)}}, ["the value 77", "0 … 20"]),
        ({"GTcls": {"Segmentation": MASK[1:]}}, ["a mask of 11×16", "12×16"]),
    ],
)
def test_mat_that_does_not_fit(tmp_path, content, fragments):
    config = make_sbd(tmp_path)
    savemat(config.sbd / "cls" / "s2.mat", content)
    refused(tmp_path, config, "s2.mat", *fragments)


@pytest.mark.parametrize(
    "data", [b"", b"no mat", b"MATLAB 7.3 MAT-file" + b" " * 105 + b"\0\x02IM" + b"\x89HDF", bytes(200)]
)
def test_file_that_is_no_mat(tmp_path, data):
    path = tmp_path / "s 2.mat"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"s 2\.mat\n  found"):
        read_mat(path)


@settings(max_examples=30)
@given(st.floats(0, 1), st.booleans())
def test_truncated_mat_is_an_error_of_the_user(tmp_path_factory, share, compressed):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, {"GTcls": {"Segmentation": MASK}}, do_compression=compressed)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    try:
        np.testing.assert_array_equal(read_mat(path), MASK)
    except UserError as error:
        assert "a.mat" in str(error)


@pytest.mark.parametrize("gone", ["cls/s2.mat", "img/s2.jpg", "train.txt"])
def test_missing_parts_of_sbd(tmp_path, gone):
    config = make_sbd(tmp_path)
    (config.sbd / gone).unlink()
    refused(tmp_path, config, config.sbd / gone)


def test_empty_list_and_other_split(tmp_path):
    config = make_sbd(tmp_path)
    write_lines(config.voc_root / "ImageSets" / "Segmentation" / "train.txt", ["s1"])
    refused(tmp_path, config, "train.txt", "nothing is written over")
    write_lines(config.sbd / "val.txt", [""])
    refused(tmp_path, config, config.sbd / "val.txt", "no names")


# The script


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({}, "--images"),
        ({"format": "stack"}, "--images"),
        ({"format": "sbd"}, "--sbd"),
        ({"images": "gone"}, "no such folder"),
        ({"format": "stack", "images": "gone.tif"}, "no such file"),
        ({"format": "sbd", "sbd": "gone"}, "no such file"),
    ],
)
def test_settings_that_lead_nowhere(tmp_path, settings, fragment):
    paths = {key: tmp_path / value if key != "format" else value for key, value in settings.items()}
    refused(tmp_path, Config(voc_root=tmp_path / "voc", **paths), fragment)


def test_from_the_command_line(tmp_path):
    save_as(tmp_path / "my data" / "图 1.bmp", PICTURE)
    save_as(tmp_path / "my data" / "图 1_GT.bmp", MASK)
    result = run("import_dataset.py", "--images", "my data", "--voc-root", "my voc", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == 'next: python voc2unet.py --voc-root "my voc"'
    result = run("import_dataset.py", "--images", "my voc", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr


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
    refused(tmp_path, pairs(tmp_path, masks=tmp_path / "masks"), "an empty line 2 between names")
