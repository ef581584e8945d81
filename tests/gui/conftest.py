"""Qt without a screen, and an X server for tests that start programs on a real one."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

# Before Qt is loaded.
os.environ["QT_QPA_PLATFORM"] = "offscreen"

from PyQt5.QtWidgets import QApplication

from gui.qt_plugins import keep_qt_apart
from gui.translation import set_language

keep_qt_apart()


@pytest.fixture(scope="session")
def application():
    return QApplication.instance() or QApplication(["tests"])


@pytest.fixture(autouse=True)
def english(application):
    """Each test begins and ends in English."""
    set_language("en")
    yield
    set_language("en")


@pytest.fixture(scope="session")
def x_server() -> Iterator[dict[str, str]]:
    """Variables of programs that open their windows on an X server."""
    if not shutil.which("Xvfb"):
        pytest.skip("needs Xvfb")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1400x900x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        yield {"DISPLAY": f":{server.stdout.readline().strip()}", "QT_QPA_PLATFORM": "xcb"}
        server.terminate()
