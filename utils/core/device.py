"""What the machine computes with: the device, the number format, determinism."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

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
        """Channels last, in which convolutions are fastest, but not on Apple's GPU, which goes a slow way then (#193623)."""
        return torch.contiguous_format if self.device.type == "mps" else torch.channels_last

    def is_idle(self) -> bool:
        """Whether the device has done all that it was given; a CPU always has, and others than CUDA's cannot be asked."""
        return self.device.type != "cuda" or torch.cuda.current_stream(self.device).query()

    def __str__(self) -> str:
        names = {None: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
        return f"{names[self.dtype]} on {describe_device(self.device)}"


def choose_device(name: str) -> torch.device:
    """`auto`: the GPU where there is one (CUDA, then Apple's), else the CPU. Raises UserError for one that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        known = name.split(":")[0] in ("cpu", "cuda", "mps")
        found = str(error).split(". ")[0].splitlines()[0] if known else "no device of that name"
        install = "; for an NVIDIA card install the CUDA build of PyTorch" if name.startswith("cuda") else ""
        raise UserError(
            "choose-device",
            f"--device {name}",
            found,
            "auto, cpu, cuda, cuda:1, mps: a device that this machine and this build of PyTorch have",
            f"use --device auto{install}",
        ) from None
    return device


def choose_precision(name: str, device: torch.device) -> Precision:
    """`auto`: bfloat16 where the hardware computes with it (elsewhere it is slower than float32), else float16 on CUDA."""
    dtypes = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if name == "fp16" and device.type == "cpu":
        found, expected = (
            "fp16 on a CPU, which has no quick convolutions for it",
            "bf16 or fp32 on a CPU, fp16 on a GPU",
        )
        raise UserError(
            "choose-precision",
            "--precision",
            found,
            expected,
            "leave it out: auto takes the fastest that is safe",
        )
    if name != "auto":
        return Precision(device, dtypes[name])
    if device.type == "cuda":
        with torch.cuda.device(device):
            half = torch.float16 if torch.cuda.get_device_capability() >= (5, 3) else None
            return Precision(device, torch.bfloat16 if torch.cuda.is_bf16_supported(False) else half)
    if device.type == "cpu" and cpu_has_bfloat16():
        return Precision(device, torch.bfloat16)
    return Precision(device, None)


def cpu_has_bfloat16() -> bool:
    """Whether the processor has matrix instructions for bfloat16 (AVX512-BF16 or AMX)."""
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    # PyTorch before 2.12 or so has no public question.
    return torch.cpu._is_avx512_bf16_supported()


def describe_device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {counted(torch.get_num_threads(), 'thread')}" if device.type == "cpu" else device.type


def set_determinism(deterministic: bool) -> None:
    """Same seed, same run, to the last bit, on the same machine; or else the fastest algorithms of a GPU."""
    if deterministic:
        # What cuBLAS asks for; it reads it at the first multiplication.
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    if torch.cuda.is_available():
        # TF32 for what stays in float32.
        torch.set_float32_matmul_precision("high")
