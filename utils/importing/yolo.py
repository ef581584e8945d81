"""YOLO's segmentation text: one line per object, its class and the corners of its polygon in 0 … 1.

Format: https://docs.ultralytics.com/datasets/segment/. A picture's text has its name, and `labels` where the
picture's path has `images`.
"""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from utils.core.console import UserError, counted
from utils.core.files import read_lines
from utils.images.palette import IGNORE_INDEX, numbered_classes
from utils.importing.annotations import Tally
from utils.importing.dataset import Dataset, Entry, Labels, Request, Size, unique_names, with_background
from utils.importing.regions import Region, paint_regions
from utils.importing.transfer import raise_together
from utils.importing.tree import Tree
from utils.voc.class_files import find_class_file, read_background, read_class_file

NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")
BOX_NUMBERS = 4
Polygon = tuple[int, list[float], str]  # class, coordinates as shares of width and height, line
SEEN_LINES = 100  # that are looked at to tell the format


def find_labels(tree: Tree) -> dict[Path, Path]:
    """Picture → its text of polygons or boxes."""
    texts = {path for path in tree.with_suffix(".txt") if path.name.lower() not in NAME_FILES}
    found = {}
    for picture in tree.pictures:
        for place in (picture.parent, *label_folders(picture)):
            if (text := place / f"{picture.stem}.txt") in texts:
                found[picture] = text
    return found


def label_folders(picture: Path) -> Iterator[Path]:
    """The folder of a picture with `labels` in the place of `images`, as Ultralytics has it."""
    parts = picture.parent.parts
    for place, part in enumerate(parts):
        if part.lower() == "images":
            yield Path(*parts[:place], "labels", *parts[place + 1 :])


def recognise_yolo(tree: Tree) -> str | None:
    labels = find_labels(tree)
    if not labels:
        return None
    lines = (line for path in labels.values() for line in tree.read_head(path).splitlines())
    if not any(map(looks_like_an_object, islice(lines, SEEN_LINES))):
        return None
    return f"{counted(len(labels), 'text')} of polygons beside or parallel to the pictures"


def looks_like_an_object(line: bytes) -> bool:
    """A class and pairs of numbers. Their limits are checked when they are read."""
    try:
        numbers = [float(number) for number in line.split()]
    except ValueError:
        return False
    return len(numbers) > BOX_NUMBERS and len(numbers) % 2 == 1 and numbers[0].is_integer()


def read_yolo(request: Request) -> Dataset:
    tree, tally = request.tree, Tally()
    labels = find_labels(tree)
    folders = dict.fromkeys(path.parent for path in tree.with_suffix(*NAME_FILES))
    listed = find_class_file(list(folders), NAME_FILES)
    polygons = read_texts(tree, labels)
    values = {value for one in polygons.values() for value, _, _ in one}
    names = read_class_file(listed) if listed else numbered_classes(max(values, default=0) + 1)
    if beyond := [value for value in values if value >= len(names)]:
        found, expected = f"the class {max(beyond)}", f"0 … {len(names) - 1}, the classes of {listed}"
        raise UserError("yolo-class", tree.root, found, expected, "complete the names, or correct the texts")
    if not any(len(numbers) > BOX_NUMBERS for one in polygons.values() for _, numbers, _ in one):
        found, expected = "boxes only (class, x, y, width, height)", "polygons: class x1 y1 x2 y2 x3 y3 …"
        raise UserError("regions-missing", tree.root, found, expected, "export segmentation instead of boxes")
    class_names, indices = with_background(names, listed and read_background(listed))
    entries = []
    for picture, name in unique_names(list(polygons)).items():
        for _, numbers, _ in polygons[picture]:
            if len(numbers) == BOX_NUMBERS:
                tally.add("box among the polygons: its pixels are ignored (255)")
        read = partial(paint_text, polygons[picture], indices, request.instances, labels[picture])
        entries.append(Entry(name, labels[picture], picture, read, split=tree.split_of_picture(picture)))
    remarks = tally.lines()
    if not listed:
        remarks.append(
            f"no {NAME_FILES[0]} with the names of the classes: they are called {', '.join(names)}"
        )
    if empty := sum(not one for one in polygons.values()):
        remarks.append(f"{counted(empty, 'empty text')}: all background")
    single = [path for path in tree.pictures if path not in labels]
    if single:
        remarks.append(
            f"{counted(len(single), 'picture')} without a text, such as {single[0].name}: left out"
        )
    return Dataset(class_names, entries, remarks)


def read_texts(tree: Tree, labels: dict[Path, Path]) -> dict[Path, list[Polygon]]:
    """Picture → its objects. Raises one UserError for all faulty texts."""
    found, faults = {}, []
    for picture, path in labels.items():
        try:
            found[picture] = list(read_text(path))
        except UserError as fault:
            faults.append(fault)
    raise_together(tree.root, faults)
    return found


def read_text(path: Path) -> Iterator[Polygon]:
    """Raises UserError for a line of another form."""
    for number, line in enumerate(read_lines(path, "check the path"), 1):
        if not line.strip():
            continue
        try:
            value, *numbers = map(float, line.split())
        except ValueError:
            value, numbers = -1.0, []
        fits = value >= 0 and value == int(value) and all(-0.01 <= share <= 1.01 for share in numbers)
        if not fits or len(numbers) % 2 or len(numbers) < BOX_NUMBERS:
            found, expected = (
                f"{line.strip()[:60]!r}",
                "a class and pairs of shares 0 … 1: class x1 y1 x2 y2 x3 y3 …",
            )
            raise UserError("yolo-line", f"{path}, line {number}", found, expected, "export it again")
        yield int(value), numbers, f"line {number}"


def paint_text(
    objects: list[Polygon], indices: list[int], instances: bool, source: Path, size: Size
) -> Labels:
    """A box among polygons does not count (255)."""
    regions = []
    for value, numbers, place in objects:
        shares, index = numbers, indices[value]
        if len(numbers) == BOX_NUMBERS:
            x, y, width, height = numbers
            left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
            shares, index = [left, top, right, top, right, bottom, left, bottom], IGNORE_INDEX
        pixels = [share * size[(place + 1) % 2] for place, share in enumerate(shares)]
        regions.append(Region(index, [pixels], place))
    return paint_regions(regions, instances, source, size)
