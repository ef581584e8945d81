"""From picture values to network input."""

import numpy as np
import pytest
import torch

from utils.images.normalisation import Normalisation, stretch, to_tensor

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


def test_plain_values_rebuild_it():
    values = IMAGENET.to_dict()
    assert all(isinstance(number, float) for name in ("mean", "std") for number in values[name])
    assert Normalisation(**values)(to_tensor(PICTURES[0])[None]).equal(IMAGENET(to_tensor(PICTURES[0])[None]))


def test_stretching_by_hand():
    image = np.array([[0, 1000, 1500, 2000, 65535]], np.uint16)
    assert stretch(image, (1000, 2000)).tolist() == [[0, 0, 32768, 65535, 65535]]
    assert stretch(image, None) is image
    gray = np.zeros((2, 2), np.uint8)
    assert stretch(gray, (1000, 2000)) is gray
