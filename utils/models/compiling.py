"""torch.compile as train.py and predict.py use it."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from utils.core.console import UserError, note
from utils.models.checkpoint import first_line


def compiled(net: nn.Module, device: torch.device) -> Callable[[Tensor], Any]:
    """The network through torch.compile, which compiles for each size of batch when it first sees it."""
    # Graphs of whole steps launch no kernels one by one, the bottleneck of a GPU on small pictures.
    return torch.compile(net, mode="reduce-overhead" if device.type == "cuda" else "default", dynamic=False)


@contextmanager
def compiler_errors() -> Iterator[None]:
    """Raises UserError, with its cause, where torch.compile fails, as it does without a C++ compiler."""
    try:
        yield
    except RuntimeError as error:
        if not is_compiler_error(error):
            raise
        fatal = re.search("^.*fatal error.*", str(error), re.MULTILINE)
        cause = fatal[0].strip()[:120] if fatal else first_line(error)
        found = f"torch.compile cannot compile here ({cause})"
        expected = "a C++ compiler (on Windows cl.exe of the Build Tools), Python's headers, for a GPU Triton"
        remedy = "install what is missing (on Debian and Ubuntu g++ and python3-dev), or leave --compile out"
        raise UserError("compiler-fails", "--compile", found, expected, remedy) from None


def is_compiler_error(error: Exception) -> bool:
    """Whether torch.compile raised it. PyTorch has no public class for that.

    Where its private one is gone nothing counts as such, and the error keeps its traceback.
    """
    private = getattr(getattr(torch, "_dynamo", None), "exc", None)
    return isinstance(error, getattr(private, "TorchDynamoException", ()))


def compiled_by_size(
    net: nn.Module, device: torch.device, after: int, limit: int
) -> Callable[[Tensor], Tensor]:
    """The network for prediction, compiled for each size of batch that has come more than `after` times.

    At most `limit` sizes are compiled. A note reports each, with the seconds that it took.
    """
    model, times, sizes = compiled(net, device), Counter(), set()

    def run(batch: Tensor) -> Tensor:
        if batch.shape not in sizes:
            times[batch.shape] += 1
            if times[batch.shape] <= after or len(sizes) == limit:
                return net(batch)
            start = time.perf_counter()
            note(f"compiling for {batch.shape[-2]}×{batch.shape[-1]} pixels, which takes seconds to minutes")
            with compiler_errors():
                model(batch)
            sizes.add(batch.shape)
            last = f". {limit} sizes are compiled now, others run as they are" if len(sizes) == limit else ""
            note(f"compiled in {time.perf_counter() - start:.1f} s{last}")
        # A CUDA graph would write its next output over this one.
        return model(batch).clone()

    return run
