"""Files beside pictures or masks that are not read: other types, and pictures in subfolders."""

import os
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from utils.core.console import counted
from utils.images.file_types import bare_stem, foreign_type
from utils.voc.folder import is_image


def describe_strangers(paths: Iterable[Path], importing: bool = False) -> list[str]:
    """Lines such as `not read: 3 DICOM files, such as a.dcm (import them: …)`, one per type.

    Those that somebody converted are not told. importing: said by import_dataset.py, whose own command would
    end here again.
    """
    groups = defaultdict(list)
    for path in without_converted(filter(foreign_type, paths)):
        groups[foreign_type(path)[0]].append(path)
    lines = []
    for group in groups.values():
        kind, way_out = foreign_type(group[0], Path(os.path.commonpath([path.parent for path in group])))
        if importing and "import_dataset.py" in way_out:
            way_out = f"{way_out.partition('import them: ')[0]}import them from a folder of their own"
        lines.append(f"not read: {counted(len(group), f'{kind} file')}, such as {group[0].name} ({way_out})")
    return lines


def without_converted(paths: Iterable[Path]) -> list[Path]:
    """Files of types that are not read, but for those beside a picture of their name."""
    pictures = cache(lambda place: {path.stem for path in place.glob("*") if is_image(path)})
    return [path for path in paths if bare_stem(path) not in pictures(path.parent)]


def is_stranger(path: Path) -> bool:
    """Whether a file, not hidden, has the ending of a type that is not read."""
    return foreign_type(path) is not None and not path.name.startswith(".") and path.is_file()


def pictures_below(folder: Path) -> list[Path]:
    """Pictures in subfolders of a folder, sorted."""
    return sorted(path for path in folder.glob("*/**/*") if is_image(path))
