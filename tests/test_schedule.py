"""The learning rate and the phases of a run, worked out by hand and by property."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.schedule import Phase, Schedule, lr_factor

FROZEN, FREE = Phase(epochs=2, batch_size=4, lr=1.0, frozen=True), Phase(epochs=3, batch_size=2, lr=0.1)
# 10 crops: 3 steps an epoch while frozen, 5 afterwards.
SCHEDULE = Schedule((FROZEN, FREE), crops=10)
lengths = st.integers(1, 30_000)


@given(total=lengths, data=st.data())
def test_factors_stay_between_0_and_1(total, data):
    step = data.draw(st.integers(0, total + 10))
    assert 0 < lr_factor(step, total) <= 1


@given(total=lengths)
def test_the_factor_rises_to_1_and_then_only_falls(total):
    factors = [lr_factor(step, total) for step in range(0, total, max(total // 500, 1))]
    peak = factors.index(max(factors))
    assert all(a < b for a, b in pairwise(factors[: peak + 1]))
    assert all(a >= b for a, b in pairwise(factors[peak:]))
    assert max(lr_factor(step, total) for step in range(min(total, 502))) == 1


@given(total=st.integers(2, 30_000), final=st.sampled_from([0.0, 0.01, 0.5]))
def test_the_last_step_has_the_final_factor(total, final):
    assert lr_factor(total - 1, total, final) == pytest.approx(final)
    assert lr_factor(total + 100, total, final) == pytest.approx(final)


def test_factors_worked_out_by_hand():
    # 101 steps: 5 to warm up, then a cosine over 95 intervals.
    assert [lr_factor(step, 101, 0) for step in range(6)] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert lr_factor(24, 101, 0) == pytest.approx((1 + math.cos(math.pi / 5)) / 2)
    assert lr_factor(0, 1) == 1


@pytest.mark.parametrize(
    ("epoch", "phase", "before"),
    [(0, FROZEN, 0), (1, FROZEN, 3), (2, FREE, 6), (3, FREE, 11), (4, FREE, 16), (5, FREE, 21), (99, FREE, 491)],
)
def test_phases_follow_each_other(epoch, phase, before):
    assert SCHEDULE.phase(epoch) is phase
    assert SCHEDULE.steps_before(epoch) == before


def test_steps_are_counted_over_all_phases():
    assert [SCHEDULE.steps(phase) for phase in (FROZEN, FREE)] == [6, 15]
    assert SCHEDULE.total_steps == 21


def test_each_phase_has_a_cycle_of_its_own():
    rates = [SCHEDULE.lr(step) for step in range(21)]
    assert rates[:6] == pytest.approx([lr_factor(step, 6) for step in range(6)])
    assert rates[6:] == pytest.approx([0.1 * lr_factor(step, 15) for step in range(15)])
    assert SCHEDULE.lr(30) == pytest.approx(rates[-1])


def test_an_empty_phase_is_passed_over():
    schedule = Schedule((Phase(0, 4, 1.0, frozen=True), FREE), crops=10)
    assert schedule.phase(0) is FREE
    assert schedule.lr(0) == pytest.approx(0.1 * lr_factor(0, 15))
