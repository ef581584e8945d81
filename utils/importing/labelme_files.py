"""labelme files → VOC folder: pictures, index masks and class_names.txt; what changed since is updated."""

from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.core.console import UserError, counted, note, progress, quoted, warn
from utils.core.files import name_fault
from utils.images.palette import IGNORE_INDEX
from utils.importing.labelme_classes import (
    Classes,
    choose_class_names,
    find_alike,
    follow_renamed_classes,
    merge_labels,
)
from utils.importing.labelme_record import RECORD_NAME, Painting, Unlabelled, read_labelme_record
from utils.importing.labelme_update import Drawing, Update, output_name
from utils.importing.transfer import raise_together, stage
from utils.labelme.painting import number_objects, paint, rasterise
from utils.labelme.reading import read_annotation
from utils.voc.folder import VocFolder
from utils.voc.names import list_some


class PaddleSegFolder(VocFolder):
    """The layout of PaddleSeg's converter: annotations/ and class_names.txt beside the annotated pictures."""

    def __init__(self, root: Path):
        super().__init__(root)
        self.images_dir, self.masks_dir = self.root, self.root / "annotations"


@dataclass(frozen=True)
class Conversion:
    """What was done. pixel_counts: (256,) int64, pixels per mask value.

    outcomes: pair → added, updated or unchanged. gone: pairs that left the set with their labelme files.
    edited: files that were changed since by other means, and stay. aside: where copies of replaced files are.
    skipped: faults that were left out. repair: the command that
    mapped the masks before, if new ones need it. painting: how the shapes became pixels.
    """

    classes: Classes
    pixel_counts: np.ndarray
    outcomes: dict[str, str]
    gone: list[str]
    edited: list[Path]
    aside: Path | None
    skipped: list[UserError]
    repair: str | None
    painting: Painting


def convert_labelme(
    source: Path,
    folder: VocFolder,
    labels: Path | None = None,
    instances: bool = False,
    overwrite: bool = False,
    skip_faulty: bool = False,
    merge: Sequence[str] = (),
    command: str = "python json_to_dataset.py",
    unlabelled: Unlabelled | None = None,
    line_width: int | None = None,
    only: Container[str] | None = None,
) -> Conversion:
    """Bring `folder` to what the labelme files directly in `source` say now.

    instances: write SegmentationObject too. overwrite: also replace files that no conversion wrote.
    skip_faulty: leave out faulty shapes and files. merge: OLD:NEW, labels to merge, which is remembered.
    command: converts again, for messages. unlabelled: what pixels without a shape become. line_width: of
    lines, and diameter of points, in pixels. Both are remembered for `source`; None: as before. only: names
    of the files that count, without ending; the others are as good as not there. None: all.

    Each file is read and decoded once. Then only its shapes stay in memory. New pictures and masks wait in a
    staging folder until all is checked. Pairs whose labelme files are gone leave the set. Copies of their
    files, and of other people's work that is replaced, stay in set_aside. Raises UserError, with nothing
    written, for faulty files, for class names that do not fit, and for files that no conversion wrote.
    """
    with stage(folder.root) as staging:
        update = Update(folder, read_labelme_record(folder), staging, overwrite, command)
        record = update.record
        painting = record.settle_painting(folder, source, unlabelled, line_width)
        paths = find_annotations(source, only)
        drawings, skipped = read_drawings(paths, update, skip_faulty, painting)
        update.gone = record.gone(folder, source, map(output_name, paths))
        classes = settle_classes(update, drawings, labels, merge)
        drawings = [merge_shapes(drawing, record.merged) for drawing in drawings]
        pixel_counts = paint_drawings(update, drawings, classes.names, instances, painting)
        raise_together(folder.root, update.differing)
        aside = update.finish(classes)
    return Conversion(
        classes,
        pixel_counts,
        update.outcomes,
        update.gone,
        update.edited,
        aside,
        skipped,
        update.repair_command(),
        painting,
    )


def report_conversion(result: Conversion, source: Path, command: str) -> list[str]:
    """Lines that say what was done. Prints what deserves a look. command: converts again, lacks --merge."""
    classes, outcomes = result.classes, ("added", "updated", "unchanged")
    counts = Counter(result.outcomes.values())
    gone = f"; {len(result.gone)} no longer present" * bool(result.gone)
    each = ", ".join(f"{counts[outcome]} {outcome}" for outcome in outcomes)
    lines = [f"{counted(len(result.outcomes), 'labelme file')}: {each}{gone}"]
    if updated := [name for name, outcome in result.outcomes.items() if outcome == "updated"]:
        lines.append(f"updated: {list_some(updated)}")
    if result.gone:
        warn(
            f"{counted(len(result.gone), 'pair')} left the set, because the labelme files are gone from "
            f"{source}: {list_some(result.gone)}. To have them back, put the files there again, or convert "
            "the folder where they are now"
        )
    if result.edited:
        note(f"changed by other means, and kept (--overwrite writes it anew): {list_some(result.edited)}")
    if result.aside:
        note(f"copies of what was taken away or replaced: {result.aside}")
    if classes.others:
        note(f"{counted(len(classes.others), 'mask')} of other origin stay in the set, with their classes")
    files = {name: path.resolve() for name, path in classes.others.items() if path}
    if lost := [f"{name} (from {path})" for name, path in files.items() if not path.is_file()]:
        what = "stay, though the files that made them are gone"
        remedy = "Put these back, or remove the pictures and masks of pairs that do not belong to the set"
        warn(f"{counted(len(lost), 'pair')} of other folders {what}: {list_some(lost, 4)}. {remedy}")
    if classes.merged:
        merged = [f"{old} → {new}" for old, new in classes.merged.items()]
        note(f"merged labels: {list_some(merged)} (--merge OLD:OLD takes one out again)")
    if result.skipped:
        faults = "".join(f"\n  {fault.subject}: {fault.found}" for fault in result.skipped)
        warn(f"left out: {counted(len(result.skipped), 'fault')}{faults}")
    if classes.alike:
        same = ", ".join(f"{old} and {new}" for old, new in classes.alike.items())
        words = " ".join(quoted(f"{old}:{new}") for old, new in classes.alike.items())
        warn(f"classes of nearly one name: {same}. If they mean the same: {command} --merge {words}")
    return [*lines, f"class order: {classes.origin}"]


def settle_classes(
    update: Update, drawings: Sequence[Drawing], labels: Path | None, merge: Sequence[str]
) -> Classes:
    """The classes of all masks, noted in the record. Raises UserError for masks without names."""
    folder, record = update.folder, update.record
    existing, converted = folder.read_class_names(), {drawing.name for drawing in drawings}
    staying = sorted({path.stem for path in folder.masks_dir.glob("*.png")} - converted - {*update.gone})
    sources = {name: folder.root / file for name, file in record.sources.items()}
    others = {name: sources.get(name) for name in staying}
    if existing is None and others:
        remedy = f"write {folder.class_names_path} (background first), or choose another --voc-root"
        found, expected = "masks, but no class_names.txt", "names of the classes in the masks"
        raise UserError("class-names-missing", folder.masks_dir, found, expected, remedy)
    update.repaired = any(update.kept_original(name).is_file() for name in converted)
    if not update.repaired:
        follow_renamed_classes(record, existing)
    counts = Counter(shape.label for drawing in drawings for shape in drawing.shapes)
    record.merged = merge_labels(record.merged, merge, [*counts])
    merged: Counter[str] = Counter()
    for label, count in counts.items():
        merged[record.merged.get(label, label)] += count
    # Masks that voc2unet.py mapped keep the classes that its map starts from.
    before = record.classes if update.repaired and record.classes else existing
    pinned = bool(others or update.repaired)
    names, origin = choose_class_names(before, labels, [*merged], record, pinned)
    new = [] if labels else [name for name in names[1:] if name not in (before or ())]
    record.from_labels = [name for name in names[1:] if name in {*record.from_labels, *new}]
    record.classes = names
    write = existing in (None, before) and names != existing
    return Classes(names, origin, merged, find_alike(names, merged), record.merged, others, write)


def merge_shapes(drawing: Drawing, merged: Mapping[str, str]) -> Drawing:
    """The drawing with the class that each label becomes."""
    shapes = (replace(shape, label=merged.get(shape.label, shape.label)) for shape in drawing.shapes)
    return replace(drawing, shapes=tuple(shapes))


def paint_drawings(
    update: Update, drawings: Sequence[Drawing], names: Sequence[str], instances: bool, painting: Painting
) -> np.ndarray:
    """Stage the masks that differ, and the object masks. Returns pixels per mask value, (256,) int64.

    Object masks of an earlier conversion follow their class masks without --instances too.
    """
    class_index = {name: index for index, name in enumerate(names)}
    pixel_counts, faults, folder = np.zeros(256, np.int64), [], update.folder
    ignored = painting["unlabelled"] == "ignore"
    fill = IGNORE_INDEX if ignored else 0, painting["line_width"]
    for drawing in progress(drawings, "painting", "file"):
        mask = rasterise(drawing.shapes, drawing.size, class_index, *fill)
        pixel_counts += np.bincount(mask.ravel(), minlength=256)
        update.add_mask(drawing, folder.mask_path(drawing.name), mask)
        path = folder.objects_path(drawing.name)
        stale = path.is_file() and (
            update.record.wrote(folder, path) or update.outcomes[drawing.name] == "updated"
        )
        if not (instances or stale):
            continue
        try:
            # The first class may be called otherwise than labelme's background.
            numbers = number_objects(drawing.path, drawing.shapes, names[0])
        except UserError as fault:
            faults.append(fault)
            continue
        update.add_mask(drawing, path, paint(drawing.shapes, numbers, drawing.size, *fill))
    raise_together(folder.root, faults)
    return pixel_counts


def find_annotations(folder: Path, only: Container[str] | None = None) -> list[Path]:
    """The .json files directly in a folder, by name. Raises UserError for none, or two of one output name.

    only: names of those that count, without ending; None: all.
    """
    expected = "a folder of labelme's .json files"
    if not folder.is_dir():
        raise UserError("folder-missing", folder, "no such folder", expected, "pass --input FOLDER")
    # Hidden files are no annotations: macOS leaves a `._x.json` beside each x.json on foreign disks.
    files = (path for path in folder.glob("[!.]*.[jJ][sS][oO][nN]") if path.is_file())
    files = (path for path in files if path.name != RECORD_NAME and (only is None or path.stem in only))
    paths = sorted(files, key=lambda path: path.name)
    if not paths:
        raise UserError("labelme-files-missing", folder, "no .json file", expected, "save them here")
    name, count = Counter(map(output_name, paths)).most_common(1)[0]
    if count > 1:
        found, remedy = f"{count} files called {name}", "rename all but one of them"
        raise UserError("labelme-name-twice", folder, found, "one file per name", remedy)
    return paths


def read_drawings(
    paths: Sequence[Path], update: Update, skip_faulty: bool, painting: Painting
) -> tuple[list[Drawing], list[UserError]]:
    """Read all files, stage new pictures, print the remarks. Returns what is drawn, and the faults left out.

    Raises one UserError for all faults, unless they are to be skipped and something is left.
    """
    drawings, faults, remarks = [], [], defaultdict(list)
    for path in progress(paths, "checking", "file"):
        known = len(faults)
        try:
            if fault := name_fault(path):
                raise fault
            annotation = read_annotation(path, faults)
        except UserError as fault:
            faults.append(fault)
            continue
        if len(faults) > known and not annotation.shapes:
            # A mask of nothing but background would be wrong.
            remarks["left out, because no shape is left"].append(str(path))
            continue
        drawings.append(Drawing(path, annotation.image.shape[:2], annotation.shapes))
        if not annotation.shapes:
            rest = "all background" if painting["unlabelled"] == "background" else "all 255: not annotated"
            remarks[f"there are no shapes; the mask is {rest}"].append(str(path))
        for remark, details in annotation.remarks.items():
            remarks[remark].append(f"{path} ({details})" if details else str(path))
        if skip_faulty or not faults:
            update.add_picture(annotation)
        del annotation  # One picture in memory at a time.
    if faults and not (skip_faulty and drawings):
        try:
            raise_together(paths[0].parent, faults)
        except UserError as error:
            if drawings:
                skip = f"{update.command} --skip-faulty   (leaves out what is faulty, and lists it)"
                one = len(faults) == 1
                error.remedy = f"{error.remedy}; or {skip}" if one else f"{skip}, or {error.remedy}"
            raise
    for remark, places in remarks.items():
        count = f"{len(places)} files, such as " * (len(places) > 1)
        warn(f"{remark}: {count}{places[0]}")
    return drawings, faults
