"""Which pictures of the folder are free, which are proposed and untouched, and which a person has saved."""

import time
from dataclasses import dataclass
from pathlib import Path

from utils.annotating.state import State, Workplace
from utils.core.console import UserError
from utils.importing.labelme_record import digest_of
from utils.voc.folder import files_by_name, list_images

QUIET = 2.0  # seconds without a change, after which a file counts as saved


@dataclass(frozen=True)
class Look:
    """The folder at one time. pictures: name without ending → file. saved: name → digest, oldest first."""

    pictures: dict[str, Path]
    saved: dict[str, str]
    untouched: list[str]

    @property
    def free(self) -> list[str]:
        """Without a labelme file."""
        return [name for name in self.pictures if name not in self.saved and name not in self.untouched]


class Watcher:
    """Looks again and again. Files that have not changed since are not read again."""

    def __init__(self, place: Workplace):
        self.place = place
        self.known: dict[Path, tuple[tuple[int, int], str]] = {}

    def look(self, state: State, quiet: float = 0.0) -> Look:
        """What a file holds that differs from our proposal was saved by a person.

        quiet: seconds that a file must not have changed for, because labelme may be writing it; until then it
        counts as untouched. Raises UserError for a folder without pictures, or two of one name.
        """
        pictures, faults = files_by_name(list_images(self.place.root), "picture")
        if faults:
            raise faults[0]
        if not pictures:
            found, remedy = "no picture in this folder", "pass the folder of your pictures with --input"
            raise UserError("folder-without-pictures", self.place.root, found, "pictures", remedy)
        saved, untouched = {}, []
        for name in pictures:
            path = self.place.labelme(name)
            try:
                stat = path.stat()
                digest = self._digest(path, (stat.st_mtime_ns, stat.st_size))
            except FileNotFoundError:
                continue
            ours = name in state.proposals and state.proposals[name].digest == digest
            if ours or time.time() - stat.st_mtime < quiet:
                untouched.append(name)
            else:
                saved[name] = (stat.st_mtime_ns, digest)
        ordered = sorted(saved, key=lambda name: (saved[name][0], name))
        return Look(pictures, {name: saved[name][1] for name in ordered}, untouched)

    def _digest(self, path: Path, stamp: tuple[int, int]) -> str:
        if path not in self.known or self.known[path][0] != stamp:
            self.known[path] = stamp, digest_of(path)
        return self.known[path][1]
