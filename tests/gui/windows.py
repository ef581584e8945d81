"""Windows for tests: the network computes in this process, and what happens is waited for."""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PyQt5.QtCore import QSettings
from PyQt5.QtTest import QTest

from gui.engine import Cancelled, never
from gui.main_window import MainWindow


class LocalEngine:
    """An `Engine` without a process. gate: set to go on after each tile."""

    runs = True

    def __init__(self) -> None:
        from gui.session import Session  # loads PyTorch

        self.session, self.lock, self.gate = Session(), threading.Lock(), threading.Event()
        self.gate.set()
        self.calls: list[str] = []

    def call(self, method, *arguments, on_event=None, is_cancelled=never) -> Any:
        def emit(*content: Any) -> None:
            if is_cancelled():
                raise Cancelled
            if on_event:
                on_event(*content)
            while not self.gate.wait(0.01):
                if is_cancelled():
                    raise Cancelled

        self.calls.append(method)
        with self.lock:
            return getattr(self.session, method)(*arguments, emit)

    def end(self) -> None:
        pass


def wait(condition: Callable[[], Any], seconds: float = 180) -> None:
    """Let the window work until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the window did not get there")
        QTest.qWait(10)


def settle(window: MainWindow) -> None:
    """Until nothing is left to do: model, picture, prediction, refinement, tiles, thumbnails."""
    for _ in range(2):
        wait(lambda: not window.jobs.running)
        QTest.qWait(60)
    wait(lambda: not window.jobs.running)


def measured(window: MainWindow) -> bool:
    """Whether the objects of what is shown are in the table."""
    document = window.controller.document
    return bool(document and document.objects)


def open_window(folder: Path, model: Path | None, make_engine: Callable[[], Any] = LocalEngine) -> MainWindow:
    """A window that remembers in a folder of its own."""
    settings = QSettings(str(folder / "window.ini"), QSettings.IniFormat)
    if model:
        settings.setValue("model", str(model))
    window = MainWindow(settings, make_engine)
    window.bugs = []

    def keep(kind: type, error: BaseException, trace: Any) -> None:
        # PyQt would end the program.
        traceback.print_exception(kind, error, trace)
        window.bugs.append(error)

    sys.excepthook = keep
    window.show()
    return window
