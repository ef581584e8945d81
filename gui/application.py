"""The start of the window."""

import sys
import traceback
from pathlib import Path

from PyQt5.QtCore import QSettings, Qt
from PyQt5.QtWidgets import QApplication

from gui.main_window import MainWindow
from gui.qt_plugins import keep_qt_apart


def make_application() -> QApplication:
    """Sharp on screens of any density."""
    keep_qt_apart()
    QApplication.setAttribute(Qt.AA_EnableHighDpiScaling)
    QApplication.setAttribute(Qt.AA_UseHighDpiPixmaps)
    QApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    application = QApplication(sys.argv[:1])
    application.setApplicationName("unet-segmentation")
    return application


def run_application(model: Path | None, source: Path | None, device: str) -> int:
    """Exit status of the window once it is closed."""
    application = make_application()
    settings = QSettings("unet-segmentation", "window")
    if model:
        settings.setValue("model", str(model.resolve()))
    window = MainWindow(settings, device=device)
    show_bugs(window)
    window.show()
    if source:
        window.opening.open_paths([source])
    return application.exec_()


def show_bugs(window: MainWindow) -> None:
    """Show what goes wrong in the window, and go on: PyQt would end the program."""

    def show(kind: type, error: BaseException, trace) -> None:
        traceback.print_exception(kind, error, trace)
        window.banner.show_error(error)

    sys.excepthook = show
