"""Layers by hand and against PyTorch's own."""

import math

import pytest
import torch
import torch.nn.functional as F
from family import make
from torch import nn

from nets.layers import JoinedConv2d, MaxPool, UpConv2d


def test_pooling_keeps_no_places_of_maxima_and_has_the_same_gradient():
    x = torch.randn(2, 3, 8, 6, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.dtype) or t, lambda t: t):
        loss = MaxPool().train()(x).square().sum()
    loss.backward()
    assert torch.int64 not in kept
    expected = torch.autograd.grad(F.max_pool2d(x, 2).square().sum(), x)[0]
    assert torch.equal(x.grad, expected)


def test_pooling_in_integers_equals_pooling():
    numbers = torch.arange(0, 0x7F81).to(torch.int16).view(torch.bfloat16)
    assert numbers[-1] == torch.inf and not numbers.isnan().any()
    shuffled = numbers[torch.randperm(len(numbers), generator=torch.Generator().manual_seed(0))]
    for shape in ((2, 3, 8, 6), (1, 4, 9, 7), (1, 1, 180, 181)):
        maps = shuffled[: math.prod(shape)].view(shape)
        maps[..., 0, 0] = -0.0
        for x in (maps, maps.contiguous(memory_format=torch.channels_last)):
            found = MaxPool().eval()(x)
            assert found.dtype == torch.bfloat16
            assert torch.equal(found, F.max_pool2d(x, 2))


@pytest.mark.parametrize("training", [True, False])
def test_up_convolution_is_a_transposed_one(training):
    layer = UpConv2d(4, 3).double().train(training)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    found, expected = layer(x), F.conv_transpose2d(x, layer.weight, layer.bias, stride=2)
    torch.testing.assert_close(found, expected)
    inputs = [x, layer.weight, layer.bias]
    gradients = (torch.autograd.grad(y.square().sum(), inputs) for y in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_up_convolution_keeps_the_number_format_of_autocast():
    layer, x = UpConv2d(4, 3).train(), torch.randn(2, 4, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        enlarged = layer(x)
    assert enlarged.dtype == torch.bfloat16
    enlarged.float().sum().backward()
    assert layer.bias.grad.dtype == torch.float32 and layer.bias.grad.tolist() == [240.0] * 3


@pytest.mark.parametrize("bias", [True, False])
def test_joined_convolution_equals_that_of_the_joined_map(bias):
    maps = [torch.randn(2, channels, 9, 7, dtype=torch.float64, requires_grad=True) for channels in (3, 5)]
    layer = JoinedConv2d(8, 4, 3, padding=1, bias=bias).double()
    expected = F.conv2d(torch.cat(maps, dim=1), layer.weight, layer.bias, padding=1)
    found = layer(*maps)
    torch.testing.assert_close(found, expected)
    inputs = [*maps, *layer.parameters()]
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_group_norm_takes_any_width():
    net = make(num_classes=2, norm="group", base_channels=6, depth=1)
    groups = [module.num_groups for module in net.modules() if isinstance(module, nn.GroupNorm)]
    assert groups == [2, 2, 4, 4, 2, 2]
