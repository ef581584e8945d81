"""The phases of a run, its learning rate as a pure function of progress, and its clock."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, count, pairwise

from utils.core.console import counted

BATCHES = {1: 1, 2: 3, 4: 8}  # times as many crops per step, by the divisor of their size


@dataclass(frozen=True)
class Phase:
    """Epochs with one batch size and one highest learning rate; `frozen`: the encoder is held still."""

    epochs: int
    batch_size: int
    lr: float
    frozen: bool = False


@dataclass
class TimeBudget:
    """Seconds that a run may take, counted from `start` (`time.perf_counter`).

    agree: what is measured in this process → what all processes go by.
    """

    seconds: float
    start: float
    reserve: float = 0.0  # seconds to keep for what follows the last step, set as they become known
    agree: Callable[[float], float] = float
    at_end: float = 0.0  # seconds to keep for what is done once, after the last epoch

    def deduct(self, seconds: float) -> None:
        """Count seconds that an earlier part of the run took."""
        self.start -= seconds

    def progress(self) -> float:
        """Share of the training time that has passed, 0 … 1."""
        left = self.seconds - self.reserve - self.at_end
        passed = (time.perf_counter() - self.start) / max(left, 1e-9)
        return self.agree(min(passed, 1.0))


@dataclass(frozen=True)
class Schedule:
    """Phases in order; `crops`: crops per epoch, the same in all phases; `curve`: see `lr_factor`.

    With a budget the run ends by the clock: the last phase has as many epochs as there is time for, perhaps
    with a short last one, and the learning rate follows the time over all phases. validate_every: epochs.
    sizes: (share of the run, divisor): up to that share, crops are trained on at 1 / divisor of their size.
    """

    phases: Sequence[Phase]
    crops: int
    curve: str = "cosine"
    budget: TimeBudget | None = None
    validate_every: int = 1
    sizes: Sequence[tuple[float, int]] = ()

    def phase(self, epoch: int) -> Phase:
        """The phase that epoch 0, 1, … belongs to; the last one for epochs beyond the end."""
        for phase in self.phases:
            if epoch < phase.epochs:
                return phase
            epoch -= phase.epochs
        return self.phases[-1]

    def epochs(self, done: int) -> Iterator[int]:
        """Numbers of the epochs to do after the first `done`; with a budget, until the caller stops.

        None if the run is over: all epochs are done, or earlier parts used its time.
        """
        if self.budget:
            return iter(() if done and self.budget.progress() >= 1 else count(done))
        return iter(range(done, sum(phase.epochs for phase in self.phases)))

    def done(self, epoch: int) -> float:
        """Share of the run that is over when this epoch is about to begin."""
        return self.budget.progress() if self.budget else epoch / sum(phase.epochs for phase in self.phases)

    def progress(self, step: int) -> float:
        """Share of the run that is over after step 0, 1, …"""
        return self.budget.progress() if self.budget else (step + 1) / self.total_steps()

    def divisor(self, epoch: int) -> int:
        """Of the crops' size in this epoch, which is about to begin: 4, 2 or 1.

        Sizes that grow: fast.ai in DAWNBench (2018); as patches Fischer et al. 2025, arXiv 2510.23241.
        """
        done = self.done(epoch)
        return next((divisor for share, divisor in self.sizes if done < share), 1)

    def batch_size(self, epoch: int, divisor: int) -> int:
        """Crops per step of an epoch: more where crops are small."""
        return self.phase(epoch).batch_size * BATCHES[divisor]

    def is_over(self, epoch: int) -> bool:
        """Whether no epoch follows this one, now that it is trained."""
        if self.budget:
            return self.budget.progress() >= 1
        return epoch + 1 == sum(phase.epochs for phase in self.phases)

    def closes(self, epoch: int, reserve: float) -> bool:
        """Whether the run is over, now that this epoch is validated; reserve: seconds that this took."""
        if self.budget:
            self.budget.reserve = reserve
        return self.is_over(epoch)

    def validates(self, epoch: int) -> bool:
        """Whether the scores after this epoch are measured. Those after the last one always are."""
        every = self.validate_every * self.divisor(epoch) ** 2
        return (epoch + 1) % every == 0 or self.is_over(epoch)

    def in_time(self, batches: Iterable) -> Iterator:
        """The batches, or as many as there is time for, one at least."""
        for batch in batches:
            yield batch
            if self.budget and self.budget.progress() >= 1:
                return

    def steps(self, phase: Phase) -> int:
        """Optimizer steps of a phase; with a budget as if it were none."""
        return self._steps[self.phases.index(phase)]

    @cached_property
    def _steps(self) -> list[int]:
        unlimited, ends = replace(self, budget=None), [0, *accumulate(phase.epochs for phase in self.phases)]
        before = [unlimited.steps_before(end) for end in ends]
        return [end - start for start, end in pairwise(before)]

    def steps_of(self, epoch: int, divisor: int) -> int:
        """Optimizer steps of an epoch whose crops are of this size; with a budget at most."""
        return -(-self.crops // self.batch_size(epoch, divisor))

    def steps_before(self, epoch: int) -> int:
        """Optimizer steps of all epochs before `epoch`, in a run without a budget."""
        return sum(self.steps_of(before, self.divisor(before)) for before in range(epoch))

    def describe(self, phase: Phase) -> str:
        """Length of a phase in words, up to the number of crops."""
        length = counted(phase.epochs, "epoch")
        if self.budget and phase is self.phases[-1]:
            minutes = self.budget.seconds / 60
            length = f"{minutes:g} minute{'s' * (minutes != 1)} in epochs"
        steps = counted(-(-self.crops // phase.batch_size), "step")
        frozen = " with a frozen encoder" if phase.frozen else ""
        return f"{length} of {steps}{frozen}, {counted(phase.batch_size, 'crop')}"

    def describe_sizes(self) -> str:
        """When crops are small, in words."""
        parts = [f"up to {share:.0%} of the run at 1/{divisor} of the size" for share, divisor in self.sizes]
        return ", ".join([*parts, "then whole"]) if parts else "whole from the start on"

    def total_steps(self, done: int = 0) -> float:
        """Steps of the run; with a budget an estimate from the time that `done` of them took."""
        if self.budget:
            return done / max(self.budget.progress(), 1e-9)
        return sum(map(self.steps, self.phases))

    def lr(self, step: int) -> float:
        """Learning rate at step 0, 1, …: without a budget each phase warms up and anneals on its own."""
        for phase in self.phases:
            if step < self.steps(phase) or phase is self.phases[-1]:
                break
            step -= self.steps(phase)
        progress = self.budget.progress() if self.budget else (step + 1) / self.steps(phase)
        return phase.lr * lr_factor(progress, self.curve)


def lr_factor(progress: float, curve: str = "cosine") -> float:
    """Factor on the highest learning rate when `progress` (0 … 1) of the steps or of the time is over.

    cosine: linear warm-up over 5 %, then a cosine to 1/100 (Loshchilov and Hutter 2017, SGDR, equation 5, one
    cycle). one_cycle: a cosine from 1/25 up over 30 % and down to 1/10,000 (Smith and Topin 2018). step: the
    warm-up of cosine, then 1, after 60 % of the rest 1/10, after 85 % 1/100.
    """
    warm_up = 0.3 if curve == "one_cycle" else 0.05
    if progress < warm_up:
        rise = progress / warm_up
        return 0.04 + 0.96 * half_cosine(1 - rise) if curve == "one_cycle" else rise
    fall = min((progress - warm_up) / (1 - warm_up), 1.0)
    if curve == "step":
        return 1.0 if fall < 0.6 else 0.1 if fall < 0.85 else 0.01
    final = 1e-4 if curve == "one_cycle" else 0.01
    return final + (1 - final) * half_cosine(fall)


def half_cosine(fall: float) -> float:
    """From 1 at 0 to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * fall))
