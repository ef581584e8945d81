"""Whole pictures scaled to one size and filled up with gray bars, as unet-pytorch does, and the way back."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.images.normalisation import FULL_SCALE
from utils.images.palette import IGNORE_INDEX

BAND_PIXELS = 1 << 22  # of a picture that is read while it shrinks


def inner_box(picture: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a picture (height, width) inside `size`, scaled to fit and centred."""
    factor = min(size[0] / picture[0], size[1] / picture[1])
    height, width = (max(round(side * factor), 1) for side in picture)
    return (size[0] - height) // 2, (size[1] - width) // 2, height, width


def letterbox(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (N, C, H, W) uint8, uint16 or float32 → (N, C, *size), same type, bars of middle gray."""
    return letterbox_bands(lambda top, bottom: images[..., top:bottom, :], images.shape[-2:], size)


def letterbox_bands(
    read: Callable[[int, int], Tensor], picture: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """Like `letterbox`, of a `picture` (height, width) too large for memory; read(top, bottom): its rows."""
    top, left, height, width = inner_box(picture, size)
    step, narrow = max(BAND_PIXELS // picture[1], 1), []
    for y in range(0, picture[0], step):
        band = read(y, min(y + step, picture[0]))
        narrow.append(scaled(band.float(), (band.shape[-2], width)))
    # First across, then down, as PyTorch does both at once.
    inner = scaled(torch.cat(narrow, dim=-2), (height, width))
    gray = FULL_SCALE.get(band.dtype, 1.0) * 0.5
    canvas = torch.full((*inner.shape[:2], *size), gray, device=inner.device)
    canvas[..., top : top + height, left : left + width] = inner
    return canvas if band.dtype.is_floating_point else canvas.round().to(band.dtype)


def scaled(values: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) float32 → (N, C, *size), anti-aliased: thin structures fade instead of vanishing."""
    return F.interpolate(values, size, mode="bilinear", align_corners=False, antialias=True)


def letterbox_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask (H, W) uint8 or uint16 → `size`, by nearest neighbour, the bars ignored (255)."""
    top, left, height, width = inner_box(mask.shape, size)
    canvas = torch.full(size, IGNORE_INDEX, dtype=mask.dtype)
    scaled = F.interpolate(mask[None, None].float(), (height, width), mode="nearest-exact")[0, 0]
    canvas[top : top + height, left : left + width] = scaled.to(mask.dtype)
    return canvas


def undo_letterbox(
    logits: Tensor, picture: tuple[int, int], rows: slice = slice(None), columns: slice = slice(None)
) -> Tensor:
    """Logits (N, K, h, w) of letterboxed pictures → (N, K, H, W) of the pictures, (H, W) = `picture`.

    rows, columns: the part that is wanted; nothing else is computed.
    """
    top, left, height, width = inner_box(picture, logits.shape[-2:])
    inner = logits[..., top : top + height, left : left + width]
    return part_of_scaled(part_of_scaled(inner, -2, picture[0], rows), -1, picture[1], columns)


def part_of_scaled(values: Tensor, dim: int, length: int, part: slice) -> Tensor:
    """The values scaled to `length` along `dim` (−2 or −1), linearly as `F.interpolate` does; only `part`."""
    last, centres = values.shape[dim] - 1, torch.arange(length, dtype=torch.float64)[part] + 0.5
    place = (centres * (last + 1) / length - 0.5).clamp(0, last)
    before, share = place.long().to(values.device), place.frac().to(values.device, values.dtype)
    after = (before + 1).clamp(max=last)
    share = share[:, None] if dim == -2 else share
    return values.index_select(dim, before).lerp_(values.index_select(dim, after), share)
