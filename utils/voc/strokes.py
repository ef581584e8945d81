"""What strokes tell of the pixels around them: masks completed for statistics, and grown to train on."""

from collections.abc import Iterable

import cv2
import numpy as np
from scipy.special import softmax

from utils.images.masks import is_partly_annotated, nearest_class
from utils.images.palette import IGNORE_INDEX

SURROUNDINGS = 4  # standard deviation in pixels of the blur that tells a pixel's surroundings
SPREAD = 8  # how much pixels that look alike differ, in units of the colors of `looks`
REACH = 100  # pixels whose distance counts as much as such a difference
VOTERS, ASKED = 1024, 8192  # pixels of a picture, at most, that vote and that are voted on
HELD_OUT = 4  # each fourth stroke tells how well the others foretell it


def complete(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A mask (H, W) uint8 of strokes with a class in every pixel; other masks stay as they are.

    image: (H, W) or (H, W, C), uint8 or uint16. Each stroke grows over pixels like its own until it meets
    another (watershed, Meyer 1992): for statistics, not to train on.
    """
    known = mask != IGNORE_INDEX
    if not known.any() or not is_partly_annotated(np.count_nonzero(known), mask.size):
        return mask
    return flood(to_levels(image), mask)


def grow(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A mask (H, W) uint8 of strokes, grown where two ways find the same class; 255 elsewhere.

    One way is that of `complete`, the other `vote`: the first goes by edges, the second by looks. Masks that
    are annotated for the most part stay as they are. Each class that a picture shows needs a stroke in it.
    """
    levels, flooded = to_levels(image), complete(image, mask)
    if flooded is mask:
        return mask
    agreed = (flooded == vote(levels, mask)) | (mask != IGNORE_INDEX)
    return np.where(agreed, flooded, IGNORE_INDEX).astype(np.uint8)


def to_levels(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8, a little blurred, in the full range; other channels than three become gray."""
    plain = image if image.ndim == 2 else image.mean(axis=2) if image.shape[2] != 3 else image
    smooth = cv2.GaussianBlur(plain, (0, 0), 1)
    levels = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    return levels if levels.ndim == 3 else cv2.merge([levels] * 3)


def flood(levels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Strokes grown by a watershed of the picture, until they meet."""
    known = mask != IGNORE_INDEX
    markers = np.where(known, mask.astype(np.int32) + 1, 0)
    cv2.watershed(levels, markers)
    # The lines between the areas go to the nearest of them.
    found = markers > 0
    completed = np.where(found, markers - 1, 0).astype(np.uint8)
    completed[~found] = nearest_class(completed, ~found, ~found)
    return completed


def vote(levels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The class (H, W) uint8 of the strokes whose pixels look most alike and are not far.

    By a Gaussian window around what a pixel looks like (Parzen 1962). Pixels of a grid are voted on by some
    of those of the strokes; between them the shares of the votes are interpolated.
    """
    described, known = looks(levels), np.flatnonzero(mask != IGNORE_INDEX)
    known = known[:: -(-len(known) // VOTERS)]
    step = int(np.ceil((mask.size / ASKED) ** 0.5))
    asked, voters = described[::step, ::step], described.reshape(-1, described.shape[2])[known]
    # −(a − v)² / 2 without −a² / 2, which the softmax divides out.
    nearness = asked.reshape(-1, asked.shape[2]) @ voters.T - (voters**2).sum(axis=1) / 2
    classes, owners = np.unique(mask.flat[known], return_inverse=True)
    votes = softmax(nearness, axis=1) @ np.eye(len(classes), dtype=np.float32)[owners]
    best, most = np.zeros(mask.shape, np.uint8), np.zeros(mask.shape, np.float32)
    place = np.float32([[step, 0, 0], [0, step, 0]])
    for value, share in zip(classes, votes.T, strict=True):
        share = np.ascontiguousarray(share).reshape(asked.shape[:2])
        share = cv2.warpAffine(share, place, mask.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        best, most = np.where(share > most, value, best), np.maximum(share, most)
    return best


def looks(levels: np.ndarray) -> np.ndarray:
    """(H, W, 11) float32: color (CIELAB), that of the surroundings, how rough they are, and the place."""
    lab = cv2.cvtColor(levels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    around = cv2.GaussianBlur(lab, (0, 0), SURROUNDINGS)
    rough = cv2.GaussianBlur(np.abs(lab - around), (0, 0), SURROUNDINGS)
    place = np.moveaxis(np.indices(levels.shape[:2], np.float32), 0, -1) / REACH
    return np.concatenate([np.concatenate([0.7 * lab, around, 2 * rough], axis=-1) / SPREAD, place], axis=-1)


def foretell(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Cohen's kappa between strokes and what the others, grown, say of them; 0 if they say nothing.

    pairs: pictures and masks of strokes. Each fourth stroke is left out, by turns over all pictures.
    """
    counts, number = np.zeros((256, 256)), 0
    for image, mask in pairs:
        strokes = np.zeros(mask.shape, np.int32)
        for value in np.unique(mask[mask != IGNORE_INDEX]).tolist():
            count, parts = cv2.connectedComponents((mask == value).view(np.uint8))
            strokes += np.where(parts > 0, parts + number, 0)
            number += count - 1
        left_out = (strokes > 0) & (strokes % HELD_OUT == 0)
        grown = grow(image, np.where(left_out, IGNORE_INDEX, mask).astype(np.uint8))
        left_out &= grown != IGNORE_INDEX
        np.add.at(counts, (mask[left_out], grown[left_out]), 1)
    total = counts.sum()
    by_chance = (counts.sum(axis=0) * counts.sum(axis=1)).sum() / max(total, 1) ** 2
    right = counts.trace() / max(total, 1)
    return float((right - by_chance) / (1 - by_chance)) if by_chance < 1 else 0.0
