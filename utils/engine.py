"""One epoch of training, one evaluation, and what the machine is asked to compute with."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from utils.console import UserError
from utils.metrics import ConfusionMatrix, Scores


@dataclass(frozen=True)
class Precision:
    """Number format of the network: `dtype` None is float32 throughout; float16 needs a gradient scaler."""

    device: torch.device
    dtype: torch.dtype | None

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)

    def scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

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
        raise UserError(
            f"--device {name}",
            str(error).splitlines()[0],
            "auto, cpu, cuda, cuda:1, mps: a device that this machine and this build of PyTorch have",
            "use --device auto; for an NVIDIA card install the CUDA build of PyTorch",
        ) from None
    return device


def choose_precision(name: str, device: torch.device) -> Precision:
    """`auto`: bfloat16 where the hardware computes with it (elsewhere it is slower than float32), else float16 on CUDA."""
    dtypes = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if name != "auto":
        return Precision(device, dtypes[name])
    if device.type == "cuda":
        return Precision(device, torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16)
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
    return f"CPU, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def train_one_epoch(
    net: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    normalise: Callable[[Tensor], Tensor],
    criterion: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    precision: Precision,
    set_lr: Callable[[int], None],
    step: int,
) -> tuple[float, int]:
    """Train on every batch of `loader` (N, C, H, W) and (N, H, W); returns the mean loss and the number of the next step.

    `set_lr` is called with the number of each step before it. Raises UserError when the loss is no number any more.
    """
    net.train()
    losses = []
    for images, masks in loader:
        set_lr(step)
        images = normalise(images.to(precision.device, non_blocking=True))
        masks = masks.to(precision.device, non_blocking=True).long()
        with precision.autocast():
            logits = net(images.contiguous(memory_format=torch.channels_last))
        loss = criterion(logits, masks)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.detach())
        step += 1
    mean = torch.stack(losses).mean().item()
    if mean != mean:
        raise UserError(
            "training",
            "a loss that is no number (NaN)",
            "a finite loss",
            "lower the rate (--lr), or try --precision fp32",
        )
    return mean, step


@torch.inference_mode()
def evaluate(
    predict_logits: Callable[[Tensor], Tensor],
    loader: Iterable[tuple[Tensor, Tensor]],
    criterion: Callable[[Tensor, Tensor], Tensor],
    num_classes: int,
    device: torch.device,
) -> tuple[float, Scores]:
    """Mean loss a pixel and the scores of a split. predict_logits: pictures (N, C, H, W) → logits (N, K, H, W) on `device`."""
    matrix = ConfusionMatrix(num_classes, device)
    total, pixels = torch.zeros((), device=device), 0
    for images, masks in loader:
        masks = masks.to(device, non_blocking=True)
        logits = predict_logits(images)
        total += criterion(logits, masks.long()) * masks.numel()
        pixels += masks.numel()
        matrix.update(masks, logits.argmax(1))
    return (total / max(pixels, 1)).item(), matrix.scores()
