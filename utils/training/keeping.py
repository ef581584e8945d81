"""Which epoch is kept: the last one that is as good as the best, as far as the pictures can tell."""

import math

import numpy as np
from scipy import stats

from utils.scoring.confusion import ClassScores, Scores
from utils.scoring.sums import PixelSums

GROUPS = 16  # of validation pictures, at most; each is left out once


def scores_of_groups(counts: np.ndarray) -> Scores:
    """Of confusion matrices (G, K, K), one for each group of pictures; those without a pixel are left out."""
    counts = counts[counts.any((1, 2))]
    hits = np.diagonal(counts, axis1=1, axis2=2)
    return Scores(counts.sum(0), PixelSums(hits, truth=counts.sum(2), predicted=counts.sum(1)))


def pack(groups: ClassScores) -> list[list[list[int]]]:
    """Counts (G, K) as plain numbers, for a checkpoint."""
    return [values.tolist() for values in (groups.hits, groups.truth, groups.predicted)]


def unpack(numbers: list[list[list[int]]] | None) -> PixelSums | None:
    """What was packed; None: an older release did not."""
    return None if numbers is None else PixelSums(*np.array(numbers, np.int64))


def margin(one: ClassScores | None, other: ClassScores | None) -> float:
    """How far two mIoU on the same groups (G, K) of pictures may differ by chance, 0…1.

    Half of the 95 % interval of Student's t. The standard error is that of the jackknife (Efron and Stein
    1981), which leaves out one group after the other. 0 without two groups that both have.
    """
    if one is None or other is None or one.hits.shape != other.hits.shape:
        return 0.0
    count = len(one.hits)
    if count < 2:
        return 0.0
    differences = np.nan_to_num(without_each(one).miou - without_each(other).miou)
    return float(stats.t.ppf(0.975, count - 1)) * math.sqrt((count - 1) * differences.var())


def without_each(groups: ClassScores) -> PixelSums:
    """Sums over all groups but one, for each that is left out (G, K)."""
    return PixelSums(*(part.sum(0) - part for part in (groups.hits, groups.truth, groups.predicted)))
