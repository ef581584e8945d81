"""Devices and number formats: what is chosen, what is refused, fallbacks for older releases of PyTorch."""

import contextlib

import pytest
import torch

from utils.core.console import UserError
from utils.core.device import (
    bfloat16_is_faster,
    choose_device,
    choose_precision,
    describe_device,
    set_determinism,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "toaster", ""])
def test_a_missing_device_is_a_user_error(name):
    with pytest.raises(UserError) as error:
        choose_device(name)
    assert (error.value.code, error.value.subject) == ("device-missing", f"--device {name}")
    assert len(error.value.found) < 100


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_prefers_cuda_then_apples_gpu(monkeypatch, cuda, mps, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    # The device need not exist on this machine.
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: None)
    assert choose_device("auto") == torch.device(chosen)


def test_a_device_by_name():
    assert choose_device("cpu") == CPU
    assert describe_device(CPU).startswith("CPU, ")


@pytest.mark.parametrize(
    ("name", "dtype", "words"), [("fp32", None, "float32"), ("bf16", torch.bfloat16, "bfloat16")]
)
def test_a_precision_by_name(name, dtype, words):
    precision = choose_precision(name, CPU)
    assert precision.dtype is dtype
    assert words in str(precision)
    assert not precision.scaler().is_enabled()
    with precision.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (dtype or torch.float32)


def test_float16_is_for_gpus():
    assert choose_precision("fp16", torch.device("mps")).dtype is torch.float16
    assert choose_precision("fp16", torch.device("cuda")).dtype is torch.float16
    with pytest.raises(UserError) as error:
        choose_precision("fp16", CPU)
    assert error.value.code == "precision-device"


@pytest.fixture
def costs(monkeypatch):
    """Seconds that a convolution takes by a clock of the test, by dtype."""
    clock, costs, convolve = [0.0], {}, torch.nn.Conv2d.forward

    def forward(layer, maps):
        clock[0] += costs[maps.dtype]
        return convolve(layer, maps)

    monkeypatch.setattr("utils.core.device.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)
    bfloat16_is_faster.cache_clear()
    yield costs
    bfloat16_is_faster.cache_clear()


@pytest.mark.parametrize(("bfloat16", "dtype"), [(0.5, torch.bfloat16), (1.0, None), (1.7, None)])
def test_a_cpu_computes_in_the_format_in_which_it_convolves_faster(costs, bfloat16, dtype):
    costs |= {torch.float32: 1.0, torch.bfloat16: bfloat16}
    threads = torch.get_num_threads()
    assert choose_precision("auto", CPU).dtype is dtype
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("capability", "native", "dtype"),
    [((8, 0), True, torch.bfloat16), ((7, 5), False, torch.float16), ((5, 0), False, None)],
)
def test_a_cuda_card_computes_in_what_it_has(monkeypatch, capability, native, dtype):
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: native or emulated)
    precision = choose_precision("auto", torch.device("cuda"))
    assert precision.dtype is dtype
    assert precision.memory_format is torch.channels_last


def test_an_apple_gpu_computes_in_float32_and_in_pytorchs_own_layout():
    precision = choose_precision("auto", torch.device("mps"))
    assert precision.dtype is None
    assert precision.memory_format is torch.contiguous_format


def test_determinism_is_switched_on_and_off():
    set_determinism(True)
    assert torch.are_deterministic_algorithms_enabled()
    set_determinism(False)
    assert not torch.are_deterministic_algorithms_enabled()
