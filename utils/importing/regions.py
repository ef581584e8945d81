"""Painting annotated regions into masks: the one painter of all formats but labelme's."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from utils.core.console import UserError
from utils.images.masks import number_objects
from utils.images.palette import IGNORE_INDEX
from utils.images.rle import Box, Segmentation, decode
from utils.importing.dataset import Labels, Size

NO_PIXEL = "without a pixel: they are too small, or outside of their pictures"
BEYOND = "beyond the edge of their pictures: were these resized after they were annotated?"
Painter = Callable[[Size], tuple[np.ndarray, Box]]


@dataclass(frozen=True)
class Region:
    """An object of a class, whose index is `value`; 255 for a region that does not count, such as a crowd.

    segmentation: as COCO has it, or a function from the picture's size to what `decode` returns. place: what
    messages call it. layer: higher ones cover lower ones.
    """

    value: int
    segmentation: Segmentation | Painter
    place: str
    layer: tuple[int, ...] = ()


def paint_regions(regions: Sequence[Region], instances: bool, source: object, size: Size) -> Labels:
    """Ignored regions first, then by layer, large objects before small ones, which therefore stay visible.

    Objects are numbered in this order. Raises UserError, which names `source`, for a region that is none.
    """
    painted, doubts = [], Counter()
    for region in regions:
        try:
            paint = region.segmentation
            pixels, box = paint(size) if callable(paint) else decode(paint, size)
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            expected = "a polygon of three points or more, or runs of the picture's size"
            remedy = "correct the object in the program that drew it, and export again"
            subject, found = f"{source}, {region.place}", f"no region ({error})"
            raise UserError("region", subject, found, expected, remedy) from None
        doubts[NO_PIXEL] += not pixels.any()
        doubts[BEYOND] += not callable(paint) and reaches_beyond(paint, size)
        order = region.value != IGNORE_INDEX, region.layer, -np.count_nonzero(pixels)
        painted.append((order, region.value, pixels, box))
    painted.sort(key=lambda one: one[0])
    mask = np.zeros(size, np.uint8)
    objects = np.zeros(size, np.uint16) if instances else None
    for number, (_, value, pixels, (top, bottom, left, right)) in enumerate(painted, 1):
        mask[top:bottom, left:right][pixels] = value
        if objects is not None:
            objects[top:bottom, left:right][pixels] = number if 0 < value < IGNORE_INDEX else 0
    return Labels(mask, None if objects is None else number_objects(objects), +doubts)


def reaches_beyond(segmentation: Segmentation, size: Size) -> bool:
    """Whether a polygon reaches over an edge of the picture by more than drawing by hand explains."""
    if isinstance(segmentation, Mapping):
        return False
    points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in segmentation])
    height, width = size
    slack = 2 + 0.01 * max(size)
    return bool((points.max(axis=0) > (width + slack, height + slack)).any() or (points.min() < -slack))
