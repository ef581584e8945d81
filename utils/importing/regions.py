"""Painting annotated regions into masks: the one painter of all formats but labelme's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from utils.core.console import UserError
from utils.images.palette import IGNORE_INDEX
from utils.images.rle import Box, Segmentation, decode
from utils.importing.dataset import Labels, Size

Painter = Callable[[Size], tuple[np.ndarray, Box]]
MAX_OBJECTS = 254  # per picture, as masks have 8 bits


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

    Raises UserError, which names `source`, for a region that is none, and for 255 objects with `instances`.
    """
    painted = []
    for region in regions:
        try:
            paint = region.segmentation
            pixels, box = paint(size) if callable(paint) else decode(paint, size)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            expected = "a polygon of three points or more, or runs of the picture's size"
            remedy = "correct the object in the program that drew it, and export again"
            subject, found = f"{source}, {region.place}", f"no region ({error})"
            raise UserError("region", subject, found, expected, remedy) from None
        order = region.value != IGNORE_INDEX, region.layer, -np.count_nonzero(pixels)
        painted.append((order, region.value, pixels, box))
    painted.sort(key=lambda one: one[0])
    mask = np.zeros(size, np.uint8)
    objects = np.zeros(size, np.uint8) if instances else None
    number = 0
    for _, value, pixels, (top, bottom, left, right) in painted:
        mask[top:bottom, left:right][pixels] = value
        if objects is not None:
            number += 0 < value < IGNORE_INDEX
            if number > MAX_OBJECTS:
                found, expected = f"{len(painted)} objects", f"at most {MAX_OBJECTS} in masks of 8 bits"
                raise UserError("object-count", source, found, expected, "leave out --instances")
            objects[top:bottom, left:right][pixels] = value if value in (0, IGNORE_INDEX) else number
    return Labels(mask, objects)
