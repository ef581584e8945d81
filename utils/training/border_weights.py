"""Pixel weights that keep touching objects apart."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from utils.images.palette import IGNORE_INDEX


@dataclass(frozen=True)
class BorderWeights:
    """w0 · exp(−(d1 + d2)² / (2 σ²)) (Ronneberger et al. 2015, equation 2, without the class weights).

    d1, d2: distances of a pixel, in pixels, to the nearest two objects, 0 inside an object.
    """

    w0: float = 10.0
    sigma: float = 5.0
    store: Path | None = None  # folder that all loading processes share, see `of_picture`

    def __call__(self, mask: np.ndarray, objects: np.ndarray | None = None) -> np.ndarray:
        """Weights (H, W) float32 of a mask (H, W) uint8. `objects` (H, W): their numbers; 0 and 255 are none.

        Without `objects`, they are the connected parts of each class but the background, and the largest
        weight of all classes counts: a gap is learnt between two cells, not between a cell and its nucleus.
        """
        if objects is not None:
            return self._between(_parts(objects), mask.shape)
        weights = np.zeros(mask.shape, np.float32)
        for label in _parts(mask):
            count, numbers = cv2.connectedComponents(label)
            parts = ((numbers == number).astype(np.uint8) for number in range(1, count))
            weights = np.maximum(weights, self._between(parts, mask.shape))
        return weights

    def of_picture(self, number: int, mask: np.ndarray, objects: np.ndarray | None = None) -> np.ndarray:
        """The weights, computed once per picture and then read from `store`, with the accuracy of float16.

        Nothing else in the loading takes so long. Without `store` they are computed at each call.
        """
        if self.store is None:
            return self(mask, objects)
        stored = self.store / f"{number}.npy"
        if not stored.exists():
            weights = self(mask, objects).astype(np.float16)
            unfinished = stored.with_name(f"{number}.{os.getpid()}.npy")
            try:
                np.save(unfinished, weights)
                unfinished.replace(stored)
            except OSError:
                # A full disk, or on Windows another process that reads its own: go on without the file.
                return weights.astype(np.float32)
        return np.load(stored).astype(np.float32)

    def _between(self, objects: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
        """Weights from objects, (H, W) uint8 each, 1 inside."""
        # Beyond 5 σ the weight is below w0 · 4e-6.
        reach = int(np.ceil(5 * self.sigma))
        nearest = np.full(shape, np.inf, np.float32)
        second = nearest.copy()
        for inside in objects:
            x, y, width, height = cv2.boundingRect(inside)
            window = np.s_[max(y - reach, 0) : y + height + reach, max(x - reach, 0) : x + width + reach]
            distance = cv2.distanceTransform(1 - inside[window], cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            # The last bits vary from call to call in OpenCV; the squares are whole numbers.
            distance = np.sqrt(np.rint(distance**2))
            second[window] = np.minimum(second[window], np.maximum(nearest[window], distance))
            nearest[window] = np.minimum(nearest[window], distance)
        return (self.w0 * np.exp(-((nearest + second) ** 2) / (2 * self.sigma**2))).astype(np.float32)


def make_temporary_folder() -> Path:
    """A folder to store border weights in, removed when the program ends."""
    folder = Path(tempfile.mkdtemp(prefix="border_weights_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _parts(mask: np.ndarray) -> Iterator[np.ndarray]:
    """(H, W) uint8 of each value but background and ignored, 1 where the mask has it."""
    return ((mask == value).astype(np.uint8) for value in np.unique(mask) if value not in (0, IGNORE_INDEX))
