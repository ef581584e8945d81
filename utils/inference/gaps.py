"""A class that separates others, such as membranes: gaps closed, and what separates nothing taken out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from skimage.measure import label
from skimage.morphology import local_minima, reconstruction
from skimage.segmentation import watershed

from utils.images.large import LARGE_PIXELS
from utils.images.masks import nearest_class
from utils.images.palette import IGNORE_INDEX
from utils.scoring.confusion import ConfusionMatrix
from utils.scoring.regions import measure_regions
from utils.scoring.scores import f_score

LOG_ODDS = 9.2  # the largest that is kept: probabilities from 0.0001 to 0.9999
SMOOTHING = 2.0  # standard deviation in pixels
NEAR = 1.5  # distance from a line, in mean distances of the class, up to which the network is believed
DOUBT = 1.2  # log odds that it needs more per such distance from there on
SURE = 2.2  # log odds from which on it is believed anywhere: a probability of 0.9
DEPTHS = (3.5, 2.3, 4.6, 5.8)  # of which `choose_closing` takes one
PROBABILITIES = (0.6, 0.65, 0.7, 0.75)  # likewise, above one half
PRICE = 0.02  # of mIoU, that separating better may cost


@dataclass(frozen=True)
class Closing:
    """How gaps are closed.

    depth: how much lower a cell must lie than the pass to its neighbour, in log odds; least: the probability
    that a pixel of the class needs to stay anywhere.
    """

    depth: float = 3.5
    least: float = 0.5

    @classmethod
    def of_settings(cls, settings: Mapping[str, object], separates_first: bool) -> "Closing":
        """As `choose_closing` stored it in a checkpoint; least only if separating comes first."""
        depth, least = (settings.get(f"gap_{name}") for name in ("depth", "probability"))
        return cls(depth or cls.depth, (separates_first and least) or cls.least)


def fits_gaps(size: Sequence[int]) -> bool:
    """Whether gaps are closed unasked in a picture of (height, width): none that is predicted band by band.

    Closing them needs all of it at once, with some 90 bytes per pixel.
    """
    return size[0] * size[1] <= LARGE_PIXELS


def close_gaps(
    mask: np.ndarray, log_odds: np.ndarray, index: int, closing: Closing = Closing()
) -> np.ndarray:
    """A copy of a mask (H, W) uint8 with lines of class `index` where its boundary has gaps.

    Pixels of the class far from a line that separates two basins must be more probable to stay, see
    `clear_dead_ends`.

    log_odds: (H, W) uint8, those of class `index`, see `log_odds_of`. In them a membrane that the network
    nearly missed still stands out from the cells, as it does not in probabilities.
    """
    lines = find_lines(log_odds, closing.depth)
    return draw_lines(mask, log_odds, index, lines, closing.least)


def draw_lines(
    mask: np.ndarray, log_odds: np.ndarray, index: int, lines: np.ndarray, least: float
) -> np.ndarray:
    if not lines.any():
        return mask.copy()
    return np.where(lines, np.uint8(index), clear_dead_ends(mask, log_odds, index, lines, least))


def find_lines(log_odds: np.ndarray, depth: float) -> np.ndarray:
    """(H, W) bool: lines between the cells, of log odds as for `close_gaps`.

    Watershed of the smoothed map (Beucher and Lantuéjoul 1979), of basins deeper than this (Grimaud 1992).
    The line between two basins is one pixel wide, 8-connected or thicker, and follows the highest values.
    """
    landscape = cv2.GaussianBlur(log_odds, (0, 0), SMOOTHING).astype(np.int32)
    # Filled up, shallow basins flow over into their neighbours.
    level = round(depth / LOG_ODDS * 255 / 2)
    filled = reconstruction(landscape + level, landscape, method="erosion").astype(np.int32)
    seeds = label(local_minima(filled))
    if seeds.max() < 2:
        return np.zeros(log_odds.shape, bool)
    return watershed(landscape, seeds, watershed_line=True) == 0


def clear_dead_ends(
    mask: np.ndarray, log_odds: np.ndarray, index: int, lines: np.ndarray, least: float
) -> np.ndarray:
    """A copy of a mask whose doubtful pixels of class `index` have the nearest other class.

    log_odds: as for `close_gaps`; least: as in `Closing`. What separates nothing is rarely a membrane. How
    much more probable than one half it must be grows with the distance from the lines, in that of the mean
    pixel of the class.
    """
    of_class = (mask == index).astype(np.uint8)
    distance = cv2.distanceTransform((~lines).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    mean = max(cv2.mean(distance, of_class)[0], 1.0)
    needed = np.clip(DOUBT * (distance / mean - NEAR), math.log(least / (1 - least)), SURE)
    doubtful = (of_class > 0) & (log_odds < 127.5 * (1 + needed / LOG_ODDS)) & (needed > 0)
    if of_class.all():
        return mask
    cleared = mask.copy()
    cleared[doubtful] = nearest_class(mask, of_class > 0, doubtful)
    return cleared


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
        sums = measure_regions((truth != index) & (truth != IGNORE_INDEX), closed != index, [])
        rands.append(float(f_score(sums.joined_both, sums.joined_truth, sums.joined_predicted)))
    return ClosingScores(float(np.mean(np.nan_to_num(rands))), matrix.scores().miou)
