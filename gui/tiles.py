"""Tiles of the shown picture, drawn in a thread when they are seen, and kept."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from PyQt5.QtCore import QRectF
from PyQt5.QtGui import QImage

from gui.jobs import Job, Jobs

SIDE = 512  # pixels of a level
MOST = 400  # tiles that are kept: 400 MB


class Key(NamedTuple):
    layer: str
    level: int
    row: int
    column: int


class Tiles:
    """What is out of date is shown until it is drawn anew."""

    def __init__(self, jobs: Jobs, update: Callable[[], None]):
        """update: called when there is something new to show."""
        self.jobs, self.update = jobs, update
        self.images: OrderedDict[Key, QImage] = OrderedDict()
        self.stale: set[Key] = set()
        self.wanted: list[Key] = []
        self.lock = threading.Lock()
        self.size, self.levels, self.draw, self.job = (0, 0), 1, None, None
        self.drawn: tuple[Key, int] | None = None  # what the thread has now, and the turn of it
        self.turn = 0  # counts pictures and changes, so that a tile that comes late is not taken for new

    def start(self, size: tuple[int, int] | None, levels: int, draw: Callable[..., np.ndarray]) -> None:
        """Another picture; see `Viewer.show_picture`."""
        with self.lock:
            if self.job:
                self.job.cancel()
            self.size, self.levels, self.draw, self.job = size or (0, 0), levels, draw, None
            self.turn, self.drawn = self.turn + 1, None
            self.wanted = []
        self.images.clear()
        self.stale.clear()

    def refresh(self, box: tuple[slice, slice] | None, picture: bool) -> None:
        """What is in a box of the picture, or everything, is out of date; see `Viewer.refresh`."""
        self.turn += 1
        keys = [key for key in self.images if picture or key.layer != "picture"]
        if box is not None:
            rows, columns = box
            area = QRectF(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
            keys = [key for key in keys if self.box_of(key).intersects(area)]
        self.stale.update(keys)

    def level_for(self, scale: float) -> int:
        """The coarsest level that has a pixel for every device pixel."""
        return min(max(math.floor(-math.log2(scale) + 1e-6), 0), self.levels - 1)

    def keys(self, layer: str, level: int, seen: QRectF) -> list[Key]:
        """The tiles of a level that cover a part of the picture, from its middle outwards."""
        step, (height, width) = SIDE * 2**level, self.size
        rows = range(
            max(int(seen.top() // step), 0), min(math.ceil(seen.bottom() / step), -(-height // step))
        )
        columns = range(
            max(int(seen.left() // step), 0), min(math.ceil(seen.right() / step), -(-width // step))
        )
        keys = [Key(layer, level, row, column) for row in rows for column in columns]
        middle = seen.center() / step
        return sorted(
            keys, key=lambda key: abs(key.row + 0.5 - middle.y()) + abs(key.column + 0.5 - middle.x())
        )

    def box_of(self, key: Key) -> QRectF:
        """In pixels of the picture, within it."""
        step, (height, width) = SIDE * 2**key.level, self.size
        left, top = key.column * step, key.row * step
        return QRectF(left, top, min(step, width - left), min(step, height - top))

    def is_stale(self, key: Key) -> bool:
        return key not in self.images or key in self.stale

    def find(self, key: Key) -> tuple[QImage | None, QRectF]:
        """The tile, or one of a coarser level that shows the same, and the part of it that does."""
        if key in self.images:
            self.images.move_to_end(key)
            return self.images[key], QRectF(self.images[key].rect())
        box = self.box_of(key)
        for level in range(key.level + 1, self.levels):
            up = level - key.level
            coarse = Key(key.layer, level, key.row >> up, key.column >> up)
            if coarse in self.images:
                step = 2**level
                origin = self.box_of(coarse).topLeft()
                source = QRectF((box.topLeft() - origin) / step, box.size() / step)
                return self.images[coarse], source
        return None, QRectF()

    def request(self, keys: Sequence[Key]) -> None:
        """Draw these, and give up others that wait."""
        with self.lock:
            self.wanted = [key for key in keys if (key, self.turn) != self.drawn]
            if self.wanted and (self.job is None or self.job.ended):
                self.job = self.jobs.run("tiles", self._work)

    def _take(self, job: Job) -> tuple[Key, int] | None:
        """What the thread draws next, and the turn of it; None ends its job."""
        with self.lock:
            if job.is_cancelled():
                return None
            if not self.wanted:
                # Before the window hears of its end, so that a request until then begins another job.
                self.job = None
                return None
            self.drawn = self.wanted.pop(0), self.turn
            return self.drawn

    def _work(self, job: Job) -> None:
        while taken := self._take(job):
            key, turn = taken
            try:
                drawn = self.draw(key.layer, key.level, self._pixels_of(key))
                # The format that Qt scales fastest.
                image = to_qimage(drawn).convertToFormat(QImage.Format_RGB32)
            except BaseException:
                job.post(partial(self._keep, key, QImage(), turn))
                raise
            job.post(partial(self._keep, key, image, turn))

    def _pixels_of(self, key: Key) -> tuple[slice, slice]:
        """The box of a tile in pixels of its level."""
        height, width = (-(-length // 2**key.level) for length in self.size)
        top, left = key.row * SIDE, key.column * SIDE
        return slice(top, min(top + SIDE, height)), slice(left, min(left + SIDE, width))

    def _keep(self, key: Key, image: QImage, turn: int) -> None:
        self.images[key] = image
        self.images.move_to_end(key)
        if turn == self.turn:
            self.stale.discard(key)
        else:
            self.stale.add(key)
        while len(self.images) > MOST:
            self.stale.discard(self.images.popitem(last=False)[0])
        self.update()


def to_array(image: QImage) -> np.ndarray:
    """A QImage → (H, W, 3) uint8."""
    image = image.convertToFormat(QImage.Format_RGB888)
    pixels = np.frombuffer(image.constBits().asarray(image.sizeInBytes()), np.uint8)
    rows = pixels.reshape(image.height(), image.bytesPerLine())[:, : 3 * image.width()]
    return rows.reshape(image.height(), image.width(), 3).copy()


def to_qimage(image: np.ndarray) -> QImage:
    """(H, W, 3) uint8 → a QImage with pixels of its own."""
    image = np.ascontiguousarray(image)
    height, width = image.shape[:2]
    return QImage(image.data, width, height, 3 * width, QImage.Format_RGB888).copy()
