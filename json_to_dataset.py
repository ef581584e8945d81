"""Turn a folder of labelme annotations into a VOC folder: pictures, index masks and class_names.txt."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from utils.core.console import counted, note, quoted, run_script, warn
from utils.doctor.repair import changed_flags
from utils.images.palette import IGNORE_INDEX
from utils.importing.labelme_files import Conversion, PaddleSegFolder, convert_labelme
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL
from utils.voc.folder import VocFolder
from utils.voc.names import list_some


@dataclass
class Config:
    input: Path = Path("datasets/before")  # folder of labelme's .json files, and of pictures not embedded
    voc_root: Path = Path("VOCdevkit/VOC2007")  # VOC folder to fill; run again, it follows your corrections
    labels: Path | None = None  # text file, one class name per line; None: classes by first appearance
    merge: tuple[str, ...] = ()  # labels to merge, OLD:NEW …; remembered; OLD:OLD takes one out again
    instances: bool = False  # write SegmentationObject too: one object for each label and group_id
    layout: Literal["voc", "paddleseg"] = "voc"  # paddleseg: annotations/ and class_names.txt in --input
    skip_faulty: bool = False  # leave out faulty shapes and files, and list them
    overwrite: bool = False  # replace masks and pictures that were changed by other means; keeps copies


def main(config: Config) -> None:
    paddleseg = config.layout == "paddleseg"
    folder = PaddleSegFolder(config.input) if paddleseg else VocFolder(config.voc_root)
    settings = config.labels, config.instances, config.overwrite, config.skip_faulty, config.merge
    result = convert_labelme(config.input, folder, *settings)
    print_outcomes(config, result)
    print(f"class order: {result.classes.origin}\n")
    print_classes(result)
    if result.classes.alike:
        merge = tuple(f"{old}:{new}" for old, new in result.classes.alike.items())
        command = f"python json_to_dataset.py {changed_flags(replace(config, merge=()))}".strip()
        same = ", ".join(f"{old} and {new}" for old, new in result.classes.alike.items())
        words = " ".join(map(quoted, merge))
        warn(f"classes of nearly one name: {same}. If they mean the same: {command} --merge {words}")
    parts = [folder.images_dir] * (not paddleseg) + [folder.masks_dir]
    parts += [folder.objects_dir] * config.instances + [folder.class_names_path]
    print(f"\nwritten to {folder.root}: {', '.join(part.name for part in parts)}")
    folders = f"--images {quoted(config.input)} --voc-root {quoted(config.voc_root)}"
    print(f"next: {f'python import_dataset.py {folders}' if paddleseg else next_command(folder, result)}")


def print_outcomes(config: Config, result: Conversion) -> None:
    """What was added, updated, left and taken away, and what deserves a look."""
    by_outcome = {
        outcome: [name for name, one in result.outcomes.items() if one == outcome]
        for outcome in ("added", "updated", "unchanged")
    }
    counts = ", ".join(f"{len(names)} {outcome}" for outcome, names in by_outcome.items())
    gone = f"; {len(result.gone)} no longer present" * bool(result.gone)
    print(f"{counted(len(result.outcomes), 'labelme file')}: {counts}{gone}")
    if by_outcome["updated"]:
        print(f"updated: {list_some(by_outcome['updated'])}")
    if result.gone:
        warn(
            f"{counted(len(result.gone), 'pair')} left the set, because the labelme files are gone from "
            f"{config.input}: {list_some(result.gone)}. To have them back, put the files there again, or "
            "convert the folder where they are now (--input)"
        )
    if result.edited:
        some = list_some(result.edited)
        note(f"changed since by other means, and kept: {some}. --overwrite writes them anew")
    if result.aside:
        note(f"copies of what was taken away or replaced: {result.aside}")
    if result.classes.others:
        note(f"{counted(result.classes.others, 'mask')} of other origin stay in the set, with their classes")
    if result.classes.merged:
        merged = [f"{old} → {new}" for old, new in result.classes.merged.items()]
        note(f"merged labels: {list_some(merged)} (--merge OLD:OLD takes one out again)")
    if result.skipped:
        faults = "".join(f"\n  {fault.subject}: {fault.found}" for fault in result.skipped)
        warn(f"left out: {counted(len(result.skipped), 'faulty shape or file')}{faults}")


def next_command(folder: VocFolder, result: Conversion) -> str:
    """The doctor's command: the map of earlier masks again, or a new split where pairs are in none."""
    if result.repair:
        warn("voc2unet.py mapped the masks before; those added or updated now need the same command")
        return result.repair
    splits = [folder.read_split_if_any(path.stem) for path in folder.splits_dir.glob("*.txt")]
    unlisted = [name for name in result.outcomes if all(name not in names for names in splits)]
    if not splits or not unlisted:
        return folder.doctor()
    such = f"{counted(len(unlisted), 'pair')} in no split, such as {unlisted[0]}"
    note(f"{such}: --overwrite draws the split anew. Without it they are not used")
    return folder.doctor("--overwrite")


def print_classes(result: Conversion) -> None:
    """One line per class. Warns of classes that were drawn but have no pixel in any mask."""
    pixels = result.pixel_counts
    print(f"{'index':>5} {'shapes':>8} {'pixels':>12} {'share':>8}  class")
    for index, name in [*enumerate(result.classes.names), (IGNORE_INDEX, IGNORE_LABEL)]:
        # Line 1 of class_names.txt may name the background differently from labelme.
        labels = {name, BACKGROUND_LABEL} if index == 0 else {name}
        count = sum(result.classes.counts[label] for label in labels)
        ignored = index == IGNORE_INDEX
        share = pixels[index] / (pixels.sum() if ignored else max(pixels[:IGNORE_INDEX].sum(), 1))
        remark = " (left out of training, scores and the shares above)" * ignored
        print(f"{index:5d} {count:8d} {pixels[index]:12d} {share:8.2%}  {name}{remark}")
        if count and not pixels[index]:
            warn(f"class {name}: {count} shape(s), but no pixel: under later shapes or off the picture")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
