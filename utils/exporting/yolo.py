"""A VOC folder as YOLO's segmentation text: images/SPLIT, labels/SPLIT and data.yaml."""

import shutil
from pathlib import Path

import numpy as np
import yaml

from utils.core.console import UserError, counted, note, progress
from utils.core.files import replacing, write_lines
from utils.core.locks import LOCK_FILE
from utils.exporting.objects import find_objects, to_polygon
from utils.exporting.source import Source
from utils.images.palette import IGNORE_INDEX

DIGITS = 6  # 0.01 pixels of a picture of 10,000


def export_yolo(source: Source, output: Path) -> list[str]:
    """Copy the pictures, write their polygons and the names. Raises UserError for an output with files."""
    if output.exists() and any(path.name != LOCK_FILE for path in output.iterdir()):
        expected, remedy = (
            "an empty or new folder, because nothing is written over",
            "choose another --output",
        )
        raise UserError("output-exists", output, "a folder with files", expected, remedy)
    ignored = count = 0
    for split, names in source.splits.items():
        for name in progress(names, split, "picture"):
            mask, objects = source.read(name)
            ignored += bool((mask == IGNORE_INDEX).any())
            lines = [
                format_line(one.value, to_polygon(one), mask.shape) for one in find_objects(mask, objects)
            ]
            count += len(lines)
            write_lines(output / "labels" / split / f"{name}.txt", lines)
            picture = source.folder.images[name]
            with replacing(output / "images" / split / picture.name) as temporary:
                shutil.copyfile(picture, temporary)
    if "val" not in source.splits:
        draw = source.folder.doctor()
        note(
            f"no val.txt lists pictures to validate on, so train and val are the same ({draw} draws a split)"
        )
    folders = {split: f"images/{split}" for split in source.splits}
    # Ultralytics demands both.
    first = next(iter(folders.values()))
    content = {"train": folders.get("train", first), "val": folders.get("val", first), **folders}
    content["names"] = dict(enumerate(source.class_names[1:]))
    if source.background:
        content["background"] = source.background
    with replacing(output / "data.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
    if ignored:
        note(f"{counted(ignored, 'mask')} with ignored pixels (255), which YOLO lacks: background there")
    return [f"{counted(len(source.masks), 'picture')}, {counted(count, 'polygon')}: {output / 'data.yaml'}"]


def format_line(value: int, polygon: np.ndarray, size: tuple[int, int]) -> str:
    """Classes count from 0, without the background."""
    shares = np.clip(polygon / (size[1], size[0]), 0, 1)
    return " ".join([str(value - 1), *(f"{share:.{DIGITS}g}" for share in shares.ravel().tolist())])
