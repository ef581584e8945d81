"""Where the widgets of the main window stand."""

from PyQt5.QtCore import QEvent, QObject, QSize, Qt
from PyQt5.QtWidgets import QFrame, QGroupBox, QScrollArea, QSplitter, QVBoxLayout, QWidget

from gui.translation import keep_text

LEAST_WIDTH = 360  # logical pixels, of the column beside the picture


def picture_side(bar: QWidget, viewer: QWidget, player: QWidget, strip: QWidget) -> QWidget:
    """The picture takes the space that the others leave."""
    side = QWidget()
    layout = QVBoxLayout(side)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in (bar, viewer, player, strip):
        layout.addWidget(widget, int(widget is viewer))
    return side


def results_side(model: QWidget, choices: QWidget, legend: QWidget, table: QWidget) -> QScrollArea:
    """It scrolls where space is short."""
    top = QWidget()
    column = QVBoxLayout(top)
    column.setContentsMargins(0, 0, 0, 0)
    column.addWidget(model)
    column.addWidget(choices)
    column.addStretch(1)
    for widget in (legend, table):
        widget.setMinimumHeight(80)
    side = QSplitter(Qt.Vertical)
    for widget in (top, titled("Classes", legend), titled("Objects", table)):
        side.addWidget(widget)
    side.setChildrenCollapsible(False)
    # The classes are few, the objects many.
    side.setSizes([0, 160, 600])
    side.setStretchFactor(2, 1)
    return Column(side)


class Column(QScrollArea):
    """Scrolls up and down only: it is as wide as its widget needs, in any font and language."""

    def __init__(self, widget: QWidget):
        super().__init__()
        self.setFrameShape(QFrame.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
        self.setWidget(widget)

    def minimumSizeHint(self) -> QSize:
        needed = self.widget().minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width()
        return QSize(max(needed, LEAST_WIDTH), super().minimumSizeHint().height())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        # A scroll area keeps changes of its widget from the layout around it.
        if event.type() == QEvent.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


def titled(title: str, widget: QWidget) -> QGroupBox:
    """A widget in a box with a heading."""
    box = QGroupBox()
    keep_text(box.setTitle, title)
    QVBoxLayout(box).addWidget(widget)
    return box
