"""A trained network made ready to predict: the same function with fewer passes over the maps."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from nets.layers import JoinedConv2d


def fold_batch_norm(net: nn.Module) -> nn.Module:
    """Merge each norm declared right after a convolution into it. The network is changed and cannot train."""
    net.eval()
    for parent in list(net.modules()):
        for (name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    return net


def fuse_relu(net: nn.Module) -> nn.Module:
    """Merge each ReLU declared right after a convolution into it. The network is changed and cannot train.

    A module whose `forward` applies its ReLUs itself names the convolutions before them in `relu_follows`.
    """
    for parent in list(net.modules()):
        for name in getattr(parent, "relu_follows", ()):
            setattr(parent, name, ConvReLU(getattr(parent, name)))
        layers = [named for named in parent.named_children() if not isinstance(named[1], nn.Identity)]
        for (name, conv), (relu_name, relu) in pairwise(layers):
            if type(conv) in (nn.Conv2d, JoinedConv2d) and isinstance(relu, nn.ReLU):
                setattr(parent, name, ConvReLU(conv))
                setattr(parent, relu_name, nn.Identity())
    return net


class OneDnn(NamedTuple):
    """oneDNN's operators on the CPU."""

    arrange: Callable[..., Tensor]  # weights → the same in oneDNN's own order, best for maps of one shape
    convolve: Callable[..., Tensor]  # a convolution that applies a ReLU while it writes its result
    convolve_onto: Callable[..., Tensor]  # the same, added to a map that is there, in place


@cache
def onednn() -> OneDnn | None:
    """The operators that torch.compile uses for convolutions on a CPU; None if they do not work here.

    They are private to PyTorch and may change with any release. The public ones, which `ConvReLU` takes
    without them, pass over the maps once more for each sum and each ReLU (benchmarks/fusing.py).
    """
    if not torch.backends.mkldnn.is_available():
        return None
    try:
        names = "_reorder_convolution_weight", "_convolution_pointwise", "_convolution_pointwise_"
        operators = OneDnn(*(getattr(torch.ops.mkldnn, name) for name in names))
        _try_out(operators)
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return None
    return operators


@torch.no_grad()
def _try_out(operators: OneDnn) -> None:
    """Raises what they raise where they are called in another way, and RuntimeError for a wrong result."""
    layer = ConvReLU(nn.Conv2d(1, 1, 1))
    layer.weight.fill_(2.0)
    layer.bias.fill_(-3.0)
    one, two = torch.full((1, 1, 1, 1), 1.0), torch.full((1, 1, 1, 2), 2.0)
    alone = layer.by_onednn(operators, (one,), None)
    added = layer.by_onednn(operators, (two,), torch.ones_like(two))
    if alone.flatten().tolist() != [0.0] or added.flatten().tolist() != [2.0, 2.0]:
        raise RuntimeError("oneDNN's operators compute something else here")


class ConvReLU(JoinedConv2d):
    """Convolution and ReLU of a trained network, for prediction alone.

    On a CPU oneDNN adds other maps and applies the ReLU while it writes the result, where available
    (`onednn`). Weights are put into the order that it wants, and anew when another size of maps comes twice.
    In training, export and compilation, and on other devices, PyTorch's public operators run.
    """

    def __init__(self, conv: nn.Conv2d):
        """With the weights of a zero-padded convolution. They must not change after the first call."""
        names = "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"
        super().__init__(*(getattr(conv, name) for name in names), device="meta")
        self.weight, self.bias = conv.weight, conv.bias
        self.arranged: list[Tensor] = []
        self.arranged_for: list[torch.Size] = []
        self.latest: list[torch.Size] = []

    def forward(self, *maps: Tensor, plus: Tensor | None = None) -> Tensor:
        """ReLU(convolution of the joined maps (N, C, H, W) + plus). `plus` may be overwritten."""
        public = torch.is_grad_enabled() or torch.compiler.is_compiling() or maps[0].device.type != "cpu"
        operators = None if public else onednn()
        if operators is not None:
            return self.by_onednn(operators, maps, plus)
        total = super().forward(*maps)
        return F.relu_(total if plus is None else total + plus)

    def by_onednn(self, operators: OneDnn, maps: tuple[Tensor, ...], plus: Tensor | None) -> Tensor:
        settings = (self.padding, self.stride, self.dilation, self.groups)
        shapes, total = [x.shape for x in maps], plus
        # Not for every tile at an edge: blocks that stay would tear the heap of large maps to pieces.
        if not self.arranged or (shapes == self.latest and shapes != self.arranged_for):
            # The weights of a convolution in groups have fewer input channels than its one map.
            parts = (
                self.weight.split([shape[1] for shape in shapes], dim=1) if len(maps) > 1 else [self.weight]
            )
            arrange = zip(parts, shapes, strict=True)
            self.arranged = [operators.arrange(part, *settings, shape) for part, shape in arrange]
            self.arranged_for = shapes
        self.latest = shapes
        for i, (x, weight) in enumerate(zip(maps, self.arranged, strict=True), 1):
            conv = x.to(weight.dtype), weight, self.bias if i == 1 else None, *settings
            relu = "relu" if i == len(maps) else "none"
            if total is None:
                total = operators.convolve(*conv, relu, [], "")
            else:
                operators.convolve_onto(total, *conv, "add", None, relu, [], "")
        return total
