"""V-Rand and V-Info by hand and in slow motion, the plain Rand F-score against scikit-image."""

import numpy as np
import pytest
from hypothesis import given, settings
from masks import blobs, disturbed, seeds
from skimage.measure import label
from skimage.metrics import adapted_rand_error, variation_of_information
from skimage.morphology import skeletonize

from utils.scoring.regions import at_best_threshold, best_threshold, compare_thinned, measure_regions, thin
from utils.scoring.scores import OVERALL_SCORES
from utils.scoring.sums import RegionSums

BY_KEY = {score.key: score for score in OVERALL_SCORES}


def lines(*columns: int, width: int = 1, size: int = 30) -> np.ndarray:
    """Regions (size, size) bool between vertical membranes that begin at these columns."""
    regions = np.ones((size, size), bool)
    for column in columns:
        regions[:, column : column + width] = False
    return regions


def scores_of(truth: np.ndarray, *proposals: np.ndarray) -> dict[str, float]:
    """Scores of one picture whose first proposal is the mask, at the best threshold."""
    sums = RegionSums.stack([measure_regions(truth, proposals[0], list(proposals))])
    pooled = at_best_threshold(sums, *best_threshold(sums.pooled())).pooled()
    return {key: float(score.of(pooled)) for key, score in BY_KEY.items() if score.group == "regions"}


def test_thick_membranes_cost_nothing_after_thinning():
    scores = scores_of(lines(10, 20), lines(9, 19, width=3))
    assert scores["v_rand"] == scores["v_info"] == pytest.approx(1)
    assert scores["v_rand_split"] == scores["v_rand_merge"] == pytest.approx(1)
    assert scores["rand_f"] < 0.9


def test_a_missing_membrane_merges_by_hand():
    """Regions of 300, 270 and 270 pixels, the first two joined, along with the pixels between them."""
    truth = lines(10, 20)
    scores = scores_of(truth, lines(20))
    sizes = np.array([300, 270, 270])
    assert truth.sum() == sizes.sum()
    both, merged = (sizes**2).sum(), 570**2 + 270**2
    assert scores["v_rand_split"] == pytest.approx(1)
    assert scores["v_rand_merge"] == pytest.approx(both / merged)
    assert scores["v_rand"] == pytest.approx(2 * both / (both + merged))
    shares, joined = sizes / 840, np.array([570, 270]) / 840
    entropies = [-(p * np.log(p)).sum() for p in (shares, joined)]
    # The prediction follows from the truth, so what they share is the entropy of the prediction.
    assert scores["v_info_split"] == pytest.approx(1)
    assert scores["v_info_merge"] == pytest.approx(entropies[1] / entropies[0])


def test_an_extra_membrane_splits():
    scores = scores_of(lines(10), lines(10, 20))
    assert scores["v_rand_merge"] > 0.999
    assert scores["v_rand_split"] < 0.7
    assert scores["v_info_split"] < scores["v_info_merge"]


def test_the_best_threshold_is_taken():
    truth, good, bad = lines(10, 20), lines(10, 20), np.ones((30, 30), bool)
    assert scores_of(truth, bad, bad)["v_rand"] < 0.6
    assert scores_of(truth, bad, good, bad)["v_rand"] == pytest.approx(1)
    assert scores_of(truth, bad, good, bad)["rand_f"] == scores_of(truth, bad)["rand_f"]


def test_a_truth_of_one_region_has_no_information_score():
    scores = scores_of(np.ones((30, 30), bool), lines(10))
    assert np.isnan(scores["v_info"])
    assert 0 < scores["v_rand"] < 1


def test_no_region_is_predicted():
    scores = scores_of(lines(10), np.zeros((30, 30), bool))
    # Each pixel is a region of its own: nothing is merged, all is split.
    assert scores["v_rand_merge"] == 1
    assert scores["v_rand_split"] < 0.01


def test_pictures_are_averaged_at_the_threshold_that_is_best_for_their_mean():
    """As the challenge's script does: no threshold of its own for each picture."""
    proposals = ((lines(10), [lines(10), lines()]), (lines(5, 27), [lines(5), lines(5, 27)]))
    each = [measure_regions(truth, found[0], found) for truth, found in proposals]
    sums = RegionSums.stack(each)
    rand, info = best_threshold(sums.pooled())
    assert (rand, info) == (0, 0)
    pooled = at_best_threshold(sums, rand, info).pooled()
    assert each[1].rand[1] > each[1].rand[0]
    assert BY_KEY["v_rand"].of(pooled) == pytest.approx((each[0].rand[0] + each[1].rand[0]) / 2)


def test_pairs_are_pooled_for_the_plain_rand_f_score_and_averaged_for_the_others():
    pairs = [(lines(10, 20), lines(20)), (lines(5), lines(5, 15))]
    each = [measure_regions(truth, found, [found]) for truth, found in pairs]
    pooled = at_best_threshold(RegionSums.stack(each), 0, 0).pooled()
    both, truth, found = (
        sum(float(getattr(sums, f"joined_{key}")) for sums in each) for key in ("both", "truth", "predicted")
    )
    assert BY_KEY["rand_f"].of(pooled) == pytest.approx(2 * both / (truth + found))
    assert BY_KEY["v_rand"].of(pooled) == pytest.approx(np.mean([float(sums.rand[0]) for sums in each]))
    assert BY_KEY["v_info"].of(pooled) == pytest.approx(np.mean([float(sums.info[0]) for sums in each]))


def draw_regions(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Areas with a line of membrane where they meet, and a prediction of them."""
    masks = blobs(seed, 5), disturbed(blobs(seed, 5), seed, 5)
    edges = []
    for mask in masks:
        edge = np.zeros(mask.shape, bool)
        edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
        edge[1:] |= mask[1:] != mask[:-1]
        edges.append(~edge)
    return edges[0], edges[1]


def test_a_truth_without_regions_has_no_score():
    scores = scores_of(np.zeros((30, 30), bool), lines(10))
    assert all(np.isnan(value) for value in scores.values())


@settings(max_examples=15)
@given(seeds)
def test_plain_rand_f_score_equals_scikit_image(seed):
    truth, prediction = draw_regions(seed)
    labels = (label(mask, connectivity=1) for mask in (truth, prediction))
    # Its second value is the share of the truth's pairs, although its text says of the prediction's.
    error, of_truth, of_found = adapted_rand_error(*labels, ignore_labels=(0,))
    sums = measure_regions(truth, prediction, [prediction])
    assert BY_KEY["rand_f"].of(sums) == pytest.approx(1 - error)
    assert sums.joined_both / sums.joined_predicted == pytest.approx(of_found)
    assert sums.joined_both / sums.joined_truth == pytest.approx(of_truth)


@settings(max_examples=15)
@given(seeds)
def test_thinned_scores_equal_those_of_scikit_image_where_lines_are_numbered(seed):
    """Pixels on predicted lines are regions of one pixel; pairs of a pixel with itself are taken off."""
    truth, prediction = draw_regions(seed)
    inside, found = truth.ravel(), thin(prediction).ravel().astype(int)
    found[found == 0] = found.max() + 1 + np.arange(np.count_nonzero(found == 0))
    true = label(truth, connectivity=1).ravel()
    n = np.count_nonzero(inside)
    _, recall, precision = adapted_rand_error(true[inside], found[inside], ignore_labels=())
    labels = true[inside], thin(prediction).ravel()[inside]
    rand, rand_split, rand_merge, info, split, merge = compare_thinned(*labels)
    # Pairs of the truth, with each pixel itself; from these all others follow.
    of_truth = (np.bincount(labels[0]).astype(float) ** 2).sum()
    both, of_found = rand_split * of_truth, rand_split * of_truth / rand_merge
    assert (both - n) / (of_found - n) == pytest.approx(precision)
    assert (both - n) / (of_truth - n) == pytest.approx(recall)
    assert rand == pytest.approx(2 * rand_split * rand_merge / (rand_split + rand_merge))
    found_given_true, true_given_found = variation_of_information(true[inside], found[inside])
    entropy = [
        -(p * np.log2(p)).sum()
        for p in (np.unique(x[inside], return_counts=True)[1] / n for x in (true, found))
    ]
    assert merge == pytest.approx(1 - true_given_found / entropy[0])
    assert split == pytest.approx(1 - found_given_true / entropy[1])
    assert info == pytest.approx(2 * split * merge / (split + merge))


@settings(max_examples=15)
@given(seeds)
def test_thinned_lines_are_thin_and_separate_the_same_regions(seed):
    regions = draw_regions(seed)[1]
    labels, before = thin(regions), label(regions, connectivity=1)
    assert labels.max() == before.max()
    np.testing.assert_array_equal(labels[regions], before[regions])
    assert not ((labels[:, 1:] != labels[:, :-1]) & (labels[:, 1:] > 0) & (labels[:, :-1] > 0)).any()
    line = labels == 0
    # A line of one pixel is nearly its own skeleton.
    assert np.count_nonzero(line & ~skeletonize(line)) <= 0.35 * np.count_nonzero(line)
