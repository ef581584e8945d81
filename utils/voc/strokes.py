"""What strokes tell of the other pixels by way of the picture: their classes, and where nothing is known."""

import cv2
import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from utils.images.masks import is_partly_annotated, nearest_class
from utils.images.palette import IGNORE_INDEX

LOOKED_AT = 1 << 16  # pixels of a picture whose looks are described; larger ones are scaled down
COMPARED = 500  # pixels of the strokes, drawn at random, with which others are compared
STEP = 3  # of the described pixels, each third row and column is compared
AREA = (5, 5)  # compared pixels: the smallest width and height of an unlike area
SMOOTH, AROUND, ROUGHNESS = 1, 4, 3  # pixels: standard deviations of the blur of colors, surroundings, edges
# The limit for pixels, in medians of the strokes' own unlikeness: strokes of several classes, of one.
SEVERAL, ALONE = 1.25, 0.5
NOTICED = 8  # differences of looks below this hardly count; in units of Lab, 255 from black to white
EDGES = 3  # weight of the roughness beside the colors


def complete(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A mask (H, W) uint8 of strokes with a class in every pixel; other masks stay as they are.

    image: (H, W) or (H, W, C), uint8 or uint16. Each stroke grows over pixels like its own until it meets
    another (watershed, Meyer 1992): for statistics, and for the rough shapes that small crops teach.
    """
    known = mask != IGNORE_INDEX
    if not known.any() or not is_partly_annotated(np.count_nonzero(known), mask.size):
        return mask
    markers = np.where(known, mask.astype(np.int32) + 1, 0)
    cv2.watershed(smoothed(image), markers)
    # The lines between the areas go to the nearest of them.
    found = markers > 0
    completed = np.where(found, markers - 1, 0).astype(np.uint8)
    completed[~found] = nearest_class(completed, ~found, ~found)
    return completed


def find_unlike(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Areas (h, w) uint8, 1 where no stroke of a mask (H, W) uint8 tells anything: maybe they have no class.

    Scaled down, by 3 at least. image: (H, W) or (H, W, C), uint8 or uint16. A pixel is compared with the
    strokes by its looks and by how far away they are. The limit follows from the strokes: each is compared
    with the others, and the median counts. Where all are of one class it is lower, because other classes may
    have been left for later. A single stroke cannot be compared: if it has several classes, no pixel is too
    unlike, if it has one, all pixels are.
    """
    scale = min((LOOKED_AT / mask.size) ** 0.5, 1)
    size = tuple(max(round(side * scale), 1) for side in mask.shape[::-1])
    looks = describe(cv2.resize(smoothed(image), size, interpolation=cv2.INTER_AREA))
    # Thin strokes fall to pieces when they are scaled down, so they get their numbers before.
    _, numbers = cv2.connectedComponents((mask != IGNORE_INDEX).view(np.uint8))
    numbers = cv2.resize(numbers.astype(np.float32), size, interpolation=cv2.INTER_NEAREST_EXACT)
    places = np.argwhere(numbers)
    places = places[np.random.default_rng(0).permutation(len(places))[:COMPARED]]
    own, strokes = (values[tuple(places.T)] for values in (looks, numbers))
    several = len(np.unique(mask[mask != IGNORE_INDEX])) > 1
    if len(np.unique(strokes)) < 2:
        return np.full((1, 1), not several, np.uint8)
    limit = usual_unlikeness(own, places, strokes) * (SEVERAL if several else ALONE)
    some = looks[::STEP, ::STEP]
    look = KDTree(own).query(some.reshape(-1, some.shape[2]))[0].reshape(some.shape[:2])
    distance = cv2.distanceTransform((numbers == 0).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    unlike = (unlikeness(look, distance[::STEP, ::STEP]) > limit).view(np.uint8)
    if not several:
        return unlike
    # The edges of things are unlike what is beside them: bands, which are of one of the classes drawn.
    return cv2.morphologyEx(unlike, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, AREA))


def usual_unlikeness(looks: np.ndarray, places: np.ndarray, strokes: np.ndarray) -> float:
    """The median unlikeness of pixels of strokes to the strokes that they are not of.

    looks: (n, 7), see `describe`; places: (n, 2), rows and columns; strokes: (n,) numbers, two at least.
    """
    same = strokes[:, None] == strokes
    nearest = (np.where(same, np.inf, cdist(values, values)).min(1) for values in (looks, places))
    return float(np.median(unlikeness(*nearest)))


def unlikeness(look: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """How unlike the strokes pixels are, from NOTICED up, in the shape of both arguments.

    look: difference from the nearest look, in units of Lab; distance: to the nearest stroke, in pixels.
    """
    return (NOTICED + look) * np.sqrt(1 + distance)


def describe(image: np.ndarray) -> np.ndarray:
    """Looks (H, W, 7) float32 of a picture (H, W, 3) uint8, in units of Lab: colors, those around, edges."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    slopes = [cv2.Sobel(lab, cv2.CV_32F, *order) / 8 for order in ((1, 0), (0, 1))]
    steepness = np.sqrt(sum(np.square(slope).sum(2) for slope in slopes))
    around, roughness = cv2.GaussianBlur(lab, (0, 0), AROUND), cv2.GaussianBlur(steepness, (0, 0), ROUGHNESS)
    return np.dstack([lab, around, EDGES * roughness])


def smoothed(image: np.ndarray) -> np.ndarray:
    """A picture (H, W) or (H, W, C) without its noise: (H, W, 3) uint8 that use the whole range."""
    plain = image if image.ndim == 2 else image.mean(axis=2) if image.shape[2] != 3 else image
    smooth = cv2.GaussianBlur(plain, (0, 0), SMOOTH)
    levels = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    return levels if levels.ndim == 3 else cv2.merge([levels] * 3)
