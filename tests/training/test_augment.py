"""Random transforms: picture and mask move as one, exactly where possible, the same for the same seed."""

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.training.augmentation import (
    STRENGTHS,
    Augmentation,
    augment,
    change_values,
    parse_augmentation,
    resample,
)

NONE = STRENGTHS["none"]
RNG = np.random.default_rng(0)
MASK = RNG.integers(0, 200, (40, 60)).astype(np.uint8)
IMAGE = RNG.integers(0, 256, (40, 60, 3), np.uint8)
SIZES = [(16, 16), (40, 60), (1, 1), (7, 60), (64, 96), (41, 61), (45, 75)]
GEOMETRY = {
    "rotate": 45.0,
    "scale": 0.4,
    "shear": 20.0,
    "shift": 20.0,
    "elastic": 8.0,
    "left_right": True,
    "top_bottom": True,
    "turn": True,
}
VALUES = {
    "brightness": 0.3,
    "contrast": 0.5,
    "gamma": 0.5,
    "illumination": 0.4,
    "blur": 2.0,
    "noise": 0.1,
    "shot": 0.1,
    "saturation": 0.5,
    "hue": 60.0,
    "jpeg": 10,
    "erase": 0.3,
}
COLOUR, EIGHT_BITS = ("saturation", "hue"), ("jpeg",)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def mirrored(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The picture among its mirror images, `rows` and `columns` of them on each side."""
    return np.pad(image, [(rows, rows), (columns, columns)] + [(0, 0)] * (image.ndim - 2), mode="symmetric")


def find(part: np.ndarray, whole: np.ndarray) -> tuple[int, int] | None:
    """Where a crop (h, w) of distinct values stands in `whole`."""
    for y, x in np.argwhere(whole == part[0, 0]):
        here = whole[y : y + part.shape[0], x : x + part.shape[1]]
        if here.shape == part.shape and (here == part).all():
            return int(y), int(x)
    return None


def blobs(shape: tuple[int, int], classes: int) -> np.ndarray:
    """A mask of smooth regions."""
    noise = cv2.GaussianBlur(rng(1).standard_normal((*shape, classes)), (0, 0), 5)
    return noise.argmax(2).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", SIZES)
def test_identity_settings_give_a_plain_slice(size, dtype):
    # Every pixel has its own value, so that a crop tells where it comes from.
    image = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60)
    for seed in range(10):
        crop, mask = augment(image.astype(dtype), MASK, size, NONE, rng(seed))
        truth, _ = augment(image, MASK, size, NONE, rng(seed))
        place = find(truth, mirrored(image, 40, 60))
        assert place is not None
        window = np.s_[place[0] : place[0] + size[0], place[1] : place[1] + size[1]]
        np.testing.assert_array_equal(crop, mirrored(image.astype(dtype), 40, 60)[window])
        np.testing.assert_array_equal(mask, mirrored(MASK, 40, 60)[window])
        assert crop.dtype == dtype


def test_crops_come_from_everywhere():
    image = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60)
    corners = {int(augment(image, MASK, (38, 58), NONE, rng(seed))[0][0, 0]) for seed in range(100)}
    assert corners == {y * 60 + x for y in range(3) for x in range(3)}


def test_the_whole_picture_stays_in_place():
    image, mask = augment(IMAGE, MASK, (40, 60), NONE, rng(0))
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(mask, MASK)


def test_turns_and_flips_are_exact_and_all_eight_occur():
    square, mask = IMAGE[:, :40], MASK[:, :40]
    eight = [np.rot90(a, k) for a in (mask, mask.T) for k in range(4)]
    seen = set()
    for seed in range(100):
        turned, turned_mask = augment(
            square, mask, (40, 40), replace(NONE, left_right=True, top_bottom=True, turn=True), rng(seed)
        )
        which = [i for i, candidate in enumerate(eight) if (candidate == turned_mask).all()]
        assert len(which) == 1
        seen.add(which[0])
        source = square if which[0] < 4 else np.swapaxes(square, 0, 1)
        np.testing.assert_array_equal(turned, np.rot90(source, which[0] % 4))
    assert seen == set(range(8))


@pytest.mark.parametrize("size", [(9, 14), (14, 9), (16, 15)])
def test_turns_of_odd_and_even_sides_resample_nothing(size):
    """A line of one pixel stays one, and every value of the crop is one of the picture."""
    mask = np.zeros((40, 61), np.uint8)
    mask[:, 30] = 1
    image = RNG.integers(0, 65536, mask.shape, np.uint16)
    settings = replace(NONE, turn=True, left_right=True, top_bottom=True)
    turned = 0
    for seed in range(40):
        part, line = augment(image, mask, size, settings, rng(seed))
        if not line.any():
            continue
        columns, rows = line.any(0).sum(), line.any(1).sum()
        assert 1 in (columns, rows)
        assert line.sum() == max(columns, rows)
        turned += rows == 1
        assert np.isin(part, image).all()
    assert turned > 3


@pytest.mark.parametrize(
    ("text", "views"),
    [
        ("none,flip=1", [lambda a: a, np.flipud, np.fliplr, lambda a: a[::-1, ::-1]]),
        ("none,left_right=1", [lambda a: a, np.fliplr]),
        ("none,top_bottom=1", [lambda a: a, np.flipud]),
        ("none,turn=1", [lambda a, k=k: np.rot90(a, k) for k in range(4)]),
        ("light,flip=0,turn=0,balance=0", [lambda a: a]),
    ],
)
def test_each_mirroring_and_turning_has_its_switch(text, views):
    mask, settings = MASK[:, :40], parse_augmentation(text)
    expected = [view(mask) for view in views]
    results = [augment(mask, mask, (40, 40), settings, rng(seed))[1] for seed in range(40)]
    assert all(sum((result == option).all() for option in expected) == 1 for result in results)
    assert all(any((result == option).all() for result in results) for option in expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("part", [*GEOMETRY, "all"])
def test_picture_and_mask_move_together(part, dtype):
    top = np.iinfo(dtype).max
    mask = blobs((80, 100), 3)
    # One channel a class: between neighbours, linear resampling leaves the nearest one at least a quarter.
    image = np.where(mask[..., None] == np.arange(3), top, 0).astype(dtype)
    settings = replace(NONE, elastic_spacing=24, **(GEOMETRY if part == "all" else {part: GEOMETRY[part]}))
    moved = 0
    for seed in range(8):
        crop, warped = augment(image, mask, (64, 72), settings, rng(seed))
        share = np.take_along_axis(crop, warped[..., None].astype(int), axis=2)[..., 0] / top
        assert share.min() > 0.2
        assert (share > 0.99).mean() > 0.7
        moved += not np.array_equal(warped, augment(image, mask, (64, 72), NONE, rng(seed))[1])
    # A shift is for pictures no larger than the crop only.
    assert moved == 0 if part == "shift" else moved >= 6


def test_weights_follow_the_mask():
    mask = blobs((80, 100), 2)
    settings = replace(NONE, **GEOMETRY)
    _, warped, weights = augment(mask * 200, mask, (64, 64), settings, rng(3), mask.astype(np.float32))
    assert weights.dtype == np.float32
    assert np.abs(weights - warped).max() < 0.8
    assert (np.abs(weights - warped) < 0.01).mean() > 0.8


def test_pictures_no_larger_than_the_crop_are_shifted_by_whole_pixels():
    image = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60)
    places = set()
    for seed in range(20):
        crop, _ = augment(image, MASK, (40, 60), replace(NONE, shift=5), rng(seed))
        place = find(crop, mirrored(image, 40, 60))
        assert place is not None
        places.add(place)
    assert len(places) > 15
    assert all(abs(y - 40) < 25 and abs(x - 60) < 25 for y, x in places)


def test_cubic_interpolation_sharpens_the_picture_alone():
    turned = replace(NONE, rotate=30)
    (linear, one), (cubic, two) = (
        augment(IMAGE, MASK, MASK.shape, replace(turned, cubic=cubic), rng(0)) for cubic in (False, True)
    )
    np.testing.assert_array_equal(one, two)
    assert cubic.std() > linear.std() + 1


@pytest.mark.parametrize("offset", [(-25, -33), (-7, 0), (30, 45), (100, -200)])
@pytest.mark.parametrize("interpolation", [cv2.INTER_LINEAR, cv2.INTER_NEAREST])
def test_a_crop_is_resampled_as_if_from_the_whole_picture(offset, interpolation):
    y, x = np.mgrid[:12, :14].astype(np.float32)
    map_x, map_y = 0.93 * x + 0.21 * y + offset[1], 0.83 * y - 0.13 * x + offset[0]
    expected = cv2.remap(IMAGE, map_x, map_y, interpolation, borderMode=cv2.BORDER_REFLECT)
    assert np.abs(resample(IMAGE, map_x, map_y, interpolation).astype(int) - expected).max() <= 1


def test_pictures_beyond_the_limit_of_opencv():
    long = (np.arange(40000) % 251).astype(np.uint8)[None].repeat(4, axis=0)
    crop, mask = augment(long, long, (4, 64), NONE, rng(5))
    np.testing.assert_array_equal(crop, mask)
    assert set((np.diff(mask[0].astype(int)) % 251).tolist()) == {1}


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize(
    "image", [IMAGE, IMAGE[..., 0], IMAGE.astype(np.uint16) * 257], ids=["RGB", "gray", "16-bit"]
)
def test_the_same_seed_gives_the_same_crop(image, strength):
    first, second, other = (
        augment(image, MASK, (32, 32), STRENGTHS[strength], rng(seed)) for seed in (1, 1, 2)
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
    assert first[0].dtype == image.dtype
    assert first[0].shape == (32, 32, *image.shape[2:])
    assert first[1].dtype == np.uint8


@given(
    seed=st.integers(0, 2**32),
    source=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    strength=st.sampled_from(list(STRENGTHS)),
)
def test_masks_keep_their_values(seed, source, size, strength):
    mask = np.random.default_rng(seed).choice(np.array([0, 3, 255], np.uint8), source)
    image, warped = augment(mask, mask, size, STRENGTHS[strength], rng(seed))
    assert image.shape == warped.shape == size
    assert set(np.unique(warped)) <= set(np.unique(mask))


def test_every_part_is_tested_here():
    special = {"balance", "cubic", "mirror", "elastic_spacing"}
    assert {f.name for f in fields(Augmentation)} == GEOMETRY.keys() | VALUES.keys() | special


@pytest.mark.parametrize("part", VALUES)
def test_each_change_of_values_changes_values_only(part):
    settings = replace(NONE, **{part: VALUES[part]})
    for image in (IMAGE, IMAGE[..., 0], IMAGE.astype(np.uint16) * 257):
        results = [change_values(image, settings, rng(seed)) for seed in range(5)]
        assert all(result.shape == image.shape and result.dtype == image.dtype for result in results)
        applies = (part not in COLOUR or image.ndim == 3) and (
            part not in EIGHT_BITS or image.dtype == np.uint8
        )
        assert any((result != image).any() for result in results) == applies
    np.testing.assert_array_equal(augment(IMAGE, MASK, (40, 60), settings, rng(0))[1], MASK)


def test_half_of_the_crops_are_centred_on_a_class_where_asked():
    mask = np.zeros((200, 300), np.uint8)
    mask[90:120, 60:90] = 3
    mask[:, 200:] = 255

    def share(balance: float, value: int) -> float:
        crops = [
            augment(mask, mask, (32, 32), replace(NONE, balance=balance), rng(seed))[1] for seed in range(300)
        ]
        return np.mean([(crop == value).any() for crop in crops])

    # 61 × 61 of 169 × 269 places show some of the object; of the crops that are centred on a class, half
    # are on it. So are half of those that would show nothing but 255, 69 of 269 places.
    assert share(0.0, 3) == pytest.approx(0.08 + 0.54 * 69 / 269, abs=0.06)
    assert share(1.0, 3) == pytest.approx(0.54, abs=0.08)
    assert share(1.0, 255) < share(0.0, 255)


def test_every_crop_shows_some_of_a_stroke_in_a_large_picture():
    mask = np.full((900, 1200), 255, np.uint8)
    mask[700:703, 40:60], mask[100, 900] = 1, 0
    crops = [augment(mask, mask, (32, 32), replace(NONE, turn=True), rng(seed))[1] for seed in range(40)]
    assert all((crop != 255).any() for crop in crops)
    assert any((crop == 1).any() for crop in crops)


@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_of_one_value_can_be_balanced(value):
    mask = np.full((40, 60), value, np.uint8)
    _, crop = augment(mask, mask, (16, 16), replace(NONE, balance=1.0), rng(0))
    assert (crop == value).all()


def test_what_lies_outside_is_mirrored_or_ignored():
    mask = np.full((40, 60), 7, np.uint8)
    mirrored_image, mirrored_mask = augment(IMAGE, mask, (64, 80), NONE, rng(0))
    image, ignored = augment(IMAGE, mask, (64, 80), replace(NONE, mirror=False), rng(0))
    np.testing.assert_array_equal(image, mirrored_image)
    assert (mirrored_mask == 7).all()
    assert (ignored[12:52, 10:70] == 7).all()
    assert (ignored == 7).sum() == 40 * 60
    assert (ignored == 255).sum() == 64 * 80 - 40 * 60
