"""The recipe: what is proposed for pictures of some sizes, channels and classes."""

import pytest

from utils.training.recipe import propose


def propose_flags(sizes, channels=1, shares=None, objects=()):
    return " ".join(one.flags for one in propose(sizes, channels, shares or {"cell": 0.5}, objects))


@pytest.mark.parametrize(
    ("size", "count", "objects", "flags"),
    [
        ((256, 256), 40, [(400, 900)], "--fit crop --input-shape 256 256 --batch-size 2 "),
        ((512, 512), 20, [(400, 900)], "--fit crop --input-shape 256 256 --batch-size 2 "),
        ((512, 512), 80, [(400, 900)], "--fit crop --input-shape 256 256 --batch-size 8 "),
        ((512, 512), 200, [(400, 900)], "--fit crop --input-shape 512 512 --batch-size 4 "),
        ((300, 500), 400, [(400, 900)], "--fit crop --input-shape 320 512 --batch-size 6 "),
        ((2000, 3000), 10, [(400, 900)], "--fit crop --input-shape 512 512 --batch-size 4 "),
        ((2000, 3000), 10, [], "--fit crop --input-shape 512 512 --batch-size 4 "),
        ((2000, 3000), 40, [(90_000, 4e6)], "--fit letterbox --input-shape 512 512 --batch-size 4 "),
        ((2000, 3000), 40, [(100, 300), (90_000, 4e6)], "--fit crop --input-shape 512 512 --batch-size 4 "),
        ((64, 64), 1, [(400, 900)], "--fit crop --input-shape 64 64 --batch-size 1 "),
    ],
)
def test_sizes_proposed(size, count, objects, flags):
    assert propose_flags([size] * count, objects=objects) == flags + "--in-channels 1 --class-weights none"


def test_channels_and_weights_proposed():
    sizes = [(64, 64)] * 2
    for channels in (3, 5):
        assert f"--in-channels {channels}" in propose_flags(sizes, channels)
    assert "--class-weights balanced" in propose_flags(sizes, shares={"a": 0.97, "b": 0.03})
    assert "--class-weights none" in propose_flags(sizes, shares={"a": 0.8, "b": 0.2})


def test_only_what_training_would_not_choose_is_needed():
    def needed(size, objects, shares):
        return [one.needed for one in propose([size] * 40, 1, shares, objects) if one.needed]

    assert needed((256, 256), [(400, 900)], {"a": 0.5, "b": 0.5}) == []
    assert needed((2000, 3000), [(90_000, 4e6)], {"a": 0.97, "b": 0.03}) == [
        "--fit letterbox",
        "--class-weights balanced",
    ]
