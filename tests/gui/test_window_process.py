"""The network in a process of its own, and the whole window on an X server."""

import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from scripts import ROOT, refused

from gui.card import Choices
from gui.engine import Cancelled, Engine, EngineError
from gui.model import Model
from utils.voc.demo import draw_sample


def test_a_process_predicts_is_cancelled_reports_bugs_and_begins_again_after_its_end(weights, unet):
    engine = Engine()
    model = Model(engine)
    try:
        assert model.open_model(weights, "cpu").class_names == tuple(unet.class_names)
        image = draw_sample(3, 96)[0]
        document = model.open_picture(image)
        model.predict(document, False)
        assert np.array_equal(model.refine(document, Choices()).mask, unet.predict(image))
        with refused("not-a-checkpoint"):
            model.open_model(ROOT / "README.md", "cpu")
        with pytest.raises(EngineError, match="no_such_method"):
            engine.call("no_such_method")
        other = model.open_picture(draw_sample(4, 96)[0])
        with pytest.raises(Cancelled):
            model.predict(other, True, is_cancelled=lambda: True)
        assert not other.predictions
        # Large enough to be under way when it is cancelled.
        large, answers = model.open_picture(draw_sample(5, 1200)[0]), iter([False])
        with pytest.raises(Cancelled):
            model.predict(large, True, is_cancelled=lambda: next(answers, True))
        engine.process.kill()
        engine.process.join()
        end = time.monotonic() + 30
        while engine.runs and time.monotonic() < end:
            time.sleep(0.01)
        model.predict(other, False)
        assert np.array_equal(model.refine(other, Choices()).mask, unet.predict(draw_sample(4, 96)[0]))
    finally:
        engine.end()


def test_the_window_on_an_x_server(x_server, weights, tmp_path):
    picture = ROOT / "img" / "cells_a.png"
    command = [sys.executable, "-m", "tests.gui.screenshots", "--output", str(tmp_path / "shots")]
    command += ["--model-path", str(weights), "--input", str(picture)]
    environment = {"PATH": "", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", **x_server}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    shots = {path.stem: np.asarray(Image.open(path).convert("L")) for path in (tmp_path / "shots").glob("*")}
    assert {"start", "overlay", "side", "compare", "mask", "zoomed", "object", "error"} <= set(shots)
    assert all(shot.std() > 5 for shot in shots.values())
    assert shots["dark_chinese"].mean() < shots["side"].mean() - 50
