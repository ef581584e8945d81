"""Large pictures: TIFFs read by windows as they are read whole, pictures and masks written band by band."""

import io
import struct
import warnings
import zlib
from itertools import pairwise, product

import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image
from scripts import cut_off

from utils.core.console import UserError
from utils.images.large import open_picture, open_windows
from utils.images.palette import voc_palette
from utils.images.reading import decode_image, read_image, read_mask
from utils.images.writing import row_writer

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (70, 93, 3), np.uint8)
GRAY = RGB[..., 0].copy()
PAGES = np.moveaxis(np.dstack([RGB, 255 - GRAY]), 2, 0).copy()
BANDS = (0, 1, 30, 31, 64, 70)
WRITTEN = {
    "tiles": (RGB, {"tile": (16, 32)}),
    "deflated tiles": (RGB, {"tile": (32, 16), "compression": "zlib", "predictor": True}),
    "strips": (RGB, {"rowsperstrip": 9}),
    "deflated strips": (RGB, {"rowsperstrip": 9, "compression": "zlib"}),
    "one strip": (RGB, {}),
    "big-endian": (RGB.astype(np.uint16) * 200, {"byteorder": ">"}),
    "planes": (np.moveaxis(RGB, 2, 0), {"planarconfig": "separate", "tile": (32, 32)}),
    "alpha": (np.dstack([RGB, GRAY]), {"extrasamples": ["unassalpha"], "photometric": "rgb"}),
    "gray": (GRAY, {"tile": (16, 16)}),
    "16 bits": (GRAY.astype(np.uint16) * 257, {"rowsperstrip": 4}),
    "16 bits RGB": (RGB.astype(np.uint16) * 257, {"rowsperstrip": 4, "compression": "zlib"}),
    "inverted": (GRAY, {"photometric": "miniswhite"}),
    "inverted, 16 bits": (GRAY.astype(np.uint16) * 200, {"photometric": "miniswhite"}),
    "palette": (
        GRAY,
        {"photometric": "palette", "colormap": RNG.integers(0, 256, (3, 256)).astype(np.uint16) * 257},
    ),
    "CMYK": (np.dstack([RGB, GRAY]), {"photometric": "separated", "tile": (32, 32)}),
    "4 samples": (np.dstack([RGB, GRAY]), {"extrasamples": ["unspecified"], "photometric": "rgb"}),
    "5 samples": (np.dstack([RGB, RGB[..., :2]]), {"planarconfig": "contig", "photometric": "minisblack"}),
    "5 planes": (np.stack([GRAY, *PAGES]), {"planarconfig": "separate", "tile": (32, 32)}),
    "BigTIFF": (RGB, {"bigtiff": True, "tile": (16, 16)}),
}


def save_tiff(path, array, bigtiff=False, byteorder=None, **options):
    options = {"photometric": "rgb" if 3 in array.shape else "minisblack", **options}
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as writer:
        writer.write(array, metadata=None, **options)
    return path


@pytest.mark.parametrize("name", WRITTEN)
def test_windows_of_a_tiff_are_the_rows_of_the_picture(name, tmp_path):
    array, options = WRITTEN[name]
    path = save_tiff(tmp_path / "图 像.tif", array, **options)
    windows, whole = open_windows(path, above=0), read_image(path)
    assert windows.shape == whole.shape
    for top, bottom in pairwise(BANDS):
        band = windows[top:bottom]
        assert band.dtype == whole.dtype
        np.testing.assert_array_equal(band, whole[top:bottom])


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}], ids=["plain", "deflated"])
@pytest.mark.parametrize("axes", ["CYX", "ZCYX", "TZCYX"])
def test_windows_of_pages_that_are_channels(axes, options, orientation, tmp_path):
    pages = PAGES.reshape(*[1] * (len(axes) - 3), *PAGES.shape)
    for axis in range(pages.ndim - 3):
        pages = np.concatenate([pages, pages + 1], axis)
    path, tags = tmp_path / "a.tif", [(274, 3, 1, orientation, True)]
    settings = {"imagej": True, "metadata": {"axes": axes}, "extratags": tags, **options}
    tifffile.imwrite(path, pages, photometric="minisblack", **settings)
    expected = np.dstack(list(PAGES))
    expected = np.rot90(expected, -1) if orientation == 6 else expected
    np.testing.assert_array_equal(read_image(path), expected)
    windows = open_windows(path, above=0)
    assert windows.shape == expected.shape
    np.testing.assert_array_equal(np.concatenate([windows[:31], windows[31:]]), expected)


def save_odd_tiff(path, values, bits, photometric, tiled):
    """A TIFF of any number of bits; rows of a strip or tile are filled up to a byte (TIFF 6.0, section 3)."""

    def packed(block):
        digits = block[..., None] >> np.arange(bits)[::-1] & 1
        return np.packbits(digits.reshape(len(block), -1).astype(np.uint8), axis=1).tobytes()

    height, width = values.shape
    strips, grid = range(0, height, 9), np.pad(values, ((0, -height % 16), (0, -width % 16)))
    blocks = [values[y : y + 9] for y in strips]
    if tiled:
        blocks = [grid[y : y + 16, x : x + 16] for y in range(0, height, 16) for x in range(0, width, 16)]
    pieces, place = [packed(block) for block in blocks], 8
    sizes = [len(piece) for piece in pieces]
    places = np.cumsum([place, *sizes])[:-1].tolist()
    tags = {256: [width], 257: [height], 258: [bits], 259: [1], 262: [photometric], 277: [1]}
    tags |= {322: [16], 323: [16], 324: places, 325: sizes} if tiled else {273: places, 278: [9], 279: sizes}
    tags |= {320: RNG.integers(0, 65536, 3 * 2**bits).tolist()} if photometric == 3 else {}
    place, extra, entries = 8 + sum(sizes), b"", b""
    for tag, numbers in sorted(tags.items()):
        kind, code = (3, "H") if tag == 320 else (4, "I")
        data = struct.pack(f"<{len(numbers)}{code}", *numbers)
        if len(data) > 4:
            extra, data = extra + data, struct.pack("<I", place + len(extra))
        entries += struct.pack("<HHI", tag, kind, len(numbers)) + data
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, place + len(extra)) + b"".join(pieces) + extra + directory
    )
    return path


@pytest.mark.parametrize("tiled", [False, True], ids=["strips", "tiles"])
@pytest.mark.parametrize("bits, photometric", [*product((1, 2, 4), (0, 1, 3)), (12, 1)])
def test_windows_of_odd_bits(tmp_path, bits, photometric, tiled):
    """Photometric: 0 inverted gray, 1 gray, 3 palette."""
    values = RNG.integers(0, 2**bits, (70, 93))
    path = save_odd_tiff(tmp_path / "a.tif", values, bits, photometric, tiled)
    np.testing.assert_array_equal(tifffile.imread(path), values)
    windows, whole = open_windows(path, above=0), read_image(path)
    assert (windows.shape, len(np.unique(whole.reshape(-1, *whole.shape[2:]), axis=0)) > 1) == (
        whole.shape,
        True,
    )
    bands = [windows[top:bottom] for top, bottom in pairwise(BANDS)]
    assert bands[0].dtype == whole.dtype
    np.testing.assert_array_equal(np.concatenate(bands), whole)


@pytest.mark.parametrize("method", ["tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate"])
def test_compressed_by_libtiff(method, tmp_path):
    pytest.importorskip("imagecodecs")
    path = tmp_path / "a.tif"
    smooth = np.asarray(Image.fromarray(RGB).resize((93, 70)).resize((9, 7)).resize((93, 70)))
    Image.fromarray(smooth).save(path, compression=method)
    whole = read_image(path).astype(int)
    bands = [open_windows(path, above=0)[top:bottom] for top, bottom in pairwise(BANDS)]
    # Two JPEG decoders may round differently.
    assert np.abs(np.concatenate(bands) - whole).max() <= (3 if method == "jpeg" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["deflated tiles", "one strip", "gray"])
def test_turned_pictures_are_read_upright(orientation, name, tmp_path):
    array, options = WRITTEN[name]
    path = save_tiff(tmp_path / "a.tif", array, extratags=[(274, 3, 1, orientation, True)], **options)
    windows, whole = open_windows(path, above=0), read_image(path)
    assert windows.shape == whole.shape
    np.testing.assert_array_equal(np.concatenate([windows[:1], windows[1:40], windows[40:]]), whole)


@pytest.mark.parametrize(
    "array",
    [GRAY.astype(np.float32), GRAY.astype(np.int16), GRAY.astype(np.uint32)],
    ids=lambda a: str(a.dtype),
)
def test_other_numbers_are_left_to_the_usual_reader(array, tmp_path):
    assert open_windows(save_tiff(tmp_path / "a.tif", array), above=0) is None


def test_what_is_small_or_no_tiff_is_read_whole(tmp_path):
    path = save_tiff(tmp_path / "a.tif", RGB)
    np.testing.assert_array_equal(open_picture(path), RGB)
    Image.fromarray(RGB).save(tmp_path / "a.png")
    assert open_windows(tmp_path / "a.png", above=0) is None
    with pytest.raises(UserError) as error:
        open_picture(tmp_path / "none.tif")
    assert error.value.code == "file-missing"


def test_a_truncated_tiff_is_a_user_error(tmp_path):
    path = save_tiff(tmp_path / "a.tif", RGB, tile=(16, 16), compression="zlib")
    windows = open_windows(path, above=0)
    cut_off(path)
    with pytest.raises(UserError) as error:
        windows[40:70]
    assert (error.value.code, error.value.subject) == ("picture-damaged", str(path))


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("shape", [(1, 1), (70, 93), (70, 93, 3), (1030, 515), (600, 1, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bands_make_the_picture(ending, shape, dtype, tmp_path):
    if dtype == np.uint16 and len(shape) == 3:
        pytest.skip("no result has it")
    array = RNG.integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    path = tmp_path / "out" / f"图{ending}"
    with row_writer(path, shape, dtype) as bands:
        for top in range(0, shape[0], 77):
            bands.write(array[top : top + 77])
    np.testing.assert_array_equal(read_image(path), array)
    if ending == ".tif":
        np.testing.assert_array_equal(tifffile.imread(path), array)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_masks_keep_their_indices_and_get_colours(ending, tmp_path):
    path = tmp_path / f"mask{ending}"
    with row_writer(path, GRAY.shape, palette=voc_palette()) as bands:
        bands.write(GRAY[:20])
        bands.write(GRAY[20:])
    np.testing.assert_array_equal(read_mask(path), GRAY)
    with Image.open(path) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), voc_palette()[GRAY])


def test_a_tiff_of_gigabytes_is_a_bigtiff(tmp_path, monkeypatch):
    for limit, big in ((GRAY.size + 1, False), (GRAY.size, True)):
        monkeypatch.setattr("utils.images.writing.BIGTIFF_BYTES", limit)
        with row_writer(tmp_path / "a.tif", GRAY.shape) as file:
            file.write(GRAY)
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            assert tiff.is_bigtiff == big
            np.testing.assert_array_equal(tiff.asarray(), GRAY)


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), UserError("mask-size", "a", "b", "c", "d"), KeyboardInterrupt()],
)
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_nothing_is_left_of_a_file_that_could_not_be_finished(ending, error, tmp_path):
    path = tmp_path / f"mask{ending}"
    with pytest.raises((UserError, KeyboardInterrupt)), row_writer(path, (700, 93)) as bands:
        bands.write(np.tile(GRAY, (9, 1)))
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [0, 600, 701])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_rows_that_are_missing_or_too_many_are_a_bug_and_leave_no_file(ending, rows, tmp_path):
    with pytest.raises(ValueError), row_writer(tmp_path / f"mask{ending}", (700, 93)) as bands:
        for _ in range(rows // 100):
            bands.write(np.zeros((100, 93), np.uint8))
        bands.write(np.zeros((rows % 100, 93), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_picture_beyond_pillows_limit_is_read_if_it_is_a_real_one(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    Image.fromarray(GRAY).save(tmp_path / "mask.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
        np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), GRAY)
        with pytest.raises(UserError) as error:
            decode_image((tmp_path / "a.png").read_bytes(), "embedded")
    assert error.value.code == "picture-bomb"
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_a_picture_that_does_not_fit_in_memory_is_told(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("", (), {"available": 6 * 70 * 93 - 1}))
    with warnings.catch_warnings(), pytest.raises(UserError) as error:
        warnings.simplefilter("ignore")
        read_image(tmp_path / "a.png")
    assert error.value.code == "picture-memory"


def test_a_bomb_stays_refused(tmp_path, monkeypatch):
    """A file of 100 bytes that claims to hold 60,000×60,000 pixels."""
    data = io.BytesIO()
    Image.new("1", (8, 8)).save(data, "PNG")
    content = bytearray(data.getvalue())
    header = bytes(content[12:16]) + (60000).to_bytes(4, "big") * 2 + bytes(content[24:29])
    content[12:33] = header + zlib.crc32(header).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(content)
    # labelme, which other tests import, takes the limit away.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89_478_485)
    with pytest.raises(UserError) as error:
        read_image(tmp_path / "bomb.png")
    assert error.value.code == "picture-bomb"


def test_pages_beyond_the_first_are_told(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "stack.tif", PAGES, photometric="minisblack")
    np.testing.assert_array_equal(open_picture(tmp_path / "stack.tif"), PAGES[0])
    told = capsys.readouterr().err
    assert "4 pages" in told and "--format stack" in told
    slices = {"imagej": True, "metadata": {"axes": "ZCYX"}}
    tifffile.imwrite(tmp_path / "slices.tif", np.stack([PAGES] * 3), photometric="minisblack", **slices)
    assert open_picture(tmp_path / "slices.tif").shape == (70, 93, 4)
    told = capsys.readouterr().err
    assert "3 slices" in told and "docs/data.md" in told


def test_what_holds_one_picture_is_read_without_a_word(tmp_path, capsys):
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as writer:
        writer.write(RGB, photometric="rgb")
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
    options = {"imagej": True, "metadata": {"axes": "CYX"}, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "channels.tif", PAGES, **options)
    for path in tmp_path.iterdir():
        open_picture(path)
    assert not capsys.readouterr().err


def test_frames_beyond_the_first_are_told(tmp_path, capsys):
    frames = [Image.fromarray(each) for each in PAGES]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    open_picture(tmp_path / "a.gif")
    assert "4 frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [{}, {"rowsperstrip": 9, "compression": "zlib"}], ids=["plain", "deflated strips"]
)
def test_a_tiff_that_ends_after_a_row_is_a_user_error(options, tmp_path):
    path = save_tiff(tmp_path / "a.tif", RGB, **options)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        last = page.dataoffsets[-1] + page.databytecounts[-1]
    directory_first = page.offset < page.dataoffsets[0]
    assert directory_first
    path.write_bytes(path.read_bytes()[: page.dataoffsets[-1] if options else last - 10 * RGB.shape[1] * 3])
    windows = open_windows(path, above=0)
    with pytest.raises(UserError) as error:
        windows[60:70]
    assert error.value.code == "picture-damaged"
