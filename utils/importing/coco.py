"""COCO's JSON: polygons and runs.

Format: https://cocodataset.org/#format-data. `pycocotools.coco.COCO` reads one file too, but it looks for no
pictures and reports a file of another kind as a KeyError.
"""

from collections import defaultdict
from pathlib import Path

from utils.core.console import UserError, counted
from utils.importing.annotations import ENTRY_ERRORS, Drawn, Sheet, Tally, box, to_dataset
from utils.importing.dataset import Dataset, Request
from utils.importing.tree import Tree

KEYS = ("images", "annotations", "categories")
MOST_CROWDS = 0.1  # of the annotations; COCO has 0.012. CVAT and datumaro call every mask a crowd
BOXES = "box without a region: its pixels are ignored (255)"


def find_coco(tree: Tree) -> list[Path]:
    """Files with images, annotations and categories; those of key points only if there is no other."""
    paths = [path for path in tree.files_with(".json", *(f'"{key}"' for key in KEYS)) if is_coco(tree, path)]
    regions = [path for path in paths if not has_keypoints(tree.read_json(path))]
    return regions or paths


def has_keypoints(content: dict) -> bool:
    return any(isinstance(one, dict) and "keypoints" in one for one in content["categories"])


def is_coco(tree: Tree, path: Path) -> bool:
    content = tree.read_json(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in KEYS):
        return False
    first = next(iter(content["annotations"]), {"category_id": 1})
    return isinstance(first, dict) and "category_id" in first


def recognise_coco(tree: Tree) -> str | None:
    paths = find_coco(tree)
    return (
        f"{counted(len(paths), 'JSON file')} with {', '.join(KEYS)}, such as {paths[0].name}"
        if paths
        else None
    )


def read_coco(request: Request) -> Dataset:
    sheets, names, tally, background = [], [], Tally(), None
    for path in find_coco(request.tree):
        content = request.tree.read_json(path)
        try:
            read_file(path, content, sheets, names, tally)
            # export_dataset.py writes it: COCO has no place for class 0.
            background = background or (content.get("info") or {}).get("background")
        except ENTRY_ERRORS as error:
            found, expected = f"an entry without what COCO demands ({error!r})", "COCO's format"
            raise UserError("coco-entry", path, found, expected, "export it again") from None
    if sheets and not any(drawn.label is not None for sheet in sheets for drawn in sheet.drawn):
        found = "; ".join(tally.lines()) or "no annotation"
        expected, remedy = "objects with a segmentation", "export regions; boxes alone do not make masks"
        raise UserError("regions-missing", request.tree.root, found, expected, remedy)
    return to_dataset(request, sheets, names, tally, background)


def read_file(path: Path, content: dict, sheets: list[Sheet], names: list[str], tally: Tally) -> None:
    """Add the pictures and class names of a file. Crowds and boxes without a region do not count (255).

    `ignore` is a key that pycocotools knows, and export_dataset.py writes.
    """
    categories = {one["id"]: str(one["name"]).strip() for one in content["categories"]}
    used = {one["category_id"] for one in content["annotations"]}
    # Roboflow lists the name of the project as a class of its own, above the others.
    above = {one.get("supercategory") for one in content["categories"]}
    project = [one["id"] for one in content["categories"] if one.get("supercategory") == "none"]
    project = [number for number in project if number not in used and categories[number] in above]
    names += [name for number, name in categories.items() if number not in project]
    crowds = sum(bool(one.get("iscrowd") and not one.get("ignore")) for one in content["annotations"])
    masks, drawn = crowds > MOST_CROWDS * len(content["annotations"]), defaultdict(list)
    for one in content["annotations"]:
        place, label = f"annotation {one.get('id')}", categories[one["category_id"]]
        segmentation = one.get("segmentation")
        if not segmentation:
            tally.add(BOXES)
            left, top, width, height = map(float, one["bbox"])
            label, segmentation = None, box(left, top, left + width, top + height)
        elif one.get("ignore") or (one.get("iscrowd") and not masks):
            tally.add("crowd region: its pixels are ignored (255)")
            label = None
        elif one.get("iscrowd"):
            tally.add("mask with iscrowd=1, which CVAT writes for all its masks: taken as an object")
        drawn[one["image_id"]].append(Drawn(label, segmentation, place))
    for one in content["images"]:
        size = (int(one["height"]), int(one["width"])) if one.get("height") else None
        sheets.append(Sheet(path, (str(one["file_name"]),), drawn[one["id"]], size))
