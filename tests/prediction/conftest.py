"""Fixtures of the tests of predict.py."""

import pytest
from scripts import predict_config, save_untrained

from predict import main
from utils.inference.tiling import make_grid


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("weights") / "best.pth")


@pytest.fixture
def predict(weights, tmp_path):
    """predict.py with a tiny network, writing to tmp_path/out."""

    def run(**settings):
        fixed = {"model_path": weights, "output": tmp_path / "out", "device": "cpu", "precision": "fp32"}
        main(predict_config(**{**fixed, **settings}))

    return run


@pytest.fixture
def small_is_large(monkeypatch):
    """Pictures above 1,000 pixels go band by band, above 2,000 into TIFFs."""
    for module in ("images.large", "inference.ensemble", "inference.rendering", "inference.results"):
        monkeypatch.setattr(f"utils.{module}.LARGE_PIXELS", 1000)
    monkeypatch.setattr("utils.inference.results.PNG_PIXELS", 2000)

    def make_small_grid(size, side, stride, reach, exact):
        return make_grid(size, 24, 4, 0, exact=True)

    monkeypatch.setattr("utils.inference.ensemble.make_grid", make_small_grid)
