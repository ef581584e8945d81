"""Pictures and masks: every kind of file that people have, and every way in which one can be broken."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from utils.core.console import UserError
from utils.images.arrays import to_channels, to_uint8_rgb
from utils.images.reading import decode_image, image_to_array, read_image, read_mask
from utils.images.writing import write_image, write_mask

pytestmark = [
    pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning"),
    pytest.mark.filterwarnings("ignore:Truncated File Read:UserWarning"),
]
ORIENTATION = 0x0112
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), np.uint8)
GRAY = RGB[..., 0]
ALPHA = RGB[..., 1:2]
RGB16 = RNG.integers(0, 65536, (20, 30, 3), np.uint16)
GRAY16 = RGB16[..., 0]
BITS = np.where(GRAY > 127, 255, 0).astype(np.uint8)
PALETTED = Image.fromarray(RGB).quantize(16)
CLASSES = RNG.integers(0, 4, (20, 30)).astype(np.uint8)


def pillow(image: Image.Image | np.ndarray, file_format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, file_format, **options)
    return stream.getvalue()


def opencv(image: np.ndarray, ending: str = ".png") -> bytes:
    bgr = image if image.ndim == 2 else np.concatenate([image[..., 2::-1], image[..., 3:]], axis=2)
    return cv2.imencode(ending, bgr)[1].tobytes()


def tiff(image: np.ndarray, orientation: int = 1, **options: object) -> bytes:
    stream = io.BytesIO()
    photometric = "rgb" if image.ndim == 3 else "minisblack"
    tags = [(ORIENTATION, "H", 1, orientation, True)]
    tifffile.imwrite(
        stream, image, **{"photometric": photometric, "extratags": tags, "metadata": None, **options}
    )
    return stream.getvalue()


def png16(image: np.ndarray, colour_type: int, exif: bytes = b"") -> bytes:
    """A 16-bit PNG chunk by chunk (PNG specification, 5.3): Pillow writes none with colour or alpha."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 16, colour_type, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)
    middle = chunk(b"eXIf", exif) if exif else b""
    return b"\x89PNG\r\n\x1a\n" + header + middle + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """EXIF 2.3: which side of the stored picture is the top of the scene."""
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: np.rot90(a, 2),
        4: lambda a: a[::-1],
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
        8: lambda a: np.rot90(a, 1),
    }
    return turn[orientation](stored)


def save(folder: Path, data: bytes, name: str = "picture.png") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def assert_helpful(error: UserError, path: Path) -> None:
    """Design: file, found, expected, remedy."""
    assert str(path) in str(error)
    for part in (error.found, error.expected, error.remedy):
        assert part
        assert part in str(error)


EXACT = {
    "gray": (pillow(GRAY), GRAY),
    "gray with alpha": (pillow(np.dstack([GRAY, ALPHA])), GRAY),
    "RGB": (pillow(RGB), RGB),
    "RGBA": (pillow(np.dstack([RGB, ALPHA])), RGB),
    "palette": (pillow(PALETTED), np.array(PALETTED.convert("RGB"))),
    "1-bit": (pillow(Image.fromarray(BITS).convert("1")), BITS),
    "16-bit gray": (opencv(GRAY16), GRAY16),
    "16-bit gray with alpha": (png16(RGB16[..., :2], colour_type=4), GRAY16),
    "16-bit RGB": (opencv(RGB16), RGB16),
    "16-bit RGBA": (opencv(np.dstack([RGB16, GRAY16])), RGB16),
    "TIFF gray": (tiff(GRAY), GRAY),
    "TIFF RGB": (tiff(RGB), RGB),
    "TIFF RGB compressed": (pillow(RGB, "TIFF", compression="tiff_lzw"), RGB),
    "TIFF RGBA": (tiff(np.dstack([RGB, ALPHA]), extrasamples=["unassalpha"]), RGB),
    "TIFF 1-bit": (tiff(BITS > 0), BITS),
    "TIFF 16-bit gray": (tiff(GRAY16), GRAY16),
    "TIFF 16-bit gray, big-endian": (tiff(GRAY16, byteorder=">"), GRAY16),
    "TIFF 16-bit RGB": (tiff(RGB16), RGB16),
    "TIFF 16-bit RGB, big-endian": (tiff(RGB16, byteorder=">"), RGB16),
    "TIFF 16-bit RGB compressed": (tiff(RGB16, compression="zlib", predictor=True), RGB16),
    "TIFF 16-bit RGBA": (tiff(np.dstack([RGB16, GRAY16]), extrasamples=["unassalpha"]), RGB16),
    "BigTIFF 16-bit RGB": (tiff(RGB16, bigtiff=True), RGB16),
    "TIFF stack": (tiff(np.stack([GRAY, GRAY[::-1]]), photometric="minisblack"), GRAY),
    "BMP": (pillow(RGB, "BMP"), RGB),
    "GIF": (pillow(GRAY, "GIF"), np.repeat(GRAY[..., None], 3, axis=2)),
    "PPM": (pillow(RGB, "PPM"), RGB),
    "WebP": (pillow(RGB, "WEBP", lossless=True), RGB),
}


@pytest.mark.parametrize("kind", EXACT)
def test_every_kind_of_picture_is_read_exactly(kind, tmp_path):
    data, expected = EXACT[kind]
    path = save(tmp_path, data)
    image = read_image(path)
    assert image.dtype == expected.dtype
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("CMYK", (0, 0, 0, 255), (0, 0, 0)),
        ("RGB", (200, 30, 90), (200, 30, 90)),
        ("L", 77, 77),
    ],
)
def test_jpeg_colours(mode, colour, expected, tmp_path):
    path = save(tmp_path, pillow(Image.new(mode, (40, 24), colour), "JPEG", quality=95), "photo.jpg")
    image = read_image(path)
    assert image.shape == ((24, 40) if mode == "L" else (24, 40, 3))
    assert np.abs(image.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("pixels", "encode"),
    [
        (RGB, lambda o: pillow(RGB, exif=exif_of(o))),
        (RGB, lambda o: tiff(RGB, o)),
        (GRAY16, lambda o: tiff(GRAY16, o)),
        (RGB16, lambda o: tiff(RGB16, o)),
        (RGB16, lambda o: png16(RGB16, colour_type=2, exif=exif_of(o).tobytes().removeprefix(b"Exif\0\0"))),
    ],
    ids=["PNG", "TIFF", "TIFF 16-bit gray", "TIFF 16-bit RGB", "PNG 16-bit RGB"],
)
def test_orientation_turns_the_picture(pixels, encode, orientation, tmp_path):
    path = save(tmp_path, encode(orientation))
    expected = upright(pixels, orientation)
    np.testing.assert_array_equal(read_image(path), expected)


def test_orientation_of_a_camera_jpeg(tmp_path):
    stored = np.zeros((16, 32), np.uint8)
    stored[:, 16:] = 255
    path = save(tmp_path, pillow(stored, "JPEG", exif=exif_of(6), quality=100), "camera.jpg")
    image = read_image(path)
    assert image.shape == (32, 16)
    assert image[:16].max() < 10
    assert image[16:].min() > 245


@pytest.mark.parametrize("name", ["细胞 图像 01.png", "a b/c d.tif", "été/µ.bmp"])
def test_names_in_any_language_and_with_blanks(name, tmp_path):
    path = tmp_path / "数据 集" / name
    write_image(path, RGB)
    np.testing.assert_array_equal(read_image(path), RGB)
    mask_path = path.with_suffix(".png")
    write_mask(mask_path, CLASSES)
    np.testing.assert_array_equal(read_mask(mask_path), CLASSES)


BROKEN = {
    "empty": (b"", "empty"),
    "text": (b"this is my notebook, not a picture", "no picture"),
    "a TIFF header alone": (b"II*\0\x08\0\0\0", "no picture"),
    "32-bit float TIFF": (tiff(GRAY.astype(np.float32)), "32-bit"),
    "32-bit float RGB TIFF": (tiff(RGB.astype(np.float32)), "floating-point 32-bit"),
    "64-bit float TIFF": (tiff(GRAY.astype(np.float64)), "floating-point 64-bit"),
    "signed TIFF": (tiff(GRAY.astype(np.int16) - 100), "-100"),
    "32-bit TIFF": (tiff(GRAY.astype(np.uint32) * 1000), "255000"),
    "five channels": (
        tiff(np.dstack([RGB, RGB[..., :2]]), photometric="minisblack", planarconfig="contig"),
        "5 channel",
    ),
    "16-bit planes": (tiff(RGB16.transpose(2, 0, 1).copy(), planarconfig="separate"), "16-bit"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_picture_is_a_user_error(kind, tmp_path):
    data, found = BROKEN[kind]
    path = save(tmp_path, data)
    with pytest.raises(UserError) as error:
        read_image(path)
    assert_helpful(error.value, path)
    assert found in error.value.found


TRUNCATABLE = [k for k in EXACT if k not in ("1-bit", "TIFF 1-bit", "TIFF stack")]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", TRUNCATABLE)
def test_truncated_pictures_are_user_errors(kind, share, tmp_path):
    data, _ = EXACT[kind]
    path = save(tmp_path, data[: int(len(data) * share)])
    with pytest.raises(UserError) as error:
        read_image(path)
    assert_helpful(error.value, path)


@pytest.mark.parametrize("reader", [read_image, read_mask])
@pytest.mark.parametrize("name", ["missing.png", "folder", "no such folder/a.png", "file/below.png"])
def test_paths_that_are_no_files(reader, name, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as error:
        reader(tmp_path / name)
    assert_helpful(error.value, tmp_path / name)


MASKS = {
    "gray": (pillow(CLASSES), CLASSES),
    "palette": (pillow(PALETTED), np.asarray(PALETTED)),
    "palette packed to 2 bits": (pillow(Image.fromarray(CLASSES).convert("P"), bits=2), None),
    "1-bit": (pillow(Image.fromarray(BITS).convert("1")), BITS // 255),
    "gray TIFF": (tiff(CLASSES), CLASSES),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_hold_indices(kind, tmp_path):
    data, expected = MASKS[kind]
    if expected is None:
        image = Image.open(io.BytesIO(data))
        expected = np.asarray(image)
        assert image.mode == "P"
    mask = read_mask(save(tmp_path, data))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, expected)


BAD_MASKS = {
    "RGB": (pillow(RGB), "RGB", "class indices"),
    "RGBA": (pillow(np.dstack([RGB, ALPHA])), "alpha", "class indices"),
    "gray with alpha": (pillow(np.dstack([GRAY, ALPHA])), "alpha", "class indices"),
    "JPEG": (pillow(GRAY, "JPEG"), "JPEG", "as PNG"),
    "RGB JPEG": (pillow(RGB, "JPEG"), "JPEG", "as PNG"),
    "16-bit": (opencv(GRAY16), "-bit values", "8 bits"),
    "16-bit TIFF": (tiff(GRAY16), "16-bit values", "8 bits"),
    "16-bit RGB": (opencv(RGB16), "RGB", "class indices"),
    "float TIFF": (tiff(GRAY.astype(np.float32)), "mode F", "class indices"),
    "truncated": (pillow(GRAY)[:-200], "truncated", "again"),
    "empty": (b"", "empty", "again"),
    "text": (b"not a mask", "no picture", "again"),
}


@pytest.mark.parametrize("kind", BAD_MASKS)
def test_what_is_no_index_mask_is_a_user_error(kind, tmp_path):
    data, found, remedy = BAD_MASKS[kind]
    path = save(tmp_path, data)
    with pytest.raises(UserError) as error:
        read_mask(path)
    assert_helpful(error.value, path)
    assert found in error.value.found
    assert remedy in error.value.remedy


@given(mask=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_masks_survive_writing_and_reading(mask, tmp_path):
    path = tmp_path / "mask.png"
    write_mask(path, mask)
    np.testing.assert_array_equal(read_mask(path), mask)


def test_written_masks_show_the_voc_colours(tmp_path):
    write_mask(tmp_path / "mask.png", np.array([[0, 1, 15, 255]], np.uint8))
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "P"
        colours = np.array(image.convert("RGB"))
    np.testing.assert_array_equal(colours, [[(0, 0, 0), (128, 0, 0), (192, 128, 128), (224, 224, 192)]])


@given(data=st.data(), dtype=st.sampled_from([np.uint8, np.uint16]), colour=st.booleans())
def test_pictures_survive_writing_and_reading(data, dtype, colour, tmp_path):
    size = data.draw(array_shapes(min_dims=2, max_dims=2, max_side=20))
    image = data.draw(arrays(dtype, (*size, 3) if colour and dtype == np.uint8 else size))
    for ending in (".png", ".tif"):
        write_image(tmp_path / f"picture{ending}", image)
        np.testing.assert_array_equal(read_image(tmp_path / f"picture{ending}"), image)


@pytest.mark.parametrize("name", ["file/a.png", "file/sub/a.png"])
def test_a_folder_that_cannot_be_written_is_a_user_error(name, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError) as error:
        write_mask(tmp_path / name, CLASSES)
    assert_helpful(error.value, tmp_path / name)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_crash_while_writing_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    write_image(path, RGB)
    before = path.read_bytes()

    def half(self, target, *args, **kwargs):
        Path(target).write_bytes(before[:50])
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(UserError, match="No space left"):
        write_image(path, RGB[::-1])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@given(data=st.binary(max_size=200))
def test_random_bytes_are_no_picture(data, tmp_path):
    path = save(tmp_path, data)
    for reader in (read_image, read_mask):
        with pytest.raises(UserError):
            reader(path)


@pytest.mark.parametrize(
    "kind", ["RGB", "palette", "16-bit RGB", "TIFF RGB compressed", "TIFF 16-bit RGB", "GIF", "BMP"]
)
@given(damage=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_files_give_an_array_or_a_user_error(kind, damage, tmp_path):
    data = bytearray(EXACT[kind][0])
    # A damaged size could ask for gigabytes: a PNG's stands in its first 41 bytes, elsewhere Pillow's limit holds.
    first = 41 if data.startswith(b"\x89PNG") else 0
    for position, value in damage:
        data[first + position % (len(data) - first)] = value
    path = save(tmp_path, bytes(data))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)
        for reader, kinds in ((read_image, (np.uint8, np.uint16)), (read_mask, (np.uint8,))):
            try:
                array = reader(path)
            except UserError:
                continue
            assert array.dtype in kinds
            assert array.ndim in (2, 3)


@pytest.mark.parametrize("width", [0, 2**31])
def test_a_16_bit_tiff_of_impossible_size_is_a_user_error(width, tmp_path):
    data = bytearray(tiff(RGB16))
    entry = data.index(struct.pack("<HHI", 256, 4, 1))  # ImageWidth, one 32-bit number
    data[entry + 8 : entry + 12] = struct.pack("<I", width)
    with pytest.raises(UserError):
        read_image(save(tmp_path, bytes(data)))


def test_pil_images_become_arrays():
    np.testing.assert_array_equal(image_to_array(Image.fromarray(GRAY16)), GRAY16)
    np.testing.assert_array_equal(image_to_array(Image.fromarray(GRAY16.astype(np.int32))), GRAY16)
    np.testing.assert_array_equal(image_to_array(Image.fromarray(RGB)), RGB)
    with pytest.raises(UserError, match="slide 7"):
        image_to_array(Image.fromarray(GRAY.astype(np.float32)), "slide 7")


def test_decoded_bytes_are_named_in_messages():
    np.testing.assert_array_equal(decode_image(pillow(RGB), "imageData of a.json"), RGB)
    with pytest.raises(UserError, match=r"imageData of a\.json"):
        decode_image(b"nothing", "imageData of a.json")


@pytest.mark.parametrize("top", [255, 65535])
def test_channels(top):
    dtype = np.uint8 if top == 255 else np.uint16
    gray = np.arange(top + 1, dtype=dtype)[None]
    rgb = to_channels(gray, 3)
    assert rgb.dtype == dtype
    assert (rgb == gray[..., None]).all()
    # Luminance of gray is that gray, for every value.
    np.testing.assert_array_equal(to_channels(rgb, 1), gray[..., None])
    np.testing.assert_array_equal(to_channels(gray[..., None], 1), gray[..., None])
    np.testing.assert_array_equal(to_channels(rgb, 3), rgb)


def test_luminance_of_the_primaries():
    primaries = np.diag([255, 255, 255]).astype(np.uint8)[None]
    np.testing.assert_array_equal(to_channels(primaries, 1)[0, :, 0], [76, 150, 29])


def test_16_bits_are_stretched_for_showing():
    ramp = np.linspace(1000, 3000, 10000).astype(np.uint16).reshape(100, 100)
    bright = ramp.copy()
    bright[50, 50] = 65535  # a hot pixel must not darken the rest
    expected = (ramp - 1000.0) / 2000 * 255
    for image in (ramp, bright):
        shown = to_uint8_rgb(image)
        assert shown.shape == (100, 100, 3)
        assert shown.dtype == np.uint8
        assert (np.abs(shown - expected[..., None]) < 2).sum() >= 3 * 9999
    assert (to_uint8_rgb(np.full((4, 4), 700, np.uint16)) == 0).all()
    np.testing.assert_array_equal(to_uint8_rgb(GRAY), np.repeat(GRAY[..., None], 3, axis=2))


@pytest.mark.parametrize("comment", [b"", b"# made by hand\n"])
def test_colours_of_16_bits_of_netpbm(tmp_path, comment):
    pixels = np.random.default_rng(0).integers(0, 65536, (3, 4, 3)).astype(np.uint16)
    (tmp_path / "a.ppm").write_bytes(b"P6\n" + comment + b"4 3\n65535\n" + pixels.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.ppm"), pixels)
