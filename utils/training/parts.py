"""A batch in parts, one after another (--accumulate) or in several processes (torchrun): the same update.

The losses of parts do not add up to that of the batch: cross-entropy is a weighted mean, and the Dice a ratio
of sums over the batch. So the sums come first, then the gradients, see `utils.training.losses.criterion`. Of
n parts, n − 1 run forward twice. Between processes a few numbers are exchanged; nothing runs twice.
"""

import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from utils.training.losses import Totals

Part = Sequence[Tensor]  # pictures, masks and perhaps border weights
BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


class BatchSums:
    """What a criterion sums over the parts of a batch; one tensor for each of its calls per part.

    With deep supervision a criterion is called several times.
    """

    def __init__(self):
        self.calls: list[Tensor] = []

    def adding(self) -> Totals:
        """For all parts but one. The loss is of no use then."""
        numbers = count()
        return lambda own: self._add(next(numbers), own)

    def closing(self) -> Totals:
        """For the one after these: the sums of the batch in all processes."""
        numbers = count()
        return lambda own: add_up(self._add(next(numbers), own))

    def recalling(self) -> Totals:
        """For the first parts again."""
        numbers = count()
        return lambda own: self.calls[next(numbers)]

    def _add(self, number: int, own: Tensor) -> Tensor:
        if number == len(self.calls):
            self.calls.append(own.clone())
        else:
            self.calls[number] += own
        return self.calls[number]


def backward_in_parts(
    net: nn.Module,
    parts: Sequence[Part],
    loss_of: Callable[[Part, Totals], Tensor],
    scaled: Callable[[Tensor], Tensor],
    device: torch.device,
) -> Tensor:
    """Gradients of the whole batch from this process's `parts` of it. Returns its share of the loss.

    net: DistributedDataParallel where there are several processes. scaled: multiplies the loss, for float16.
    """
    processes = process_count()
    sums, (*first, last), states = BatchSums(), parts, []
    with torch.no_grad(), kept_statistics(net):
        for part in first:
            states.append(random_state(device))
            loss_of(part, sums.adding())

    def run(part: Part, totals: Totals, is_last: bool) -> Tensor:
        # Gradients are exchanged once. DistributedDataParallel takes their mean, but parts add up.
        with nullcontext() if processes == 1 or is_last else net.no_sync():
            loss = loss_of(part, totals)
            scaled(loss * processes).backward()
        return loss.detach()

    total, after = run(last, sums.closing(), is_last=not first), random_state(device)
    for number, (part, state) in enumerate(zip(first, states, strict=True), 1):
        set_random_state(state, device)  # the same dropout as in the first pass
        total = total + run(part, sums.recalling(), is_last=number == len(first))
    set_random_state(after, device)
    return total


def split_batch(batch: Part, parts: int) -> list[Part]:
    """As many parts as there are crops at most, as even as possible."""
    number = min(parts, len(batch[0]))
    return list(zip(*(tensor.tensor_split(number) for tensor in batch), strict=True))


def random_state(device: torch.device) -> tuple[Tensor, ...]:
    states = (torch.get_rng_state(),)
    return (*states, torch.cuda.get_rng_state(device)) if device.type == "cuda" else states


def set_random_state(states: tuple[Tensor, ...], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


@contextmanager
def kept_statistics(net: nn.Module) -> Iterator[None]:
    """Batch norm leaves its running statistics as they are."""
    layers = [layer for layer in net.modules() if isinstance(layer, BATCH_NORMS)]
    momenta = [layer.momentum for layer in layers]
    counts = [layer.num_batches_tracked.clone() for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum, count in zip(layers, momenta, counts, strict=True):
            layer.momentum = momentum
            layer.num_batches_tracked.copy_(count)


def process_count() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def add_up(own: Tensor) -> Tensor:
    """The tensor becomes the sum over all processes."""
    if process_count() > 1:
        dist.all_reduce(own)
    return own


def any_process(flag: object) -> bool:
    """Whether it is true in one of the processes."""
    return bool(add_up(torch.tensor(int(bool(flag)))))


def share_gradients(net: nn.Module) -> nn.Module:
    """The network whose gradients are those of all processes; itself where there is one process.

    To be called again when other weights of the network are frozen. What it returned before has to be
    dropped first, or both would exchange gradients.
    """
    if process_count() == 1:
        return net
    gc.collect()
    with warnings.catch_warnings():
        # Newer releases advise another name, which older ones do not have.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        return DistributedDataParallel(net, broadcast_buffers=False, gradient_as_bucket_view=True)


def average_statistics(net: nn.Module) -> None:
    """Batch norm's running statistics become the mean over the processes.

    On a GPU each step has the statistics of the whole batch (SyncBatchNorm), which there is not for a CPU.
    """
    layers = [layer for layer in net.modules() if type(layer) is nn.BatchNorm2d]
    if process_count() == 1 or not layers:
        return
    statistics = [value for layer in layers for value in (layer.running_mean, layer.running_var)]
    means = add_up(torch.cat(statistics)) / process_count()
    for value, mean in zip(statistics, means.split([len(value) for value in statistics]), strict=True):
        value.copy_(mean)
