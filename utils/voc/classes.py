"""The classes of a VOC folder: their names, and whether the masks hold them."""

from collections.abc import Sequence

import numpy as np

from utils.core.console import UserError
from utils.images.palette import IGNORE_INDEX, numbered_classes
from utils.voc.folder import VocFolder
from utils.voc.survey import PairRecord


def looks_like_0_255(counts: np.ndarray) -> bool:
    """Whether masks hold exactly the values 0 and 255: black and white drawings, not class indices.

    counts: (256,).
    """
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
        raise UserError(
            "masks-black-white",
            folder.masks_dir,
            f"only the values 0 ({total[0]} pixels) and 255 ({total[255]} pixels): masks drawn in black and "
            "white. 255 means 'ignore', so the network would learn nothing but class 0",
            "class indices 0, 1, … (255 only where the truth is unknown)",
            f"{folder.doctor('--map 0:0,255:1')}   "
            "(white becomes class 1; for black as class 1: --map 0:1,255:0)",
        )
    for record in records:
        beyond = [value for value in record.values if len(class_names) <= value != IGNORE_INDEX]
        if beyond:
            listed = ", ".join(f"{value} ({record.values[value]} pixels)" for value in beyond[:5])
            number, names = len(class_names), ", ".join(class_names[:8])
            raise UserError(
                "mask-value",
                folder.mask_path(record.name),
                f"value {listed}{', …' * (len(beyond) > 5)} in the mask",
                f"values 0 … {number - 1} for the {number} classes ({names}), or 255",
                f"complete {folder.class_names_path}, or map the values: {folder.doctor('--map OLD:NEW,…')}",
            )
