"""One step, one epoch of training, and one evaluation."""

import copy
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from utils.core.console import UserError
from utils.core.device import Precision
from utils.core.heap import keep_freed_memory
from utils.images.normalisation import to_device
from utils.models.compiling import compiled, compiler_errors
from utils.scoring.confusion import ConfusionMatrix, Scores
from utils.training.losses import deep_loss


class Trainer:
    """A network and everything else that changes while it is trained: optimizer, gradient scaler, averaged weights.

    average: exponential mean of the weights and of the batch-norm statistics over about the last twentieth of the run; its
    memory grows from nothing, so that the first epochs can be looked at too. Validation and best.pth use it.
    """

    def __init__(
        self,
        net: nn.Module,
        groups: list[dict[str, Any]],
        optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
        lr: Callable[[int], float],
        total_steps: Callable[[int], float],
        normalise: Callable[[Tensor], Tensor],
        precision: Precision,
        keep_memory: bool = False,
    ):
        """groups: parameter groups with a `factor` on the learning rate each; lr: learning rate at step 0, 1, …

        total_steps: steps of the run, as far as can be told after so many of them. keep_memory: see `keep_freed_memory`.
        """
        self.net, self.lr, self.normalise, self.precision = net, lr, normalise, precision
        self.forward: Callable[[Tensor], Tensor] = net
        self.total_steps = total_steps
        self.optimizer = optimizer(groups)
        self.scaler = precision.scaler()
        self.average = AveragedModel(net)
        self.keep_memory = keep_memory

    def step(
        self, step: int, images: Tensor, masks: Tensor, *weights: Tensor, criterion: Callable[..., Tensor]
    ) -> Tensor:
        """One optimizer step on pictures (N, C, H, W), masks (N, H, W) uint8 and perhaps border weights (N, H, W).

        Returns the loss, a scalar on the device.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(step) * group["factor"]
        loss = self._loss(images, masks, *weights, criterion=criterion)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        # Here and not before the next backward pass, so that no gradients lie beside the maps of its forward pass.
        self.optimizer.zero_grad(set_to_none=True)
        self._follow(step)
        if self.keep_memory:
            # Not before the optimizer has made its state: what stays would lie between what comes and goes.
            keep_freed_memory()
            self.keep_memory = False
        return loss.detach()

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        """Move the average after the weights, as `AveragedModel.update_parameters` does, but never waiting for a GPU."""
        count = int(self.average.n_averaged)
        decay = average_decay(count, self.total_steps(step + 1)) if count else 0.0
        means = [*self.average.module.parameters(), *self.average.module.buffers()]
        values = [*self.net.parameters(), *self.net.buffers()]
        floats = [pair for pair in zip(means, values, strict=True) if pair[0].is_floating_point()]
        get_ema_multi_avg_fn(decay)([mean for mean, _ in floats], [value for _, value in floats], None)
        self.average.n_averaged += 1

    def _loss(
        self, images: Tensor, masks: Tensor, *weights: Tensor, criterion: Callable[..., Tensor]
    ) -> Tensor:
        images = self.normalise(to_device(images, self.precision.device))
        with self.precision.autocast():
            outputs = self.forward(images.contiguous(memory_format=self.precision.memory_format))
        targets = [to_device(x, self.precision.device) for x in (masks, *weights)]
        return (
            criterion(outputs, *targets)
            if isinstance(outputs, Tensor)
            else deep_loss(criterion, outputs, *targets)
        )

    def compile(self, sizes: Iterable[int], *batch: Tensor, criterion: Callable[..., Tensor]) -> float:
        """Compile the network, as it is frozen or not, for training on the first pictures of `batch`, as many as each size.

        Nothing is learnt: weights and statistics stay. Returns the seconds that it took; 0 with no sizes. Raises UserError
        where there is no compiler.
        """
        start, kept = time.perf_counter(), copy.deepcopy(self.net.state_dict())
        if self.forward is self.net:
            self.forward = compiled(self.net, self.precision.device)
        self.net.train()
        with compiler_errors():
            for size in sizes:
                loss = self._loss(*(part[:size] for part in batch), criterion=criterion)
                self.scaler.scale(loss).backward()
        self.optimizer.zero_grad(set_to_none=True)
        self.net.load_state_dict(kept)
        return time.perf_counter() - start

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
        # The settings that were typed for this part of the run hold, not those of the part before.
        settings = [
            {k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, typed in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(typed)
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.average.module.load_state_dict(averaged_weights)
        self.average.n_averaged.fill_(state["averaged"])


def make_optimizer(
    name: str, lr: float, weight_decay: float, momentum: float, device: torch.device
) -> Callable:
    """A function from parameter groups to the optimizer `adamw`, `adam` or `sgd` (with Nesterov's momentum)."""
    # One kernel for all weights where there is one, else one for each operation.
    options = {"lr": lr, "weight_decay": weight_decay, "foreach" if device.type == "mps" else "fused": True}
    if name == "sgd":
        return partial(torch.optim.SGD, momentum=momentum, nesterov=momentum > 0, **options)
    return partial(torch.optim.Adam if name == "adam" else torch.optim.AdamW, **options)


def average_decay(count: int, total_steps: float) -> float:
    """Of an exponential average over a twentieth of the steps (10 to 1000), and over fewer while `count` is small."""
    memory = min(max(total_steps / 20, 10), 1000)
    return min(1 - 1 / memory, (1 + count) / (10 + count))


class Epoch(NamedTuple):
    """loss: mean over the steps; seconds: of it all; waited: those spent waiting for data while the device was idle."""

    loss: float
    crops: int
    seconds: float
    waited: float


def train_one_epoch(
    trainer: Trainer, loader: Iterable[tuple[Tensor, ...]], criterion: Callable[..., Tensor], first_step: int
) -> Epoch:
    """Train on every batch of `loader` (see `Trainer.step`).

    first_step: number of optimizer steps before this epoch. Raises UserError when the loss is no number any more.
    """
    trainer.net.train()
    losses, crops, waited = [], 0, 0.0
    start = asked = time.perf_counter()
    for step, batch in enumerate(loader, first_step):
        waited += time.perf_counter() - asked if trainer.precision.is_idle() else 0.0
        losses.append(trainer.step(step, *batch, criterion=criterion))
        crops += len(batch[0])
        asked = time.perf_counter()
    mean = torch.stack(losses).mean().item()
    if not math.isfinite(mean):
        raise UserError(
            "train-one-epoch",
            "training",
            f"a loss that is no finite number ({mean})",
            "a finite loss",
            "lower the rate (--lr), or try --precision fp32",
        )
    return Epoch(mean, crops, time.perf_counter() - start, waited)


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
        masks = to_device(masks, device)
        logits = predict_logits(images)
        total += criterion(logits, masks) * masks.numel()
        pixels += masks.numel()
        matrix.update(masks, logits.argmax(1))
    return (total / max(pixels, 1)).item(), matrix.scores()
