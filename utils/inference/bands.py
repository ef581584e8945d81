"""A picture from its tiles: rows in bands from top to bottom, and the bands joined to the whole."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from torch import Tensor
from tqdm import tqdm

Band = tuple[np.ndarray, ...]  # one array (…, h, W) for each output


def to_bands(
    pieces: Iterable[Iterable[Tensor]], outputs: tuple[Callable[[Tensor], Tensor], ...], width: int, bar: tqdm
) -> Iterator[Band]:
    """Bands of a picture `width` pixels wide, one array (…, h, width) for each output.

    pieces: the logits (1, K, h, w) of each band from left to right; outputs: functions of the logits
    (K, h, w); bar: counts the tiles.
    """
    for row in pieces:
        arrays, left = [], 0
        for logits in row:
            parts = [output(logits[0]).cpu().numpy() for output in outputs]
            # Once per band: small arrays kept among the network's large ones would fragment the heap.
            arrays = arrays or [np.empty((*part.shape[:-1], width), part.dtype) for part in parts]
            for array, part in zip(arrays, parts, strict=True):
                array[..., left : left + part.shape[-1]] = part
            left += logits.shape[-1]
            bar.update()
        yield tuple(arrays)


def join_bands(bands: Iterable[Band], height: int) -> Band:
    """One band of all `height` rows. What is one band already is not copied."""
    arrays, top = (), 0
    for band in bands:
        rows = band[0].shape[-2]
        if rows == height:
            return band
        arrays = arrays or tuple(
            np.empty((*part.shape[:-2], height, part.shape[-1]), part.dtype) for part in band
        )
        for array, part in zip(arrays, band, strict=True):
            array[..., top : top + rows, :] = part
        top += rows
    return arrays
