"""What the window remembers from one start to the next."""

from PyQt5.QtCore import QSize
from PyQt5.QtWidgets import QMainWindow

SIZE = QSize(1280, 800)  # at the first start, where the screen has room for it
FRAME = QSize(16, 48)  # what the frame around a window takes of the screen


def restore(window: QMainWindow) -> None:
    """As it was when it was closed last, or as it is at first."""
    settings = window.settings
    window.opacity.setValue(int(settings.value("opacity", 50)))
    window.viewer.set_divider(float(settings.value("divider", 0.5)))
    window.set_look(settings.value("look", "system"))
    window.set_language(settings.value("language", "system"))
    window.viewer.set_mode(settings.value("mode", "overlay"))
    if geometry := settings.value("geometry"):
        window.restoreGeometry(geometry)
    else:
        window.resize(first_size(window.screen().availableSize()))
    if halves := settings.value("halves"):
        window.halves.restoreState(halves)


def first_size(room: QSize) -> QSize:
    """Of the window on a screen with this room, so that its frame is seen too."""
    return SIZE.boundedTo(room - FRAME)


def store(window: QMainWindow) -> None:
    """What is not stored where it is changed."""
    settings = window.settings
    settings.setValue("opacity", window.opacity.value())
    settings.setValue("divider", window.viewer.divider)
    settings.setValue("geometry", window.saveGeometry())
    settings.setValue("halves", window.halves.saveState())
