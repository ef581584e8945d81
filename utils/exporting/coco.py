"""A VOC folder, or predicted masks of its pictures, as COCO JSON. Masks are exact: regions are runs."""

import json
from pathlib import Path

import numpy as np

from utils.core.console import UserError, counted, progress
from utils.core.files import replacing
from utils.exporting.objects import find_objects
from utils.exporting.source import Source
from utils.images.palette import IGNORE_INDEX
from utils.images.rle import encode


def export_coco(source: Source, output: Path) -> list[str]:
    """Write output/instances_SPLIT.json. Pictures stay where they are. Raises UserError for existing files.

    Ignored pixels (255) are a crowd of every class of the picture, with `ignore` set.
    """
    paths = {split: output / f"instances_{split}.json" for split in source.splits}
    for path in paths.values():
        if path.exists():
            expected, remedy = (
                "no file, because nothing is written over",
                "move it away, or choose another --output",
            )
            raise UserError("output-exists", path, "a file", expected, remedy)
    numbers = {name: number for number, name in enumerate(source.masks, 1)}
    lines = []
    for split, path in paths.items():
        images, annotations = [], []
        for name in progress(source.splits[split], f"{split}", "picture"):
            mask, objects = source.read(name)
            picture = source.folder.images[name].name
            images.append(
                {"id": numbers[name], "file_name": picture, "height": mask.shape[0], "width": mask.shape[1]}
            )
            annotations += [{"image_id": numbers[name], **one} for one in list_annotations(mask, objects)]
        annotations = [{"id": number, **one} for number, one in enumerate(annotations, 1)]
        categories = [{"id": index, "name": name} for index, name in enumerate(source.class_names) if index]
        content = {"images": images, "annotations": annotations, "categories": categories}
        if source.background:
            content["info"] = {"background": source.background}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        lines.append(f"{path}: {counted(len(images), 'picture')}, {counted(len(annotations), 'region')}")
    return [*lines, f"their pictures: {source.folder.images_dir}"]


def list_annotations(mask: np.ndarray, objects: np.ndarray | None) -> list[dict]:
    annotations = []
    for one in find_objects(mask, objects):
        annotations.append({"category_id": one.value, **describe(one.full(mask.shape)), "iscrowd": 0})
    ignored = mask == IGNORE_INDEX
    if ignored.any():
        # Without an object, one class is as good as another.
        present = sorted({one["category_id"] for one in annotations}) or [1]
        crowd = {**describe(ignored), "iscrowd": 1, "ignore": 1}
        annotations += [{"category_id": value, **crowd} for value in present]
    return annotations


def describe(pixels: np.ndarray) -> dict[str, object]:
    """Runs, area and box (left, top, width, height) of (H, W) bool."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    return {
        "segmentation": encode(pixels),
        "area": int(np.count_nonzero(pixels)),
        "bbox": [int(side) for side in box],
    }
