"""Which pictures are corrected next: known answers for rarity, diversity and the first choice."""

import numpy as np
import pytest

from utils.annotating.choice import Candidate, choose, describe_look, weigh_classes

RNG = np.random.default_rng(0)


def candidate(name, look, uncertainty=None, shares=None):
    place = np.zeros(64, np.float32)
    place[: len(look)] = look
    given = (None if values is None else np.array(values, float) for values in (uncertainty, shares))
    return Candidate(name, place, *given)


def test_rare_classes_weigh_more():
    weights = weigh_classes(np.array([64, 16, 0]))
    # Shares 0.8, 0.2 and, because 0 would weigh without limit, 0.02.
    expected = np.array([0.8, 0.2, 0.02]) ** -0.5
    assert weights == pytest.approx(expected / expected.mean())


def test_uncertainty_about_a_rare_class_counts_more_than_about_a_common_one():
    common = candidate("common", [1], [0.3, 0.0], [1, 0])
    rare = candidate("rare", [-1], [0.0, 0.2], [1, 0])
    assert choose([common, rare], [], np.array([99, 1]), 1, "uncertain", RNG) == ["rare"]
    assert choose([common, rare], [], np.array([50, 50]), 1, "uncertain", RNG) == ["common"]


def test_two_pictures_of_one_look_are_not_both_chosen():
    looks = {"a": [5], "twin of a": [5], "b": [-5]}
    pool = [candidate(name, look, [0.1 if name == "b" else 0.2], [1]) for name, look in looks.items()]
    assert choose(pool, [], np.array([1]), 2, "uncertain", RNG) == ["a", "b"]
    # What is corrected already counts as well.
    known = [candidate("corrected", [5], None, [1])]
    assert choose(pool, known, np.array([1]), 1, "uncertain", RNG) == ["b"]


def test_the_first_choice_takes_one_of_each_kind():
    centres = np.eye(3) * 10
    pool = [candidate(f"{kind}{i}", centres[kind] + i / 100) for kind in range(3) for i in range(4)]
    assert {name[0] for name in choose(pool, [], None, 3, "uncertain", RNG)} == {"0", "1", "2"}


@pytest.mark.parametrize("choice", ["uncertain", "random"])
@pytest.mark.parametrize("count", [3, 9])
def test_every_choice_is_of_different_pictures(choice, count):
    pool = [candidate(str(i), [0], [0.0], [1]) for i in range(5)]
    chosen = choose(pool, [], np.array([1]), count, choice, np.random.default_rng(1))
    assert len(set(chosen)) == len(chosen) == min(count, 5)


def test_the_look_of_a_gray_picture_is_that_of_the_same_in_colour():
    gray = np.random.default_rng(0).integers(0, 256, (60, 90), np.uint8)
    assert np.array_equal(describe_look(gray), describe_look(np.dstack([gray] * 3)))
    dark = describe_look(np.zeros((5, 7), np.uint8))
    assert dark.shape == (64,) and dark[48:].max() == 0
