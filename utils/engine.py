"""One epoch of training, one evaluation, and what the machine is asked to compute with."""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

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


class Trainer:
    """A network and everything else that changes while it is trained: optimizer, gradient scaler, averaged weights.

    average: exponential mean of the weights and of the batch-norm statistics over about the last twentieth of the run; its
    memory grows from nothing, so that the first epochs can be looked at too. Validation and best.pth use it.
    """

    def __init__(
        self,
        net: nn.Module,
        groups: list[dict[str, Any]],
        weight_decay: float,
        lr: Callable[[int], float],
        total_steps: int,
        normalise: Callable[[Tensor], Tensor],
        precision: Precision,
    ):
        """groups: parameter groups with a `factor` on the learning rate each; lr: learning rate at step 0, 1, …"""
        self.net, self.lr, self.normalise, self.precision = net, lr, normalise, precision
        self.optimizer = torch.optim.AdamW(
            groups, lr=lr(0), weight_decay=weight_decay, fused=precision.device.type != "mps"
        )
        self.scaler = precision.scaler()
        self.average = AveragedModel(net, multi_avg_fn=growing_average(total_steps / 20), use_buffers=True)

    def step(
        self, step: int, images: Tensor, masks: Tensor, *weights: Tensor, criterion: Callable[..., Tensor]
    ) -> Tensor:
        """One optimizer step on pictures (N, C, H, W), masks (N, H, W) uint8 and perhaps border weights (N, H, W).

        Returns the loss, a scalar on the device.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(step) * group["factor"]
        images = self.normalise(images.to(self.precision.device, non_blocking=True))
        with self.precision.autocast():
            logits = self.net(images.contiguous(memory_format=torch.channels_last))
        masks, *weights = (x.to(self.precision.device, non_blocking=True) for x in (masks, *weights))
        loss = criterion(logits, masks.long(), *weights)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update_parameters(self.net)
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """All of it but the averaged weights, as tensors and plain values."""
        return {
            "model": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "averaged": int(self.average.n_averaged),
        }

    def load_state(self, state: dict[str, Any], averaged_weights: dict[str, Tensor]) -> None:
        self.net.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.average.module.load_state_dict(averaged_weights)
        self.average.n_averaged.fill_(state["averaged"])


def growing_average(memory: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """Exponential averaging over `memory` steps (10 to 1000), and over fewer as long as there have been few."""
    longest = 1 - 1 / min(max(memory, 10), 1000)

    def average(means: list[Tensor], values: list[Tensor], count: Tensor) -> None:
        decay = min(longest, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(decay)(means, values, count)

    return average


def train_one_epoch(
    trainer: Trainer, loader: Iterable[tuple[Tensor, ...]], criterion: Callable[..., Tensor], first_step: int
) -> float:
    """Train on every batch of `loader` (see `Trainer.step`); returns the mean loss.

    first_step: number of optimizer steps before this epoch. Raises UserError when the loss is no number any more.
    """
    trainer.net.train()
    losses = [trainer.step(first_step + i, *batch, criterion=criterion) for i, batch in enumerate(loader)]
    mean = torch.stack(losses).mean().item()
    if not math.isfinite(mean):
        raise UserError(
            "training",
            f"a loss that is no finite number ({mean})",
            "a finite loss",
            "lower the rate (--lr), or try --precision fp32",
        )
    return mean


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
