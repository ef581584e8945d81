"""Which pictures are shown together."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from utils.core.console import UserError
from utils.images.arrays import to_uint8_rgb
from utils.images.large import TiffWindows, open_picture
from utils.voc.folder import is_image, list_images, walk_images


def list_pictures(paths: Sequence[Path]) -> tuple[list[Path], Path]:
    """The pictures of what was opened, and the first to show. A single one comes with those beside it.

    Raises UserError for a folder without pictures, and for a file that is none.
    """
    if len(paths) == 1 and not paths[0].is_dir():
        beside = list_images(paths[0].parent) if paths[0].is_file() else []
        return (beside if paths[0] in beside else [paths[0]]), paths[0]
    found = []
    for path in paths:
        found += walk_images(path, path / "img_out") if path.is_dir() else [path] * is_image(path)
    if not found:
        expected, remedy = "pictures", "choose a folder of pictures such as .jpg, .png or .tif"
        raise UserError("folder-without-pictures", paths[0], "no picture in it", expected, remedy)
    return found, found[0]


def thumbnail(path: Path, side: int) -> np.ndarray | None:
    """(h, w, 3) uint8 of at most `side` pixels; None for a file that is read by windows. Raises UserError."""
    picture = open_picture(path)
    if isinstance(picture, TiffWindows):
        return None
    image = to_uint8_rgb(picture)
    scale = side / max(image.shape[:2])
    size = [max(round(length * scale), 1) for length in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
