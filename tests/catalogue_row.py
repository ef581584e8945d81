"""What a row of the catalogue states."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from doctor_folder import MASK, make_folder

from utils.voc.folder import VocFolder

OK, AS_IS = "ok", MappingProxyType({})


def make_base(root: Path) -> VocFolder:
    """Pairs a … d: a and b to train, c and d to validate."""
    folder = make_folder(root, "abcd")
    splits = {"train": ["a", "b"], "val": ["c", "d"], "trainval": ["a", "b", "c", "d"]}
    for split, names in splits.items():
        folder.write_split(split, names)
    return VocFolder(root)


class Row(NamedTuple):
    """One case.

    build: makes it in the folder that `base` makes (pairs a … d; VocFolder: nothing yet); files to import go
    to folder.root.parent / "input".
    said: script → the code of its error, those of its remarks, or `ok`. An error changes no file.
    yields: name → mask after the first script and, if that is refused, after the command it proposes. None:
    it proposes no command, and the masks stay. AS_IS: the command leaves the masks as they are.
    user: what the user does, as the message says, before the command is run.
    unchanged: files and folders that the script and the command leave alone. Masks are always kept: in place
    or in SegmentationClass.orig.
    """

    name: str
    build: Callable[[VocFolder], object]
    said: Mapping[str, str]
    yields: Mapping[str, np.ndarray] | None = None
    user: Callable[[VocFolder], object] | None = None
    unchanged: Sequence[str] = ("voc/JPEGImages", "voc/class_names.txt", "input")
    base: Callable[[Path], VocFolder] = make_base


def says(voc2unet: str, *others: str) -> dict[str, str]:
    """Codes of voc2unet.py, train.py and get_miou.py; the last one given counts for the rest."""
    codes = [voc2unet, *others]
    return dict(zip(("voc2unet", "train", "get_miou"), codes + codes[-1:] * (3 - len(codes)), strict=True))


def masks(b: np.ndarray = MASK, others: np.ndarray = MASK) -> dict[str, np.ndarray]:
    """The masks of pairs a … d where b may differ from the others."""
    return {"a": others, "b": b, "c": others, "d": others}
