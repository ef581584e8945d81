"""A class that separates others, such as membranes: gaps closed, and what separates nothing taken out."""

from collections.abc import Sequence

import cv2
import numpy as np
from skimage.measure import label
from skimage.morphology import local_minima, reconstruction
from skimage.segmentation import watershed

from utils.images.large import LARGE_PIXELS
from utils.images.masks import nearest_class

LOG_ODDS = 9.2  # the largest that is kept: probabilities from 0.0001 to 0.9999
SMOOTHING = 2.0  # standard deviation in pixels
DEPTH = round(3.5 / LOG_ODDS * 255 / 2)  # how much lower than the pass to its neighbour a basin must reach
NEAR = 1.5  # distance from a line, in mean distances of the class, up to which the network is believed
DOUBT = 1.2  # log odds that it needs more per such distance from there on
SURE = 2.2  # log odds from which on it is believed anywhere: a probability of 0.9


def fits_gaps(size: Sequence[int]) -> bool:
    """Whether gaps are closed unasked in a picture of (height, width): none that is predicted band by band.

    Closing them needs all of it at once, with some 90 bytes per pixel.
    """
    return size[0] * size[1] <= LARGE_PIXELS


def close_gaps(mask: np.ndarray, log_odds: np.ndarray, index: int) -> np.ndarray:
    """A copy of a mask (H, W) uint8 with lines of class `index` where its boundary has gaps.

    Pixels of the class far from a line that separates two basins must be more probable to stay, see
    `clear_dead_ends`.

    log_odds: (H, W) uint8, those of class `index`, see `log_odds_of`. In them a membrane that the network
    nearly missed still stands out from the cells, as it does not in probabilities. Watershed of the smoothed
    map (Beucher and Lantuéjoul 1979), of basins deeper than DEPTH (Grimaud 1992). The line between two basins
    is one pixel wide, 8-connected or thicker, and follows the highest values.
    """
    landscape = cv2.GaussianBlur(log_odds, (0, 0), SMOOTHING).astype(np.int32)
    # Filled up by DEPTH, shallow basins flow over into their neighbours.
    filled = reconstruction(landscape + DEPTH, landscape, method="erosion").astype(np.int32)
    seeds = label(local_minima(filled))
    if seeds.max() < 2:
        return mask.copy()
    basins = watershed(landscape, seeds, watershed_line=True)
    lines = basins == 0
    return np.where(lines, np.uint8(index), clear_dead_ends(mask, log_odds, index, lines))


def clear_dead_ends(mask: np.ndarray, log_odds: np.ndarray, index: int, lines: np.ndarray) -> np.ndarray:
    """A copy of a mask whose doubtful pixels of class `index` far from `lines` have the nearest other class.

    log_odds: as for `close_gaps`. What separates nothing is rarely a membrane. How much more probable than
    one half it must be grows with the distance from the lines, in that of the mean pixel of the class.
    """
    of_class = (mask == index).astype(np.uint8)
    distance = cv2.distanceTransform((~lines).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    mean = max(cv2.mean(distance, of_class)[0], 1.0)
    needed = np.clip(DOUBT * (distance / mean - NEAR), 0, SURE)
    doubtful = (of_class > 0) & (log_odds < 127.5 * (1 + needed / LOG_ODDS)) & (needed > 0)
    if of_class.all():
        return mask
    cleared = mask.copy()
    cleared[doubtful] = nearest_class(mask, of_class > 0, doubtful)
    return cleared
