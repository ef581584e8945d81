"""Losses on logits and class indices (never a one-hot target), and the weights that keep touching objects apart."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from utils.palette import IGNORE_INDEX


def criterion(
    logits: Tensor,
    target: Tensor,
    dice_weight: float = 1.0,
    class_weights: Tensor | None = None,
    border: Tensor | None = None,
) -> Tensor:
    """Cross-entropy + dice_weight · Dice, in float32. logits (N, C, H, W); target (N, H, W) int64, 255 ignored.

    class_weights (C,) and border (N, H, W) weight the pixels of the cross-entropy: w(x) = w_class(x) + border(x).
    """
    logits = logits.float()
    loss = cross_entropy(logits, target, class_weights, border)
    return loss + dice_weight * dice_loss(logits, target) if dice_weight else loss


def cross_entropy(
    logits: Tensor, target: Tensor, class_weights: Tensor | None = None, border: Tensor | None = None
) -> Tensor:
    """Pixel-wise cross-entropy, the mean over pixels weighted by w(x); zero if all pixels are ignored.

    logits (N, C, H, W) float32; target (N, H, W) int64, 255 ignored; weights as in `criterion`.
    """
    if border is None:
        # PyTorch's own mean divides by the sum of the weights too, but is NaN where there is nothing to divide by.
        total = F.cross_entropy(logits, target, class_weights, ignore_index=IGNORE_INDEX, reduction="sum")
        valid = target != IGNORE_INDEX
        return total / (valid.sum() if class_weights is None else class_weights[target[valid]].sum()).clamp(min=1e-6)
    valid = target != IGNORE_INDEX
    index = torch.where(valid, target, 0)
    weights = border + (1.0 if class_weights is None else class_weights[index])
    losses = F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none")
    return (losses * weights).sum() / (weights * valid).sum().clamp(min=1e-6)


def dice_loss(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """1 − mean over classes of the soft Dice coefficient, over the whole batch (Milletari et al. 2016, V-Net).

    logits (N, C, H, W); target (N, H, W) int64, 255 ignored. A class that is not in the target is left out of the mean:
    with it, a batch without a rare class would push that class down. `smooth` is added to both sides of the ratio.
    """
    classes = logits.shape[1]
    valid = target != IGNORE_INDEX
    probabilities = logits.softmax(dim=1) * valid.unsqueeze(1)
    index = torch.where(valid, target, 0)
    hit = probabilities.gather(1, index.unsqueeze(1)).squeeze(1)
    intersection = hit.new_zeros(classes).index_add(0, index.flatten(), hit.flatten())
    truth = hit.new_zeros(classes).index_add(0, index.flatten(), valid.flatten().to(hit.dtype))
    dice = (2 * intersection + smooth) / (probabilities.sum(dim=(0, 2, 3)) + truth + smooth)
    present = truth > 0
    return (1 - dice)[present].sum() / present.sum().clamp(min=1)


def balanced_class_weights(class_pixels: np.ndarray) -> np.ndarray:
    """Median-frequency balancing (Eigen and Fergus 2015, section 6.3.2): median share / share of each class, (K,) float32.

    class_pixels: (K,) pixel counts. A class without a pixel gets weight 1.
    """
    pixels = np.asarray(class_pixels, np.float64)
    return np.where(pixels > 0, np.median(pixels[pixels > 0]) / np.maximum(pixels, 1), 1).astype(np.float32)


@dataclass(frozen=True)
class BorderWeights:
    """w0 · exp(−(d1 + d2)² / (2 σ²)) (Ronneberger et al. 2015, equation 2, without the class weights).

    d1 and d2 are a pixel's distances, in pixels, to the nearest and to the second nearest object, 0 inside an object.
    """

    w0: float = 10.0
    sigma: float = 5.0

    def __call__(self, mask: np.ndarray, objects: np.ndarray | None = None) -> np.ndarray:
        """Weights (H, W) float32 of a mask (H, W) uint8. `objects` (H, W) numbers the objects, 0 and 255 being none.

        Without it, objects are the connected parts of a class (not of the background), and the largest weight of all
        classes counts: a gap is learnt between two cells, not between a cell and its nucleus.
        """
        if objects is not None:
            return self._between([(objects == number).astype(np.uint8) for number in _labels(objects)], mask.shape)
        weights = np.zeros(mask.shape, np.float32)
        for label in _labels(mask):
            count, parts = cv2.connectedComponents((mask == label).astype(np.uint8))
            weights = np.maximum(
                weights, self._between(((parts == k).astype(np.uint8) for k in range(1, count)), mask.shape)
            )
        return weights

    def _between(self, objects: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
        """Weights from objects, (H, W) uint8 each, 1 inside."""
        # Beyond 5 σ the weight is below w0 · 4e-6.
        reach = int(np.ceil(5 * self.sigma))
        nearest = np.full(shape, np.inf, np.float32)
        second = nearest.copy()
        for inside in objects:
            x, y, width, height = cv2.boundingRect(inside)
            window = np.s_[max(y - reach, 0) : y + height + reach, max(x - reach, 0) : x + width + reach]
            distance = cv2.distanceTransform(1 - inside[window], cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            # Their last bits vary from call to call in OpenCV; the squares are whole numbers.
            distance = np.sqrt(np.rint(distance**2))
            second[window] = np.minimum(second[window], np.maximum(nearest[window], distance))
            nearest[window] = np.minimum(nearest[window], distance)
        return (self.w0 * np.exp(-((nearest + second) ** 2) / (2 * self.sigma**2))).astype(np.float32)


def _labels(mask: np.ndarray) -> list[int]:
    return [int(value) for value in np.unique(mask) if value not in (0, IGNORE_INDEX)]
