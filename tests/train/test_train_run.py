"""train.py: what a run leaves, and what it learns."""

import json
import math
import re
import time

import numpy as np
import pytest
import torch
from runs import differing, scores_of, weights_of
from scripts import make_voc, save_as, tiny
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import get_miou
from train import main
from unet import Unet
from utils.core.console import UserError
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_mask
from utils.models.checkpoint import load_checkpoint
from utils.training.engine import Trainer
from utils.training.history import read_history
from utils.training.run_folder import Run
from utils.voc.demo import CLASS_NAMES

PICTURES = ["loss.png", "miou.png", "train_batch.png", "val_epoch.png"]


def test_run_folder_is_complete(finished):
    _, run_dir = finished
    files = {path.name for path in run_dir.iterdir() if path.is_file()}
    events = {name for name in files if name.startswith("events.out.tfevents")}
    assert files - events == {"config.json", "history.csv", "last.pth", "best.pth", *PICTURES}
    assert events


def test_settings_are_saved(finished):
    folder, run_dir = finished
    settings = json.loads((run_dir / "config.json").read_text("utf-8"))
    assert len(settings.pop("environment")) == 1
    assert settings["voc_root"] == str(folder.root)
    assert (settings["epochs"], settings["lr"], settings["batch_size"]) == (3, 1e-2, 2)
    assert settings == {**load_checkpoint(run_dir / "best.pth").settings, "input_shape": [64, 56]}


def test_what_is_left_to_the_program_is_chosen_and_saved(tmp_path):
    folder = make_voc(tmp_path / "voc", count=5)
    main(tiny(folder, tmp_path / "logs", epochs=1, batch_size=None, optimizer="sgd", momentum=0.5))
    settings = json.loads((tmp_path / "logs" / "run" / "config.json").read_text("utf-8"))
    names = ("input_shape", "batch_size", "freeze_batch_size", "lr", "freeze_lr", "weight_decay", "momentum")
    assert [settings[name] for name in names] == [[48, 48], 2, 4, 0.05, 0.05, 1e-4, 0.5]


def test_deep_supervision_trains_resumes_and_predicts(tmp_path):
    folder = make_voc(tmp_path / "voc", count=5)
    main(tiny(folder, tmp_path / "logs", epochs=1, deep_supervision=True))
    run_dir = tmp_path / "logs" / "run"
    main(tiny(folder, tmp_path / "logs", epochs=2, resume=run_dir / "last.pth"))
    before, after = (
        load_checkpoint(run_dir / name).model["side_heads.0.weight"] for name in ("best.pth", "last.pth")
    )
    assert before.shape == after.shape
    assert Unet(run_dir / "best.pth", "cpu").predict(folder.image_path(folder.read_split("val")[0])).ndim == 2


def test_a_run_without_deep_supervision_is_resumed_without_it(tmp_path):
    folder, logs = make_voc(tmp_path / "voc", count=5), tmp_path / "logs"
    main(tiny(folder, logs, epochs=1, deep_supervision=False))
    main(tiny(folder, logs, epochs=2, resume=logs / "run" / "last.pth"))
    assert not any(name.startswith("side") for name in load_checkpoint(logs / "run" / "last.pth").model)


def test_history_has_a_row_for_every_epoch(finished):
    _, run_dir = finished
    lines = (run_dir / "history.csv").read_text("utf-8").splitlines()
    assert lines[0] == "epoch,lr,train_loss,val_loss,miou,seconds,images_per_second"
    rows = read_history(run_dir / "history.csv")
    assert [row.epoch for row in rows] == [1, 2, 3]
    assert rows[0].lr > rows[1].lr > rows[2].lr
    for row in rows:
        assert 0 < row.lr <= 1e-2
        assert row.images_per_second > 2.99 / row.seconds  # three crops
    # There are as many pixels to validate as to train on: after the last epoch only.
    assert [math.isnan(row.miou) and math.isnan(row.val_loss) for row in rows] == [True, True, False]
    assert 0 < rows[2].miou <= 1
    assert lines[1].split(",")[3:5] == ["", ""]


def test_tensorboard_shows_the_history(finished):
    _, run_dir = finished
    board = EventAccumulator(str(run_dir)).Reload()
    rows = read_history(run_dir / "history.csv")
    for tag, field in {"mIoU": "miou", "loss/training": "train_loss", "loss/validation": "val_loss"}.items():
        found = [(event.step, event.value) for event in board.Scalars(tag)]
        known = [(row.epoch, value) for row in rows if not math.isnan(value := getattr(row, field))]
        assert found == [(epoch, pytest.approx(value, rel=1e-4)) for epoch, value in known]


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_can_be_opened(finished, name):
    assert min(read_image(finished[1] / name).shape[:2]) > 100


def test_the_first_batch_and_the_validation_are_drawn(finished):
    """Not one colour: masks are laid over the pictures."""
    for name in ("train_batch.png", "val_epoch.png"):
        image = read_image(finished[1] / name).astype(int)
        assert np.ptp(image) > 150
        assert np.abs(image[..., 0] - image[..., 1]).max() > 30


def test_best_checkpoint_is_plain_data(finished):
    _, run_dir = finished
    content = torch.load(run_dir / "best.pth", weights_only=True)
    assert content["class_names"] == list(CLASS_NAMES)
    assert content["training"] is None
    best = read_history(run_dir / "history.csv")[2]
    assert content["scores"]["epoch"] == best.epoch
    assert content["scores"]["miou"] == pytest.approx(best.miou, abs=1e-5)


def test_last_checkpoint_is_of_the_last_epoch(finished):
    content = torch.load(finished[1] / "last.pth", weights_only=True)
    assert content["scores"]["epoch"] == content["training"]["epoch"] == 3


@pytest.mark.parametrize("name", ["best.pth", "last.pth"])
def test_checkpoint_predicts(finished, name):
    folder, run_dir = finished
    unet = Unet(run_dir / name, "cpu", "fp32")
    assert unet.class_names == list(CLASS_NAMES)
    assert unet.predict(folder.image_path("cells_1")).shape == (37, 53)


def test_printed_score_is_that_of_get_miou(tmp_path, capsys):
    sizes = [(48, 48), (37, 53), (37, 53), (37, 53), (64, 40)]
    folder = make_voc(tmp_path / "voc", count=5, size=sizes, val=4)
    mask = read_mask(folder.mask_path("cells_2"))
    mask[:, 40:] = 255
    write_mask(folder.mask_path("cells_2"), mask)
    main(tiny(folder, tmp_path / "logs", epochs=3, lr=1e-2, augmentation="none"))
    printed = float(re.search(r"best mIoU ([\d.]+)% in epoch", capsys.readouterr().out)[1]) / 100
    run_dir, output = tmp_path / "logs" / "run", tmp_path / "out"
    get_miou.main(get_miou.Config(run_dir / "best.pth", output=output, device="cpu", precision="fp32"))
    mean = re.search(r"^mean,([\d.]+)", (output / "metrics.csv").read_text("utf-8-sig"), re.MULTILINE)[1]
    assert printed == pytest.approx(float(mean), abs=1e-4)


def test_a_network_learns_a_picture_by_heart(tmp_path):
    folder = make_voc(tmp_path / "voc", count=1, size=64, val=0)
    folder.write_split("val", ["cells_0"])
    main(
        tiny(
            folder, tmp_path / "logs", epochs=40, batch_size=1, base_channels=8, lr=1e-2, augmentation="none"
        )
    )
    rows = read_history(tmp_path / "logs" / "run" / "history.csv")
    scores = [row.miou for row in rows if not math.isnan(row.miou)]
    assert scores[0] < 0.7
    assert scores[-1] > 0.9
    assert rows[-1].train_loss < rows[0].train_loss / 2


@pytest.mark.parametrize(
    ("count", "settings"),
    [
        (2, {}),
        (3, {"batch_size": 1}),
        (4, {"batch_size": 2}),
        (3, {"batch_size": 8, "in_channels": 1}),
        (3, {"input_shape": (24, 40), "augmentation": "strong"}),
        (3, {"input_shape": (1, 1), "batch_size": 1}),
        (3, {"dice_weight": 0.0, "num_classes": 3}),
        (3, {"class_weights": (1.0, 2.0, 0.5), "dice_smooth": 0.0, "border_weight": 2.0}),
        (3, {"optimizer": "adam", "curve": "step", "focal_gamma": 2.0, "dice_beta": 2.0}),
        (3, {"padding": "valid", "norm": "none", "border_weight": 2.0}),
        (3, {"save_memory": True, "dropout": 0.5}),
    ],
    ids=[
        "one picture",
        "batch of one",
        "batch with one left over",
        "gray",
        "small crops",
        "tiny crops",
        "no Dice",
        "weights",
        "focal",
        "unpadded",
        "saving memory",
    ],
)
def test_unusual_settings(tmp_path, count, settings):
    folder = make_voc(tmp_path / "voc", count=count)
    main(tiny(folder, tmp_path / "logs", epochs=1, **settings))
    unet = Unet(tmp_path / "logs" / "run" / "best.pth", "cpu")
    assert unet.checkpoint.network.in_channels == settings.get("in_channels", 1)
    assert unet.predict(folder.image_path("cells_0")).shape == (48, 48)


@pytest.mark.parametrize("kind", ["16-bit", "RGBA", "16-bit among 8-bit"])
def test_kinds_of_pictures(tmp_path, kind):
    folder = make_voc(tmp_path / "voc")
    for name, path in folder.images.items():
        gray = read_image(path)
        if kind == "RGBA":
            save_as(path, np.dstack([gray] * 4))
        elif kind == "16-bit" or name == "cells_1":
            save_as(path, gray.astype(np.uint16) * 257)
    main(tiny(folder, tmp_path / "logs", epochs=1))
    assert (tmp_path / "logs" / "run" / "best.pth").is_file()


def test_same_seed_same_run(folder, logs):
    for name, settings in {"a": {}, "b": {"num_workers": 1}, "c": {"seed": 1}}.items():
        main(tiny(folder, logs, run_name=name, **settings))
    assert scores_of(logs / "a") == scores_of(logs / "b") != scores_of(logs / "c")
    assert not differing(weights_of(logs / "a" / "last.pth"), weights_of(logs / "b" / "last.pth"))
    assert differing(weights_of(logs / "a" / "last.pth"), weights_of(logs / "c" / "last.pth"))


def test_a_deterministic_run_is_the_same_again(folder, logs):
    for name in "ab":
        main(tiny(folder, logs, run_name=name, deterministic=True, curve="one_cycle", optimizer="sgd"))
    torch.use_deterministic_algorithms(False)
    assert scores_of(logs / "a") == scores_of(logs / "b")
    assert not differing(weights_of(logs / "a" / "last.pth"), weights_of(logs / "b" / "last.pth"))


@pytest.fixture
def clock(monkeypatch):
    """A clock that a step puts forward by 0.2 s, whatever else the machine does."""
    now, take_step = [0.0], Trainer.step

    def step(*arguments):
        now[0] += 0.2
        return take_step(*arguments)

    def read():
        now[0] += 1e-4
        return now[0]

    monkeypatch.setattr(Trainer, "step", step)
    monkeypatch.setattr(time, "perf_counter", read)


def test_a_run_of_some_minutes_ends_annealed_and_can_be_given_more(clock, folder, logs, capsys):
    # --epochs has no effect.
    main(tiny(folder, logs, epochs=1, max_minutes=4 / 60, lr=0.01))
    rows = read_history(logs / "run" / "history.csv")
    assert len(rows) > 1
    assert rows[-1].lr < 0.2 * 0.01
    assert "0.0666667 minutes" in capsys.readouterr().out
    main(tiny(folder, logs, resume=logs / "run", max_minutes=1 / 60))
    assert read_history(logs / "run" / "history.csv") == rows
    main(tiny(folder, logs, resume=logs / "run" / "last.pth", max_minutes=6 / 60, lr=0.01))
    assert len(read_history(logs / "run" / "history.csv")) > len(rows)


def test_every_epoch_sees_other_crops(folder, logs):
    # Steps too small to move a weight: the loss changes with the crops alone.
    main(tiny(folder, logs, epochs=3, lr=1e-12, weight_decay=0.0))
    assert len({row[2] for row in scores_of(logs / "run")}) == 3


def test_history_that_another_program_holds_is_written_later(folder, logs, monkeypatch, capsys):
    record = Run.record

    def lock_in_epoch_1(run, row, *others):
        history = run.folder / "history.csv"
        if row.epoch == 1:
            history.mkdir()
        elif history.is_dir():
            history.rmdir()
        record(run, row, *others)

    monkeypatch.setattr(Run, "record", lock_in_epoch_1)
    main(tiny(folder, logs))
    assert [row[0] for row in scores_of(logs / "run")] == [1, 2]
    assert "history.csv" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["file", "file/logs"])
def test_folder_of_runs_that_cannot_be_written(folder, tmp_path, place):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(UserError, match="it cannot be written"):
        main(tiny(folder, tmp_path / place))
    assert (tmp_path / "file").read_text(encoding="utf-8") == "no folder"
