"""Layers that compute what PyTorch's own do, with less memory or in less time."""

import torch
import torch.nn.functional as F
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


class QuickReLU(nn.ReLU):
    """ReLU for prediction. Maps in bfloat16 on a CPU are taken as integers: both are negative when their first bit is set.

    PyTorch goes through float32 there, which takes a prediction 10 to 19 % more time (benchmarks/relu.py). Any shape; what
    is trained, exported or compiled, and other number formats, take PyTorch's way. A NaN may become 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        as_integers = x.dtype == torch.bfloat16 and x.device.type == "cpu" and self.inplace
        if not as_integers or x.requires_grad or torch.compiler.is_compiling():
            return super().forward(x)
        x.view(torch.int16).clamp_(min=0)
        return x


class JoinedConv2d(nn.Conv2d):
    """The convolution of maps (N, C, H, W) joined along their channels, without the joined map.

    conv(cat(a, b)) = conv_a(a) + conv_b(b), each with its channels of the weights: nothing is copied, and the maps that are
    there anyway are what the backward pass needs.
    """

    def forward(self, *maps: Tensor) -> Tensor:
        if len(maps) == 1:
            return super().forward(maps[0])
        first, *others = self.weight.split([x.shape[1] for x in maps], dim=1)
        total = F.conv2d(maps[0], first, self.bias, padding=self.padding)
        for x, weight in zip(maps[1:], others, strict=True):
            total = total + F.conv2d(x, weight, padding=self.padding)
        return total
