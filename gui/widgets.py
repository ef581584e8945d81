"""Widgets as they look everywhere in the window."""

from PyQt5.QtCore import Qt
from PyQt5.QtGui import QPainter, QPalette
from PyQt5.QtWidgets import QAbstractScrollArea, QLabel, QPushButton

from gui.translation import keep_text, tr


def button(text: str) -> QPushButton:
    """text: English."""
    made = QPushButton()
    keep_text(made.setText, text)
    return made


def plain_label() -> QLabel:
    """Wrapped, to be copied, and without HTML: a path or a name may look like it."""
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.PlainText)
    label.setTextInteractionFlags(Qt.TextSelectableByMouse)
    return label


def draw_note(view: QAbstractScrollArea, text: str) -> None:
    """Say in an empty view what will stand there. text: English."""
    painter = QPainter(view.viewport())
    painter.setPen(view.palette().color(QPalette.Disabled, QPalette.Text))
    rect = view.viewport().rect().adjusted(12, 4, -12, -4)
    painter.drawText(rect, Qt.AlignCenter | Qt.TextWordWrap, tr(text))
