"""From picture values to network input, and how its numbers are measured."""

import numpy as np
import pytest
import torch

from utils.images.normalisation import Normalisation, measure_normalisation, measure_range, stretch, to_tensor

PICTURES = [
    np.random.default_rng(seed).integers(0, 200, (9 + seed, 7, 3)).astype(np.uint8) for seed in range(3)
]
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(("dtype", "full_scale"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_values_are_scaled_and_standardised(dtype, full_scale):
    picture = (np.random.default_rng(0).random((4, 5, 3)) * full_scale).astype(dtype)
    expected = (picture / full_scale - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    result = IMAGENET(to_tensor(picture).unsqueeze(0))
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result[0].permute(1, 2, 0).numpy(), expected, atol=2e-6)


def test_8_and_16_bits_of_one_picture_are_one_input():
    wide = PICTURES[0].astype(np.uint16) * 257
    torch.testing.assert_close(IMAGENET(to_tensor(wide)[None]), IMAGENET(to_tensor(PICTURES[0])[None]))


def test_the_layout_in_memory_stays():
    images = torch.zeros(2, 3, 4, 5, dtype=torch.uint8).to(memory_format=torch.channels_last)
    assert IMAGENET(images).is_contiguous(memory_format=torch.channels_last)


def test_mean_and_deviation_are_those_of_all_pixels():
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in PICTURES]) / 255
    measured = measure_normalisation(iter(PICTURES))
    np.testing.assert_allclose(measured.mean, pixels.mean(0))
    np.testing.assert_allclose(measured.std, pixels.std(0))
    standardised = torch.cat([measured(to_tensor(p)[None]).flatten(2) for p in PICTURES], dim=2)
    np.testing.assert_allclose(standardised.mean(dim=(0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(standardised.std(dim=(0, 2), correction=0), 1, atol=1e-5)


def test_bit_depths_may_be_mixed():
    mixed = measure_normalisation([PICTURES[0], PICTURES[1].astype(np.uint16) * 257])
    plain = measure_normalisation(PICTURES[:2])
    np.testing.assert_allclose([mixed.mean, mixed.std], [plain.mean, plain.std])


@pytest.mark.parametrize("value", [0, 7, 255])
def test_constant_pictures_do_not_divide_by_zero(value):
    picture = np.full((5, 5, 1), value, np.uint8)
    measured = measure_normalisation([picture])
    assert measured.std == pytest.approx([1 / 255])
    np.testing.assert_allclose(measured(to_tensor(picture)[None]), 0, atol=1e-4)


def test_plain_values_rebuild_it():
    measured = measure_normalisation(PICTURES)
    values = measured.to_dict()
    assert all(isinstance(number, float) for name in ("mean", "std") for number in values[name])
    assert Normalisation(**values)(to_tensor(PICTURES[0])[None]).equal(measured(to_tensor(PICTURES[0])[None]))


def test_the_range_of_16_bit_pictures_leaves_out_a_thousandth_on_each_side():
    values = np.repeat(np.arange(1000, 2000, dtype=np.uint16), 10).reshape(100, 100)
    values[0, 0], values[-1, -1] = 0, 65535
    assert measure_range([values, np.zeros((5, 5), np.uint8)]) == (1000, 1998)
    assert measure_range([np.zeros((5, 5), np.uint8)]) is None


def test_stretching_by_hand():
    image = np.array([[0, 1000, 1500, 2000, 65535]], np.uint16)
    assert stretch(image, (1000, 2000)).tolist() == [[0, 0, 32768, 65535, 65535]]
    assert stretch(image, None) is image
    gray = np.zeros((2, 2), np.uint8)
    assert stretch(gray, (1000, 2000)) is gray
