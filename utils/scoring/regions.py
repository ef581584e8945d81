"""Regions between membranes: do truth and prediction join the same pixels?

V-Rand and V-Info of the ISBI 2012 challenge (Arganda-Carreras et al. 2015, Frontiers in Neuroanatomy 9:142,
equations 3 to 8), computed as by the challenge's Fiji script: the probability of the regions is cut at
thresholds 0, 0.1 … 1, the membranes between them are thinned to lines by a watershed, pixels inside the
true regions are compared (the truth is not thinned), and the best threshold of the mean over the slices
counts. The script calls `getMaximalVRandAfterThinning(0, 1, 0.1, true)`, the mean of the slices, and the
same of V-Info.
"""

import numpy as np
from skimage.measure import label
from skimage.segmentation import watershed

from utils.scoring.objects import overlaps
from utils.scoring.scores import f_score
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
    known = np.isfinite(thinned)
    shares = np.where(known, thinned, 0)
    return RegionSums(*map(np.float64, joined), *shares.T, *known[:, [0, 3]].T.astype(float))


def rand_f(truth: np.ndarray, prediction: np.ndarray) -> float:
    """F-score, 0…1, of the pairs of pixels that both join into one region; NaN where none is joined.

    truth, prediction: (H, W) bool, True inside a region; nothing is thinned.
    """
    sums = measure_regions(truth, prediction, [])
    return float(f_score(sums.joined_both, sums.joined_truth, sums.joined_predicted))


def count_pairs(true: np.ndarray, found: np.ndarray) -> tuple[float, float, float]:
    """Pairs of different pixels (n,) with one label in both, in the truth, in the prediction, times two.

    Their F-score is that of scikit-image's `adapted_rand_error` without label 0 of the truth. All membrane of
    the prediction is one more region.
    """
    table = overlaps(true, found)
    sizes = table.data, table.sum(1), table.sum(0)
    return tuple(float((size.astype(float) * (size - 1)).sum()) for size in sizes)


def compare_thinned(true: np.ndarray, found: np.ndarray) -> tuple[float, ...]:
    """V-Rand and V-Info, each with its split and its merge part, 0…1.

    true, found: labels (n,) of the pixels inside the true regions. A pixel on a predicted line is a region of
    its own, and each pixel is paired with itself, too. V-Rand is NaN where the truth has no region, V-Info
    where it is one region, of which nothing can be learned.
    """
    table = overlaps(true, found)
    lines = float(table.sum(0)[0])
    sizes = [x[x > 0].astype(float) for x in (table.data[table.col > 0], table.sum(1), table.sum(0)[1:])]
    both, of_truth, of_found = ((size**2).sum() for size in sizes)
    both_entropy, true_entropy, found_entropy = (
        entropy(size, len(true), singles) for size, singles in zip(sizes, (lines, 0.0, lines), strict=True)
    )
    shared = true_entropy + found_entropy - both_entropy
    if not len(true):
        return (np.nan,) * 6
    both, of_found = both + lines, of_found + lines
    rand = 2 * both / (of_truth + of_found), both / of_truth, both / of_found
    if not true_entropy > 1e-12:
        return *rand, np.nan, np.nan, np.nan
    split = shared / found_entropy if found_entropy > 1e-12 else 1.0
    merge = shared / true_entropy
    return *rand, 2 * split * merge / max(split + merge, 1e-12), split, merge


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
    return int(sums.rand.argmax()), int(sums.info.argmax())


def at_best_threshold(sums: RegionSums, rand: int, info: int) -> RegionSums:
    """Sums of pictures (N, T) at one threshold each for V-Rand and V-Info: (N,)."""
    joined = sums.joined_both, sums.joined_truth, sums.joined_predicted
    of_rand = (x[:, rand] for x in (sums.rand, sums.rand_split, sums.rand_merge))
    of_info = (x[:, info] for x in (sums.info, sums.info_split, sums.info_merge))
    return RegionSums(*joined, *of_rand, *of_info, sums.rand_pictures[:, rand], sums.info_pictures[:, info])
