"""How the gaps of a separating class are closed best: chosen on pictures whose masks are known."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils.images.palette import IGNORE_INDEX
from utils.inference.gaps import Closing, draw_lines, find_lines
from utils.scoring.confusion import ConfusionMatrix
from utils.scoring.regions import rand_f

DEPTHS = (3.5, 2.3, 4.6, 5.8)  # of which `choose_closing` takes one
PROBABILITIES = (0.6, 0.65, 0.7, 0.75)  # likewise, above one half
PRICE = 0.02  # of mIoU, that separating better may cost


class ClosingScores(NamedTuple):
    """rand_f: F-score of the pairs of pixels that truth and mask join into one region, mean over pictures."""

    rand_f: float
    miou: float


def choose_closing(
    pictures: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], index: int, num_classes: int
) -> tuple[Closing, list[ClosingScores]]:
    """The closing whose masks separate the true regions best.

    Also the scores of the usual depth and of the chosen one, both by the more probable class, and its own.

    pictures: truth and mask (H, W) uint8, and log odds as for `close_gaps`. First the depth, by Rand F of the
    mask as it is. Then how thin the class is: the best Rand F at PRICE, because a line of one pixel would
    have the highest.
    """

    def measure(lines: list[np.ndarray], least: float) -> ClosingScores:
        return measure_closing(pictures, lines, index, num_classes, least)

    lines = {depth: [find_lines(log_odds, depth) for _, _, log_odds in pictures] for depth in DEPTHS}
    deep = {depth: measure(lines[depth], 0.5) for depth in DEPTHS}
    depth = max(DEPTHS, key=lambda one: deep[one].rand_f)
    thin = {0.5: deep[depth]} | {least: measure(lines[depth], least) for least in PROBABILITIES}
    affordable = [least for least, scores in thin.items() if scores.miou >= deep[depth].miou - PRICE]
    least = max(affordable, key=lambda one: thin[one].rand_f)
    return Closing(depth, least), [deep[Closing.depth], deep[depth], thin[least]]


def measure_closing(
    pictures: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    lines: Sequence[np.ndarray],
    index: int,
    num_classes: int,
    least: float,
) -> ClosingScores:
    """Of pictures as for `choose_closing` and their lines."""
    matrix, rands = ConfusionMatrix(num_classes), []
    for (truth, mask, log_odds), between in zip(pictures, lines, strict=True):
        closed = draw_lines(mask, log_odds, index, between, least)
        matrix.update(truth, closed)
        rands.append(rand_f((truth != index) & (truth != IGNORE_INDEX), closed != index))
    return ClosingScores(float(np.mean(np.nan_to_num(rands))), matrix.scores().miou)
