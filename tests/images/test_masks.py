"""Masks hold class indices and nothing else."""

import io

import numpy as np
import png
import pytest
from picture_files import (
    ALPHA,
    BITS,
    CLASSES,
    GRAY,
    GRAY16,
    PALETTED,
    RGB,
    RGB16,
    assert_helpful,
    opencv,
    pillow,
    save,
    tiff,
)
from PIL import Image

from utils.core.console import UserError
from utils.images.masks import number_objects, read_mask_file, read_objects, write_objects
from utils.images.reading import read_mask

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
    "RGB": (pillow(RGB), "mask-channels"),
    "RGBA": (pillow(np.dstack([RGB, ALPHA])), "mask-channels"),
    "gray with alpha": (pillow(np.dstack([GRAY, ALPHA])), "mask-channels"),
    "JPEG": (pillow(GRAY, "JPEG"), "mask-jpeg"),
    "RGB JPEG": (pillow(RGB, "JPEG"), "mask-jpeg"),
    "16-bit": (opencv(GRAY16), "mask-channels"),
    "16-bit TIFF": (tiff(GRAY16), "mask-channels"),
    "16-bit RGB": (opencv(RGB16), "mask-channels"),
    "float TIFF": (tiff(GRAY.astype(np.float32)), "mask-channels"),
    "truncated": (pillow(GRAY)[:-200], "mask-damaged"),
    "empty": (b"", "file-empty"),
    "text": (b"not a mask", "picture-format"),
}


@pytest.mark.parametrize("kind", BAD_MASKS)
def test_what_is_no_index_mask_is_a_user_error(kind, tmp_path):
    data, code = BAD_MASKS[kind]
    path = save(tmp_path, data)
    with pytest.raises(UserError) as error:
        read_mask(path)
    assert_helpful(error.value, path)
    assert error.value.code == code


@pytest.mark.parametrize("bits", [2, 4])
def test_gray_png_of_few_bits_holds_indices(bits, tmp_path):
    indices = np.arange(2**bits, dtype=np.uint8).reshape(-1, 4)
    path = tmp_path / "mask.png"
    with path.open("wb") as file:
        png.Writer(4, len(indices), greyscale=True, bitdepth=bits).write(file, indices.tolist())
    np.testing.assert_array_equal(read_mask(path), indices)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_whole_numbers_of_many_bits(dtype, tmp_path):
    numbers = np.array([[0, 1, 300], [2, 65535, 0]]).astype(dtype)
    path = save(tmp_path, tiff(numbers), "numbers.tif")
    np.testing.assert_array_equal(read_mask_file(path).values, numbers)


def test_fractions_are_no_mask(tmp_path):
    with pytest.raises(UserError):
        read_mask_file(save(tmp_path, tiff(np.full((4, 4), 0.5, np.float32)), "a.tif"))


def test_palette_of_gray_levels_is_none(tmp_path):
    gray = Image.fromarray(CLASSES).convert("P")
    assert read_mask_file(save(tmp_path, pillow(gray))).palette is None
    gray.putpalette([255, 255, 255, 0, 0, 0])
    assert read_mask_file(save(tmp_path, pillow(gray))).palette[:2].tolist() == [[255] * 3, [0] * 3]


def test_alpha_that_varies_is_kept(tmp_path):
    file = read_mask_file(save(tmp_path, pillow(np.dstack([GRAY, ALPHA]))))
    np.testing.assert_array_equal(file.alpha, ALPHA[..., 0])
    solid = read_mask_file(save(tmp_path, pillow(np.dstack([GRAY, 0 * ALPHA + 255]))))
    assert solid.alpha is None and solid.has_alpha


@pytest.mark.parametrize("count", [3, 254, 255, 300])
def test_objects_are_numbered_and_written_whatever_their_number(count, tmp_path):
    values = np.pad(np.arange(1, count + 1) * 7, (1, 0)).reshape(1, -1)
    objects = number_objects(values)
    assert objects.dtype == (np.uint8 if count < 255 else np.uint16)
    assert len(np.unique(objects)) == count + 1 and 255 not in objects and objects[0, 0] == 0
    write_objects(tmp_path / "a.png", objects)
    np.testing.assert_array_equal(read_objects(tmp_path / "a.png"), objects)


def test_numbers_without_a_background():
    assert number_objects(np.array([[4, 9]])).tolist() == [[1, 2]]
