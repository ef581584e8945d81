"""How thin the classes are, and which of them separates others: measured on some of the masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from utils.images.masks import is_partly_annotated
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_image, read_mask
from utils.voc.folder import VocFolder
from utils.voc.strokes import complete

MASKS = 32  # that are measured, spread evenly over the training pictures
SPECK = 20  # pixels: smaller parts are not counted


@dataclass(frozen=True)
class Structure:
    """Medians over the pictures that show a class. width: mean width in pixels, twice area / perimeter.

    parts: into which it cuts the rest of a picture; largest: share of the rest in the largest of them.
    """

    width: float
    parts: float
    largest: float

    @property
    def separates(self) -> bool:
        """Whether it is a net whose meshes are the objects, such as membranes between cells."""
        return self.width < 12 and self.parts >= 8 and self.largest < 0.5


def measure_structures(folder: VocFolder, names: Sequence[str]) -> dict[int, Structure]:
    """By class index, from the masks of some of these names."""
    found: dict[int, list[tuple[float, float, float]]] = {}
    for number in np.unique(np.linspace(0, len(names) - 1, min(MASKS, len(names))).round().astype(int)):
        mask = read_mask(folder.mask_path(names[number]))
        if is_partly_annotated(np.count_nonzero(mask != IGNORE_INDEX), mask.size):
            mask = complete(read_image(folder.image_path(names[number])), mask)
        for value in np.unique(mask[mask != IGNORE_INDEX]).tolist():
            found.setdefault(value, []).append(measure(mask == value))
    return {value: Structure(*np.median(rows, axis=0).tolist()) for value, rows in found.items()}


def typical_width(structures: Mapping[int, Structure], pixels: Sequence[int]) -> float:
    """Geometric mean of the widths of the classes, weighted by their pixels, in pixels."""
    weights = np.array([pixels[index] for index in structures], np.float64)
    widths = np.array([max(one.width, 1) for one in structures.values()])
    return float(np.exp(np.average(np.log(widths), weights=weights)))


def measure(area: np.ndarray) -> tuple[float, float, float]:
    """Mean width, parts of the rest and share of the largest, see `Structure`, of an area (H, W) bool."""
    perimeter = np.count_nonzero(area[1:] != area[:-1]) + np.count_nonzero(area[:, 1:] != area[:, :-1])
    width = 2 * np.count_nonzero(area) / max(perimeter, 1)
    _, _, statistics, _ = cv2.connectedComponentsWithStats((~area).view(np.uint8), connectivity=4)
    parts = statistics[1:, cv2.CC_STAT_AREA]
    parts = parts[parts >= SPECK]
    return width, len(parts), float(parts.max(initial=0) / max(parts.sum(), 1))
