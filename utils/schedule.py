"""The phases of a run and the learning rate, pure functions of the epoch and the step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """Epochs with one batch size and one highest learning rate; `frozen`: the encoder is held still."""

    epochs: int
    batch_size: int
    lr: float
    frozen: bool = False


@dataclass(frozen=True)
class Schedule:
    """Phases in order; `crops` is the number of crops in an epoch, whatever the phase."""

    phases: Sequence[Phase]
    crops: int

    def phase(self, epoch: int) -> Phase:
        """The phase that epoch 0, 1, … belongs to; the last one for epochs beyond the end."""
        for phase in self.phases:
            if epoch < phase.epochs:
                return phase
            epoch -= phase.epochs
        return self.phases[-1]

    def steps(self, phase: Phase) -> int:
        return phase.epochs * -(-self.crops // phase.batch_size)

    def steps_before(self, epoch: int) -> int:
        """Optimizer steps of all epochs before `epoch`."""
        return sum(-(-self.crops // self.phase(e).batch_size) for e in range(epoch))

    @property
    def total_steps(self) -> int:
        return sum(map(self.steps, self.phases))

    def lr(self, step: int) -> float:
        """Learning rate at step 0, 1, …: each phase warms up and anneals on its own."""
        for phase in self.phases[:-1]:
            if step < self.steps(phase):
                return phase.lr * lr_factor(step, self.steps(phase))
            step -= self.steps(phase)
        return self.phases[-1].lr * lr_factor(step, self.steps(self.phases[-1]))


def lr_factor(step: int, total_steps: int, final: float = 0.01) -> float:
    """Factor at `step` (0 … total_steps − 1): linear warm-up over a twentieth of the steps, then a cosine to `final`.

    Cosine annealing after Loshchilov and Hutter 2017 (SGDR, equation 5), one cycle.
    """
    warmup_steps = min(total_steps // 20, 500)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(total_steps - 1 - warmup_steps, 1)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
