"""Objects, the connected parts of a class: found or not, how many, and how many holes they have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from skimage.measure import label

from utils.images.palette import IGNORE_INDEX
from utils.scoring.scores import IOUS
from utils.scoring.sums import ObjectSums, TopologySums


@dataclass(frozen=True, eq=False)
class Parts:
    """Connected parts of all classes of a mask: labels (H, W), 0 where it is ignored, and `classes` (n + 1,).

    The first of the classes, of label 0, is IGNORE_INDEX.
    """

    mask: np.ndarray
    labels: np.ndarray
    classes: np.ndarray


def label_parts(mask: np.ndarray, membrane: int | None = None) -> Parts:
    """Parts of a mask (H, W) uint8, which are 8-connected.

    membrane: index of a class that separates others. These are 4-connected, so that a thin line separates.
    """
    if membrane is None:
        labels = _label(mask, 8)
    else:
        labels = _label(np.where(mask == membrane, np.uint8(IGNORE_INDEX), mask), 4)
        lines = _label(np.where(mask == membrane, mask, np.uint8(IGNORE_INDEX)), 8)
        labels = np.where(lines > 0, lines + labels.max(), labels)
    classes = np.full(labels.max() + 1, IGNORE_INDEX, np.int64)
    classes[labels] = mask
    return Parts(mask, labels, classes)


def _label(mask: np.ndarray, connectivity: int) -> np.ndarray:
    return label(mask, background=IGNORE_INDEX, connectivity=2 if connectivity == 8 else 1)


def measure_objects(truth: Parts, prediction: Parts, num_classes: int, classes: Sequence[int]) -> ObjectSums:
    """Object sums (K,) of a picture; only the truth is ignored in places.

    classes: those whose parts are objects. Objects of one class whose IoU is above 0.5 are a pair. Each has
    one partner at most. Panoptic quality is the sum of the IoUs divided by the mean number of objects in
    truth and prediction (Kirillov et al. 2019, eq. 1). As there, ignored pixels belong to no area, and a
    predicted object that is mostly on them is left out, if it is in no pair.
    """
    counted = truth.labels > 0
    table = overlaps(truth.labels[counted], prediction.labels[counted])
    sizes = np.bincount(prediction.labels.ravel())
    true_area, found_area = table.sum(1), np.zeros(len(sizes), np.int64)
    found_area[: table.shape[1]] = table.sum(0)
    true = np.isin(truth.classes, classes)
    row, column, both = table.row, table.col, table.data
    alike = (truth.classes[row] == prediction.classes[column]) & true[row]
    row, column, both = row[alike], column[alike], both[alike]
    either = true_area[row] + found_area[column] - both
    above = 100 * both[:, None] > IOUS * either[:, None]
    found = 2 * found_area >= sizes
    found[column[above[:, 0]]] = True
    found &= np.isin(prediction.classes, classes)
    hits, overlap = np.zeros((num_classes, len(IOUS))), np.zeros(num_classes)
    np.add.at(hits, truth.classes[row], above)
    np.add.at(overlap, truth.classes[row], np.where(above[:, 0], both / either, 0))
    number = (_count(truth.classes[true], num_classes), _count(prediction.classes[found], num_classes))
    return ObjectSums(*number, hits, overlap)


def overlaps(true: np.ndarray, found: np.ndarray) -> coo_array:
    """Number of pixels of each pair of labels that there is, of two arrays (n,) of labels."""
    shape = true.max(initial=0) + 1, found.max(initial=0) + 1
    table = coo_array((np.ones(len(true), np.int64), (true, found)), shape)
    # The conversion adds up entries of one place, which is faster than sorting them.
    return table.tocsr().tocoo()


def measure_topology(
    truth: Parts, prediction: Parts, num_classes: int, membrane: int | None = None
) -> TopologySums:
    """Topology sums (K,) of a picture, both masks ignored in the same places.

    Differences in the number of connected parts (Betti 0) and of holes (Betti 1). Holes of 8-connected parts
    are 4-connected, and the reverse.
    """
    numbers = [betti_numbers(parts, num_classes, membrane) for parts in (truth, prediction)]
    parts, holes = (np.abs(one - other) for one, other in zip(*numbers, strict=True))
    present = (numbers[0][0] + numbers[1][0] > 0).astype(float)
    return TopologySums(parts, holes, present)


def betti_numbers(
    parts: Parts, num_classes: int, membrane: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Connected parts and holes (K,) of every class."""
    euler = euler_numbers(parts.mask, 8 if membrane is None else 4)[:num_classes]
    if membrane is not None:
        euler[membrane] = euler_numbers(parts.mask, 8)[membrane]
    number = _count(parts.classes[1:], num_classes)
    return number, number - euler


def euler_numbers(mask: np.ndarray, connectivity: int) -> np.ndarray:
    """Parts less holes (256,) of every value of a mask (H, W) uint8 but 255.

    From the 2×2 blocks of pixels (Gray 1971), all values at once. scikit-image's `euler_number` takes one
    value at a time.
    """
    wide = np.pad(mask, 1, constant_values=IGNORE_INDEX)
    a, b, c, d = wide[:-1, :-1], wide[:-1, 1:], wide[1:, :-1], wide[1:, 1:]
    if connectivity == 8:
        corners, joints = d[(d != a) & (d != b) & (d != c)], c[(c != a) & (c == b)]
    else:
        corners, joints = d[(d != b) & (d != c)], d[(d == b) & (d == c) & (d != a)]
    return np.bincount(corners, minlength=256) - np.bincount(joints, minlength=256)


def _count(classes: np.ndarray, num_classes: int) -> np.ndarray:
    return np.bincount(classes, minlength=num_classes)[:num_classes].astype(float)
