"""Networks as their settings say, worked out by hand."""

import pytest
import torch
from family import PAPER, SMALL, assert_close, make, picture

from nets.config import NetworkConfig
from nets.unet import build


def test_deep_supervision_needs_maps_that_halve_evenly():
    for arguments in (PAPER, {**SMALL, "pad_picture": False}):
        with pytest.raises(ValueError, match="halve evenly"):
            make(**arguments, deep_supervision=True)


def test_parameter_counts_worked_out_by_hand():
    def count(net):
        return sum(p.numel() for p in net.parameters())

    assert (
        count(make(num_classes=2, in_channels=1, base_channels=64, norm="none", padding="valid"))
        == 31_030_658
    )
    # One level: convolutions 3→4, 4→4, 4→8, 8→8, up 8→4, 8→4, 4→4, head 4→3; two norm values per channel.
    convolutions = 9 * (3 * 4 + 4 * 4 + 4 * 8 + 8 * 8 + 8 * 4 + 4 * 4) + (8 * 4 * 4 + 4) + (4 * 3 + 3)
    assert count(make(num_classes=3, base_channels=4, depth=1)) == convolutions + 2 * (4 + 4 + 8 + 8 + 4 + 4)


def test_the_papers_network_has_the_papers_sizes():
    with torch.device("meta"):
        net = build(NetworkConfig(2, 1, base_channels=64, norm="none", padding="valid"))
        assert net(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)


@pytest.mark.parametrize("height, width", [(188, 188), (185, 201), (220, 187)])
def test_unpadded_convolutions_take_92_pixels_off_each_side_of_any_picture(height, width):
    with torch.inference_mode():
        assert make(**PAPER)(torch.zeros(2, 1, height, width)).shape == (2, 2, height - 184, width - 184)


def test_unpadded_logits_do_not_depend_on_what_lies_beyond_their_reach():
    net, image = make(**PAPER).eval(), picture(PAPER, 36, 36, count=1)
    with torch.inference_mode():
        whole, part = net(image), net(image[..., 16:204, 16:204])
    assert_close(part, whole[..., 16:20, 16:20])


def test_too_small_a_picture_for_unpadded_convolutions_names_the_smallest():
    with pytest.raises(ValueError, match="at least 185×185"):
        make(**PAPER)(torch.zeros(1, 1, 184, 300))


def test_the_papers_weights_have_the_papers_spread():
    net = make(num_classes=2, in_channels=1, base_channels=64, norm="none", padding="valid")
    deep = net.encoder.levels[3][3].weight
    assert deep.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"backbone": "vgg19"}, "'vgg19'; there are: plain, vgg, vgg_bn, resnet50"),
        ({"norm": "layer"}, "there are: batch, group, none"),
        ({"upsampling": "nearest"}, "there are: transposed, bilinear, aligned"),
        ({"skip": "mul"}, "there are: concat, add"),
        ({"padding": "full"}, "there are: same, valid"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"num_classes": -1}, "num_classes is -1"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"depth": 8}, "between 1 and 7"),
        ({"backbone": "vgg", "padding": "valid"}, "plain backbone"),
    ],
)
def test_what_makes_no_network_is_told_with_what_exists(arguments, words):
    with pytest.raises(ValueError, match=words):
        make(**{"num_classes": 2, **arguments})
