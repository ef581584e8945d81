"""The classes of a VOC folder: their names, and whether the masks hold them."""

import re
from collections.abc import Collection, Sequence

import numpy as np

from utils.core.console import UserError
from utils.core.files import read_record
from utils.images.palette import IGNORE_INDEX, numbered_classes
from utils.voc.folder import VocFolder
from utils.voc.names import list_some
from utils.voc.survey import PairRecord


def looks_like_0_255(counts: np.ndarray) -> bool:
    """Whether masks hold exactly the values 0 and 255: drawings, not class indices. counts: (256,)."""
    return set(np.flatnonzero(counts)) == {0, IGNORE_INDEX}


def looks_mixed(masks: Sequence[Collection[int]], folder: VocFolder) -> bool:
    """Whether some masks are drawn in 0 and 255 and the others hold class indices and nowhere 255.

    masks: the values of each. No: where an earlier --map says that 255 stays 255.
    """
    drawn = [values for values in masks if {*values} == {0, IGNORE_INDEX}]
    coded = [values for values in masks if {*values} - {0, IGNORE_INDEX}]
    if not drawn or not coded or any(IGNORE_INDEX in values for values in coded):
        return False
    # Larger values are gray levels, as 255 is.
    return max(map(max, coded)) < 64 and not keeps_white(read_settings(folder).get("map", ""))


def keeps_white(mapping: str | None) -> bool:
    """Whether a --map says that 255 is ignored."""
    return re.search(r"(?:^|,)\s*255\s*:\s*255\s*(?:,|$)", mapping or "") is not None


def read_settings(folder: VocFolder) -> dict:
    """How voc2unet.py last gave the masks their classes, from mask_map.json. Raises UserError."""
    return read_record(folder.root / "mask_map.json").get("settings", {})


def resolve_class_names(folder: VocFolder, counts: np.ndarray) -> list[str]:
    """class_names.txt, or class_0 … up to the largest value found (255 aside).

    counts: (256,) pixels of each value.
    """
    names = folder.read_class_names()
    if names is not None:
        return names
    largest = int(np.flatnonzero(counts[:IGNORE_INDEX]).max(initial=1))
    return numbered_classes(max(largest, 1) + 1)


def offer_both(black: str, white: str, share: float, names: Sequence[str] | None) -> str:
    """Two commands, each on a line of its own, because the masks do not tell which color is the background.

    black, white: those that make this color the background; share: of the white pixels. The larger area
    comes first.
    """
    named = len(names or ()) == 2 and names != numbered_classes(2)
    background, object_name = names if named else ("the background", "class 1")
    shares = {"black": 1 - share, "white": share}
    lines = []
    for command, color, other in ((black, "black", "white"), (white, "white", "black")):
        meaning = f"{color}, {shares[color]:.0%} of the pixels, becomes {background} and"
        lines.append(f"{command}   ({meaning} {other} {object_name})".replace("%", " %"))
    return "\n            ".join(lines if share <= 0.5 else reversed(lines))


def check_classes(
    folder: VocFolder, records: Sequence[PairRecord], class_names: Sequence[str], nearest: int = 0
) -> None:
    """Raises UserError if the masks are black and white, or if one holds a value that is no class index.

    nearest: how near to black and white the values of other masks are, which a command has to read too.
    """
    total = sum(record.counts for record in records)
    if looks_like_0_255(total):
        found = f"black and white masks: only the values 0 ({total[0]} pixels) and 255 ({total[255]} pixels)"
        expected = "class indices 0, 1, …, because 255 is ignored and class 0 alone teaches nothing"
        near = f" --nearest {nearest}" * bool(nearest)
        commands = [folder.doctor(f"--map {text}{near}") for text in ("0:0,255:1", "0:1,255:0")]
        remedy = offer_both(*commands, float(total[255] / total.sum()), class_names)
        raise UserError("masks-black-white", folder.masks_dir, found, expected, remedy)
    if looks_mixed([record.values for record in records], folder):
        found = "masks of 0 and 255 only beside masks in class indices, so that objects would be ignored"
        expected = "one coding in all masks"
        raise UserError("masks-mixed", folder.masks_dir, found, expected, f"{folder.doctor()} has the remedy")
    number, names = len(class_names), list_some(class_names, 8)
    for record in records:
        beyond = [f"{value} ({n} pixels)" for value, n in record.values.items() if number <= value < 255]
        if beyond:
            path, found = folder.mask_path(record.name), f"value {list_some(beyond, 5)} in the mask"
            expected = f"values 0 … {number - 1} for the {number} classes ({names}), or 255"
            value = next(value for value in record.values if number <= value < 255)
            choices = [f"{value}:{index} for {name}" for index, name in enumerate(class_names)]
            remedy = f"complete {folder.class_names_path}, or give each value a class by --map"
            remedy += f" of voc2unet.py: {list_some(choices, 4)}, {value}:255 to ignore it"
            raise UserError("mask-value", path, found, expected, remedy)
