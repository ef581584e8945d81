"""The window opens beside OpenCV, whichever is imported first."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from scripts import ROOT

from gui import labelme
from gui.qt_plugins import VARIABLES, keep_qt_apart

PROGRAM = """
import os, sys
import cv2
import numpy as np
if "apart" in sys.argv:
    from gui.qt_plugins import VARIABLES, keep_qt_apart
    keep_qt_apart()
    assert not set(VARIABLES) & set(os.environ), "programs started from the window inherit them"
from PyQt5.QtWidgets import QApplication, QLabel
application = QApplication(["test"])
label = QLabel("label")
label.show()
application.processEvents()
assert cv2.resize(np.ones((4, 4), np.uint8), (2, 2)).all()
print(application.platformName(), label.grab().width() > 0)
"""


def open_window(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_a_window_opens_without_a_screen():
    assert open_window({"QT_QPA_PLATFORM": "offscreen"}, "apart").stdout == "offscreen True\n"


def test_a_window_opens_on_an_x_server(x_server):
    result = open_window(x_server, "apart")
    assert result.stdout == "xcb True\n", result.stderr


def test_without_it_no_window_opens_on_an_x_server(x_server):
    """If this fails, OpenCV has given up its own Qt, and `keep_qt_apart` may go."""
    if not (Path(cv2.__file__).parent / "qt").is_dir():
        pytest.skip("an OpenCV without Qt")
    assert open_window(x_server).returncode != 0


def test_what_the_user_has_set_stays(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLES[0], str(tmp_path))
    monkeypatch.setenv(VARIABLES[1], str(Path(cv2.__file__).parent / "qt" / "fonts"))
    keep_qt_apart()
    assert os.environ[VARIABLES[0]] == str(tmp_path)
    assert VARIABLES[1] not in os.environ


def test_labelme_is_started_without_the_plugins_of_opencv(monkeypatch):
    started = []
    monkeypatch.setattr("labelme.__main__.main", lambda: started.append(set(VARIABLES) & set(os.environ)))
    for name in VARIABLES:
        monkeypatch.setenv(name, str(Path(cv2.__file__).parent / "qt"))
    labelme.main()
    assert started == [set()]
