"""Label Studio's JSON and JSON-MIN: polygons, brushes, rectangles and ellipses.

Format: https://labelstud.io/guide/export. Coordinates are percent of the picture's size.
"""

import re
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit

import numpy as np

from utils.core.console import UserError, counted
from utils.images.file_types import IMAGE_SUFFIXES
from utils.images.rle import Box, Segmentation
from utils.importing.annotations import ENTRY_ERRORS, Drawn, Sheet, Tally, box, ellipse, to_dataset, turned
from utils.importing.dataset import Dataset, Request, Size
from utils.importing.regions import Painter
from utils.importing.tree import Tree

UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio writes before the names of uploaded files
OPAQUE = 128  # alpha from which a pixel of a brush counts


def tasks_of(tree: Tree, path: Path) -> list[dict]:
    """The tasks of a Label Studio file; none for another JSON file."""
    content = tree.read_json(path)
    tasks = content if isinstance(content, list) else []
    full = all(isinstance(task, dict) and "annotations" in task and "data" in task for task in tasks)
    short = all(isinstance(task, dict) and "image" in task and "annotation_id" in task for task in tasks)
    return tasks if full or short else []


def find_label_studio(tree: Tree) -> list[Path]:
    words = '"annotations"', '"annotation_id"', '"original_width"'
    return [path for path in tree.files_with(".json", *words) if tasks_of(tree, path)]


def recognise_label_studio(tree: Tree) -> str | None:
    paths = find_label_studio(tree)
    return f"{counted(len(paths), 'JSON file')} of tasks, such as {paths[0].name}" if paths else None


def read_label_studio(request: Request) -> Dataset:
    sheets, tally = [], Tally()
    for path in find_label_studio(request.tree):
        try:
            for task in tasks_of(request.tree, path):
                results = choose_results(task, tally)
                if results is not None:
                    sheets.append(read_task(path, task, results, tally))
        except ENTRY_ERRORS as error:
            found = f"an entry without what Label Studio demands ({error!r})"
            raise UserError(
                "label-studio-entry", path, found, "its JSON or JSON-MIN", "export it again"
            ) from None
    return to_dataset(request, sheets, [], tally)


def choose_results(task: dict, tally: Tally) -> list[dict] | None:
    """The regions of one annotation of a task: the ground truth, or else the first that was not skipped."""
    if "annotations" not in task:
        lists = (value for value in task.values() if isinstance(value, list))
        return [
            one for values in lists for one in values if isinstance(one, dict) and "original_width" in one
        ]
    submitted = [one for one in task["annotations"] if not one.get("was_cancelled")]
    submitted.sort(key=lambda one: not one.get("ground_truth"))
    if not submitted:
        tally.add("task without an annotation: left out")
        return None
    for _ in submitted[1:]:
        tally.add("further annotation of a task: left out")
    return submitted[0]["result"]


def read_task(path: Path, task: dict, results: list[dict], tally: Tally) -> Sheet:
    drawn, size, joined = [], None, {}
    for number, result in enumerate(results):
        if "original_width" not in result:
            continue  # a choice or a text about the picture
        size = int(result["original_height"]), int(result["original_width"])
        if result.get("image_rotation"):
            subject, remedy = f"{path}, task {task.get('id')}", "turn it back, and export again"
            found, expected = "a picture turned in Label Studio", "a picture as it is stored"
            raise UserError("label-studio-turned", subject, found, expected, remedy)
        # A region and its label may be two results of one id.
        joined.setdefault(result.get("id", number), {}).update(result.get("value", result))
    for number, value in enumerate(joined.values(), 1):
        segmentation, label = read_shape(value, size), label_of(value)
        if segmentation is None or label is None:
            tally.add("region without an area or a label: left out")
        else:
            drawn.append(Drawn(label, segmentation, f"task {task.get('id')}, region {number}"))
    return Sheet(path, stated_names(task), drawn, size)


def label_of(value: dict) -> str | None:
    for key, names in value.items():
        if key.endswith("labels") and isinstance(names, list) and names:
            return str(names[0]).strip()
    return None


def stated_names(task: dict) -> tuple[str, ...]:
    """Paths of the picture: as uploaded, then without what Label Studio puts before the name."""
    values = [value for value in task.get("data", task).values() if isinstance(value, str)]
    paths = []
    for value in values:
        url = urlsplit(value)
        # /data/local-files/?d=folder/picture.png
        path = parse_qs(url.query).get("d", [url.path])[0]
        paths += [path] * (PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise ValueError(f"no picture in task {task.get('id')}")
    folder, _, name = paths[0].replace("\\", "/").rpartition("/")
    return paths[0], f"{folder}/{UPLOADED.sub('', name)}"


def read_shape(value: dict, size: Size) -> Segmentation | Painter | None:
    """None for regions without an area."""
    height, width = size
    if "rle" in value:
        return partial(decode_brush, value["rle"])
    if "points" in value:
        scale = np.array([width, height]) / 100
        return [(np.array(value["points"], np.float64) * scale).ravel().tolist()]
    if not {"radiusX", "height"} & value.keys():
        return None
    x, y = value["x"] * width / 100, value["y"] * height / 100
    if "radiusX" in value:
        radii = value["radiusX"] * width / 100, value["radiusY"] * height / 100
        return turned(ellipse(x, y, *radii), value.get("rotation", 0), x, y)
    right, bottom = x + value["width"] * width / 100, y + value["height"] * height / 100
    # Rectangles turn about their first corner.
    return turned(box(x, y, right, bottom), value.get("rotation", 0), x, y)


def decode_brush(data: list[int], size: Size) -> tuple[np.ndarray, Box]:
    """The alpha of a brush. Runs as thi.ng's rle-pack writes them, of the RGBA values of all pixels.

    32 bits: number of values; 5: bits of a value; four times 4: bits of a run's length. Then runs: 1 bit
    (whether one value repeats), 2 bits (which width its length has), the length, the value or the values.
    """
    bits = np.unpackbits(np.array(data, np.uint8))
    place = 0

    def read(count: int) -> int:
        nonlocal place
        if place + count > bits.size:
            raise ValueError("runs that end too early")
        place += count
        return int.from_bytes(np.packbits(bits[place - count : place]).tobytes(), "big") >> -count % 8

    total, word = read(32), read(5) + 1
    if total != size[0] * size[1] * 4 or word != 8:
        raise ValueError(f"runs of {total} values for {size[0]}×{size[1]} pixels of RGBA")
    lengths = [read(4) + 1 for _ in range(4)]
    values, filled = np.zeros(total, np.uint8), 0
    while filled < total:
        repeats, end = read(1), filled
        end += 1 + read(lengths[read(2)])
        if end > total:
            raise ValueError("runs beyond the picture")
        if repeats:
            values[filled:end] = read(word)
        else:
            count = (end - filled) * word
            values[filled:end] = np.packbits(bits[place : place + count])
            place += count
        filled = end
    return values.reshape(*size, 4)[..., 3] >= OPAQUE, (0, size[0], 0, size[1])
