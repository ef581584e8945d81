"""The picture, its mask, both on top of each other or side by side, at any zoom."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PyQt5.QtCore import QPoint, QPointF, QRect, QRectF, Qt, pyqtSignal
from PyQt5.QtGui import QColor, QPainter, QPen, QPolygonF
from PyQt5.QtWidgets import QWidget

from gui.jobs import Jobs
from gui.tiles import Tiles
from gui.translation import on_language, tr

# Device pixels per pixel of the picture; below 1 their inverses.
STEPS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
SCALES = sorted({*STEPS, *(1 / step for step in (*STEPS, 96, 128, 256))})
# How it is seen, and the layers that are drawn for it.
MODES = {
    "picture": ("picture",),
    "mask": ("mask",),
    "overlay": ("overlay",),
    "side": ("picture", "overlay"),
    "compare": ("picture", "overlay"),
}
DIVIDER = 6  # logical pixels


class Pane(NamedTuple):
    """Where a layer is drawn, in device pixels, and where the top left corner of the picture is."""

    layer: str
    rect: QRect
    left: int
    top: int


class Viewer(QWidget):
    """Wheel: zoom to the cursor; drag: move, or move the divider; double click: fit, or pixel by pixel."""

    hovered = pyqtSignal(int, int)  # column and row of the picture; -1, -1 outside
    clicked = pyqtSignal(int, int)
    scaled = pyqtSignal(float)

    def __init__(self, jobs: Jobs, parent: QWidget | None = None):
        super().__init__(parent)
        self.tiles = Tiles(jobs, self.update)
        self.mode, self.divider, self.scale = "overlay", 0.5, 1.0
        self.opacity, self.hidden = 0.5, frozenset()
        self.size_of_picture: tuple[int, int] | None = None
        self.center, self.fitted = QPointF(), True
        self.outlines: list[QPolygonF] = []
        self.pressed: QPoint | None = None
        self.moved, self.moves_divider = False, False
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.StrongFocus)
        self.setMinimumSize(200, 150)
        on_language(self, self._retranslate)

    def _retranslate(self) -> None:
        self.setAccessibleName(tr("Picture"))
        self.update()

    def show_picture(
        self, size: tuple[int, int] | None, levels: int, draw: Callable[..., np.ndarray], keep: bool = False
    ) -> None:
        """Another picture of (height, width), or None. draw(layer, level, box): (h, w, 3) uint8 of a level.

        keep: stay at the same place, if the size is the same.
        """
        same = keep and size == self.size_of_picture
        self.size_of_picture, self.outlines = size, []
        self.tiles.start(size, levels, draw)
        if not same:
            self.fit()
        self.update()

    def refresh(self, box: tuple[slice, slice] | None = None, picture: bool = False) -> None:
        """Draw the classes in a box of the picture, or all, again. picture: that too, without its classes."""
        self.tiles.refresh(box, picture)
        self.update()

    def set_opacity(self, percent: int) -> None:
        self.opacity = percent / 100
        self.refresh()

    def hide_classes(self, hidden: frozenset[int]) -> None:
        self.hidden = hidden
        self.refresh()

    def set_mode(self, mode: str) -> None:
        self.mode = mode
        if self.fitted:
            self.fit()
        self.update()

    def set_outlines(self, polygons: Sequence[np.ndarray], center: bool = False) -> None:
        """Mark an object by polygons (n, 2) in pixels of the picture; center: go there if it is not seen."""
        self.outlines = [QPolygonF([QPointF(x, y) for x, y in polygon]) for polygon in polygons]
        if center and self.outlines:
            box = self.outlines[0].boundingRect()
            if not all(self._seen(pane).contains(box) for pane in self.panes()):
                self.center, self.fitted = box.center(), False
        self.update()

    # Where things are.

    def _device_size(self) -> tuple[int, int]:
        ratio = self.devicePixelRatioF()
        return round(self.width() * ratio), round(self.height() * ratio)

    def panes(self) -> list[Pane]:
        (width, height), layers = self._device_size(), MODES[self.mode]
        place = round(width * self.divider)
        half = round(DIVIDER * self.devicePixelRatioF() / 2)
        whole = QRect(0, 0, width, height)
        rects = [whole]
        if len(layers) == 2:
            right = QRect(place + half, 0, width - place - half, height)
            rects = [QRect(0, 0, place - half, height), right]
        panes = []
        for layer, rect in zip(layers, rects, strict=True):
            frame = whole if self.mode == "compare" else rect
            left = frame.x() + frame.width() / 2 - self.center.x() * self.scale
            top = frame.y() + frame.height() / 2 - self.center.y() * self.scale
            panes.append(Pane(layer, rect, round(left), round(top)))
        return panes

    def _pane_at(self, position: QPointF) -> Pane:
        """The pane under a position in device pixels."""
        panes = self.panes()
        return panes[-1] if len(panes) > 1 and position.x() >= panes[-1].rect.left() else panes[0]

    def _seen(self, pane: Pane) -> QRectF:
        """The part of the picture that a pane shows, in its pixels."""
        rect = pane.rect
        left, top = (rect.x() - pane.left) / self.scale, (rect.y() - pane.top) / self.scale
        return QRectF(left, top, rect.width() / self.scale, rect.height() / self.scale)

    def picture_point(self, position: QPointF) -> QPointF:
        """Position in logical pixels of the widget → pixels of the picture."""
        position = position * self.devicePixelRatioF()
        pane = self._pane_at(position)
        return QPointF((position.x() - pane.left) / self.scale, (position.y() - pane.top) / self.scale)

    # Zoom and place.

    def fit(self) -> None:
        """All of the picture."""
        if self.size_of_picture is None:
            return
        height, width = self.size_of_picture
        rect = self.panes()[0].rect if self.mode == "side" else QRect(0, 0, *self._device_size())
        scale = min(rect.width() / width, rect.height() / height)
        # Small pictures are enlarged by whole numbers.
        scale = max(math.floor(scale), 1) if scale >= 1 else max(scale, SCALES[0])
        self.scale, self.center, self.fitted = min(scale, SCALES[-1]), QPointF(width / 2, height / 2), True
        self.scaled.emit(self.scale)
        self.update()

    def zoom(self, steps: int, at: QPointF | None = None) -> None:
        """Zoom in or out by steps; the pixel at `at` (logical pixels; None: the middle) stays there."""
        if steps > 0:
            scales = [scale for scale in SCALES if scale > self.scale * 1.001]
        else:
            scales = [scale for scale in reversed(SCALES) if scale < self.scale * 0.999]
        self.zoom_to([self.scale, *scales][min(abs(steps), len(scales))], at)

    def zoom_to(self, scale: float, at: QPointF | None = None) -> None:
        if self.size_of_picture is None:
            return
        if at is not None:
            fixed = self.picture_point(at)
            self.center = fixed + (self.center - fixed) * (self.scale / scale)
        self.scale, self.fitted = scale, False
        self._keep_inside()
        self.scaled.emit(scale)
        self.update()

    def move_by(self, right: float, down: float) -> None:
        """Look further to the right and down, in logical pixels."""
        ratio = self.devicePixelRatioF() / self.scale
        self.center, self.fitted = self.center + QPointF(right * ratio, down * ratio), False
        self._keep_inside()
        self.update()

    def _keep_inside(self) -> None:
        height, width = self.size_of_picture or (0, 0)
        self.center.setX(min(max(self.center.x(), 0), width))
        self.center.setY(min(max(self.center.y(), 0), height))

    # Drawing.

    def paintEvent(self, _event) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(self.backgroundRole()).darker(115))
        if self.size_of_picture is None:
            painter.drawText(self.rect(), Qt.AlignCenter, tr("Drop a picture, a folder or a video here"))
            return
        ratio = self.devicePixelRatioF()
        painter.scale(1 / ratio, 1 / ratio)
        wanted, panes = [], self.panes()
        for pane in panes:
            painter.setClipRect(pane.rect)
            wanted += self._paint_layer(painter, pane)
            self._paint_outlines(painter, pane)
        painter.setClipping(False)
        if len(panes) == 2:
            start, end = panes[0].rect.width(), panes[1].rect.x()
            painter.fillRect(start, 0, end - start, panes[0].rect.height(), self.palette().highlight())
        self.tiles.request(wanted)

    def _paint_layer(self, painter: QPainter, pane: Pane) -> list:
        """Draw what there is of a layer, coarser where it is late; returns the keys of what is wanted."""
        seen = self._seen(pane)
        level = self.tiles.level_for(self.scale)
        painter.setRenderHint(QPainter.SmoothPixmapTransform, self.scale * 2**level < 1)
        keys = self.tiles.keys(pane.layer, level, seen)
        for key in keys:
            image, source = self.tiles.find(key)
            if image is not None:
                painter.drawImage(self._target(pane, self.tiles.box_of(key)), image, source)
        return [key for key in keys if self.tiles.is_stale(key)]

    def _target(self, pane: Pane, box: QRectF) -> QRectF:
        """Where a box of the picture is drawn. At whole device pixels, so that no seams are seen."""
        left, right = (round(pane.left + x * self.scale) for x in (box.left(), box.right()))
        top, bottom = (round(pane.top + y * self.scale) for y in (box.top(), box.bottom()))
        return QRectF(left, top, right - left, bottom - top)

    def _paint_outlines(self, painter: QPainter, pane: Pane) -> None:
        painter.save()
        painter.translate(pane.left, pane.top)
        painter.scale(self.scale, self.scale)
        for color, width in ((QColor(0, 0, 0), 4), (QColor(255, 255, 0), 2)):
            pen = QPen(color, width * self.devicePixelRatioF())
            pen.setCosmetic(True)
            painter.setPen(pen)
            for polygon in self.outlines:
                painter.drawPolygon(polygon)
        painter.restore()

    # Mouse.

    def _near_divider(self, position: QPoint) -> bool:
        place = self.width() * self.divider
        return len(MODES[self.mode]) == 2 and abs(position.x() - place) <= DIVIDER

    def wheelEvent(self, event) -> None:
        delta = event.angleDelta().y() or event.angleDelta().x()
        if delta:
            self.zoom(1 if delta > 0 else -1, event.position())

    def mousePressEvent(self, event) -> None:
        if event.button() in (Qt.LeftButton, Qt.MiddleButton):
            self.pressed, self.moved = event.pos(), False
            self.moves_divider = self._near_divider(event.pos())

    def mouseMoveEvent(self, event) -> None:
        if self.pressed is None:
            near = self._near_divider(event.pos())
            self.setCursor(Qt.SplitHCursor if near else Qt.CrossCursor)
            self.hovered.emit(*self._pixel_at(event.pos()))
            return
        way = event.pos() - self.pressed
        if not self.moved and way.manhattanLength() < 4:
            return
        self.moved = True
        if self.moves_divider:
            self.set_divider(event.pos().x() / max(self.width(), 1))
        else:
            self.setCursor(Qt.ClosedHandCursor)
            self.move_by(-way.x(), -way.y())
            self.pressed = event.pos()

    def mouseReleaseEvent(self, event) -> None:
        if self.pressed is not None and not self.moved and not self.moves_divider:
            self.clicked.emit(*self._pixel_at(event.pos()))
        self.pressed = None
        self.setCursor(Qt.CrossCursor)

    def mouseDoubleClickEvent(self, event) -> None:
        if self.fitted:
            self.zoom_to(1.0, QPointF(event.pos()))
        else:
            self.fit()

    def set_divider(self, share: float) -> None:
        self.divider = min(max(share, 0.05), 0.95)
        self.update()

    def _pixel_at(self, position: QPoint) -> tuple[int, int]:
        """Column and row of the picture; -1, -1 outside."""
        point = self.picture_point(QPointF(position))
        x, y = math.floor(point.x()), math.floor(point.y())
        height, width = self.size_of_picture or (0, 0)
        return (x, y) if 0 <= x < width and 0 <= y < height else (-1, -1)

    def leaveEvent(self, _event) -> None:
        self.hovered.emit(-1, -1)

    def resizeEvent(self, _event) -> None:
        if self.fitted:
            self.fit()
