"""What strokes tell of the other pixels: masks that are completed from the pictures."""

import cv2
import numpy as np

from utils.images.masks import is_partly_annotated, nearest_class
from utils.images.palette import IGNORE_INDEX


def complete(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A mask (H, W) uint8 of strokes with a class in every pixel; other masks stay as they are.

    image: (H, W) or (H, W, C), uint8 or uint16. Each stroke grows over pixels like its own until it meets
    another (watershed, Meyer 1992): for statistics, and for the rough shapes that small crops teach.
    """
    known = mask != IGNORE_INDEX
    if not known.any() or not is_partly_annotated(np.count_nonzero(known), mask.size):
        return mask
    plain = image if image.ndim == 2 else image.mean(axis=2) if image.shape[2] != 3 else image
    smooth = cv2.GaussianBlur(plain, (0, 0), 1)
    levels = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    levels = levels if levels.ndim == 3 else cv2.merge([levels] * 3)
    markers = np.where(known, mask.astype(np.int32) + 1, 0)
    cv2.watershed(levels, markers)
    # The lines between the areas go to the nearest of them.
    found = markers > 0
    completed = np.where(found, markers - 1, 0).astype(np.uint8)
    completed[~found] = nearest_class(completed, ~found, ~found)
    return completed
