"""Masks to score: drawn at random, smooth enough to have objects, holes and contours."""

import numpy as np
from hypothesis import strategies as st
from scipy import ndimage


def blobs(seed: int, classes: int = 3, size: tuple[int, int] = (40, 53), ignored: bool = False) -> np.ndarray:
    """A mask (H, W) uint8 of smooth areas; with `ignored` a tenth of it is 255."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(classes, *size)), (0, 2, 2))
    mask = fields.argmax(0).astype(np.uint8)
    if ignored:
        mask[ndimage.gaussian_filter(rng.normal(size=size), 2) > 0.17] = 255
    return mask


def disturbed(mask: np.ndarray, seed: int, classes: int = 3) -> np.ndarray:
    """A prediction of a mask: shifted, and another mask in a third of it; no pixel is ignored."""
    rng, other = np.random.default_rng(seed), blobs(seed + 1000, classes, mask.shape)
    shifted = np.roll(mask, rng.integers(-2, 3, 2), (0, 1))
    return np.where((other == 0) | (shifted == 255), other, shifted)


seeds = st.integers(0, 10_000)
