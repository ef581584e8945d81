"""The menus: every action with its text and keys."""

from collections.abc import Callable

from PyQt5.QtGui import QKeySequence
from PyQt5.QtWidgets import QAction, QActionGroup, QMainWindow, QMenu

from gui.translation import LANGUAGES, keep_text

VIEWS = {
    "picture": ("Picture", "F1"),
    "mask": ("Mask", "F2"),
    "overlay": ("Overlay", "F3"),
    "side": ("Side by side", "F4"),
    "compare": ("Compare by a divider", "F5"),
}
LOOKS = {"system": "As the system", "light": "Light", "dark": "Dark"}


class Menus:
    """Makes the menus of a window. Actions are found by their English text."""

    def __init__(self, window: QMainWindow):
        self.window, self.actions = window, {}

    def menu(self, title: str, parent: QMenu | None = None) -> QMenu:
        menu = QMenu(self.window)
        keep_text(menu.setTitle, title)
        (parent or self.window.menuBar()).addMenu(menu)
        return menu

    def add(
        self, menu: QMenu, text: str, call: Callable[[], object], keys: str | QKeySequence.StandardKey = ""
    ) -> QAction:
        action = QAction(self.window)
        keep_text(action.setText, text)
        action.triggered.connect(lambda _checked: call())
        shortcuts = QKeySequence.keyBindings(keys) if isinstance(keys, int) else keys.split()
        action.setShortcuts([QKeySequence(key) for key in shortcuts])
        menu.addAction(action)
        self.actions[text] = action
        return action

    def choice(
        self, menu: QMenu, entries: dict[str, tuple[str, str]], call: Callable[[str], object], now: str
    ) -> QActionGroup:
        """Of several, one is checked. entries: value → text and keys."""
        group = QActionGroup(self.window)
        for value, (text, keys) in entries.items():
            action = self.add(menu, text, lambda value=value: call(value), keys)
            action.setCheckable(True)
            action.setData(value)
            action.setChecked(value == now)
            group.addAction(action)
        return group


def language_entries() -> dict[str, tuple[str, str]]:
    return {"system": ("As the system", ""), **{code: (name, "") for code, name in LANGUAGES.items()}}


def look_entries() -> dict[str, tuple[str, str]]:
    return {look: (text, "") for look, text in LOOKS.items()}
