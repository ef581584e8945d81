"""A class that separates others, such as membranes: gaps closed, and what separates nothing taken out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.measure import label
from skimage.morphology import local_minima, reconstruction
from skimage.segmentation import watershed

from utils.images.large import LARGE_PIXELS
from utils.images.masks import nearest_class

LOG_ODDS = 9.2  # the largest that is kept: probabilities from 0.0001 to 0.9999
SMOOTHING = 2.0  # standard deviation in pixels
NEAR = 1.5  # distance from a line, in mean distances of the class, up to which the network is believed
DOUBT = 1.2  # log odds that it needs more per such distance from there on
SURE = 2.2  # log odds from which on it is believed anywhere: a probability of 0.9


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
