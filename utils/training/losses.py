"""Losses on logits and class indices; never a one-hot target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import center_crop

from utils.images.palette import BETWEEN_INDEX, IGNORE_INDEX

# Sums of a part of a batch → those of the whole batch, see `criterion` and utils/training/parts.py.
Totals = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Loss:
    """What `criterion` adds up: cross-entropy (focal if gamma > 0) + dice · Dice + between · likelihood."""

    dice: float = 1.0
    beta: float = 1.0  # of the Dice: above 1, pixels that are missed cost more than pixels that are too many
    smooth: float = 1.0  # added to both sides of the Dice's ratio
    gamma: float = 0.0  # of the focal loss: pixels that are right already count less; 2 in its paper
    pixels: float = 1.0  # weight of the cross-entropy
    between: float = 1.0  # weight of the likelihood of the classes shown, between strokes


def criterion(
    logits: Tensor,
    target: Tensor,
    loss: Loss = Loss(),
    class_weights: Tensor | None = None,
    border: Tensor | None = None,
    shown: Tensor | None = None,
    totals: Totals | None = None,
) -> Tensor:
    """Loss of logits (N, C, H, W) and class indices (N, H, W), 255 ignored: a scalar, float32 at least.

    Cross-entropy: the mean over pixels weighted by w(x) = class_weights[target] + border(x), of (C,) and
    (N, H, W). Focal (Lin et al. 2017, equation 4): each pixel times (1 − p)^gamma, p the probability of the
    true class. Dice: 1 − mean over classes of the soft F-beta score of the whole batch (beta 1: Milletari
    et al. 2016, V-Net). A class that is not in the target is left out of the mean: with it, a batch without
    a rare class would push that class down. A batch of ignored pixels costs zero.

    Between strokes, 254: each pixel is of one of the classes S that its picture shows, the mean of −ln P
    with P = Σ_S p (Jin and Ghahramani 2002, Learning with Multiple Labels). Which of them, the network tells
    itself: q = p / P, k the most probable, w = max(2 q_k − 1, 0). The target, a constant: w δ_k + (1 − w) q.
    Where q is undecided that is the likelihood alone, where it is sure a pseudo-label (Lee 2013).

    shown: (N, C) bool, S of each picture; all false: it has no pixels between strokes. None: 254 is a class.

    totals: for a part of a batch that is computed in several. It gets the sums of this part, (3 + 3·C,), and
    returns those of the batch. The losses of all parts add up to that of the batch, and so do the gradients.
    """
    valid = target != IGNORE_INDEX
    if shown is not None:
        valid &= target != BETWEEN_INDEX
    weights = valid.float()
    if class_weights is not None:
        weights = class_weights[torch.where(valid, target, 0).long()] * valid
    if border is not None:
        weights = weights + border * valid
    drawn = [None] * len(logits)
    if shown is not None and loss.between:
        drawn = [
            Drawn(*pair) if len(pair[0]) else None for pair in zip(find(shown), find(valid), strict=True)
        ]
    return _Criterion.apply(logits, target, weights, loss, drawn, totals)


class Drawn(NamedTuple):
    """Of a picture with strokes: its classes (S,), and the numbers of the labelled pixels (n,), int64."""

    classes: Tensor
    places: Tensor


def find(there: Tensor) -> Sequence[Tensor]:
    """Where each of (N, …) bool, flattened, is true. All at once: a GPU is waited for twice."""
    there = there.flatten(1)
    return there.nonzero()[:, 1].split(there.sum(1).tolist())


class _Criterion(torch.autograd.Function):
    """The criterion and its gradient by hand, picture by picture: only that is as large as the logits.

    With p the soft-max, t the true class of pixel x, δ = 1 for class t and 0 for the others, and q = p_t:
    - cross-entropy: d/dz_c = ω (p_c − δ), ω(x) the pixel's weight;
      the focal loss multiplies it by (1−q)^γ − γ q (1−q)^(γ−1) ln q;
    - Dice: d/dp_c = a_t δ + b_c, constants of the batch, so d/dz_c = p_c (a_t δ + b_c − q a_t − Σ_k p_k b_k);
    - between strokes: d/dz_c = p_c − the target, see `opinion`.
    """

    @staticmethod
    def forward(
        ctx,
        logits: Tensor,
        target: Tensor,
        weights: Tensor,
        loss: Loss,
        drawn: Sequence[Drawn | None],
        totals: Totals | None,
    ) -> Tensor:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        log_q = torch.zeros(target.shape, dtype=dtype, device=logits.device)
        free = unlikely = log_q.new_zeros(1)
        truth = hits = predicted = log_q.new_zeros(logits.shape[1])
        for picture, classes, found, strokes in zip(logits, target, log_q, drawn, strict=True):
            pixels, truths, result = flatten(picture), classes.flatten(), found.view(-1)
            places: Tensor | slice = slice(None)
            if strokes:
                gaps, places = truths == BETWEEN_INDEX, strokes.places
                free = free + gaps.sum()
                log_shown = pixels.log_softmax(0, dtype=dtype)[strokes.classes]
                unlikely = unlikely + (unlikeliness(log_shown) * gaps).sum()
                # What follows is for labelled pixels alone, which are few.
                pixels, truths = pixels[:, places], truths[places]
            valid, index = split_ignored(truths)
            log_p = pixels.log_softmax(0, dtype=dtype)
            result[places] = log_p.gather(0, index)[0]
            p = log_p.exp_().mul_(valid)
            predicted = predicted + p.sum(1)
            hits = hits + sums_by_class(p.gather(0, index), index, p)
            truth = truth + sums_by_class(valid.to(dtype)[None], index, p)
        hit = log_q.exp().mul_(target != IGNORE_INDEX)
        parts, whole = log_q.new_ones(1), weights.sum().to(dtype)
        if totals:
            sums = totals(torch.cat([parts, whole.view(1), free, truth, hits, predicted]))
            parts, whole, free, truth, hits, predicted = sums.split([1, 1, 1, *3 * [logits.shape[1]]])
        weights = weights * (loss.pixels / whole.clamp(min=1e-6))
        if loss.gamma:
            rest = (1 - log_q.exp()).clamp(min=1e-6)
            focus = rest**loss.gamma
            total = -(weights * focus * log_q).sum()
            weights = weights * (focus - loss.gamma * hit * log_q * rest ** (loss.gamma - 1))
        else:
            total = -(weights * log_q).sum()
        dice, a, b = dice_of_sums(loss, truth, hits, predicted)
        between = loss.between / free.clamp(min=1)
        ctx.save_for_backward(logits, target, hit, weights, a, b, between)
        ctx.drawn = drawn
        return total + dice / parts[0] + (between * unlikely)[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, outer: Tensor) -> tuple[Tensor | None, ...]:
        logits, target, hit, weights, a, b, between = ctx.saved_tensors
        a, b = outer * a, (outer * b).view(-1, 1)
        gradient = torch.empty_like(logits)
        pictures = zip(logits, target, hit, weights, ctx.drawn, gradient, strict=True)
        for picture, classes, q, omega, strokes, result in pictures:
            pixels, truths = flatten(picture), classes.flatten()
            q, omega = q.flatten(), omega.flatten()
            if strokes:
                shown, places = strokes
                share = (truths == BETWEEN_INDEX) * (outer * between)
                whole = pixels.softmax(0, dtype=hit.dtype).mul_(share)
                whole[shown] -= opinion(pixels[shown].to(hit.dtype)) * share
                pixels, truths, q, omega = pixels[:, places], truths[places], q[places], omega[places]
            valid, index = split_ignored(truths)
            right = q * a[index[0]] - outer * omega
            p = pixels.softmax(0, dtype=hit.dtype)
            slope = p * b
            slope.addcmul_(p, -(right + slope.sum(0))).mul_(valid)
            # Each pixel has one true class, so gather and scatter add without collisions.
            slope.scatter_(0, index, slope.gather(0, index) + right)
            slope = whole.index_copy_(1, places, slope) if strokes else slope
            result.copy_(slope.view(result.shape))
        return gradient, None, None, None, None, None


def flatten(picture: Tensor) -> Tensor:
    """(C, H, W) as (C, n), in one piece: along strided classes a soft-max takes twice as long."""
    return picture.contiguous().flatten(1)


def sums_by_class(values: Tensor, index: Tensor, buffer: Tensor) -> Tensor:
    """(C,): sums of values (1, n) over the pixels of each class. buffer: (C, n), written over.

    A map per class: accurate and deterministic on every device, which index_add is not.
    """
    return buffer.zero_().scatter_(0, index, values).sum(1)


def dice_of_sums(loss: Loss, truth: Tensor, hits: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The Dice of `criterion`, and a and b of `_Criterion`, (C,): all times loss.dice.

    Sums over the batch, (C,): pixels of each class, the probability of the class there and everywhere.
    """
    square = loss.beta**2
    above, below = (1 + square) * hits + loss.smooth, square * truth + predicted + loss.smooth
    share = loss.dice * (truth > 0) / (truth > 0).sum().clamp(min=1)
    return (share * (1 - above / below)).sum(), -share * (1 + square) / below, share * above / below**2


def unlikeliness(log_p: Tensor) -> Tensor:
    """−ln P − w ln q_k of `criterion`, (n,), of the log-probabilities (S, n) of the classes shown."""
    log_all = log_p.logsumexp(0)
    log_q = log_p.amax(0) - log_all
    return -(log_all + sharpness(log_q.exp()) * log_q)


def opinion(logits: Tensor) -> Tensor:
    """The target w δ_k + (1 − w) q of `criterion`, (S, n), of logits (S, n) of the classes shown."""
    q = logits.softmax(0)
    sure, guess = q.max(0, keepdim=True)
    weight = sharpness(sure)
    return (q * (1 - weight)).scatter_add_(0, guess, weight)


def sharpness(sure: Tensor) -> Tensor:
    """How far the network's own opinion counts as the truth: 0 up to a probability of one half, 1 at 1."""
    return (2 * sure - 1).clamp(min=0)


def split_ignored(truth: Tensor) -> tuple[Tensor, Tensor]:
    """Of a target (n,): which pixels count, (n,) bool; class indices, (1, n) int64, 0 elsewhere."""
    valid = truth != IGNORE_INDEX
    return valid, torch.where(valid, truth, 0).long().unsqueeze(0)


def deep_loss(criterion: Callable[..., Tensor], outputs: Sequence[Tensor], *targets: Tensor) -> Tensor:
    """Deep supervision (Lee et al. 2015): the loss of the logits + 0.4 · that at half the size + 0.2 · ….

    outputs: finest first, each half the size of the one before, rounded up; targets: (N, H, W), thinned out,
    or (N, K), as they are.
    """
    total = criterion(outputs[0], *targets)
    for level, logits in enumerate(outputs[1:], 1):
        step = 1 << level
        thinned = (target[:, ::step, ::step] if target.ndim == 3 else target for target in targets)
        total = total + 0.8 / step * criterion(logits, *thinned)
    return total


def balanced_class_weights(class_pixels: np.ndarray) -> np.ndarray:
    """Median share / share of each class (Eigen and Fergus 2015, section 6.3.2), (K,) float32; 1 if none."""
    pixels = np.asarray(class_pixels, np.float64)
    return np.where(pixels > 0, np.median(pixels[pixels > 0]) / np.maximum(pixels, 1), 1).astype(np.float32)


def resolve_class_weights(
    setting: str | Sequence[float], names: Sequence[str], pixels: Sequence[int]
) -> list[float] | None:
    """One weight per class, printed; None for `none`. balanced: by the pixels of each class."""
    if setting == "none":
        return None
    weights = balanced_class_weights(pixels).tolist() if setting == "balanced" else list(setting)
    pairs = zip(names, weights, strict=True)
    print("weights  " + ", ".join(f"{name} {weight:.3g}" for name, weight in pairs))
    return weights


def make_criterion(
    loss: Loss, class_weights: Sequence[float] | None, device: torch.device
) -> Callable[..., Tensor]:
    """`criterion` of logits (N, K, h, w), masks, maybe border weights (N, H, W) and classes shown (N, K).

    All are on the device. Unpadded convolutions make the logits smaller than the targets, of which the middle
    is taken.
    """
    weights = class_weights and torch.tensor(class_weights, dtype=torch.float32, device=device)

    def loss_of(logits: Tensor, *targets: Tensor, totals: Totals | None = None) -> Tensor:
        size = list(logits.shape[-2:])
        masks, *border = (center_crop(target, size) for target in targets if target.ndim == 3)
        shown = next((target for target in targets if target.ndim == 2), None)
        return criterion(logits, masks, loss, weights, *border, shown=shown, totals=totals)

    return loss_of
