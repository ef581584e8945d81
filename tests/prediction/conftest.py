"""Fixtures of the tests of predict.py."""

import pytest
from scripts import predict_config, save_untrained

from predict import main


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
