"""Error bars: the bootstrap over pictures (Efron and Tibshirani 1993, chapter 13)."""

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
FEW = 10  # pictures below which the bars are too narrow to be relied on


def draw_weights(pictures: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """(B, N) int64: how often each of N pictures is in each of B resamples of N; the same for the same N.

    Whole pictures are drawn, because pixels of one picture are alike.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(pictures, np.full(pictures, 1 / pictures), size=resamples)


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the percentile interval (LEVEL) of resamples (B, …); NaN where most of them have no value."""
    known = np.isfinite(values).mean(0) > 0.5
    tail = 100 * (1 - LEVEL) / 2
    safe = np.where(known, values, 0)
    low, high = np.nanpercentile(safe, [tail, 100 - tail], axis=0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)
