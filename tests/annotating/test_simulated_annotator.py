"""benchmarks/annotating.py: the costs by known answers, and the whole script run small."""

import math
import sys

import numpy as np
from circle import train_here
from scripts import ROOT

from utils.annotating.state import Proposal, State, Workplace
from utils.images.writing import write_image, write_mask
from utils.voc.folder import VocFolder

sys.path.insert(0, str(ROOT / "benchmarks"))
import annotating
from accuracy import Run


def test_the_script(tmp_path, monkeypatch):
    monkeypatch.setattr("annotate.start_training", train_here)
    # Of the training on all pictures, so that the first round is enough.
    monkeypatch.setattr("recipes.train_ours", lambda *_: [Run("all pictures", miou=0.01)])
    annotating.main(annotating.Config(quick=True, output=tmp_path / "table.md", device="cpu"))
    lines = (tmp_path / "table.md").read_text("utf-8").splitlines()
    _, _, *rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    *rows, trained = rows
    assert [row[0] for row in rows] == [f"voc: {way}" for way in annotating.WAYS]
    # The first picture is drawn from nothing, and enough.
    assert trained[0] == "voc: random, proposals, then 0.02 minutes"
    assert trained[2:7] == ["0.010", "1 of 1", "1", rows[2][5], "1.00"]
    # Of the first pictures nothing is proposed, so that both ways cost the same.
    assert rows[1][5] == rows[2][5] and rows[2][6] == "1.00"
    assert all(row[3] == "1 of 1" and row[4] == "1 … 1" for row in rows)


def test_the_cost_of_a_circle_lies_between_two_rounds():
    course = annotating.Course([1, 2, 3], [0.4, 0.3, 0.8], [10, 20, 40], [10, 50, 90])
    assert course.cost(course.corrected, 0.6) == 30 and course.cost(course.drawn, 0.6) == 70
    assert course.cost(course.corrected, 0.4) == 10
    assert math.isnan(course.cost(course.corrected, 0.9))


def test_what_the_simulated_annotator_corrects(tmp_path):
    dense = VocFolder(tmp_path / "dense")
    truth = np.zeros((8, 8), np.uint8)
    truth[:4], truth[4, :2] = 1, 255
    write_image(dense.images_dir / "a.png", truth)
    write_mask(dense.mask_path("a"), truth)
    (dense.root / "class_names.txt").write_text("ground\ncell\n", "utf-8")
    place, state = Workplace(tmp_path), State(next=["a"])
    assert annotating.correct(place, state, dense, whole=False) == (32, 32)
    assert annotating.correct(place, state, dense, whole=True) == (62, 62)
    state.proposals["a"] = Proposal("", ["_background_", "cell"], 1)
    write_mask(place.proposal("a"), np.roll(truth == 1, 1, axis=0).astype(np.uint8))
    # A row too few at the top, and one too many below, of which two pixels are ignored.
    assert annotating.correct(place, state, dense, whole=False) == (8 + 6, 32)
