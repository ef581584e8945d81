"""Whether a step fits into memory: by a bound on real memory, and the largest batch and crop."""

import copy
import json
import re
import sys

import pytest
import torch
from scripts import make_voc, refused, tiny

from nets.config import NetworkConfig
from nets.unet import UNet, build
from train import main
from utils.core.device import Precision
from utils.core.memory import available_memory, bounded_memory
from utils.training import trial as module
from utils.training.losses import Loss, make_criterion
from utils.training.trial import Trial, largest

CPU = torch.device("cpu")
MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="the bound is Linux's")


def network(**settings: object) -> UNet:
    torch.manual_seed(0)
    return build(NetworkConfig(2, 3, base_channels=8, depth=1, **settings))


def trial(net: UNet, **settings: object) -> Trial:
    return Trial(net, Precision(CPU, None), make_criterion(Loss(), None, CPU), 3, 3, **settings)


@pytest.mark.parametrize("answer", range(9))
def test_the_largest_number_that_fits(answer):
    assert largest(lambda number: number <= answer, 9) == answer


@linux
def test_a_bound_refuses_what_goes_beyond_it_and_ends():
    with bounded_memory(200 * MIB):
        torch.ones(100 * MIB, dtype=torch.uint8)
        # More than the heap may hold of earlier tests, which is free.
        with pytest.raises((RuntimeError, MemoryError)):
            torch.empty(8192 * MIB, dtype=torch.uint8)
    torch.ones(300 * MIB, dtype=torch.uint8)


def test_a_container_has_less_memory_than_its_machine(tmp_path, monkeypatch):
    whole = available_memory(tmp_path)
    (tmp_path / "memory.current").write_text("1000")
    for limit, left in (("max", whole), ("5000", 4000), ("900", 0)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert available_memory(tmp_path) == pytest.approx(left, rel=0.5)
    (tmp_path / "memory.max").write_text("5000\n")
    # What is kept of files makes room when it is wanted.
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 400\nactive_file 200\nslab 100\n")
    assert available_memory(tmp_path) == 4600
    (tmp_path / "memory.stat").unlink()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert available_memory(tmp_path) == 2000


@linux
def test_the_largest_batch_and_crop_are_found_by_trying(monkeypatch):
    """A crop of 256×256 takes some 25 MiB here."""
    monkeypatch.setattr(module, "available_memory", lambda: 120 * MIB)
    tried = trial(network())
    assert tried.fit_batch(1, (64, 64), 1, lower=False) == 1
    most = tried.fit_batch(40, (256, 256), 1, lower=True)
    assert 1 <= most < 20
    assert tried.fits(max(most // 2, 1), (256, 256))
    # What the heap keeps of earlier steps is free, too.
    assert not tried.fits(3 * most, (256, 256))
    # In parts the same memory holds several times as many.
    assert tried.fit_batch(2 * most, (256, 256), 4, lower=False) == 2 * most
    with refused("step-too-large") as caught:
        tried.fit_batch(40, (256, 256), 1, lower=False)
    error = caught.value
    found = re.fullmatch(r"at most (\d+) crops of this size, or 40 crops of (\d+)×(\d+)", error.expected)
    fitting, height, width = map(int, found.groups())
    assert 0.75 * most <= fitting <= 3 * most  # what the heap keeps varies
    assert 40 * height * width < 20 * 256 * 256
    assert tried.fits(20, (height, width))
    assert f"--batch-size {fitting} or auto, --accumulate {-(-40 // fitting)} " in error.remedy


def test_nothing_fits_and_the_message_says_so(monkeypatch):
    tried = trial(network())
    monkeypatch.setattr(Trial, "fits", lambda *_: False)
    with refused("step-too-large") as caught:
        tried.fit_batch(4, (64, 64), 1, lower=True)
    assert caught.value.expected == "more memory, or a smaller network"
    assert caught.value.remedy == "--save-memory"
    # It is not proposed again to those who have it.
    tried.net.save_memory()
    with refused("step-too-large") as caught:
        tried.fit_batch(4, (64, 64), 1, lower=True)
    assert "--save-memory" not in caught.value.remedy
    assert "--base-channels" in caught.value.remedy


@pytest.mark.parametrize("settings", [{}, {"deep_supervision": True}, {"padding": "valid", "norm": "none"}])
def test_a_trial_leaves_the_network_and_the_random_numbers_alone(settings):
    net = network(dropout=0.5, **settings)
    before, expected = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    assert trial(net, border=True).fits(2, (32, 32))
    changed = [name for name, value in net.state_dict().items() if not torch.equal(value, before[name])]
    assert all(name.endswith("num_batches_tracked") for name in changed)
    assert torch.equal(torch.get_rng_state(), expected)
    assert all(weight.grad is None for weight in net.parameters())


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    tried = trial(network())
    tried.criterion = lambda *_: torch.ones(2, 3) @ torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="shapes"):
        tried.fits(1, (32, 32))


@pytest.mark.parametrize("settings", [{"epochs": 1}, {"freeze_epochs": 1}], ids=["whole", "frozen"])
def test_auto_takes_the_largest_batch_that_fits(tmp_path, monkeypatch, capsys, settings):
    folder = make_voc(tmp_path / "voc", count=17)
    monkeypatch.setattr(Trial, "fits", lambda _, crops, size: crops <= 1)
    main(tiny(folder, tmp_path / "logs", batch_size="auto", **settings))
    saved = json.loads((tmp_path / "logs" / "run" / "config.json").read_text("utf-8"))
    assert saved["batch_size"] == 1
    assert saved["freeze_batch_size"] == (1 if "freeze_epochs" in settings else 4)
    assert "do not fit into memory: --batch-size 1" in capsys.readouterr().err


def test_a_batch_that_does_not_fit_leaves_no_run_folder(tmp_path, monkeypatch):
    folder = make_voc(tmp_path / "voc")
    monkeypatch.setattr(Trial, "fits", lambda _, crops, size: crops <= 1)
    with refused("step-too-large"):
        main(tiny(folder, tmp_path / "logs", batch_size=2))
    assert not (tmp_path / "logs").exists()
