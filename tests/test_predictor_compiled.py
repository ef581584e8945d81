"""The predictor through torch.compile: the same masks, and no more sizes than are kept."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from predictors import PICTURE, describe
from scripts import refused

from unet import Unet
from utils.models.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("模型 1") / "best.pth"
    save_checkpoint(path, describe())
    return path


@pytest.fixture(scope="module")
def unet(path) -> Unet:
    return Unet(path, device="cpu", precision="fp32")


@pytest.fixture
def quick_compiler(monkeypatch):
    """torch.compile without its C++ compiler: the graph is captured and run."""
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


@pytest.mark.parametrize(
    ("make", "times", "tolerance"),
    [
        (lambda path: Unet(path, "cpu", "fp32"), 2, 1e-5),
        # Rounded after every operation; what is not compiled rounds fewer times.
        (lambda path: Unet(path, "cpu", "bf16"), 2, 0.02),
        # Upright and on its side.
        (lambda path: Unet(path, "cpu", "fp32", tta=True), 4, 1e-5),
        (lambda path: Unet([path, path], "cpu", "fp32", close_gaps="cell"), 4, 1e-5),
    ],
    ids=["one network", "in bfloat16", "from all sides", "ensemble"],
)
def test_compiled_networks_predict_the_same(path, make, times, tolerance, quick_compiler, capsys):
    plain, unet = make(path), make(path)
    unet.compile(after=0)
    for picture in (PICTURE, PICTURE, PICTURE[:30], PICTURE[:, :, 0]):
        np.testing.assert_allclose(unet.predict_proba(picture), plain.predict_proba(picture), atol=tolerance)
        assert (unet.predict(picture) == plain.predict(picture)).mean() >= (1 if tolerance < 1e-4 else 0.95)
    assert capsys.readouterr().err.count("compiled in") == times


def test_a_size_is_compiled_when_it_comes_again(path, unet, quick_compiler, capsys):
    compiled = Unet(path, "cpu", "fp32")
    compiled.compile(after=2)
    for size, notes in ((37, 0), (20, 0), (37, 0), (37, 1), (37, 0), (20, 0), (20, 1)):
        np.testing.assert_array_equal(compiled.predict(PICTURE[:size]), unet.predict(PICTURE[:size]))
        assert capsys.readouterr().err.count(f"compiling for {size}×53 pixels") == notes


def test_sizes_beyond_those_that_are_compiled_run_all_the_same(
    path, unet, quick_compiler, monkeypatch, capsys
):
    monkeypatch.setattr("utils.inference.ensemble.COMPILED_SIZES", 2)
    compiled = Unet(path, "cpu", "fp32")
    compiled.compile(after=0)
    for size in (20, 30, 37, 20, 30, 37):
        np.testing.assert_array_equal(compiled.predict(PICTURE[:size]), unet.predict(PICTURE[:size]))
    notes = capsys.readouterr().err
    assert notes.count("compiled in") == 2
    assert notes.count("2 sizes are compiled now, others run as they are") == 1


def test_a_missing_compiler_is_reported(path, monkeypatch):
    def no_compiler(*_: object, **__: object):
        raise torch._dynamo.exc.TorchDynamoException(
            "C++ compile error\nOutput:\nfatal error: Python.h: No such file"
        )

    monkeypatch.setattr(torch, "compile", lambda *_, **__: no_compiler)
    unet = Unet(path, "cpu", "fp32")
    unet.compile(after=0)
    with refused("compiler-fails", "--compile") as caught:
        unet.predict(PICTURE)
    assert "Python.h" in caught.value.found
