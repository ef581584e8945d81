"""A split scored picture by picture, and two predictions of it compared."""

import numpy as np
import pytest
from masks import blobs, disturbed

from utils.scoring.comparison import compare
from utils.scoring.results import Measures, SplitResults
from utils.scoring.scorer import Scorer
from utils.scoring.scores import CLASS_SCORES, OVERALL_SCORES

NAMES = ["background", "cell", "nucleus"]
MEASURES = Measures(object_classes=(1, 2), membrane=0)


def score(
    predictions: dict[str, np.ndarray], measures: Measures = MEASURES, ignored: bool = True
) -> SplitResults:
    """Predictions of pictures by the numbers that are their names; a part of the truth is ignored."""
    scorer = Scorer(NAMES, measures)
    for name, prediction in predictions.items():
        scorer.update(name, blobs(int(name), ignored=ignored), prediction)
    return scorer.results()


def predictions(count: int, offset: int = 0) -> dict[str, np.ndarray]:
    return {str(seed): disturbed(blobs(seed), seed + offset) for seed in range(count)}


def perfect(count: int) -> dict[str, np.ndarray]:
    return {str(seed): blobs(seed) for seed in range(count)}


def everything(results: SplitResults) -> dict[str, np.ndarray]:
    scores = (*results.class_scores, *results.overall_scores)
    return {score.key: np.array(list(vars(results.estimate(score)).values())) for score in scores}


def test_order_of_the_pictures_changes_nothing():
    pictures = predictions(5)
    backwards = dict(reversed(pictures.items()))
    one, other = score(pictures), score(backwards)
    assert one.names == other.names
    for key, values in everything(one).items():
        np.testing.assert_array_equal(values, everything(other)[key])


def test_every_score_of_a_perfect_prediction_is_perfect():
    estimates = everything(score(perfect(3), ignored=False))
    assert set(estimates) == {s.key for s in (*CLASS_SCORES, *OVERALL_SCORES) if s.group != "probabilities"}
    zero = {"hausdorff95", "surface_distance", "count_error", "parts_error", "holes_error"}
    for key in estimates:
        values = estimates[key][np.isfinite(estimates[key])]
        assert len(values)
        np.testing.assert_allclose(values, float(key not in zero), err_msg=key)


def test_other_numbers_of_the_classes_change_no_score():
    order, pictures = np.array([2, 0, 1]), predictions(4)
    table = np.append(order, np.full(253, 255)).astype(np.uint8)
    scorers = [Scorer(NAMES, Measures(object_classes=(0, 1, 2))) for _ in range(2)]
    for name, mask in pictures.items():
        scorers[0].update(name, blobs(int(name), ignored=True), mask)
        scorers[1].update(name, table[blobs(int(name), ignored=True)], table[mask])
    one, other = (scorer.results() for scorer in scorers)
    for each in one.class_scores:
        np.testing.assert_allclose(other.pooled(each)[[*order, 3]], one.pooled(each), err_msg=each.key)
        np.testing.assert_allclose(other.per_picture(each)[:, [*order, 3]], one.per_picture(each))
    for each in one.overall_scores:
        np.testing.assert_allclose(other.pooled(each), one.pooled(each), err_msg=each.key)


def test_shares_stay_in_their_range():
    estimates = everything(score(predictions(4)))
    for each in (*CLASS_SCORES, *OVERALL_SCORES):
        if each.kind == "share" and each.key in estimates and each.key not in ("count_error", "kappa"):
            values = estimates[each.key][np.isfinite(estimates[each.key])]
            assert ((values >= 0) & (values <= 1 + 1e-12)).all(), each.key


def test_ignored_pixels_do_not_matter_to_pixels_and_borders():
    pictures = predictions(3)
    painted = {
        name: np.where(blobs(int(name), ignored=True) == 255, 1, mask) for name, mask in pictures.items()
    }
    one, other = everything(score(pictures)), everything(score(painted))
    for each in (*CLASS_SCORES, *OVERALL_SCORES):
        if each.group in ("pixels", "borders", "topology"):
            np.testing.assert_array_equal(one[each.key], other[each.key], err_msg=each.key)


def test_a_picture_counts_once():
    scorer = Scorer(NAMES, MEASURES)
    scorer.update("a", blobs(0), blobs(0))
    with pytest.raises(ValueError, match="already"):
        scorer.update("a", blobs(0), blobs(0))
    assert scorer.results().matrix.sum() == blobs(0).size
    with pytest.raises(ValueError, match="no picture"):
        Scorer(NAMES, MEASURES).results()


def test_the_same_prediction_is_within_noise():
    differences = list(compare(score(predictions(4)), score(predictions(4))))
    assert differences
    assert {(each.verdict, each.value) for each in differences} == {("within noise", 0.0)}


def test_a_perfect_prediction_is_better_and_the_other_worse():
    better = {(d.score.key, d.subject): d for d in compare(score(perfect(8)), score(predictions(8)))}
    worse = {(d.score.key, d.subject): d for d in compare(score(predictions(8)), score(perfect(8)))}
    for key in (("iou", "mean"), ("iou", "cell"), ("hausdorff95", "mean"), ("accuracy", "all")):
        assert better[key].verdict == "better"
        assert worse[key].verdict == "worse"
        assert better[key].low == pytest.approx(-worse[key].high)
    assert better["hausdorff95", "mean"].value < 0


def test_two_predictions_of_one_kind_are_within_noise():
    """Whose errors are drawn alike: of 10 such pairs, the mIoU of hardly one differs by chance."""
    differing = 0
    measures = Measures()
    for trial in range(10):
        pairs = (score(predictions(8, offset), measures) for offset in (100 + trial, 500 + trial))
        miou = next(d for d in compare(*pairs) if (d.score.key, d.subject) == ("iou", "mean"))
        differing += miou.verdict != "within noise"
    assert differing <= 2


def test_a_paired_difference_is_surer_than_the_two_bars():
    """Pictures differ much, the predictions little: the bars overlap, but not because of the predictions."""
    worse = predictions(8)
    better = {name: mask.copy() for name, mask in worse.items()}
    for name, mask in better.items():
        truth = blobs(int(name))
        mask[:10] = truth[:10]
    one, other = score(better), score(worse)
    iou = CLASS_SCORES[0]
    miou = next(d for d in compare(one, other) if (d.score.key, d.subject) == ("iou", "mean"))
    assert one.estimate(iou).low[-1] < other.estimate(iou).high[-1]
    assert miou.verdict == "better"


def test_other_pictures_cannot_be_compared():
    with pytest.raises(ValueError, match="pictures"):
        list(compare(score(predictions(3)), score(predictions(4))))
