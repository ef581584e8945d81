"""train.py: what a run leaves, what it learns, how it goes on, what it refuses."""

import json
import math
import re
import shutil
import time
from functools import partial

import numpy as np
import pytest
import tifffile
import torch
from scripts import cut_off, make_voc, recode, save_as, save_untrained, snapshot, tiny
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_foreign import small_pytorch_unet

import get_miou
import import_dataset
import train
import utils.training.run_folder
from nets.config import NetworkConfig
from nets.foreign import recognise
from train import main
from unet import Unet
from utils.core.console import UserError, quoted
from utils.core.files import write_lines
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.models.checkpoint import load_checkpoint
from utils.training.history import read_history
from utils.voc.demo import CLASS_NAMES, draw_sample
from utils.voc.folder import VocFolder

PICTURES = ["loss.png", "miou.png", "train_batch.png", "val_epoch.png"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The VOC folder and the run folder of a finished run: odd and mixed sizes, batches of two, three epochs."""
    root = tmp_path_factory.mktemp("finished")
    folder = make_voc(
        root / "voc", count=6, size=[(48, 48), (37, 53), (64, 40), (37, 53), (37, 53), (64, 40)], val=3
    )
    main(tiny(folder, root / "logs", epochs=3, lr=1e-2))
    return folder, root / "logs" / "run"


@pytest.fixture
def folder(tmp_path):
    return make_voc(tmp_path / "voc")


@pytest.fixture
def logs(tmp_path):
    return tmp_path / "logs"


def scores_of(run_dir):
    """The history but for the times."""
    return [
        (row.epoch, row.lr, row.train_loss, row.val_loss, row.miou)
        for row in read_history(run_dir / "history.csv")
    ]


def weights_of(path):
    """All numbers of a checkpoint that training changes, by their place in it."""
    checkpoint = load_checkpoint(path)
    found = {f"model.{name}": value for name, value in checkpoint.model.items()}
    for name, value in (checkpoint.training or {}).get("model", {}).items():
        found[f"training.{name}"] = value
    return found


def differing(first, second):
    assert first.keys() == second.keys()
    return [name for name, value in first.items() if not torch.equal(value, second[name])]


def test_run_folder_is_complete(finished):
    _, run_dir = finished
    files = {path.name for path in run_dir.iterdir() if path.is_file()}
    events = {name for name in files if name.startswith("events.out.tfevents")}
    assert files - events == {"config.json", "history.csv", "last.pth", "best.pth", *PICTURES}
    assert events


def test_settings_are_saved(finished):
    folder, run_dir = finished
    settings = json.loads((run_dir / "config.json").read_text("utf-8"))
    assert settings["voc_root"] == str(folder.root)
    assert (settings["epochs"], settings["lr"], settings["batch_size"]) == (3, 1e-2, 2)
    assert settings == {**load_checkpoint(run_dir / "best.pth").settings, "input_shape": [64, 64]}


def test_what_is_left_to_the_program_is_chosen_and_saved(tmp_path):
    folder = make_voc(tmp_path / "voc", count=5)
    main(tiny(folder, tmp_path / "logs", epochs=1, batch_size=None, optimizer="sgd", momentum=0.5))
    settings = json.loads((tmp_path / "logs" / "run" / "config.json").read_text("utf-8"))
    names = ("input_shape", "batch_size", "freeze_batch_size", "lr", "freeze_lr", "weight_decay", "momentum")
    assert [settings[name] for name in names] == [[64, 64], 2, 4, 0.05, 0.05, 1e-4, 0.5]


def test_deep_supervision_trains_resumes_and_predicts(tmp_path):
    folder = make_voc(tmp_path / "voc", count=5)
    main(tiny(folder, tmp_path / "logs", epochs=1, deep_supervision=True))
    run_dir = tmp_path / "logs" / "run"
    main(tiny(folder, tmp_path / "logs", epochs=2, deep_supervision=True, resume=run_dir / "last.pth"))
    before, after = (
        load_checkpoint(run_dir / name).model["side_heads.0.weight"] for name in ("best.pth", "last.pth")
    )
    assert before.shape == after.shape
    assert Unet(run_dir / "best.pth", "cpu").predict(folder.image_path(folder.read_split("val")[0])).ndim == 2
    with pytest.raises(UserError, match="deep_supervision"):
        main(tiny(folder, tmp_path / "logs", epochs=3, resume=run_dir / "last.pth"))


def test_history_has_a_row_for_every_epoch(finished):
    _, run_dir = finished
    lines = (run_dir / "history.csv").read_text("utf-8").splitlines()
    assert lines[0] == "epoch,lr,train_loss,val_loss,miou,seconds,images_per_second"
    rows = read_history(run_dir / "history.csv")
    assert [row.epoch for row in rows] == [1, 2, 3]
    assert rows[0].lr > rows[1].lr > rows[2].lr
    for row in rows:
        assert 0 < row.lr <= 1e-2
        assert row.train_loss > 0
        assert row.val_loss > 0
        assert 0 < row.miou <= 1
        assert row.seconds > 0
        assert row.images_per_second > 0


def test_tensorboard_shows_the_history(finished):
    _, run_dir = finished
    board = EventAccumulator(str(run_dir)).Reload()
    rows = read_history(run_dir / "history.csv")
    for tag, field in {"mIoU": "miou", "loss/training": "train_loss", "loss/validation": "val_loss"}.items():
        found = [(event.step, event.value) for event in board.Scalars(tag)]
        assert found == [(row.epoch, pytest.approx(getattr(row, field), rel=1e-4)) for row in rows]


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_show_something(finished, name):
    image = read_image(finished[1] / name)
    assert min(image.shape[:2]) > 100
    assert image.std() > 10


def test_best_checkpoint_is_plain_data(finished):
    _, run_dir = finished
    content = torch.load(run_dir / "best.pth", weights_only=True)
    assert content["class_names"] == list(CLASS_NAMES)
    assert content["training"] is None
    rows = read_history(run_dir / "history.csv")
    best = max(rows, key=lambda row: row.miou)
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
    assert rows[0].miou < 0.5
    assert rows[-1].miou > 0.8
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
    assert unet.in_channels == settings.get("in_channels", 1)
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


def test_a_run_of_some_minutes_ends_in_time_and_annealed(folder, logs, capsys):
    # Far fewer epochs would be over sooner, far more would take longer.
    start = time.perf_counter()
    main(tiny(folder, logs, epochs=1, max_minutes=4 / 60, lr=0.01))
    assert time.perf_counter() - start < 60
    rows = read_history(logs / "run" / "history.csv")
    assert len(rows) > 1
    assert rows[-1].lr < 0.2 * 0.01
    assert "0.0666667 minutes" in capsys.readouterr().out
    with pytest.raises(UserError, match="raise --max-minutes"):
        main(tiny(folder, logs, resume=logs / "run" / "last.pth", max_minutes=1 / 60))
    main(tiny(folder, logs, resume=logs / "run" / "last.pth", max_minutes=6 / 60, lr=0.01))
    assert len(read_history(logs / "run" / "history.csv")) > len(rows)


def test_every_epoch_sees_other_crops(folder, logs):
    # Steps too small to move a weight: the loss changes with the crops alone.
    main(tiny(folder, logs, epochs=3, lr=1e-12, weight_decay=0.0))
    assert len({row[2] for row in scores_of(logs / "run")}) == 3


def test_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch, capsys):
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
    assert f"--resume {quoted(logs / 'broken' / 'last.pth')}" in capsys.readouterr().err
    main(tiny(folder, logs, run_name="other", resume=logs / "broken" / "last.pth", **settings))
    assert not (logs / "other").exists()
    assert [row[0] for row in scores_of(logs / "broken")] == [1, 2, 3, 4]
    assert scores_of(logs / "broken") == scores_of(logs / "whole")
    for name in ("last.pth", "best.pth"):
        assert not differing(weights_of(logs / "whole" / name), weights_of(logs / "broken" / name))


def test_going_on_from_an_older_checkpoint_keeps_the_best_one(finished, tmp_path):
    folder, run_dir = finished
    copy = shutil.copytree(run_dir, tmp_path / "run")
    content = torch.load(copy / "last.pth", weights_only=True)
    content["training"].update(epoch=2, best=2.0)
    torch.save(content, copy / "last.pth")
    best = (copy / "best.pth").read_bytes()
    main(tiny(folder, tmp_path, epochs=4, lr=1e-2, resume=copy / "last.pth"))
    assert (copy / "best.pth").read_bytes() == best
    assert load_checkpoint(copy / "last.pth").training["epoch"] == 4
    assert [row[0] for row in scores_of(copy)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "settings", "found"),
    [
        ("best.pth", {"epochs": 5}, "weights without training state"),
        ("last.pth", {"epochs": 3}, "a run that has done its 3 epochs"),
        ("last.pth", {"epochs": 5, "base_channels": 8}, "a run with base_channels 4"),
        ("last.pth", {"epochs": 5, "fit": "letterbox"}, "a run with fit crop"),
        ("gone.pth", {"epochs": 5}, "no such file"),
    ],
)
def test_run_that_cannot_go_on(finished, tmp_path, name, settings, found):
    folder, run_dir = finished
    copy = shutil.copytree(run_dir, tmp_path / "run")
    before = snapshot(copy)
    with pytest.raises(UserError) as caught:
        main(tiny(folder, tmp_path, resume=copy / name, **settings))
    assert caught.value.subject == str(copy / name)
    assert found in caught.value.found
    assert snapshot(copy) == before


def test_other_settings_of_a_run_that_goes_on_are_told_and_saved(finished, tmp_path, capsys):
    folder, last = finished[0], shutil.copytree(finished[1], tmp_path / "run") / "last.pth"
    other = {"lr": 5e-3, "batch_size": 3, "dice_weight": 0.5, "augmentation": "none"}
    main(tiny(folder, tmp_path, run_name="other", epochs=4, resume=last, **other))
    told = capsys.readouterr().err
    assert "from epoch 4 on, other settings than before:\n" in told
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


def test_run_that_goes_on_keeps_its_normalisation(folder, logs):
    """Pictures that were added meanwhile change none of what the network was trained with."""
    main(tiny(folder, logs, epochs=1))
    last = logs / "run" / "last.pth"
    before = load_checkpoint(last).normalisation
    write_image(folder.images_dir / "cells_0.png", np.full((48, 48), 255, np.uint8))
    main(tiny(folder, logs, resume=last))
    assert load_checkpoint(last).normalisation == before


def test_run_of_another_fold_cannot_go_on(finished, tmp_path):
    folder, run_dir = finished
    for split in ("train", "val"):
        folder.write_split(f"fold0_{split}", folder.read_split(split))
    copy = shutil.copytree(run_dir, tmp_path / "run")
    with pytest.raises(UserError, match=r"found:    a run with fold None\n.*a run with fold 0\n"):
        main(tiny(folder, tmp_path, epochs=5, fold=0, resume=copy / "last.pth"))


def test_run_with_other_classes_cannot_go_on(finished, folder, tmp_path):
    run_dir = shutil.copytree(finished[1], tmp_path / "run")
    write_lines(folder.class_names_path, ["background", "cell", "core"])
    with pytest.raises(UserError, match="core"):
        main(tiny(folder, tmp_path, epochs=5, resume=run_dir / "last.pth"))


def test_existing_run_is_not_replaced(finished):
    folder, run_dir = finished
    before = snapshot(run_dir)
    with pytest.raises(UserError, match="a run of this name") as caught:
        main(tiny(folder, run_dir.parent))
    assert str(run_dir / "last.pth") in caught.value.remedy
    assert snapshot(run_dir) == before


def test_fine_tuning_keeps_what_fits(finished, folder, tmp_path, logs, capsys):
    start = finished[1] / "best.pth"
    recode(folder, {2: 1})
    write_lines(folder.class_names_path, ["background", "object"])
    # Steps too small to move a weight.
    main(tiny(folder, logs, model_path=start, base_channels=32, lr=1e-12, weight_decay=0.0))
    warning = capsys.readouterr().err
    assert "3 classes" in warning
    assert "start afresh" in warning
    before, after = load_checkpoint(start).model, load_checkpoint(logs / "run" / "last.pth").model
    fresh = [name for name in after if after[name].shape != before[name].shape]
    assert len(fresh) == 2
    assert all(name in warning for name in fresh)
    learnt = [name for name in after if name not in fresh and not re.search("running|num_batches", name)]
    assert learnt
    for name in learnt:
        assert torch.allclose(after[name], before[name], atol=1e-6), name


def test_fine_tuning_with_the_same_classes_takes_everything(finished, logs, capsys):
    folder, run_dir = finished
    main(tiny(folder, logs, model_path=run_dir / "best.pth", epochs=1))
    assert "afresh" not in capsys.readouterr().err
    assert scores_of(logs / "run")[0][2] < scores_of(run_dir)[0][2]


def test_fine_tuning_tells_which_network_it_takes(finished, logs, capsys):
    folder, run_dir = finished
    main(tiny(folder, logs, model_path=run_dir / "best.pth", base_channels=8, norm="group", epochs=1))
    said = capsys.readouterr().err
    assert (
        f"the network is that of {run_dir / 'best.pth'}: base_channels 4 instead of 8, norm batch instead of group"
        in said
    )
    settings = load_checkpoint(logs / "run" / "best.pth").settings
    assert (settings["base_channels"], settings["norm"], settings["depth"]) == (4, "batch", 2)


def test_fine_tuning_from_weights_of_another_repository(folder, logs, tmp_path, capsys):
    torch.save(small_pytorch_unet(classes=2), tmp_path / "theirs.pth")
    main(tiny(folder, logs, model_path=tmp_path / "theirs.pth", epochs=1, lr=1e-12, weight_decay=0.0))
    said = capsys.readouterr().err
    assert "Pytorch-UNet" in said and "it has 2 classes, the data have 3" in said
    learnt = load_checkpoint(logs / "run" / "last.pth").model
    theirs = recognise(small_pytorch_unet(classes=2)).model
    torch.testing.assert_close(learnt["encoder.levels.1.0.weight"], theirs["encoder.levels.1.0.weight"])
    assert learnt["head.weight"].shape[0] == 3


def test_fine_tuning_from_what_is_no_checkpoint(folder, logs, tmp_path):
    path = save_untrained(tmp_path / "weights.pth")
    cut_off(path)
    with pytest.raises(UserError, match="damaged or truncated"):
        main(tiny(folder, logs, model_path=path))
    assert not logs.exists()


def test_class_names_come_from_the_folder(folder, logs, capsys):
    names = ["背景", "细胞", "cell nucleus"]
    folder.class_names_path.write_bytes("\ufeff背景\r\n细胞 \r\ncell nucleus\r\n\r\n".encode())
    main(tiny(folder, logs, epochs=1))
    assert ", ".join(names) in capsys.readouterr().out
    assert Unet(logs / "run" / "best.pth", "cpu").class_names == names


def test_classes_without_names_are_numbered(tmp_path, logs):
    main(tiny(make_voc(tmp_path / "voc", named=False), logs, epochs=1))
    assert Unet(logs / "run" / "best.pth", "cpu").class_names == ["class_0", "class_1", "class_2"]


@pytest.mark.parametrize("number", [2, 5])
def test_number_of_classes_that_disagrees_with_the_data(folder, logs, number):
    with pytest.raises(UserError) as caught:
        main(tiny(folder, logs, num_classes=number))
    assert caught.value.subject == f"--num-classes {number}"
    assert "3 classes: background, cell, nucleus" in caught.value.found
    assert not logs.exists()


def test_split_files_of_any_making_are_read(folder, logs, capsys):
    (folder.splits_dir / "train.txt").write_bytes(b"\xef\xbb\xbfcells_0  \r\n\r\n\tcells_1\r\n")
    (folder.splits_dir / "val.txt").write_bytes(b" cells_2 \r")
    main(tiny(folder, logs, epochs=1))
    assert "2 pictures to train, 1 to validate" in capsys.readouterr().out


def test_a_fold_is_trained_on_and_scored(folder, logs, capsys):
    folder.write_split("fold1_train", ["cells_2", "cells_0"])
    folder.write_split("fold1_val", ["cells_1"])
    main(tiny(folder, logs, fold=1, epochs=1))
    output = capsys.readouterr().out
    assert "2 pictures to train, 1 to validate" in output
    assert f"--voc-root {folder.root} --split fold1_val\n" in output
    get_miou.main(get_miou.Config(logs / "run/best.pth", split="fold1_val", output=logs / "miou"))
    assert [path.name for path in (logs / "miou/masks").iterdir()] == ["cells_1.png"]
    with pytest.raises(
        UserError, match=r"one of: fold1_train, fold1_val, .*\n.*voc2unet.py --voc-root .* --folds 5"
    ):
        main(tiny(folder, logs, fold=2))


def test_masks_of_background_only_are_a_warning(folder, logs, capsys):
    recode(folder, {1: 0, 2: 0})
    main(tiny(folder, logs, epochs=1))
    warning = capsys.readouterr().err
    for name in ("1 (cell)", "2 (nucleus)"):
        assert f"warning: no training mask has a pixel of class {name}" in warning


def test_class_in_no_training_mask_is_a_warning(folder, logs, capsys):
    for name in ("cells_0", "cells_1"):
        mask = read_mask(folder.mask_path(name))
        write_mask(folder.mask_path(name), np.where(mask == 2, 1, mask))
    main(tiny(folder, logs, epochs=1))
    warning = capsys.readouterr().err
    assert "no training mask has a pixel of class 2 (nucleus)" in warning
    assert "class 1 (cell)" not in warning


def test_demo_set_is_drawn_on_first_use(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "make_demo", partial(train.make_demo, count=3, val=1))
    settings = {
        "input_shape": (64, 64),
        "network": NetworkConfig(base_channels=4, depth=2),
        "epochs": 1,
        "device": "cpu",
        "num_workers": 0,
    }
    main(train.Config(run_name="first", **settings))
    assert "drawing the demo set into" in capsys.readouterr().out
    assert len(list((tmp_path / "VOCdevkit" / "demo" / "JPEGImages").iterdir())) == 3
    before = snapshot(tmp_path / "VOCdevkit")
    main(train.Config(run_name="second", **settings))
    assert "drawing" not in capsys.readouterr().out
    assert snapshot(tmp_path / "VOCdevkit") == before
    assert (tmp_path / "logs" / "second" / "best.pth").is_file()


def test_half_drawn_demo_set_is_drawn_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "make_demo", partial(train.make_demo, count=3, val=1))
    calls = []

    def stop_at_the_third(path, mask):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write_mask(path, mask)

    with monkeypatch.context() as patch:
        patch.setattr("utils.voc.demo.write_mask", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            train.read_data(train.Config())
    assert train.read_data(train.Config()).class_names == list(CLASS_NAMES)


def test_history_that_another_program_holds_is_written_later(folder, logs, monkeypatch, capsys):
    save = train.save_run

    def lock_in_epoch_1(run_dir, checkpoint, trainer, row, *others):
        save(run_dir, checkpoint, trainer, row, *others)
        history = run_dir / "history.csv"
        if row.epoch == 1:
            history.mkdir()
        elif history.is_dir():
            history.rmdir()

    monkeypatch.setattr(train, "save_run", lock_in_epoch_1)
    main(tiny(folder, logs))
    assert [row[0] for row in scores_of(logs / "run")] == [1, 2]
    assert "history.csv" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["file", "file/logs"])
def test_folder_of_runs_that_cannot_be_written(folder, tmp_path, place):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(UserError, match="it cannot be written"):
        main(tiny(folder, tmp_path / place))
    assert (tmp_path / "file").read_text(encoding="utf-8") == "no folder"


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"base_channels": 0},
        {"depth": 0},
        {"depth": 9},
        {"input_shape": (0, 64)},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"freeze_lr": -1.0},
        {"max_minutes": 0.0},
        {"dice_beta": 0.0},
        {"border_sigma": 0.0},
        {"max_minutes": math.inf},
        {"encoder_lr_factor": -1.0},
        {"class_weights": (1.0, 2.0)},
        {"class_weights": (0.0, 0.0, 0.0)},
        {"focal_gamma": -1.0},
        {"weight_decay": -1.0},
        {"dice_weight": -1.0},
        {"seed": -1},
        {"num_workers": -1},
        {"device": "abacus"},
    ],
    ids=lambda settings: " ".join(f"{name} {value}" for name, value in settings.items()),
)
def test_settings_that_cannot_work(folder, logs, settings):
    with pytest.raises(UserError) as caught:
        main(tiny(folder, logs, **settings))
    name, value = next(iter(settings.items()))
    # The one that is wrong, and no other, is named.
    assert caught.value.subject.split()[0] in (f"--{name.replace('_', '-')}", "settings", "network")
    assert name in str(caught.value).replace("-", "_")
    assert str(value) in str(caught.value)
    assert not logs.exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"compile": True, "save_memory": True}, "--compile with --save-memory"),
        (
            {"fit": "letterbox", "input_shape": (7, 64)},
            "--input-shape\n  found:    7×64\n  expected: 8×8 or more",
        ),
    ],
)
def test_settings_that_do_not_go_together(folder, logs, settings, words):
    with pytest.raises(UserError, match=words):
        main(tiny(folder, logs, **settings))
    assert not logs.exists()


@pytest.mark.parametrize(("shape", "became"), [((4, 32), "8×32"), ((200, 48), "48×48")])
def test_crops_of_another_size_than_asked_for_are_told(folder, logs, capsys, shape, became):
    main(tiny(folder, logs, epochs=1, input_shape=shape))
    assert f"the crops are not {shape[0]}×{shape[1]} but {became}: at least 8×8" in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_every_size_of_batch_is_compiled_before_its_phase(tmp_path, logs, capsys):
    folder = make_voc(tmp_path / "voc", count=4)
    main(tiny(folder, logs, compile=True, epochs=2, freeze_epochs=1, freeze_batch_size=3))
    assert capsys.readouterr().out.count("compiled in") == 2
    assert len(read_history(logs / "run" / "history.csv")) == 2


def no_folder(folder):
    folder.root.rename(folder.root.with_name("elsewhere"))
    return folder.root, "no such folder"


def no_split(folder):
    (folder.splits_dir / "train.txt").unlink()
    return folder.splits_dir / "train.txt", "no such file"


def empty_split(folder):
    (folder.splits_dir / "val.txt").write_text("\n \n", encoding="utf-8")
    return folder.splits_dir / "val.txt", "no names in this split file"


def name_without_picture(folder):
    folder.write_split("train", ["cells_0", "cells_77"])
    return folder.images_dir / "cells_77", "no picture of this name"


def two_pictures_of_a_name(folder):
    save_as(folder.images_dir / "cells_1.bmp", np.zeros((48, 48), np.uint8))
    return folder.images_dir / "cells_1.png", "two pictures of one name"


def truncated_picture(folder):
    cut_off(folder.image_path("cells_1"))
    return folder.image_path("cells_1"), "truncated picture"


def truncated_validation_picture(folder):
    cut_off(folder.image_path("cells_2"))
    return folder.image_path("cells_2"), "truncated picture"


def empty_picture(folder):
    folder.image_path("cells_0").write_bytes(b"")
    return folder.image_path("cells_0"), "zero bytes"


def words_for_a_picture(folder):
    folder.image_path("cells_0").write_text("a picture, they said", encoding="utf-8")
    return folder.image_path("cells_0"), "no picture"


def no_mask(folder):
    folder.mask_path("cells_1").unlink()
    return folder.mask_path("cells_1"), "no such mask"


def truncated_mask(folder):
    cut_off(folder.mask_path("cells_2"))
    return folder.mask_path("cells_2"), "truncated mask"


def mask_of_another_size(folder):
    write_mask(folder.mask_path("cells_1"), np.zeros((48, 47), np.uint8))
    return folder.mask_path("cells_1"), "a mask of 48×47"


def colour_mask(folder):
    save_as(folder.mask_path("cells_1"), np.zeros((48, 48, 3), np.uint8))
    return folder.mask_path("cells_1"), "RGB colours"


def jpeg_mask(folder):
    save_as(folder.mask_path("cells_1"), read_mask(folder.mask_path("cells_1")) * 127, "JPEG")
    return folder.mask_path("cells_1"), "a JPEG"


def mask_of_16_bits(folder):
    save_as(folder.mask_path("cells_1"), np.zeros((48, 48), np.uint16))
    return folder.mask_path("cells_1"), "16-bit values"


def value_beyond_the_classes(folder):
    mask = read_mask(folder.mask_path("cells_2"))
    mask[0, :5] = 7
    write_mask(folder.mask_path("cells_2"), mask)
    return folder.mask_path("cells_2"), "value 7 (5 pixels)"


def too_few_class_names(folder):
    write_lines(folder.class_names_path, ["background", "cell"])
    pixels = np.sum(read_mask(folder.mask_path("cells_0")) == 2)
    return folder.mask_path("cells_0"), f"value 2 ({pixels} pixels)"


def one_class_name(folder):
    write_lines(folder.class_names_path, ["cell"])
    return folder.class_names_path, "1 class name"


def class_names_in_another_code(folder):
    folder.class_names_path.write_bytes("背景\n细胞\n细胞核\n".encode("gb18030"))
    return folder.class_names_path, "not UTF-8"


def black_and_white(folder):
    recode(folder, {1: 255, 2: 255})
    return folder.masks_dir, "masks drawn in black and white"


@pytest.mark.parametrize(
    "spoil",
    [
        no_folder,
        no_split,
        empty_split,
        name_without_picture,
        two_pictures_of_a_name,
        truncated_picture,
        truncated_validation_picture,
        empty_picture,
        words_for_a_picture,
        no_mask,
        truncated_mask,
        mask_of_another_size,
        colour_mask,
        jpeg_mask,
        mask_of_16_bits,
        value_beyond_the_classes,
        too_few_class_names,
        one_class_name,
        class_names_in_another_code,
        black_and_white,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_faulty_data_are_told_before_a_run_folder_is_made(folder, logs, spoil):
    subject, found = spoil(folder)
    with pytest.raises(UserError) as caught:
        main(tiny(folder, logs))
    assert caught.value.subject == str(subject)
    assert found in caught.value.found
    assert not logs.exists()


def test_black_and_white_masks_are_told_with_the_command_that_mends_them(tmp_path, logs):
    folder = make_voc(tmp_path / "two words")
    recode(folder, {1: 255, 2: 255})
    with pytest.raises(UserError) as caught:
        main(tiny(folder, logs))
    assert f'python voc2unet.py --voc-root "{folder.root}" --map 0:0,255:1 ' in caught.value.remedy


def test_twelve_bit_pictures_fill_the_range_in_training_and_prediction(tmp_path):
    folder = make_voc(tmp_path / "voc", 3)
    for path in folder.images.values():
        write_image(path, read_image(path).astype(np.uint16) * 16)
    run_dir = tmp_path / "run"
    train.main(
        train.Config(voc_root=folder.root, network=NetworkConfig(base_channels=4, depth=2), epochs=1, save_dir=tmp_path, run_name="run",
                     device="cpu", precision="fp32")
    )  # fmt: skip
    low, high = load_checkpoint(run_dir / "best.pth").normalisation["range_16bit"]
    assert 0 <= low < 1000 and 2000 < high < 4096
    unet = Unet(run_dir / "best.pth", device="cpu", precision="fp32")
    image = np.linspace(0, 4095, 48 * 48).astype(np.uint16).reshape(48, 48)
    seen = []
    unet.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    unet.predict(image)
    spread = unet.normalisation.std[0] * (seen[-1].max() - seen[-1].min()).item()
    assert spread == pytest.approx(1.0, abs=0.02)


def import_floats(root, images, masks):
    """A VOC folder of a stack: the last page validates."""
    root.mkdir()
    tifffile.imwrite(root / "cells.tif", images, photometric="minisblack")
    tifffile.imwrite(root / "labels.tif", masks, photometric="minisblack")
    settings = {"images": root / "cells.tif", "masks": root / "labels.tif", "voc_root": root}
    import_dataset.main(import_dataset.Config(format="stack", **settings))
    folder = VocFolder(root)
    names = sorted(folder.images)
    folder.write_split("train", names[:-1])
    folder.write_split("val", names[-1:])
    return folder


def percentiles_of(normalisation):
    """What the network sees as black and white, in the numbers of the stack, and one code of 16 bits in them."""
    low, high = normalisation["range_float"]
    step = (high - low) / 65535
    return [low + code * step for code in normalisation["range_16bit"]], step


def test_pictures_of_floats_are_scaled_by_the_training_in_training_and_prediction(tmp_path):
    pages = [draw_sample(seed, 48) for seed in range(3)]
    images, masks = (
        np.stack([image for image, _ in pages]).astype(np.float32) * 0.01 - 0.3,
        [m for _, m in pages],
    )
    # A validation picture four times as bright, with a hole and a number out of all proportion.
    images[2] *= 4
    images[2, 0, :2] = np.nan, 1e6
    folder = import_floats(tmp_path / "voc", images, np.stack(masks))
    main(tiny(folder, tmp_path / "logs", epochs=2, lr=1e-2))
    unet = Unet(tmp_path / "logs" / "run" / "best.pth", "cpu")
    found, step = percentiles_of(unet.normalisation.to_dict())
    expected = np.percentile(images[:2], (0.1, 99.9), method="inverted_cdf")
    assert np.abs(found - expected).max() <= step
    assert step < (expected[1] - expected[0]) / 800
    seen = []
    unet.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    unet.predict(images[0])
    seen.clear()
    path = tmp_path / "raw.tif"
    for name, raw in zip(sorted(folder.images), images, strict=True):
        probabilities = [unet.predict_proba(folder.image_path(name)), unet.predict_proba(raw)]
        for dtype in (np.float32, np.float64):
            tifffile.imwrite(path, raw.astype(dtype), photometric="minisblack")
            probabilities.append(unet.predict_proba(path))
        assert all(np.array_equal(one, probabilities[0]) for one in probabilities)
        assert all(torch.equal(one, seen[0]) for one in seen)
        seen.clear()
    assert unet.detect_image(path).size == (48, 48)
    with pytest.raises(UserError, match=r"floating-point values between -0\.84 and 1e"):
        Unet("model_data/unet_demo.pth", "cpu").predict(path)


def test_fine_tuning_on_floats_of_another_scale_measures_them(tmp_path):
    images, mask = np.linspace(0, 1, 3 * 48 * 48, dtype=np.float32).reshape(3, 48, 48), draw_sample(0, 48)[1]
    start = save_untrained(
        tmp_path / "start.pth",
        normalisation={
            "mean": [0.5] * 3,
            "std": [0.2] * 3,
            "range_16bit": [7, 60000],
            "range_float": [0.0, 1.0],
        },
    )
    for factor, kept in ((1, True), (50, False)):
        folder = import_floats(tmp_path / f"voc {factor}", images * factor, np.stack([mask] * 3))
        config = tiny(folder, tmp_path, model_path=start)
        data = train.read_data(config)
        normalisation = train.make_network(train.fill_in(config, data), data)[1].normalisation
        assert normalisation["range_float"] == [0, factor]
        assert (normalisation["range_16bit"] == [7, 60000]) == kept
        if not kept:
            found, step = percentiles_of(normalisation)
            assert found == pytest.approx(
                np.percentile(images[:2] * factor, (0.1, 99.9), method="inverted_cdf"), abs=step
            )
