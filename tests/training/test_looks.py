"""Looks that are learned before classes, and the linear map that reads classes off what was learned."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scripts import make_voc, refused

from nets.config import NetworkConfig
from nets.probe import Probe
from nets.unet import build
from unet import Unet
from utils.core.device import Precision
from utils.images.palette import IGNORE_INDEX, voc_palette
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.models.checkpoint import Checkpoint
from utils.training import looks, probing
from utils.training.data import load_data
from utils.training.looks import (
    Learner,
    can_learn_looks,
    choose_divisor,
    crop_side,
    describe,
    find_looks,
    hide,
    learn_looks,
)
from utils.training.mixed import Source
from utils.training.probing import fill_head, fit_probe
from utils.voc.demo import CLASS_NAMES, draw_sample

CPU = Precision(torch.device("cpu"), None)


def describe_network(**settings):
    """What a teacher's checkpoint says, without weights."""
    network = {"num_classes": 4, "in_channels": 3, "base_channels": 4, "depth": 4, "deep_supervision": True}
    return Checkpoint(
        model={},
        network=NetworkConfig(**network | settings),
        class_names=CLASS_NAMES,
        palette=voc_palette(4).tolist(),
        normalisation={"mean": [0.4] * 3, "std": [0.2] * 3, "range_16bit": None},
        input_shape=(64, 64),
        settings={"augmentation": "none", "seed": 3},
    )


def test_a_square_is_described_by_colours_spread_edges_and_colours_around():
    flat = torch.tensor([0.1, 0.4, 0.7]).view(1, 3, 1, 1).expand(1, 3, 32, 48)
    found = describe(flat)
    assert found.shape == (1, 3 + 3 + 2 + 3, 4, 6)
    expected = torch.tensor([0.1, 0.4, 0.7, 0, 0, 0, 0, 0, 0.1, 0.4, 0.7])
    assert torch.allclose(found, expected.view(1, -1, 1, 1).expand_as(found), atol=1e-3)
    # Columns of 0 and 1: their spread is 1/2, all steps lie across, and what is around is their mean.
    striped = (torch.arange(48) % 2).float().expand(1, 3, 32, 48)
    middle = describe(striped)[0, :, 1, 1]
    assert torch.allclose(middle, torch.tensor([0.5] * 6 + [1.0, 0.0] + [0.5] * 3))


def test_squares_of_one_kind_have_one_look(monkeypatch):
    monkeypatch.setattr(looks, "LOOKS", 3)
    shades = torch.tensor([0.0, 0.5, 1.0]).repeat_interleave(64)
    image = shades.expand(2, 3, 64, -1).contiguous()
    found = find_looks(image, seed=0).of(image)
    assert found.shape == (2, 8, 24)
    inner = found[:, :, [2, 4, 11, 12, 19, 21]]  # away from where the colours around change
    assert (inner == inner[:1, :1]).all()
    assert len(set(inner[0, 0, ::2].tolist())) == 3


def test_pictures_of_a_single_colour_have_looks_all_the_same():
    image = torch.full((4, 3, 64, 64), 0.3)
    found = find_looks(image, seed=0).of(image)
    assert found.shape == (4, 8, 8)
    assert 0 <= int(found.min()) <= int(found.max()) < looks.LOOKS


def test_about_half_of_a_picture_is_painted_over_square_by_square():
    torch.manual_seed(0)
    images = torch.full((8, 3, 160, 152), 9.0)
    hidden = hide(images)
    shown = (hidden == 9).all(1)
    squares = shown[:, :, :144].view(8, 10, 16, 9, 16)
    assert (squares == squares[:, :, :1, :, :1]).all()
    assert 0.4 < squares.float().mean() < 0.6
    for image, mask in zip(hidden, shown, strict=True):
        assert len(image[:, ~mask].unique(dim=1).T) == 1
    assert (images == 9).all()


def test_a_network_learns_looks_and_pictures_it_is_shown():
    torch.manual_seed(0)
    net = build(NetworkConfig(looks.LOOKS, 3, base_channels=4, depth=4, deep_supervision=True))
    learner = Learner(net, 4, CPU)
    images = torch.randn(4, 3, 1, 1).expand(4, 3, 64, 64) + 0.1 * torch.randn(4, 3, 64, 64)
    numbers = torch.arange(4)
    squares = (numbers * 7).view(4, 1, 1).expand(4, 8, 8)
    losses = [float(learner.step(images, squares, numbers, 0.1)) for _ in range(60)]
    assert math.isclose(losses[0], 1.875 * math.log(looks.LOOKS) + 0.5 * math.log(4), rel_tol=0.3)
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    assert learner.steps == 60
    assert all(value.isfinite().all() for value in learner.average.module.state_dict().values())


@pytest.fixture
def sources(tmp_path):
    for index in range(5):
        write_image(tmp_path / "pool" / f"other_{index}.png", draw_sample(100 + index, 72)[0])
    return [Source(path) for path in sorted((tmp_path / "pool").iterdir())]


@pytest.mark.parametrize(("divisor", "depth"), [(1, 4), (2, 3), (2, 6)])
def test_what_is_learned_is_a_network_of_the_teachers_kind(
    sources, tmp_path, monkeypatch, capsys, divisor, depth
):
    monkeypatch.setattr(looks, "CROPS", 4)
    folder, teacher = make_voc(tmp_path / "voc"), describe_network(depth=depth)
    learned = learn_looks(teacher, folder, sources, CPU, 1.5, divisor, workers=0)
    assert "looks    of 5 pictures, learned in " in capsys.readouterr().out
    net = build(teacher.network)
    assert not any(net.load_state_dict(learned.model))
    # What is below the heads has run: its batch norm has no longer the statistics of a new network.
    means = [value for name, value in learned.model.items() if name.endswith("running_mean")]
    assert means
    assert all(mean.abs().max() > 0 for mean in means)
    assert learned == replace(teacher, model=learned.model)


def test_a_picture_that_cannot_be_read_is_named(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(looks, "CROPS", 16)
    sources[3].image.write_bytes(b"no picture")
    with refused("picture-format", sources[3].image):
        learn_looks(describe_network(), make_voc(tmp_path / "voc"), sources, CPU, 60, workers=0)


@pytest.mark.parametrize(
    ("network", "can"),
    [
        ({}, True),
        ({"depth": 3}, True),
        ({"depth": 2}, False),
        ({"deep_supervision": False}, False),
        ({"backbone": "resnet18"}, False),  # has its own weights
    ],
)
def test_plain_networks_learn_looks(network, can):
    assert can_learn_looks(describe_network(**network)) is can


def test_pictures_are_seen_in_the_size_that_the_time_allows(monkeypatch):
    teacher, took = describe_network(), {160: 2.0, 96: 0.5}
    monkeypatch.setattr(Learner, "time_step", lambda self, images, *_: took[images.shape[-1]])
    assert [choose_divisor(teacher, CPU, seconds) for seconds in (2000, 1999, 500, 499)] == [1, 2, 2, None]

    def run_out(self, images, *_):
        if images.shape[-1] == 160:
            raise torch.OutOfMemoryError
        return 0.5

    monkeypatch.setattr(Learner, "time_step", run_out)
    assert choose_divisor(teacher, CPU, 2000) == 2
    assert [crop_side(describe_network(depth=depth), 1) for depth in (3, 5, 6, 7)] == [160, 160, 192, 256]


def test_a_step_on_noise_takes_some_time():
    network = build(NetworkConfig(looks.LOOKS, 3, base_channels=4, depth=3, deep_supervision=True))
    took = Learner(network, 1, CPU).time_step(
        torch.randn(2, 3, 32, 32), torch.zeros(2, 4, 4).long(), torch.zeros(2).long()
    )
    assert 0 < took < 60


def test_a_probe_is_a_linear_map_of_the_coarser_maps():
    torch.manual_seed(0)
    net = build(NetworkConfig(4, 3, base_channels=4, depth=4, deep_supervision=True)).eval()
    probe, image = Probe(net, 4).eval(), torch.randn(2, 3, 75, 90)
    with torch.no_grad():
        padded = F.pad(image, (0, 6, 0, 5), mode="replicate")
        maps = net.encoder(padded)
        below = [*maps[2:], *net.decoder(maps)[:-2]]
        columns = torch.cat([F.interpolate(x, (20, 24), mode="bilinear") for x in below], 1)
        expected = F.interpolate(probe.head(columns), scale_factor=4, mode="bilinear")[..., :75, :90]
        assert torch.allclose(probe(image), expected, atol=1e-4)
        values = probe.values(padded, 8)
    assert torch.allclose(values, F.avg_pool2d(columns, 2), atol=1e-5)


def test_gray_16_bit_pictures_that_are_letterboxed_have_looks_and_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(looks, "CROPS", 2)
    folder = make_voc(tmp_path / "voc", count=4)
    for name in ("cells_0", "cells_1", "cells_2", "cells_3"):
        image = read_image(folder.image_path(name)).astype(np.uint16) * 200
        write_image(folder.image_path(name), image)
    one = {"mean": [0.4], "std": [0.2], "range_16bit": [0, 51000]}
    start = replace(describe_network(in_channels=1), normalisation=one, fit="letterbox")
    data = load_data(folder)
    sources = [Source(folder.image_path(name)) for name in data.train]
    learned = learn_looks(start, folder, sources, CPU, 0.5, workers=0)
    unet = Unet.from_network(fit_probe(learned, data, CPU), learned, CPU)
    found, certainty = unet.predict_with_certainty(folder.image_path("cells_3"))
    assert found.shape == certainty.shape == (48, 48)
    assert len(np.unique(found)) > 1


def test_the_head_separates_what_a_line_separates():
    torch.manual_seed(0)
    classes = torch.arange(300) % 3
    values = torch.randn(300, 8) + 6 * F.one_hot(classes, 8).float()
    values[:, 7] = 5.0  # tells nothing
    head = torch.nn.Conv2d(8, 4, 1)
    fill_head(head, values, classes)
    found = head(values.T[None, :, :, None])[0, :, :, 0].argmax(0)
    assert (found == classes).float().mean() > 0.98


def test_classes_are_read_off_what_a_network_makes_of_pictures(tmp_path):
    """Of a network that has learned nothing, too: bright areas and dark ones."""
    folder, rng = make_voc(tmp_path / "voc", count=4), np.random.default_rng(0)
    for name in ("cells_0", "cells_1", "cells_2", "cells_3"):
        mask = np.zeros((96, 96), np.uint8)
        mask[:, : rng.integers(30, 60)] = 1
        mask[rng.integers(40, 90) :] = 2
        noise = rng.integers(0, 20, (96, 96, 3))
        write_image(folder.images_dir / f"{name}.png", (100 * mask[..., None] + noise).astype(np.uint8))
        mask[40:44] = IGNORE_INDEX
        write_mask(folder.mask_path(name), mask)
    start = describe_network()
    torch.manual_seed(0)
    start = replace(start, model=build(start.network).state_dict())
    unet = Unet.from_network(fit_probe(start, load_data(folder), CPU), start, CPU)
    unet.tile_size = 64
    mask = read_mask(folder.mask_path("cells_3"))
    found, certainty = unet.predict_with_certainty(folder.image_path("cells_3"))
    known = mask != IGNORE_INDEX
    assert (found == mask)[known].mean() > 0.85
    # It is less sure where it is wrong.
    assert certainty[known & (found != mask)].mean() < certainty[known & (found == mask)].mean()


def test_squares_of_many_pictures_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(probing, "MOST", 40)
    monkeypatch.setattr(probing, "CROPS", 5)
    seen = []
    monkeypatch.setattr(probing, "fill_head", lambda head, values, classes: seen.append((values, classes)))
    start = describe_network()
    fit_probe(
        replace(start, model=build(start.network).state_dict()), load_data(make_voc(tmp_path / "voc")), CPU
    )
    ((values, classes),) = seen
    assert values.shape[0] == len(classes) == 40
