"""Two classes: which threshold of the probability is best, and is the probability what it says?"""

from dataclasses import dataclass

import numpy as np

from utils.scoring.confusion import ratio


@dataclass(frozen=True)
class ThresholdCurve:
    """Precision, recall and Dice of class 1, each (1001,), where a pixel is of class 1 from a threshold on.

    thresholds: (1001,), ascending from below 0; between two thousandths, so that rounding decides nothing.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    dice: np.ndarray

    @property
    def best(self) -> int:
        """Index of the highest Dice between 0 and 1; of several, the one nearest to 0.5."""
        inside = (self.thresholds > 0) & (self.thresholds < 1)
        highest = np.flatnonzero(inside & (self.dice >= self.dice[inside].max() - 1e-12))
        return int(highest[np.abs(self.thresholds[highest] - 0.5).argmin()])

    @property
    def average_precision(self) -> float:
        """Area under the steps of the curve, as scikit-learn defines it."""
        recall = np.append(self.recall, 0.0)
        return float(-(np.diff(recall) * np.nan_to_num(self.precision)).sum())


def threshold_curve(counts: np.ndarray) -> ThresholdCurve | None:
    """The curve of pixel counts (2, 1001) as in `ProbabilitySums`; None if class 1 is not in the truth."""
    found = counts[:, ::-1].cumsum(1)[:, ::-1]
    hits, predicted, truth = found[1], found.sum(0), counts[1].sum()
    if not truth:
        return None
    thresholds = (np.arange(counts.shape[1]) - 0.5) / (counts.shape[1] - 1)
    dice = 2 * hits / (predicted + truth)
    return ThresholdCurve(thresholds, ratio(hits, predicted), hits / truth, dice)


def reliability(counts: np.ndarray, bins: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability of class 1, share of it in the truth, and pixels, each (bins,), in equal widths."""
    steps = counts.shape[1] - 1
    place = np.minimum(np.arange(steps + 1) * bins // steps, bins - 1)
    pixels = counts.sum(0)
    total, sums, hits = (
        np.bincount(place, x, minlength=bins)
        for x in (pixels, pixels * np.arange(steps + 1) / steps, counts[1])
    )
    return ratio(sums, total), ratio(hits, total), total
