"""labelme files → VOC folder: pictures, index masks and class_names.txt."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.core.console import UserError, progress, warn
from utils.core.files import read_lines, replacing, write_lines
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_image
from utils.images.writing import write_image, write_mask
from utils.importing.transfer import Staging, content_differs, has_pixels, raise_together, stage
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL, Annotation, Shape
from utils.labelme.painting import number_objects, paint, rasterise
from utils.labelme.reading import read_annotation
from utils.voc.folder import VocFolder


class PaddleSegFolder(VocFolder):
    """The layout of PaddleSeg's converter: annotations/ and class_names.txt beside the annotated pictures."""

    def __init__(self, root: Path):
        super().__init__(root)
        self.images_dir, self.masks_dir = self.root, self.root / "annotations"


@dataclass(frozen=True)
class Drawing:
    """What is kept of a labelme file after its picture has been decoded. size: (height, width)."""

    path: Path
    size: tuple[int, int]
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Conversion:
    """pixel_counts: (256,) int64, pixels per mask value. order_source: where the class order comes from."""

    class_names: list[str]
    order_source: str
    shape_counts: Counter[str]
    pixel_counts: np.ndarray
    files: int
    written: int


def convert_labelme(source: Path, folder: VocFolder, labels: Path | None, instances: bool) -> Conversion:
    """Fill `folder` from the labelme files directly in `source`. instances: write SegmentationObject too.

    Each file is read and decoded once. Then only its shapes stay in memory. New pictures and masks wait in a
    staging folder until all is checked. Raises UserError, with nothing written, for faulty files, for class
    names that do not fit, and for existing pictures and masks with other content.
    """
    with stage(folder.root) as staging:
        drawings = read_drawings(source, folder, instances, staging)
        shape_counts = Counter(shape.label for drawing in drawings for shape in drawing.shapes)
        names, order_source = choose_class_names(folder, labels, list(shape_counts))
        class_index = {name: index for index, name in enumerate(names)}
        pixel_counts = np.zeros(256, np.int64)
        for drawing in progress(drawings, "painting", "file"):
            name, shapes = output_name(drawing.path), drawing.shapes
            mask = rasterise(shapes, drawing.size, class_index)
            pixel_counts += np.bincount(mask.ravel(), minlength=256)
            stage_mask(staging, folder.mask_path(name), mask, drawing.path)
            if instances:
                # The first class may be called otherwise than labelme's background.
                objects = paint(shapes, number_objects(drawing.path, shapes, names[0]), drawing.size)
                stage_mask(staging, folder.objects_path(name), objects, drawing.path)
        raise_together(folder.root, staging.differing)
        # Class names first: masks without them would have no meaning if the run were interrupted.
        if folder.read_class_names() != names:
            write_lines(folder.class_names_path, names)
        staging.move()
    return Conversion(names, order_source, shape_counts, pixel_counts, len(drawings), len(staging.targets))


def find_annotations(folder: Path) -> list[Path]:
    """The .json files directly in a folder, by name. Raises UserError for none, or two of one output name."""
    expected = "a folder of labelme's .json files"
    if not folder.is_dir():
        raise UserError("folder-missing", folder, "no such folder", expected, "pass --input FOLDER")
    # Hidden files are no annotations: macOS leaves a `._x.json` beside each x.json on foreign disks.
    files = (path for path in folder.glob("[!.]*.[jJ][sS][oO][nN]") if path.is_file())
    paths = sorted(files, key=lambda path: path.name)
    if not paths:
        raise UserError("labelme-files-missing", folder, "no .json file", expected, "save them here")
    name, count = Counter(map(output_name, paths)).most_common(1)[0]
    if count > 1:
        found, remedy = f"{count} files called {name}", "rename all but one of them"
        raise UserError("labelme-name-twice", folder, found, "one file per name", remedy)
    return paths


def output_name(path: Path) -> str:
    """The name of a labelme file's picture and mask: without blanks around, as split files need it."""
    return path.stem.strip()


def read_drawings(source: Path, folder: VocFolder, instances: bool, staging: Staging) -> list[Drawing]:
    """Read all files, stage new pictures, print the remarks. Raises one UserError for all faulty files."""
    drawings, faults, remarks = [], [], []
    for path in progress(find_annotations(source), "checking", "file"):
        try:
            annotation = read_annotation(path)
            if instances:
                number_objects(path, annotation.shapes)
        except UserError as fault:
            faults.append(fault)
            continue
        drawings.append(Drawing(path, annotation.image.shape[:2], annotation.shapes))
        remarks.extend(annotation.remarks)
        if not faults:
            stage_picture(staging, folder, annotation)
        del annotation  # One picture in memory at a time.
    for remark in remarks:
        warn(remark)
    raise_together(source, faults)
    return drawings


def stage_picture(staging: Staging, folder: VocFolder, annotation: Annotation) -> None:
    name = output_name(annotation.path)
    existing = folder.images_if_any().get(name)
    if existing is not None:
        if not has_picture(existing, annotation):
            staging.differing.append(content_differs(existing, annotation.path))
        return
    waiting = staging.place(folder.images_dir / f"{name}{annotation.suffix}")
    if annotation.picture is None:
        write_image(waiting, annotation.image)
    else:
        with replacing(waiting) as temporary:
            temporary.write_bytes(annotation.picture)


def has_picture(path: Path, annotation: Annotation) -> bool:
    with suppress(UserError, OSError):
        if path.read_bytes() == annotation.picture:
            return True
        if path.parent.resolve() == annotation.path.parent.resolve():
            # labelme may have encoded anew what it embedded, so the last bits of one in place may differ.
            return read_image(path).shape[:2] == annotation.image.shape[:2]
        return has_pixels(path, annotation.image, is_mask=False)
    return False


def stage_mask(staging: Staging, target: Path, mask: np.ndarray, source: Path) -> None:
    if not target.is_file():
        write_mask(staging.place(target), mask)
    elif not has_pixels(target, mask, is_mask=True):
        staging.differing.append(content_differs(target, source))


def choose_class_names(folder: VocFolder, labels: Path | None, used: list[str]) -> tuple[list[str], str]:
    """Class names, background first, and where their order comes from. used: labels by first appearance.

    Existing names keep their order, so that masks made with them stay valid. New names follow them. Raises
    UserError for a file `labels` that orders them otherwise, for masks without names, and for too few or
    too many classes.
    """
    listed = [label for label in used if label not in (BACKGROUND_LABEL, IGNORE_LABEL)]
    origin = "first appearance over the files sorted by name"
    if labels:
        listed, origin = read_labels(labels, listed), f"the lines of {labels}"
    names, existing = [BACKGROUND_LABEL, *listed], folder.read_class_names()
    if existing is None and any(folder.masks_dir.glob("*.png")):
        remedy = f"write {folder.class_names_path} (background first), or choose another --voc-root"
        found, expected = "masks, but no class_names.txt", "names of the classes in the masks"
        raise UserError("class-names-missing", folder.masks_dir, found, expected, remedy)
    if existing:
        if labels and any(one != other for one, other in zip(existing[1:], listed, strict=False)):
            found, expected = (
                f"the order {', '.join(listed)}",
                f"{', '.join(existing[1:])}, as existing masks have it",
            )
            remedy = "leave out --labels, or choose another --voc-root"
            raise UserError("class-order", labels, found, expected, remedy)
        added = [name for name in listed if name not in existing]
        names = existing + added
        origin = f"{folder.class_names_path} as it stood; added after it: {', '.join(added) or 'nothing'}"
    subject = "labels of the shapes"
    if len(names) < 2:
        found = f"no class besides {BACKGROUND_LABEL} and {IGNORE_LABEL}"
        raise UserError("classes-missing", subject, found, "at least one", "label the objects in labelme")
    if len(names) > IGNORE_INDEX:
        found = f"{len(names)} classes with the background, from {names[1]!r} to {names[-1]!r}"
        remedy = "merge labels; number objects of one class by labelme's group_id, not in the label"
        raise UserError("class-count", subject, found, f"at most {IGNORE_INDEX} in masks of 8 bits", remedy)
    return names, origin


def read_labels(path: Path, used: list[str]) -> list[str]:
    """Class names from a text file, without labelme's special ones. Raises UserError if it lacks a label."""
    lines = map(str.strip, read_lines(path, "check the path given by --labels"))
    names = [line for line in lines if line and line not in (BACKGROUND_LABEL, IGNORE_LABEL)]
    twice = ", ".join(name for name, count in Counter(names).items() if count > 1)
    if twice:
        remedy = "remove the repetition"
        raise UserError("class-name-twice", path, f"more than once: {twice}", "each class name once", remedy)
    unlisted = ", ".join(label for label in used if label not in names)
    if unlisted:
        remedy = "add them to the file, or correct them in labelme"
        raise UserError("label-unlisted", path, f"missing: {unlisted}", "every label of the shapes", remedy)
    return names
