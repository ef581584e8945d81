"""Which weights are taken if none are named, which do not fit a network, and settings as plain values."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from nets.config import NetworkConfig
from utils.core.console import UserError
from utils.models.checkpoint import config_to_dict, newest_checkpoint
from utils.models.weights import list_misfits


def touch(path: Path, time: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (time, time))
    return path


def test_the_newest_run_comes_first_then_the_newest_shipped_weights(tmp_path):
    logs, model_data = tmp_path / "logs", tmp_path / "model_data"
    with pytest.raises(UserError) as error:
        newest_checkpoint(logs, model_data)
    assert error.value.code == "weights-missing"
    old = touch(model_data / "old.pth", 100)
    assert newest_checkpoint(logs, model_data) == old
    new = touch(model_data / "new.pt", 200)
    touch(model_data / "README.md", 900)
    assert newest_checkpoint(logs, model_data) == new
    first, second = touch(logs / "b" / "best.pth", 50), touch(logs / "a" / "best.pth", 60)
    touch(logs / "c" / "last.pth", 999)
    assert newest_checkpoint(logs, model_data) == second
    touch(first, 70)
    assert newest_checkpoint(logs, model_data) == first


def test_misfits_are_named():
    own = {"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(1)}
    assert not list_misfits(own, dict(own))
    table = list_misfits(own, {"b": torch.ones(4), "c": torch.ones(1), "d": torch.ones(1)})
    for text in ("missing (1 in all)", "unexpected (1 in all)", "b (4,) for (3,)"):
        assert text in table
    many = list_misfits({f"layer{i}": torch.ones(1) for i in range(30)}, {})
    assert "missing (30 in all)" in many
    assert "layer9" in many
    assert "layer10" not in many


def test_settings_become_plain_values():
    @dataclass
    class Config:
        voc_root: Path = Path("VOCdevkit") / "VOC2007"
        input_shape: tuple[int, int] = (512, 512)
        network: NetworkConfig = field(default_factory=NetworkConfig)
        resume: Path | None = None

    assert config_to_dict(Config()) == {
        "voc_root": str(Path("VOCdevkit/VOC2007")),
        "input_shape": (512, 512),
        **vars(NetworkConfig()),
        "resume": None,
    }
