"""Gaps in membranes: closed where the probability has a ridge, and nowhere else."""

import numpy as np
import pytest
from scipy.ndimage import label

from unet import Unet
from utils.core.console import UserError
from utils.inference.gaps import close_gaps
from utils.voc.demo import draw_sample


def two_cells(gap: int) -> np.ndarray:
    """Probability of a membrane of five pixels down the middle, fainter over five rows."""
    probability = np.zeros((40, 60), np.uint8)
    probability[:, 28:33] = 200
    probability[18:23, 28:33] = gap
    return probability


@pytest.mark.parametrize("gap", [120, 60, 30])
def test_a_faint_part_of_a_membrane_is_closed(gap):
    probability = two_cells(gap)
    mask = (probability > 127).astype(np.uint8)
    assert label(mask == 0)[1] == 1
    closed = close_gaps(mask, probability, 1)
    assert label(closed == 0)[1] == 2
    # What is added lies in the gap and is thin.
    added = (closed == 1) & (mask == 0)
    assert added[18:23, 28:33].sum() == added.sum() <= 2 * 5
    assert (closed[mask == 1] == 1).all()


@pytest.mark.parametrize("gap", [0, 3])
def test_a_door_stays_open(gap):
    mask = (two_cells(gap) > 127).astype(np.uint8)
    assert np.array_equal(close_gaps(mask, two_cells(gap), 1), mask)


def test_noise_below_the_depth_makes_no_walls():
    noise = np.random.default_rng(0).integers(0, 8, (50, 50)).astype(np.uint8)
    mask = np.zeros((50, 50), np.uint8)
    assert not close_gaps(mask, noise, 1).any()


def test_other_classes_are_kept():
    probability = two_cells(60)
    mask = np.where(probability > 127, 2, 0).astype(np.uint8)
    mask[:5, :5] = 1
    closed = close_gaps(mask, probability, 2)
    assert (closed[:5, :5] == 1).all()
    assert label(closed != 2)[1] == 2


def test_the_predictor_closes_gaps_of_a_class_by_name():
    image, _ = draw_sample(3, 128)
    # Of so little contrast the network is unsure.
    image = np.uint8(128 + (image.astype(int) - 128) * 0.15)
    model = "model_data/unet_demo.pth"
    plain, closing = (Unet(model, "cpu", close_gaps=name) for name in ("none", "nucleus"))
    index = plain.class_names.index("nucleus")
    probability = np.uint8(np.round(plain.predict_proba(image)[index] * 255))
    expected = close_gaps(plain.predict(image), probability, index)
    assert np.array_equal(closing.predict(image), expected)
    assert not np.array_equal(plain.predict(image), expected)
    with pytest.raises(UserError) as caught:
        Unet("model_data/unet_demo.pth", "cpu", close_gaps="membrane")
    assert (caught.value.code, caught.value.subject) == ("class-unknown", "--close-gaps")
