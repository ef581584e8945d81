"""An open picture: shown at any zoom from reduced copies, with the masks that were predicted for it."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from gui.engine import never
from utils.images.arrays import Limits, to_uint8_rgb
from utils.images.large import TiffWindows
from utils.images.palette import IGNORE_INDEX
from utils.inference.objects import Objects

TILE = 512  # side of what is drawn at once, in pixels of a level
STRIP = 1024  # rows of a large file that are read at once
MEMORY_BYTES = 1 << 26  # larger arrays are kept in a temporary file

Box = tuple[slice, slice]


def scratch(shape: tuple[int, ...], value: int = 0) -> np.ndarray:
    """A uint8 array, in a file that vanishes with it where it is large."""
    if np.prod(shape, dtype=np.int64) < MEMORY_BYTES:
        return np.full(shape, value, np.uint8)
    with tempfile.TemporaryFile() as file:
        array = np.memmap(file, np.uint8, "w+", shape=shape)
    if value:
        array[:] = value
    return array


@dataclass(eq=False)
class Prediction:
    """What the network found, as far as it has come: (H, W) uint8 each, 255 in `mask` where it has not.

    sure: 255 times the largest probability; ridge: log odds of the class whose gaps can be closed, or None;
    done: pixels predicted; seconds: spent on it.
    """

    mask: np.ndarray
    sure: np.ndarray
    ridge: np.ndarray | None
    done: int = 0
    seconds: float = 0.0

    @property
    def share(self) -> float:
        return self.done / self.mask.size

    def put(
        self, top: int, left: int, mask: np.ndarray, sure: np.ndarray, ridge: np.ndarray | None = None
    ) -> Box:
        """Take a tile; returns where it is."""
        box = np.s_[top : top + mask.shape[0], left : left + mask.shape[1]]
        self.mask[box], self.sure[box] = mask, sure
        if ridge is not None:
            self.ridge[box] = ridge
        self.done += mask.size
        return box


@dataclass(eq=False)
class Segmentation:
    """A prediction as the check boxes want it. mask: (H, W) uint8; counts: (256,) pixels of each class.

    objects: None until they are measured, or for a mask that is too large for it.
    """

    mask: np.ndarray
    sure: np.ndarray
    counts: np.ndarray
    objects: Objects | None = None


@dataclass(eq=False)
class Document:
    """A picture (H, W) or (H, W, C), an array or read from a large TIFF as it is needed.

    limits: see `display_limits`; levels: (h, w, 3) uint8, each half the size of the one before, from half of
    the picture's on, black until `reduce` fills them; predictions: by whether they are averaged over mirror
    images.
    """

    name: str
    path: Path | None
    picture: np.ndarray | TiffWindows
    limits: Limits | None
    levels: list[np.ndarray] = field(init=False)
    is_reduced: bool = False
    predictions: dict[bool, Prediction] = field(default_factory=dict)
    segmentation: Segmentation | None = None

    def __post_init__(self):
        self.levels = [scratch((*self.level_size(level), 3)) for level in range(1, self.level_count)]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.picture.shape[:2]

    @property
    def is_large(self) -> bool:
        """Whether it is read from its file when it is needed."""
        return isinstance(self.picture, TiffWindows)

    @property
    def shown(self) -> Segmentation | Prediction | None:
        """The segmentation, or until there is one, what is predicted so far."""
        # A copy, because the thread of the network adds to them.
        predictions = list(self.predictions.values())
        return self.segmentation or (predictions[-1] if predictions else None)

    @property
    def objects(self) -> Objects | None:
        """None until they are measured."""
        return self.segmentation and self.segmentation.objects

    @property
    def level_count(self) -> int:
        """Levels with the picture itself, down to one that fits into a tile."""
        return max(int(np.ceil(np.log2(max(self.size) / TILE))), 0) + 1

    def level_size(self, level: int) -> tuple[int, int]:
        return tuple(-(-length // 2**level) for length in self.size)

    def pixels(self, level: int, box: Box) -> np.ndarray:
        """(h, w, 3) uint8 of a box of a level. Raises UserError where the file is damaged."""
        if level:
            return self.levels[level - 1][box]
        return np.ascontiguousarray(to_uint8_rgb(self.picture[box], self.limits))

    def mask_pixels(self, level: int, box: Box) -> np.ndarray:
        """(h, w) uint8 classes of a box of a level: every so many pixels. 255 where nothing is predicted."""
        step = 2**level
        rows, columns = (slice(span.start * step, span.stop * step, step) for span in box)
        shown = self.shown
        if shown is None:
            return np.full([span.stop - span.start for span in box], IGNORE_INDEX, np.uint8)
        return np.ascontiguousarray(shown.mask[rows, columns])

    def reduce(
        self, show: Callable[[], None] = lambda: None, is_cancelled: Callable[[], bool] = never
    ) -> None:
        """Fill the levels, band by band. show: called after each. Raises UserError for a damaged file."""
        levels = self.levels
        unit = 2 ** len(levels)
        rows = -(-STRIP // unit) * unit
        for top in range(0, self.size[0] if levels else 0, rows):
            if is_cancelled():
                return
            image = to_uint8_rgb(self.picture[top : top + rows], self.limits)
            for number, level in enumerate(levels, 1):
                image = halved(image)
                start = top // 2**number
                level[start : start + len(image)] = image
            show()
        self.is_reduced = True


def halved(image: np.ndarray) -> np.ndarray:
    """(⌈H/2⌉, ⌈W/2⌉, 3) uint8: means of 2×2 pixels."""
    height, width = image.shape[:2]
    even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
