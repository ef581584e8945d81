"""Class names as other programs write them beside their data."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from utils.core.console import UserError
from utils.core.files import read_lines
from utils.images.palette import IGNORE_INDEX, voc_palette
from utils.voc.colors import ColorTable, load_table

BACKGROUND_NAMES = ("background", "_background_", "__background__")
LABELMAP = "labelmap.txt"
REMEDY = "export it again, or write class_names.txt by hand"


def read_labelmap(path: Path) -> ColorTable:
    """CVAT's labelmap.txt, lines of `name:r,g,b:parts:actions`: background first. Raises UserError.

    A background that is not black counts as a class, as in CVAT, where black is what nothing is drawn on.
    """
    colors, names = [], []
    for line in _content(path):
        name, _, rest = line.partition(":")
        numbers = rest.split(":")[0].split(",")
        if rest.startswith(":"):
            # datumaro leaves colors out where they are those of VOC.
            numbers = [str(one) for one in voc_palette(len(names) + 1)[-1]]
        if len(numbers) != 3 or not all(one.strip().isdecimal() and int(one) < 256 for one in numbers):
            raise UserError("class-file", path, repr(line), "name:r,g,b:parts:actions", REMEDY)
        names.append(name.strip())
        colors.append([int(one) for one in numbers])
    ordered = [name for name in names if name.lower() in BACKGROUND_NAMES][:1] or ["background"]
    ordered += [name for name in names if name.lower() not in (*BACKGROUND_NAMES, "ignored")]
    indices = [IGNORE_INDEX if name.lower() == "ignored" else ordered.index(name) for name in names]
    if [0, 0, 0] not in colors:
        colors, indices = [[0, 0, 0], *colors], [0, *indices]
    return ColorTable(str(path), ordered, np.array(colors, np.uint8), np.array(indices, np.uint8))


def _read_csv(path: Path) -> dict[int, str]:
    """Roboflow's _classes.csv: a header, then lines of `pixel value, name`."""
    rows = [line.split(",", 1) for line in _content(path)]
    return {int(value): name for value, name in rows if value.strip().isdecimal()}


def _read_json(path: Path) -> dict[int, str]:
    """nnU-Net's dataset.json: `labels`, {name: number}, in its first version {number: name}.

    Regions have several numbers: {"whole": [1, 2], "core": [2]}. A number is called after the smallest.
    """
    labels = json.loads("\n".join(_content(path)))["labels"]
    names = {int(key): value for key, value in labels.items() if key.isdecimal()}
    if not names:
        groups = [(value if isinstance(value, list) else [value], key) for key, value in labels.items()]
        for numbers, name in sorted(groups, key=lambda group: len(group[0])):
            for number in numbers:
                names.setdefault(number, name)
    return names


def _read_yaml(path: Path) -> dict[int, str]:
    """`names` of Ultralytics' data.yaml, a list or {number: name}."""
    names = yaml.safe_load("\n".join(_content(path)))["names"]
    return (
        dict(enumerate(names)) if isinstance(names, list) else {int(key): name for key, name in names.items()}
    )


def _read_lines(path: Path) -> dict[int, str]:
    return dict(enumerate(_content(path)))


def _read_ade(path: Path) -> dict[int, str]:
    """objectInfo150.txt of ADE20K: a table with tabs, the number first and the name last."""
    rows = [line.split("\t") for line in _content(path)]
    return {
        0: "background",
        **{int(row[0]): row[-1].split(",")[0] for row in rows if row[0].strip().isdecimal()},
    }


def _read_labelmap(path: Path) -> dict[int, str]:
    return dict(enumerate(read_labelmap(path).class_names))


def _content(path: Path) -> list[str]:
    return [line for line in read_lines(path, REMEDY) if line.strip() and not line.startswith("#")]


# File name → its reader. The numbers are those of the masks, but for yaml, classes.txt and obj.names, which
# number the classes without a background.
READERS: Mapping[str, Callable[[Path], dict[int, str]]] = {
    "labelmap.txt": _read_labelmap,
    "_classes.csv": _read_csv,
    "dataset.json": _read_json,
    "objectinfo150.txt": _read_ade,
    "data.yaml": _read_yaml,
    "data.yml": _read_yaml,
    "dataset.yaml": _read_yaml,
    "classes.txt": _read_lines,
    "obj.names": _read_lines,
}
OF_MASKS = ("labelmap.txt", "_classes.csv", "dataset.json", "objectinfo150.txt", "data.yaml")


def read_class_file(path: Path) -> list[str]:
    """Names by their number, class_N where one has none. Raises UserError for a file of another form."""
    try:
        found = {number: str(name).strip() for number, name in READERS[path.name.lower()](path).items()}
        if found and min(found) >= 0 and max(found) < IGNORE_INDEX and all(found.values()):
            return [found.get(number, f"class_{number}") for number in range(max(found) + 1)]
        reason = "no names" if not found else f"numbers {min(found)} … {max(found)}"
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        reason = f"another form ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    raise UserError("class-file", path, reason, f"names of classes as {path.name} holds them", REMEDY)


def read_background(path: Path) -> str | None:
    """The name of class 0, which export_dataset.py adds to data.yaml."""
    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    name = yaml.safe_load("\n".join(_content(path))).get("background") if is_yaml else None
    return name and str(name)


def read_mask_classes(path: Path) -> list[str]:
    """Names by the value in masks, background first. Raises UserError for a file of another form."""
    names = read_class_file(path)
    # Ultralytics numbers the classes without a background.
    without = path.suffix.lower() in (".yaml", ".yml") and names[0].lower() not in BACKGROUND_NAMES
    return ["background", *names] if without else names


def load_color_table(choice: str) -> ColorTable:
    """What `load_table` knows, or a labelmap.txt of CVAT. Raises UserError."""
    is_labelmap = Path(choice).name.lower() == LABELMAP
    return read_labelmap(Path(choice)) if is_labelmap else load_table(choice)


def find_class_file(folders: Sequence[Path], names: Sequence[str] = OF_MASKS) -> Path | None:
    """The first file directly in one of the folders that holds class names, in the order of `names`."""
    for folder in folders:
        beside = {path.name.lower(): path for path in folder.iterdir()} if folder.is_dir() else {}
        for name in names:
            if name in beside and not (name == "dataset.json" and not _is_nnunet(beside[name])):
                return beside[name]
    return None


def _is_nnunet(path: Path) -> bool:
    """Whether a dataset.json is nnU-Net's; voc2unet.py and others write one too."""
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8-sig"))["labels"], dict)
    except (ValueError, KeyError, TypeError, OSError):
        return False
