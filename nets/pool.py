"""Max-pooling that remembers nothing."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class MaxPool(nn.MaxPool2d):
    """2×2 max-pooling that finds its maxima again in the backward pass.

    PyTorch keeps the place of each in eight bytes, as much as the map itself in bfloat16; pooling twice costs next to nothing.
    """

    def __init__(self):
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and x.requires_grad) or torch.compiler.is_compiling():
            return super().forward(x)
        return checkpoint(super().forward, x, use_reentrant=False, preserve_rng_state=False)
