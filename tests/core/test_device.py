"""Devices and number formats: what is chosen, what is refused, fallbacks for older releases of PyTorch."""

import contextlib

import pytest
import torch

from utils.core.console import UserError
from utils.core.device import (
    Precision,
    choose_device,
    choose_precision,
    cpu_has_bfloat16,
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


@pytest.mark.parametrize(("capable", "dtype"), [(True, torch.bfloat16), (False, None)])
def test_bfloat16_is_chosen_only_where_the_processor_has_it(monkeypatch, capable, dtype):
    monkeypatch.setattr("utils.core.device.cpu_has_bfloat16", lambda: capable)
    assert choose_precision("auto", CPU).dtype is dtype


@pytest.mark.parametrize(
    ("capabilities", "capable"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx2": True}, False)],
)
def test_the_processor_is_asked_publicly(monkeypatch, capabilities, capable):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert cpu_has_bfloat16() is capable


@pytest.mark.parametrize("answer", [True, False])
def test_older_releases_are_asked_by_the_private_name(monkeypatch, answer):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: answer, raising=False)
    assert cpu_has_bfloat16() is answer


def test_without_either_question_float32_is_used(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert cpu_has_bfloat16() is False
    assert choose_precision("auto", CPU) == Precision(CPU, None)


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
