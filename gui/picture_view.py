"""A picture that is looked at: fitted to its place, zoomed to the cursor by the wheel, dragged."""

from PyQt5.QtCore import QEvent, Qt
from PyQt5.QtGui import QImage, QPainter, QPixmap
from PyQt5.QtWidgets import QFrame, QGraphicsScene, QGraphicsView

from gui.translation import on_language
from gui.widgets import draw_note

STEP = 1.25  # zoom per notch of the wheel
LARGEST = 16.0
KEYS = Qt.Key_Plus, Qt.Key_Equal, Qt.Key_Minus, Qt.Key_0


class PictureView(QGraphicsView):
    """Fitted until the wheel is turned; a double click fits it again."""

    def __init__(self, note: str) -> None:
        """note: what is said while there is no picture."""
        super().__init__(QGraphicsScene())
        self.note = note
        self.item = self.scene().addPixmap(QPixmap())
        self.item.setTransformationMode(Qt.SmoothTransformation)
        self.fitted = True
        self.setFrameShape(QFrame.NoFrame)
        self.setRenderHint(QPainter.SmoothPixmapTransform)
        self.setTransformationAnchor(QGraphicsView.AnchorUnderMouse)
        self.setDragMode(QGraphicsView.ScrollHandDrag)
        on_language(self, self.viewport().update)

    def show_image(self, image: QImage) -> None:
        """A null image empties the view. A picture of the same size keeps zoom and place."""
        same = image.size() == self.item.pixmap().size()
        self.item.setPixmap(QPixmap.fromImage(image))
        self.scene().setSceneRect(self.item.boundingRect())
        if not same:
            self.fit()

    def paintEvent(self, event) -> None:
        super().paintEvent(event)
        if self.item.pixmap().isNull():
            draw_note(self, self.note)

    def fit(self) -> None:
        self.fitted = True
        if not self.item.pixmap().isNull():
            self.fitInView(self.item, Qt.KeepAspectRatio)
            if self.transform().m11() > 1:
                self.resetTransform()

    def wheelEvent(self, event) -> None:
        self.zoom(STEP ** (event.angleDelta().y() / 120))

    def zoom(self, factor: float) -> None:
        scale = self.transform().m11() * factor
        if scale <= LARGEST:
            self.fitted = False
            self.scale(factor, factor)

    def event(self, event: QEvent) -> bool:
        """These keys are ours here, whatever the menus of the window use them for."""
        if event.type() == QEvent.ShortcutOverride and event.key() in KEYS:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event) -> None:
        if event.key() in (Qt.Key_Plus, Qt.Key_Equal):
            self.zoom(STEP)
        elif event.key() == Qt.Key_Minus:
            self.zoom(1 / STEP)
        elif event.key() == Qt.Key_0:
            self.fit()
        else:
            super().keyPressEvent(event)

    def mouseDoubleClickEvent(self, event) -> None:
        self.fit()

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        if self.fitted:
            self.fit()
