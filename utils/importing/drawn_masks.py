"""Masks of volumes that are pictures: one for each slice."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.core.console import UserError, counted
from utils.images.reading import read_mask
from utils.importing.tree import Tree
from utils.voc.folder import check_size, is_image
from utils.voc.names import core_name, natural_key


@dataclass(frozen=True)
class Masks:
    """A picture of a mask for each slice."""

    paths: tuple[Path, ...]

    @property
    def path(self) -> Path:
        return self.paths[0]

    def load(self) -> np.ndarray:
        """Raises UserError for masks that do not hold class indices, or of several sizes."""
        masks = [read_mask(path) for path in self.paths]
        for path, mask in zip(self.paths, masks, strict=True):
            check_size(path, mask, self.paths[0], masks[0].shape)
        return np.stack(masks).transpose(2, 1, 0)[..., None]


def find_drawn_masks(tree: Tree, volumes: Iterable[str]) -> dict[str, Masks]:
    """Volume → its masks as pictures: one of its own name, or one for each slice, such as x_000, x_001, …

    Raises UserError for masks none of which has the name of a volume.
    """
    masks: dict[str, list[Path]] = defaultdict(list)
    names = {core_name(name): name for name in volumes}
    paths = [path for path in tree.files if is_image(path) and says_labels(path.relative_to(tree.root))]
    for path in sorted(paths, key=lambda path: natural_key(path.name)):
        stem = core_name(path.stem)
        name = names.get(stem) or names.get(re.sub(r"[-_. ]*\d+$", "", stem))
        if name is not None:
            masks[name].append(path)
    if paths and not masks:
        found = (
            f"{counted(len(paths), 'mask')} such as {paths[0].name}, none of which has the name of a volume"
        )
        expected, remedy = "x.png, or x_000.png, x_001.png, … for x.nii.gz", "rename the masks"
        raise UserError("no-pairs", tree.root, found, expected, remedy)
    return {name: Masks(tuple(found)) for name, found in masks.items()}


def says_labels(path: Path) -> bool:
    """Whether a word in the name of a file, or of a folder above it, says that it holds labels."""
    words = re.split(r"[-_. ]+", "_".join(path.parts).lower())
    return any(word.startswith(("mask", "label", "seg", "gt", "truth", "anno", "target")) for word in words)
