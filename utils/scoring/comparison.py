"""Two predictions of one split against each other, picture by picture."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from utils.scoring.bootstrap import LEAST, interval
from utils.scoring.results import SplitResults
from utils.scoring.scores import Score


@dataclass(frozen=True)
class Difference:
    """Pooled score of the first and the second prediction, and the 95 % interval of first less second.

    subject: name of a class, "mean" over the classes, or "all". Bootstrap over pictures, the same ones of
    both: what makes a picture hard for both does not widen the interval.
    """

    score: Score
    subject: str
    first: float
    second: float
    low: float
    high: float
    pictures: int

    @property
    def value(self) -> float:
        return self.first - self.second

    @property
    def verdict(self) -> str:
        """`within noise`, `better`, `worse`, or `differs` where neither direction is better.

        `too few pictures` where even a difference of the same sign in all of them would be no proof.
        """
        if self.low <= 0 <= self.high:
            return "within noise"
        # One picture has no interval.
        if self.pictures < LEAST:
            return "too few pictures"
        if not self.score.better:
            return "differs"
        return "better" if self.value * self.score.better > 0 else "worse"


def compare(first: SplitResults, second: SplitResults) -> Iterator[Difference]:
    """Every score that both have, where both have a value. Raises ValueError for other pictures.

    V-Rand and V-Info of a probability at its best threshold are not compared with those of a mask.
    """
    if first.names != second.names:
        raise ValueError("other pictures")
    known = {score.key for score in (*second.class_scores, *second.overall_scores)}
    if len({x.measures.v_rand_threshold is None for x in (first, second)}) > 1:
        known = {key for key in known if not key.startswith(("v_rand", "v_info"))}
    for score in (*first.class_scores, *first.overall_scores):
        if score.key not in known:
            continue
        subjects = [*first.class_names, "mean"] if score.by_class else ["all"]
        ends = interval(first.resampled(score) - second.resampled(score), len(first.names))
        columns = (first.pooled(score), second.pooled(score), *ends)
        for subject, *values in zip(subjects, *(np.ravel(x).tolist() for x in columns), strict=True):
            if not np.isnan(values[:2]).any():
                yield Difference(score, subject, *values, len(first.names))
