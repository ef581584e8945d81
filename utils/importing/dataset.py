"""What every reader of a foreign format returns, and the one way from there into a VOC folder."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from utils.core.console import UserError, counted, note, warn
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import DECODE_ERRORS, read_image
from utils.images.tiff import turn_of, upright
from utils.importing.transfer import Item, check_all, transfer
from utils.importing.tree import Tree
from utils.voc.class_files import BACKGROUND_NAMES
from utils.voc.folder import VocFolder, check_size
from utils.voc.scaling import record_scaling

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Request:
    """What to convert, and what the flags say about it. tree: the folder --input; the others: their flags."""

    folder: VocFolder
    tree: Tree
    voc: Path | None = None
    scaling: Path | None = None
    link: bool = False
    instances: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Labels:
    """mask: (H, W) uint8 indices of the data set's classes; objects: (H, W) numbers in up to 16 bits.

    doubts: number of objects by what is odd about them.
    """

    mask: np.ndarray
    objects: np.ndarray | None = None
    doubts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Entry:
    """A picture and how to get its labels.

    source: the file of the annotation. labels: from the picture's size; None for a picture alone. picture:
    reads it where no file can be copied, to be written with the ending `suffix`. size: what the annotation
    states. split: train, val or test, where the data set has them.
    """

    name: str
    source: Path
    picture_path: Path
    labels: Callable[[Size], Labels] | None
    picture: Callable[[], np.ndarray] | None = None
    suffix: str = ".png"
    size: Size | None = None
    split: str | None = None


@dataclass(frozen=True)
class Dataset:
    """class_names: background first. remarks: what is left out or was assumed. scaling: see scaling.json."""

    class_names: list[str]
    entries: list[Entry]
    remarks: list[str] = field(default_factory=list)
    scaling: dict[str, dict] = field(default_factory=dict)


class Checked(NamedTuple):
    size: Size
    counts: np.ndarray  # (256,) pixels of each value
    orientation: int  # EXIF's, where the annotation states the size of the picture as it is stored; else 1
    doubts: Counter[str]
    has_objects: bool


def fill(request: Request, dataset: Dataset) -> list[str]:
    """Write a data set into a VOC folder, its classes by name. Returns a summary.

    Classes that class_names.txt has keep their indices. instances: write SegmentationObject too. Raises
    UserError, with nothing written, for names, sizes or values that do not fit.
    """
    folder = request.folder
    if not dataset.entries:
        remedy = "put the pictures into the folder, or pass theirs as --images"
        found = "; ".join(dataset.remarks) or "no annotated picture"
        raise UserError("no-pictures", request.tree.root, found, "annotations with their pictures", remedy)
    for remark in dataset.remarks:
        note(remark)
    with_labels = any(entry.labels for entry in dataset.entries)
    names = join_class_names(folder, dataset.class_names) if with_labels else dataset.class_names
    check_names(dataset.entries)
    checked: dict[str, Checked] = {}
    checks = [partial(check_entry, entry, len(dataset.class_names), checked) for entry in dataset.entries]
    check_all(folder.root, checks, "picture")
    lookup = np.arange(256, dtype=np.uint8)
    lookup[: len(dataset.class_names)] = [0, *map(names.index, dataset.class_names[1:])]
    items = [
        item
        for entry in dataset.entries
        for item in list_items(folder, entry, checked[entry.name], lookup, request.instances)
    ]
    splits = join_splits(folder, dataset.entries)
    texts = {folder.splits_dir / f"{split}.txt": listed for split, listed in splits.items()}
    texts |= {folder.class_names_path: names} if with_labels else {}
    summary = transfer(folder, items, texts, request.link, True, request.overwrite)
    record_scaling(folder.root / "scaling.json", dataset.scaling)
    report_doubts(list(checked.values()), request.instances and with_labels)
    lines = [f"{counted(len(dataset.entries), 'picture')}: {summary}"]
    if with_labels:
        counts = sum(one.counts for one in checked.values())
        named = [*enumerate(dataset.class_names), *[(IGNORE_INDEX, "ignored")] * bool(counts[IGNORE_INDEX])]
        shares = (f"{name} {counts[value] / counts.sum():.2%}" for value, name in named)
        lines.append(f"classes: {', '.join(shares)}")
    return lines + describe_splits(splits, dataset.entries)


def list_items(
    folder: VocFolder, entry: Entry, checked: Checked, lookup: np.ndarray, instances: bool
) -> Iterator[Item]:
    """The picture, the mask with the folder's class indices (lookup: (256,) uint8), and the objects."""
    suffix = entry.suffix if entry.picture else entry.picture_path.suffix
    yield Item(folder.images_dir / f"{entry.name}{suffix}", entry.picture_path, "picture", entry.picture)
    if entry.labels is None:
        return
    labels = partial(read_labels, entry, checked.size, checked.orientation)
    mask = partial(take_mask, labels, lookup)
    yield Item(folder.mask_path(entry.name), entry.source, "mask", mask)
    if instances and checked.has_objects:
        objects = partial(take_objects, labels)
        yield Item(folder.objects_path(entry.name), entry.source, "objects", objects)


def report_doubts(checked: Sequence[Checked], instances: bool) -> None:
    """Print what deserves a look. instances: whether objects were wanted."""
    doubts = sum((one.doubts for one in checked), Counter())
    for doubt, count in doubts.items():
        warn(f"{counted(count, 'object')} {doubt}")
    if turned := sum(one.orientation > 1 for one in checked):
        note(f"{counted(turned, 'picture')} drawn on before its turn by EXIF: the masks were turned too")
    if instances and not any(one.has_objects for one in checked):
        note("the data tell no objects apart: no SegmentationObject was written")


def check_entry(entry: Entry, classes: int, checked: dict[str, Checked]) -> None:
    """Add to `checked`. Raises UserError: an unreadable file, another size, a value without a class."""
    size = (entry.picture() if entry.picture else read_image(entry.picture_path)).shape[:2]
    orientation = 1 if entry.picture or entry.size in (None, size) else exif_orientation(entry.picture_path)
    if entry.size and entry.size != (size[::-1] if turn_of(orientation)[0] else size):
        found = f"a picture of {size[0]}×{size[1]} (height×width)"
        expected = f"{entry.size[0]}×{entry.size[1]}, as {entry.source} states for it"
        remedy = "put the picture that was annotated there; a resized or turned copy does not fit"
        raise UserError("picture-size", entry.picture_path, found, expected, remedy)
    labels = read_labels(entry, size, orientation) if entry.labels else Labels(np.zeros(size, np.uint8))
    mask = labels.mask
    check_size(entry.source, mask, entry.picture_path, size)
    counts = np.bincount(mask.ravel(), minlength=256)
    beyond = [value for value in np.flatnonzero(counts).tolist() if classes <= value != IGNORE_INDEX]
    if beyond:
        expected = f"values 0 … {classes - 1} of the {classes} classes, or 255"
        remedy = "complete the class names of the data set"
        raise UserError("mask-value", entry.source, f"the value {beyond[0]}", expected, remedy)
    checked[entry.name] = Checked(size, counts, orientation, labels.doubts, labels.objects is not None)


def exif_orientation(path: Path) -> int:
    """1, upright, also for files that Pillow does not open."""
    with suppress(*DECODE_ERRORS, Image.DecompressionBombError), Image.open(path) as image:
        return image.getexif().get(Base.Orientation, 1)
    return 1


def read_labels(entry: Entry, size: Size, orientation: int) -> Labels:
    """Labels of the upright picture, also where they were drawn on the pixels as stored. size: upright."""
    if not turn_of(orientation)[0]:
        return entry.labels(size)
    stored = entry.labels(size[::-1])
    objects = None if stored.objects is None else upright(stored.objects, orientation)
    return Labels(upright(stored.mask, orientation), objects, stored.doubts)


def take_mask(labels: Callable[[], Labels], lookup: np.ndarray) -> np.ndarray:
    return lookup[labels().mask]


def take_objects(labels: Callable[[], Labels]) -> np.ndarray:
    return labels().objects


def check_names(entries: Sequence[Entry]) -> None:
    """Raises UserError for two entries of one name."""
    name, count = Counter(entry.name for entry in entries).most_common(1)[0]
    if count > 1:
        one, other = [entry for entry in entries if entry.name == name][:2]
        found = f"{one.picture_path} and {other.picture_path} under one name"
        raise UserError("name-twice", one.source, found, "one picture per name", "rename one of them")


def join_class_names(folder: VocFolder, names: Sequence[str]) -> list[str]:
    """The names that the folder has, then new ones. Raises UserError: masks without names, too many."""
    existing = folder.read_class_names()
    if existing is None and any(folder.masks_dir.glob("*.png")):
        remedy = f"write {folder.class_names_path} (background first), or choose another --voc-root"
        found, expected = "masks, but no class_names.txt", "names of the classes in the masks"
        raise UserError("class-names-missing", folder.masks_dir, found, expected, remedy)
    if (
        existing
        and existing[0] != names[0]
        and not {existing[0].lower(), names[0].lower()} <= {*BACKGROUND_NAMES}
    ):
        found, expected = f"{existing[0]!r} in line 1, the value 0", f"{names[0]!r}, as the new data have it"
        raise UserError("class-order", folder.class_names_path, found, expected, "choose another --voc-root")
    listed = existing or list(names)
    joined = listed + [name for name in names[1:] if name not in listed]
    if len(joined) > IGNORE_INDEX:
        found = f"{len(joined)} classes with the background, from {joined[1]!r} to {joined[-1]!r}"
        expected = f"at most {IGNORE_INDEX} in masks of 8 bits"
        raise UserError("class-count", "classes", found, expected, "merge classes of the data set")
    return joined


def with_background(names: Sequence[str], background: str | None = None) -> tuple[list[str], list[int]]:
    """Class names with the background first, and the index of each name given, a background or not.

    background: what an export of ours calls class 0.
    """
    given = [name for name in names if name.lower() in BACKGROUND_NAMES or name == background]
    others = [name for name in dict.fromkeys(names) if name not in given]
    joined = [background or (given[0] if given else BACKGROUND_NAMES[0]), *others]
    return joined, [0 if name in given else joined.index(name) for name in names]


def join_splits(folder: VocFolder, entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Split → names: those that the folder lists, then new ones. Nothing without official splits.

    Training pictures alone are no split: voc2unet.py draws one. Where val is known, all names that no list
    has are to train on.
    """
    listed = {split: folder.read_split_if_any(split) for split in ("train", "val", "test")}
    taken = {name for names in listed.values() for name in names}
    for entry in entries:
        if entry.split and entry.name not in taken:
            listed[entry.split].append(entry.name)
            taken.add(entry.name)
    if listed["val"]:
        rest = [*folder.images_if_any(), *(entry.name for entry in entries)]
        listed["train"] += [name for name in dict.fromkeys(rest) if name not in taken]
    else:
        del listed["train"]
    return {split: names for split, names in listed.items() if names}


def describe_splits(splits: Iterable[str], entries: Sequence[Entry]) -> list[str]:
    """The line on splits that the data set has itself, if it has any. splits: those that are written."""
    own = Counter(entry.split for entry in entries)
    sizes = [f"{split} {own[split]}" for split in splits if own[split]]
    return [f"split of the data set: {', '.join(sizes)}"] * bool(sizes)


def unique_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Picture → name: its stem, or with as many folders before it as tell pictures of one stem apart."""
    names, depth = {}, 1
    waiting = list(dict.fromkeys(paths))
    while waiting:
        tried = {path: "_".join([*path.parts[-depth:-1], path.stem.strip()]) for path in waiting}
        times = Counter([*tried.values(), *names.values()])
        names |= {path: name for path, name in tried.items() if times[name] == 1 or depth >= len(path.parts)}
        waiting, depth = [path for path in waiting if path not in names], depth + 1
    return {path: names[path] for path in paths}
