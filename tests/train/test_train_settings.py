"""train.py: settings that are refused, changed or compiled."""

import math
import shutil

import pytest
from scripts import make_voc, tiny

from train import main
from utils.core.console import UserError
from utils.training.history import read_history


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
    name = next(iter(settings))
    # The one that is wrong, and no other, is named.
    assert caught.value.subject.split()[0] in (f"--{name.replace('_', '-')}", "settings", "network")
    assert name in str(caught.value).replace("-", "_")
    assert not logs.exists()


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"compile": True, "save_memory": True}, "settings-conflict"),
        ({"deterministic": True, "max_minutes": 1.0}, "settings-conflict"),
        ({"epochs": 3, "freeze_epochs": 3}, "settings-conflict"),
        ({"fit": "letterbox", "input_shape": (7, 64)}, "input-too-small"),
        ({"class_weights": (1.0, 2.0)}, "class-weights"),
        ({"depth": 9}, "network-settings"),
    ],
)
def test_settings_that_do_not_go_together(folder, logs, settings, code):
    with pytest.raises(UserError) as caught:
        main(tiny(folder, logs, **settings))
    assert caught.value.code == code
    assert not logs.exists()


@pytest.mark.parametrize(("shape", "became"), [((4, 32), "8×32"), ((200, 48), "48×48")])
def test_crops_of_another_size_than_asked_for_are_noted(folder, logs, capsys, shape, became):
    main(tiny(folder, logs, epochs=1, input_shape=shape))
    note = capsys.readouterr().err
    assert f"{shape[0]}×{shape[1]}" in note and became in note


@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_every_size_of_batch_is_compiled_before_its_phase(tmp_path, logs, capsys):
    folder = make_voc(tmp_path / "voc", count=4)
    main(tiny(folder, logs, compile=True, epochs=2, freeze_epochs=1, freeze_batch_size=3))
    assert capsys.readouterr().out.count("compiled in") == 2
    assert len(read_history(logs / "run" / "history.csv")) == 2
