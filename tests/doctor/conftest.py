"""Shared by the tests of the doctor: a small folder, and no drawing, which takes a second."""

import pytest
from doctor_folder import make_folder


@pytest.fixture
def folder(tmp_path, without_drawing):
    """Three good pairs, a, b and c."""
    return make_folder(tmp_path / "voc")
