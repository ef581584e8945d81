"""Large pictures by overlapping tiles: where they are cut, and how their logits become those of the picture."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor

# Beyond this reach (ResNet-50, depths above 5) most of a tile would be halo, for context that hardly weighs.
LONGEST_HALO = 256
BLENDED_HALO = 128
CPU_BYTES = 768 << 20  # a larger tile saves little of the halo's work
BAND_BYTES = (
    128 << 20
)  # of pictures that are read and written band by band, to keep the rest of a band small too
LONGEST_SIDE = 3072  # larger maps pass 2³¹ values, where cuDNN gets slow


class Span(NamedTuple):
    """One tile along one axis: it reads first … last − 1 and answers for start … stop − 1."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class Grid:
    """Tiles of a picture. blend: overlaps are mixed smoothly, because the logits of a tile are not exactly the picture's."""

    rows: list[Span]
    columns: list[Span]
    blend: bool = False


def make_grid(size: tuple[int, int], side: int, stride: int, reach: int, exact: bool) -> Grid:
    """Cut a picture (height, width) into tiles of at most `side` pixels, or as many as four halos take.

    Tiles begin at multiples of the stride and end there or at the picture's edge, so that a network pools, pads and crops
    them as it does the whole picture; towards their neighbours they are longer by a halo of at least the reach.
    """
    exact = exact and reach <= LONGEST_HALO
    halo = -(-(reach if exact else min(reach, BLENDED_HALO)) // stride) * stride
    rows, columns = (cut(length, max(side, 4 * halo, 3 * stride), stride, halo) for length in size)
    return Grid(rows, columns, blend=not exact)


def cut(length: int, side: int, stride: int, halo: int) -> list[Span]:
    """Spans of about equal length that cover 0 … length − 1."""
    if length <= side:
        return [Span(0, length, 0, length)]
    # Two tiles have one neighbour each, so only one halo.
    pair = (side - halo) // stride * stride
    count = 2 if length <= 2 * pair else math.ceil(length / ((side - 2 * halo) // stride * stride))
    step = math.ceil(length / count / stride) * stride
    return [
        Span(start, min(start + step, length), max(start - halo, 0), min(start + step + halo, length))
        for start in range(0, length, step)
    ]


def tile_side(bytes_per_pixel: float, device: torch.device, banded: bool) -> int:
    """Side of the largest square tile for the memory that is free now: half of a GPU's, a quarter of the machine's.

    banded: the picture is so large that it goes through memory band by band.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        budget = (torch.cuda.mem_get_info(device)[0] + unused) // 2
    else:
        budget = min(psutil.virtual_memory().available // 4, BAND_BYTES if banded else CPU_BYTES)
    return min(int((budget / bytes_per_pixel) ** 0.5), LONGEST_SIDE)


def tiled(
    grid: Grid, read: Callable[[int, int], Any], predict: Callable[[Any, int, int], Tensor]
) -> Iterator[Iterator[Tensor]]:
    """Bands of the picture from top to bottom, each as pieces (…, h, w) from left to right, to be used in this order.

    read(top, bottom): rows of the picture; predict(rows, left, right): logits (…, bottom − top, right − left) of a tile.
    One tile at a time: a larger tile wastes less on its halo than a batch of small ones in the same memory.
    """
    above: list[Tensor | None] = [None] * len(grid.columns)
    for index, row in enumerate(grid.rows):
        band = read(row.first, row.last)
        if grid.blend and len(grid.rows) * len(grid.columns) > 1:
            yield blended(
                grid, index, lambda column, band=band: predict(band, column.first, column.last), above
            )
        else:
            height = slice(row.start - row.first, row.stop - row.first)
            yield (
                predict(band, column.first, column.last)[
                    ..., height, column.start - column.first : column.stop - column.first
                ]
                for column in grid.columns
            )


def blended(
    grid: Grid, index: int, predict: Callable[[Span], Tensor], above: list[Tensor | None]
) -> Iterator[Tensor]:
    """A band whose tiles are mixed where they overlap; above: what the band before left for each column, then this one."""
    row, beside = grid.rows[index], None
    height = beginning(grid.rows, index + 1) - row.first
    for number, column in enumerate(grid.columns):
        logits = predict(column)
        logits = (
            logits
            * ramps(grid.rows, index, logits.device)[:, None]
            * ramps(grid.columns, number, logits.device)
        )
        if beside is not None:
            logits[..., : beside.shape[-1]] += beside
        width = beginning(grid.columns, number + 1) - column.first
        piece, beside = logits[..., :width], logits[..., width:].clone()
        if above[number] is not None:
            piece[..., : above[number].shape[-2], :] += above[number]
        above[number] = piece[..., height:, :].clone()
        yield piece[..., :height, :]


def beginning(spans: Sequence[Span], index: int) -> int:
    """First pixel that span `index` has a say in; the end of all spans for the one after the last."""
    return spans[index].first if index < len(spans) else spans[-1].last


def ramps(spans: Sequence[Span], index: int, device: torch.device) -> Tensor:
    """Weight of each pixel of a span: rises as sin² over the overlap with the one before, falls as cos² with the next."""
    span = spans[index]
    weights = torch.ones(span.last - span.first, device=device)
    for other, flip in ((index - 1, False), (index + 1, True)):
        if 0 <= other < len(spans):
            overlap = span.last - spans[other].first if flip else spans[other].last - span.first
            ramp = torch.sin((torch.arange(overlap, device=device) + 0.5) * (math.pi / 2 / overlap)) ** 2
            part = weights[-overlap:] if flip else weights[:overlap]
            part *= ramp.flip(0) if flip else ramp
    return weights


def mean_logits(parts: Iterable[Tensor]) -> Tensor:
    """Logits (N, K, H, W) of several predictions → those of the mean of their probabilities; a single one stays as it is."""
    parts = iter(parts)
    logits, count = next(parts), 1
    total = None
    for other in parts:
        total = (logits.softmax(1) if total is None else total).add_(other.softmax(1))
        count += 1
    return logits if total is None else (total / count).clamp_min(torch.finfo(total.dtype).tiny).log()


def from_all_sides(batch: Tensor, predict: Callable[[Tensor], Tensor], stride: int) -> Iterator[Tensor]:
    """Logits of a float batch (N, C, H, W), of its turns by 90° and of their mirror images, each turned back.

    The lower and right edge are first repeated up to a multiple of the stride, so that a tile and the picture as a whole
    are pooled alike from every side.
    """
    height, width = batch.shape[-2:]
    batch = F.pad(batch, (0, -width % stride, 0, -height % stride), mode="replicate")
    for flip in (False, True):
        for turns in range(4):
            side = torch.rot90(batch.flip(-1) if flip else batch, turns, (-2, -1))
            logits = torch.rot90(predict(side), -turns, (-2, -1))
            yield (logits.flip(-1) if flip else logits)[..., :height, :width]


def mirror(images: Tensor, margin: int) -> Tensor:
    """Pictures (N, C, H, W) with `margin` mirrored pixels added on each side, however small they are."""
    rows, columns = (reflected(size, margin).to(images.device) for size in images.shape[-2:])
    return images[..., rows[:, None], columns]


def reflected(size: int, margin: int) -> Tensor:
    """Index of the source pixel of each of size + 2·margin pixels: … 2 1 0 1 2 … without repeating the edge."""
    index = torch.arange(-margin, size + margin) % max(2 * (size - 1), 1)
    return torch.minimum(index, 2 * (size - 1) - index) if size > 1 else torch.zeros_like(index)
