"""Filling a VOC folder: all is checked before the first file is written, and only our own is replaced."""

import filecmp
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from utils.core.console import UserError, counted, list_faults, note, progress, warn
from utils.core.files import name_fault, read_record, remove, replacing, write_lines
from utils.images.masks import read_objects, write_objects
from utils.images.reading import read_image
from utils.images.writing import write_image, write_mask
from utils.importing.import_record import ImportRecord, original_of
from utils.voc.aside import set_aside
from utils.voc.folder import VocFolder, is_image
from utils.voc.names import list_some


@dataclass(frozen=True)
class Item:
    """One file to import. pixels: reads them from the source; None: the source is copied as it is."""

    target: Path
    source: Path
    # objects: numbers, in up to 16 bits; as it is: a mask that voc2unet.py has yet to mend
    kind: Literal["picture", "mask", "objects", "as it is"]
    pixels: Callable[[], np.ndarray] | None = None


class ManyErrors(UserError):
    """Several mistakes, reported together."""

    errors: list[UserError]


def raise_together(subject: Path, errors: Sequence[UserError]) -> None:
    """Raise nothing, the one error, or ManyErrors: the first of one kind, or a few of each kind."""
    if not errors:
        return
    first, *others = errors
    if not others:
        raise first
    kinds = len({error.code for error in errors})
    if kinds > 1:
        found = f"{len(errors)} faults of {kinds} kinds"
        remedy = f"correct these and run this again; nothing was written\n\n{list_faults(errors)}"
        many = ManyErrors("many-faults", subject, found, "none", remedy)
    else:
        found = f"{first.found}; the same in {len(others)} more, such as {others[0].subject}"
        many = ManyErrors(first.code, first.subject, found, first.expected, first.remedy)
    many.errors = list(errors)
    raise many


def content_differs(target: Path, source: object, choice: str = "") -> UserError:
    remedy = f"{choice}choose another --voc-root, rename the new file, or move the existing one away"
    found, expected = "other content, which no import wrote", f"no file, or what comes from {source}"
    return UserError("content-differs", target, found, expected, remedy)


def check_all(subject: Path, checks: Sequence[Callable[[], None]], unit: str) -> None:
    """Run all checks in threads (decoding releases the lock). Raises one UserError for all that raise one."""
    errors = []
    with ThreadPoolExecutor() as pool:
        for future in progress([pool.submit(check) for check in checks], "checking", unit):
            try:
                future.result()
            except UserError as error:
                errors.append(error)
    raise_together(subject, errors)


def transfer(
    folder: VocFolder,
    items: list[Item],
    texts: dict[Path, list[str]],
    link: bool = False,
    grow: bool = False,
    overwrite: bool = False,
) -> str:
    """Write the pictures, masks and text files (target → lines) that are missing or have changed.

    link: make hard links to files that would be copied as they are. grow: text files that exist may get
    further lines. overwrite: also replace files that no import wrote. Returns a summary. Raises one UserError
    for all files that may not be replaced, before anything is written.
    """
    raise_together(folder.root, [fault for item in items if (fault := name_fault(item.target))])
    missing_texts, errors = check_texts(folder, texts, grow)
    record = ImportRecord(folder)
    missing, differing = compare(items, record)
    ours = [item for item, path in differing if record.may_replace(path, item.source)]
    if not overwrite:
        choice = "--overwrite replaces it and keeps a copy in set_aside; or "
        errors += [content_differs(path, item.source, choice) for item, path in differing if item not in ours]
    raise_together(folder.root, errors)
    for path in missing_texts:
        write_lines(path, texts[path])
    try:
        for item in progress(missing, "writing", "file"):
            write_item(item, link)
            record.add(item.target, item.source)
        replace(folder, differing, ours, link, record)
    finally:
        record.write()
    report_gone(folder, items, record)
    written = len(missing) + len(missing_texts)
    counts = f"{len(items) + len(texts) - written - len(differing)} there already"
    return f"{counted(written, 'file')} written, {f'{len(differing)} updated, ' * bool(differing)}{counts}"


def report_gone(folder: VocFolder, items: Sequence[Item], record: ImportRecord) -> None:
    """Print which pairs of earlier imports the data set has no longer."""
    pictures = {item.source for item in items if item.kind == "picture"}
    masks = {item.source for item in items if item.kind != "picture"}
    if gone := record.gone(pictures, masks, {item.target.stem for item in items}):
        places = f"{folder.images_dir.name}, {folder.masks_dir.name}"
        warn(
            f"kept from earlier imports, but no longer in the data set: {counted(len(gone), 'pair')} "
            f"({list_some(gone)}). To remove them, delete their files in {places} and their lines in "
            f"{folder.splits_dir}, or import into a new --voc-root"
        )


def check_texts(
    folder: VocFolder, texts: dict[Path, list[str]], grow: bool
) -> tuple[list[Path], list[UserError]]:
    """The text files to write, and faults of those with other lines."""
    missing, errors = [], []
    for path, lines in texts.items():
        if not path.exists():
            missing.append(path)
            continue
        existing = folder.read_list(path, "move it away")
        if grow and existing == lines[: len(existing)] != lines:
            missing.append(path)
        elif existing != lines:
            errors.append(content_differs(path, "the imported data set"))
    return missing, errors


def compare(items: Sequence[Item], record: ImportRecord) -> tuple[list[Item], list[tuple[Item, Path]]]:
    """Items whose targets are missing, and those that differ, with the file that is there instead.

    Files that hold what an import would write are noted as such.
    """
    missing, differing = [], []
    listing = cache(lambda place: {path.stem: path for path in place.glob("*") if is_image(path)})
    for item in progress(items, "comparing", "file"):
        existing = item.target
        if not existing.exists() and not original_of(existing).exists():
            # A file with another ending would share the name.
            existing = listing(existing.parent).get(existing.stem, existing)
        if not existing.exists() and not original_of(existing).exists():
            missing.append(item)
        elif is_imported(item):
            record.adopt(item.target, item.source)
        else:
            differing.append((item, existing))
    return missing, differing


def replace(
    folder: VocFolder,
    differing: Sequence[tuple[Item, Path]],
    ours: Sequence[Item],
    link: bool,
    record: ImportRecord,
) -> None:
    """Write items in place of other files of their names, repaired masks and their originals included.

    Copies of pictures, and of files that are not `ours`, stay in set_aside.
    """
    places = {place: list(place.glob("*")) for item, _ in differing for place in places_of(item)}
    old = {
        item: [path for place in places_of(item) for path in places[place] if path.stem == item.target.stem]
        for item, _ in differing
    }
    works = [item for item in old if item.kind == "picture" or item not in ours]
    if aside := set_aside(folder, [path for item in works for path in old[item]]):
        note(f"copies of what was replaced: {aside}")
    for item in progress(old, "replacing", "file"):
        if link and item.target.exists():
            remove(item.target)
        write_item(item, link)
        for path in old[item]:
            if path != item.target:
                remove(path)
        record.add(item.target, item.source)
    command = read_record(folder.root / "mask_map.json").get("command")
    if command and any(item.kind != "picture" for item in old):
        note(f"masks of this folder were mended before. Mend the new ones too: {command}")


def places_of(item: Item) -> tuple[Path, Path]:
    """Folders that may hold files of the item's name: that of its target, and that of originals."""
    return item.target.parent, original_of(item.target).parent


def is_imported(item: Item) -> bool:
    """Whether the target has the item's content, or had it before voc2unet.py repaired it."""
    places = (item.target, original_of(item.target))
    if item.pixels is not None:
        pixels = item.pixels()
        # Earlier versions wrote every gray mask with a palette.
        kinds = {item.kind in WRITERS, item.kind != "picture"}
        return any(has_pixels(path, pixels, kind) for path in places for kind in kinds)
    existing = [path for path in places if path.exists()]
    if any(path.samefile(item.source) or filecmp.cmp(item.source, path, False) for path in existing):
        return True
    # Earlier versions wrote masks with a palette anew.
    return item.kind == "as it is" and any(same_mask(item.source, path) for path in existing)


def same_mask(one: Path, other: Path) -> bool:
    with suppress(UserError):
        return has_pixels(other, read_objects(one), is_mask=True)
    return False


WRITERS = {"mask": write_mask, "objects": write_objects}


def has_pixels(path: Path, pixels: np.ndarray, is_mask: bool) -> bool:
    """Whether a picture or mask file has exactly these pixels. One that is missing or unreadable has not."""
    try:
        return np.array_equal((read_objects if is_mask else read_image)(path), pixels)
    except UserError:
        return False


def write_item(item: Item, link: bool) -> None:
    if item.pixels is not None:
        WRITERS.get(item.kind, write_image)(item.target, item.pixels())
    elif not link:
        with replacing(item.target) as temporary:
            shutil.copyfile(item.source, temporary)
    else:
        try:
            item.target.parent.mkdir(parents=True, exist_ok=True)
            item.target.hardlink_to(item.source)
        except OSError as error:
            found = f"no hard link to {item.source} ({error.strerror})"
            expected, remedy = "source and target on one disk that supports links", "leave out --link"
            raise UserError("hard-link", item.target, found, expected, remedy) from None


@dataclass
class Staging:
    """New files that wait in a folder on the target's disk until everything has been checked."""

    folder: Path
    targets: dict[Path, Path] = field(default_factory=dict)  # waiting file → its target
    differing: list[UserError] = field(default_factory=list)  # existing files with other content

    def place(self, target: Path) -> Path:
        """Where to write the file that `move` brings to `target`."""
        waiting = self.folder / f"{len(self.targets)}{target.suffix}"
        self.targets[waiting] = target
        return waiting

    def move(self) -> None:
        """Move all files to their targets, each whole. Raises UserError where a target cannot be written."""
        for waiting, target in progress(self.targets.items(), "writing", "file"):
            with replacing(target) as temporary:
                waiting.replace(temporary)


@contextmanager
def stage(root: Path) -> Iterator[Staging]:
    """A staging folder in `root`. At the end, files that were not moved are removed, and a new `root` too."""
    staging = Staging(root / ".importing")
    made = [path for path in (root, *root.parents) if not path.exists()]
    # An earlier run may have been killed.
    shutil.rmtree(staging.folder, ignore_errors=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging.folder, ignore_errors=True)
        for path in made:
            with suppress(OSError):
                path.rmdir()
