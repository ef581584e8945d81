"""CVAT for images 1.1: annotations.xml with polygons, boxes, ellipses and masks.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/.
"""

from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from utils.core.console import UserError, counted
from utils.images.rle import Box, Segmentation
from utils.importing.annotations import ENTRY_ERRORS, Drawn, Sheet, Tally, box, ellipse, to_dataset, turned
from utils.importing.dataset import Dataset, Request, Size
from utils.importing.regions import Painter
from utils.importing.tree import SPLIT_NAMES, Tree


def find_cvat(tree: Tree) -> list[Path]:
    return tree.files_with(".xml", "<annotations>")


def recognise_cvat(tree: Tree) -> str | None:
    paths = find_cvat(tree)
    return f"{counted(len(paths), 'XML file')} of annotations, such as {paths[0].name}" if paths else None


def read_cvat(request: Request) -> Dataset:
    sheets, names, tally = [], [], Tally()
    for path in find_cvat(request.tree):
        try:
            root = ElementTree.parse(path).getroot()
            if root.find("track") is not None:
                found, expected = "tracks, as CVAT for video has them", "CVAT for images 1.1"
                raise UserError("cvat-video", path, found, expected, f"export the task as {expected}")
            labels = (label for label in root.iterfind("meta//label") if not label.findtext("parent"))
            names += [name.strip() for label in labels if (name := label.findtext("name"))]
            sheets += [read_image_element(path, image, tally) for image in root.iterfind("image")]
        except (ElementTree.ParseError, *ENTRY_ERRORS) as error:
            found = f"an entry without what CVAT demands ({error!r})"
            raise UserError("cvat-entry", path, found, "CVAT for images 1.1", "export it again") from None
    return to_dataset(request, sheets, names, tally)


def read_image_element(path: Path, image: ElementTree.Element, tally: Tally) -> Sheet:
    """Shapes with a higher z_order cover others, then later ones those before them, as CVAT draws them."""
    drawn = []
    for number, shape in enumerate(image, 1):
        region = read_shape(shape)
        if region is not None:
            place = f"{image.attrib['name']}, {shape.tag} {number}"
            layer = int(shape.get("z_order", 0)), number
            drawn.append(Drawn(shape.attrib["label"].strip(), region, place, layer))
        elif shape.tag != "tag":
            tally.add(f"{shape.tag}, which has no area: left out")
    size = int(image.attrib["height"]), int(image.attrib["width"])
    split = SPLIT_NAMES.get(image.get("subset", "").lower())
    return Sheet(path, (image.attrib["name"],), drawn, size, split)


def read_shape(shape: ElementTree.Element) -> Segmentation | Painter | None:
    """None for shapes that have no area."""
    match shape.tag:
        case "polygon":
            return [
                [float(number) for point in shape.attrib["points"].split(";") for number in point.split(",")]
            ]
        case "box":
            left, top, right, bottom = (float(shape.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
            x, y = (left + right) / 2, (top + bottom) / 2
            return turned(box(left, top, right, bottom), float(shape.get("rotation", 0)), x, y)
        case "ellipse":
            x, y, radius_x, radius_y = (float(shape.attrib[name]) for name in ("cx", "cy", "rx", "ry"))
            return turned(ellipse(x, y, radius_x, radius_y), float(shape.get("rotation", 0)), x, y)
        case "mask":
            runs = [int(run) for run in shape.attrib["rle"].split(",")]
            left, top, width, height = (
                int(shape.attrib[name]) for name in ("left", "top", "width", "height")
            )
            return partial(paint_rows, runs, (top, left), (height, width))
    return None


def paint_rows(runs: list[int], corner: tuple[int, int], part: Size, size: Size) -> tuple[np.ndarray, Box]:
    """Runs of rows, background first, within a part (height, width) of the picture at (top, left)."""
    (top, left), (height, width) = corner, part
    if sum(runs) != height * width or min(runs) < 0:
        raise ValueError(f"runs of {sum(runs)} pixels for {height}×{width}")
    if min(corner) < 0 or top + height > size[0] or left + width > size[1]:
        raise ValueError("a mask that reaches over the edge of the picture")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(part)
    return pixels, (top, top + height, left, left + width)
