"""Networks made ready to predict compute the same."""

import copy
from types import SimpleNamespace

import pytest
import torch
from family import SMALL, assert_close, each_member, make, picture
from torch import nn

from nets.inference import ConvReLU, fold_batch_norm, fuse_relu, onednn

PRIVATE = ("_reorder_convolution_weight", "_convolution_pointwise", "_convolution_pointwise_")


@each_member
def test_folded_batch_norms_change_nothing(member):
    net = make(**member)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low in (
                (module.weight, -2),
                (module.bias, -1),
                (module.running_mean, -1),
                (module.running_var, 0.1),
            ):
                nn.init.uniform_(values, low, 2)
    image = picture(member)
    with torch.inference_mode():
        expected = net.eval()(image)
        assert_close(fold_batch_norm(net)(image), expected)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


@each_member
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_relu_within_convolutions_changes_nothing(member, memory_format):
    net = fold_batch_norm(make(**member)).to(memory_format=memory_format)
    fused = fuse_relu(copy.deepcopy(net))
    # Group norms stay between the two.
    grouped = member.get("norm") == "group"
    assert any(isinstance(layer, ConvReLU) for layer in fused.modules()) != grouped
    # The second size comes after the weights were arranged for the first, which is done when it comes again.
    for height, width in ((64, 64), (64, 64), (96, 80), (96, 80), (64, 64)):
        image = picture(member, height, width).contiguous(memory_format=memory_format)
        with torch.inference_mode():
            assert_close(fused(image), net(image), 1e-5)
    # With gradients PyTorch's own operations run.
    assert_close(fused(image), net(image), 1e-5)


@each_member
def test_relu_within_convolutions_rounds_no_more(member):
    exact = fold_batch_norm(make(**member))
    rounded = copy.deepcopy(exact).bfloat16()
    fused, image = fuse_relu(copy.deepcopy(rounded)), picture(member)
    with torch.inference_mode():
        wanted = exact(image)
        errors = [(net(image.bfloat16()) - wanted).abs().mean() for net in (fused, rounded)]
    assert errors[0] <= 1.1 * errors[1]
    assert errors[1] < 0.05 * wanted.abs().mean()


def test_convolution_with_relu_by_hand():
    conv = nn.Conv2d(1, 1, 1)
    nn.init.constant_(conv.weight, 2.0)
    nn.init.constant_(conv.bias, -3.0)
    layer = ConvReLU(conv)
    x, plus = torch.tensor([[[[1.0, 2.0, 3.0]]]]), torch.tensor([[[[5.0, 0.0, -9.0]]]])
    for mode in (torch.inference_mode, torch.no_grad, torch.enable_grad):
        with mode():
            assert layer(x).tolist() == [[[[0.0, 1.0, 3.0]]]]
            assert layer(x, plus=plus.clone()).tolist() == [[[[4.0, 1.0, 0.0]]]]


def test_without_onednns_private_operators_predictions_stay_the_same(monkeypatch):
    """As in a PyTorch that lacks them, or that calls them in another way."""
    net, image = fold_batch_norm(make(**SMALL)), picture(SMALL)
    with torch.inference_mode():
        expected = net(image)
    for private in (SimpleNamespace(), SimpleNamespace(**dict.fromkeys(PRIVATE, lambda weight: weight))):
        monkeypatch.setattr(torch.ops, "mkldnn", private)
        onednn.cache_clear()
        assert onednn() is None
        with torch.inference_mode():
            assert_close(fuse_relu(copy.deepcopy(net))(image), expected, 1e-5)
    monkeypatch.undo()
    onednn.cache_clear()


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="a PyTorch without oneDNN")
def test_onednns_operators_are_used_where_they_are():
    assert onednn() is not None
