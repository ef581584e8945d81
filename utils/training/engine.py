"""One step, one epoch of training, and one evaluation."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from utils.core.console import UserError
from utils.core.device import Precision
from utils.core.heap import keep_freed_memory
from utils.core.processes import gather, this_process
from utils.core.signals import StopRequest
from utils.images.normalisation import to_device
from utils.models.compiling import compiled, compiler_errors
from utils.scoring.confusion import ConfusionMatrix, Scores
from utils.training.keeping import GROUPS, scores_of_groups
from utils.training.losses import Totals, deep_loss
from utils.training.muon import Muon
from utils.training.parts import (
    add_up,
    average_statistics,
    backward_in_parts,
    process_count,
    share_gradients,
    split_batch,
)
from utils.training.schedule import Schedule
from utils.training.state import fit_optimizer, regroup
from utils.training.teaching import Teaching, teach
from utils.training.unlabelled import Views

# Logits (N, K, h, w), masks (N, H, W) uint8 and perhaps border weights (N, H, W) → the loss, a scalar.
Criterion = Callable[..., Tensor]
Network = Callable[[Tensor], Tensor]  # pictures (N, C, H, W) → logits
# Pictures, masks, perhaps border weights and crops without annotation, see `Trainer.step`.
Batches = Iterable[Sequence[Tensor | Views]]


@dataclass(eq=False)
class Trainer:
    """A network and all that changes while it is trained: optimizer, gradient scaler, averaged weights.

    average: exponential mean of the weights and batch-norm statistics over about the last twentieth of the
    run, fewer at its beginning. Validation and best.pth use it.
    """

    net: nn.Module
    optimizer: torch.optim.Optimizer  # each group has a `factor` on the learning rate
    schedule: Schedule
    normalise: Callable[[Tensor], Tensor]
    precision: Precision
    save_memory: bool = False  # freed memory goes back to the system
    accumulate: int = 1  # parts of a batch, one after another
    seed: int = 0
    taught: bool = False  # pictures without annotation teach, too
    losses: list[Tensor] = field(default_factory=list)  # of the steps of the epoch under way
    began: int | None = None  # the first step of that epoch
    divisor: int | None = None  # of the size of its crops, see `Schedule`
    spent: float = 0.0  # seconds that earlier parts of the run took for it
    started: float = 0.0  # when this part began with it (`time.perf_counter`)
    sought: tuple[int, ...] = ()  # classes that the last validation did not find, see `EpochBatches`
    stop: StopRequest = field(default_factory=StopRequest)

    def __post_init__(self) -> None:
        self.scaler = self.precision.scaler()
        self.average = AveragedModel(self.net)
        self.teaching = Teaching() if self.taught else None
        if process_count() > 1 and self.precision.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(self.net)
        self.forward: Callable[[Tensor], Any] = share_gradients(self.net)

    def step(self, step: int, batch: Sequence[Tensor | Views], criterion: Criterion) -> Tensor:
        """One optimizer step on pictures (N, C, H, W), masks (N, H, W) uint8, maybe border weights (N, H, W).

        Crops without annotation may follow. step: 0, 1, …, from which the learning rate follows. Returns the
        loss, a scalar on the device, without theirs; with several processes, each has a part of the batch,
        and their losses add up to that of the batch.
        """
        # Dropout of a step is the same wherever the run was interrupted before; each process has its own.
        torch.manual_seed(self.seed + step + (this_process()[0] << 32))
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.lr(step) * group["factor"]
        *batch, views = batch if isinstance(batch[-1], Views) else (*batch, None)
        loss = self._backward(batch, criterion)
        if views and (weight := self.teaching.weight(self.schedule.progress(step))):
            self.teaching.add(teach(self, views, weight))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        # Here, so that no gradients lie beside the maps of the next forward pass.
        self.optimizer.zero_grad(set_to_none=True)
        average_statistics(self.net)
        self._update_average()
        return loss

    def freeze_encoder(self, frozen: bool) -> None:
        if frozen is not self.net.encoder_frozen:
            self.net.freeze_encoder(frozen)
            if process_count() > 1:
                self.forward = self.net
                self.forward = share_gradients(self.net)

    def _backward(self, batch: Sequence[Tensor], criterion: Criterion) -> Tensor:
        """The gradients. Returns the loss without them."""
        if self.accumulate == process_count() == 1:
            loss = self._loss(batch, criterion)
            self.scaler.scale(loss).backward()
            return loss.detach()

        def loss_of(part: Sequence[Tensor], totals: Totals) -> Tensor:
            return self._loss(part, partial(criterion, totals=totals))

        parts = split_batch(batch, self.accumulate)
        return backward_in_parts(self.forward, parts, loss_of, self.scaler.scale, self.precision.device)

    def _loss(self, batch: Sequence[Tensor], criterion: Criterion) -> Tensor:
        images, *targets = (to_device(part, self.precision.device) for part in batch)
        images = self.normalise(images).contiguous(memory_format=self.precision.memory_format)
        with self.precision.autocast():
            outputs = self.forward(images)
        if isinstance(outputs, Tensor):
            return criterion(outputs, *targets)
        return deep_loss(criterion, outputs, *targets)

    def _update_average(self) -> None:
        count = int(self.average.n_averaged)
        decay = average_decay(count, self.schedule.total_steps(count + 1)) if count else 0.0
        update_average(self.average, self.net, decay)

    def compile(self, sizes: Iterable[int], batch: Sequence[Tensor], criterion: Criterion) -> float:
        """Compile the network, frozen or not, for batches of each size with the pictures of `batch`: seconds.

        Weights and statistics stay. Raises UserError without a compiler.
        """
        start, kept = time.perf_counter(), copy.deepcopy(self.net.state_dict())
        if self.forward is self.net:
            self.forward = compiled(self.net, self.precision.device)
        self.net.train()
        with compiler_errors():
            for size in sizes:
                self.scaler.scale(self._loss([part[:size] for part in batch], criterion)).backward()
        self.optimizer.zero_grad(set_to_none=True)
        self.net.load_state_dict(kept)
        return time.perf_counter() - start

    @property
    def progress(self) -> float:
        """Share of the run that is over after the last step of the epoch under way."""
        return self.schedule.progress(self.began + len(self.losses) - 1)

    @property
    def seconds(self) -> float:
        """Of the epoch under way so far, in all parts of the run."""
        return self.spent + time.perf_counter() - self.started

    def begin(self, first_step: int, divisor: int) -> None:
        """Begin an epoch with step `first_step` of the run; divisor: of the size of its crops."""
        self.losses, self.began, self.divisor, self.spent = [], first_step, divisor, 0.0

    def gather_losses(self) -> Tensor:
        """Those of the whole batches, which the first process keeps from now on, and the others zeros."""
        losses = add_up(torch.stack(self.losses))
        self.losses = list(losses * (this_process()[0] == 0))
        return losses

    def state(self) -> dict[str, Any]:
        """All of it but the averaged weights, as tensors and plain values."""
        return {
            "model": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "averaged": int(self.average.n_averaged),
            "losses": torch.stack(self.losses).float().cpu() if self.losses else None,
            "began": self.began,
            "divisor": self.divisor,
            "spent": self.seconds if self.losses else 0.0,
            "sought": list(self.sought),
            **({"teaching": self.teaching.state()} if self.teaching else {}),
        }

    def load_state(self, state: dict[str, Any], averaged_weights: dict[str, Tensor]) -> None:
        """Raises ValueError for an optimizer's state that does not fit; see `utils.training.state`, too."""
        self.net.load_state_dict(state["model"])
        # The settings of this part of the run hold (rate, weight decay, …), not those of the part before.
        saved = regroup(state["optimizer"], self.optimizer, self.net)
        self.optimizer.load_state_dict(fit_optimizer(saved, self.optimizer))
        losses = state.get("losses")
        # Those of the file are of all processes together.
        own = this_process()[0] == 0
        self.losses = [] if losses is None else list(own * losses.to(self.precision.device))
        self.began, self.divisor = state.get("began"), state.get("divisor")
        # After the end of an epoch its time is in the history.
        self.spent = state.get("spent", 0.0) if self.losses else 0.0
        self.sought = tuple(state.get("sought", ()))
        if self.teaching and state.get("teaching"):
            self.teaching = Teaching(**state["teaching"])
        if state["scaler"]:  # empty in float32 and bfloat16
            self.scaler.load_state_dict(state["scaler"])
        self.average.module.load_state_dict(averaged_weights)
        self.average.n_averaged.fill_(state["averaged"])


def parameter_groups(net: nn.Module, encoder_factor: float) -> list[dict[str, Any]]:
    """The encoder's parameters, whose learning rate is multiplied by the factor, and the others.

    Norms and biases, which have one dimension, are not decayed: that would only shift what they balance.
    """
    encoder = list(net.encoder.parameters())
    known = set(map(id, encoder))
    others = [parameter for parameter in net.parameters() if id(parameter) not in known]
    groups = []
    for params, factor in ((encoder, encoder_factor), (others, 1.0)):
        groups.append({"params": [one for one in params if one.ndim > 1], "factor": factor})
        vectors = [one for one in params if one.ndim <= 1]
        groups.append({"params": vectors, "factor": factor, "weight_decay": 0.0})
    return groups


def make_optimizer(
    name: str, groups: list[dict], lr: float, weight_decay: float, momentum: float, device: torch.device
) -> torch.optim.Optimizer:
    """`muon`, `adamw`, `adam` or `sgd` (with Nesterov's momentum) on these parameter groups."""
    if name == "muon":
        return Muon(groups, lr, weight_decay)
    # One kernel for all weights where there is one, else one for each operation.
    options = {"lr": lr, "weight_decay": weight_decay, "foreach" if device.type == "mps" else "fused": True}
    if name == "sgd":
        return torch.optim.SGD(groups, momentum=momentum, nesterov=momentum > 0, **options)
    return (torch.optim.Adam if name == "adam" else torch.optim.AdamW)(groups, **options)


@torch.no_grad()
def update_average(average: AveragedModel, net: nn.Module, decay: float) -> None:
    """What `AveragedModel.update_parameters` does, but never waiting for a GPU. decay: what stays, 0 … 1."""
    means = [*average.module.parameters(), *average.module.buffers()]
    values = [*net.parameters(), *net.buffers()]
    floats = [pair for pair in zip(means, values, strict=True) if pair[0].is_floating_point()]
    get_ema_multi_avg_fn(decay)([mean for mean, _ in floats], [value for _, value in floats], None)
    average.n_averaged += 1


def average_decay(count: int, total_steps: float) -> float:
    """Of an exponential average over a twentieth of the steps (10 to 1000), fewer while `count` is small."""
    memory = min(max(total_steps / 20, 10), 1000)
    return min(1 - 1 / memory, (1 + count) / (10 + count))


def measure_speed(net: nn.Module, precision: Precision, channels: int) -> float:
    """Pixels per second of training, from one step on noise after one that warms up. The network stays.

    Of all processes together, as fast as the slowest.
    """
    size = 256 + 2 * net.margin
    images = torch.rand(2, channels, size, size, device=precision.device)
    # A copy: a step changes the statistics of batch norm.
    net = copy.deepcopy(net).train()
    net.to(precision.device, memory_format=precision.memory_format)
    for _ in range(2):
        start = time.perf_counter()
        with precision.autocast():
            outputs = net(images.contiguous(memory_format=precision.memory_format))
        parts = [outputs] if isinstance(outputs, Tensor) else outputs
        sum(part.float().logsumexp(1).mean() for part in parts).backward()
        if precision.device.type == "cuda":
            torch.cuda.synchronize(precision.device)
        seconds = time.perf_counter() - start
    return process_count() * 2 * 256 * 256 / max(gather(seconds))


class Epoch(NamedTuple):
    """loss: mean over the steps; waited: seconds spent waiting for data while the device was idle."""

    loss: float
    crops: int
    seconds: float
    waited: float


def train_one_epoch(trainer: Trainer, loader: Batches, criterion: Criterion, first_step: int) -> Epoch:
    """Train on the batches of an epoch that begins with step `first_step` of the run.

    Steps that an earlier part of the run did have their losses in `trainer.losses`, which grows. Raises
    UserError for an infinite loss.
    """
    trainer.net.train()
    if trainer.began != first_step:
        trainer.begin(first_step, divisor=1)
    losses, crops, waited = trainer.losses, 0, 0.0
    start = asked = time.perf_counter()
    for step, batch in enumerate(loader, first_step + len(losses)):
        waited += time.perf_counter() - asked if trainer.precision.is_idle() else 0.0
        losses.append(trainer.step(step, batch, criterion))
        crops += len(batch[0])
        if not trainer.save_memory:
            keep_freed_memory()  # has an effect once, after the first step; its docstring says why then
        asked = time.perf_counter()
    known = trainer.gather_losses()
    # A gradient scaler skips steps that overflow.
    mean = (known[known.isfinite()] if trainer.scaler.is_enabled() else known).mean().item()
    crops = add_up(torch.tensor(crops)).item()
    if not math.isfinite(mean):
        remedy = "lower the learning rate (--lr), or try --precision fp32"
        raise UserError("loss-not-finite", "training", f"a loss of {mean}", "a finite loss", remedy)
    return Epoch(mean, crops, time.perf_counter() - start, waited)


@torch.inference_mode()
def evaluate(
    network: Network, loader: Batches, criterion: Criterion, num_classes: int, device: torch.device
) -> tuple[float, Scores]:
    """Mean loss per pixel and the scores of a split, of which each process may have some batches.

    The scores have GROUPS groups of pictures, fewer of fewer pictures.

    network: its logits are (N, K, H, W) on `device`.
    """
    matrices = [ConfusionMatrix(num_classes, device) for _ in range(GROUPS)]
    total, pixels = torch.zeros((), device=device), 0
    number, processes = this_process()
    for images, masks in loader:
        masks = to_device(masks, device)
        logits = network(images)
        total += criterion(logits, masks) * masks.numel()
        pixels += masks.numel()
        for truth, found in zip(masks, logits.argmax(1), strict=True):
            matrices[number % GROUPS].update(truth, found)
            number += processes
    counts = add_up(torch.stack([matrix.counts for matrix in matrices]))
    total, pixels = add_up(torch.stack([total, total.new_tensor(pixels)])).tolist()
    return total / max(pixels, 1), scores_of_groups(counts.cpu().numpy())
