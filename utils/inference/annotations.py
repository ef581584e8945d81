"""Predicted masks as annotations that are corrected in labelme."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.core.files import replacing, write_lines
from utils.images.arrays import count_channels, is_photo, to_uint8_rgb
from utils.images.writing import write_image
from utils.inference.outputs import ResultFiles
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL
from utils.labelme.writing import write_labelme


def write_annotation(
    files: ResultFiles,
    source: Path | None,
    image: np.ndarray,
    mask: np.ndarray,
    class_names: Sequence[str],
    overwrite: bool,
) -> None:
    """Polygons of a mask (H, W) uint8, a copy of its picture, and labels.txt.

    source: the file of the picture, or None for one that has none; image: (H, W) or (H, W, C); overwrite:
    replace polygons that are there.
    """
    shown = files.labelme_picture
    if source is None or not is_photo(count_channels(image)):
        # labelme opens no such TIFF.
        shown = shown.with_suffix(".png")
        write_image(shown, to_uint8_rgb(image))
    else:
        with replacing(shown) as temporary:
            shutil.copyfile(source, temporary)
    # A run that is completed may find polygons that were corrected by hand.
    if overwrite or not files.labelme.exists():
        write_labelme(files.labelme, shown.name, mask, class_names)
    # Fixes the order of the classes, for json_to_dataset.py and for labelme itself.
    labels = files.labelme.with_name("labels.txt")
    if overwrite or not labels.exists():
        write_lines(labels, [IGNORE_LABEL, BACKGROUND_LABEL, *class_names[1:]])
