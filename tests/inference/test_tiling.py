"""Tiles give the probabilities of the whole picture at once, or smooth overlaps where a network cannot."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from predictors import PICTURE, describe, live
from scripts import ROOT, refused, save_untrained

from nets.config import NetworkConfig
from nets.geometry import measure_geometry
from nets.unet import build
from unet import Unet
from utils.inference.ensemble import dihedral_logits, mean_logits, plan_tiles, symmetric_views
from utils.inference.maps import certainty, classes, entropy, probabilities, probability_of
from utils.inference.tiling import cut, make_grid, tiled
from utils.models.checkpoint import save_checkpoint
from utils.voc.demo import draw_sample

LARGE = np.random.default_rng(1).integers(0, 256, (333, 401, 3), np.uint8)
SMALL = {"base_channels": 4, "depth": 2}
EXACT = {
    "transposed": {},
    "bilinear": {"upsampling": "bilinear"},
    "add": {"skip": "add"},
    "no norm": {"norm": "none"},
    "three levels": {"depth": 3},
    "unpadded": {"norm": "none", "padding": "valid"},
    "maps padded": {"pad_picture": False},
}


def tiled_and_whole(unet, picture, side, **settings):
    """Probabilities with tiles of `side` pixels and at once."""
    results = []
    for unet.tile_size in (side, 10**6):
        results.append(unet.predict_proba(picture))
    unet.tile_size = side
    return results


def tiles_of(unet, size=LARGE.shape[:2]):
    return len(plan_tiles(unet.members, size, side=unet.tile_size))


@pytest.mark.parametrize("network", EXACT.values(), ids=EXACT)
def test_tiles_equal_the_whole_picture(network):
    unet = live(describe({**SMALL, **network}))
    tiles, whole = tiled_and_whole(unet, LARGE, 128)
    assert tiles_of(unet) >= 6
    assert np.ptp(whole[0]) > 0.1
    assert np.abs(tiles - whole).max() <= 1e-5


@pytest.mark.parametrize("backbone", ["vgg", "vgg_bn"])
def test_tiles_of_vgg_equal_the_whole_picture(backbone):
    torch.manual_seed(0)
    unet = live(thin(backbone))
    # 640 pixels are four halos; a narrow picture is enough.
    tiles, whole = tiled_and_whole(unet, np.resize(LARGE, (810, 20, 3)), 640)
    assert tiles_of(unet, (810, 20)) == 2
    assert np.ptp(whole[0]) > 0.1
    assert np.abs(tiles - whole).max() <= 1e-5


def thin(backbone):
    return describe(
        {"backbone": backbone, "norm": "none" if backbone == "vgg" else "batch", "base_channels": 32}
    )


def test_tiles_of_the_trained_network_equal_the_whole_picture():
    unet = Unet(ROOT / "model_data" / "unet_demo.pth", "cpu", "fp32")
    picture = draw_sample(3, 501)[0][:, :431]
    tiles, whole = tiled_and_whole(unet, picture, 240)
    assert tiles_of(unet, picture.shape[:2]) >= 9
    assert np.abs(tiles - whole).max() <= 1e-5
    np.testing.assert_array_equal(unet.predict(picture), whole.argmax(0))


@pytest.mark.parametrize("network", [{}, {"norm": "none", "padding": "valid"}], ids=["padded", "unpadded"])
def test_tiles_equal_the_whole_picture_from_all_sides(network):
    unet = live(describe({**SMALL, **network}))
    plain = unet.predict_proba(LARGE)
    unet.members[0].tta = True
    tiles, whole = tiled_and_whole(unet, LARGE, 128)
    assert np.abs(tiles - whole).max() <= 1e-5
    assert np.abs(plain - whole).max() > 0.01


@given(st.integers(1, 60), st.integers(1, 60), st.integers(8, 30))
def test_any_size_of_picture_and_tile(height, width, side):
    picture = LARGE[:height, :width]
    tiles, whole = tiled_and_whole(TINY, picture, side)
    assert tiles.shape == (3, height, width)
    assert np.abs(tiles - whole).max() <= 1e-5


TINY = live(describe({"base_channels": 2, "depth": 1}))


def test_validation_sees_the_same_tiles():
    unet = live(describe(SMALL))
    images = torch.from_numpy(np.stack([LARGE, LARGE[::-1]])).permute(0, 3, 1, 2)
    whole = unet.logits(images)
    unet.tile_size = 128
    torch.testing.assert_close(unet.logits(images), whole, atol=1e-4, rtol=1e-4)
    np.testing.assert_array_equal(unet.logits(images)[0].argmax(0), unet.predict(LARGE))


@pytest.mark.parametrize(
    "network", [{"norm": "group"}, {"upsampling": "aligned"}, {"upsampling": "aligned", "pad_picture": False}]
)
def test_networks_that_depend_on_the_size_are_blended(network):
    unet = live(describe({**SMALL, **network}))
    assert not unet.members[0].geometry.exact
    tiles, whole = tiled_and_whole(unet, LARGE, 128)
    assert 0 < np.abs(tiles - whole).max() < 0.25
    assert np.abs(tiles - whole).mean() < 0.02
    np.testing.assert_allclose(tiles.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (50, 200), (64, 64), (65, 130), (133, 97)])
def test_blended_tiles_of_an_exact_function_give_the_function(size):
    values = torch.rand(2, *size)
    grid = make_grid(size, 64, 4, 10, exact=False)
    bands = tiled(grid, lambda rows, columns: values[:, rows, columns])
    result = torch.cat([torch.cat(list(band), -1) for band in bands], -2)
    torch.testing.assert_close(result, values)


def test_no_seam_is_seen_where_tiles_differ():
    grid = make_grid((200, 200), 64, 4, 10, exact=False)
    count = iter(range(1000))
    bands = tiled(
        grid,
        lambda rows, columns: torch.full(
            (1, rows.stop - rows.start, columns.stop - columns.start), float(next(count) % 2)
        ),
    )
    result = torch.cat([torch.cat(list(band), -1) for band in bands], -2)[0]
    assert result.max() - result.min() > 0.9
    # A hard cut would be a step of 1; sin² over 24 pixels rises by at most π / 2 / 24.
    assert result.diff(dim=0).abs().max() < 0.07
    assert result.diff(dim=1).abs().max() < 0.07


@given(st.integers(1, 3000), st.integers(1, 500), st.sampled_from([1, 2, 16, 32]), st.integers(0, 200))
def test_spans_cover_everything_once(length, side, stride, reach):
    spans = make_grid((length, 1), side, stride, reach, exact=True).rows
    assert [spans[0].start, spans[-1].stop] == [0, length]
    for one, other in pairwise(spans):
        assert one.stop == other.start
    for span in spans:
        assert span.first % stride == 0
        assert span.last % stride == 0 or span.last == length
        assert span.first == 0 or span.start - span.first >= reach
        assert span.last == length or span.last - span.stop >= reach
        assert span.last - span.first <= max(side, 4 * (reach + stride), 3 * stride)


def test_cutting_by_hand():
    assert cut(20, 20, 4, 3) == [(0, 20, 0, 20)]
    assert cut(21, 20, 4, 4) == [(0, 12, 0, 16), (12, 21, 8, 21)]


REACHES = [
    {},
    {"upsampling": "bilinear"},
    {"skip": "add", "depth": 1},
    {"depth": 3},
    {"padding": "valid", "norm": "none"},
    {"pad_picture": False},
]


@pytest.mark.parametrize("network", REACHES)
def test_reach_is_how_far_a_pixel_spreads(network):
    """A pixel of no number (NaN) spoils all that depends on it."""
    net = build(NetworkConfig(2, 1, **{**SMALL, **network})).eval()
    geometry = measure_geometry(net)
    size, margin = 20 * net.stride, net.margin
    farthest = 0
    for place in range(10 * net.stride, 11 * net.stride):
        image = torch.zeros(1, 1, size + 2 * margin, size + 2 * margin)
        image[..., place + margin, place + margin] = torch.nan
        with torch.no_grad():
            spoilt = net(image)[0, 0].isnan().any(1).nonzero()
        assert 0 < len(spoilt) < size
        farthest = max(farthest, (spoilt - place).abs().max().item())
    assert farthest <= geometry.reach <= farthest + 2 * net.stride


def test_values_held_at_once_by_hand():
    # Largest: 8 joined channels in, 4 out; skips: 4 + 8/4 + 16/16; for the logits three values a class.
    net = build(NetworkConfig(2, 3, base_channels=4, depth=2)).eval()
    assert measure_geometry(net).values_per_pixel == 1.5 * (12 + 7) + 3 * 2


def test_reaches_by_hand():
    # Two convolutions of 3×3 per level and step reach (2 + 2) · 1 + (2 + 2) · 2 + 2 · 4 = 20 pixels.
    # Up-convolutions look back 1 + 2.
    net = build(NetworkConfig(2, 3, base_channels=2, depth=2)).eval()
    assert measure_geometry(net).reach == 23
    assert measure_geometry(net).stride == 4
    # Statistics must not move, and the network must stay as it is.
    assert all(not module._forward_hooks for module in net.modules())


def test_ensembles_average_probabilities(tmp_path):
    paths = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for path, network in zip(paths, ({}, {"depth": 3, "in_channels": 1}), strict=True):
        save_checkpoint(path, describe({**SMALL, **network}))
    singles = [Unet(path, "cpu", "fp32").predict_proba(PICTURE) for path in paths]
    unet = Unet(paths, "cpu", "fp32")
    np.testing.assert_allclose(unet.predict_proba(PICTURE), np.mean(singles, axis=0), atol=1e-5)
    np.testing.assert_array_equal(unet.predict(PICTURE), np.mean(singles, axis=0).argmax(0))
    assert np.abs(singles[0] - singles[1]).max() > 0.01


def test_ensembles_of_other_classes_are_refused(tmp_path):
    paths = [
        save_untrained(tmp_path / "a.pth"),
        save_untrained(tmp_path / "b.pth", ["background", "cat", "dog"]),
    ]
    with refused("ensemble-classes", paths[1]) as caught:
        Unet(paths, "cpu")
    assert "cat, dog" in caught.value.found
    assert str(paths[0]) in caught.value.expected


def test_test_time_augmentation_is_the_mean_over_eight_sides():
    unet = live(describe(SMALL))
    square = LARGE[:64, :96]
    expected = np.zeros((3, 64, 96), np.float32)
    for flip in (1, -1):
        for turns in range(4):
            side = unet.predict_proba(np.ascontiguousarray(np.rot90(square[:, ::flip], turns)))
            expected += np.rot90(side, -turns, (1, 2))[:, :, ::flip] / 8
    unet.members[0].tta = True
    np.testing.assert_allclose(unet.predict_proba(square), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("symmetry", "views"),
    [
        (["left_right"], [lambda a: a, np.fliplr]),
        (["top_bottom"], [lambda a: a, np.flipud]),
        (["left_right", "top_bottom"], [lambda a: a, np.fliplr, np.flipud, lambda a: a[::-1, ::-1]]),
        ([], [lambda a: a]),
    ],
)
def test_test_time_augmentation_knows_the_symmetry_of_the_training(symmetry, views):
    unet = live(describe(SMALL))
    square = LARGE[:64, :96]
    seen = [unet.predict_proba(np.ascontiguousarray(view(square))).transpose(1, 2, 0) for view in views]
    expected = np.mean([view(one) for view, one in zip(views, seen, strict=True)], axis=0).transpose(2, 0, 1)
    unet.members[0].tta, unet.members[0].checkpoint.settings["symmetry"] = True, symmetry
    np.testing.assert_allclose(unet.predict_proba(square), expected, atol=1e-5)


def test_a_function_of_single_pixels_is_the_same_from_all_sides():
    batch = torch.rand(2, 3, 5, 7)
    for logits in dihedral_logits(batch, lambda x: x * 2, 4, symmetric_views(None)):
        torch.testing.assert_close(logits, batch * 2)


def test_mean_of_probabilities_by_hand():
    a, b = torch.tensor([0.9, 0.1]), torch.tensor([0.5, 0.5])
    logits = mean_logits(x.log().view(1, 2, 1, 1) for x in (a, b))
    torch.testing.assert_close(logits.softmax(1).flatten(), torch.tensor([0.7, 0.3]))
    # A probability of 0 in all parts stays a number.
    sure = torch.tensor([200.0, -200.0]).view(1, 2, 1, 1)
    assert mean_logits([sure, sure]).isfinite().all()


def test_maps_by_hand():
    logits = torch.tensor([[0.5, 1.0, 0.25], [0.5, 0.0, 0.75]]).log().unsqueeze(1)
    assert entropy(logits.clamp(min=-200)).tolist() == [[255, 0, round(0.811278 * 255)]]
    torch.testing.assert_close(probabilities(logits)[1], torch.tensor([[0.5, 0.0, 0.75]]))
    assert [probability_of(index, logits).tolist() for index in (0, 1)] == [[[128, 255, 64]], [[128, 0, 191]]]
    assert probability_of(0, logits).dtype == torch.uint8
    assert classes(logits).tolist() == [[0, 0, 1]]
    assert certainty(logits).tolist() == [[128, 255, 191]]


def test_a_letterboxed_picture_is_seen_once():
    unet, seen = live(describe(SMALL, fit="letterbox")), []
    unet.net.register_forward_hook(lambda net, inputs, output: seen.append(inputs[0].shape[-2:]))
    parts, whole = tiled_and_whole(unet, LARGE, 64)
    assert tiles_of(unet) > 9
    assert seen == [(32, 32)] * 2
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    batch = torch.from_numpy(LARGE).permute(2, 0, 1)[None]
    np.testing.assert_allclose(unet.logits(batch)[0].softmax(0), whole, atol=1e-6)
