"""What the machine computes with: device, number format, determinism."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache

import torch

from utils.core.console import UserError, counted


@dataclass(frozen=True)
class Precision:
    """Number format of the network: `dtype` None is float32 throughout; float16 needs a gradient scaler."""

    device: torch.device
    dtype: torch.dtype | None

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)

    def scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    @property
    def memory_format(self) -> torch.memory_format:
        """Channels last, the fastest for convolutions except on Apple's GPU (pytorch/pytorch#193623)."""
        return torch.contiguous_format if self.device.type == "mps" else torch.channels_last

    def is_idle(self) -> bool:
        """Whether the device has no work left. True where it cannot be asked, which is all but CUDA."""
        return self.device.type != "cuda" or torch.cuda.current_stream(self.device).query()

    def __str__(self) -> str:
        dtype = str(self.dtype or torch.float32).removeprefix("torch.")
        return f"{dtype} on {describe_device(self.device)}"


def choose_device(name: str) -> torch.device:
    """`auto`: CUDA, else Apple's GPU, else the CPU. Raises UserError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        known = name.split(":")[0] in ("cpu", "cuda", "mps")
        found = str(error).split(". ")[0].splitlines()[0] if known else "no device of that name"
        expected = "auto, cpu, cuda, cuda:1 or mps, if this machine and this build of PyTorch have it"
        remedy = "use --device auto, or install the CUDA build of PyTorch for an NVIDIA card"
        raise UserError("device-missing", f"--device {name}", found, expected, remedy) from None
    return device


def choose_precision(name: str, device: torch.device) -> Precision:
    """`auto`: bfloat16 where it is faster than float32, else float16 on CUDA.

    Raises UserError for fp16 on a CPU.
    """
    if name == "fp16" and device.type == "cpu":
        found, expected = "fp16 on a CPU, which has no fast convolutions for it", "bf16 or fp32 on a CPU"
        raise UserError("precision-device", "--precision", found, expected, "leave it out to get the fastest")
    dtypes = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if name != "auto":
        return Precision(device, dtypes[name])
    if device.type == "cuda":
        with torch.cuda.device(device):
            half = torch.float16 if torch.cuda.get_device_capability() >= (5, 3) else None
            return Precision(device, torch.bfloat16 if torch.cuda.is_bf16_supported(False) else half)
    return Precision(device, torch.bfloat16 if device.type == "cpu" and bfloat16_is_faster() else None)


@cache
def bfloat16_is_faster() -> bool:
    """Whether this CPU convolves faster in bfloat16 than in float32: timed once, in some 30 ms.

    Its list of instructions does not tell. Relative to float32, bfloat16 was 10 times as fast on a Xeon with
    AMX, 4 times on a Zen 5 and 0.6 times on a Xeon that has AVX512-BF16 but hides its AMX units.
    """
    seconds = {torch.float32: math.inf, torch.bfloat16: math.inf}
    layer, maps = torch.nn.Conv2d(64, 64, 3, padding=1), torch.zeros(1, 64, 32, 32)
    with single_thread(), torch.inference_mode():
        for _ in range(10):
            for dtype, fastest in seconds.items():
                convolve = layer.to(dtype=dtype, memory_format=torch.channels_last)
                inputs = maps.to(dtype=dtype, memory_format=torch.channels_last)
                began = time.perf_counter()
                convolve(inputs)
                seconds[dtype] = min(fastest, time.perf_counter() - began)
    return seconds[torch.bfloat16] < seconds[torch.float32]


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread computes. Beside other programs the ratio of two times then stays within a tenth.

    With all threads it ranged from 0.15 to 10 where it is 1.7.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def describe_device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {counted(torch.get_num_threads(), 'thread')}" if device.type == "cpu" else device.type


def set_determinism(deterministic: bool) -> None:
    """Same seed, same run to the last bit on the same machine; or else the fastest algorithms of a GPU."""
    if deterministic:
        # cuBLAS requires it, and reads it at the first multiplication.
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    if torch.cuda.is_available():
        # TF32 for what stays in float32.
        torch.set_float32_matmul_precision("high")
