"""Whole pictures scaled to one size, the rest filled with gray bars (as unet-pytorch fits them), and the way back."""

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.normalise import FULL_SCALE
from utils.palette import IGNORE_INDEX


def inner_box(picture: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a picture (height, width) inside `size`, scaled to fit and centred."""
    factor = min(size[0] / picture[0], size[1] / picture[1])
    height, width = (max(round(side * factor), 1) for side in picture)
    return (size[0] - height) // 2, (size[1] - width) // 2, height, width


def letterbox(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (N, C, H, W) uint8, uint16 or float32 → (N, C, *size) of the same type, bars of middle gray."""
    top, left, height, width = inner_box(images.shape[-2:], size)
    gray = FULL_SCALE.get(images.dtype, 1.0) * 0.5
    canvas = torch.full((*images.shape[:2], *size), gray, device=images.device)
    # Anti-aliased, so that thin structures fade instead of vanishing between the samples.
    scaled = F.interpolate(images.float(), (height, width), mode="bilinear", align_corners=False, antialias=True)
    canvas[..., top : top + height, left : left + width] = scaled
    return canvas if images.dtype.is_floating_point else canvas.round().to(images.dtype)


def letterbox_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask (H, W) uint8 → `size`, by nearest neighbour, the bars ignored (255)."""
    top, left, height, width = inner_box(mask.shape, size)
    canvas = torch.full(size, IGNORE_INDEX, dtype=torch.uint8)
    scaled = F.interpolate(mask[None, None].float(), (height, width), mode="nearest-exact")[0, 0]
    canvas[top : top + height, left : left + width] = scaled.to(torch.uint8)
    return canvas


def undo_letterbox(logits: Tensor, picture: tuple[int, int]) -> Tensor:
    """Logits (N, K, h, w) of letterboxed pictures → (N, K, H, W) of the pictures themselves, (H, W) = `picture`."""
    top, left, height, width = inner_box(picture, logits.shape[-2:])
    inner = logits[..., top : top + height, left : left + width]
    return F.interpolate(inner, picture, mode="bilinear", align_corners=False)
