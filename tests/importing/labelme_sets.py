"""Helpers of the tests of json_to_dataset.py: labelme files, their conversion, the masks that come of it."""

import numpy as np
from labelme_content import HEIGHT, WIDTH, labelme_content, picture_bytes, write_json

from utils.images.reading import read_mask
from utils.importing.labelme_files import Conversion, convert_labelme
from utils.voc.folder import VocFolder


def draw(tmp_path, name: str, *shapes: dict, size: tuple[int, int] = (HEIGHT, WIDTH), place: str = "in"):
    content = labelme_content(*shapes, image=picture_bytes(size=size))
    return write_json(tmp_path / place / f"{name}.json", content)


def convert(tmp_path, place: str = "in", **settings) -> Conversion:
    return convert_labelme(tmp_path / place, VocFolder(tmp_path / "voc"), **settings)


def assert_mask(folder: VocFolder, name: str, mask: np.ndarray) -> None:
    np.testing.assert_array_equal(read_mask(folder.mask_path(name)), mask)
