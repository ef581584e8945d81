"""train.py judges the scores of the epoch whose weights it recommends, best.pth."""

import numpy as np
import pytest
from scripts import tiny

import train
from utils.models.checkpoint import load_checkpoint
from utils.scoring.confusion import Scores
from utils.training.keeping import scores_of_groups

ALL_FOUND = np.array([[90, 2, 2], [2, 40, 0], [2, 0, 40]])
NO_NUCLEUS = np.array([[90, 2, 0], [2, 40, 0], [42, 0, 0]])
NO_CELL = np.array([[90, 0, 2], [42, 0, 0], [2, 0, 40]])


@pytest.fixture
def judged(folder, logs, monkeypatch, capsys):
    """judged(matrices, …): what a run says whose epochs have these confusion matrices in turn.

    Of all pictures (K, K), or of groups of them (G, K, K).
    """

    def judge(*matrices, **settings) -> list[str]:
        scores = (scores_of_groups(one) if one.ndim == 3 else Scores(one) for one in matrices)
        monkeypatch.setattr(train.recipe, "validation_interval", lambda *_: 1)
        monkeypatch.setattr("utils.training.epochs.evaluate", lambda *_: (1.0, next(scores)))
        train.main(tiny(folder, logs, **settings))
        return capsys.readouterr().err.splitlines()

    return judge


def changed(counts: np.ndarray, *pixels: int) -> np.ndarray:
    """Matrices (G, K, K) with so many pixels more in each that are wrong, in two classes."""
    wrong = np.array([[-1, 1, 0], [1, -1, 0], [0, 0, 0]])
    return counts + wrong * np.reshape(pixels, (-1, 1, 1))


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


def test_a_later_epoch_is_kept_unless_it_is_worse_beyond_doubt(judged, logs):
    best = np.stack(3 * [ALL_FOUND])
    # Both have the same mIoU, below that of the best: pictures differ in which is better, or all agree.
    by_chance, beyond_doubt = changed(best, 7, -4, 0), changed(best, 1, 1, 1)
    for number, (second, kept) in enumerate([(by_chance, 2), (beyond_doubt, 1)]):
        judged(best, second, run_name=str(number))
        assert load_checkpoint(logs / str(number) / "best.pth").scores["epoch"] == kept
        training = load_checkpoint(logs / str(number) / "last.pth").training
        assert training["kept"] == kept
        assert training["best"] == pytest.approx(Scores(best.sum(0)).miou)


def test_later_epochs_are_held_against_the_best_one_not_against_the_kept_one(judged, logs):
    """Else a run could go down step by step."""
    best = np.stack(3 * [ALL_FOUND])
    second, third = changed(best, 4, 2, -3), changed(best, 1, 2, 2)
    judged(best, second, third, epochs=3)
    assert load_checkpoint(logs / "run" / "best.pth").scores["epoch"] == 2
    judged(second, third, run_name="other")
    assert load_checkpoint(logs / "other" / "best.pth").scores["epoch"] == 2


def test_a_resumed_run_knows_the_kept_and_the_best_epoch(judged, logs, capsys):
    best = np.stack(3 * [ALL_FOUND])
    judged(best, changed(best, 7, -4, 0))
    judged(best - np.diag([30, 10, 10]), epochs=3, resume=logs / "run" / "last.pth")
    assert load_checkpoint(logs / "run" / "last.pth").training["kept"] == 2
    assert load_checkpoint(logs / "run" / "best.pth").scores["epoch"] == 2
