"""Encoders of other networks, and adding one."""

import numpy as np
import pytest
import torch
from family import assert_close, make, picture, squares
from scripts import ROOT, make_voc, start
from scripts import tiny as tiny_run
from torch import nn

import train
from nets.backbones import BACKBONES, Backbone
from nets.encoder import Encoder
from nets.geometry import measure_geometry
from nets.inference import fold_batch_norm, fuse_relu
from nets.layers import MaxPool
from unet import Unet


@pytest.mark.parametrize("backbone", ["vgg", "vgg_bn", "resnet50"])
def test_encoder_maps_equal_torchvisions_features(backbone):
    models = pytest.importorskip("torchvision").models
    reference = {"vgg": models.vgg16, "vgg_bn": models.vgg16_bn, "resnet50": models.resnet50}[
        backbone
    ]().eval()
    encoder = make(num_classes=2, backbone=backbone).encoder.eval()
    encoder.load_state_dict(encoder.rename(reference.state_dict()))
    image = picture({})
    with torch.inference_mode():
        maps = encoder(image)
        if backbone == "resnet50":
            stem = reference.relu(reference.bn1(reference.conv1(image)))
            expected = [stem]
            x = reference.maxpool(stem)
            for layer in (reference.layer1, reference.layer2, reference.layer3, reference.layer4):
                x = layer(x)
                expected.append(x)
        else:
            expected, x = [], image
            for module in reference.features:
                if isinstance(module, nn.MaxPool2d):
                    expected.append(x)
                x = module(x)
    assert tuple(m.shape[1] for m in maps) == encoder.out_channels
    assert [64 // m.shape[-1] for m in maps] == list(encoder.reductions)
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))


def test_gray_input_takes_the_sum_of_imagenets_first_convolution():
    models = pytest.importorskip("torchvision").models
    weights = models.vgg16().state_dict()
    encoder = make(num_classes=2, backbone="vgg", in_channels=1).encoder
    encoder.load_state_dict(encoder.rename(weights))
    assert torch.equal(encoder.levels[0][0].weight, weights["features.0.weight"].sum(1, keepdim=True))


def tiny(in_channels: int, aligned: bool) -> Encoder:
    """Two levels, of 8 and 16 channels, at 1/2 and 1/4; the second in groups, as those of MobileNet are."""
    first = nn.Sequential(nn.Conv2d(in_channels, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    second = nn.Sequential(MaxPool(), nn.Conv2d(8, 16, 3, padding=1, groups=4), nn.BatchNorm2d(16), nn.ReLU())
    return Encoder([first, second], (8, 16), first_reduction=2)


@pytest.fixture
def with_tiny(monkeypatch):
    """A new backbone is one function and one row."""
    monkeypatch.setitem(BACKBONES, "tiny", Backbone(tiny))


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear", "aligned"])
def test_a_new_backbone_is_a_member_of_the_family(with_tiny, upsampling):
    net = make(num_classes=3, backbone="tiny", upsampling=upsampling, deep_supervision=True)
    image = picture({}, 45, 67)
    outputs = net.train()(image)
    assert [tuple(x.shape[1:]) for x in outputs] == [(3, 45, 67), (3, 23, 34)]
    squares(outputs).backward()
    assert all(p.grad is not None for p in net.parameters())
    net.freeze_encoder(True)
    net.train()
    assert not any(m.training for m in net.encoder.modules())
    assert not any(p.requires_grad for p in net.encoder.parameters())
    net.eval()
    with torch.inference_mode():
        expected = net(image)
        assert measure_geometry(net).stride == 4
        assert_close(fuse_relu(fold_batch_norm(net))(image), expected)


def test_a_new_backbone_saves_memory(with_tiny):
    net = make(num_classes=3, backbone="tiny").train()
    image = picture({})
    before = net(image)
    net.save_memory()
    assert torch.equal(net(image), before)
    net(image).square().mean().backward()


def test_a_new_backbone_trains_is_saved_and_predicts(with_tiny, tmp_path):
    folder = make_voc(tmp_path / "voc")
    train.main(tiny_run(folder, tmp_path, backbone="tiny", epochs=1))
    unet = Unet(tmp_path / "run" / "best.pth", "cpu")
    assert unet.backbone == "tiny"
    assert unet.predict(np.zeros((31, 45), np.uint8)).shape == (31, 45)


def test_help_lists_a_new_backbone_without_importing_torchvision():
    program = (
        "import sys\n"
        "from nets.backbones import BACKBONES\n"
        "BACKBONES['tiny'] = BACKBONES['vgg']\n"
        "from nets.config import NetworkConfig\n"
        "import nets.unet\n"
        "assert 'torchvision' not in sys.modules\n"
        "import tyro\n"
        "tyro.cli(NetworkConfig)\n"
    )
    shown = start(["-c", program, "--help"], ROOT)
    assert shown.returncode == 0, shown.stderr
    assert ",tiny}" in shown.stdout


def test_an_unknown_backbone_lists_the_known_ones(with_tiny):
    with pytest.raises(ValueError, match="plain, vgg, vgg_bn, resnet50, tiny"):
        make(num_classes=2, backbone="huge")
