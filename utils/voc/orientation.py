"""Whether pictures have an up or a left: how much their places in the picture say about the classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from utils.images.palette import IGNORE_INDEX

GRID = 4  # cells per side in which the pixels of a class are counted
# Subtracted from a share, divided by the number of pictures: 8 drawn pictures of cells, which have no up, had
# 0.017 by chance, 8 photographs with an up 0.047 and more.
CHANCE = 0.08


@dataclass(frozen=True)
class Asymmetry:
    """Share (0…1) of a class's variance that lies in what changes when all pictures are mirrored or turned.

    Of the class with the largest share. 0: the data look the same, so that mirrored copies are new samples.
    """

    left_right: float
    top_bottom: float
    turn: float


def count_places(mask: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """(len(values), GRID, GRID) int64 pixels of each value in the cells of a mask (H, W) uint8."""
    rows, columns = (np.arange(GRID + 1) * length // GRID for length in mask.shape)
    cells = [
        np.bincount(mask[top:bottom, left:right].ravel(), minlength=256)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]
    return np.stack(cells, axis=1)[list(values)].reshape(-1, GRID, GRID)


def measure_asymmetry(places: Sequence[dict[int, np.ndarray]]) -> Asymmetry:
    """From `count_places` of each mask, by mask value. The noise of few pictures is subtracted."""
    classes = sorted(set().union(*places) - {IGNORE_INDEX})
    shares, present = _shares(places, classes)
    total = shares.mean((0, 2, 3))
    variance = np.maximum(total * (1 - total), 1e-9)
    # A class of one or two pictures says where it lay there, not where it lies.
    common = present.sum(0) >= max(4, len(places) / 20)

    def share(differences: np.ndarray) -> float:
        """differences: (n, K, GRID, GRID), half of what changes in each picture."""
        count = len(differences)
        found = (differences.mean(0) ** 2).sum((1, 2))
        noise = (differences**2).sum((2, 3)).mean(0) / count
        explained = np.where(common, (found - 2 * noise) / GRID**2 / variance, 0)
        return float(max(explained.max(initial=0) - CHANCE / count, 0))

    symmetric = (shares + shares[..., ::-1]) / 2
    symmetric = (symmetric + symmetric[..., ::-1, :]) / 2
    return Asymmetry(
        share((shares - shares[..., ::-1]) / 2),
        share((shares - shares[..., ::-1, :]) / 2),
        share((symmetric - symmetric.swapaxes(2, 3)) / 2),
    )


def _shares(places: Sequence[dict[int, np.ndarray]], classes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """(n, K, GRID, GRID) shares of the classes among the known pixels of a cell; (n, K) whether present.

    A cell without known pixels gets the mean of the others, which counts for no place.
    """
    nothing = np.zeros((GRID, GRID), np.int64)
    counts = np.array([[one.get(value, nothing) for value in classes] for one in places], np.float64)
    counts = counts.reshape(len(places), len(classes), GRID, GRID)
    known = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(known, 1)
    mean = shares.sum((2, 3), keepdims=True) / np.maximum((known > 0).sum((2, 3), keepdims=True), 1)
    return np.where(known > 0, shares, mean), counts.sum((2, 3)) > 0
