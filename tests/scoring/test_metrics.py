"""The confusion matrix against a slow count, the scores against worked examples and textbook formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from utils.scoring.confusion import ConfusionMatrix, Scores

SCORES = ("iou", "dice", "precision", "recall")
MEANS = ("miou", "mdice", "mpa", "mprecision", "accuracy", "fwiou")


def count_slowly(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    counts = np.zeros((num_classes, num_classes), np.int64)
    for t, p in zip(truth.ravel(), prediction.ravel(), strict=True):
        if t != 255:
            counts[t, p] += 1
    return counts


def matrix_of(*pairs: tuple[np.ndarray, np.ndarray], num_classes: int = 4) -> np.ndarray:
    matrix = ConfusionMatrix(num_classes)
    for truth, prediction in pairs:
        matrix.update(truth, prediction)
    return matrix.counts.numpy()


@st.composite
def masks(draw, count=1, num_classes=4):
    """`count` pairs of truth (255 among it) and prediction."""
    truths, predictions = st.sampled_from([*range(num_classes), 255]), st.integers(0, num_classes - 1)
    shapes = [draw(array_shapes(min_dims=1, max_dims=3, max_side=6)) for _ in range(count)]
    return [
        (draw(arrays(np.uint8, s, elements=truths)), draw(arrays(np.uint8, s, elements=predictions)))
        for s in shapes
    ]


matrices = arrays(np.int64, st.integers(2, 6).map(lambda k: (k, k)), elements=st.integers(0, 50))


@given(masks())
def test_counts_equal_a_slow_count(pairs):
    np.testing.assert_array_equal(matrix_of(*pairs), count_slowly(*pairs[0], 4))


@given(masks(count=3))
def test_counts_add_up_over_batches(pairs):
    whole = [np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1)]
    np.testing.assert_array_equal(matrix_of(*pairs), matrix_of(whole))


def test_a_mean_of_batch_scores_would_be_another_number():
    one, two = np.array([[0, 0, 0, 1]]), np.array([[1, 1, 0, 0]])
    whole = Scores(matrix_of((one, one), (two, 1 - two), num_classes=2))
    # 4 right of 8; class 0: 3 / (5 + 5 - 3), class 1: 1 / (3 + 3 - 1); per batch it would be (1 + 0) / 2.
    assert whole.miou == pytest.approx((3 / 7 + 1 / 5) / 2)
    assert whole.accuracy == 0.5


def test_rows_are_truth_and_columns_prediction():
    np.testing.assert_array_equal(
        matrix_of((np.array([0, 0, 1]), np.array([1, 1, 1])), num_classes=2), [[0, 2], [0, 1]]
    )


def test_tensors_and_arrays_of_any_integer_type_count_alike():
    truth, prediction = np.array([[0, 1, 255]], np.uint8), np.array([[1, 1, 0]], np.int64)
    expected = matrix_of((truth, prediction))
    for t, p in (
        (torch.tensor(truth), torch.tensor(prediction)),
        (truth.astype(np.int32), prediction.astype(np.uint8)),
    ):
        np.testing.assert_array_equal(matrix_of((t, p)), expected)


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [
        ([0, 4], [0, 0]),
        ([0, 0], [0, 4]),
        ([0, -1], [0, 0]),
        ([0, 1], [0, -1]),
        ([0, 254], [0, 0]),
        ([0, 0], [0, 255]),
    ],
)
def test_an_index_that_is_no_class_is_refused(truth, prediction):
    matrix = ConfusionMatrix(4)
    with pytest.raises(ValueError, match="class"):
        matrix.update(np.array(truth), np.array(prediction))
    assert not matrix.counts.any()


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        ConfusionMatrix(2).update(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))


def test_scores_worked_out_by_hand():
    scores = Scores(np.array([[3, 1], [2, 4]]))
    np.testing.assert_allclose(scores.iou, [3 / 6, 4 / 7])
    np.testing.assert_allclose(scores.dice, [6 / 9, 8 / 11])
    np.testing.assert_allclose(scores.precision, [3 / 5, 4 / 5])
    np.testing.assert_allclose(scores.recall, [3 / 4, 4 / 6])
    assert scores.miou == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert scores.mdice == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert scores.mpa == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert scores.mprecision == pytest.approx(0.7)
    assert scores.accuracy == pytest.approx(0.7)
    assert scores.fwiou == pytest.approx(0.4 * 3 / 6 + 0.6 * 4 / 7)


def test_a_class_in_neither_is_left_out_of_every_mean():
    with_it, without = Scores(np.array([[3, 0, 1], [0, 0, 0], [2, 0, 4]])), Scores(np.array([[3, 1], [2, 4]]))
    for name in SCORES:
        assert np.isnan(getattr(with_it, name)[1])
    for name in MEANS:
        assert getattr(with_it, name) == pytest.approx(getattr(without, name))


def test_a_class_never_found_counts_as_zero():
    scores = Scores(np.array([[5, 0], [5, 0]]))
    assert scores.iou[1] == scores.dice[1] == scores.recall[1] == 0
    assert np.isnan(scores.precision[1])
    assert scores.miou == 0.25
    assert scores.mpa == 0.5


def test_a_class_found_where_it_never_is_counts_as_zero():
    scores = Scores(np.array([[5, 5], [0, 0]]))
    assert scores.iou[1] == scores.dice[1] == scores.precision[1] == 0
    assert np.isnan(scores.recall[1])
    assert scores.miou == 0.25
    assert scores.mpa == 0.5


def test_nothing_counted():
    scores = ConfusionMatrix(3).scores()
    assert np.isnan(scores.iou).all()
    assert math.isnan(scores.miou)


@given(matrices)
def test_scores_stay_in_their_range(matrix):
    scores = Scores(matrix)
    for name in SCORES:
        values = getattr(scores, name)
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    for name in MEANS:
        value = getattr(scores, name)
        assert math.isnan(value) or 0 <= value <= 1 + 1e-12


@given(matrices)
def test_scores_agree_with_each_other(matrix):
    scores = Scores(matrix)
    np.testing.assert_allclose(scores.dice, 2 * scores.iou / (1 + scores.iou))
    found = scores.precision + scores.recall > 0
    harmonic = 2 * scores.precision[found] * scores.recall[found] / (scores.precision + scores.recall)[found]
    np.testing.assert_allclose(scores.dice[found], harmonic)
    np.testing.assert_allclose(Scores(matrix.T).precision, scores.recall)
    np.testing.assert_allclose(Scores(matrix.T).iou, scores.iou)


@given(matrices, st.randoms())
def test_the_order_of_the_classes_does_not_matter(matrix, random):
    assume(matrix.any())
    order = list(range(len(matrix)))
    random.shuffle(order)
    shuffled = Scores(matrix[np.ix_(order, order)])
    np.testing.assert_allclose(shuffled.iou, Scores(matrix).iou[order])
    for name in MEANS:
        np.testing.assert_allclose(getattr(shuffled, name), getattr(Scores(matrix), name))


def test_perfect_and_opposite_predictions():
    truth = np.array([0, 1, 2, 255, 1])
    prediction = np.where(truth == 255, 0, truth)
    perfect = Scores(matrix_of((truth, prediction), num_classes=3))
    assert [getattr(perfect, name) for name in MEANS] == [1.0] * 6
    wrong = Scores(matrix_of((truth, (prediction + 1) % 3), num_classes=3))
    assert [getattr(wrong, name) for name in MEANS] == [0.0] * 6
