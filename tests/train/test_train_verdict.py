"""train.py judges the scores of the epoch whose weights it recommends, best.pth."""

import numpy as np
import pytest
from scripts import tiny

import train
from utils.models.checkpoint import load_checkpoint
from utils.scoring.confusion import Scores

ALL_FOUND = np.array([[90, 2, 2], [2, 40, 0], [2, 0, 40]])
NO_NUCLEUS = np.array([[90, 2, 0], [2, 40, 0], [42, 0, 0]])
NO_CELL = np.array([[90, 0, 2], [42, 0, 0], [2, 0, 40]])


@pytest.fixture
def judged(folder, logs, monkeypatch, capsys):
    """judged(matrices, …): what a run says whose epochs have these confusion matrices in turn."""

    def judge(*matrices, **settings) -> list[str]:
        scores = iter(matrices)
        monkeypatch.setattr(train.recipe, "validation_interval", lambda *_: 1)
        monkeypatch.setattr("utils.training.epochs.evaluate", lambda *_: (1.0, Scores(next(scores))))
        train.main(tiny(folder, logs, **settings))
        return capsys.readouterr().err.splitlines()

    return judge


def test_a_class_that_only_the_last_epoch_lost(judged):
    said = judged(ALL_FOUND, NO_NUCLEUS)
    assert not [line for line in said if line.startswith("warning")]
    (note,) = (line for line in said if line.startswith("note"))
    assert "nucleus" in note
    assert "epoch 1" in note


def test_a_class_that_the_recommended_weights_never_find(judged):
    # The second epoch finds the nuclei and loses the cells, for a lower mIoU.
    said = judged(NO_NUCLEUS, NO_CELL - np.diag([9, 0, 9]))
    (warning,) = (line for line in said if line.startswith("warning"))
    assert "nucleus" in warning
    sought, *notes = [line for line in said if line.startswith("note")]
    assert "nucleus" in sought
    assert ["nucleus" in note for note in notes] == [True, False]
    assert ["cell" in note for note in notes] == [False, True]


def test_the_best_epoch_of_an_earlier_part_of_the_run(judged, logs):
    judged(ALL_FOUND, NO_NUCLEUS)
    last = logs / "run" / "last.pth"
    said = judged(NO_NUCLEUS, epochs=3, resume=last)
    assert not [line for line in said if line.startswith("warning")]
    assert load_checkpoint(last).training["best_matrix"] == ALL_FOUND.tolist()
