"""Regions between membranes: do truth and prediction join the same pixels?

V-Rand and V-Info of the ISBI 2012 challenge (Arganda-Carreras et al. 2015, Frontiers in Neuroanatomy 9:142,
equations 3 to 8), computed as by the challenge's Fiji script: the probability of the regions is cut at
thresholds 0, 0.1 … 1, the membranes between them are thinned to lines by a watershed, pixels inside the
true regions are compared (the truth is not thinned), and the best threshold counts. V-Rand adds pairs up
over the slices; V-Info is the mean of the slices.
"""

import numpy as np
from skimage.measure import label
from skimage.segmentation import watershed

from utils.scoring.objects import overlaps
from utils.scoring.sums import RegionSums

THRESHOLDS = np.arange(11) / 10


def measure_regions(truth: np.ndarray, prediction: np.ndarray, proposals: list[np.ndarray]) -> RegionSums:
    """Region sums of a picture, the thinned ones (T,); all arrays (H, W) bool, True inside a region.

    truth, prediction: masks; proposals: predictions at T thresholds, which are thinned.
    """
    true, plain = (label(mask, connectivity=1) for mask in (truth, prediction))
    inside = true > 0
    joined = count_pairs(true[inside], plain[inside])
    thinned = [compare_thinned(true[inside], thin(proposal)[inside]) for proposal in proposals]
    thinned = np.array(thinned).reshape(-1, 6)
    known = np.isfinite(thinned[:, 3:]).all(1)
    info = np.where(known[:, None], thinned[:, 3:], 0)
    return RegionSums(*map(np.float64, joined), *thinned[:, :3].T, *info.T, known.astype(float))


def count_pairs(true: np.ndarray, found: np.ndarray) -> tuple[float, float, float]:
    """Pairs of different pixels (n,) with one label in both, in the truth, in the prediction, times two.

    Their F-score is that of scikit-image's `adapted_rand_error` without label 0 of the truth. All membrane of
    the prediction is one more region.
    """
    table = overlaps(true, found)
    sizes = table.data, table.sum(1), table.sum(0)
    return tuple(float((size.astype(float) * (size - 1)).sum()) for size in sizes)


def compare_thinned(true: np.ndarray, found: np.ndarray) -> tuple[float, ...]:
    """Pairs in both, truth, prediction (each pixel is paired with itself too); V-Info, split and merge part.

    true, found: labels (n,) of the pixels inside the true regions. A pixel on a predicted line is a region of
    its own. V-Info is NaN where the truth is one region, of which nothing can be learned.
    """
    table = overlaps(true, found)
    lines = float(table.sum(0)[0])
    sizes = [x[x > 0].astype(float) for x in (table.data[table.col > 0], table.sum(1), table.sum(0)[1:])]
    both, of_truth, of_found = ((size**2).sum() for size in sizes)
    both_entropy, true_entropy, found_entropy = (
        entropy(size, len(true), singles) for size, singles in zip(sizes, (lines, 0.0, lines), strict=True)
    )
    shared = true_entropy + found_entropy - both_entropy
    pairs = both + lines, of_truth, of_found + lines
    if not true_entropy > 1e-12:
        return *pairs, np.nan, np.nan, np.nan
    split = shared / found_entropy if found_entropy > 1e-12 else 1.0
    merge = shared / true_entropy
    return *pairs, 2 * split * merge / max(split + merge, 1e-12), split, merge


def entropy(sizes: np.ndarray, total: int, singles: float) -> float:
    """In nats, of regions of these sizes and of `singles` regions of one pixel, `total` pixels together."""
    shares = sizes / max(total, 1)
    return float(-(shares * np.log(shares)).sum() + singles / max(total, 1) * np.log(max(total, 1)))


def thin(regions: np.ndarray) -> np.ndarray:
    """Labels (H, W) of regions (H, W) bool grown until lines of one pixel, label 0, are between them.

    Regions are 4-connected, like the basins of the challenge's watershed.
    """
    seeds = label(regions, connectivity=1)
    return watershed((~regions).view(np.uint8), seeds, connectivity=1, watershed_line=True)


def best_threshold(sums: RegionSums) -> tuple[int, int]:
    """Index of the best threshold for V-Rand and for V-Info, of the sums of all pictures (T,)."""
    rand = 2 * sums.thinned_both / np.maximum(sums.thinned_truth + sums.thinned_predicted, 1)
    info = sums.info / np.maximum(sums.pictures, 1)
    return int(rand.argmax()), int(info.argmax())


def at_best_threshold(sums: RegionSums, rand: int, info: int) -> RegionSums:
    """Sums of pictures (N, T) at one threshold each for V-Rand and V-Info: (N,)."""
    joined = sums.joined_both, sums.joined_truth, sums.joined_predicted
    pairs = (x[:, rand] for x in (sums.thinned_both, sums.thinned_truth, sums.thinned_predicted))
    shares = (x[:, info] for x in (sums.info, sums.info_split, sums.info_merge, sums.pictures))
    return RegionSums(*joined, *pairs, *shares)
