"""How the score grows with the number of pictures, and what twice as many would bring."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class LearningCurve:
    """The error 1 − mIoU as a power of the number of pictures (Hestness et al. 2017, eq. 1 without offset).

    A straight line through the logarithms of both, by least squares. pictures, mious: of each run that the
    line follows; few: (pictures, mious) of those that it leaves out; slope, offset: of the line; spread:
    standard deviation of the runs around it.
    """

    pictures: np.ndarray
    mious: np.ndarray
    few: tuple[np.ndarray, np.ndarray]
    slope: float
    offset: float
    spread: float

    @property
    def quantile(self) -> float:
        return float(stats.t.ppf(0.5 + LEVEL / 2, len(self.mious) - 2))

    def predict(self, pictures: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """mIoU with so many pictures, and the ends of the 95 % band of the line."""
        x, known = np.log(pictures), np.log(self.pictures)
        away = (x - known.mean()) ** 2 / ((known - known.mean()) ** 2).sum()
        width = self.quantile * self.spread * np.sqrt(1 / len(known) + away)
        line = self.offset + self.slope * x
        middle, low, high = (1 - np.minimum(np.exp(y), 1.0) for y in (line, line + width, line - width))
        return middle, low, high

    @property
    def is_rising(self) -> bool:
        """Whether the line falls by more than the noise, and the runs on fewer pictures were worse."""
        sizes, scores = self.few
        if len(sizes) and scores.mean() >= self.mious[self.pictures == self.pictures.min()].mean():
            return False
        known = np.log(self.pictures)
        error = self.spread / np.sqrt(((known - known.mean()) ** 2).sum())
        return self.slope + self.quantile * error < 0

    def sentence(self) -> str:
        """What twice as many pictures would bring, or that it cannot be told."""
        most = int(self.pictures.max())
        now, then = self.predict(most), self.predict(2 * most)
        numbers = f"mIoU {then[0]:.3f} ({then[1]:.3f} … {then[2]:.3f}) with {2 * most} pictures"
        if not self.is_rising:
            return f"cannot tell: the runs differ by as much as the numbers of pictures do; {numbers}"
        return f"twice as many pictures would bring {then[0] - now[0]:+.3f}: {numbers}, trained as long"

    def figure(self) -> Figure:
        figure = Figure(figsize=(6, 4.5), layout="constrained")
        axes = figure.subplots()
        most = self.pictures.max()
        sizes, mious = (
            np.concatenate(pair) for pair in zip(self.few, (self.pictures, self.mious), strict=True)
        )
        x = np.geomspace(self.pictures.min(), 2 * most, 50)
        line, low, high = self.predict(x)
        axes.fill_between(x, low, high, color="#4c78a8", alpha=0.2, linewidth=0, label="95 % band")
        axes.plot(x[x <= most], line[x <= most], color="#4c78a8")
        axes.plot(x[x >= most], line[x >= most], color="#4c78a8", linestyle="--", label="extrapolated")
        axes.plot(sizes, mious, "o", color="#d95f02", label="runs")
        ticks = sorted({*sizes.tolist(), 2 * int(most)})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set(xlabel="training pictures", ylabel="mIoU")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        return figure


def fit_curve(pictures: Sequence[int], mious: Sequence[float]) -> LearningCurve:
    """From three runs or more, of two numbers of pictures or more.

    The smallest number is left out if three runs of two numbers are left: curves flatten towards an error
    that no number of pictures mends (Hestness et al. 2017, figure 6), and the line would promise too much.
    """
    sizes, scores = np.array(pictures), np.array(mious)
    more = sizes > sizes.min()
    fitted = more if more.sum() > 2 and len(set(sizes[more])) > 1 else np.full(len(sizes), True)
    x, y = np.log(sizes[fitted]), np.log(np.maximum(1 - scores[fitted], 1e-6))
    slope, offset = np.polyfit(x, y, 1)
    spread = float(np.sqrt(((y - offset - slope * x) ** 2).sum() / (len(x) - 2)))
    few = sizes[~fitted], scores[~fitted]
    return LearningCurve(sizes[fitted], scores[fitted], few, float(slope), float(offset), spread)
