"""Layers that compute what PyTorch's own do, with less memory or in less time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class MaxPool(nn.MaxPool2d):
    """2×2 max-pooling of maps (N, C, H, W) that hold no negative values, such as those of a ReLU.

    In training it finds its maxima again in the backward pass: PyTorch keeps the place of each in eight
    bytes, as much as the map itself in bfloat16, and pooling twice costs next to nothing. In prediction on a
    CPU, maps in bfloat16 are compared as integers, which have the same order from 0 on. PyTorch goes through
    float32 there.
    """

    def __init__(self):
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return super().forward(x)
        if x.requires_grad and self.training:
            return checkpoint(super().forward, x, use_reentrant=False, preserve_rng_state=False)
        if x.requires_grad or x.dtype != torch.bfloat16 or x.device.type != "cpu":
            return super().forward(x)
        height, width = (length // 2 * 2 for length in x.shape[-2:])
        integers = x.view(torch.int16)[..., :height, :width]
        higher = torch.maximum(integers[..., ::2, :], integers[..., 1::2, :])
        return torch.maximum(higher[..., ::2], higher[..., 1::2]).view(torch.bfloat16)


class UpConv2d(nn.ConvTranspose2d):
    """The 2×2 up-convolution of stride 2. In training on a CPU its bias is added after it.

    There oneDNN takes several times as long for the gradient of the bias as for all the others.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        enlarged = F.conv_transpose2d(x, self.weight, stride=2)
        return enlarged.add_(self.bias.to(enlarged.dtype).view(1, -1, 1, 1))


class JoinedConv2d(nn.Conv2d):
    """The convolution of maps (N, C, H, W) joined along their channels, without the joined map.

    conv(cat(a, b)) = conv_a(a) + conv_b(b), each with its channels of the weights. Nothing is copied, and the
    backward pass needs only maps that exist anyway.
    """

    def forward(self, *maps: Tensor) -> Tensor:
        if len(maps) == 1:
            return super().forward(maps[0])
        first, *others = self.weight.split([x.shape[1] for x in maps], dim=1)
        total = F.conv2d(maps[0], first, self.bias, padding=self.padding)
        for x, weight in zip(maps[1:], others, strict=True):
            total = total + F.conv2d(x, weight, padding=self.padding)
        return total
