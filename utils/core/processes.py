"""Sharing work among the processes that torchrun starts."""

import atexit
import os
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

Value = TypeVar("Value")


def this_process() -> tuple[int, int]:
    """(number of this process, how many there are) as torchrun says them in the environment; (0, 1) without it."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def device_of_process(name: str) -> str:
    """A graphics card for each process, where `auto` would give all of them the first."""
    cards = torch.cuda.device_count() if name == "auto" and this_process()[1] > 1 else 0
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % cards}" if cards else name


def gather(value: Value) -> list[Value]:
    """The values of all processes in their order, on each of them; waits until all have come here."""
    _, count = this_process()
    if count == 1:
        return [value]
    if not dist.is_initialized():
        # A process may be done long before another.
        dist.init_process_group("gloo", timeout=timedelta(days=7))
        # Its threads must end before the interpreter does, or the process is aborted now and then.
        atexit.register(dist.destroy_process_group)
    values: list = [None] * count
    dist.all_gather_object(values, value)
    return values
