"""Fixtures of the tests of get_miou.py."""

import pytest
from scripts import make_voc, save_untrained

import get_miou
from utils.voc.folder import VocFolder


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("weights") / "best.pth")


@pytest.fixture
def folder(tmp_path) -> VocFolder:
    """Two validation pictures of different sizes."""
    return make_voc(tmp_path / "voc", size=[(48, 48), (37, 53), (64, 40)], val=2)


@pytest.fixture
def score(weights, folder, tmp_path, monkeypatch):
    """get_miou.py with a tiny network, writing to tmp_path/out; figures, which take seconds, on request."""

    def run(report: bool = False, **settings):
        if not report:
            monkeypatch.setattr("get_miou.make_report", lambda *_: [])
        defaults = {"model_path": weights, "voc_root": folder.root, "output": tmp_path / "out"}
        get_miou.main(get_miou.Config(**{**defaults, "device": "cpu", "precision": "fp32", **settings}))

    return run
