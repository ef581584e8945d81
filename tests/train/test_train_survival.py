"""train.py: signals, full disks, numbers that go wrong, two runs at once, where a run came from."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from runs import scores_of
from runs_compared import compare_runs
from scripts import ROOT, make_voc, refused, run_here, snapshot, tiny

import utils.training.run_folder
from train import main
from utils.core.console import UserError
from utils.core.locks import take_lock
from utils.models.checkpoint import load_checkpoint
from utils.training.engine import Trainer
from utils.training.history import read_history
from utils.training.run_folder import free_folder
from utils.training.schedule import TimeBudget

# Crops are small in the first two epochs.
SETTINGS = {"epochs": 3, "batch_size": 1, "dropout": 0.5, "freeze_epochs": 1, "freeze_batch_size": 2}
SETTINGS |= {"coarse": 0.5}
COUNT = 8  # pictures


@pytest.fixture(autouse=True)
def every_epoch_is_saved(monkeypatch):
    monkeypatch.setattr(utils.training.run_folder, "WAIT", 0)


def same_runs(one, other):
    assert not compare_runs(one, other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three epochs of 2, 3 and 7 steps."""
    root = tmp_path_factory.mktemp("whole")
    folder = make_voc(root / "voc", count=COUNT)
    main(tiny(folder, root / "logs", **SETTINGS))
    return folder, root / "logs" / "run"


@pytest.mark.parametrize(
    ("number", "status", "step"),
    [(signal.SIGTERM, 143, 0), (signal.SIGTERM, 143, 3), (signal.SIGINT, 130, 4), (signal.SIGTERM, 143, 11)],
    ids=["first step", "within an epoch", "end of an epoch", "last step"],
)
def test_a_signal_ends_after_the_step_and_the_run_goes_on_bit_by_bit(
    whole, tmp_path, monkeypatch, capsys, number, status, step
):
    folder, expected = whole
    take_step = Trainer.step

    def signalled(trainer, place, *others):
        if place == step:
            os.kill(os.getpid(), number)
        return take_step(trainer, place, *others)

    with monkeypatch.context() as patch, pytest.raises((SystemExit, KeyboardInterrupt)) as ended:
        patch.setattr(Trainer, "step", signalled)
        main(tiny(folder, tmp_path, **SETTINGS))
    assert getattr(ended.value, "code", 130) == status
    told = capsys.readouterr().err
    assert "finishing this step" in told and f"--resume {tmp_path / 'run'}" in told
    last = load_checkpoint(tmp_path / "run" / "last.pth")
    assert int(last.training["averaged"]) == step + 1
    main(tiny(folder, tmp_path, resume=tmp_path / "run", **SETTINGS))
    same_runs(tmp_path / "run", expected)


def count_savings(monkeypatch):
    """Names of the checkpoints that are written from now on."""
    written, save = [], utils.training.run_folder.save_checkpoint

    def saved(path, checkpoint):
        written.append(path.name)
        save(path, checkpoint)

    monkeypatch.setattr(utils.training.run_folder, "save_checkpoint", saved)
    return written


def test_short_epochs_are_not_all_saved_but_the_last_one_is(whole, tmp_path, monkeypatch):
    folder, expected = whole
    monkeypatch.setattr(utils.training.run_folder, "WAIT", 1e9)
    written = count_savings(monkeypatch)
    main(tiny(folder, tmp_path, **SETTINGS))
    assert written.count("last.pth") == 2
    same_runs(tmp_path / "run", expected)
    assert scores_of(tmp_path / "run") == scores_of(expected)
    best, other = (load_checkpoint(run / "best.pth") for run in (tmp_path / "run", expected))
    assert best.scores == other.scores
    assert all(torch.equal(value, other.model[name]) for name, value in best.model.items())


def test_a_signal_saves_epochs_that_waited_for_it(whole, tmp_path, monkeypatch):
    folder, expected = whole
    monkeypatch.setattr(utils.training.run_folder, "WAIT", 1e9)
    stop_at(6, folder, tmp_path, monkeypatch)
    rows = scores_of(tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / "last.pth").training["epoch"] == len(rows) == 2
    main(tiny(folder, tmp_path, resume=tmp_path / "run", **SETTINGS))
    same_runs(tmp_path / "run", expected)


def test_the_second_signal_ends_at_once(whole, tmp_path, monkeypatch):
    folder, steps = whole[0], []

    def signalled(trainer, place, *_):
        steps.append(place)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")

    monkeypatch.setattr(Trainer, "step", signalled)
    with pytest.raises(KeyboardInterrupt):
        main(tiny(folder, tmp_path, **SETTINGS))
    assert steps == [0]
    assert not (tmp_path / "run" / "last.pth").exists()


def test_within_an_epoch_the_batches_cannot_change(whole, tmp_path, monkeypatch):
    folder = whole[0]
    stop_at(3, folder, tmp_path, monkeypatch)
    before = snapshot(tmp_path / "run")
    with refused("resume-other-run") as caught:
        main(tiny(folder, tmp_path, resume=tmp_path / "run", **{**SETTINGS, "batch_size": 2}))
    assert "batch_size 1" in caught.value.found
    assert snapshot(tmp_path / "run") == before


def test_more_epochs_do_not_change_the_crops_of_one_that_was_stopped(whole, tmp_path, monkeypatch):
    """Of six epochs the third would have small crops."""
    folder = whole[0]
    stop_at(6, folder, tmp_path, monkeypatch)
    main(tiny(folder, tmp_path, resume=tmp_path / "run", **{**SETTINGS, "epochs": 6}))
    training = load_checkpoint(tmp_path / "run" / "last.pth").training
    assert (training["epoch"], training["averaged"]) == (6, 2 + 3 + 4 * 7)


def test_an_epoch_that_was_stopped_counts_its_time(whole, tmp_path, monkeypatch):
    folder, minutes = whole[0], {**SETTINGS, "freeze_epochs": 0, "max_minutes": 60}
    stop_at(1, folder, tmp_path, monkeypatch, **minutes)
    spent = load_checkpoint(tmp_path / "run" / "last.pth").training["spent"]
    deduct, deducted = TimeBudget.deduct, []
    monkeypatch.setattr(
        TimeBudget, "deduct", lambda budget, seconds: deducted.append(seconds) or deduct(budget, seconds)
    )
    main(tiny(folder, tmp_path, resume=tmp_path / "run", **{**minutes, "max_minutes": 1e-6}))
    assert deducted == [spent] and spent > 0
    (row,) = read_history(tmp_path / "run" / "history.csv")
    assert row.seconds >= spent
    # The time of an epoch that ended is in its row, and counts once.
    main(tiny(folder, tmp_path, resume=tmp_path / "run", **{**minutes, "max_minutes": 1e-6}))
    assert deducted[1:] == pytest.approx([row.seconds], rel=1e-3)
    assert load_checkpoint(tmp_path / "run" / "last.pth").training["averaged"] == 3


def stop_at(step, folder, logs, monkeypatch, **settings):
    """A run that a signal ends after this step."""
    take_step = Trainer.step

    def signalled(trainer, place, *others):
        if place == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return take_step(trainer, place, *others)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "step", signalled)
        main(tiny(folder, logs, **(settings or SETTINGS)))


def test_a_finished_run_is_resumed_to_its_end(whole, tmp_path, capsys):
    folder, copy = whole[0], shutil.copytree(whole[1], tmp_path / "run")
    for name in ("loss.png", "val_epoch.png", "history.csv"):
        (copy / name).unlink(missing_ok=True)
    main(tiny(folder, tmp_path, resume=copy, **SETTINGS))
    assert "best mIoU" in capsys.readouterr().out
    assert (copy / "loss.png").is_file() and (copy / "val_epoch.png").is_file()
    same_runs_but_history(copy, whole[1])


def same_runs_but_history(one, other):
    for name in ("last.pth", "best.pth"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_resume_latest_takes_the_settings_of_the_run(whole, tmp_path, monkeypatch):
    copy = shutil.copytree(whole[1], tmp_path / "logs" / "run")
    flags = "--save-dir", tmp_path / "logs", "--resume", "latest", "--epochs", "4"
    assert run_here(monkeypatch, "train.py", *flags) == 0
    assert [row[0] for row in scores_of(copy)] == [1, 2, 3, 4]
    settings = json.loads((copy / "config.json").read_text("utf-8"))
    assert (settings["dropout"], settings["batch_size"], settings["epochs"]) == (0.5, 1, 4)
    assert set(settings["before"]["epoch 4"]) <= {"epochs"}
    assert run_here(monkeypatch, "train.py", "--save-dir", tmp_path / "none", "--resume", "latest") == 2


def test_a_run_that_was_stopped_in_its_first_epoch_begins_again(whole, tmp_path, monkeypatch, capsys):
    folder, logs = whole[0], tmp_path / "logs"
    main(tiny(folder, logs, run_name="older", epochs=1))
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "step", exit_at_once)
        main(tiny(folder, logs, **SETTINGS))
    assert not (logs / "run" / "last.pth").exists()
    assert "nothing from epoch 1 on was saved" in capsys.readouterr().err
    # The newest run, although the one before it has a checkpoint.
    assert run_here(monkeypatch, "train.py", "--save-dir", logs, "--resume", "latest") == 0
    assert "begins again" in capsys.readouterr().err
    same_runs(logs / "run", whole[1])
    # Without its last.pth the best weights of this run are not overwritten, neither is a demo set drawn.
    (logs / "run" / "last.pth").unlink()
    best = (logs / "run" / "best.pth").read_bytes()
    for changes in ({"resume": logs / "run"}, {}):
        with refused("run-exists"):
            main(tiny(folder, logs, **SETTINGS, **changes))
    assert (logs / "run" / "best.pth").read_bytes() == best
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, "train.py", "--resume", "logs/rum") == 2
    assert "no such run" in capsys.readouterr().err
    assert not (tmp_path / "VOCdevkit").exists()


def exit_at_once(*_):
    raise SystemExit(143)


def test_a_resumed_run_does_not_need_the_weights_that_it_began_with(whole, tmp_path, monkeypatch):
    folder, weights = whole[0], shutil.copy(whole[1] / "best.pth", tmp_path / "weights.pth")
    main(tiny(folder, tmp_path, epochs=1, model_path=weights))
    weights.unlink()
    assert run_here(monkeypatch, "train.py", "--resume", tmp_path / "run", "--epochs", "2") == 0
    settings = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert (settings["optimizer"], settings["model_path"]) == ("muon", str(weights))


def test_a_stop_saves_no_weights_that_went_wrong(whole, tmp_path, monkeypatch):
    """The signal comes in the step that spoils them, after a loss that was finite."""
    folder, take_step = whole[0], Trainer.step
    main(tiny(folder, tmp_path, epochs=1))
    before = (tmp_path / "run" / "last.pth").read_bytes()

    def spoiled(trainer, *others):
        loss = take_step(trainer, *others)
        next(trainer.net.parameters()).data.fill_(math.nan)
        os.kill(os.getpid(), signal.SIGTERM)
        return loss

    monkeypatch.setattr(Trainer, "step", spoiled)
    with refused("weights-not-finite"):
        main(tiny(folder, tmp_path, resume=tmp_path / "run", epochs=2))
    assert (tmp_path / "run" / "last.pth").read_bytes() == before


def test_numbers_that_overflow_end_the_run_and_are_not_saved(whole, tmp_path):
    folder = whole[0]
    main(tiny(folder, tmp_path, epochs=1))
    before = {name: (tmp_path / "run" / name).read_bytes() for name in ("last.pth", "best.pth")}
    with pytest.raises(UserError) as caught:
        main(tiny(folder, tmp_path, resume=tmp_path / "run", epochs=4, lr=1e37, optimizer="muon"))
    assert caught.value.code in ("loss-not-finite", "weights-not-finite")
    if caught.value.code == "loss-not-finite":
        assert "cells_" in caught.value.found and "--lr" in caught.value.remedy
    assert {name: (tmp_path / "run" / name).read_bytes() for name in before} == before


def test_a_full_disk_does_not_end_the_run(whole, tmp_path, monkeypatch, capsys):
    # Scores from the first epoch on, so that epochs follow the one that could not be saved.
    folder, settings = whole[0], {**SETTINGS, "coarse": 0.0}
    main(tiny(folder, tmp_path / "calm", **settings))
    save = utils.training.run_folder.save_checkpoint

    def full(path, checkpoint):
        if (checkpoint.training or checkpoint.scores).get("epoch") in (1, 2):
            raise no_space(path)
        save(path, checkpoint)

    monkeypatch.setattr(utils.training.run_folder, "save_checkpoint", full)
    with monkeypatch.context() as patch:
        # The disk has space again in the next epoch.
        patch.setattr(utils.training.run_folder, "save_checkpoint", failing_once(save))
        main(tiny(folder, tmp_path, **settings))
    assert "the run goes on" in capsys.readouterr().err
    same_runs(tmp_path / "run", tmp_path / "calm" / "run")
    # It stays full: the run ends with an error, and leaves no best.pth that is not whole.
    with refused("file-not-writable"):
        main(tiny(folder, tmp_path / "full", **{**settings, "epochs": 2}))
    assert not list((tmp_path / "full" / "run").glob("*.pth"))


def test_a_stop_saves_the_best_weights_that_a_full_disk_refused(whole, tmp_path, monkeypatch):
    folder, settings = whole[0], {**SETTINGS, "coarse": 0.0, "freeze_epochs": 0}
    main(tiny(folder, tmp_path / "calm", **settings))
    save = utils.training.run_folder.save_checkpoint
    monkeypatch.setattr(utils.training.run_folder, "save_checkpoint", failing_once(save))
    stop_at(8, folder, tmp_path, monkeypatch, **settings)  # in the second of epochs of 7 steps
    best = load_checkpoint(tmp_path / "run" / "best.pth").scores["miou"]
    assert best == load_checkpoint(tmp_path / "run" / "last.pth").training["best"]
    main(tiny(folder, tmp_path, resume=tmp_path / "run", **settings))
    same_runs(tmp_path / "run", tmp_path / "calm" / "run")


def test_a_disk_that_refuses_every_large_file(whole, tmp_path, capsys):
    """What was there stays whole, and the run goes on from it once there is space again."""
    resource = pytest.importorskip("resource")
    folder, settings = whole[0], {**SETTINGS, "freeze_epochs": 0, "coarse": 0.0}
    main(tiny(folder, tmp_path, **{**settings, "epochs": 1}))
    run = tmp_path / "run"
    before = {name: (run / name).read_bytes() for name in ("last.pth", "best.pth")}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with refused("file-not-writable"):
            main(tiny(folder, tmp_path, resume=run, **settings))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert capsys.readouterr().err.count("the run goes on") == 2
    assert {name: (run / name).read_bytes() for name in before} == before
    assert not list(run.glob(".*"))
    main(tiny(folder, tmp_path, resume=run, **settings))
    assert [row.epoch for row in read_history(run / "history.csv")] == [1, 2, 3]


def no_space(path):
    return UserError("file-not-writable", path, "it cannot be written (No space left)", "space", "free some")


def failing_once(save):
    failed = []

    def write(path, checkpoint):
        if path.name == "best.pth" and not failed:
            failed.append(path)
            raise no_space(path)
        save(path, checkpoint)

    return write


def test_two_runs_in_one_folder(whole, tmp_path):
    folder, lock = whole[0], take_lock(tmp_path / "run", "wait")
    with refused("folder-in-use", tmp_path / "run"):
        main(tiny(folder, tmp_path, epochs=1))
    lock.release()
    main(tiny(folder, tmp_path, epochs=1))
    lock = take_lock(tmp_path / "run", "wait")
    with refused("folder-in-use", tmp_path / "run"):
        main(tiny(folder, tmp_path, epochs=2, resume=tmp_path / "run"))
    lock.release()


def test_runs_of_the_same_second_get_two_folders(tmp_path):
    folders = [free_folder(tmp_path / "2026-01-01_00-00-00") for _ in range(3)]
    assert [path.name for path in folders] == [f"2026-01-01_00-00-00{end}" for end in ("", "_2", "_3")]
    assert all(path.is_dir() for path in folders)


def test_the_settings_tell_where_a_run_came_from(whole, tmp_path, capsys):
    run = whole[1]
    (found,) = json.loads((run / "config.json").read_text("utf-8"))["environment"]
    assert found["torch"] == torch.__version__
    assert {"commit", "command", "python", "splits", "data", "time"} <= set(found)
    moved = make_voc(tmp_path / "voc", count=COUNT)
    main(tiny(moved, tmp_path / "logs", **{**SETTINGS, "epochs": 2}))
    path = tmp_path / "logs" / "run" / "config.json"
    (other,) = json.loads(path.read_text("utf-8"))["environment"]
    assert (other["data"], other["splits"]) == (found["data"], found["splits"])
    moved.mask_path("cells_0").write_bytes(moved.mask_path("cells_1").read_bytes())
    main(tiny(moved, tmp_path / "logs", resume=tmp_path / "logs" / "run", **SETTINGS))
    assert "not those that the run began with" in capsys.readouterr().err
    first, second = json.loads(path.read_text("utf-8"))["environment"]
    assert first["data"] != second["data"] and first["splits"] == second["splits"]


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_kill_9_loses_at_most_an_epoch(whole, tmp_path):
    """Killed as soon as the first checkpoint is there; `python -m tests.soak kills` does so 50 times."""
    folder, expected = whole
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    flags += ["--base-channels=4", "--depth=2", "--num-workers=0", "--device=cpu", "--precision=fp32"]
    command = [sys.executable, str(ROOT / "train.py"), "--voc-root", str(folder.root), *flags]
    command += ["--save-dir", str(tmp_path), "--run-name", "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "run" / "last.pth").exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = load_checkpoint(tmp_path / "run" / "last.pth").training["epoch"]
    assert len(scores_of(tmp_path / "run")) >= done >= 1
    main(tiny(folder, tmp_path, resume=tmp_path / "run", **SETTINGS))
    same_runs(tmp_path / "run", expected)
    assert not list((tmp_path / "run").glob(".*.writing*"))
    assert not math.isnan(load_checkpoint(tmp_path / "run" / "last.pth").training["best"])
