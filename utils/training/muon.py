"""Muon: momentum whose matrices are made orthogonal, for the kernels of convolutions; AdamW for the rest."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

# Of the quintic whose iteration draws singular values towards 1 (Jordan et al. 2024).
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# Rows that are made orthogonal together: four blocks take a fifth of the work of 512 rows.
BLOCK = 128
LEAST_ROWS = 5  # of a matrix: the head of few classes has none to spare
MOMENTUM = 0.95
FACTOR = 10.0  # on the learning rate: an orthogonal step is larger than one of AdamW


class Muon(torch.optim.AdamW):
    """Keller Jordan et al. 2024, Muon, with Nesterov's momentum; https://kellerjordan.github.io/posts/muon/.

    A kernel counts as a matrix with one row per output (of a transposed convolution, per input). Its learning
    rate is 10 times that of its group; it decays by the group's rate and weight decay, as in AdamW. Vectors
    and heads of up to four classes are trained by AdamW. Wide matrices are made orthogonal in blocks, which
    Khaled et al. 2025 (MuonBP, arXiv 2510.16981) do to need no exchange between devices.
    """

    def __init__(self, groups: Any, lr: float, weight_decay: float):
        # Not fused: a gradient scaler then divides before the step.
        super().__init__(groups, lr=lr, weight_decay=weight_decay, foreach=True)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        kernels = defaultdict(list)
        for group in self.param_groups:
            for parameter in filter(is_kernel, group["params"]):
                if parameter.grad is not None:
                    kernels[matrix_shape(parameter)].append((parameter, parameter.grad, group))
                    # AdamW leaves parameters without a gradient alone.
                    parameter.grad = None
        super().step(closure)
        for shape, same in kernels.items():
            wanted = [self._look_ahead(parameter, grad).view(shape) for parameter, grad, _ in same]
            updates = orthogonalise_blocks(torch.stack(wanted))
            size = FACTOR * max(1, shape[0] / shape[1]) ** 0.5
            for (parameter, grad, group), update in zip(same, updates, strict=True):
                parameter.grad = grad
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.view(parameter.shape), alpha=-group["lr"] * size)

    def _look_ahead(self, parameter: Tensor, grad: Tensor) -> Tensor:
        """The momentum after the next step, if its gradient is this one again."""
        state = self.state[parameter]
        if not state:
            # AdamW counts the steps of all parameters that it loads.
            state.update(step=torch.zeros(()), momentum_buffer=torch.zeros_like(parameter))
        state["step"] += 1
        mean = state["momentum_buffer"].lerp_(grad, 1 - MOMENTUM)
        return grad.lerp(mean, MOMENTUM).contiguous()


def is_kernel(parameter: Tensor) -> bool:
    return parameter.ndim > 1 and len(parameter) >= LEAST_ROWS


def matrix_shape(parameter: Tensor) -> tuple[int, int]:
    return len(parameter), parameter[0].numel()


def orthogonalise_blocks(matrices: Tensor) -> Tensor:
    """`orthogonalise` of equal blocks of at most BLOCK rows, or columns where these are fewer."""
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalise_blocks(matrices.mT).mT
    number, rows, columns = matrices.shape
    parts = next(parts for parts in range(-(-rows // BLOCK), rows + 1) if rows % parts == 0)
    return orthogonalise(matrices.reshape(number * parts, rows // parts, columns)).view(matrices.shape)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Matrices (N, m, n) with the same singular vectors, but singular values of about 1, 0.7 … 1.2.

    X ← (a + b S + c S²) X with S = X Xᵀ, five times. The factors are polynomials of S and commute: so they
    are multiplied on the smaller side first, and with X in the end, which halves the work. Where products
    round more than float32 (TF32), that would add up, and X is renewed each time.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalise(matrices.mT).mT
    a, b, c = QUINTIC
    together = ITERATIONS if torch.get_float32_matmul_precision() == "highest" else 1
    found = matrices / matrices.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1)
    for _ in range(0, ITERATIONS, together):
        product, gram = None, found @ found.mT
        for number in range(together):
            factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
            factor.diagonal(dim1=1, dim2=2).add_(a)
            product = factor if product is None else factor @ product
            if number < together - 1:
                gram = factor @ gram @ factor
        found = product @ found
    return found
