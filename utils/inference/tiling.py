"""Large pictures by overlapping tiles: how they are cut, and how pictures are joined from them in bands."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from utils.core.memory import available_memory

Band = tuple[np.ndarray, ...]  # rows of a picture: one array (…, h, W) for each output

# Beyond this reach (ResNet-50, depths above 5) most of a tile would be halo, for context of little weight.
LONGEST_HALO = 256
BLENDED_HALO = 128
CPU_BYTES = 768 << 20  # a larger tile saves little of the halo's work
BAND_BYTES = 128 << 20  # of pictures that are written band by band, to keep the rest of a band small too
LONGEST_SIDE = 3072  # larger maps pass 2³¹ values, where cuDNN gets slow


class Span(NamedTuple):
    """One tile along one axis: it reads first … last − 1 and answers for start … stop − 1."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def read(self) -> slice:
        return slice(self.first, self.last)

    @property
    def own(self) -> slice:
        """What the tile answers for, counted from the first pixel that it reads."""
        return slice(self.start - self.first, self.stop - self.first)


@dataclass(frozen=True)
class Grid:
    """Tiles of a picture. blend: mix overlaps, because a tile's logits are not exactly the picture's."""

    rows: list[Span]
    columns: list[Span]
    blend: bool = False

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.rows) * len(self.columns)


def make_grid(size: tuple[int, int], side: int, stride: int, reach: int, exact: bool) -> Grid:
    """Cut a picture (height, width) into tiles of at most `side` pixels, or as many as four halos take.

    Tiles begin at multiples of the stride and end there or at the picture's edge, so that a network pools,
    pads and crops them as it does the whole picture. Towards their neighbours they are longer by a halo of at
    least the reach.
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
    """Side of the largest square tile for the free memory: half of a GPU's, a quarter of the machine's
    or the container's.

    banded: the picture is so large that it goes through memory band by band.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        budget = (torch.cuda.mem_get_info(device)[0] + unused) // 2
    else:
        budget = min(available_memory() // 4, BAND_BYTES if banded else CPU_BYTES)
    return min(int((budget / bytes_per_pixel) ** 0.5), LONGEST_SIDE)


def tiled(grid: Grid, predict: Callable[[slice, slice], Tensor]) -> Iterator[Iterator[Tensor]]:
    """Bands of the picture from top to bottom, each as pieces (…, h, w) from left to right.

    To be used in this order. predict(rows, columns): logits (…, h, w) of a tile. One tile at a
    time, because a larger one wastes less on its halo than a batch of small ones in the same memory.
    """
    above: list[Tensor | None] = [None] * len(grid.columns)
    for index, row in enumerate(grid.rows):
        if grid.blend and len(grid) > 1:
            yield blended(grid, index, predict, above)
        else:
            yield (predict(row.read, column.read)[..., row.own, column.own] for column in grid.columns)


def blended(
    grid: Grid, index: int, predict: Callable[[slice, slice], Tensor], above: list[Tensor | None]
) -> Iterator[Tensor]:
    """A band whose tiles are mixed where they overlap.

    above: what the band before left for each column; replaced by what this one leaves.
    """
    row, beside = grid.rows[index], None
    height = beginning(grid.rows, index + 1) - row.first
    for number, column in enumerate(grid.columns):
        logits = predict(row.read, column.read)
        vertical = ramps(grid.rows, index, logits.device)[:, None]
        logits = logits * vertical * ramps(grid.columns, number, logits.device)
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
    """Weight of each pixel of a span: sin² over the overlap with the one before, cos² with the next."""
    span = spans[index]
    weights = torch.ones(span.last - span.first, device=device)
    for other, flip in ((index - 1, False), (index + 1, True)):
        if 0 <= other < len(spans):
            overlap = span.last - spans[other].first if flip else spans[other].last - span.first
            ramp = torch.sin((torch.arange(overlap, device=device) + 0.5) * (math.pi / 2 / overlap)) ** 2
            part = weights[-overlap:] if flip else weights[:overlap]
            part *= ramp.flip(0) if flip else ramp
    return weights


def to_bands(
    pieces: Iterable[Iterable[Tensor]], outputs: tuple[Callable[[Tensor], Tensor], ...], width: int, bar: tqdm
) -> Iterator[Band]:
    """Bands of a picture `width` pixels wide, one array (…, h, width) for each output.

    pieces: logits (1, K, h, w) of each band from left to right; outputs: functions of logits (K, h, w); bar:
    counts the tiles.
    """

    def reduce(logits: Tensor) -> Band:
        bar.update()
        return tuple(output(logits[0]).cpu().numpy() for output in outputs)

    for row in pieces:
        yield join(map(reduce, row), width, axis=-1)


def join(parts: Iterable[Band], length: int, axis: int) -> Band:
    """Parts of a picture, one after another along an axis (-2 or -1), to `length` pixels.

    A part that has all of them is not copied.
    """
    arrays, start = (), 0
    for part in parts:
        stop = start + part[0].shape[axis]
        if stop - start == length:
            return part
        # Made at once: small arrays kept among the network's large ones would fragment the heap.
        arrays = arrays or tuple(
            np.empty((*each.shape[:axis], length, *each.shape[axis:][1:]), each.dtype) for each in part
        )
        for array, values in zip(arrays, part, strict=True):
            np.moveaxis(array, axis, 0)[start:stop] = np.moveaxis(values, axis, 0)
        start = stop
    return arrays
