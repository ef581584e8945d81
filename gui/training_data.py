"""What a folder of training data is, and what the check found in it. No screen is needed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.core.files import read_record
from utils.voc.folder import VocFolder

Kind = Literal["voc", "labelme", "other", "missing"]
CONVERTERS = {"labelme": "json_to_dataset.py", "other": "import_dataset.py"}


@dataclass(frozen=True)
class Source:
    """A chosen folder. pictures: of a VOC folder; annotations: files of labelme in another folder."""

    folder: Path
    kind: Kind
    pictures: int = 0
    annotations: int = 0

    @property
    def voc_root(self) -> Path:
        """The VOC folder to train on: the folder itself, or one beside it that is filled from it."""
        return self.folder if self.kind == "voc" else self.folder.with_name(f"{self.folder.name}_voc")

    def steps(self) -> list[tuple[str, list[object]]]:
        """Scripts, with their arguments, that make the folder ready to train on."""
        check = ("voc2unet.py", ["--voc-root", self.voc_root])
        if self.kind == "voc":
            return [check]
        arguments = ["--input", self.folder, "--voc-root", self.voc_root]
        return [(CONVERTERS[self.kind], arguments), check]


@dataclass(frozen=True)
class ClassRow:
    """A class in the masks. share: of all pixels, 0 … 1; objects: connected parts; size: their median."""

    index: int
    name: str
    share: float
    pictures: int
    objects: int
    size: float


@dataclass(frozen=True)
class Report:
    """What voc2unet.py found. splits: number of pictures by split; needed: flags that training needs."""

    root: Path
    pictures: int
    classes: tuple[ClassRow, ...]
    splits: dict[str, int]
    needed: str
    sheets: tuple[Path, ...]


def inspect(folder: Path) -> Source:
    """What kind of data a folder holds, by the names in it."""
    if not folder.is_dir():
        return Source(folder, "missing")
    voc = VocFolder(folder)
    if voc.images_dir.is_dir() or voc.masks_dir.is_dir():
        return Source(folder, "voc", len(voc.images_if_any()))
    annotations = sum(path.suffix.lower() == ".json" for path in folder.iterdir())
    return Source(folder, "labelme" if annotations else "other", annotations=annotations)


def read_report(root: Path) -> Report | None:
    """What an earlier check left in the folder; None if there was none. Raises UserError."""
    record = read_record(root / "dataset.json")
    folder = VocFolder(root)
    splits = {split: len(folder.read_split_if_any(split)) for split in ("train", "val", "test")}
    if "classes" not in record or not splits["train"] or not splits["val"]:
        return None
    classes = [
        ClassRow(
            one["index"], one["name"], one["share"], one["pictures"], one["objects"], one["object_median"]
        )
        for one in record["classes"]
    ]
    sheets = tuple(path for name in ("contact_sheet.png", "dataset.png") if (path := root / name).is_file())
    needed = " ".join(flags for one in record.get("proposals", ()) if (flags := one.get("needed")))
    return Report(root, len(record["pairs"]), tuple(classes), splits, needed, sheets)
