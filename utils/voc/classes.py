"""The classes of a VOC folder: their names, and whether the masks hold them."""

from collections.abc import Sequence

import numpy as np

from utils.core.console import UserError
from utils.images.palette import IGNORE_INDEX, numbered_classes
from utils.voc.folder import VocFolder
from utils.voc.names import list_some
from utils.voc.survey import PairRecord


def looks_like_0_255(counts: np.ndarray) -> bool:
    """Whether masks hold exactly the values 0 and 255: drawings, not class indices. counts: (256,)."""
    return set(np.flatnonzero(counts)) == {0, IGNORE_INDEX}


def resolve_class_names(folder: VocFolder, counts: np.ndarray) -> list[str]:
    """class_names.txt, or class_0 … up to the largest value found (255 aside).

    counts: (256,) pixels of each value.
    """
    names = folder.read_class_names()
    if names is not None:
        return names
    largest = int(np.flatnonzero(counts[:IGNORE_INDEX]).max(initial=1))
    return numbered_classes(max(largest, 1) + 1)


def check_classes(folder: VocFolder, records: Sequence[PairRecord], class_names: Sequence[str]) -> None:
    """Raises UserError if the masks are black and white, or if one holds a value that is no class index."""
    total = sum(record.counts for record in records)
    if looks_like_0_255(total):
        found = f"black and white masks: only the values 0 ({total[0]} pixels) and 255 ({total[255]} pixels)"
        expected = "class indices 0, 1, …, because 255 is ignored and class 0 alone teaches nothing"
        remedy = f"{folder.doctor('--map 0:0,255:1')}   (black as class 1: --map 0:1,255:0)"
        raise UserError("masks-black-white", folder.masks_dir, found, expected, remedy)
    number, names = len(class_names), list_some(class_names, 8)
    for record in records:
        beyond = [f"{value} ({n} pixels)" for value, n in record.values.items() if number <= value < 255]
        if beyond:
            path, found = folder.mask_path(record.name), f"value {list_some(beyond, 5)} in the mask"
            expected = f"values 0 … {number - 1} for the {number} classes ({names}), or 255"
            remedy = f"{folder.doctor('--map OLD:NEW,…')}, or complete {folder.class_names_path}"
            raise UserError("mask-value", path, found, expected, remedy)
