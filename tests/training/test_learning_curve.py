"""The learning curve: known powers are found, noise is told, the band is that of a regression."""

import numpy as np
import pytest
from scipy import stats

from utils.training.learning_curve import fit_curve

SIZES = [5, 5, 10, 10, 20, 20]


def test_a_power_is_continued():
    mious = [1 - 0.5 * size**-0.4 for size in SIZES]
    curve = fit_curve(SIZES, mious)
    line, low, high = curve.predict(40)
    assert line == pytest.approx(1 - 0.5 * 40**-0.4, abs=1e-9)
    assert high - low < 1e-6
    assert curve.is_rising
    gain = (1 - 0.5 * 40**-0.4) - (1 - 0.5 * 20**-0.4)
    assert curve.sentence().startswith(f"twice as many pictures would bring {gain:+.3f}: mIoU {line:.3f}")


@pytest.mark.parametrize("mious", [[0.7, 0.8, 0.75, 0.7, 0.8, 0.7], [0.8, 0.8, 0.75, 0.75, 0.7, 0.7]])
def test_noise_and_falling_scores_cannot_be_continued(mious):
    assert fit_curve(SIZES, mious).sentence().startswith("cannot tell")


def test_fewer_pictures_that_did_better_make_a_rise_doubtful():
    """Runs of twelve seconds on 8, 16 and 32 pictures: the last four alone rise steeply."""
    mious = [0.624, 0.510, 0.519, 0.425, 0.684, 0.680]
    assert fit_curve([16, 16, 32, 32], mious[2:]).sentence().startswith("twice as many pictures")
    assert fit_curve([8, 8, 16, 16, 32, 32], mious).sentence().startswith("cannot tell")


def test_the_band_of_wild_runs_ends_at_0():
    line, low, high = fit_curve([5, 5, 10, 10], [0.28, 0.2, 0.2, 0.41]).predict(np.array([10, 1000]))
    assert low.tolist() == [0, 0]
    assert ((line >= 0) & (line <= high) & (high <= 1)).all()


def test_the_band_holds_the_line_of_other_runs_as_often_as_it_says():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        noise = rng.normal(0, 0.1, len(SIZES))
        curve = fit_curve(SIZES, 1 - np.exp(np.log(0.5) - 0.4 * np.log(SIZES) + noise))
        _, low, high = curve.predict(40)
        inside += low <= 1 - 0.5 * 40**-0.4 <= high
    assert inside / 400 == pytest.approx(0.95, abs=0.03)


def test_slope_and_its_noise_are_those_of_scipy():
    mious = np.array([0.70, 0.72, 0.75, 0.78, 0.80, 0.79])
    curve = fit_curve(SIZES, mious)
    # The smallest number of pictures is drawn, but the line does not follow it.
    other = stats.linregress(np.log(SIZES[2:]), np.log(1 - mious[2:]))
    assert (curve.slope, curve.offset) == pytest.approx((other.slope, other.intercept))
    assert curve.is_rising == (other.slope + stats.t.ppf(0.975, 2) * other.stderr < 0)


def test_a_curve_that_flattens_is_not_continued_steeply():
    """Runs on 2, 5 and 10 slices of ISBI; with 20, trained as long, the mIoU was 0.786."""
    mious = [0.702, 0.593, 0.755, 0.781, 0.780, 0.782]
    curve = fit_curve([2, 2, 5, 5, 10, 10], mious)
    assert curve.predict(20)[0] == pytest.approx(0.786, abs=0.02)
    # Too few runs to leave any out.
    assert fit_curve([1, 1, 2], [0.5, 0.52, 0.6]).predict(4)[0] > 0.6
    assert fit_curve([1, 2, 4], [0.5, 0.6, 0.66]).few[0].size == 0
    assert curve.figure().axes[0].lines[-1].get_xydata()[:, 1].tolist() == mious
