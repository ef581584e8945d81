"""All that is known of a split after scoring it: one tree, from which every table, plot and page is made."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from utils.scoring.bootstrap import draw_weights, interval
from utils.scoring.confusion import Scores, mean_of, ratio
from utils.scoring.scores import CLASS_SCORES, OVERALL_SCORES, Score
from utils.scoring.sums import BorderSums, ObjectSums, PixelSums, ProbabilitySums, RegionSums, TopologySums
from utils.scoring.thresholds import ThresholdCurve, threshold_curve


@dataclass(frozen=True)
class Measures:
    """What is measured beside pixels, and how.

    tolerance: pixels by which a contour may be off in the boundary F-score; pixel_size, unit: side of a
    pixel; object_classes: indices of the classes whose connected parts are objects; membrane: index of the
    class that separates regions, or None; v_rand_threshold, v_info_threshold: of the probability of the
    regions, best for the pooled score, or None where masks were scored.
    """

    tolerance: int = 2
    pixel_size: float = 1.0
    unit: str = "px"
    object_classes: tuple[int, ...] = ()
    membrane: int | None = None
    v_rand_threshold: float | None = None
    v_info_threshold: float | None = None


@dataclass(frozen=True)
class Estimate:
    """A score of every class and, in the last place, their mean (K + 1,); or of all together, ().

    pooled: from the sums over the split, low … high its 95 % interval over pictures; per_picture: the mean
    over the pictures that have a value, with its interval. NaN where there is none.
    """

    pooled: np.ndarray
    low: np.ndarray
    high: np.ndarray
    per_picture: np.ndarray
    per_picture_low: np.ndarray
    per_picture_high: np.ndarray


@dataclass(frozen=True)
class SplitResults:
    """Scores of N pictures and K classes. Pictures are in the order of their names.

    ignored: (N,) pixels marked 255 in the truth; matrix: (K, K) int64, sum over the pictures; the groups hold
    the sums of each picture, first axis N. None: not measured.
    """

    class_names: list[str]
    names: list[str]
    ignored: np.ndarray
    matrix: np.ndarray
    pixels: PixelSums
    borders: BorderSums | None = None
    objects: ObjectSums | None = None
    topology: TopologySums | None = None
    regions: RegionSums | None = None
    probabilities: ProbabilitySums | None = None
    measures: Measures = field(default_factory=Measures)

    @property
    def scores(self) -> Scores:
        """Those of the confusion matrix of the whole split."""
        return Scores(self.matrix)

    @property
    def class_scores(self) -> list[Score]:
        """Those that were measured."""
        return [score for score in CLASS_SCORES if getattr(self, score.group) is not None]

    @property
    def overall_scores(self) -> list[Score]:
        return [score for score in OVERALL_SCORES if getattr(self, score.group) is not None]

    @cached_property
    def weights(self) -> np.ndarray:
        """(B, N) of the bootstrap."""
        return draw_weights(len(self.names))

    @cached_property
    def threshold_curve(self) -> ThresholdCurve | None:
        """Of two classes; None for more, and if no pixel of the truth is of the second class."""
        return threshold_curve(self.probabilities.pooled().counts) if self.probabilities else None

    def pooled(self, score: Score) -> np.ndarray:
        """From the sums over the split: (K + 1,), the mean of the classes last, or ()."""
        return with_mean(score, score.of(getattr(self, score.group).pooled()))

    def per_picture(self, score: Score) -> np.ndarray:
        """Of each picture alone: (N, K + 1), the mean of its classes last, or (N,)."""
        return with_mean(score, score.of(getattr(self, score.group)))

    def resampled(self, score: Score) -> np.ndarray:
        """Of every resample of the bootstrap: (B, K + 1) or (B,)."""
        return with_mean(score, score.of(getattr(self, score.group).weighted(self.weights)))

    def estimate(self, score: Score) -> Estimate:
        each = self.per_picture(score)
        means = weighted_means(self.weights, each)
        average = weighted_means(np.ones((1, len(self.names))), each)[0]
        bars = (interval(values, len(self.names)) for values in (self.resampled(score), means))
        (low, high), (mean_low, mean_high) = bars
        return Estimate(self.pooled(score), low, high, average, mean_low, mean_high)


def with_mean(score: Score, values: np.ndarray) -> np.ndarray:
    """The mean over the classes behind them; scores of all classes together stay as they are."""
    if not score.by_class:
        return values
    return np.concatenate([values, np.asarray(mean_of(values))[..., None]], axis=-1)


def weighted_means(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """weights (B, N), values (N, …) with NaN left out → (B, …)."""
    known = np.isfinite(values)
    return ratio(np.tensordot(weights, np.where(known, values, 0), 1), np.tensordot(weights, known, 1))
