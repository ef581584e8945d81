"""Whether a step of training fits into memory, and the largest that does: found by trying."""

import gc
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from utils.core.console import UserError, counted, memory_error, note
from utils.core.device import Precision
from utils.core.heap import trim_heap
from utils.core.memory import available_memory, bounded_memory
from utils.core.processes import gather, this_process
from utils.training.losses import deep_loss
from utils.training.parts import kept_statistics, random_state, set_random_state

# Numbers that training keeps of each weight: its average, and those of the optimizer.
COPIES = {"muon": 2, "adamw": 3, "adam": 3, "sgd": 2}


@dataclass(eq=False)
class Trial:
    """Steps of a network before its training. Weights, statistics and random numbers stay.

    copies: of the weights, that training keeps. border: whether the loss has border weights.
    """

    net: nn.Module
    precision: Precision
    criterion: Callable[..., Tensor]
    channels: int
    copies: int
    border: bool = False

    def fits(self, crops: int, size: tuple[int, int]) -> bool:
        """Whether all processes have memory for one step on that many crops of (height, width) at once."""
        device, fits = self.precision.device, True
        state = random_state(device)
        try:
            with kept_statistics(self.net):
                self._try(crops, size)
        except (MemoryError, RuntimeError) as error:
            # oneDNN, which convolves on a CPU, says no more than this when it gets no memory.
            if memory_error(error) is None and not re.match("could not (create|execute) a", str(error)):
                raise
            fits = False
        self.net.zero_grad(set_to_none=True)
        set_random_state(state, device)
        gc.collect()
        trim_heap()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return all(gather(fits))

    def _try(self, crops: int, size: tuple[int, int]) -> None:
        """A step. On a CPU in its own thread: oneDNN fails for good in one where it was refused memory."""
        if self.precision.device.type != "cpu":
            self._step(crops, size)
            return
        with ThreadPoolExecutor(1) as thread:
            thread.submit(self._bounded_step, crops, size).result()

    def _bounded_step(self, crops: int, size: tuple[int, int]) -> None:
        # What libraries take once is no part of a step.
        self._step(1, (2 * self.net.stride,) * 2)
        self.net.zero_grad(set_to_none=True)
        with bounded_memory(available_memory()):
            self._step(crops, size)

    def _step(self, crops: int, size: tuple[int, int]) -> None:
        device, layout = self.precision.device, self.precision.memory_format
        height, width = (side + 2 * self.net.margin for side in size)
        self.net.to(device, memory_format=layout).train()
        # Gradients of several processes are exchanged in a copy.
        copies = self.copies + (this_process()[1] > 1)
        kept = [torch.empty_like(weight) for weight in self.net.parameters() for _ in range(copies)]
        images = torch.zeros(crops, self.channels, height, width, device=device)
        masks = torch.zeros(crops, height, width, dtype=torch.uint8, device=device)
        targets = [masks, masks.float()] if self.border else [masks]
        with self.precision.autocast():
            outputs = self.net(images.contiguous(memory_format=layout))
        if isinstance(outputs, Tensor):
            self.criterion(outputs, *targets).backward()
        else:
            deep_loss(self.criterion, outputs, *targets).backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        del kept

    def fit_batch(self, batch_size: int, size: tuple[int, int], accumulate: int, lower: bool) -> int:
        """The batch size, or the largest that fits if it does not and `lower`.

        Raises UserError if it does not fit, with the largest batch and the largest crop that do. A batch is
        shared by all processes, and computed in `accumulate` parts.
        """
        parts = this_process()[1] * accumulate
        crops = -(-batch_size // parts)
        if self.fits(crops, size):
            return batch_size
        most = largest(lambda number: self.fits(number, size), crops)
        if lower and most:
            note(
                f"{counted(batch_size, 'crop')} per step do not fit into memory: --batch-size {most * parts}"
            )
            return most * parts
        stride, sides = self.net.stride, max(size) // self.net.stride

        def crop(number: int) -> tuple[int, int]:
            return tuple(max(-(-side * number // (sides * stride)), 2) * stride for side in size)

        side = largest(lambda number: self.fits(crops, crop(number)), sides)
        best = most, crop(side) if side else None
        raise too_large(batch_size, size, *best, parts, accumulate, self.net.encoder.recompute)


def largest(fits: Callable[[int], bool], below: int) -> int:
    """The largest number from 1 to `below` − 1 that fits; 0 if none does."""
    low = 0
    while below - low > 1:
        middle = (low + below) // 2
        low, below = (middle, below) if fits(middle) else (low, middle)
    return low


def too_large(
    batch_size: int,
    size: tuple[int, int],
    most: int,
    crop: tuple[int, int] | None,
    parts: int,
    accumulate: int,
    saves_memory: bool,
) -> UserError:
    """most: crops of `size` that fit in a part of a step; crop: the largest that fits at this batch size."""
    limits, flags = [], []
    if most:
        needed = -(-batch_size // (most * parts // accumulate))
        limits.append(f"{counted(most * parts, 'crop')} of this size")
        flags += [f"--batch-size {most * parts} or auto", f"--accumulate {needed} (same update, more time)"]
    if crop:
        limits.append(f"{counted(batch_size, 'crop')} of {crop[0]}×{crop[1]}")
        flags.append(f"--input-shape {crop[0]} {crop[1]}")
    found = f"a step of {counted(batch_size, 'crop')} of {size[0]}×{size[1]} does not fit into memory"
    expected = f"at most {', or '.join(limits)}" if limits else "more memory, or a smaller network"
    flags += [] if saves_memory else ["--save-memory"]
    remedy = ", ".join(flags) or "close other programs, or take a smaller network (--base-channels, --depth)"
    return UserError("step-too-large", "memory", found, expected, remedy)
