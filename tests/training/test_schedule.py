"""The learning rate and the phases of a run, worked out by hand and by property."""

import math
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.training.schedule import Phase, Schedule, TimeBudget, lr_factor

FROZEN, FREE = Phase(epochs=2, batch_size=4, lr=1.0, frozen=True), Phase(epochs=3, batch_size=2, lr=0.1)
# 10 crops: 3 steps per epoch while frozen, 5 afterwards.
SCHEDULE = Schedule((FROZEN, FREE), crops=10)
curves = pytest.mark.parametrize("curve", ["cosine", "one_cycle", "step"])


@curves
@given(progress=st.floats(0, 1.1))
def test_factors_stay_between_0_and_1(curve, progress):
    assert 0 <= lr_factor(progress, curve) <= 1


@curves
def test_the_factor_rises_to_1_and_then_only_falls(curve):
    factors = [lr_factor(step / 1000, curve) for step in range(1001)]
    peak = factors.index(max(factors))
    assert factors[peak] == pytest.approx(1)
    assert all(a < b for a, b in pairwise(factors[: peak + 1]))
    assert all(a >= b for a, b in pairwise(factors[peak:]))
    assert lr_factor(1.5, curve) == factors[-1] == pytest.approx(1e-4 if curve == "one_cycle" else 0.01)


def test_factors_worked_out_by_hand():
    assert [lr_factor(p) for p in (0.01, 0.025, 0.05)] == pytest.approx([0.2, 0.5, 1])
    assert lr_factor(0.05 + 0.95 / 5) == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi / 5)) / 2)
    assert [lr_factor(p, "step") for p in (0.05, 0.61, 0.63, 0.85, 0.87, 1)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    assert [lr_factor(p, "one_cycle") for p in (0, 0.15, 0.3, 0.65)] == pytest.approx(
        [0.04, 0.52, 1, 0.50005]
    )


@pytest.mark.parametrize(
    ("epoch", "phase", "before"),
    [
        (0, FROZEN, 0),
        (1, FROZEN, 3),
        (2, FREE, 6),
        (3, FREE, 11),
        (4, FREE, 16),
        (5, FREE, 21),
        (99, FREE, 491),
    ],
)
def test_phases_follow_each_other(epoch, phase, before):
    assert SCHEDULE.phase(epoch) is phase
    assert SCHEDULE.steps_before(epoch) == before


def test_steps_are_counted_over_all_phases():
    assert [SCHEDULE.steps(phase) for phase in (FROZEN, FREE)] == [6, 15]
    assert SCHEDULE.total_steps() == 21


def test_each_phase_has_a_cycle_of_its_own():
    rates = [SCHEDULE.lr(step) for step in range(21)]
    assert rates[:6] == pytest.approx([lr_factor((step + 1) / 6) for step in range(6)])
    assert rates[6:] == pytest.approx([0.1 * lr_factor((step + 1) / 15) for step in range(15)])
    assert SCHEDULE.lr(30) == pytest.approx(rates[-1])
    assert list(SCHEDULE.epochs(done=3)) == [3, 4]


def test_an_empty_phase_is_passed_over():
    schedule = Schedule((Phase(0, 4, 1.0, frozen=True), FREE), crops=10)
    assert schedule.phase(0) is FREE
    assert schedule.lr(0) == pytest.approx(0.1 * lr_factor(1 / 15))


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """A clock with one hand, that the test sets."""
    hand = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: hand[0])
    return hand


def test_a_budget_is_used_up_by_the_clock(clock):
    budget = TimeBudget(60, start=100)
    clock[0] = 115
    assert budget.progress() == 0.25
    budget.reserve = 30
    assert budget.progress() == 0.5
    budget.deduct(9)
    assert budget.progress() == pytest.approx(0.8)
    clock[0] = 500
    assert budget.progress() == 1
    budget.reserve = 70
    assert budget.progress() == 1
    budget.deduct(1)
    assert budget.progress() == 1


def test_what_is_done_after_the_last_epoch_is_part_of_the_budget(clock):
    budget = TimeBudget(60, start=100, reserve=10, at_end=20)
    clock[0] = 115
    assert budget.progress() == 0.5
    clock[0] = 130
    assert budget.progress() == 1


def test_with_a_budget_the_rate_follows_the_time_and_the_epochs_end_with_it(clock):
    schedule = Schedule((FROZEN, FREE), crops=10, budget=TimeBudget(100, start=100))
    done, rates = [], []
    for epoch in schedule.epochs(0):
        for step in schedule.in_time(range(schedule.steps_before(epoch), schedule.steps_before(epoch + 1))):
            rates.append(schedule.lr(step))
            clock[0] += 3
            done.append(step)
        if schedule.is_over(epoch):
            break
    # 34 steps of 3 seconds fill 100; the last epoch is cut short.
    assert done == list(range(34))
    assert rates[:6] == pytest.approx([lr_factor(0.03 * step) for step in range(6)])
    assert rates[6:] == pytest.approx([0.1 * lr_factor(0.03 * step) for step in range(6, 34)])
    clock[0] = 150
    assert schedule.total_steps(done=10) == 20


def test_a_budget_that_is_over_at_once_still_gives_one_step(clock):
    schedule = Schedule([FREE], crops=10, budget=TimeBudget(1, start=0))
    assert next(schedule.epochs(0)) == 0
    # A run that is resumed has had its steps.
    assert list(schedule.epochs(7)) == []
    assert list(schedule.in_time([1, 2, 3])) == [1]
    assert schedule.is_over(7)
    assert schedule.validates(7)


def test_validation_comes_every_few_epochs_and_at_the_end():
    schedule = replace(SCHEDULE, validate_every=2)
    assert [epoch for epoch in schedule.epochs(0) if schedule.validates(epoch)] == [1, 3, 4]
    assert [epoch for epoch in schedule.epochs(0) if schedule.is_over(epoch)] == [4]


def test_the_time_of_a_validation_is_kept_for_the_last_one(clock):
    schedule = Schedule([FREE], crops=10, budget=TimeBudget(100, start=0), validate_every=9)
    clock[0] = 80
    assert not schedule.closes(0, reserve=10)
    clock[0] = 91
    assert schedule.validates(1)
    assert schedule.is_over(1)


GROWING = replace(SCHEDULE, sizes=[(0.4, 4), (0.8, 2)])


def test_crops_grow_over_the_epochs_and_small_ones_are_more():
    assert [GROWING.divisor(epoch) for epoch in range(5)] == [4, 4, 2, 2, 1]
    assert [GROWING.batch_size(epoch, GROWING.divisor(epoch)) for epoch in range(5)] == [32, 32, 6, 6, 2]
    assert [GROWING.steps_before(epoch) for epoch in range(6)] == [0, 1, 2, 4, 6, 11]
    assert [GROWING.steps(phase) for phase in (FROZEN, FREE)] == [2, 9]
    assert GROWING.lr(1) == pytest.approx(lr_factor(1))
    assert GROWING.lr(10) == pytest.approx(0.1 * lr_factor(1))


def test_crops_grow_with_the_time_of_a_budget(clock):
    schedule = replace(GROWING, budget=TimeBudget(100, start=100))
    divisors = []
    for clock[0] in (100, 139, 140, 179, 180, 500):
        divisors.append(schedule.divisor(0))
    assert divisors == [4, 4, 2, 2, 1, 1]


def test_epochs_on_small_crops_are_validated_as_much_less_often_as_they_are_shorter():
    schedule = replace(GROWING, phases=(replace(FREE, epochs=50),))
    assert [epoch + 1 for epoch in range(50) if schedule.validates(epoch)] == [
        16,
        *range(24, 41, 4),
        *range(41, 51),
    ]
