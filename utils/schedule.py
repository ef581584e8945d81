"""The learning rate as a pure function of the step."""

import math


def lr_factor(step: int, total_steps: int, warmup_steps: int, final: float = 0.01) -> float:
    """Factor on the learning rate at `step` (0 … total_steps − 1): linear warm-up, then a cosine down to `final`.

    Cosine annealing after Loshchilov and Hutter 2017 (SGDR, equation 5), one cycle.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(total_steps - 1 - warmup_steps, 1)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
