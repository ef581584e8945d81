"""The mean of several predictions: of the networks of an ensemble, and of the eight sides of a picture."""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_logits(parts: Iterable[Tensor]) -> Tensor:
    """Logits (N, K, H, W) of several predictions → those of the mean of their probabilities.

    A single prediction stays as it is. The result is on the device of the first.
    """
    parts = iter(parts)
    logits, count = next(parts), 1
    total = None
    for other in parts:
        total = (logits.softmax(1) if total is None else total).add_(other.softmax(1).to(logits.device))
        count += 1
    return logits if total is None else (total / count).clamp_min(torch.finfo(total.dtype).tiny).log()


def dihedral_logits(batch: Tensor, predict: Callable[[Tensor], Tensor], stride: int) -> Iterator[Tensor]:
    """Logits of a float batch (N, C, H, W), of its turns by 90° and of their mirror images, each turned back.

    The lower and right edge are first repeated up to a multiple of the stride, so that a tile and the whole
    picture are pooled alike from every side.
    """
    height, width = batch.shape[-2:]
    batch = F.pad(batch, (0, -width % stride, 0, -height % stride), mode="replicate")
    for flip in (False, True):
        for turns in range(4):
            side = torch.rot90(batch.flip(-1) if flip else batch, turns, (-2, -1))
            logits = torch.rot90(predict(side), -turns, (-2, -1))
            yield (logits.flip(-1) if flip else logits)[..., :height, :width]
