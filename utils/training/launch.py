"""A run in several processes: one writes, the others follow, and torchrun may start them all again."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from utils.core.console import UserError, counted, note
from utils.core.processes import shared_store, this_process
from utils.core.signals import stop_requested
from utils.training.engine import Trainer
from utils.training.parts import add_up
from utils.training.run_folder import Run
from utils.training.start import Start
from utils.training.watching import Stopped

FOLDER = "run folder"  # the key under which torchrun's store keeps it


@dataclass
class Follower:
    """Stands for the run and its pictures in all processes but the first, which alone writes files."""

    done: int  # epochs of earlier parts of the run
    seconds: float = 0.0
    reserve: float = 0.0

    @property
    def run(self) -> "Follower":
        return self

    def record(self, *_: object) -> None:
        pass

    def save_rest(self, *_: object) -> None:
        pass

    def draw_if_due(self) -> None:
        pass

    def draw_taught(self, *_: object) -> None:
        pass


def open_in_first(open_run: Callable[[], Run], start: Start, trainer: Trainer) -> Run | Follower:
    """The run, which the first process opens. Each has the state of the trainer that it goes on from."""
    if this_process()[0] == 0:
        run = open_run()
        if store := torchrun_store():
            store.set(FOLDER, str(run.folder.resolve()))
        return run
    if not start.last:
        return Follower(0)
    trainer.load_state(start.last.training, start.last.model)
    return Follower(start.last.training["epoch"])


@contextmanager
def ending_with_first(trainer: Trainer) -> Iterator[None]:
    """A signal to end is noted. The first process then saves, and this one waits for its end."""
    with stop_requested("the first process saves") as trainer.stop:
        try:
            yield
        except Stopped:
            add_up(torch.zeros(1))  # fails when the first process has ended
            raise


def find_interrupted() -> Path | None:
    """The last.pth of the run that torchrun starts again after a failure; None at its first start."""
    store = torchrun_store()
    if not store or not store.check([FOLDER]):
        return None
    folder = Path(store.get(FOLDER).decode())
    note(f"started again by torchrun: the run goes on in {folder}")
    return folder / "last.pth"


def torchrun_store() -> dist.Store | None:
    """What torchrun keeps when it starts processes again; None without it."""
    return shared_store() if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" else None


def check_parts(batch_size: int | str | None, accumulate: int, compiled: bool) -> None:
    """Raises UserError for a batch that cannot be shared."""
    _, processes = this_process()
    if compiled and processes > 1:
        raise UserError("settings-conflict", "--compile", "torchrun", "one process", "leave --compile out")
    least = processes * accumulate
    if isinstance(batch_size, int) and batch_size < least:
        found = f"{counted(batch_size, 'crop')} per step, of all processes together"
        expected = f"{least} or more, one for each part ({processes} × {accumulate})"
        raise UserError("batch-too-small", f"--batch-size {batch_size}", found, expected, "raise it")
