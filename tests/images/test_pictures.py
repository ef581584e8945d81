"""Pictures: every kind of file that people have, and every way in which one can be broken."""

import io
import struct
import sys
import warnings

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_files import (
    EXACT,
    GRAY,
    GRAY16,
    PLANES,
    RGB,
    RGB16,
    assert_helpful,
    exif_of,
    pillow,
    png16,
    save,
    tiff,
    upright,
)
from PIL import Image

from utils.core.console import UserError
from utils.images.large import open_picture
from utils.images.reading import decode_image, image_to_array, read_image, read_mask
from utils.voc.folder import is_image

pytestmark = [
    pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning"),
    pytest.mark.filterwarnings("ignore:Truncated File Read:UserWarning"),
]


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


@pytest.mark.parametrize("ending", ["jfif", "jp2", "j2k", "avif"])
def test_pictures_of_newer_formats(ending, tmp_path):
    smooth = np.dstack([np.add.outer(np.arange(24), np.arange(40)) * np.uint8(2)] * 3).astype(np.uint8)
    kind = {"jfif": "JPEG", "avif": "AVIF"}.get(ending, "JPEG2000")
    path = save(tmp_path, pillow(Image.fromarray(smooth), kind), f"photo.{ending}")
    assert is_image(path)
    assert np.abs(read_image(path).astype(int) - smooth).max() <= 12


def test_jpeg_2000_of_16_bits_keeps_them(tmp_path):
    path = save(tmp_path, imagecodecs.jpeg2k_encode(RGB16, level=0), "photo.jp2")
    np.testing.assert_array_equal(read_image(path), RGB16)


def test_heic_is_read_upright_or_names_its_package(tmp_path, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    photo = Image.fromarray(np.kron(np.array([[0, 255], [90, 30]], np.uint8), np.ones((32, 64), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    heif.from_pillow(photo.convert("RGB")).save(tmp_path / "photo.heic", quality=-1, exif=exif.tobytes())
    expected = np.rot90(np.asarray(photo), -1)
    assert np.abs(read_image(tmp_path / "photo.heic")[..., 0].astype(int) - expected).max() <= 6
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UserError) as error:
        read_image(tmp_path / "photo.heic")
    assert (error.value.code, error.value.remedy) == ("package-missing", "pip install pillow-heif")


@pytest.mark.parametrize(("name", "word"), [("x.dcm", "DICOM"), ("x.NII.gz", "NIfTI"), ("x.npy", "NumPy")])
def test_types_that_are_not_read_are_named_with_a_way_out(name, word, tmp_path):
    with pytest.raises(UserError) as error:
        read_image(save(tmp_path, bytes(128) + b"no picture", name))
    assert error.value.code == "picture-type"
    assert word in error.value.found


@pytest.mark.parametrize("name", ["x.psd", "x.dng", "x.svs", "x.TGA"])
@pytest.mark.parametrize("read", [read_image, read_mask, open_picture])
def test_types_of_which_libraries_read_a_part_are_refused_by_all_readers(read, name, tmp_path):
    """Folders do not take such a file for a picture, so none is predicted as one either."""
    path = save(tmp_path, tiff(GRAY, 1) if name != "x.TGA" else pillow(GRAY, "TGA"), name)
    assert not is_image(path)
    with pytest.raises(UserError) as error:
        read(path)
    assert error.value.code == "picture-type" and "export" in error.value.remedy + "export" * (
        name == "x.dng"
    )


@pytest.mark.parametrize("name", ["x.png", "x"])
def test_a_psd_of_another_name_is_none_either(name, tmp_path):
    """Signature, version 1, one channel of 2×2 with 8 bits, gray, no resources and layers, uncompressed."""
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 1, 2, 2, 8, 1) + bytes(12)
    with Image.open(io.BytesIO(head + struct.pack(">H", 0) + bytes([1, 2, 3, 4]))) as image:
        assert image.format == "PSD"
    for read in (read_image, read_mask):
        with pytest.raises(UserError) as error:
            read(save(tmp_path, head + struct.pack(">H", 0) + bytes([1, 2, 3, 4]), name))
        assert (error.value.code, error.value.remedy) == ("picture-type", "export them as PNG")


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


@pytest.mark.parametrize("comment", [b"", b"# made by hand\n"])
def test_colours_of_16_bits_of_netpbm(tmp_path, comment):
    pixels = np.random.default_rng(0).integers(0, 65536, (3, 4, 3)).astype(np.uint16)
    (tmp_path / "a.ppm").write_bytes(b"P6\n" + comment + b"4 3\n65535\n" + pixels.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.ppm"), pixels)


BROKEN = {
    "empty": (b"", "file-empty"),
    "text": (b"this is my notebook, not a picture", "picture-format"),
    "a TIFF header alone": (b"II*\0\x08\0\0\0", "picture-format"),
    "32-bit float TIFF": (tiff(GRAY.astype(np.float32)), "picture-32-bit"),
    "32-bit float RGB TIFF": (tiff(RGB.astype(np.float32)), "tiff-form"),
    "64-bit float TIFF": (tiff(GRAY.astype(np.float64)), "tiff-form"),
    "signed TIFF": (tiff(GRAY.astype(np.int16) - 100), "picture-32-bit"),
    "32-bit TIFF": (tiff(GRAY.astype(np.uint32) * 1000), "picture-32-bit"),
    "floats in channels": (
        tiff(np.stack([GRAY.astype(np.float32)] * 2), metadata={"axes": "CYX"}, photometric="minisblack"),
        "tiff-form",
    ),
    "17 channels": (tiff(np.stack([GRAY] * 17), **PLANES), "picture-channels"),
    "channels of a bomb": (
        tiff(np.zeros((4, 3000, 3000), np.uint16), **PLANES, compression="zstd"),
        "picture-damaged",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_picture_is_a_user_error(kind, tmp_path):
    data, code = BROKEN[kind]
    path = save(tmp_path, data)
    with pytest.raises(UserError) as error:
        read_image(path)
    assert_helpful(error.value, path)
    assert error.value.code == code


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
    # A damaged size could ask for gigabytes: that of a PNG is in its first 41 bytes, others Pillow refuses.
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
    with pytest.raises(UserError) as error:
        image_to_array(Image.fromarray(GRAY.astype(np.float32)), "slide 7")
    assert (error.value.code, error.value.subject) == ("picture-32-bit", "slide 7")


def test_decoded_bytes_are_named_in_messages():
    np.testing.assert_array_equal(decode_image(pillow(RGB), "imageData of a.json"), RGB)
    with pytest.raises(UserError) as error:
        decode_image(b"nothing", "imageData of a.json")
    assert (error.value.code, error.value.subject) == ("picture-format", "imageData of a.json")
