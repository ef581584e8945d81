"""What ends an epoch early: a signal, or numbers that went wrong."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from utils.core.console import UserError
from utils.core.processes import this_process
from utils.training.engine import Trainer
from utils.training.parts import any_process

CHECK_EVERY = 50  # steps on a GPU, which would have to be waited for at each
TOLERATED = 10  # steps in a row with a gradient scaler, which skips those that overflow and lowers its scale
HELP = (
    "a lower rate often helps (--lr), or --precision fp32; look at these pictures and their masks. "
    "The checkpoints are those of an earlier, good epoch"
)


class Stopped(Exception):
    """A signal asked to end; the step under way is finished."""


def watch(trainer: Trainer, loader: Any) -> Iterator:
    """The batches of training. Raises Stopped after a signal, UserError for a loss that is not finite."""
    batches = loader.batch_sampler
    for number, batch in enumerate(loader, start=batches.first + 1):
        # A signal reaches processes at different times, but all have to end after the same step.
        if any_process(trainer.stop):
            check_losses(trainer, loader)  # before they are saved
            if trainer.losses:
                trainer.gather_losses()
            raise Stopped
        yield batch
        if trainer.precision.device.type == "cpu" or number % CHECK_EVERY == 0 or number == len(batches):
            check_losses(trainer, loader)


def until_stopped(trainer: Trainer, loader: Iterable) -> Iterator:
    """The batches of validation. Raises Stopped after a signal, in the first process, which saves."""
    for batch in loader:
        if trainer.stop and this_process()[0] == 0:
            raise Stopped
        yield batch


def check_losses(trainer: Trainer, loader: Any) -> None:
    """Raises UserError, with the names of the pictures of the step, for a loss that is not finite."""
    first = max(len(trainer.losses) - CHECK_EVERY - TOLERATED, 0)
    losses = torch.stack(trainer.losses[first:] or [torch.zeros(())])
    allowed, in_a_row = TOLERATED if trainer.scaler.is_enabled() else 0, 0
    for place, finite in enumerate(losses.isfinite().tolist(), start=first):
        in_a_row = 0 if finite else in_a_row + 1
        if in_a_row > allowed:
            names = ", ".join(pictures_of_batch(loader, place))
            found = f"a loss of {trainer.losses[place].item()} on {names}"
            raise UserError("loss-not-finite", f"step {place + 1} of the epoch", found, "a finite loss", HELP)


def pictures_of_batch(loader: Any, number: int) -> list[str]:
    """Names of the pictures of batch 0, 1, … of the epoch."""
    batches = loader.batch_sampler
    return [loader.dataset.name_of(key) for key in list(batches)[number - batches.first]]


def refuse_infinite_weights(trainer: Trainer) -> None:
    """Raises UserError before weights, averages or moments that are not finite are saved."""
    states = [trainer.net.state_dict(), trainer.average.module.state_dict()]
    states += trainer.optimizer.state_dict()["state"].values()  # what no run could be resumed from
    numbers = [(name, value) for state in states for name, value in state.items() if value is not None]
    # Asked of a GPU one after the other, each would be waited for.
    finite = torch.stack([value.isfinite().all().to(trainer.precision.device) for _, value in numbers])
    wrong = [name for (name, _), good in zip(numbers, finite.tolist(), strict=True) if not good]
    if wrong:
        found = f"weights that are not finite, such as {wrong[0]}"
        remedy = "a lower rate often helps (--lr), or --precision fp32"
        raise UserError("weights-not-finite", "training", found, "finite weights; nothing was saved", remedy)
