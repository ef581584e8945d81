"""COCO's panoptic format: JSON that lists segments, and a PNG per picture whose colours are their numbers.

Format: https://cocodataset.org/#format-data. The number of a pixel is R + 256·G + 256²·B; 0 is no segment.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from utils.core.console import UserError, counted
from utils.images.masks import number_objects
from utils.images.palette import IGNORE_INDEX
from utils.importing.annotations import ENTRY_ERRORS
from utils.importing.dataset import Dataset, Entry, Labels, Request, Size, unique_names, with_background
from utils.importing.layouts import to_rgb
from utils.importing.tree import Tree
from utils.voc.colors import pack
from utils.voc.names import names_masks

KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True, eq=False)
class Sheet:
    """A picture of a file `source`: the name of its PNG, and number → category, whether a crowd."""

    source: Path
    picture: str
    segments_file: str
    size: Size
    segments: dict[int, tuple[str, bool]]


def find_panoptic(tree: Tree) -> list[Path]:
    """The JSON files of this format."""
    paths = tree.files_with(".json", *(f'"{key}"' for key in KEYS))
    return [path for path in paths if is_panoptic(tree.read_json(path))]


def is_panoptic(content: object) -> bool:
    """Whether the content of a JSON file lists segments, as no other format of COCO does."""
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in KEYS):
        return False
    first = next(iter(content["annotations"]), None)
    return isinstance(first, dict) and "segments_info" in first


def recognise_panoptic(tree: Tree) -> str | None:
    paths = find_panoptic(tree)
    return (
        f"{counted(len(paths), 'JSON file')} with segments_info, such as {paths[0].name}" if paths else None
    )


def read_panoptic(request: Request) -> Dataset:
    """Pixels without a segment are ignored (255) if the data know stuff, such as sky; else background."""
    tree, sheets, things = request.tree, [], {}
    for path in find_panoptic(tree):
        content = tree.read_json(path)
        try:
            things |= {str(one["name"]).strip(): one.get("isthing", 1) for one in content["categories"]}
            sheets += read_sheets(path, content)
        except ENTRY_ERRORS as error:
            found, expected = (
                f"an entry without what the format demands ({error!r})",
                "COCO's panoptic format",
            )
            raise UserError("coco-entry", path, found, expected, "export it again") from None
    names, indices = with_background(list(things))
    index = dict(zip(things, indices, strict=True))
    void = 0 if all(things.values()) else IGNORE_INDEX
    missing: list[str] = []
    files = {sheet: path for sheet in sheets if (path := find_segments(tree, sheet, missing))}
    pictures = {}
    for sheet in files:
        picture = tree.find_picture((sheet.picture,), sheet.source, missing, files.values())
        if picture is not None:
            pictures[picture] = sheet
    entries = []
    for picture, name in unique_names(list(pictures)).items():
        sheet = pictures[picture]
        values = {n: IGNORE_INDEX if crowd else index[one] for n, (one, crowd) in sheet.segments.items()}
        objects = {n for n, (one, crowd) in sheet.segments.items() if things[one] and not crowd}
        labels = partial(read_segments, files[sheet], values, objects, void)
        split = tree.split_of(sheet.source) or tree.split_of_picture(picture)
        entries.append(Entry(name, sheet.source, picture, labels, size=sheet.size, split=split))
    remark = f"pixels without a segment are {'ignored (255)' if void else 'background'}"
    return Dataset(names, entries, [remark, *tree.describe_missing(missing)])


def read_sheets(path: Path, content: dict) -> Iterator[Sheet]:
    """The pictures of a file. Raises one of ENTRY_ERRORS for an entry that lacks something."""
    images = {one["id"]: one for one in content["images"]}
    categories = {one["id"]: str(one["name"]).strip() for one in content["categories"]}
    for one in content["annotations"]:
        image = images[one["image_id"]]
        size = int(image["height"]), int(image["width"])
        segments = {
            int(each["id"]): (categories[each["category_id"]], bool(each.get("iscrowd")))
            for each in one["segments_info"]
        }
        yield Sheet(path, str(image["file_name"]), str(one["file_name"]), size, segments)


def find_segments(tree: Tree, sheet: Sheet, missing: list[str]) -> Path | None:
    """The PNG of a picture: in the folder named after the JSON file, or one that says it has masks."""

    def rank(path: Path) -> tuple[bool, ...]:
        folder = path.parent
        return folder == sheet.source.with_suffix(""), "panoptic" in folder.name, names_masks(folder.name)

    name = Path(sheet.segments_file).name
    found = [path for path in tree.pictures if path.name == name]
    if not found:
        missing.append(sheet.segments_file)
    return max(found, key=rank, default=None)


def read_segments(path: Path, values: Mapping[int, int], objects: set[int], void: int, size: Size) -> Labels:
    """values: number → class. Raises UserError for a number that is none of a segment."""
    numbers = pack(to_rgb(path)[..., ::-1])
    found, places = np.unique(numbers, return_inverse=True)
    if unknown := [one for one in found.tolist() if one and one not in values]:
        seen, expected = f"the number {unknown[0]}", "numbers of segments in the JSON file, or 0"
        remedy = "export both again; a program that changes a colour changes a number"
        raise UserError("panoptic-segment", path, seen, expected, remedy)
    classes = np.array([values.get(one, void) for one in found.tolist()], np.uint8)
    numbered = np.where(np.isin(numbers, list(objects)), numbers, 0)
    return Labels(classes[places].reshape(numbers.shape), number_objects(numbered))
