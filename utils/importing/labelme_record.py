"""labelme_record.json of a VOC folder: which labelme file made which pair, and what was written.

What still holds what a conversion wrote may be replaced by a later one. Everything else is somebody's work.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Literal, TypedDict

from utils.core.console import UserError
from utils.core.files import read_record, remove, write_lines
from utils.labelme.painting import LINE_WIDTH
from utils.voc.folder import VocFolder

RECORD_NAME = "labelme_record.json"
Unlabelled = Literal["background", "ignore"]
KEPT_DIGESTS = 4  # per file: an interrupted conversion may have left an older one in place


class Painting(TypedDict):
    """What pixels become that no shape covers; the width of lines in pixels."""

    unlabelled: Unlabelled
    line_width: int


@dataclass
class LabelmeRecord:
    """classes: in the order of the masks as converted, which voc2unet.py may have mapped to others since.

    from_labels: those of them that labels of shapes brought in. merged: label → class. sources: name of a
    pair → its labelme file. painted: folder of labelme files → how they are painted. written: file → digests
    of its contents, newest first. Paths are relative to the VOC folder.
    """

    classes: list[str] = field(default_factory=list)
    from_labels: list[str] = field(default_factory=list)
    merged: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    painted: dict[str, Painting] = field(default_factory=dict)
    written: dict[str, list[str]] = field(default_factory=dict)

    def wrote(self, folder: VocFolder, path: Path, target: Path | None = None) -> bool:
        """Whether a file holds what was written there, or at `target`, of which it is a copy."""
        digests = self.written.get(_key(folder, target or path))
        return bool(digests) and path.is_file() and digest_of(path) in digests

    def add(self, folder: VocFolder, target: Path, content: Path) -> None:
        """Note that `target` has, or is about to get, the content of a file."""
        key, digest = _key(folder, target), digest_of(content)
        self.written[key] = [digest, *(one for one in self.written.get(key, []) if one != digest)]
        del self.written[key][KEPT_DIGESTS:]

    def settle_painting(
        self, folder: VocFolder, source: Path, unlabelled: Unlabelled | None, line_width: int | None
    ) -> Painting:
        """How the files in the folder `source` are painted from now on. None: as they were before."""
        usual: Painting = {"unlabelled": "background", "line_width": LINE_WIDTH}
        known = self.painted.get(relative(folder.root, source), usual)
        wanted: Painting = {
            "unlabelled": unlabelled or known["unlabelled"],
            "line_width": line_width or known["line_width"],
        }
        if wanted != known:
            self.painted[relative(folder.root, source)] = wanted
        return wanted

    def gone(self, folder: VocFolder, source: Path, present: Iterable[str]) -> list[str]:
        """Names of pairs that were made from files in the folder `source` and are not in `present`."""
        place, present = PurePosixPath(relative(folder.root, source)), set(present)
        made = [name for name, file in self.sources.items() if PurePosixPath(file).parent == place]
        return [name for name in made if name not in present]

    def files_of(self, folder: VocFolder, names: Sequence[str]) -> list[Path]:
        """Existing files of these pairs: those that were written, their masks, objects and kept originals."""
        wanted = set(names)
        paths = [folder.root / key for key in self.written if PurePosixPath(key).stem in wanted]
        for name in names:
            paths += [folder.mask_path(name), folder.objects_path(name), folder.originals_dir / f"{name}.png"]
        return [path for path in dict.fromkeys(paths) if path.is_file()]

    def forget(self, folder: VocFolder, names: Sequence[str]) -> None:
        wanted = set(names)
        self.sources = {name: file for name, file in self.sources.items() if name not in wanted}
        self.written = {k: v for k, v in self.written.items() if PurePosixPath(k).stem not in wanted}

    def write(self, folder: VocFolder) -> None:
        path = folder.root / RECORD_NAME
        if asdict(self) != read_record(path):
            write_lines(path, [json.dumps(asdict(self), ensure_ascii=False, indent=1)])


def read_labelme_record(folder: VocFolder) -> LabelmeRecord:
    """Empty without the file. Raises UserError for a damaged one."""
    path = folder.root / RECORD_NAME
    try:
        return LabelmeRecord(**read_record(path))
    except TypeError:
        found, expected = "other fields than json_to_dataset.py writes", "its record of conversions"
        raise UserError("record-damaged", path, found, expected, "move the file away") from None


def relative(root: Path, path: Path) -> str:
    """`path` as seen from `root`, so that a project may move; absolute where the disks differ (Windows)."""
    try:
        return Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()
    except ValueError:
        return path.resolve().as_posix()


def digest_of(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _key(folder: VocFolder, path: Path) -> str:
    return path.relative_to(folder.root).as_posix()


def read_splits(folder: VocFolder) -> dict[Path, list[str]]:
    """Split file → its names."""
    paths = sorted(folder.splits_dir.glob("*.txt"))
    return {path: folder.read_list(path) for path in paths}


def shorten_splits(splits: Mapping[Path, Sequence[str]], gone: Sequence[str]) -> None:
    """Take names out of the split files. Those that are left empty are removed."""
    for path, names in splits.items():
        if left := [name for name in names if name not in set(gone)]:
            write_lines(path, left)
        else:
            remove(path)
