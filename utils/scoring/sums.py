"""Counts of pictures that add up: every score is a function of such sums.

So the score of a split comes from the sum over its pictures, that of a picture from its own counts, and that
of a resample of the bootstrap from a weighted sum, all by the same function.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import TypeVar

import numpy as np

from utils.scoring.confusion import ClassScores

Group = TypeVar("Group", bound="Sums")


@dataclass(frozen=True)
class Sums:
    """Arrays of numbers; a first axis, if there is one, counts pictures or resamples."""

    @classmethod
    def stack(cls: type[Group], parts: Sequence[Group]) -> Group:
        """Pictures (N of them) → arrays with N as the first axis."""
        return cls(*(np.stack([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def pooled(self: Group) -> Group:
        return type(self)(*(values.sum(0) for values in astuple(self)))

    def weighted(self: Group, weights: np.ndarray) -> Group:
        """weights (B, N), how often each picture counts → B sums."""
        return type(self)(*(np.tensordot(weights, values, 1) for values in astuple(self)))

    def pick(self: Group, order: np.ndarray) -> Group:
        """Some of the pictures, or all in another order."""
        return type(self)(*(values[order] for values in astuple(self)))


@dataclass(frozen=True)
class PixelSums(Sums, ClassScores):
    """Pixels (…, K) int64: rightly predicted, in the truth, in the prediction; without ignored ones."""

    hits: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class BorderSums(Sums):
    """Of each class (…, K): see utils/scoring/borders.py."""

    band_both: np.ndarray  # pixels of both inner bands, for the boundary IoU
    band_either: np.ndarray
    truth: np.ndarray  # pixels of the contours
    predicted: np.ndarray
    truth_near: np.ndarray  # those within the tolerance of the other contour
    predicted_near: np.ndarray
    hausdorff: np.ndarray  # sums over the pictures that have both contours, in pixels
    surface: np.ndarray
    measured: np.ndarray  # number of these pictures
    one_sided: np.ndarray  # pictures with the class in truth or prediction alone: no distance


@dataclass(frozen=True)
class ObjectSums(Sums):
    """Of each class (…, K): see utils/scoring/objects.py. Zero for classes that are no objects."""

    truth: np.ndarray  # objects
    predicted: np.ndarray
    hits: np.ndarray  # (…, K, 10): pairs above IoU 0.5, 0.55 … 0.95
    overlap: np.ndarray  # sum of the IoU of the pairs above 0.5


@dataclass(frozen=True)
class TopologySums(Sums):
    """Of each class (…, K): differences between truth and prediction, summed without their signs."""

    parts: np.ndarray  # connected parts, Betti 0
    holes: np.ndarray  # Betti 1
    pictures: np.ndarray  # with the class in truth or prediction


@dataclass(frozen=True)
class RegionSums(Sums):
    """How truth and prediction join pixels inside the true regions between membranes (…).

    See utils/scoring/regions.py. While pictures are counted, the thinned numbers have a last axis of
    thresholds; `SplitResults` holds those at the best one.
    """

    joined_both: np.ndarray  # pairs of pixels in one region of truth and arg-max mask, as it is
    joined_truth: np.ndarray
    joined_predicted: np.ndarray
    rand: np.ndarray  # of the thinned membranes: V-Rand, its split and its merge part
    rand_split: np.ndarray
    rand_merge: np.ndarray
    info: np.ndarray  # the same of V-Info
    info_split: np.ndarray
    info_merge: np.ndarray
    rand_pictures: np.ndarray  # pictures that have a V-Rand, and a V-Info
    info_pictures: np.ndarray


@dataclass(frozen=True)
class ProbabilitySums(Sums):
    """Pixels (…, 2, 1001) by class of the truth and probability of class 1 in thousandths; of two classes."""

    counts: np.ndarray
