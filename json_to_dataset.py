"""Turn a folder of labelme annotations into a VOC folder: pictures, index masks and class_names.txt."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from utils.core.console import UserError, counted, progress, quoted, run_script, warn
from utils.core.files import read_lines, replacing, write_lines
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.importing.transfer import raise_together
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL, Annotation
from utils.labelme.painting import rasterise, rasterise_objects
from utils.labelme.reading import read_annotation
from utils.voc.folder import VocFolder


@dataclass
class Config:
    input: Path = Path(
        "datasets/before"
    )  # folder of labelme's .json files, and of their pictures unless embedded
    voc_root: Path = Path(
        "VOCdevkit/VOC2007"
    )  # VOC folder to fill; its pictures and masks are never overwritten
    labels: Path | None = (
        None  # text file, one class name a line, that fixes their order; None: by first appearance
    )
    instances: bool = (
        False  # write SegmentationObject too: shapes of one label and group_id are one numbered object
    )
    layout: Literal["voc", "paddleseg"] = (
        "voc"  # paddleseg: annotations/ and class_names.txt in the input folder
    )


class PaddleSegFolder(VocFolder):
    """The layout of PaddleSeg's converter: annotations/ and class_names.txt beside the annotated pictures."""

    def __init__(self, root: Path):
        super().__init__(root)
        self.images_dir, self.masks_dir = self.root, self.root / "annotations"


def main(config: Config) -> None:
    folder = VocFolder(config.voc_root) if config.layout == "voc" else PaddleSegFolder(config.input)
    paths = find_annotations(config.input)
    shape_counts = check_annotations(config.input, paths, config.instances)
    class_names, origin = choose_class_names(folder, config.labels, shape_counts)
    class_index = {name: index for index, name in enumerate(class_names)}
    refuse_to_overwrite(folder, paths, class_index, config.instances)
    # Class names first: masks without them would have no meaning if the run were cut short.
    if folder.read_class_names() != class_names:
        write_lines(folder.class_names_path, class_names)
    pixel_counts, written = write_dataset(folder, paths, class_index, config.instances)
    there = (3 if config.instances else 2) * len(paths) - written
    print(f"{counted(len(paths), 'labelme file')}: {counted(written, 'file')} written, {there} there already")
    print(f"class order: {origin}\n")
    print_classes(class_names, shape_counts, pixel_counts)
    objects = [folder.objects_dir.name] if config.instances else []
    parts = [folder.images_dir.name, folder.masks_dir.name, *objects, folder.class_names_path.name]
    print(f"\nwritten to {folder.root}: {', '.join(parts[config.layout == 'paddleseg' :])}")
    into_voc = (
        f"python import_dataset.py --images {quoted(config.input)} --voc-root {quoted(config.voc_root)}"
    )
    print(f"next: {folder.doctor() if config.layout == 'voc' else into_voc}")


def find_annotations(folder: Path) -> list[Path]:
    """The .json files directly in a folder, by name. Raises UserError for none, or two that would share a name."""
    expected = "a folder of labelme's .json files"
    if not folder.is_dir():
        raise UserError(
            "find-annotations", folder, "no such folder", expected, "check the path, or pass --input FOLDER"
        )
    # Hidden files are no annotations: macOS leaves a `._x.json` beside each x.json on foreign disks.
    found = (
        path for path in folder.iterdir() if path.suffix.lower() == ".json" and not path.name.startswith(".")
    )
    paths = sorted((path for path in found if path.is_file()), key=lambda path: path.name)
    if not paths:
        raise UserError(
            "find-annotations",
            folder,
            "no .json file in this folder",
            expected,
            "annotate pictures with labelme, save here",
        )
    for name, count in Counter(map(output_name, paths)).items():
        if count > 1:
            remedy = "rename all but one of them"
            raise UserError(
                "find-annotations", folder, f"{count} files called {name}", "one file a name", remedy
            )
    return paths


def output_name(path: Path) -> str:
    """What picture and mask of a labelme file are called. Split files have one name a line, without blanks around."""
    return path.stem.strip()


def check_annotations(folder: Path, paths: Sequence[Path], instances: bool) -> Counter[str]:
    """Read every file, pictures too. Returns shapes per label in order of first appearance.

    Raises one UserError for all faulty files together.
    """
    shape_counts: Counter[str] = Counter()
    remarks: list[str] = []
    faults: list[UserError] = []
    for path in progress(paths, "checking", "file"):
        try:
            annotation = read_annotation(path)
            if instances:
                rasterise_objects(annotation)
        except UserError as fault:
            faults.append(fault)
            continue
        shape_counts.update(shape.label for shape in annotation.shapes)
        remarks.extend(annotation.remarks)
    for remark in remarks:
        warn(remark)
    raise_together(folder, faults)
    return shape_counts


def choose_class_names(
    folder: VocFolder, labels_path: Path | None, shape_counts: Counter[str]
) -> tuple[list[str], str]:
    """Class names, background first, and one sentence on where their order comes from.

    An existing class_names.txt keeps its order, so that masks made with it stay valid; new names come after it.
    """
    used = [label for label in shape_counts if label not in (BACKGROUND_LABEL, IGNORE_LABEL)]
    listed = None if labels_path is None else read_labels(labels_path, used)
    existing = folder.read_class_names()
    refuse_unnamed_masks(folder, existing)
    wanted = [BACKGROUND_LABEL, *(used if listed is None else listed)]
    origin = (
        f"the lines of {labels_path}" if labels_path else "first appearance over the files sorted by name"
    )
    if existing is not None:
        if listed is not None:
            refuse_other_order(folder, existing, listed, labels_path)
        wanted = existing + [name for name in wanted[1:] if name not in existing]
        added = ", ".join(wanted[len(existing) :]) or "nothing"
        origin = f"{folder.class_names_path} as it stood; added after it: {added}"
    if len(wanted) < 2:
        found = f"no class besides {BACKGROUND_LABEL} and {IGNORE_LABEL}"
        raise UserError(
            "choose-class-names",
            "labels of the shapes",
            found,
            "at least one",
            "label the objects in labelme",
        )
    if len(wanted) > IGNORE_INDEX:
        found = f"{len(wanted)} classes with the background, from {wanted[1]!r} to {wanted[-1]!r}"
        expected = f"at most {IGNORE_INDEX}, because masks have 8 bits and {IGNORE_INDEX} means ignored"
        remedy = "merge labels; number objects of one class by labelme's group_id, not in the label"
        raise UserError("choose-class-names", "labels of the shapes", found, expected, remedy)
    return wanted, origin


def read_labels(path: Path, used: Sequence[str]) -> list[str]:
    """Class names from a text file; labelme's special names in it are left out. Raises UserError for a missing label."""
    lines = [line.strip() for line in read_lines(path, "check the path given by --labels")]
    names = [line for line in lines if line and line not in (BACKGROUND_LABEL, IGNORE_LABEL)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(
            "read-labels",
            path,
            f"more than once: {', '.join(twice)}",
            "each class name once",
            "remove the repetition",
        )
    unknown = [label for label in used if label not in names]
    if unknown:
        remedy = "add these labels to the file, or correct them in labelme"
        raise UserError(
            "read-labels",
            path,
            f"labels that it lacks: {', '.join(unknown)}",
            "every label in the annotations",
            remedy,
        )
    return names


def refuse_unnamed_masks(folder: VocFolder, existing: Sequence[str] | None) -> None:
    if existing is None and any(folder.masks_dir.glob("*.png")):
        write = f"write {folder.class_names_path} (one name a line, the background first)"
        found, expected = (
            "masks, but no class_names.txt that says what their values mean",
            "none, or class names",
        )
        raise UserError(
            "refuse-unnamed-masks",
            folder.masks_dir,
            found,
            expected,
            f"{write}, or choose another --voc-root",
        )


def refuse_other_order(folder: VocFolder, existing: list[str], listed: list[str], labels_path: Path) -> None:
    common = min(len(existing) - 1, len(listed))
    if existing[1 : common + 1] != listed[:common]:
        found = f"the order {', '.join(listed)}"
        expected = f"that of {folder.class_names_path}, for which masks exist: {', '.join(existing[1:])}"
        raise UserError(
            "refuse-other-order",
            labels_path,
            found,
            expected,
            "leave out --labels, or choose another --voc-root",
        )


def refuse_to_overwrite(
    folder: VocFolder, paths: Sequence[Path], class_index: Mapping[str, int], instances: bool
) -> None:
    """Raise UserError if the folder holds another picture or mask under a name that is about to be written."""
    pictures = folder.images_if_any()
    # Pictures that were annotated where they lie may differ in their last bits from what labelme embedded.
    in_place = isinstance(folder, PaddleSegFolder)
    faults = []
    for path in progress(paths, "comparing", "file"):
        picture, masks = pictures.get(output_name(path)), mask_paths(folder, path, instances)
        if picture is None and not any(target.is_file() for target in masks):
            continue
        annotation = read_annotation(path)
        painted = paint_masks(annotation, class_index, instances)
        there = [
            (target, read_mask, mask) for target, mask in zip(masks, painted, strict=True) if target.is_file()
        ]
        if picture:
            image = annotation.image
            there.append((picture, size_of, image.shape[:2]) if in_place else (picture, read_image, image))
        for target, read, content in there:
            if not holds(target, read, content):
                remedy = f"choose another --voc-root, rename {path.name}, or move the existing file away"
                found = "a file of this name with other content; nothing is written over"
                faults.append(
                    UserError(
                        "refuse-to-overwrite", target, found, f"what {path} converts to, or no file", remedy
                    )
                )
    raise_together(folder.root, faults)


def holds(path: Path, read: Callable[[Path], object], content: object) -> bool:
    """Whether a file reads as exactly this; one that cannot be read does not."""
    try:
        return np.array_equal(read(path), content)
    except UserError:
        return False


def size_of(picture: Path) -> tuple[int, int]:
    return read_image(picture).shape[:2]


def mask_paths(folder: VocFolder, path: Path, instances: bool) -> list[Path]:
    """Where the masks of a labelme file go: class indices, then objects if `instances`."""
    targets = [folder.mask_path(output_name(path)), folder.objects_path(output_name(path))]
    return targets[: 1 + instances]


def paint_masks(annotation: Annotation, class_index: Mapping[str, int], instances: bool) -> list[np.ndarray]:
    """Masks (H, W) uint8 in the order of `mask_paths`."""
    masks = [rasterise(annotation.shapes, annotation.image.shape[:2], class_index)]
    # The first class may be called otherwise than labelme's background.
    return [*masks, rasterise_objects(annotation, next(iter(class_index)))] if instances else masks


def write_dataset(
    folder: VocFolder, paths: Sequence[Path], class_index: Mapping[str, int], instances: bool
) -> tuple[np.ndarray, int]:
    """Write the pictures and masks that are not there yet. Returns pixels per value, (256,) int64, and files written."""
    pictures = folder.images_if_any()
    pixel_counts, written = np.zeros(256, np.int64), 0
    for path in progress(paths, "writing", "file"):
        annotation = read_annotation(path)
        masks = paint_masks(annotation, class_index, instances)
        pixel_counts += np.bincount(masks[0].ravel(), minlength=256)
        if output_name(path) not in pictures:
            write_picture(folder.images_dir / f"{output_name(path)}{annotation.suffix}", annotation)
            written += 1
        for target, mask in zip(mask_paths(folder, path, instances), masks, strict=True):
            if not target.is_file():
                write_mask(target, mask)
                written += 1
    return pixel_counts, written


def write_picture(path: Path, annotation: Annotation) -> None:
    """Write the picture's own bytes where there are any, whole or not at all."""
    if annotation.picture is None:
        write_image(path, annotation.image)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(annotation.picture)


def print_classes(class_names: Sequence[str], shape_counts: Counter[str], pixel_counts: np.ndarray) -> None:
    """One line a class; classes that were drawn but cannot be seen in any mask are pointed out."""
    rows = [(index, name, shape_counts[name]) for index, name in enumerate(class_names)]
    # Line 1 of class_names.txt may call the background differently from labelme.
    rows[0] = (0, class_names[0], sum(shape_counts[label] for label in {class_names[0], BACKGROUND_LABEL}))
    ignored = f"{IGNORE_LABEL} (left out of training, scores and the shares above)"
    rows.append((IGNORE_INDEX, ignored, shape_counts[IGNORE_LABEL]))
    counted_pixels = max(pixel_counts[:IGNORE_INDEX].sum(), 1)
    print(f"{'index':>5} {'shapes':>8} {'pixels':>12} {'share':>8}  class")
    for index, name, shapes in rows:
        pixels, total = pixel_counts[index], pixel_counts.sum() if index == IGNORE_INDEX else counted_pixels
        print(f"{index:5d} {shapes:8d} {pixels:12d} {pixels / total:8.2%}  {name}")
        if shapes and not pixels:
            warn(
                f"class {name}: {shapes} shape(s), but no pixel: they lie under later shapes or off the picture"
            )


if __name__ == "__main__":
    run_script(main, Config, __doc__)
