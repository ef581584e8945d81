"""Masks hold class indices and nothing else."""

import io

import numpy as np
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
