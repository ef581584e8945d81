"""Error bars: the bootstrap over pictures (Efron and Tibshirani 1993, chapter 13)."""

import numpy as np
from scipy import stats

RESAMPLES = 2000
LEVEL = 0.95
FEW = 10  # pictures below which the bars are rough
LEAST = 6  # pictures below which chance makes all of them agree in more than 5 % of all cases (sign test)


def draw_weights(pictures: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """(B, N) int64: how often each of N pictures is in each of B resamples of N; the same for the same N.

    Whole pictures are drawn, because pixels of one picture are alike.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(pictures, np.full(pictures, 1 / pictures), size=resamples)


def interval(values: np.ndarray, pictures: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the interval (LEVEL) of resamples (B, …) of some pictures; NaN where most have no value.

    The percentile interval, whose tails are cut for small numbers, as it would be too narrow (the expanded
    interval of Hesterberg 2015, The American Statistician 69:371). One picture has no interval.
    """
    known = (np.isfinite(values).mean(0) > 0.5) & (pictures > 1)
    quantile = stats.t.ppf((1 - LEVEL) / 2, max(pictures - 1, 1))
    tail = 100 * stats.norm.cdf(quantile * np.sqrt(pictures / max(pictures - 1, 1)))
    safe = np.where(known, values, 0)
    low, high = np.nanpercentile(safe, [tail, 100 - tail], axis=0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)
