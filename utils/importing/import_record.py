"""import_record.json of a VOC folder: what imports wrote there, so that corrected annotations can follow.

What still holds what an import wrote may be replaced by a later one from the same folder. Everything else is
somebody's work, or another data set's.
"""

import json
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from utils.core.console import UserError
from utils.core.files import read_record, write_lines
from utils.images.arrays import digest
from utils.images.reading import read_mask
from utils.importing.labelme_record import digest_of, relative
from utils.voc.folder import VocFolder


class ImportRecord:
    """written: file → digest of its content, folder and name of its source. Paths are from the VOC folder.

    Earlier versions did not note the name.
    """

    def __init__(self, folder: VocFolder):
        self.root, self.path = folder.root, folder.root / "import_record.json"
        self.written: dict[str, dict[str, str]] = read_record(self.path)
        self.mask_map = read_record(folder.root / "mask_map.json").get("masks", {})

    def may_replace(self, target: Path, source: Path) -> bool:
        """Whether an import from the source's folder wrote the target, or what voc2unet.py repaired to it."""
        known = self.written.get(self._key(target), {})
        if known.get("from") != relative(self.root, source.parent):
            return False
        kept = original_of(target)
        if not kept.is_file():
            return target.is_file() and known["digest"] == digest_of(target)
        # voc2unet.py writes PNG, whatever the ending of the original.
        repaired = target.with_suffix(".png")
        with suppress(UserError):
            digests = self.mask_map.get(target.stem, {}).get("written", [])
            is_ours = not repaired.exists() or digest(read_mask(repaired)) in digests
            return is_ours and known["digest"] == digest_of(kept)
        return False

    def adopt(self, target: Path, source: Path) -> None:
        """Note a file that holds what an import would write, or held it before its repair."""
        known = self.written.get(self._key(target), {})
        if not known or ("file" not in known and known["from"] == relative(self.root, source.parent)):
            self.add(target, source)

    def add(self, target: Path, source: Path) -> None:
        kept = original_of(target)
        path = kept if kept.is_file() else target
        if path.is_file():
            place = relative(self.root, source.parent)
            self.written[self._key(target)] = {"digest": digest_of(path), "from": place, "file": source.name}

    def gone(self, pictures: Collection[Path], masks: Collection[Path], names: Collection[str]) -> list[str]:
        """Pairs of the folder that their source has lost: its files are gone, or no longer hold them.

        pictures, masks: sources of an import, which made the pairs `names`. Others do not count.
        """
        read = {path.resolve() for path in (*pictures, *masks)}
        tops = [
            os.path.commonpath([path.parent.resolve() for path in paths])
            for paths in (pictures, masks)
            if paths
        ]
        there = {path.stem for path in (self.root / "JPEGImages").glob("*")} - {*names}
        lost = {}
        for key, known in self.written.items():
            name, source = Path(key).stem, (self.root / known["from"] / known.get("file", "")).resolve()
            ours = name in there and any(source.is_relative_to(top) for top in tops)
            if ours and (source in read or not source.exists()):
                lost[name] = None
        return [*lost]

    def write(self) -> None:
        if self.written != read_record(self.path):
            write_lines(self.path, [json.dumps(self.written, ensure_ascii=False, indent=1)])

    def _key(self, target: Path) -> str:
        return target.relative_to(self.root).as_posix()


def original_of(target: Path) -> Path:
    """Where voc2unet.py keeps a mask that it has repaired. Pictures have no such place."""
    return target.parent.with_name(f"{target.parent.name}.orig") / target.name
