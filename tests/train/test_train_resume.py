"""train.py: runs that are resumed, and those that cannot be."""

import json
import math
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from runs import differing, scores_of, weights_of
from scripts import make_voc, snapshot, tiny

import utils.training.run_folder
from train import main
from utils.core.console import UserError, quoted
from utils.core.files import write_lines
from utils.images.writing import write_image
from utils.models.checkpoint import load_checkpoint


@pytest.fixture(autouse=True)
def every_epoch_is_saved(monkeypatch):
    monkeypatch.setattr(utils.training.run_folder, "WAIT", 0)


def test_an_interrupted_run_resumes_as_if_nothing_had_happened(tmp_path, monkeypatch, capsys):
    folder, logs = make_voc(tmp_path / "voc", count=5), tmp_path / "logs"
    settings = {"epochs": 4, "batch_size": 3, "freeze_epochs": 1}
    main(tiny(folder, logs, run_name="whole", **settings))
    save = utils.training.run_folder.save_checkpoint

    def stop_in_epoch_3(path, checkpoint):
        if path.name == "last.pth" and checkpoint.training["epoch"] == 3:
            raise KeyboardInterrupt
        save(path, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr(utils.training.run_folder, "save_checkpoint", stop_in_epoch_3)
        with pytest.raises(KeyboardInterrupt):
            main(tiny(folder, logs, run_name="broken", **settings))
    assert f"--resume {quoted(logs / 'broken')}" in capsys.readouterr().err
    main(tiny(folder, logs, run_name="other", resume=logs / "broken" / "last.pth", **settings))
    assert not (logs / "other").exists()
    assert [row[0] for row in scores_of(logs / "broken")] == [1, 2, 3, 4]
    assert scores_of(logs / "broken") == scores_of(logs / "whole")
    for name in ("last.pth", "best.pth"):
        assert not differing(weights_of(logs / "whole" / name), weights_of(logs / "broken" / name))


@pytest.mark.parametrize("last_file", ["history.csv", "best.pth", "last.pth"])
def test_no_row_is_lost_in_a_crash_between_two_files(tmp_path, monkeypatch, last_file):
    """The crash comes right after one of the files of epoch 2 was written."""
    folder, logs = make_voc(tmp_path / "voc", count=5), tmp_path / "logs"
    main(tiny(folder, logs, run_name="whole", epochs=3))
    save, add = utils.training.run_folder.save_checkpoint, utils.training.run_folder.History.add

    def save_and_crash(path, checkpoint):
        save(path, checkpoint)
        if path.name == last_file and checkpoint.scores["epoch"] == 2:
            raise KeyboardInterrupt

    def add_and_crash(history, row):
        add(history, row)
        if last_file == "history.csv" and row.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(utils.training.run_folder, "save_checkpoint", save_and_crash)
        patch.setattr(utils.training.run_folder.History, "add", add_and_crash)
        # A first epoch of no score lets the second improve it.
        patch.setattr(utils.training.run_folder, "math", SimpleNamespace(isnan=lambda _: True, nan=math.nan))
        main(tiny(folder, logs, run_name="broken", epochs=3))
    main(tiny(folder, logs, epochs=3, resume=logs / "broken" / "last.pth"))
    assert scores_of(logs / "broken") == scores_of(logs / "whole")


def test_history_that_was_locked_until_the_crash_is_written_anew(finished, tmp_path):
    folder, run_dir = finished
    copy = shutil.copytree(run_dir, tmp_path / "run")
    (copy / "history.csv").unlink()
    main(tiny(folder, tmp_path, epochs=4, lr=1e-2, resume=copy / "last.pth"))
    assert scores_of(copy)[:3] == scores_of(run_dir)
    # An older release kept the rows in the table alone.
    content = torch.load(run_dir / "last.pth", weights_only=True)
    del content["digest"], content["training"]["history"], content["training"]["best_matrix"]
    copy = shutil.copytree(run_dir, tmp_path / "older" / "run")
    torch.save(content, copy / "last.pth")
    main(tiny(folder, tmp_path / "older", epochs=4, lr=1e-2, resume=copy / "last.pth"))
    assert scores_of(copy)[:3] == scores_of(run_dir)
    assert len(scores_of(copy)) == 4


def test_resuming_an_older_checkpoint_keeps_the_best_one(finished, tmp_path):
    folder, run_dir = finished
    copy = shutil.copytree(run_dir, tmp_path / "run")
    content = torch.load(copy / "last.pth", weights_only=True)
    del content["digest"]
    content["training"].update(epoch=2, best=2.0)
    torch.save(content, copy / "last.pth")
    best = (copy / "best.pth").read_bytes()
    main(tiny(folder, tmp_path, epochs=4, lr=1e-2, resume=copy / "last.pth"))
    assert (copy / "best.pth").read_bytes() == best
    assert load_checkpoint(copy / "last.pth").training["epoch"] == 4
    assert [row[0] for row in scores_of(copy)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "settings", "code"),
    [
        ("best.pth", {"epochs": 5}, "resume-without-state"),
        ("last.pth", {"epochs": 5, "base_channels": 8}, "resume-other-run"),
        ("last.pth", {"epochs": 5, "fit": "letterbox"}, "resume-other-run"),
        ("gone.pth", {"epochs": 5}, None),
    ],
)
def test_run_that_cannot_be_resumed(finished, tmp_path, name, settings, code):
    folder, run_dir = finished
    copy = shutil.copytree(run_dir, tmp_path / "run")
    before = snapshot(copy)
    with pytest.raises(UserError) as caught:
        main(tiny(folder, tmp_path, resume=copy / name, **settings))
    assert caught.value.subject == str(copy / name)
    assert code in (None, caught.value.code)
    assert snapshot(copy) == before


def test_other_settings_of_a_resumed_run_are_reported_and_saved(finished, tmp_path, capsys):
    folder, last = finished[0], shutil.copytree(finished[1], tmp_path / "run") / "last.pth"
    other = {"lr": 5e-3, "batch_size": 3, "dice_weight": 0.5, "augmentation": "none"}
    main(tiny(folder, tmp_path, run_name="other", epochs=4, resume=last, **other))
    told = capsys.readouterr().err
    for line in (
        "lr: 0.01 → 0.005",
        "batch_size: 2 → 3",
        "dice_weight: 1.0 → 0.5",
        "augmentation: default → none",
    ):
        assert f"\n  {line}\n" in told
    assert not {"resume", "run_name", "save_dir", "seed"} & set(re.findall(r"^  (\w+): ", told, re.MULTILINE))
    settings = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert {name: settings[name] for name in other} == other
    assert (settings["run_name"], settings["epochs"]) == ("run", 4)
    before = settings["before"]["epoch 4"]
    assert (before["lr"], before["batch_size"], before["augmentation"], before["epochs"]) == (
        0.01,
        2,
        "default",
        3,
    )
    assert load_checkpoint(last).settings["lr"] == 5e-3
    main(tiny(folder, tmp_path, epochs=5, resume=last, **other))
    assert re.findall(r"^  (\w+): (.*)", capsys.readouterr().err, re.MULTILINE) == [("epochs", "4 → 5")]
    settings = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert settings["before"] == {"epoch 4": before, "epoch 5": {"epochs": 4}}


def test_a_resumed_run_keeps_its_normalisation(folder, logs):
    """Pictures that were added meanwhile change none of what the network was trained with."""
    main(tiny(folder, logs, epochs=1))
    last = logs / "run" / "last.pth"
    before = load_checkpoint(last).normalisation
    write_image(folder.images_dir / "cells_0.png", np.full((48, 48), 255, np.uint8))
    main(tiny(folder, logs, resume=last))
    assert load_checkpoint(last).normalisation == before


def test_a_run_of_another_fold_cannot_be_resumed(finished, tmp_path):
    folder, run_dir = finished
    for split in ("train", "val"):
        folder.write_split(f"fold0_{split}", folder.read_split(split))
    copy = shutil.copytree(run_dir, tmp_path / "run")
    with pytest.raises(UserError, match="fold None") as caught:
        main(tiny(folder, tmp_path, epochs=5, fold=0, resume=copy / "last.pth"))
    assert caught.value.code == "resume-other-run"


def test_a_run_with_other_classes_cannot_be_resumed(finished, folder, tmp_path):
    run_dir = shutil.copytree(finished[1], tmp_path / "run")
    write_lines(folder.class_names_path, ["background", "cell", "core"])
    with pytest.raises(UserError, match="core"):
        main(tiny(folder, tmp_path, epochs=5, resume=run_dir / "last.pth"))


def test_existing_run_is_not_replaced(finished):
    folder, run_dir = finished
    before = snapshot(run_dir)
    with pytest.raises(UserError) as caught:
        main(tiny(folder, run_dir.parent))
    assert caught.value.code == "run-exists"
    assert str(run_dir) in caught.value.remedy
    assert snapshot(run_dir) == before
