"""The table of levels."""

import pytest
import torch
from scripts import ROOT, start

from nets.config import NetworkConfig
from nets.summary import measure
from nets.unet import build


def test_summary_counts_by_hand():
    with torch.device("meta"):
        net = build(NetworkConfig(3, 1, base_channels=4, depth=1))
    first, deep, up, head = measure(net, (2, 1, 16, 16))
    assert (
        first.shape == (4, 16, 16)
        and deep.shape == (8, 8, 8)
        and up.shape == (4, 16, 16)
        and head.shape == (3, 16, 16)
    )
    assert first.multiply_adds == 9 * 16 * 16 * (1 * 4 + 4 * 4)
    assert deep.multiply_adds == 9 * 8 * 8 * (4 * 8 + 8 * 8)
    assert up.multiply_adds == 4 * 8 * 8 * 8 * 4 + 9 * 16 * 16 * (8 * 4 + 4 * 4)
    assert head.multiply_adds == 16 * 16 * 4 * 3
    assert sum(level.parameters for level in (first, deep, up, head)) == sum(
        p.numel() for p in net.parameters()
    )


@pytest.mark.parametrize("backbone", ["vgg", "vgg_bn", "resnet50"])
def test_summary_of_torchvisions_encoders_computes_nothing(backbone):
    with torch.device("meta"):
        net = build(NetworkConfig(3, 1, backbone=backbone))
    assert all(value.is_meta for value in net.state_dict().values())
    levels = measure(net, (2, 1, 64, 64))
    assert sum(level.parameters for level in levels) == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--base-channels", "0"], "base_channels is 0; it must be 1 or more: choose other values"),
        (
            ["--padding", "valid", "--input-shape", "100", "100"],
            "100×100 is too small for unpadded convolutions",
        ),
        (["--input-shape", "16", "16"], "at least 32×32, or 2 pictures"),
        (["--input-shape", "0", "16"], "input_shape is 0×16 and batch_size 1; they must be 1 or more"),
        (["--batch-size", "0"], "input_shape is 512×512 and batch_size 0; they must be 1 or more"),
        (["--num-classes", "0"], "num_classes is 0"),
    ],
)
def test_the_summary_of_what_makes_no_network_is_one_message(flags, words):
    result = start(["-m", "nets.unet", *flags], ROOT)
    assert result.returncode == 1
    assert words in result.stderr and "Traceback" not in result.stderr
