"""Importing multi-page TIFFs."""

import json
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from refusal import codes_and_paths, refused
from scripts import snapshot

from import_dataset import Config, main
from utils.core.console import UserError
from utils.images.reading import read_image, read_mask

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 256, (5, 12, 16), dtype=np.uint8)
LABELS = RNG.integers(0, 2, (5, 12, 16), dtype=np.uint8) * 255


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
    assert "next: annotate them: python -m gui.labelme" in capsys.readouterr().out


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
    (error,) = refused(tmp_path, main, stack(tmp_path, images=tmp_path / "third.tif"))
    assert codes_and_paths([error]) == [("stack-range", str(tmp_path / "third.tif"))]
    assert "500 … 755" in error.found
    assert "0 … 255" in error.expected
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
        other = {"voc_root": tmp_path / "no", "scaling": tmp_path / "other.json"}
        (error,) = refused(tmp_path, main, stack(tmp_path, images=tmp_path / "new.tif", **other))
        assert error.subject == str(tmp_path / "other.json")


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
def test_broken_directory(tmp_path, fault, which):
    paths = {"images": tmp_path / "train vol.1.tif", "masks": tmp_path / "labels.tif"}
    for path in paths.values():
        write_stack(path, STACK)
    break_directory(paths[which], 2, fault)
    (error,) = refused(tmp_path, main, stack(tmp_path, masks=paths["masks"]))
    assert codes_and_paths([error]) == [("tiff-unreadable", str(paths[which]))]
    assert f"after page {2 if fault == 'entries' else 3}" in error.found


def test_file_that_ends_before_the_link_to_the_next_page(tmp_path):
    path = tmp_path / "train vol.1.tif"
    write_stack(path, STACK)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        offset, entries = tiff.pages[4].offset, len(tiff.pages[4].tags)
        link = tiff.pages[3].offset + 2 + 12 * len(tiff.pages[3].tags)
    # The last directory moves to the end of the file, without its last four bytes.
    data[link : link + 4] = struct.pack("<I", len(data))
    path.write_bytes(data + data[offset : offset + 2 + 12 * entries])
    errors = refused(tmp_path, main, stack(tmp_path))
    assert codes_and_paths(errors) == [("tiff-unreadable", str(path))]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize("share", [0, 0.001, 0.02, 0.2, 0.5, 0.9])
def test_truncated_stack(tmp_path, options, share):
    write_stack(tmp_path / "train vol.1.tif", STACK, **options)
    data = (tmp_path / "train vol.1.tif").read_bytes()
    (tmp_path / "train vol.1.tif").write_bytes(data[: int(len(data) * share)])
    (error,) = refused(tmp_path, main, stack(tmp_path))
    assert error.code == "tiff-unreadable"
    assert error.subject.startswith(str(tmp_path / "train vol.1.tif"))


def write_lzw(path):
    pages = [Image.fromarray(page) for page in STACK]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")


def test_compression_that_needs_another_package(tmp_path):
    write_lzw(tmp_path / "train vol.1.tif")
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        (error,) = refused(tmp_path, main, stack(tmp_path))
        assert codes_and_paths([error]) == [("tiff-unreadable", f"{tmp_path / 'train vol.1.tif'}, page 1")]
        assert "pip install imagecodecs" in error.remedy


@pytest.mark.parametrize(
    ("pages", "labels", "code", "subject"),
    [
        (STACK, LABELS[:4], "page-count", "labels.tif"),
        (STACK, LABELS[:, 1:], "mask-size", "labels.tif, page 1"),
        (STACK, LABELS.astype(np.uint16) * 300, "label-values", "labels.tif, page 1"),
        (STACK, LABELS / np.float32(2), "label-values", "labels.tif, page 1"),
        (np.full((2, 4, 4), np.nan, np.float32), LABELS, "no-finite-value", "train vol.1.tif"),
    ],
)
def test_stacks_that_do_not_fit(tmp_path, pages, labels, code, subject):
    write_stack(tmp_path / "train vol.1.tif", pages)
    write_stack(tmp_path / "labels.tif", labels)
    (error,) = refused(tmp_path, main, stack(tmp_path, masks=tmp_path / "labels.tif"))
    assert codes_and_paths([error]) == [(code, str(tmp_path / subject))]


@pytest.mark.parametrize("channels", [2, 5])
def test_pages_of_many_channels(tmp_path, channels):
    write_stack(tmp_path / "train vol.1.tif", np.stack([STACK] * channels, axis=-1), planarconfig="contig")
    (error,) = refused(tmp_path, main, stack(tmp_path))
    assert codes_and_paths([error]) == [("page-kind", f"{tmp_path / 'train vol.1.tif'}, page 1")]
    assert f"(12, 16, {channels})" in error.found


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
    (error,) = refused(tmp_path, main, stack(tmp_path))
    assert error.subject == str(tmp_path / "voc" / "scaling.json")


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


def test_slices_of_several_channels_are_no_stack_of_pictures(tmp_path):
    pages = np.zeros((4, 3, 8, 9), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pages, imagej=True, metadata={"axes": "ZCYX"})
    before = snapshot(tmp_path)
    with pytest.raises(UserError) as error:
        main(Config(format="stack", images=tmp_path / "a.tif", voc_root=tmp_path / "voc"))
    assert (error.value.code, snapshot(tmp_path)) == ("stack-channels", before)


def test_stacks_in_folders_of_pictures_and_masks(tmp_path):
    for name, step in (("a", 1), ("b", -1)):
        for place, pages in (("images", STACK), ("masks", LABELS)):
            (tmp_path / "in" / place).mkdir(parents=True, exist_ok=True)
            write_stack(tmp_path / "in" / place / f"{name}.tif", pages[::step])
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    np.testing.assert_array_equal(unpacked(tmp_path), [*STACK, *STACK[::-1]])
    np.testing.assert_array_equal(unpacked(tmp_path, "SegmentationClass"), [*LABELS, *LABELS[::-1]])
    (tmp_path / "in" / "more").mkdir()
    write_stack(tmp_path / "in" / "more" / "a.tif", STACK)
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert error.code == "stack-names"
