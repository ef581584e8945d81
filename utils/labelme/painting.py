"""Painting labelme shapes into masks, exactly as labelme does."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image, ImageDraw

from utils.core.console import UserError
from utils.images.palette import IGNORE_INDEX
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL, Annotation, Shape

LINE_WIDTH, POINT_RADIUS = 10, 5  # labelme's own, in pixels
MOST_OBJECTS = 254  # of a picture: masks have 8 bits, and 255 means ignored


def rasterise(shapes: Iterable[Shape], size: tuple[int, int], class_index: Mapping[str, int]) -> np.ndarray:
    """Paint shapes in their order, later over earlier, exactly as labelme's `shapes_to_label` does.

    size: (height, width); class_index: label → 0…254 (`_background_` is 0 and `__ignore__` 255 whatever it says).
    Returns (H, W) uint8. Raises KeyError for a label without an index.
    """
    values = {**class_index, BACKGROUND_LABEL: 0, IGNORE_LABEL: IGNORE_INDEX}
    return _paint_all(((shape, values[shape.label]) for shape in shapes), size)


def rasterise_objects(annotation: Annotation, background: str = BACKGROUND_LABEL) -> np.ndarray:
    """The mask of SegmentationObject: objects numbered 1, 2, … as first drawn, painted like `rasterise` paints classes.

    Shapes of one label and group_id are one object; `_background_` and the label `background` are 0, `__ignore__` is 255.
    Returns (H, W) uint8. Raises UserError for more than 254 objects.
    """
    values: dict[object, int] = {BACKGROUND_LABEL: 0, background: 0, IGNORE_LABEL: IGNORE_INDEX}
    keys: list[object] = []
    count = 0
    for order, shape in enumerate(annotation.shapes):
        group = order if shape.group_id is None else repr(shape.group_id)
        keys.append(shape.label if shape.label in values else (shape.label, group))
        if keys[-1] not in values:
            values[keys[-1]] = count = count + 1
    if count > MOST_OBJECTS:
        remedy = "leave out --instances, cut the picture into tiles, or join shapes of one object by labelme's group_id"
        found, expected = f"{count} objects", f"at most {MOST_OBJECTS}, because object masks have 8 bits"
        raise UserError("rasterise-objects", annotation.path, found, expected, remedy)
    shapes = zip(annotation.shapes, (values[key] for key in keys), strict=True)
    return _paint_all(shapes, annotation.image.shape[:2])


def _paint_all(shapes: Iterable[tuple[Shape, int]], size: tuple[int, int]) -> np.ndarray:
    canvas = Image.new("L", (size[1], size[0]))
    for shape, value in shapes:
        _paint(canvas, shape, value)
    return np.array(canvas)


def _paint(canvas: Image.Image, shape: Shape, value: int) -> None:
    draw = ImageDraw.Draw(canvas)
    points = [(x, y) for x, y in shape.points.tolist()]
    match shape.shape_type:
        case "polygon" | "oriented_rectangle":
            draw.polygon(points, fill=value, outline=value)
        case "rectangle":
            draw.rectangle((*shape.points.min(axis=0), *shape.points.max(axis=0)), fill=value, outline=value)
        case "circle":
            (x, y), (rim_x, rim_y) = points
            _paint_disc(draw, (x, y), math.sqrt((x - rim_x) ** 2 + (y - rim_y) ** 2), value)
        case "line" | "linestrip":
            draw.line(points, fill=value, width=LINE_WIDTH)
        case "point" | "points":
            for point in points:
                _paint_disc(draw, point, POINT_RADIUS, value)
        case "mask":
            left, top = shape.points[0].astype(int).tolist()
            canvas.paste(value, (left, top), Image.fromarray(shape.mask))


def _paint_disc(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, value: int) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value, outline=value)
