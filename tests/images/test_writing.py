"""Pictures and masks survive writing, under any name, and a crash leaves the old file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from picture_files import CLASSES, RGB, assert_helpful
from PIL import Image

from utils.core.console import UserError
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask


@pytest.mark.parametrize("name", ["细胞 图像 01.png", "a b/c d.tif", "été/µ.bmp"])
def test_names_in_any_language_and_with_blanks(name, tmp_path):
    path = tmp_path / "数据 集" / name
    write_image(path, RGB)
    np.testing.assert_array_equal(read_image(path), RGB)
    mask_path = path.with_suffix(".png")
    write_mask(mask_path, CLASSES)
    np.testing.assert_array_equal(read_mask(mask_path), CLASSES)


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
    with pytest.raises(UserError) as error:
        write_image(path, RGB[::-1])
    assert (error.value.code, error.value.subject) == ("file-not-writable", str(path))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
