"""What is kept of the logits of a picture: functions (K, H, W) float32 → (H, W) or (K, H, W), for `Unet.bands`."""

import math

import torch
from torch import Tensor


def classes(logits: Tensor) -> Tensor:
    """(H, W) uint8: index of the most probable class."""
    return logits.argmax(0).to(torch.uint8)


def certainty(logits: Tensor) -> Tensor:
    """(H, W) uint8: 255 times the largest probability, rounded."""
    return to_bytes(logits.softmax(0).amax(0))


def probabilities(logits: Tensor) -> Tensor:
    """(K, H, W) float32 that sum to 1 over the classes."""
    return logits.softmax(0)


def probability_of(index: int, logits: Tensor) -> Tensor:
    """(H, W) uint8: 255 times the probability of one class, rounded."""
    return to_bytes(logits.softmax(0)[index])


def entropy(logits: Tensor) -> Tensor:
    """(H, W) uint8 255 · −Σ p log p / log K, rounded: 0 where one class is sure, 255 where all are as probable."""
    logs = logits.log_softmax(0)
    return to_bytes(-(logs.exp() * logs).sum(0).clamp(max=0) / math.log(max(len(logits), 2)))


def to_bytes(values: Tensor) -> Tensor:
    """Values in 0…1 as uint8 0 … 255."""
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)
