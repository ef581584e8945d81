"""The VOC colours, and how masks are laid over pictures."""

import cv2
import numpy as np

IGNORE_INDEX = 255
# In crops of strokes that are trained on: pixels between them, of one of the classes that the picture shows.
BETWEEN_INDEX = 254
LONGEST_CLASS_NAME = 500  # characters


def voc_palette(count: int = 256) -> np.ndarray:
    """Colours of the PASCAL VOC devkit (`VOClabelcolormap`): (count, 3) uint8 RGB, one row per class.

    Bits of the class index go to the high bits of red, green and blue in turn, so neighbours differ strongly.
    """
    index, place = np.arange(count)[:, None, None], np.arange(8)[:, None]
    bits = index >> (3 * place + np.arange(3)) & 1
    return (bits << (7 - place)).sum(axis=1).astype(np.uint8)


def blend(image: np.ndarray, mask: np.ndarray, palette: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Picture (H, W, 3) uint8 under its classes at `alpha` in 0…1; background and ignored pixels stay."""
    # OpenCV does this ten times as fast as NumPy, which counts for videos.
    paint = ((mask != 0) & (mask != IGNORE_INDEX)).view(np.uint8)
    colours = cv2.merge([cv2.LUT(mask, np.resize(palette[:, channel], 256)) for channel in range(3)])
    return cv2.copyTo(cv2.addWeighted(image, 1 - alpha, colours, alpha, 0), paint, image.copy())


def cutout(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Picture (H, W, 3) uint8 with background pixels painted black."""
    return image * (mask != 0)[..., None].astype(np.uint8)


def cutout_of(image: np.ndarray, mask: np.ndarray, index: int) -> np.ndarray:
    """Picture (H, W, 3) uint8 with all but one class transparent: (H, W, 4) uint8 RGBA."""
    found = mask == index
    return np.dstack([image * found[..., None], found * np.uint8(255)])


def outline(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels of a class, not background, with one of their four neighbours of another index."""
    edge = np.zeros(mask.shape, bool)
    across, down = mask[:, :-1] != mask[:, 1:], mask[:-1] != mask[1:]
    edge[:, :-1] |= across
    edge[:, 1:] |= across
    edge[:-1] |= down
    edge[1:] |= down
    return edge & (mask != 0)


def numbered_classes(count: int) -> list[str]:
    """Names of classes that have none."""
    return [f"class_{index}" for index in range(count)]
