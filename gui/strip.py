"""The strip of thumbnails below the picture."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PyQt5.QtCore import QSignalBlocker, QSize, Qt, QTimer, pyqtSignal
from PyQt5.QtGui import QIcon, QPainter, QPixmap
from PyQt5.QtWidgets import QListWidget, QListWidgetItem

from gui.jobs import Job, Jobs
from gui.tiles import to_qimage
from gui.translation import on_language, tr
from utils.core.console import UserError

SIDE = 72


class Strip(QListWidget):
    """Thumbnails are read when they are seen."""

    chosen = pyqtSignal(object)  # a path

    def __init__(self, jobs: Jobs):
        super().__init__()
        self.jobs, self.paths, self.done = jobs, [], set()
        self.setViewMode(QListWidget.IconMode)
        self.setFlow(QListWidget.LeftToRight)
        self.setWrapping(False)
        self.setMovement(QListWidget.Static)
        self.setIconSize(QSize(SIDE, SIDE))
        self.setGridSize(QSize(SIDE + 24, SIDE + 38))
        self.setFixedHeight(SIDE + 62)
        self.setTextElideMode(Qt.ElideMiddle)
        self.setUniformItemSizes(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
        self.currentRowChanged.connect(self._row_changed)
        self.horizontalScrollBar().valueChanged.connect(lambda _: self.timer.start())
        self.timer = QTimer(self)
        self.timer.setSingleShot(True)
        self.timer.setInterval(50)
        self.timer.timeout.connect(self._read_seen)
        self.empty = QPixmap(SIDE, SIDE)
        self.empty.fill(Qt.gray)
        on_language(self, lambda: self.setAccessibleName(tr("Pictures of the folder")))
        self.hide()

    def show_paths(self, paths: Sequence[Path], current: Path) -> None:
        if list(paths) != self.paths:
            self.jobs.cancel("thumbnails")
            self.paths, self.done = list(paths), set()
            icon = QIcon(self.empty)
            with QSignalBlocker(self):
                self.clear()
                for path in paths:
                    item = QListWidgetItem(icon, path.name)
                    item.setToolTip(str(path))
                    self.addItem(item)
        self.setVisible(len(self.paths) > 1)
        self.mark(current)
        self.timer.start()

    def mark(self, path: Path) -> None:
        """Select without a signal."""
        with QSignalBlocker(self):
            self.setCurrentRow(self.paths.index(path) if path in self.paths else -1)

    def step(self, by: int) -> None:
        """Go to the next (1) or the one before (-1), until the end."""
        row = min(max(self.currentRow() + by, 0), self.count() - 1)
        if self.count() and row != self.currentRow():
            self.setCurrentRow(row)

    def _row_changed(self, row: int) -> None:
        if row >= 0:
            self.chosen.emit(self.paths[row])

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self.timer.start()

    def _read_seen(self) -> None:
        width = self.gridSize().width()
        first = self.horizontalScrollBar().value() // width
        seen = range(first, min(first + self.width() // width + 2, len(self.paths)))
        todo = [(row, self.paths[row]) for row in seen if self.paths[row] not in self.done]
        if not todo:
            return

        def work(job: Job) -> None:
            from gui.listing import thumbnail

            for row, path in todo:
                if job.is_cancelled():
                    return
                try:
                    image = thumbnail(path, SIDE)
                except UserError:
                    # Said when the picture is opened.
                    image = None
                job.post(partial(self._keep, row, path, image))

        self.jobs.run("thumbnails", work, kind="thumbnails")

    def _keep(self, row: int, path: Path, image: np.ndarray | None) -> None:
        self.done.add(path)
        if image is not None and row < self.count() and self.paths[row] == path:
            # All of one size, so that the names below are in one line.
            square = QPixmap(SIDE, SIDE)
            square.fill(Qt.transparent)
            painter = QPainter(square)
            left, top = (SIDE - image.shape[1]) // 2, (SIDE - image.shape[0]) // 2
            painter.drawImage(left, top, to_qimage(image))
            painter.end()
            self.item(row).setIcon(QIcon(square))
