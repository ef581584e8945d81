"""Helpers of the tests of networks: the family of all of them, their pictures."""

import pytest
import torch

from nets.config import NetworkConfig
from nets.unet import UNet, build

PAPER = {"num_classes": 2, "in_channels": 1, "base_channels": 4, "norm": "none", "padding": "valid"}
SMALL = {"num_classes": 3, "base_channels": 4, "depth": 2}
FAMILY = {
    "plain": SMALL,
    "gray": {**SMALL, "in_channels": 1},
    "five channels": {**SMALL, "in_channels": 5},
    "deep": {**SMALL, "depth": 4},
    "group norm": {**SMALL, "norm": "group"},
    "no norm": {**SMALL, "norm": "none"},
    "bilinear": {**SMALL, "upsampling": "bilinear"},
    "Pytorch-UNet's bilinear": {**SMALL, "upsampling": "aligned", "pad_picture": False},
    "Pytorch-UNet's transposed": {**SMALL, "pad_picture": False},
    "add": {**SMALL, "skip": "add"},
    "add bilinear": {**SMALL, "skip": "add", "upsampling": "bilinear"},
    "dropout": {**SMALL, "dropout": 0.5},
    "vgg": {"num_classes": 3, "backbone": "vgg"},
    "vgg_bn": {"num_classes": 3, "backbone": "vgg_bn", "in_channels": 1},
    "unet-pytorch's vgg": {"num_classes": 3, "backbone": "vgg", "norm": "none", "upsampling": "aligned"},
    "resnet50": {"num_classes": 3, "backbone": "resnet50", "upsampling": "bilinear"},
    "resnet50 add": {"num_classes": 3, "backbone": "resnet50", "skip": "add"},
    "unet-pytorch's resnet50": {
        "num_classes": 3,
        "backbone": "resnet50",
        "norm": "none",
        "upsampling": "aligned",
    },
    "deep supervision": {**SMALL, "depth": 4, "deep_supervision": True},
    "deep supervision vgg": {"num_classes": 3, "backbone": "vgg", "deep_supervision": True},
    "deep supervision resnet50": {"num_classes": 3, "backbone": "resnet50", "deep_supervision": True},
    "paper": PAPER,
}
each_member = pytest.mark.parametrize("member", FAMILY.values(), ids=FAMILY)


def make(**arguments) -> UNet:
    torch.manual_seed(0)
    return build(NetworkConfig(**{"in_channels": 3, **arguments}))


def picture(net_arguments: dict, height: int = 64, width: int = 64, count: int = 2) -> torch.Tensor:
    """A picture whose logits are (height, width): unpadded convolutions take 92 pixels off each side."""
    margin = 92 if net_arguments.get("padding") == "valid" else 0
    channels, generator = net_arguments.get("in_channels", 3), torch.Generator().manual_seed(1)
    return torch.randn(count, channels, height + 2 * margin, width + 2 * margin, generator=generator)


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-4) -> None:
    """Largest difference relative to the largest value: logits of untrained deep networks can be large."""
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def squares(outputs: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    """A loss of what a network returns in training: logits, or with deep supervision a list of them."""
    return sum(x.square().mean() for x in ([outputs] if isinstance(outputs, torch.Tensor) else outputs))
