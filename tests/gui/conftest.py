"""Qt without a screen, unless a test starts a program of its own on an X server."""

import os

import pytest

# Before Qt is loaded.
os.environ["QT_QPA_PLATFORM"] = "offscreen"

from PyQt5.QtWidgets import QApplication

from gui.translation import set_language


@pytest.fixture(scope="session")
def application():
    return QApplication.instance() or QApplication(["tests"])


@pytest.fixture(autouse=True)
def english(application):
    """Each test begins and ends in English."""
    set_language("en")
    yield
    set_language("en")
