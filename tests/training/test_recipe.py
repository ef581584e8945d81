"""The recipe: what is proposed for pictures of some sizes, channels and classes."""

import pytest

from utils.training.recipe import (
    choose_coarse,
    choose_depth,
    choose_optimizer,
    describe_asymmetry,
    fit_augmentation,
    plan_crops,
    plan_sizes,
    propose,
    validation_interval,
)
from utils.voc.orientation import Asymmetry
from utils.voc.structure import Structure

NEITHER, UPRIGHT = Asymmetry(0, 0, 0), Asymmetry(0.004, 0.07, 0.004)


def propose_flags(sizes, channels=1, shares=None, objects=()):
    proposals = propose(sizes, channels, shares or {"cell": 0.5}, objects, NEITHER)
    return " ".join(one.flags for one in proposals)


@pytest.mark.parametrize(
    ("size", "count", "objects", "flags"),
    [
        ((256, 256), 40, [(400, 900)], "--fit crop --input-shape 256 256 --batch-size 2 "),
        ((512, 512), 20, [(400, 900)], "--fit crop --input-shape 256 256 --batch-size 2 "),
        ((512, 512), 80, [(400, 900)], "--fit crop --input-shape 256 256 --batch-size 6 "),
        ((512, 512), 200, [(400, 900)], "--fit crop --input-shape 512 512 --batch-size 4 "),
        ((300, 500), 400, [(400, 900)], "--fit crop --input-shape 320 512 --batch-size 6 "),
        ((2000, 3000), 10, [(400, 900)], "--fit crop --input-shape 512 512 --batch-size 4 "),
        ((2000, 3000), 10, [], "--fit crop --input-shape 512 512 --batch-size 4 "),
        ((2000, 3000), 40, [(90_000, 4e6)], "--fit letterbox --input-shape 512 512 --batch-size 2 "),
        ((2000, 3000), 40, [(100, 300), (90_000, 4e6)], "--fit crop --input-shape 512 512 --batch-size 4 "),
        ((64, 64), 1, [(400, 900)], "--fit crop --input-shape 64 64 --batch-size 1 "),
    ],
)
def test_sizes_proposed(size, count, objects, flags):
    flags += "--in-channels 1 --augmentation default --class-weights none"
    assert propose_flags([size] * count, objects=objects) == flags


def test_channels_and_weights_proposed():
    sizes = [(64, 64)] * 2
    for channels in (3, 5):
        assert f"--in-channels {channels}" in propose_flags(sizes, channels)
    for share, warned in ((0.03, True), (0.2, False)):
        *_, weights = propose(sizes, 1, {"a": 1 - share, "b": share}, (), NEITHER)
        assert weights.flags == "--class-weights none"
        assert f"class b has {share:.2%} of the pixels" in weights.reason
        assert ("if it is never found" in weights.reason) == warned


def test_views_proposed_are_those_that_training_chooses():
    for asymmetry in (NEITHER, UPRIGHT, Asymmetry(0.2, 0.0, 0.0)):
        views = f"--augmentation {fit_augmentation('default', asymmetry)}"
        proposals = propose([(64, 64)], 1, {"a": 1}, (), asymmetry)
        (reason,) = (one.reason for one in proposals if one.flags == views)
        assert reason == f"the classes have {describe_asymmetry(asymmetry)}"
    assert describe_asymmetry(UPRIGHT) == "an up (7.0%)"


def test_only_what_training_would_not_choose_is_needed():
    def needed(size, objects, shares):
        return [one.needed for one in propose([size] * 40, 1, shares, objects, NEITHER) if one.needed]

    assert needed((256, 256), [(400, 900)], {"a": 0.5, "b": 0.5}) == []
    assert needed((2000, 3000), [(90_000, 4e6)], {"a": 0.97, "b": 0.03}) == ["--fit letterbox"]


@pytest.mark.parametrize(
    ("text", "asymmetry", "fitted"),
    [
        ("default", NEITHER, "default"),
        ("default", Asymmetry(0.004, 0.002, 0.0006), "default"),  # a stack of slices
        ("default", UPRIGHT, "default,top_bottom=0,turn=0"),
        ("default", Asymmetry(0.2, 0.2, 0), "default,left_right=0,top_bottom=0,turn=0"),
        ("default", Asymmetry(0, 0, 0.05), "default,turn=0"),
        ("default,turn=1", UPRIGHT, "default,turn=1,top_bottom=0"),
        ("strong,flip=1,rotate=10", UPRIGHT, "strong,flip=1,rotate=10,turn=0"),
        ("none", UPRIGHT, "none"),
        ("default,top_bottom=0,turn=0", UPRIGHT, "default,top_bottom=0,turn=0"),
    ],
)
def test_mirroring_and_turning_follow_the_data_unless_they_are_named(text, asymmetry, fitted):
    assert fit_augmentation(text, asymmetry) == fitted
    assert fit_augmentation(fitted, asymmetry) == fitted


@pytest.mark.parametrize(
    ("sizes", "pixels", "planned"),
    [
        # 8 minutes at 0.7 M pixels per second: many small steps.
        ([(360, 480)] * 367, 8 * 60 * 0.7e6, ((256, 256), 2)),
        # The same pictures on a GPU.
        ([(360, 480)] * 367, 8 * 60 * 50e6, ((384, 480), 6)),
        # Upright among wide pictures: a crop that fits in nearly all of them.
        ([(213, 320)] * 80 + [(320, 213)] * 20, None, ((224, 224), 3)),
        ([(512, 512)] * 70 + [(64, 64)] * 30, 2e8, ((256, 256), 2)),
    ],
)
def test_crops_follow_from_the_pixels_that_a_run_will_see(sizes, pixels, planned):
    assert plan_crops(sizes, pixels=pixels) == planned


def test_small_steps_of_wide_classes_show_more():
    sizes = [(360, 480)] * 367
    assert [plan_crops(sizes, pixels=3e8, width=width)[1] for width in (0, 29, 30)] == [2, 2, 4]
    # Large steps are as large as ever.
    assert plan_crops(sizes, pixels=2e10, width=30) == plan_crops(sizes, pixels=2e10)


def test_given_crops_and_batches_stay():
    sizes = [(360, 480)] * 367
    assert plan_crops(sizes, (96, 160), 7, pixels=1e9) == ((96, 160), 7)
    assert plan_crops(sizes, (96, 160), pixels=1e9)[0] == (96, 160)
    assert plan_crops(sizes, batch_size=5, pixels=1e9)[1] == 5


@pytest.mark.parametrize(
    ("train", "val", "epochs"), [(100, 0, 1), (100, 10, 1), (80, 20, 2), (349, 131, 3), (5, 100, 133)]
)
def test_validation_takes_about_a_twentieth_of_the_time(train, val, epochs):
    assert validation_interval(train, val) == epochs


def structures(*widths: float, parts: float = 1, largest: float = 1) -> dict[int, Structure]:
    return {index: Structure(width, parts, largest) for index, width in enumerate(widths)}


@pytest.mark.parametrize(
    ("found", "width", "coarse"),
    [
        (structures(30, 50), 40, 0.6),
        (structures(10, 50), 20, 0.5),
        (structures(40, 40, 40, 4), 36, 0.6),
        (structures(40, 4), 36, 0),
        (structures(40, 8, parts=50, largest=0.1), 36, 0),
    ],
)
def test_small_crops_are_for_classes_that_are_not_thin_and_separate_nothing(found, width, coarse):
    assert choose_coarse(found, width) == coarse


@pytest.mark.parametrize(("widths", "coarse"), [((80, 11), 0), ((80, 13), 0.5), ((80, 40, 40, 8), 0.5)])
def test_strokes_grow_beyond_thin_classes(widths, coarse):
    assert choose_coarse(structures(*widths), 20, strokes=True) == coarse


def test_wide_classes_get_a_deeper_network():
    assert [choose_depth(width) for width in (5, 20, 40)] == [4, 4, 5]


@pytest.mark.parametrize(
    ("coarse", "width", "crop", "sizes"),
    [
        (0.85, 40, (256, 256), [(0.34, 4), (0.85, 2)]),
        (0.85, 12, (256, 256), [(0.85, 2)]),
        (0.85, 40, (256, 48), [(0.85, 2)]),
        (0.85, 40, (16, 256), []),
        (0, 40, (256, 256), []),
    ],
)
def test_crops_are_as_small_as_the_classes_and_the_network_allow(coarse, width, crop, sizes):
    assert [(pytest.approx(share), divisor) for share, divisor in sizes] == plan_sizes(
        coarse, width, crop, 16
    )


@pytest.mark.parametrize(
    ("backbone", "fine_tunes", "known", "chosen"),
    [
        ("plain", False, None, "muon"),
        ("plain", True, "muon", "muon"),
        ("plain", True, "adamw", "adamw"),
        ("plain", True, None, "adamw"),
        ("resnet50", False, None, "adamw"),
    ],
)
def test_muon_goes_on_with_what_it_made(backbone, fine_tunes, known, chosen):
    assert choose_optimizer(backbone, fine_tunes, known) == chosen
