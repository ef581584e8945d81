"""What is kept of logits: functions (K, H, W) float32 → (H, W) or (K, H, W), for `Unet.bands`."""

import math

import torch
from torch import Tensor

from utils.inference.gaps import LOG_ODDS

WHOLE_NUMBERS = {8: torch.uint8, 16: torch.uint16}


def classes(logits: Tensor) -> Tensor:
    """(H, W) uint8: index of the most probable class."""
    return logits.argmax(0).to(torch.uint8)


def member_classes(logits: Tensor) -> Tensor:
    """(M, H, W) uint8: the most probable class of each network; logits (M, K, H, W). See `Unet.bands`."""
    return logits.argmax(1).to(torch.uint8)


def classes_above(threshold: float, logits: Tensor) -> Tensor:
    """(H, W) uint8: of two classes, 1 where its probability is at least the threshold, between 0 and 1."""
    margin = math.log(threshold) - math.log1p(-threshold)
    return (logits[1] - logits[0] >= margin).to(torch.uint8)


def certainty(logits: Tensor) -> Tensor:
    """(H, W) uint8: 255 times the largest probability, rounded."""
    return to_whole(logits.softmax(0).amax(0))


def probabilities(logits: Tensor) -> Tensor:
    """(K, H, W) float32 that sum to 1 over the classes."""
    return logits.softmax(0)


def probability_of(index: int, logits: Tensor, bits: int = 8) -> Tensor:
    """(H, W) whole numbers of 8 or 16 bits: probability of one class."""
    return to_whole(logits.softmax(0)[index], bits)


def log_odds_of(index: int, logits: Tensor) -> Tensor:
    """(H, W) uint8: ln p / (1 − p) of one class, from 0 (−LOG_ODDS and below) to 255 (LOG_ODDS and above)."""
    others = torch.cat([logits[:index], logits[index + 1 :]]).logsumexp(0)
    return to_whole((logits[index] - others) / (2 * LOG_ODDS) + 0.5)


def entropy(logits: Tensor, bits: int = 8) -> Tensor:
    """(H, W) whole numbers of 8 or 16 bits: −Σ p log p / log K, from 0 (sure) to 1 (all classes alike)."""
    logs = logits.log_softmax(0)
    return to_whole(-(logs.exp() * logs).sum(0).clamp(max=0) / math.log(max(len(logits), 2)), bits)


def to_whole(values: Tensor, bits: int = 8) -> Tensor:
    """Values in 0…1 as uint8 0 … 255 or uint16 0 … 65535."""
    # Through int32, because fewer devices convert to uint16 from floating point.
    whole = (values.clamp(0, 1) * (2**bits - 1)).round().int()
    # Apple's GPU does not know uint16 before PyTorch 2.10.
    return (whole.cpu() if whole.device.type == "mps" else whole).to(WHOLE_NUMBERS[bits])
