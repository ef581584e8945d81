"""Losses on logits and class indices; never a one-hot target."""

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.palette import IGNORE_INDEX


def cross_entropy(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean pixel-wise cross-entropy. logits (N, C, H, W); target (N, H, W) int64, 255 ignored. Zero if all is ignored."""
    total = F.cross_entropy(logits, target, weight=class_weights, ignore_index=IGNORE_INDEX, reduction="sum")
    valid = target != IGNORE_INDEX
    # The weighted mean divides by the weights of the pixels that count, as PyTorch's own does.
    norm = valid.sum() if class_weights is None else class_weights[target[valid]].sum()
    return total / norm.clamp(min=1e-6)


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


def criterion(logits: Tensor, target: Tensor, dice_weight: float = 1.0) -> Tensor:
    """Cross-entropy + dice_weight · Dice, in float32. logits (N, C, H, W); target (N, H, W) int64, 255 ignored."""
    logits = logits.float()
    loss = cross_entropy(logits, target)
    return loss + dice_weight * dice_loss(logits, target) if dice_weight else loss
