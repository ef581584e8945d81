"""Turn a folder of labelme annotations into a VOC folder: pictures, index masks and class_names.txt."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from utils.core.console import counted, note, quoted, run_script, warn
from utils.core.locks import locked
from utils.core.settings import check_settings
from utils.doctor.repair import changed_flags
from utils.images.palette import IGNORE_INDEX
from utils.importing.labelme_files import Conversion, PaddleSegFolder, convert_labelme, report_conversion
from utils.importing.labelme_record import Unlabelled
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL
from utils.voc.folder import VocFolder


@dataclass
class Config:
    input: Path = Path("datasets/before")  # folder of labelme's .json files, and of pictures not embedded
    voc_root: Path = Path("VOCdevkit/VOC2007")  # VOC folder to fill; run again, it follows your corrections
    labels: Path | None = None  # text file, one class name per line; None: classes by first appearance
    merge: tuple[str, ...] = ()  # labels to merge, OLD:NEW …; remembered; OLD:OLD takes one out again
    # background, or ignore: shapes are strokes over some of each class, and `_background_`. None: as before
    unlabelled: Unlabelled | None = None
    line_width: Annotated[int | None, Ge(1)] = None  # of lines; diameter of points; None: as before, first 10
    instances: bool = False  # write SegmentationObject too: one object for each label and group_id
    layout: Literal["voc", "paddleseg"] = "voc"  # paddleseg: annotations/ and class_names.txt in --input
    skip_faulty: bool = False  # leave out faulty shapes and files, and list them
    overwrite: bool = False  # replace masks and pictures that were changed by other means; keeps copies


def main(config: Config) -> None:
    check_settings(config)
    paddleseg = config.layout == "paddleseg"
    folder = PaddleSegFolder(config.input) if paddleseg else VocFolder(config.voc_root)
    settings = config.labels, config.instances, config.overwrite, config.skip_faulty, config.merge
    command = f"python json_to_dataset.py {changed_flags(replace(config, merge=()))}".strip()
    merge = "".join(f" {quoted(text)}" for text in config.merge)
    painting = config.unlabelled, config.line_width
    again = command + " --merge" * bool(merge) + merge
    with locked(folder.root):
        result = convert_labelme(config.input, folder, *settings, again, *painting)
    print("\n".join(report_conversion(result, config.input, command)), end="\n\n")
    print_classes(result)
    parts = [folder.images_dir] * (not paddleseg) + [folder.masks_dir]
    parts += [folder.objects_dir] * config.instances + [folder.class_names_path]
    print(f"\nwritten to {folder.root}: {', '.join(part.name for part in parts)}")
    folders = f"--images {quoted(config.input)} --voc-root {quoted(config.voc_root)}"
    print(f"next: {f'python import_dataset.py {folders}' if paddleseg else next_command(folder, result)}")


def next_command(folder: VocFolder, result: Conversion) -> str:
    """The doctor's command: the map of earlier masks again, or a new split where pairs are in none."""
    if result.repair:
        warn("voc2unet.py mapped the masks before; those added or updated now need the same command")
        return result.repair
    splits = {split: folder.read_split_if_any(split) for split in ("train", "val", "test")}
    listed = {name for names in splits.values() for name in names}
    unlisted = [name for name in result.outcomes if name not in listed]
    if not unlisted or not (splits["train"] or splits["val"]):
        return folder.doctor()
    such = f"{counted(len(unlisted), 'pair')} in no split, such as {unlisted[0]}"
    note(f"{such}: --overwrite draws the split anew. Without it they are not used")
    return folder.doctor("--overwrite")


def print_classes(result: Conversion) -> None:
    """One line per class. Warns of classes that were drawn but have no pixel in any mask."""
    pixels, strokes = result.pixel_counts, result.painting["unlabelled"] == "ignore"
    unknown = "not annotated: " * strokes
    print(f"{'index':>5} {'shapes':>8} {'pixels':>12} {'share':>8}  class")
    for index, name in [*enumerate(result.classes.names), (IGNORE_INDEX, IGNORE_LABEL)]:
        # Line 1 of class_names.txt may name the background differently from labelme.
        labels = {name, BACKGROUND_LABEL} if index == 0 else {name}
        count = sum(result.classes.counts[label] for label in labels)
        ignored = index == IGNORE_INDEX
        share = pixels[index] / (pixels.sum() if ignored else max(pixels[:IGNORE_INDEX].sum(), 1))
        remark = f" ({unknown}left out of training, scores and the shares above)" * ignored
        print(f"{index:5d} {count:8d} {pixels[index]:12d} {share:8.2%}  {name}{remark}")
        if count and not pixels[index]:
            warn(f"class {name}: {count} shape(s), but no pixel: under later shapes or off the picture")
    if strokes and not pixels[0]:
        found = f"no stroke is labelled {BACKGROUND_LABEL}, so nothing teaches where no class is"
        warn(f"{found}: draw some, on the objects' surroundings, too, unless the classes fill the pictures")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
