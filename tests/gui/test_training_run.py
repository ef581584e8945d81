"""A training that the window starts: it outlives the window, is found again, stopped and resumed."""

import json
import os
import subprocess
import sys

import psutil
import pytest
from scripts import ROOT, make_voc, refused
from windows import wait

from gui.training_run import LOG, RECORD, TrainingRun, TrainingSettings, judge_end, list_runs
from utils.core.console import UserError
from utils.core.locks import is_taken, take_lock
from utils.training.history import History, Row

SMALL = "--base-channels 4 --depth 2 --batch-size 2 --num-workers 0 --device cpu --precision fp32"
EPOCHS = 20
# A window that is closed again at once.
WINDOW = """
import sys
from pathlib import Path
from gui.training_run import TrainingRun, TrainingSettings
settings = TrainingSettings(Path(sys.argv[1]), int(sys.argv[3]), in_minutes=False, flags=sys.argv[4])
TrainingRun.start(settings, Path(sys.argv[2]), "run ä")
"""


def write_history(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    history = History(folder / "history.csv")
    for row in rows:
        history.add(row)


def rows(count, seconds=2.0):
    return [Row(epoch, 0.1, 1.0, 1.0, epoch / 100, seconds, 1.0) for epoch in range(1, count + 1)]


def test_a_training_outlives_the_window_and_is_stopped_and_resumed(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other tests run beside it
    data, save_dir = make_voc(tmp_path / "new data ä", 4), tmp_path / "logs"
    command = [sys.executable, "-c", WINDOW, data.root, save_dir, EPOCHS, SMALL]
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True)
    (run,) = list_runs(save_dir)
    wait(lambda: run.read().checkpoint)
    state = run.read()
    assert (state.phase, state.ours, state.can_resume) == ("running", True, False)
    assert 0 < state.done < 1
    assert state.seconds_left > 0
    with refused("folder-in-use"):
        run.resume()

    assert run.stop()
    wait(lambda: run.read().phase != "running")
    state = run.read()
    assert (state.phase, state.can_resume, state.failure) == ("stopped", True, None)
    assert 0 < len(state.rows) < EPOCHS
    assert not run.stop()

    run.resume()
    wait(lambda: run.read().phase != "running")
    state = run.read()
    assert (state.phase, state.done, state.can_resume) == ("finished", 1.0, False), state.log
    assert [row.epoch for row in state.rows] == list(range(1, EPOCHS + 1))
    assert state.best.miou == max(row.miou for row in state.rows if row.miou == row.miou)
    assert state.log.count("$ python train.py") == 2
    assert {"val_epoch.png", "train_batch.png"} == set(state.changed)


def test_a_process_that_has_the_number_of_an_ended_one_is_not_ours(tmp_path):
    other = psutil.Process()
    record = {"pid": other.pid, "started": other.create_time()}
    (tmp_path / RECORD).write_text(json.dumps(record), encoding="utf-8")
    assert TrainingRun(tmp_path).find_process() == other
    (tmp_path / RECORD).write_text(
        json.dumps({**record, "started": record["started"] - 60}), encoding="utf-8"
    )
    assert TrainingRun(tmp_path).find_process() is None
    assert not TrainingRun(tmp_path).stop()


def test_a_run_that_was_started_elsewhere_is_watched_only(tmp_path):
    write_history(tmp_path / "run", rows(2))
    lock = take_lock(tmp_path / "run", "")
    assert is_taken(tmp_path / "run")
    state = TrainingRun(tmp_path / "run").read()
    assert (state.phase, state.ours, state.can_resume) == ("running", False, False)
    lock.release()
    assert not is_taken(tmp_path / "run")
    assert TrainingRun(tmp_path / "run").read().phase == "unknown"


@pytest.mark.parametrize(
    ("settings", "done", "left"),
    [({"epochs": 10, "max_minutes": None}, 0.2, 16.0), ({"epochs": 50, "max_minutes": 1.0}, 4 / 60, 56.0)],
)
def test_the_time_left_follows_epochs_or_the_clock(tmp_path, settings, done, left):
    write_history(tmp_path, rows(2))
    (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    lock = take_lock(tmp_path, "")
    state = TrainingRun(tmp_path).read()
    lock.release()
    assert (state.done, state.seconds_left) == pytest.approx((done, left))


def test_a_run_without_a_log_is_finished_with_its_last_epoch(tmp_path):
    write_history(tmp_path, rows(3))
    (tmp_path / "config.json").write_text(json.dumps({"epochs": 3}), encoding="utf-8")
    assert TrainingRun(tmp_path).read().phase == "finished"


@pytest.mark.parametrize(
    ("output", "phase", "code"),
    [
        ("epoch 1\n\nbest mIoU 50.00% in epoch 1; 3 s\ncheckpoint  best.pth\n", "finished", None),
        ("epoch 1\nnote: saved in epoch 2, after step 3; resume with --resume x\n", "stopped", None),
        ("note: the window asked it to end\n", "stopped", None),
        ("epoch 1\n", "failed", "script-ended"),
        ("Traceback (most recent call last):\n  x\nValueError: y\n", "failed", "script-bug"),
        ("", "unknown", None),
    ],
)
def test_how_a_run_ended_is_read_from_its_words(output, phase, code):
    found, failure = judge_end(output)
    assert (found, failure and failure.code) == (phase, code)


def test_only_the_last_part_of_a_log_is_judged(tmp_path):
    error = UserError("x", "memory", "out of memory", "enough", "less")
    log = f"$ python train.py a\nerror: {error}\n$ python train.py --resume b\nepoch 2\n\nbest mIoU 1.00%\n"
    (tmp_path / LOG).write_text(log, encoding="utf-8")
    assert TrainingRun(tmp_path).read().phase == "finished"
    (tmp_path / LOG).write_text(f"{log}$ python train.py c\nerror: {error}\n", encoding="utf-8")
    state = TrainingRun(tmp_path).read()
    assert (state.phase, state.failure.subject) == ("failed", "memory")


@pytest.mark.parametrize(("name", "code"), [("there", "run-exists"), ("a/b", "run-name"), ("..", "run-name")])
def test_names_that_are_no_new_folder_are_refused(tmp_path, name, code):
    (tmp_path / "there").mkdir()
    with refused(code):
        TrainingRun.start(TrainingSettings(tmp_path), tmp_path, name)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_flags_that_are_refused_leave_no_folder(tmp_path):
    with refused("settings-conflict"):
        TrainingRun.start(TrainingSettings(tmp_path, flags="--resume x"), tmp_path / "logs", "new")
    assert not (tmp_path / "logs").exists()


def test_settings_become_flags(tmp_path):
    settings = TrainingSettings(
        tmp_path, 3, False, "vgg", tmp_path / "a b.pth", "--lr 0.1", "--fit letterbox"
    )
    flags = ["--voc-root", str(tmp_path), "--epochs", "3", "--backbone", "vgg"]
    flags += ["--model-path", str(tmp_path / "a b.pth"), "--fit", "letterbox", "--lr", "0.1"]
    assert settings.arguments() == flags
    for elsewhere in ("--run-name x", "--folds 5", "--save-dir=y"):
        with refused("settings-conflict"):
            TrainingSettings(tmp_path, flags=elsewhere).arguments()


def test_the_latest_run_comes_first(tmp_path):
    for name in ("old", "new"):
        write_history(tmp_path / name, rows(1))
    os.utime(tmp_path / "old" / "history.csv", (1, 1))
    (tmp_path / "no run").mkdir()
    assert [run.folder.name for run in list_runs(tmp_path)] == ["new", "old"]
    assert list_runs(tmp_path / "missing") == []
