"""Copies of files that are about to be replaced or removed."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from utils.core.files import replacing
from utils.voc.folder import VocFolder


def set_aside(folder: VocFolder, paths: Iterable[Path]) -> Path | None:
    """Copy files to set_aside/1, /2, … of the VOC folder, the class names with them. None for no file."""
    existing = [path for path in paths if path.is_file()]
    if not existing:
        return None
    top = folder.root / "set_aside"
    numbers = [int(path.name) for path in top.glob("*") if path.name.isdecimal()]
    place = top / str(max(numbers, default=0) + 1)
    if folder.class_names_path.is_file():
        existing.append(folder.class_names_path)
    for path in dict.fromkeys(existing):
        with replacing(place / path.relative_to(folder.root)) as temporary:
            shutil.copyfile(path, temporary)
    return place
