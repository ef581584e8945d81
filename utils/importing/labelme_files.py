"""labelme files → VOC folder: pictures, index masks and class_names.txt."""

from collections import Counter
from collections.abc import Mapping, Sequence
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


def convert_labelme(
    source: Path, folder: VocFolder, labels_path: Path | None = None, instances: bool = False
) -> Conversion:
    """Fill `folder` from the labelme files directly in `source`. instances: write SegmentationObject too.

    Each file is read and decoded once. Then only its shapes stay in memory. New pictures and masks wait in a
    staging folder until all is checked. Raises UserError, with nothing written, for faulty files, for class
    names that do not fit, and for existing pictures and masks with other content.
    """
    paths = find_annotations(source)
    existing_names = read_existing_names(folder)
    with stage(folder.root) as staging:
        drawings, differing = read_drawings(source, paths, folder, instances, staging)
        shape_counts = Counter(shape.label for drawing in drawings for shape in drawing.shapes)
        class_names, order_source = choose_class_names(
            folder, existing_names, labels_path, list(shape_counts)
        )
        pixel_counts = np.zeros(256, np.int64)
        for drawing in progress(drawings, "painting", "file"):
            masks = paint_masks(drawing, class_names, folder, instances)
            pixel_counts += np.bincount(next(iter(masks.values())).ravel(), minlength=256)
            differing += stage_masks(masks, drawing.path, staging)
        raise_together(folder.root, differing)
        # Class names first: masks without them would have no meaning if the run were interrupted.
        if existing_names != class_names:
            write_lines(folder.class_names_path, class_names)
        staging.move()
    return Conversion(class_names, order_source, shape_counts, pixel_counts, len(paths), len(staging.targets))


def find_annotations(folder: Path) -> list[Path]:
    """The .json files directly in a folder, by name. Raises UserError for none, or two of one output name."""
    expected = "a folder of labelme's .json files"
    if not folder.is_dir():
        remedy = "check the path, or pass --input FOLDER"
        raise UserError("folder-missing", folder, "no such folder", expected, remedy)
    # Hidden files are no annotations: macOS leaves a `._x.json` beside each x.json on foreign disks.
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    files = (path for path in visible if path.suffix.lower() == ".json" and path.is_file())
    paths = sorted(files, key=lambda path: path.name)
    if not paths:
        remedy = "annotate pictures with labelme and save here"
        raise UserError("labelme-files-missing", folder, "no .json file in this folder", expected, remedy)
    for name, count in Counter(map(output_name, paths)).items():
        if count > 1:
            found, remedy = f"{count} files called {name}", "rename all but one of them"
            raise UserError("labelme-name-twice", folder, found, "one file per name", remedy)
    return paths


def output_name(path: Path) -> str:
    """The name of a labelme file's picture and mask: without blanks around, as split files need it."""
    return path.stem.strip()


def read_drawings(
    source: Path, paths: Sequence[Path], folder: VocFolder, instances: bool, staging: Staging
) -> tuple[list[Drawing], list[UserError]]:
    """Read all files and stage new pictures. Returns drawings, and errors of existing pictures that differ.

    Prints the remarks. Raises one UserError for all faulty files.
    """
    # labelme may embed a picture that it encoded anew: one annotated in place may differ in its last bits.
    in_place = folder.images_dir.resolve() == source.resolve()
    drawings, differing, faults, remarks = [], [], [], []
    for path in progress(paths, "checking", "file"):
        try:
            annotation = read_annotation(path)
            if instances:
                number_objects(path, annotation.shapes)
        except UserError as fault:
            faults.append(fault)
            continue
        drawings.append(Drawing(path, annotation.image.shape[:2], annotation.shapes))
        remarks.extend(annotation.remarks)
        if faults:
            continue  # Nothing will be written.
        existing = folder.images_if_any().get(output_name(path))
        if existing is None:
            target = folder.images_dir / f"{output_name(path)}{annotation.suffix}"
            write_picture(staging.place(target), annotation)
        elif not has_picture(existing, annotation, in_place):
            differing.append(content_differs(existing, path))
        del annotation  # One picture in memory at a time.
    for remark in remarks:
        warn(remark)
    raise_together(source, faults)
    return drawings, differing


def has_picture(path: Path, annotation: Annotation, in_place: bool) -> bool:
    """Whether a file holds the annotated picture. in_place: a picture of the same size."""
    with suppress(UserError, OSError):
        if path.read_bytes() == annotation.picture:
            return True
        if in_place:
            return read_image(path).shape[:2] == annotation.image.shape[:2]
        return has_pixels(path, annotation.image, is_mask=False)
    return False


def write_picture(path: Path, annotation: Annotation) -> None:
    if annotation.picture is None:
        write_image(path, annotation.image)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(annotation.picture)


def paint_masks(
    drawing: Drawing, class_names: Sequence[str], folder: VocFolder, instances: bool
) -> dict[Path, np.ndarray]:
    """Target → mask (H, W) uint8: class indices first, then objects if `instances`."""
    name, class_index = output_name(drawing.path), {label: index for index, label in enumerate(class_names)}
    masks = {folder.mask_path(name): rasterise(drawing.shapes, drawing.size, class_index)}
    if instances:
        # The first class may be called otherwise than labelme's background.
        numbers = number_objects(drawing.path, drawing.shapes, class_names[0])
        masks[folder.objects_path(name)] = paint(drawing.shapes, numbers, drawing.size)
    return masks


def stage_masks(masks: Mapping[Path, np.ndarray], source: Path, staging: Staging) -> list[UserError]:
    """Stage the masks that are missing. Returns errors for existing ones that differ."""
    for target, mask in masks.items():
        if not target.is_file():
            write_mask(staging.place(target), mask)
    return [
        content_differs(target, source)
        for target, mask in masks.items()
        if target.is_file() and not has_pixels(target, mask, is_mask=True)
    ]


def read_existing_names(folder: VocFolder) -> list[str] | None:
    """class_names.txt, or None where it is missing. Raises UserError for masks without it."""
    names = folder.read_class_names()
    if names is None and any(folder.masks_dir.glob("*.png")):
        found, expected = "masks, but no class_names.txt that names their values", "no masks, or class names"
        write = f"write {folder.class_names_path} (one name per line, the background first)"
        remedy = f"{write}, or choose another --voc-root"
        raise UserError("class-names-missing", folder.masks_dir, found, expected, remedy)
    return names


def choose_class_names(
    folder: VocFolder, existing: list[str] | None, labels_path: Path | None, used: Sequence[str]
) -> tuple[list[str], str]:
    """Class names, background first, and where their order comes from. used: labels by first appearance.

    Existing names keep their order, so that masks made with them stay valid. New names follow them.
    """
    used = [label for label in used if label not in (BACKGROUND_LABEL, IGNORE_LABEL)]
    listed = used if labels_path is None else read_labels(labels_path, used)
    origin = (
        f"the lines of {labels_path}" if labels_path else "first appearance over the files sorted by name"
    )
    names = [BACKGROUND_LABEL, *listed]
    if existing is not None:
        if labels_path:
            refuse_other_order(folder, existing, listed, labels_path)
        names = existing + [name for name in listed if name not in existing]
        added = ", ".join(names[len(existing) :]) or "nothing"
        origin = f"{folder.class_names_path} as it stood; added after it: {added}"
    if len(names) < 2:
        found = f"no class besides {BACKGROUND_LABEL} and {IGNORE_LABEL}"
        remedy = "label the objects in labelme"
        raise UserError("classes-missing", "labels of the shapes", found, "at least one", remedy)
    if len(names) > IGNORE_INDEX:
        found = f"{len(names)} classes with the background, from {names[1]!r} to {names[-1]!r}"
        expected = f"at most {IGNORE_INDEX}, because masks have 8 bits and {IGNORE_INDEX} means ignored"
        remedy = "merge labels; number objects of one class by labelme's group_id, not in the label"
        raise UserError("class-count", "labels of the shapes", found, expected, remedy)
    return names, origin


def read_labels(path: Path, used: Sequence[str]) -> list[str]:
    """Class names from a text file, without labelme's special ones. Raises UserError if it lacks a label."""
    lines = [line.strip() for line in read_lines(path, "check the path given by --labels")]
    names = [line for line in lines if line and line not in (BACKGROUND_LABEL, IGNORE_LABEL)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        found, remedy = f"more than once: {', '.join(twice)}", "remove the repetition"
        raise UserError("class-name-twice", path, found, "each class name once", remedy)
    unlisted = [label for label in used if label not in names]
    if unlisted:
        found, expected = f"missing labels: {', '.join(unlisted)}", "every label in the annotations"
        remedy = "add these labels to the file, or correct them in labelme"
        raise UserError("label-unlisted", path, found, expected, remedy)
    return names


def refuse_other_order(
    folder: VocFolder, existing: Sequence[str], listed: Sequence[str], labels_path: Path
) -> None:
    common = min(len(existing) - 1, len(listed))
    if existing[1 : common + 1] != listed[:common]:
        found = f"the order {', '.join(listed)}"
        expected = f"that of {folder.class_names_path}, for which masks exist: {', '.join(existing[1:])}"
        remedy = "leave out --labels, or choose another --voc-root"
        raise UserError("class-order", labels_path, found, expected, remedy)
