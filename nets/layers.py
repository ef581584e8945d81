"""Layers that compute what PyTorch's own do, with less memory or in less time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class MaxPool(nn.MaxPool2d):
    """2×2 max-pooling of maps (N, C, H, W) that hold no negative values, such as those of a ReLU.

    In training it finds its maxima again in the backward pass: PyTorch keeps the place of each in eight bytes, as much as the
    map itself in bfloat16, and pooling twice costs next to nothing. In prediction maps in bfloat16 on a CPU are compared as
    integers, which have the same order from 0 on; PyTorch goes through float32 there.
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

    There oneDNN takes several times as long for the gradient of the bias as for the others together.
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


class ConvReLU(JoinedConv2d):
    """Convolution and ReLU of a trained network, for prediction alone.

    On a CPU oneDNN adds other maps and takes the ReLU while it writes the result, which else are passes over the maps of their
    own, and weights are put into the order that it wants, anew when another size of maps comes twice (benchmarks/fusing.py).
    By the operators that torch.compile uses for the same; what is trained, exported or compiled, and other devices, take
    PyTorch's usual way.
    """

    @classmethod
    def of(cls, conv: nn.Conv2d) -> "ConvReLU":
        """With the weights of a convolution with padding by zeros; after the first call they must not change any more."""
        sizes = (
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            conv.dilation,
        )
        layer = cls(*sizes, conv.groups, device="meta")
        layer.weight, layer.bias = conv.weight, conv.bias
        layer.packed, layer.packed_for, layer.latest = [], [], []
        return layer

    def forward(self, *maps: Tensor, plus: Tensor | None = None) -> Tensor:
        """ReLU of the convolution of maps (N, C, H, W) joined along their channels and of `plus`, which may be overwritten."""
        usual = (
            torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or not torch.backends.mkldnn.is_available()
        )
        if usual or maps[0].device.type != "cpu":
            total = super().forward(*maps)
            return F.relu_(total if plus is None else total + plus)
        oneDNN, settings = torch.ops.mkldnn, (self.padding, self.stride, self.dilation, self.groups)
        shapes, total = [x.shape for x in maps], plus
        # Not for every tile at an edge: blocks that stay would tear the heap of large maps to pieces.
        if not self.packed or (shapes == self.latest and shapes != self.packed_for):
            parts = zip(self.weight.split([shape[1] for shape in shapes], dim=1), shapes, strict=True)
            self.packed = [
                oneDNN._reorder_convolution_weight(part, *settings, shape) for part, shape in parts
            ]
            self.packed_for = shapes
        self.latest = shapes
        for i, (x, weight) in enumerate(zip(maps, self.packed, strict=True), 1):
            conv = x.to(weight.dtype), weight, self.bias if i == 1 else None, *settings
            relu = "relu" if i == len(maps) else "none"
            if total is None:
                total = oneDNN._convolution_pointwise(*conv, relu, [], "")
            else:
                oneDNN._convolution_pointwise_(total, *conv, "add", None, relu, [], "")
        return total
