"""train.py: classes, splits, the demo set, and faulty data."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from faulty_folders import FAULTS
from runs import scores_of
from scripts import make_voc, recode, snapshot, tiny

import get_miou
import train
from nets.config import NetworkConfig
from train import main
from unet import Unet
from utils.core.console import UserError
from utils.images.reading import read_mask
from utils.images.writing import write_image, write_mask
from utils.inference.closing import DEPTHS, PROBABILITIES
from utils.inference.gaps import Closing
from utils.models.checkpoint import load_checkpoint
from utils.scoring.confusion import Scores
from utils.training import samples
from utils.voc import demo
from utils.voc.demo import CLASS_NAMES
from utils.voc.folder import VocFolder
from utils.voc.strokes import complete


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
    assert (caught.value.code, caught.value.subject) == ("class-count", f"--num-classes {number}")
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
    assert f"--voc-root {folder.root}\n" in output
    score = get_miou.Config(logs / "run/best.pth", output=logs / "miou")
    get_miou.main(score)
    assert [path.name for path in (logs / "miou/masks").iterdir()] == ["cells_1.png"]
    assert "trained on" not in capsys.readouterr().err
    # val.txt has cells_2, on which this fold was trained.
    get_miou.main(replace(score, split="val"))
    told = capsys.readouterr().err
    assert "trained on 1 of the 1 picture of val" in told and "--split fold1_val" in told
    with pytest.raises(
        UserError, match=r"one of: fold1_train, fold1_val, .*\n.*voc2unet.py --voc-root .* --folds 5"
    ):
        main(tiny(folder, logs, fold=2))


def test_pictures_of_earlier_trainings_are_remembered(folder, logs, capsys):
    main(tiny(folder, logs, epochs=1))
    folder.write_split("train", ["cells_2"])
    folder.write_split("val", ["cells_0"])
    main(tiny(folder, logs, epochs=1, run_name="tuned", model_path=logs / "run/best.pth"))
    assert load_checkpoint(logs / "tuned/best.pth").trained_on == ["cells_0", "cells_1", "cells_2"]
    capsys.readouterr()
    get_miou.main(get_miou.Config(logs / "tuned/best.pth", output=logs / "miou"))
    assert "cells_0: the scores are too good" in capsys.readouterr().err
    # The pictures of another folder may have the same names.
    other = make_voc(logs / "other")
    get_miou.main(get_miou.Config(logs / "tuned/best.pth", other.root, "train", output=logs / "miou"))
    assert "trained on" not in capsys.readouterr().err


def test_masks_of_background_only_are_a_warning(folder, logs, capsys):
    recode(folder, {1: 0, 2: 0})
    main(tiny(folder, logs, epochs=1))
    warning = capsys.readouterr().err
    assert "warning: no training mask has a pixel of classes 1 (cell), 2 (nucleus)" in warning


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
    monkeypatch.setattr(demo, "make_demo", partial(demo.make_demo, count=3, val=1))
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
    monkeypatch.setattr(demo, "make_demo", partial(demo.make_demo, count=3, val=1))
    calls = []

    def stop_at_the_third(path, mask):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write_mask(path, mask)

    with monkeypatch.context() as patch:
        patch.setattr("utils.voc.demo.write_mask", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            demo.ensure_demo(train.DEMO)
    demo.ensure_demo(train.DEMO)
    assert train.read_data(train.Config()).class_names == list(CLASS_NAMES)


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_faulty_data_are_reported_before_a_run_folder_is_made(folder, logs, spoil):
    subject = spoil(folder)
    with pytest.raises(UserError) as caught:
        main(tiny(folder, logs))
    assert caught.value.subject == str(subject)
    assert not logs.exists()


def test_black_and_white_masks_come_with_the_command_that_repairs_them(tmp_path, logs):
    folder = make_voc(tmp_path / "two words")
    recode(folder, {1: 255, 2: 255})
    with pytest.raises(UserError) as caught:
        main(tiny(folder, logs))
    assert f'python voc2unet.py --voc-root "{folder.root}" --map 0:0,255:1 ' in caught.value.remedy


def draw_net(folder, name, strokes=False):
    """A picture of a net two pixels wide, and its mask: all of it, or two lines of each class."""
    mask = np.zeros((64, 64), np.uint8)
    for start in range(7, 64, 12):
        mask[start : start + 2] = mask[:, start : start + 2] = 1
    write_image(folder.images_dir / f"{name}.png", np.uint8(200 - 120 * mask))
    if strokes:
        mask[np.arange(64) % 12 > 3] = 255
        mask[:, 20:] = 255
    write_mask(folder.mask_path(name), mask)


@pytest.fixture
def net(tmp_path):
    folder = VocFolder(tmp_path / "net")
    names = ["a", "b", "c", "d"]
    for name in names:
        draw_net(folder, name)
    folder.class_names_path.write_text("cell\nmembrane\n", encoding="utf-8")
    folder.write_split("train", names[:3])
    folder.write_split("val", names[3:])
    return folder


def test_how_gaps_are_closed_is_chosen_on_the_validation_pictures(net, logs, capsys):
    main(tiny(net, logs, epochs=1))
    settings = load_checkpoint(logs / "run" / "best.pth").settings
    assert settings["separator"] == 1
    assert settings["gap_depth"] in DEPTHS and settings["gap_probability"] in (0.5, *PROBABILITIES)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("gaps ")]
    assert len(lines) == 2 and "--close-gaps membrane" in lines[1]
    named, auto, off = (
        Unet(logs / "run" / "best.pth", "cpu", close_gaps=how) for how in ("membrane", "auto", "none")
    )
    assert named.closing == Closing(settings["gap_depth"], settings["gap_probability"])
    assert auto.closing == Closing(settings["gap_depth"])
    assert (named.gap_class, auto.gap_class, off.gap_class) == (1, 1, None)


def scores_in_turn(monkeypatch, hits: list[int], classes: int) -> None:
    """A validation after each epoch, in which each class has these hits, 100 misses and 100 false alarms."""
    monkeypatch.setattr("utils.training.recipe.validation_interval", lambda *_: 1)
    one = np.eye(classes, dtype=int)
    found = (Scores(hit * one + 100 * np.roll(one, 1, axis=1)) for hit in hits)
    monkeypatch.setattr("utils.training.epochs.evaluate", lambda *_: (0.5, next(found)))


# mIoU 0.8000, 0.7951, 0.7863, 0.7917
HITS = [800, 776, 736, 760]


def test_where_a_class_separates_others_the_last_of_the_good_epochs_is_kept(net, logs, monkeypatch, capsys):
    scores_in_turn(monkeypatch, HITS, 2)
    main(tiny(net, logs, epochs=2))
    main(tiny(net, logs, epochs=4, resume=logs / "run" / "last.pth"))
    output = capsys.readouterr().out
    assert re.findall(r"mIoU +([\d.]+%) \*", output) == ["80.00%", "79.51%", "79.17%"]
    assert "best mIoU 80.00% in epoch 1;" in output
    assert "kept        epoch 4, mIoU 79.17%: later epochs leave fewer gaps" in output
    assert load_checkpoint(logs / "run" / "best.pth").scores["epoch"] == 4


def test_elsewhere_the_best_epoch_is_kept(folder, logs, monkeypatch, capsys):
    scores_in_turn(monkeypatch, HITS, 3)
    main(tiny(folder, logs, epochs=4))
    assert load_checkpoint(logs / "run" / "best.pth").scores["epoch"] == 1
    assert "kept  " not in capsys.readouterr().out


def test_strokes_to_validate_on_do_not_tell_how_gaps_are_closed(net, logs):
    draw_net(net, "d", strokes=True)
    main(tiny(net, logs, epochs=1))
    settings = load_checkpoint(logs / "run" / "best.pth").settings
    assert settings["separator"] == 1 and "gap_depth" not in settings


def test_pixels_between_strokes_teach_unless_their_weight_is_zero(net, logs):
    for name in ("a", "b", "c"):
        draw_net(net, name, strokes=True)
    for run, weight in (("with", 1.0), ("without", 0.0), ("again", 1.0)):
        main(replace(tiny(net, logs, epochs=1), between_strokes=weight, run_name=run))
    losses = [scores_of(logs / run) for run in ("with", "without", "again")]
    assert losses[0] == losses[2] != losses[1]
    assert losses[0][0][2] > losses[1][0][2]


@pytest.mark.parametrize(("coarse", "between", "grown"), [(0.5, 1.0, 3), (0.0, 1.0, 0), (0.5, 0.0, 0)])
def test_strokes_grow_in_small_crops_alone(coarse, between, grown, net, logs, monkeypatch):
    for name in ("a", "b", "c"):
        draw_net(net, name, strokes=True)
    masks = []
    monkeypatch.setattr(samples, "complete", lambda image, mask: masks.append(mask) or complete(image, mask))
    main(replace(tiny(net, logs, epochs=2), coarse=coarse, between_strokes=between))
    assert len(masks) == grown
