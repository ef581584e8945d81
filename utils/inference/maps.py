"""What is kept of the logits of a picture: functions (K, H, W) float32 → (H, W) or (K, H, W), for `Unet.predict_as`."""

import math

import torch
from torch import Tensor

WHOLE_NUMBERS = {8: torch.uint8, 16: torch.uint16}


def classes(logits: Tensor) -> Tensor:
    """(H, W) uint8: index of the most probable class."""
    return logits.argmax(0).to(torch.uint8)


def certainty(logits: Tensor) -> Tensor:
    """(H, W) uint8: 255 times the largest probability, rounded."""
    return scaled(logits.softmax(0).amax(0), 8)


def probabilities(logits: Tensor, bits: int | None = None) -> Tensor:
    """(K, H, W) float32 that sum to 1 over the classes; with `bits` 8 or 16, whole numbers of 0 … 255 or 65535."""
    return scaled(logits.softmax(0), bits)


def probability_of(index: int, bits: int, logits: Tensor) -> Tensor:
    """(H, W) whole numbers of `bits` 8 or 16: probability of one class."""
    return scaled(logits.softmax(0)[index], bits)


def entropy(logits: Tensor, bits: int | None = None) -> Tensor:
    """(H, W) −Σ p log p / log K: 0 where one class is sure, 1 where all are as probable; `bits` as above."""
    logs = logits.log_softmax(0)
    return scaled(-(logs.exp() * logs).sum(0).clamp(max=0) / math.log(max(len(logits), 2)), bits)


def scaled(values: Tensor, bits: int | None) -> Tensor:
    """Values in 0…1 as they are, or as whole numbers of 8 or 16 bits."""
    if bits is None:
        return values
    # Through int32, because fewer devices convert to uint16 from floating point.
    whole = (values.clamp(0, 1) * (2**bits - 1)).round().int()
    # Apple's GPU does not know uint16 before PyTorch 2.10.
    return (whole.cpu() if whole.device.type == "mps" else whole).to(WHOLE_NUMBERS[bits])
