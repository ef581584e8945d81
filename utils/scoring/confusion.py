"""The confusion matrix and every score that is derived from it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from utils.images.palette import IGNORE_INDEX


class ConfusionMatrix:
    """Counts pixels of a whole split: rows truth, columns prediction; truth 255 is left out."""

    def __init__(self, num_classes: int, device: torch.device | str = "cpu"):
        self.num_classes = num_classes
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def update(self, truth: Tensor | np.ndarray, prediction: Tensor | np.ndarray) -> None:
        """Count a mask or a batch of class indices. Raises ValueError for unequal shapes or other values."""
        truth, prediction = (torch.as_tensor(x, device=self.counts.device) for x in (truth, prediction))
        if truth.shape != prediction.shape:
            raise ValueError(f"truth has shape {tuple(truth.shape)}, prediction {tuple(prediction.shape)}")
        allowed = f"0 … {self.num_classes - 1} (or {IGNORE_INDEX} in the truth)"
        unknown = ValueError(f"class indices must be in {allowed}")
        if truth.numel() and any(x.min() < 0 or x.max() > IGNORE_INDEX for x in (truth, prediction)):
            raise unknown
        # Pairs of bytes: faults and ignored pixels are found in the counts, not among the pixels.
        pairs = torch.bincount((truth.int() * 256 + prediction).flatten(), minlength=256 * 256).view(256, 256)
        counts = pairs[: self.num_classes, : self.num_classes]
        if counts.sum() + pairs[IGNORE_INDEX].sum() != truth.numel():
            raise unknown
        self.counts += counts

    def scores(self) -> "Scores":
        return Scores(self.counts.cpu().numpy())


class ClassScores:
    """Scores of counts (…, K): `hits`, `truth` and `predicted` pixels of each class.

    Per class: (…, K) float64 in 0…1, or NaN. IoU and Dice are NaN for a class that is neither in the truth
    nor in the prediction, recall for one not in the truth, precision for one never predicted, specificity
    for one that is all of the truth. Means leave NaN out. Scores of all classes together are NaN where no
    pixel counts. These and means are plain floats without leading axes.
    """

    hits: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """All counted pixels (…)."""
        return self.truth.sum(-1)

    @property
    def iou(self) -> np.ndarray:
        return ratio(self.hits, self.truth + self.predicted - self.hits)

    @property
    def dice(self) -> np.ndarray:
        """Equal to F1."""
        return ratio(2 * self.hits, self.truth + self.predicted)

    @property
    def precision(self) -> np.ndarray:
        return ratio(self.hits, self.predicted)

    @property
    def recall(self) -> np.ndarray:
        """Also called sensitivity, or the pixel accuracy (PA) of a class."""
        return ratio(self.hits, self.truth)

    @property
    def specificity(self) -> np.ndarray:
        """Share of the pixels of other classes that were not predicted as this one."""
        others = np.asarray(self.total)[..., None] - self.truth
        return ratio(others - (self.predicted - self.hits), others)

    @property
    def miou(self) -> float:
        return mean_of(self.iou)

    @property
    def mdice(self) -> float:
        return mean_of(self.dice)

    @property
    def mpa(self) -> float:
        """Mean recall over the classes that are in the truth."""
        return mean_of(self.recall)

    @property
    def mprecision(self) -> float:
        return mean_of(self.precision)

    @property
    def accuracy(self) -> float:
        """Share of all counted pixels that are right."""
        return _plain(ratio(self.hits.sum(-1), self.total))

    @property
    def fwiou(self) -> float:
        """IoU weighted by each class's share of the truth."""
        # A class that is nowhere has no IoU, and no weight.
        return _plain(ratio((self.truth * np.nan_to_num(self.iou)).sum(-1), self.total))

    @property
    def kappa(self) -> float:
        """Cohen's kappa (1960): accuracy beyond that of chance; NaN where chance is always right."""
        share = ratio(self.truth, np.asarray(self.total)[..., None], nothing=0.0)
        by_chance = (share * self.predicted).sum(-1)
        rest = self.total - by_chance
        return _plain(ratio(self.hits.sum(-1) - by_chance, np.where(rest > 1e-9 * self.total, rest, 0)))


@dataclass(frozen=True)
class Scores(ClassScores):
    """Scores of a confusion matrix (K, K) int64, rows truth; groups: (G, K), of the pictures in G groups."""

    matrix: np.ndarray
    groups: ClassScores | None = None

    @property
    def hits(self) -> np.ndarray:
        return np.diag(self.matrix)

    @property
    def truth(self) -> np.ndarray:
        return self.matrix.sum(1)

    @property
    def predicted(self) -> np.ndarray:
        return self.matrix.sum(0)


def ratio(part: np.ndarray, whole: np.ndarray, nothing: float = np.nan) -> np.ndarray:
    """part / whole, `nothing` where the whole is not above zero."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, nothing), where=whole > 0)


def mean_of(values: np.ndarray) -> np.ndarray | float:
    """Mean over the last axis without NaN; NaN where there is nothing else."""
    known = ~np.isnan(values)
    return _plain(ratio(np.where(known, values, 0).sum(-1), known.sum(-1)))


def _plain(value: np.ndarray) -> np.ndarray | float:
    return value if np.ndim(value) else float(value)
