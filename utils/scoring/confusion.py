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


@dataclass(frozen=True)
class Scores:
    """Scores of a confusion matrix (K, K) int64. Per class: (K,) float64 in 0…1, or NaN.

    IoU and Dice are NaN for a class that is neither in the truth nor in the prediction, recall for one not in
    the truth, precision for one never predicted. Means leave NaN out.
    """

    matrix: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        hit = np.diag(self.matrix)
        return _ratio(hit, self.matrix.sum(0) + self.matrix.sum(1) - hit)

    @property
    def dice(self) -> np.ndarray:
        """Equal to F1."""
        return _ratio(2 * np.diag(self.matrix), self.matrix.sum(0) + self.matrix.sum(1))

    @property
    def precision(self) -> np.ndarray:
        return _ratio(np.diag(self.matrix), self.matrix.sum(0))

    @property
    def recall(self) -> np.ndarray:
        """Also called the pixel accuracy (PA) of a class."""
        return _ratio(np.diag(self.matrix), self.matrix.sum(1))

    @property
    def miou(self) -> float:
        return _mean(self.iou)

    @property
    def mdice(self) -> float:
        return _mean(self.dice)

    @property
    def mpa(self) -> float:
        """Mean recall over the classes that are in the truth."""
        return _mean(self.recall)

    @property
    def mprecision(self) -> float:
        return _mean(self.precision)

    @property
    def accuracy(self) -> float:
        """Share of all counted pixels that are right."""
        return float(np.trace(self.matrix) / max(self.matrix.sum(), 1))

    @property
    def fwiou(self) -> float:
        """IoU weighted by each class's share of the truth."""
        share = self.matrix.sum(1) / max(self.matrix.sum(), 1)
        return float(np.nansum(share * self.iou))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")
