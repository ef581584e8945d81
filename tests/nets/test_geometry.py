"""How far networks look: known answers of every member, whole and made ready to predict."""

import pytest
import torch
from family import FAMILY, make

from nets.config import NetworkConfig
from nets.geometry import Geometry, measure_geometry
from nets.inference import fold_batch_norm, fuse_relu
from nets.unet import build

# Stride, reach in pixels, whether tiles are exact, values in memory per pixel.
KNOWN = {
    "plain": (4, 23, True, 37.5),
    "gray": (4, 23, True, 37.5),
    "five channels": (4, 23, True, 37.5),
    "deep": (16, 107, True, 38.625),
    "group norm": (4, 23, False, 37.5),
    "no norm": (4, 23, True, 37.5),
    "bilinear": (4, 26, True, 37.5),
    "Pytorch-UNet's bilinear": (4, 26, False, 36.75),
    "Pytorch-UNet's transposed": (4, 23, True, 37.5),
    "add": (4, 23, True, 31.5),
    "add bilinear": (4, 26, True, 31.5),
    "dropout": (4, 23, True, 37.5),
    "vgg": (16, 135, True, 384.0),
    "vgg_bn": (16, 135, True, 384.0),
    "unet-pytorch's vgg": (16, 150, False, 576.0),
    "resnet50": (32, 337, True, 126.0),
    "resnet50 add": (32, 306, True, 126.0),
    "unet-pytorch's resnet50": (32, 335, False, 270.0),
    "deep supervision": (16, 107, True, 38.625),
    "deep supervision vgg": (16, 135, True, 384.0),
    "deep supervision resnet50": (32, 306, True, 126.0),
    "paper": (16, 107, True, 27.60027161611589),
}


@pytest.mark.parametrize("name", FAMILY)
def test_known_answers(name):
    net = make(**FAMILY[name]).eval()
    assert measure_geometry(net) == Geometry(*KNOWN[name])
    assert measure_geometry(fuse_relu(fold_batch_norm(net))) == Geometry(*KNOWN[name])


def test_a_network_whose_deepest_map_has_few_values():
    """Group norm refuses a single value per group."""
    net = build(NetworkConfig(2, 3, base_channels=4, depth=1, norm="group")).eval()
    assert measure_geometry(net).stride == 2


def test_the_meta_device_gives_the_same():
    with torch.device("meta"):
        assert measure_geometry(make(**FAMILY["resnet50"]).eval()) == Geometry(*KNOWN["resnet50"])
