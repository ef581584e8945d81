"""From pictures with regions, as annotation programs write them, to a Dataset."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from utils.core.console import UserError, counted
from utils.images.palette import IGNORE_INDEX
from utils.images.rle import Segmentation
from utils.importing.dataset import Dataset, Entry, Request, Size, unique_names, with_background
from utils.importing.regions import Region, paint_regions


@dataclass(frozen=True)
class Drawn:
    """A region with its class. label: None for one that does not count. place, layer: see Region."""

    label: str | None
    segmentation: Segmentation
    place: str
    layer: int = 0


@dataclass(frozen=True)
class Sheet:
    """An annotated picture. stated: its path or name in the file `source`; size: what the file states."""

    source: Path
    stated: str
    drawn: list[Drawn]
    size: Size | None = None


@dataclass
class Tally:
    """What is left out or assumed, counted by its kind."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str) -> None:
        self.counts[kind] += 1

    def lines(self) -> list[str]:
        return [f"{count} × {kind}" for kind, count in self.counts.items()]


def to_dataset(request: Request, sheets: Iterable[Sheet], names: Iterable[str], tally: Tally) -> Dataset:
    """A Dataset of the sheets whose pictures are there; those of one picture are joined.

    names: classes in their order; labels that are not among them follow by first appearance.
    """
    missing: list[str] = []
    joined: dict[Path, list[Sheet]] = {}
    for sheet in sheets:
        picture = request.tree.find_picture(sheet.stated, sheet.source, missing)
        if picture is not None:
            joined.setdefault(picture, []).append(sheet)
    used = [drawn.label for one in joined.values() for sheet in one for drawn in sheet.drawn if drawn.label]
    labels = list(dict.fromkeys([*names, *used]))
    class_names, indices = with_background(labels)
    index = {None: IGNORE_INDEX, **dict(zip(labels, indices, strict=True))}
    if joined and len(class_names) < 2:
        found = "no class besides the background"
        raise UserError("classes-missing", request.tree.root, found, "at least one", "annotate objects")
    entries = []
    for picture, name in unique_names(list(joined)).items():
        drawn = [one for sheet in joined[picture] for one in sheet.drawn]
        regions = [Region(index[one.label], one.segmentation, one.place, one.layer) for one in drawn]
        first = joined[picture][0]
        labels = partial(paint_regions, regions, request.instances, first.source)
        split = request.tree.split_of(first.source) or request.tree.split_of(picture)
        entries.append(Entry(name, first.source, picture, labels, size=first.size, split=split))
    remarks = tally.lines()
    if missing:
        remarks.append(f"{counted(len(missing), 'picture')} not found, such as {missing[0]}: left out")
    empty = sum(not any(sheet.drawn for sheet in one) for one in joined.values())
    if empty:
        remarks.append(f"{counted(empty, 'picture')} without an object: all background")
    return Dataset(class_names, entries, remarks)


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    """A rectangle as polygons."""
    return [[left, top, right, top, right, bottom, left, bottom]]
