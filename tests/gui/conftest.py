"""Qt without a screen, and an X server for tests that start programs on a real one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before Qt is loaded.
os.environ["QT_QPA_PLATFORM"] = "offscreen"

from PyQt5.QtWidgets import QApplication
from scripts import save_untrained
from windows import measured, open_window, settle, wait

from gui.qt_plugins import keep_qt_apart
from gui.translation import set_language
from unet import Unet
from utils.images.writing import write_image
from utils.voc.demo import draw_sample

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


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model") / "best.pth")


@pytest.fixture(scope="session")
def unet(weights):
    return Unet(weights, "cpu")


@pytest.fixture
def pictures(tmp_path: Path):
    for number in range(3):
        write_image(tmp_path / "pictures" / f"p{number}.png", draw_sample(number, 64)[0])
    return tmp_path / "pictures"


@pytest.fixture
def window(application, tmp_path, weights):
    """A window whose model is loaded."""
    window = open_window(tmp_path, weights)
    window.resize(1200, 800)
    window.controller.idle.setInterval(1 << 30)
    wait(lambda: window.controller.model and window.controller.model.card)
    yield window
    window.close()
    assert not window.bugs


@pytest.fixture
def shown(window, pictures):
    """The folder is open, and its first picture measured."""
    window.opening.open_paths([pictures])
    wait(lambda: measured(window))
    settle(window)
    return window
