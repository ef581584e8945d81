"""Regions as COCO stores them, by pycocotools, whose functions define how polygons become pixels."""

from collections.abc import Mapping, Sequence

import numpy as np

from utils.core.packages import optional_package

# Polygons [[x1, y1, x2, y2, …], …] in pixels, of which the union counts, or runs {"size", "counts"}.
Segmentation = Sequence[Sequence[float]] | Mapping[str, object]
COORDINATE_LIMIT = 1e5
Box = tuple[int, int, int, int]  # top, bottom, left, right


def encode(mask: np.ndarray) -> dict[str, object]:
    """(H, W) bool → compressed runs, as JSON holds them."""
    codec = optional_package("pycocotools.mask", "pycocotools", "COCO regions")
    runs = codec.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in runs["size"]], "counts": runs["counts"].decode("ascii")}


def decode(segmentation: Segmentation, size: tuple[int, int]) -> tuple[np.ndarray, Box]:
    """The pixels of a region, (h, w) bool, and the box of the picture (height, width) that they fill.

    Raises ValueError, TypeError, KeyError or IndexError for what is no region of this size.
    """
    codec = optional_package("pycocotools.mask", "pycocotools", "COCO regions")
    height, width = size
    if isinstance(segmentation, Mapping):
        runs = dict(segmentation)
        if list(runs["size"]) != [height, width]:
            raise ValueError(f"runs of height and width {runs['size']} for a picture of {height}×{width}")
        packed = isinstance(runs["counts"], (str, bytes))
        # Checked here, because pycocotools paints whatever it finds, or writes beyond its memory.
        counts = unpack_counts(runs["counts"]) if packed else runs["counts"]
        if sum(counts) != height * width or min(counts) < 0:
            raise ValueError(f"runs of {sum(counts)} pixels for {height}×{width}")
        runs = runs if packed else codec.frPyObjects(runs, height, width)
    else:
        rings = [np.asarray(ring, np.float64) for ring in segmentation]
        if not rings or not all(ring.size >= 6 and ring.size % 2 == 0 for ring in rings):
            raise ValueError("a polygon of less than three points")
        if not all((np.abs(ring) < COORDINATE_LIMIT).all() for ring in rings):
            raise ValueError("a coordinate that is no number, or far outside the picture")
        runs = codec.merge(codec.frPyObjects([ring.tolist() for ring in rings], height, width))
    left, top, across, down = map(int, codec.toBbox(runs))
    box = top, top + down, left, left + across
    return codec.decode(runs)[top : box[1], left : box[3]].astype(bool), box


def unpack_counts(text: str | bytes) -> list[int]:
    """The lengths of compressed runs, as `rleFrString` of COCO's maskApi.c reads them. Raises IndexError."""
    data = text.encode("ascii") if isinstance(text, str) else text
    counts: list[int] = []
    place = 0
    while place < len(data):
        value = shift = 0
        more = True
        while more:
            bits = data[place] - 48
            value |= (bits & 31) << shift
            shift, place, more = shift + 5, place + 1, bits & 32
        value -= (bits & 16) << (shift - 4)
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts
