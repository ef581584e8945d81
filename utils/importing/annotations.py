"""From pictures with regions, as annotation programs write them, to a Dataset."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from utils.core.console import UserError, counted, on_one_line
from utils.images.palette import IGNORE_INDEX
from utils.images.rle import Segmentation
from utils.importing.dataset import Dataset, Entry, Request, Size, unique_names, with_background
from utils.importing.regions import Painter, Region, paint_regions

# What readers stumble on where an entry lacks what its format demands.
ENTRY_ERRORS = (LookupError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True)
class Drawn:
    """A region with its class. label: None for one that does not count. place, layer: see Region."""

    label: str | None
    segmentation: Segmentation | Painter
    place: str
    layer: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """An annotated picture. size, split: as the file `source` states. stated: paths or names, best first."""

    source: Path
    stated: tuple[str, ...]
    drawn: list[Drawn]
    size: Size | None = None
    split: str | None = None


@dataclass
class Tally:
    """What is left out or assumed, counted by its kind."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str) -> None:
        self.counts[kind] += 1

    def lines(self) -> list[str]:
        return [f"{count} × {kind}" for kind, count in self.counts.items()]


def to_dataset(
    request: Request,
    sheets: Iterable[Sheet],
    names: Iterable[str],
    tally: Tally,
    background: str | None = None,
) -> Dataset:
    """A Dataset of the sheets whose pictures are there; those of one picture are joined.

    names: classes in their order; labels that are not among them follow by first appearance.
    background: the name of class 0, if the files have one.
    """
    missing: list[str] = []
    joined: dict[Path, list[Sheet]] = {}
    for sheet in sheets:
        picture = request.tree.find_picture(sheet.stated, sheet.source, missing)
        if picture is not None:
            joined.setdefault(picture, []).append(sheet)
    used = [
        clean(request, drawn.label)
        for one in joined.values()
        for sheet in one
        for drawn in sheet.drawn
        if drawn.label is not None
    ]
    labels = list(dict.fromkeys([*(clean(request, name) for name in names), *used]))
    class_names, indices = with_background(labels, background and clean(request, background))
    index = {None: IGNORE_INDEX, **dict(zip(labels, indices, strict=True))}
    if joined and len(class_names) < 2:
        found = "no class besides the background"
        raise UserError("classes-missing", request.tree.root, found, "at least one", "annotate objects")
    entries = []
    for picture, name in unique_names(list(joined)).items():
        drawn = [one for sheet in joined[picture] for one in sheet.drawn]
        regions = [
            Region(index[one.label and clean(request, one.label)], one.segmentation, one.place, one.layer)
            for one in drawn
        ]
        first = joined[picture][0]
        labels = partial(paint_regions, regions, request.instances, first.source)
        split = first.split or request.tree.split_of(first.source) or request.tree.split_of_picture(picture)
        entries.append(Entry(name, first.source, picture, labels, size=first.size, split=split))
    remarks = [*tally.lines(), *request.tree.describe_missing(missing)]
    empty = sum(not any(sheet.drawn for sheet in one) for one in joined.values())
    if empty:
        remark = "all background. Remove those that are not annotated yet"
        remarks.append(f"{counted(empty, 'picture')} without an object: {remark}")
    return Dataset(class_names, entries, remarks)


def clean(request: Request, label: str) -> str:
    """A class name on one line. Raises UserError for an empty one."""
    if name := " ".join(on_one_line(label).split()):
        return name
    found, expected = "a class without a name", "a name for each class"
    raise UserError("class-name-empty", request.tree.root, found, expected, "name it, and export again")


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    """A rectangle as polygons."""
    return [[left, top, right, top, right, bottom, left, bottom]]


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> list[list[float]]:
    """An ellipse as polygons of 72 corners."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    return [np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], 1).ravel().tolist()]


def turned(polygons: list[list[float]], degrees: float, x: float, y: float) -> list[list[float]]:
    """Polygons turned clockwise, as pictures show it, about a point."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return [((np.reshape(one, (-1, 2)) - (x, y)) @ turn + (x, y)).ravel().tolist() for one in polygons]
