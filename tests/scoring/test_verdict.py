"""Verdicts: a finding for each known fault, with its evidence and a command, and none for good results."""

import numpy as np
import pytest

from utils.images.normalisation import Normalisation
from utils.scoring.confusion import Scores
from utils.scoring.verdict import Origin, judge_drop, judge_history, judge_overfit, judge_scores, judge_turns
from utils.voc.demo import draw_sample

NAMES = ["background", "cell", "nucleus"]
GOOD = np.array([[90, 2, 2], [2, 40, 0], [2, 0, 40]])


def judged(matrix, names=NAMES):
    return judge_scores(names, Scores(np.array(matrix)), "my data")


def codes(findings):
    return [finding.code for finding in findings]


def test_nothing_to_say_of_good_scores():
    assert judged(GOOD) == []


def test_one_class_everywhere():
    (finding,) = judged([[90, 0, 0], [8, 0, 0], [2, 0, 0]])
    assert finding.code == "one-class"
    assert "10.0% of the truth is cell, nucleus" in finding.evidence
    assert finding.command == 'python train.py --voc-root "my data" --overfit 2'


def test_one_class_in_the_truth_too():
    assert codes(judged([[90, 0, 0], [0, 0, 0], [0, 0, 0]])) == ["one-class-truth"]


def test_a_class_that_is_never_found():
    (finding,) = judged([[90, 2, 0], [2, 40, 0], [5, 37, 0]])
    assert finding.code == "class-never-predicted"
    assert "nucleus is 23.86% of the truth, 88% of it predicted as cell" in finding.evidence
    assert "--class-weights balanced" in finding.command


def test_of_many_classes_that_are_never_found_the_largest_are_told():
    matrix = np.zeros((7, 7), np.int64)
    matrix[:, 0], matrix[1, 1] = [900, 9, 1, 2, 3, 4, 5], 90
    (finding,) = judged(matrix, [f"class {index}" for index in range(7)])
    assert finding.what == "no pixel of class 2, class 3, class 4, class 5, class 6 was found"
    assert [finding.evidence.find(f"class {index} is") for index in (6, 5, 4)] == sorted(
        finding.evidence.find(f"class {index} is") for index in (6, 5, 4)
    )
    assert finding.evidence.endswith("; and 2 more")


def test_a_class_that_is_nowhere_is_no_fault():
    assert judged([[90, 2, 0], [2, 40, 0], [0, 0, 0]]) == []


@pytest.mark.parametrize("order", [[0, 2, 1], [1, 2, 0], [2, 1, 0]])
def test_exchanged_classes_and_the_map_that_mends_them(order):
    # The masks hold the value order[k] where they should hold k.
    spoiled = np.empty_like(GOOD)
    spoiled[order] = GOOD
    (finding,) = judged(spoiled)
    assert finding.code == "classes-exchanged"
    mapping = dict(pair.split(":") for pair in finding.command.split("--map ")[1].split(","))
    mended = np.zeros_like(GOOD)
    for old, new in mapping.items():
        mended[int(new)] += spoiled[int(old)]
    assert np.array_equal(mended, GOOD)


def test_two_of_many_classes_are_exchanged():
    """Which leaves a good mIoU of all."""
    matrix = np.diag([900, 90, 80, 70, 60, 50, 40, 30])
    matrix[[2, 3]] = matrix[[3, 2]]
    names = [f"class {index}" for index in range(8)]
    (finding,) = judged(matrix, names)
    assert finding.evidence.startswith("class 2 is predicted as class 3, class 3 is predicted as class 2")


def test_classes_that_are_mistaken_for_others_are_not_exchanged():
    """All of one is taken for the next, which is found nowhere itself."""
    assert codes(judged([[90, 0, 0], [38, 2, 0], [0, 40, 0]])) == ["class-never-predicted"]


def test_poor_scores_without_a_better_order_are_no_exchange():
    assert "classes-exchanged" not in codes(judged([[30, 20, 30], [9, 9, 9], [8, 9, 8]]))


VIEWS = {
    "turned by 90°": np.rot90,
    "turned by 180°": lambda mask: np.rot90(mask, 2),
    "mirrored left-right": np.fliplr,
    "mirrored top-bottom": np.flipud,
}


@pytest.mark.parametrize("how", VIEWS)
def test_turned_masks(how):
    truths = [draw_sample(seed, 64)[1] for seed in range(3)]
    # What is turned in the truth is turned back in the finding.
    back = {"turned by 90°": "turned by 270°"}.get(how, how)
    (finding,) = judge_turns([(VIEWS[how](mask), mask) for mask in truths], 3, "voc")
    assert finding.code == "masks-turned"
    assert f"mIoU 100.0% with masks {back}" in finding.evidence
    assert finding.command == "python voc2unet.py --voc-root voc --fix"


def test_masks_that_fit_or_fit_in_no_view_are_not_turned():
    rng = np.random.default_rng(0)
    truths = [draw_sample(seed, 64)[1][:40] for seed in range(3)]
    noise = [rng.integers(0, 3, (40, 64), np.uint8) for _ in truths]
    assert judge_turns(zip(truths, truths, strict=True), 3, "voc") == []
    assert judge_turns(zip(truths, noise, strict=True), 3, "voc") == []
    assert codes(judge_turns([(mask[:, ::-1], mask) for mask in truths], 3, "voc")) == ["masks-turned"]


@pytest.mark.parametrize(
    ("miou", "high", "mean", "expected"),
    [
        (0.75, 0.78, 0.5, []),
        (0.60, 0.72, 0.5, []),  # 0.8 - 0.1 lies inside the interval
        (0.50, 0.60, 0.5, ["other-data"]),
        (0.50, 0.60, 0.1, ["other-gray-values"]),
    ],
)
def test_scores_below_those_of_the_training(miou, high, mean, expected):
    origin = Origin("best.pth", 0.8, Normalisation((0.5,), (0.2,)))
    findings = judge_drop(origin, high, lambda: np.array([mean]), miou, "voc")
    assert codes(findings) == expected
    for finding in findings:
        assert "mIoU 50.0%, in its validation 80.0%" in finding.evidence
        assert finding.command == "python train.py --voc-root voc --model-path best.pth"
    if expected == ["other-gray-values"]:
        assert "means of 26, in training 128" in findings[0].evidence


def test_a_checkpoint_without_scores_is_not_compared():
    origin = Origin("best.pth", None, None)
    assert judge_drop(origin, 0.2, lambda: np.zeros(1), 0.1, "voc") == []


@pytest.mark.parametrize(
    ("mious", "losses", "found"),
    [
        ([0.3, np.nan, 0.3, 0.3], [0.7, 0.7, 0.7, 0.7], True),
        ([0.3, 0.3, 0.3, 0.3], [0.7, 0.6, 0.5, 0.4], False),
        ([0.3, 0.4, 0.5], [0.7, 0.7, 0.7], False),
        ([0.3, 0.3], [0.7, 0.7], False),
    ],
)
def test_metrics_that_do_not_move(mious, losses, found):
    assert codes(judge_history(mious, losses, "voc")) == ["metrics-constant"] * found


@pytest.mark.parametrize(
    ("miou", "losses", "steps", "code"),
    [
        (0.97, [1.0, 0.1], 20, None),
        (0.6, [1.0, 0.9], 20, "overfit-unfinished"),
        (0.6, [1.0, 0.5, 0.3], 500, "overfit-unfinished"),
        (0.6, [1.0, 0.8, 0.79], 500, "overfit-failed"),
    ],
)
def test_pictures_that_are_learned_by_heart_or_not(miou, losses, steps, code):
    findings = judge_overfit(miou, losses, steps, ["a", "b"], "voc")
    assert codes(findings) == ([code] if code else [])
    if code:
        assert f"mIoU 60.0% on a, b after {steps} steps" in findings[0].evidence
