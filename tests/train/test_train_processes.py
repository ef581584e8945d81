"""train.py started by torchrun, as a user starts it: two processes on the CPU."""

import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from runs import weights_of
from scripts import ROOT, make_voc, refused, start, tiny

from train import check_config, main
from utils.training.history import read_history
from utils.training.several import train_as_asked

LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
TINY = ["--base-channels", "4", "--depth", "2", "--norm", "group", "--num-workers", "0", "--device", "cpu"]
TINY += ["--precision", "fp32", "--batch-size", "3", "--optimizer", "sgd", "--input-shape", "32", "32"]


@pytest.fixture
def pictures(tmp_path):
    return make_voc(tmp_path / "voc", count=8, size=[(48, 48)] * 5 + [(48, 40), (40, 48), (48, 48)], val=3)


def train_in_two(folder, cwd, *flags, script=ROOT / "train.py"):
    return start([*LAUNCH, str(script), "--voc-root", str(folder.root), *TINY, *flags], cwd)


def test_two_processes_leave_one_run_equal_to_that_of_one(pictures, tmp_path):
    settings = {"depth": 2, "norm": "group", "batch_size": 3, "optimizer": "sgd", "input_shape": (32, 32)}
    main(tiny(pictures, tmp_path / "logs", freeze_epochs=1, **settings))
    done = train_in_two(pictures, tmp_path, "--run-name", "both", "--epochs", "2", "--freeze-epochs", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best mIoU") == 1
    alone, both = tmp_path / "logs" / "run", tmp_path / "logs" / "both"
    assert {path.name.split(".")[0] for path in alone.iterdir()} == {
        path.name.split(".")[0] for path in both.iterdir()
    }
    one, two = weights_of(alone / "last.pth"), weights_of(both / "last.pth")
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=0, atol=1e-5, err_msg=name)
    for row, other in zip(
        read_history(alone / "history.csv"), read_history(both / "history.csv"), strict=True
    ):
        np.testing.assert_allclose(
            [other.lr, other.train_loss, other.val_loss, other.miou],
            [row.lr, row.train_loss, row.val_loss, row.miou],
            atol=1e-4,
        )


def test_a_killed_process_ends_the_run_and_torchrun_resumes_it(pictures, tmp_path):
    flags = ["--voc-root", pictures.root, *TINY, "--epochs", "4"]
    command = [sys.executable, *LAUNCH, "--max-restarts=1", ROOT / "train.py", *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    with (tmp_path / "out").open("w") as out:
        launched = subprocess.Popen(
            list(map(str, command)), cwd=tmp_path, env=environment, stdout=out, stderr=out
        )
        while not list(tmp_path.glob("logs/*/last.pth")):
            assert launched.poll() is None, (tmp_path / "out").read_text("utf-8")
            time.sleep(0.01)
        workers = psutil.Process(launched.pid).children()
        (second,) = [worker for worker in workers if worker.environ().get("RANK") == "1"]
        second.kill()
        assert launched.wait() == 0, (tmp_path / "out").read_text("utf-8")
    said = (tmp_path / "out").read_text("utf-8")
    assert said.count("\nerror: ") == said.count("error: torchrun\n") == 1
    assert said.count("started again by torchrun") == 1
    (folder,) = (tmp_path / "logs").iterdir()
    assert [row.epoch for row in read_history(folder / "history.csv")] == [1, 2, 3, 4]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_a_run_that_is_asked_to_end_saves_its_step_and_goes_on(pictures, tmp_path):
    flags = ["--voc-root", pictures.root, *TINY, "--epochs", "60", "--run-name", "run"]
    command = [sys.executable, *LAUNCH, ROOT / "train.py", *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    with (tmp_path / "out").open("w") as out:
        launched = subprocess.Popen(
            list(map(str, command)), cwd=tmp_path, env=environment, stdout=out, stderr=out
        )
        while not (tmp_path / "logs" / "run" / "last.pth").exists():
            assert launched.poll() is None, (tmp_path / "out").read_text("utf-8")
            time.sleep(0.01)
        launched.terminate()
        assert launched.wait() != 0
    said = (tmp_path / "out").read_text("utf-8")
    assert said.count("saved in epoch") == 1
    assert "error: " not in said
    done = len(read_history(tmp_path / "logs" / "run" / "history.csv"))
    # On any number of processes.
    settings = {"depth": 2, "norm": "group", "batch_size": 3, "optimizer": "sgd", "input_shape": (32, 32)}
    main(tiny(pictures, tmp_path, epochs=done + 1, resume=tmp_path / "logs" / "run", **settings))
    rows = read_history(tmp_path / "logs" / "run" / "history.csv")
    assert [row.epoch for row in rows] == list(range(1, done + 2))


@pytest.mark.parametrize(("flags", "place"), [(["--epochs", "1"], "gone"), (["--folds", "2"], "--folds")])
def test_a_mistake_is_reported_once(pictures, tmp_path, flags, place):
    """One that the first process finds, and one that both find."""
    pictures.write_split("val", ["gone"])
    done = train_in_two(pictures, tmp_path, *flags)
    assert done.returncode == 1
    assert done.stderr.count("\nerror: ") == 1
    assert "process-lost" not in done.stderr
    assert "ended, reported by" not in done.stderr[: done.stderr.index(place)]


def test_a_batch_for_each_process_and_part(pictures, tmp_path, monkeypatch):
    with refused("batch-too-small"):
        main(tiny(pictures, tmp_path / "logs", batch_size=2, accumulate=3))
    monkeypatch.setenv("WORLD_SIZE", "4")
    with refused("batch-too-small"):
        check_config(tiny(pictures, tmp_path / "logs", batch_size=3))
    with refused("settings-conflict"):
        check_config(tiny(pictures, tmp_path / "logs", batch_size=4, compile=True))


@pytest.mark.parametrize("settings", [{"folds": 2}, {"overfit": 1}, {"learning_curve": True}])
def test_several_runs_are_for_one_process(pictures, tmp_path, monkeypatch, settings):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with refused("settings-conflict") as caught:
        train_as_asked(tiny(pictures, tmp_path / "logs", **settings), train_once=None)
    assert "torchrun" in caught.value.remedy
