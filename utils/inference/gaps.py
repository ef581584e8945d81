"""Gaps in a class that separates others, such as membranes: closed along the ridges of its probability."""

from collections.abc import Sequence

import cv2
import numpy as np
from skimage.measure import label
from skimage.morphology import local_minima, reconstruction
from skimage.segmentation import watershed

from utils.images.large import LARGE_PIXELS

LOG_ODDS = 9.2  # the largest that is kept: probabilities from 0.0001 to 0.9999
SMOOTHING = 2.0  # standard deviation in pixels
DEPTH = round(3.5 / LOG_ODDS * 255 / 2)  # how much lower than the pass to its neighbour a basin must reach


def fits_gaps(size: Sequence[int]) -> bool:
    """Whether gaps are closed unasked in a picture of (height, width): none that is predicted band by band.

    Closing them needs all of it at once, with some 90 bytes per pixel.
    """
    return size[0] * size[1] <= LARGE_PIXELS


def close_gaps(mask: np.ndarray, log_odds: np.ndarray, index: int) -> np.ndarray:
    """A copy of a mask (H, W) uint8 with lines of class `index` where its boundary has gaps.

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
    return np.where(basins == 0, np.uint8(index), mask)
