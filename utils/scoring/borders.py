"""How well the borders of the classes fit: boundary IoU, boundary F-score, and distances of the contours.

A class's contour are its pixels with one of another class, or the edge of the picture, among their four
neighbours, as in MONAI and MedPy. Ignored pixels have no border.
"""

import cv2
import numpy as np

from utils.images.palette import IGNORE_INDEX
from utils.scoring.sums import BorderSums

BAND = 0.02  # of the diagonal: depth of the inner band, as in the boundary IoU's own code
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def measure_borders(
    truth: np.ndarray, prediction: np.ndarray, num_classes: int, tolerance: float
) -> BorderSums:
    """Border sums (K,) of a pair of masks (H, W) uint8, both 255 where the truth is ignored.

    Boundary IoU (Cheng et al. 2021, eq. 2): of the bands of pixels up to BAND within each mask. Boundary F
    (Csurka et al. 2013): from the shares of the contours that have the other one within `tolerance` pixels.
    Hausdorff distance: the larger of both 95 % quantiles of the distances to the other contour; surface
    distance: mean of the distances in both directions (Maier-Hein et al. 2024, HD95 and ASSD), in pixels.
    """
    sums = {name: np.zeros(num_classes) for name in BorderSums.__dataclass_fields__}
    depth = max(round(BAND * np.hypot(*truth.shape)), 1)
    square = np.ones((2 * depth + 1, 2 * depth + 1), np.uint8)
    one, other = (band_classes(mask, square, depth) for mask in (truth, prediction))
    both = per_class(one[one == other], num_classes)
    sums["band_both"] = both
    sums["band_either"] = per_class(one, num_classes) + per_class(other, num_classes) - both
    contours = [band_classes(mask, CROSS, 1) for mask in (truth, prediction)]
    sums["truth"], sums["predicted"] = (per_class(contour, num_classes) for contour in contours)
    for index in np.flatnonzero(sums["truth"] + sums["predicted"]):
        if not (sums["truth"][index] and sums["predicted"][index]):
            sums["one_sided"][index] = 1
            continue
        to_prediction, to_truth = contour_distances(*(contour == index for contour in contours))
        sums["truth_near"][index] = np.count_nonzero(to_prediction <= tolerance)
        sums["predicted_near"][index] = np.count_nonzero(to_truth <= tolerance)
        sums["hausdorff"][index] = max(np.percentile(each, 95) for each in (to_prediction, to_truth))
        sums["surface"][index] = np.concatenate([to_prediction, to_truth]).mean()
        sums["measured"][index] = 1
    return BorderSums(**sums)


def per_class(classes: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels (K,) float64 of each class; others are not counted."""
    return np.bincount(classes.ravel(), minlength=num_classes)[:num_classes].astype(float)


def band_classes(mask: np.ndarray, window: np.ndarray, depth: int) -> np.ndarray:
    """A mask, IGNORE_INDEX where the window (reach `depth`) around a pixel holds no other class.

    All classes are eroded at once: where the lowest and the highest class of the window are the same.
    """
    ignored = mask == IGNORE_INDEX
    # Beyond the edge is another class: 0, where classes count from 1. Ignored pixels are neither.
    wide = cv2.copyMakeBorder(mask + np.uint8(1), *[depth] * 4, cv2.BORDER_CONSTANT, value=0)
    inner = np.s_[depth : depth + mask.shape[0], depth : depth + mask.shape[1]]
    lowest, highest = wide.copy(), wide
    lowest[inner][ignored] = 255
    highest[inner][ignored] = 0
    alike = cv2.erode(lowest, window)[inner] == cv2.dilate(highest, window)[inner]
    return np.where(alike | ignored, np.uint8(IGNORE_INDEX), mask)


def contour_distances(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances in pixels from every pixel of a contour (H, W) bool to the nearest of the other, both ways.

    Within the box around both, by OpenCV's exact transform, 10 times as fast as scipy's.
    """
    # Squares of distances are whole numbers, by which the last bits of OpenCV's floats are made good.
    rows, columns = (np.flatnonzero((one | other).any(axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    one, other = one[box], other[box]
    distances = (
        cv2.distanceTransform((~target).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[source]
        for source, target in ((one, other), (other, one))
    )
    return tuple(np.sqrt(np.rint(each.astype(float) ** 2)) for each in distances)
