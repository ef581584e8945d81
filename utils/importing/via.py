"""VGG Image Annotator 1 and 2: JSON or CSV of an export, or JSON of a saved project.

Format: https://www.robots.ox.ac.uk/~vgg/software/via/. The class is a region attribute.
"""

import csv
import io
import json
import math
from collections import Counter
from pathlib import Path

from utils.core.console import UserError, counted
from utils.core.files import decode_text, read_bytes
from utils.images.rle import Segmentation
from utils.importing.annotations import ENTRY_ERRORS, Drawn, Sheet, Tally, box, ellipse, to_dataset, turned
from utils.importing.dataset import Dataset, Request
from utils.importing.tree import Tree

# Names of the attribute that holds the class, if there are several.
CLASS_ATTRIBUTES = ("class", "label", "name", "category", "type", "class_name", "object")
CSV_COLUMNS = ("region_shape_attributes", "region_attributes")


def entries_of(tree: Tree, path: Path) -> list[dict]:
    """The pictures of a VIA file; none for another JSON file."""
    if path.suffix.lower() == ".csv":
        return read_rows(path)
    content = tree.read_json(path)
    content = content.get("_via_img_metadata", content) if isinstance(content, dict) else {}
    entries = list(content.values()) if isinstance(content, dict) else []
    is_via = all(isinstance(one, dict) and "filename" in one and "regions" in one for one in entries)
    return entries if is_via else []


def read_rows(path: Path) -> list[dict]:
    """The pictures of a CSV file, which has a row for each region, and one for a picture without any."""
    entries: dict[tuple[str, str], dict] = {}
    text = decode_text(read_bytes(path, "CSV", "check the path"), path)
    for row in csv.DictReader(io.StringIO(text, newline="")):
        # VIA 1 begins its header with #.
        name = row.get("filename", row.get("#filename"))
        entry = entries.setdefault((name, row["file_size"]), {"filename": name, "regions": []})
        shape, attributes = (json.loads(row[key]) for key in CSV_COLUMNS)
        if shape:
            entry["regions"].append({"shape_attributes": shape, "region_attributes": attributes})
    return list(entries.values())


def find_via(tree: Tree) -> list[Path]:
    paths = [path for path in tree.files_with(".json", '"regions"', "_via_") if entries_of(tree, path)]
    return paths + tree.files_with(".csv", ",".join(CSV_COLUMNS))


def recognise_via(tree: Tree) -> str | None:
    paths = find_via(tree)
    return (
        f"{counted(len(paths), 'file')} of filename and regions, such as {paths[0].name}" if paths else None
    )


def read_via(request: Request) -> Dataset:
    tree, tally = request.tree, Tally()
    paths = find_via(tree)
    try:
        files = {path: entries_of(tree, path) for path in paths}
        attribute = choose_attribute(
            request, [region for one in files.values() for e in one for region in regions_of(e)]
        )
        sheets = [read_entry(path, entry, attribute, tally) for path, one in files.items() for entry in one]
    except (csv.Error, *ENTRY_ERRORS) as error:
        found = f"an entry without what VIA demands ({error!r})"
        raise UserError("via-entry", paths[0], found, "VIA's format", "export it again") from None
    return to_dataset(request, sheets, [], tally)


def regions_of(entry: dict) -> list[dict]:
    """A list, in VIA 1 {"0": region, …}."""
    return list(entry["regions"].values()) if isinstance(entry["regions"], dict) else entry["regions"]


def choose_attribute(request: Request, regions: list[dict]) -> str | None:
    """The region attribute that holds the class; None if there is none. Raises UserError for several."""
    used = Counter(name for region in regions for name, value in region["region_attributes"].items() if value)
    usual = [name for name in used if name.lower() in CLASS_ATTRIBUTES]
    chosen = usual if len(usual) == 1 else list(used)
    if len(chosen) > 1:
        found = (
            f"several attributes of regions: {', '.join(f'{name} ({count})' for name, count in used.items())}"
        )
        expected, remedy = (
            "one that names the class",
            f"call it {CLASS_ATTRIBUTES[0]}, or remove the others in VIA",
        )
        raise UserError("via-attribute", request.tree.root, found, expected, remedy)
    return chosen[0] if chosen else None


def read_entry(path: Path, entry: dict, attribute: str | None, tally: Tally) -> Sheet:
    drawn = []
    for number, region in enumerate(regions_of(entry), 1):
        place = f"{entry['filename']}, region {number}"
        segmentation = read_shape(region["shape_attributes"])
        if segmentation is None:
            tally.add(f"{region['shape_attributes']['name']}, which has no area: left out")
            continue
        label = region["region_attributes"].get(attribute) if attribute else "object"
        if isinstance(label, dict):
            # A checkbox: {"cell": true}.
            label = next((name for name, checked in label.items() if checked), None)
        if not str(label or "").strip():
            found, expected = "no class", f"a value of the region attribute {attribute}"
            raise UserError("via-class", f"{path}, {place}", found, expected, "fill it in, in VIA")
        drawn.append(Drawn(str(label).strip(), segmentation, place))
    return Sheet(path, (str(entry["filename"]),), drawn)


def read_shape(shape: dict) -> Segmentation | None:
    """None for points and lines."""
    match shape["name"]:
        case "polygon":
            pairs = zip(shape["all_points_x"], shape["all_points_y"], strict=True)
            return [[float(number) for pair in pairs for number in pair]]
        case "rect":
            return box(shape["x"], shape["y"], shape["x"] + shape["width"], shape["y"] + shape["height"])
        case "circle":
            return ellipse(shape["cx"], shape["cy"], shape["r"], shape["r"])
        case "ellipse":
            upright = ellipse(shape["cx"], shape["cy"], shape["rx"], shape["ry"])
            return turned(upright, math.degrees(shape.get("theta", 0)), shape["cx"], shape["cy"])
    return None
