"""Painting labelme shapes into masks, exactly as labelme does."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from utils.core.console import UserError
from utils.images.palette import IGNORE_INDEX
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL, Shape

LINE_WIDTH = 10  # pixels, as in labelme; points are discs of this diameter
MAX_OBJECTS = 65_534  # per picture: 16 bits, and 255 means ignored


def rasterise(
    shapes: Iterable[Shape],
    size: tuple[int, int],
    class_index: Mapping[str, int],
    unlabelled: int = 0,
    line_width: int = LINE_WIDTH,
) -> np.ndarray:
    """Paint shapes in their order, later ones over earlier ones, as labelme's `shapes_to_label` does.

    size: (height, width). class_index: label → 0…254. `_background_` is always 0 and `__ignore__` always 255.
    unlabelled: value of the pixels that no shape covers. line_width: of lines, and diameter of points.
    Returns (H, W) uint8. Raises KeyError for a label without an index.
    """
    values = {**class_index, BACKGROUND_LABEL: 0, IGNORE_LABEL: IGNORE_INDEX}
    return paint(shapes, [values[shape.label] for shape in shapes], size, unlabelled, line_width)


def number_objects(subject: object, shapes: Iterable[Shape], background: str = BACKGROUND_LABEL) -> list[int]:
    """The value of each shape in SegmentationObject: 1, 2, … without 255, in the order of first shapes.

    Shapes of one label and group_id are one object. `_background_` and the label `background` are 0, and
    `__ignore__` is 255. Raises UserError, which names `subject`, for more objects than 16 bits hold.
    """
    fixed = {BACKGROUND_LABEL: 0, background: 0, IGNORE_LABEL: IGNORE_INDEX}
    numbers: dict[tuple[str, object], int] = {}
    values = []
    for order, shape in enumerate(shapes):
        if shape.label in fixed:
            values.append(fixed[shape.label])
        else:
            group = order if shape.group_id is None else repr(shape.group_id)
            number = len(numbers) + 1
            values.append(numbers.setdefault((shape.label, group), number + (number >= IGNORE_INDEX)))
    if len(numbers) > MAX_OBJECTS:
        found, expected = f"{len(numbers)} objects", f"at most {MAX_OBJECTS} in masks of 16 bits"
        remedy = "leave out --instances, cut the picture into tiles, or join shapes by labelme's group_id"
        raise UserError("object-count", subject, found, expected, remedy)
    return values


def paint(
    shapes: Iterable[Shape],
    values: Sequence[int],
    size: tuple[int, int],
    unlabelled: int = 0,
    line_width: int = LINE_WIDTH,
) -> np.ndarray:
    """A mask (H, W) of shapes, each painted with its value: uint8, or uint16 for values above 255.

    size: (height, width). The others as in `rasterise`.
    """
    wide = max(values, default=0) > 255
    canvas = Image.new("I" if wide else "L", (size[1], size[0]), unlabelled)
    draw = ImageDraw.Draw(canvas)
    for shape, value in zip(shapes, values, strict=True):
        points = [(x, y) for x, y in shape.points.tolist()]
        match shape.shape_type:
            case "polygon" | "oriented_rectangle":
                draw.polygon(points, fill=value, outline=value)
            case "rectangle":
                corners = (*shape.points.min(axis=0), *shape.points.max(axis=0))
                draw.rectangle(corners, fill=value, outline=value)
            case "circle":
                (x, y), (rim_x, rim_y) = points
                radius = math.sqrt((x - rim_x) ** 2 + (y - rim_y) ** 2)
                fill_circle(draw, (x, y), radius, value)
            case "line" | "linestrip":
                draw.line(points, fill=value, width=line_width)
            case "point" | "points":
                for point in points:
                    draw.circle(point, line_width / 2, fill=value, outline=value)
            case "mask":
                left, top = shape.points[0].astype(int).tolist()
                canvas.paste(value, (left, top), Image.fromarray(shape.mask))
    return np.array(canvas, np.uint16 if wide else np.uint8)


def fill_circle(draw: ImageDraw.ImageDraw, center: tuple[float, float], radius: float, value: int) -> None:
    """What `draw.circle` does, in no time where a huge circle covers the whole picture or none of it."""
    (x, y), (width, height) = center, draw.im.size
    # Two pixels, for how Pillow rounds.
    aside = max(-x, x - width, -y, y - height) > radius + 2
    farthest = math.hypot(max(x, width - x), max(y, height - y))
    if farthest < radius - 2:
        draw.rectangle((0, 0, width, height), fill=value)
    elif not aside:
        draw.circle(center, radius, fill=value, outline=value)
