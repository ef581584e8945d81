"""Gaps in membranes: closed where the probability has a ridge, and nowhere else."""

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from unet import Unet
from utils.core.console import UserError
from utils.inference.closing import choose_closing
from utils.inference.gaps import Closing, close_gaps
from utils.inference.maps import log_odds_of
from utils.voc.demo import draw_sample


def two_cells(gap: float) -> np.ndarray:
    """Logits (2, 40, 60) of a membrane of five pixels down the middle, less probable over five rows."""
    probability = np.full((40, 60), 0.001)
    probability[:, 28:33] = 0.8
    probability[18:23, 28:33] = gap
    return torch.from_numpy(np.log([1 - probability, probability]))


def log_odds(logits, index: int = 1) -> np.ndarray:
    return log_odds_of(index, logits).numpy()


def test_log_odds_by_hand():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2])).view(3, 1, 1).float()
    expected = [127.5 + 127.5 * np.log(p / (1 - p)) / 9.2 for p in (0.5, 0.3, 0.2)]
    assert [log_odds(logits, index).item() for index in range(3)] == np.round(expected).tolist()
    assert log_odds(torch.tensor([50.0, -50.0]).view(2, 1, 1)).item() == 0


@pytest.mark.parametrize("gap", [0.45, 0.2, 0.07])
def test_a_faint_part_of_a_membrane_is_closed(gap):
    logits = two_cells(gap)
    mask = logits.argmax(0).numpy().astype(np.uint8)
    assert label(mask == 0)[1] == 1
    closed = close_gaps(mask, log_odds(logits), 1)
    assert label(closed == 0)[1] == 2
    # What is added lies in the gap and is thin.
    added = (closed == 1) & (mask == 0)
    assert added[18:23, 28:33].sum() == added.sum() <= 2 * 5
    assert (closed[mask == 1] == 1).all()


@pytest.mark.parametrize("gap", [0.001, 0.01])
def test_a_door_stays_open(gap):
    logits = two_cells(gap)
    mask = logits.argmax(0).numpy().astype(np.uint8)
    assert np.array_equal(close_gaps(mask, log_odds(logits), 1), mask)


@pytest.mark.parametrize(("probability", "stays"), [(0.6, False), (0.95, True)])
def test_what_separates_nothing_stays_if_it_is_sure(probability, stays):
    logits = two_cells(0.8)
    sides = torch.tensor([1 - probability, probability]).log().double()
    logits[:, 10:14, 50:54] = sides.view(2, 1, 1)
    mask = logits.argmax(0).numpy().astype(np.uint8)
    closed = close_gaps(mask, log_odds(logits), 1)
    expected = np.zeros_like(mask)
    expected[:, 28:33] = 1
    expected[10:14, 50:54] = stays
    assert np.array_equal(closed, expected)


def test_a_dead_end_becomes_the_nearest_other_class():
    logits = torch.cat([two_cells(0.8), torch.full((1, 40, 60), -9.0).double()])
    logits[:, :, 40:] = logits[[2, 1, 0], :, 40:]  # class 2 on the right
    logits[:, 10:14, 50:54] = torch.tensor([0.001, 0.6, 0.399]).log().double().view(3, 1, 1)
    mask = logits.argmax(0).numpy().astype(np.uint8)
    closed = close_gaps(mask, log_odds(logits), 1)
    assert (mask[10:14, 50:54] == 1).all()
    assert (closed[:, 40:] == 2).all()


def test_noise_below_the_depth_makes_no_walls():
    depth = int(Closing().depth / 9.2 * 127.5)
    noise = np.random.default_rng(0).integers(0, depth, (50, 50)).astype(np.uint8)
    mask = np.zeros((50, 50), np.uint8)
    assert not close_gaps(mask, noise, 1).any()


def test_a_pixel_may_have_to_be_more_probable_to_stay():
    logits = two_cells(0.8)
    logits[:, :, 28] = torch.tensor([0.35, 0.65]).log().double().view(2, 1)
    mask = logits.argmax(0).numpy().astype(np.uint8)
    for least, width in ((0.5, 5), (0.6, 5), (0.7, 4)):
        closed = close_gaps(mask, log_odds(logits), 1, Closing(least=least))
        assert (closed.sum(1) == width).all()


def test_a_deeper_watershed_leaves_a_shallow_basin():
    # The log odds of the membrane are 4.6 above those of the cells.
    logits = two_cells(0.5)
    logits[:, :, 28:33] = torch.tensor([0.91, 0.09]).log().double().view(2, 1, 1)
    mask = np.zeros((40, 60), np.uint8)
    assert label(close_gaps(mask, log_odds(logits), 1, Closing(depth=2.3)) == 0)[1] == 2
    assert not close_gaps(mask, log_odds(logits), 1, Closing(depth=5.8)).any()


def cells_with_a_faint_membrane() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth: two cells; the network sees the membrane by 9 %, too little for the usual depth."""
    logits = two_cells(0.5)
    logits[:, :, 28:33] = torch.tensor([0.91, 0.09]).log().double().view(2, 1, 1)
    logits[:, :, 30] = torch.tensor([0.97, 0.03]).log().double().view(2, 1)
    truth = np.zeros((40, 60), np.uint8)
    truth[:, 30] = 1
    return truth, np.zeros((40, 60), np.uint8), log_odds(logits)


def test_the_depth_that_separates_the_validation_pictures_is_chosen():
    truth, mask, odds = cells_with_a_faint_membrane()
    usual, chosen = Closing(), choose_closing([(truth, mask, odds)], 1, 2)
    assert label(close_gaps(mask, odds, 1, usual) == 0)[1] == 1
    assert label(close_gaps(mask, odds, 1, chosen[0]) == 0)[1] == 2
    assert chosen[1][1].rand_f > chosen[1][0].rand_f


def test_a_membrane_becomes_thinner_as_far_as_miou_may_fall():
    # Each pixel of the membrane of five is true: less of it separates as well, and costs its IoU.
    logits = two_cells(0.8)
    truth = logits.argmax(0).numpy().astype(np.uint8)
    closing, scores = choose_closing([(truth, truth, log_odds(logits))], 1, 2)
    assert closing == Closing() and scores[0] == (1, 1)
    # Of a membrane that is seen two pixels too wide on either side, doubtfully, more separates better.
    logits[:, :, 26:28] = logits[:, :, 33:35] = torch.tensor([0.32, 0.68]).log().double().view(2, 1, 1)
    mask = logits.argmax(0).numpy().astype(np.uint8)
    closing, (_, deep, thin) = choose_closing([(truth, mask, log_odds(logits))], 1, 2)
    assert closing.least == 0.7
    assert thin == (1, 1) and deep.rand_f < 1 and deep.miou < 1


def test_other_classes_are_kept():
    logits = two_cells(0.2)
    mask = np.where(logits.argmax(0) == 1, 2, 0).astype(np.uint8)
    mask[:5, :5] = 1
    closed = close_gaps(mask, log_odds(logits), 2)
    assert (closed[:5, :5] == 1).all()
    assert label(closed != 2)[1] == 2


def test_the_predictor_closes_gaps_of_a_class_by_name():
    image, _ = draw_sample(3, 128)
    # Of so little contrast the network is unsure.
    image = np.uint8(128 + (image.astype(int) - 128) * 0.15)
    model = "model_data/unet_demo.pth"
    plain, closing = (Unet(model, "cpu", close_gaps=name) for name in ("none", "cell"))
    index = plain.class_names.index("cell")
    ridges = log_odds(torch.from_numpy(plain.predict_proba(image)).double().log(), index)
    expected = close_gaps(plain.predict(image), ridges, index)
    assert np.array_equal(closing.predict(image), expected)
    assert not np.array_equal(plain.predict(image), expected)
    with pytest.raises(UserError) as caught:
        Unet("model_data/unet_demo.pth", "cpu", close_gaps="membrane")
    assert (caught.value.code, caught.value.subject) == ("class-unknown", "--close-gaps")
