"""What of a VOC folder a conversion of labelme files adds, replaces, leaves and takes away."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.core.console import UserError
from utils.core.files import read_record, remove, replacing, write_lines
from utils.images.arrays import digest
from utils.images.masks import write_objects
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image
from utils.importing.labelme_classes import Classes
from utils.importing.labelme_record import LabelmeRecord, read_splits, relative, shorten_splits
from utils.importing.transfer import Staging, has_pixels
from utils.labelme.annotation import Annotation, Shape
from utils.voc.aside import set_aside
from utils.voc.folder import VocFolder


@dataclass(frozen=True)
class Drawing:
    """What is kept of a labelme file after its picture has been decoded. size: (height, width)."""

    path: Path
    size: tuple[int, int]
    shapes: tuple[Shape, ...]

    @property
    def name(self) -> str:
        return output_name(self.path)


@dataclass
class Update:
    """Files to add, to replace and to take away.

    command: converts again. outcomes: pair → added, updated or unchanged. sources: pair → its labelme file.
    gone: pairs whose labelme files are no longer there. repaired: voc2unet.py mapped masks of these pairs.
    aside: files to keep a copy of. removed: files to take away. edited: files that were changed since by
    other means, and stay.
    differing: faults, files of other people for which there is new content.
    """

    folder: VocFolder
    record: LabelmeRecord
    staging: Staging
    overwrite: bool
    command: str
    outcomes: dict[str, str] = field(default_factory=dict)
    sources: dict[str, Path] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    repaired: bool = False
    aside: list[Path] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    edited: list[Path] = field(default_factory=list)
    differing: list[UserError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mask_map = read_record(self.folder.root / "mask_map.json")

    def kept_original(self, name: str) -> Path:
        """The mask as it was before voc2unet.py mapped it, if it did."""
        return self.folder.originals_dir / f"{name}.png"

    def repair_command(self) -> str | None:
        """The command that mapped the masks before, if new masks need it too."""
        changed = any(outcome != "unchanged" for outcome in self.outcomes.values())
        return self.mask_map.get("command") if self.repaired and changed else None

    def add_picture(self, annotation: Annotation) -> None:
        name, folder = output_name(annotation.path), self.folder
        existing = folder.images_if_any().get(name)
        self.sources[name] = annotation.path
        self.outcomes[name] = "added" if existing is None else "unchanged"
        if existing is not None and has_picture(existing, annotation):
            return
        target = folder.images_dir / f"{name}{annotation.suffix}"
        waiting = self.staging.place(target)
        if annotation.picture is None:
            write_image(waiting, annotation.image)
        else:
            with replacing(waiting) as temporary:
                temporary.write_bytes(annotation.picture)
        if existing is not None and self._may_replace(existing, waiting, annotation.path):
            # Another picture may be another object under an old name: nothing of the old pair is lost.
            self.aside += [existing, folder.mask_path(name), folder.objects_path(name)]
            self.removed += [existing] if existing != target else []
            self.outcomes[name] = "updated"

    def add_mask(self, drawing: Drawing, target: Path, mask: np.ndarray) -> None:
        """A class mask or object mask, unless it is there already, or was before voc2unet.py mapped it."""
        name, kept = drawing.name, self.kept_original(drawing.name)
        repaired = target == self.folder.mask_path(name) and kept.is_file()
        if target.is_file() and has_pixels(target, mask, is_mask=True):
            self.record.add(self.folder, target, target)
            return
        if repaired and has_pixels(kept, mask, is_mask=True):
            return
        waiting = self.staging.place(target)
        write_objects(waiting, mask)
        if not target.is_file():
            new = "updated" if target == self.folder.objects_path(name) else "added"
            self.outcomes[name] = new if self.outcomes[name] == "unchanged" else self.outcomes[name]
        elif self._may_replace(target, waiting, drawing.path, kept if repaired else None):
            self.removed += [kept] if repaired else []
            self.outcomes[name] = "updated" if self.outcomes[name] != "added" else "added"

    def _may_replace(self, path: Path, waiting: Path, source: Path, kept: Path | None = None) -> bool:
        """Whether nobody else's work is in a file, or --overwrite was chosen. If not, the file stays.

        That is a fault where the waiting file is new. Otherwise only the file in place has changed.
        """
        other = self._other_source(source)
        if not other and (self.record.wrote(self.folder, path) or (kept and self._is_repaired(path, kept))):
            return True
        if self.overwrite:
            self.aside += [path] + [kept] * (kept is not None)
            return True
        target = self.staging.targets.pop(waiting)
        if self.record.wrote(self.folder, waiting, target) and is_readable(path):
            self.edited.append(path)
            return False
        found = f"what {other} made" if other else "other content, which no earlier conversion wrote"
        expected = f"no file, or what comes from {source}"
        remedy = f"{self.command} --overwrite   (keeps a copy in set_aside), or choose another --voc-root"
        self.differing.append(UserError("content-differs", path, found, expected, remedy))
        return False

    def _other_source(self, source: Path) -> Path | None:
        """The labelme file of another folder that made the pair of this name, if it is still there."""
        earlier = self.record.sources.get(output_name(source))
        other = earlier and earlier != relative(self.folder.root, source) and self.folder.root / earlier
        return other.resolve() if other and other.is_file() else None

    def _is_repaired(self, path: Path, kept: Path) -> bool:
        """Whether voc2unet.py made this mask of one that a conversion wrote."""
        known = self.mask_map.get("masks", {}).get(path.stem, {}).get("written", [])
        with suppress(UserError):
            return self.record.wrote(self.folder, kept, path) and digest(read_mask(path)) in known
        return False

    def finish(self, classes: Classes) -> Path | None:
        """Bring everything in place. Returns where copies of what was replaced are.

        After an interruption at any instant, the same command completes the work.
        """
        folder, record, gone = self.folder, self.record, self.gone
        splits = {path: lines for path, lines in read_splits(folder).items() if {*gone} & {*lines}}
        gone_files = record.files_of(folder, gone)
        aside = set_aside(folder, [*self.aside, *gone_files, *splits])
        # Class names before masks, which would have no meaning without them if the run were interrupted.
        if classes.write:
            write_lines(folder.class_names_path, classes.names)
        record.sources |= {name: relative(folder.root, path) for name, path in self.sources.items()}
        for waiting, target in self.staging.targets.items():
            record.add(folder, target, waiting)
        record.write(folder)
        shorten_splits(splits, gone)
        for path in dict.fromkeys([*self.removed, *gone_files]):
            remove(path)
        self.staging.move()
        record.forget(folder, gone)
        record.write(folder)
        return aside


def is_readable(path: Path) -> bool:
    try:
        return read_image(path) is not None
    except UserError:
        return False


def has_picture(path: Path, annotation: Annotation) -> bool:
    with suppress(UserError, OSError):
        if path.read_bytes() == annotation.picture:
            return True
        if path.parent.resolve() == annotation.path.parent.resolve():
            # labelme may have encoded anew what it embedded, so the last bits of one in place may differ.
            return read_image(path).shape[:2] == annotation.image.shape[:2]
        return has_pixels(path, annotation.image, is_mask=False)
    return False


def output_name(path: Path) -> str:
    """The name of a labelme file's picture and mask: without blanks around, as split files need it."""
    return path.stem.strip()
