"""Files beside pictures or masks that are not read: other types, and pictures in subfolders."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from utils.core.console import counted
from utils.images.foreign_types import foreign_type
from utils.voc.folder import is_image


def describe_strangers(paths: Iterable[Path]) -> list[str]:
    """Lines such as `not read: 3 DICOM files, such as a.dcm (import them: …)`, one per type."""
    groups = defaultdict(list)
    for path in paths:
        if known := foreign_type(path):
            groups[known].append(path)
    return [
        f"not read: {counted(len(group), f'{kind} file')}, such as {group[0].name} ({way_out})"
        for (kind, way_out), group in groups.items()
    ]


def pictures_below(folder: Path) -> list[Path]:
    """Pictures in subfolders of a folder, sorted."""
    return sorted(path for path in folder.glob("*/**/*") if is_image(path))
