"""The processes that torchrun starts: what they tell each other, and how the failure of one is reported."""

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from utils.core.console import UserError

Value = TypeVar("Value")
# Of a process that says nothing. Long, because one may read a large data set while the others wait.
PATIENCE = timedelta(hours=2)
RUNS = count()


def this_process() -> tuple[int, int]:
    """(rank, number of processes) as torchrun sets them in the environment; (0, 1) without it."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def processes_here() -> int:
    """Processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def device_of_process(name: str) -> str:
    """A GPU of its own for each process; `auto` alone would put all of them on the first."""
    cards = torch.cuda.device_count() if name == "auto" and this_process()[1] > 1 else 0
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % cards}" if cards else name


def gather(value: Value) -> list[Value]:
    """The values of all processes in order of rank, on each of them. Blocks until all have called it."""
    _, number = this_process()
    if number == 1:
        return [value]
    if not dist.is_initialized():
        # One process may finish long before another.
        dist.init_process_group("gloo", timeout=timedelta(days=7))
        # Its threads must end before the interpreter does, or the process aborts now and then.
        atexit.register(dist.destroy_process_group)
    values: list = [None] * number
    dist.all_gather_object(values, value)
    return values


def from_first(make: Callable[[], Value]) -> Value:
    """What `make` returns in the first process, in all of them. It is called there alone."""
    rank, number = this_process()
    if number == 1:
        return make()
    box = [None if rank else make()]
    dist.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def joined_processes(device: torch.device) -> Iterator[None]:
    """The processes work together inside: NCCL between GPUs, Gloo between CPUs. One process needs nothing.

    Only the first writes to the console. When one fails, its message is the only one: the others, whose next
    exchange fails, end without a word. A process that was killed is reported by one that is left.
    """
    rank, number = this_process()
    if number == 1:
        yield
        return
    share_cores()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    # torchrun keeps its store when it starts the processes again, with all that the first ones wrote.
    # A program may train several runs, one after another.
    store = dist.PrefixStore(f"attempt {attempt}, run {next(RUNS)}", shared_store())
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE, store=store, rank=rank, world_size=number)
    try:
        with quiet(rank > 0):
            yield
    except BaseException as error:
        if not is_first_failure(store, rank):
            sys.exit(2)
        if is_lost_connection(error):
            raise lost_process() from error
        raise
    finally:
        dist.destroy_process_group()


def shared_store() -> dist.Store:
    """The keys and values that all processes share, and with torchrun those that it starts again later."""
    store, _, _ = next(dist.rendezvous("env://", timeout=PATIENCE))
    return store


def share_cores() -> None:
    """Each process computes with its share of the machine's cores, unless OMP_NUM_THREADS says otherwise.

    torchrun sets that to 1 where it is not set.
    """
    if os.environ.get("OMP_NUM_THREADS", "1") == "1":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(cores // processes_here(), 1))


@contextmanager
def quiet(silent: bool) -> Iterator[None]:
    """Nothing is printed inside, if `silent`."""
    if not silent:
        yield
        return
    nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    with nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def is_first_failure(store: dist.Store, rank: int) -> bool:
    """Whether no other process has failed before. True where the store is gone: nobody else may report."""
    try:
        return store.compare_set("failed", "", str(rank)) == str(rank).encode()
    except dist.DistError:
        return True


def is_lost_connection(error: BaseException) -> bool:
    """Whether another process has ended. Gloo has no type for it, and its messages differ by system."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def lost_process() -> UserError:
    rank, number = this_process()
    found = f"one of the {number} processes has ended, reported by process {rank}: killed, or out of memory"
    expected = "all of them, until the run is over"
    remedy = "see what torchrun says below; then continue with --resume, or let torchrun start again"
    return UserError("process-lost", "torchrun", found, expected, f"{remedy}: --max-restarts 3")
