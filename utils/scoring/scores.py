"""The table of all scores: name, what it is computed from, and what it means."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.scoring.confusion import ratio
from utils.scoring.sums import BorderSums, ObjectSums

IOUS = np.arange(50, 100, 5)  # in percent: above which an object counts as found


@dataclass(frozen=True)
class Score:
    """A score of every class, or of all together.

    key: column of the tables; group: field of `SplitResults`; of: sums (…) → (…, K) of each class, or (…);
    kind: "share" (0…1, or −1…1 for kappa), "length" (pixels) or "count"; better: 1 if higher is, -1 if lower
    is, 0 if nearer to zero is; by_class: whether it has a value for each class.
    """

    key: str
    label: str
    group: str
    of: Callable[[Any], np.ndarray]
    kind: str = "share"
    better: int = 1
    by_class: bool = True


def f_score(both: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Harmonic mean of both/truth and both/predicted."""
    return ratio(2 * both, truth + predicted)


def at(objects: ObjectSums, percent: int) -> np.ndarray:
    """Objects found at an IoU above `percent`."""
    return objects.hits[..., int(np.flatnonzero(percent == IOUS)[0])]


def object_f1(objects: ObjectSums, percent: int) -> np.ndarray:
    return f_score(at(objects, percent), objects.truth, objects.predicted)


def mean_object_f1(objects: ObjectSums) -> np.ndarray:
    """Mean F1 over the ten IoUs."""
    return f_score(objects.hits.mean(-1), objects.truth, objects.predicted)


def contour_f(borders: BorderSums) -> np.ndarray:
    """Harmonic mean of the shares of both contours that have the other one within the tolerance."""
    precision = ratio(borders.predicted_near, borders.predicted, nothing=0.0)
    recall = ratio(borders.truth_near, borders.truth, nothing=0.0)
    known = borders.truth + borders.predicted > 0
    return np.where(known, ratio(2 * precision * recall, precision + recall, nothing=0.0), np.nan)


CLASS_SCORES = (
    Score("iou", "IoU", "pixels", lambda s: s.iou),
    Score("dice", "Dice", "pixels", lambda s: s.dice),
    Score("precision", "precision", "pixels", lambda s: s.precision),
    Score("recall", "recall", "pixels", lambda s: s.recall),
    Score("specificity", "specificity", "pixels", lambda s: s.specificity),
    Score("boundary_iou", "boundary IoU", "borders", lambda s: ratio(s.band_both, s.band_either)),
    Score("boundary_f", "boundary F", "borders", contour_f),
    Score("hausdorff95", "Hausdorff 95 %", "borders", lambda s: ratio(s.hausdorff, s.measured), "length", -1),
    Score(
        "surface_distance",
        "surface distance",
        "borders",
        lambda s: ratio(s.surface, s.measured),
        "length",
        -1,
    ),
    Score("object_precision", "object precision", "objects", lambda s: ratio(at(s, 50), s.predicted)),
    Score("object_recall", "object recall", "objects", lambda s: ratio(at(s, 50), s.truth)),
    Score("object_f1", "object F1", "objects", lambda s: object_f1(s, 50)),
    Score("object_f1_75", "object F1 at 0.75", "objects", lambda s: object_f1(s, 75)),
    Score("object_f1_mean", "object F1, mean 0.5 … 0.95", "objects", mean_object_f1),
    Score(
        "panoptic_quality",
        "panoptic quality",
        "objects",
        lambda s: ratio(2 * s.overlap, s.truth + s.predicted),
    ),
    Score(
        "count_error", "count error", "objects", lambda s: ratio(s.predicted - s.truth, s.truth), "share", 0
    ),
    Score("parts_error", "Betti 0 error", "topology", lambda s: ratio(s.parts, s.pictures), "count", -1),
    Score("holes_error", "Betti 1 error", "topology", lambda s: ratio(s.holes, s.pictures), "count", -1),
)


def overall(
    key: str, label: str, group: str, of: Callable[[Any], np.ndarray], kind: str = "share", better: int = 1
) -> Score:
    return Score(key, label, group, of, kind, better, by_class=False)


OVERALL_SCORES = (
    overall("accuracy", "overall accuracy", "pixels", lambda s: s.accuracy),
    overall("fwiou", "frequency-weighted IoU", "pixels", lambda s: s.fwiou),
    overall("kappa", "Cohen's kappa", "pixels", lambda s: s.kappa),
    overall(
        "rand_f",
        "Rand F-score of the mask",
        "regions",
        lambda s: f_score(s.joined_both, s.joined_truth, s.joined_predicted),
    ),
    overall("v_rand", "V-Rand (ISBI 2012)", "regions", lambda s: ratio(s.rand, s.rand_pictures)),
    overall("v_rand_split", "V-Rand, split", "regions", lambda s: ratio(s.rand_split, s.rand_pictures)),
    overall("v_rand_merge", "V-Rand, merge", "regions", lambda s: ratio(s.rand_merge, s.rand_pictures)),
    overall("v_info", "V-Info (ISBI 2012)", "regions", lambda s: ratio(s.info, s.info_pictures)),
    overall("v_info_split", "V-Info, split", "regions", lambda s: ratio(s.info_split, s.info_pictures)),
    overall("v_info_merge", "V-Info, merge", "regions", lambda s: ratio(s.info_merge, s.info_pictures)),
    overall(
        "calibration_error",
        "expected calibration error",
        "probabilities",
        lambda s: calibration_error(s.counts),
        "share",
        -1,
    ),
)


def calibration_error(counts: np.ndarray, bins: int = 15) -> np.ndarray:
    """Expected calibration error (Guo et al. 2017, eq. 3): mean distance of confidence and accuracy.

    counts (…, 2, 1001): see `ProbabilitySums`. Confidence: the probability of the class that was predicted,
    in `bins` of equal width between 0 and 1.
    """
    probability = np.arange(1001) / 1000
    confidence = np.maximum(probability, 1 - probability)
    right = np.where(probability > 0.5, counts[..., 1, :], counts[..., 0, :])
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    one_hot = (place[:, None] == np.arange(bins)).astype(float)
    both = counts.sum(-2)
    gaps = np.abs(right @ one_hot - (both * confidence) @ one_hot).sum(-1)
    return ratio(gaps, both.sum(-1))
