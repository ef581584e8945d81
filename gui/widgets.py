"""Widgets as they look everywhere in the window."""

from PyQt5.QtCore import Qt
from PyQt5.QtWidgets import QLabel, QPushButton

from gui.translation import keep_text


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
