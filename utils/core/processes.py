"""Sharing work among the processes that torchrun starts."""

import atexit
import os
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

Value = TypeVar("Value")


def this_process() -> tuple[int, int]:
    """(rank, number of processes) as torchrun sets them in the environment; (0, 1) without it."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def device_of_process(name: str) -> str:
    """A GPU of its own for each process; `auto` alone would put all of them on the first."""
    cards = torch.cuda.device_count() if name == "auto" and this_process()[1] > 1 else 0
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % cards}" if cards else name


def gather(value: Value) -> list[Value]:
    """The values of all processes in order of rank, on each of them. Blocks until all have called it."""
    _, count = this_process()
    if count == 1:
        return [value]
    if not dist.is_initialized():
        # One process may finish long before another.
        dist.init_process_group("gloo", timeout=timedelta(days=7))
        # Its threads must end before the interpreter does, or the process aborts now and then.
        atexit.register(dist.destroy_process_group)
    values: list = [None] * count
    dist.all_gather_object(values, value)
    return values
