"""The VOC folder: where pictures, masks, splits and class names are."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from utils.core.console import UserError, quoted, warn
from utils.core.files import read_lines, write_lines
from utils.images.reading import IMAGE_SUFFIXES, read_mask

SPLITS = ("train", "val", "trainval", "test")


class VocFolder:
    """A folder in the layout of PASCAL VOC. Nothing is read before it is asked for; nothing is created."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.images_dir = self.root / "JPEGImages"
        self.masks_dir = self.root / "SegmentationClass"
        self.objects_dir = self.root / "SegmentationObject"
        self.splits_dir = self.root / "ImageSets" / "Segmentation"
        self.class_names_path = self.root / "class_names.txt"

    @cached_property
    def images(self) -> dict[str, Path]:
        """Name without ending → picture. Raises UserError if the folder is missing or two pictures share a name."""
        found: dict[str, Path] = {}
        for path in list_images(self.images_dir):
            if path.stem in found:
                two = f"two pictures of one name: {found[path.stem].name} and {path.name}"
                reason = "one picture a name, because a mask belongs to a name"
                raise UserError("images", path, two, reason, "rename or remove one of them")
            found[path.stem] = path
        return found

    def images_if_any(self) -> dict[str, Path]:
        """`images`, or none where the folder is missing."""
        return self.images if self.images_dir.is_dir() else {}

    def image_path(self, name: str) -> Path:
        """The picture of a name. Raises UserError if there is none."""
        if name not in self.images:
            remedy = f"add the picture, or draw the split anew: {self.doctor('--overwrite')}"
            found, expected = (
                "no picture of this name with any known ending",
                "a picture for every name in the split files",
            )
            raise UserError("image-path", self.images_dir / name, found, expected, remedy)
        return self.images[name]

    def doctor(self, flags: str = "") -> str:
        """The command that checks this folder, mends its masks and draws its split."""
        return f"python voc2unet.py --voc-root {quoted(self.root)} {flags}".rstrip()

    def mask_path(self, name: str) -> Path:
        return self.masks_dir / f"{name}.png"

    def objects_path(self, name: str) -> Path:
        return self.objects_dir / f"{name}.png"

    def read_objects(self, name: str, size: tuple[int, int]) -> np.ndarray | None:
        """SegmentationObject/NAME.png, (H, W) uint8, a number for each object (0: none), or None where there is none.

        size: (height, width) of the picture. Raises UserError if it is another one.
        """
        path = self.objects_path(name)
        if not path.is_file():
            return None
        objects = read_mask(path)
        check_size(path, objects, name, size)
        return objects

    def read_split(self, split: str) -> list[str]:
        """Names listed in ImageSets/Segmentation/SPLIT.txt; any line ending, blanks around names and empty lines pass."""
        path = self.splits_dir / f"{split}.txt"
        others = sorted(other.stem for other in self.splits_dir.glob("*.txt"))
        if split not in SPLITS and not path.is_file():
            folds = f", or write folds: {self.doctor('--folds 5')}"
            remedy = "check the spelling" + folds * split.startswith("fold")
            raise UserError(
                "read-split",
                path,
                "no such split",
                f"one of: {', '.join(others) or 'none is there yet'}",
                remedy,
            )
        remedy = f"write the split files: {self._split_command(split)}"
        names = [line.strip() for line in read_lines(path, remedy) if line.strip()]
        if not names:
            raise UserError(
                "read-split", path, "no names in this split file", "one picture name a line", remedy
            )
        return names

    def _split_command(self, split: str) -> str:
        # voc2unet.py keeps split files that are there.
        overwrite = "--overwrite" if any(self.splits_dir.glob("*.txt")) else ""
        return self.doctor(f"--test-percent 10 {overwrite}" if split == "test" else overwrite)

    def read_split_if_any(self, split: str) -> list[str]:
        """Names of a split; none where its file is missing or empty."""
        path = self.splits_dir / f"{split}.txt"
        return self.read_split(split) if path.is_file() and any(map(str.strip, read_lines(path, ""))) else []

    def write_split(self, split: str, names: Sequence[str]) -> None:
        write_lines(self.splits_dir / f"{split}.txt", names)

    def read_class_names(self) -> list[str] | None:
        """Names from class_names.txt, background first, or None where there is no such file."""
        if not self.class_names_path.is_file():
            return None
        names = [line.strip() for line in read_lines(self.class_names_path, "")]
        while names and not names[-1]:
            names.pop()
        if "" in names:
            found = f"an empty line {names.index('') + 1} between names"
            remedy = "fill it in: the next names would move up"
            raise UserError("read-class-names", self.class_names_path, found, "a name on every line", remedy)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(
                "read-class-names",
                self.class_names_path,
                f"the name {twice} twice",
                "another name for each class",
                "rename one",
            )
        if len(names) < 2:
            expected = "at least two lines: the background first, then the classes"
            remedy = "complete the file, or remove it to have the classes called class_0, class_1, …"
            raise UserError(
                "read-class-names", self.class_names_path, f"{len(names)} class name(s)", expected, remedy
            )
        return names


def list_images(folder: Path) -> list[Path]:
    """Pictures directly in a folder, by name. Raises UserError if the folder is missing."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise UserError("list-images", folder, found, "a folder of pictures", "check the path")
    return sorted(path for path in folder.iterdir() if is_image(path))


def walk_images(folder: Path, output: Path) -> list[Path]:
    """Pictures in a folder and below it, sorted; hidden folders and `output` are left out. Raises UserError."""
    found = list_images(folder)
    for below in sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()):
        # Windows keeps deleted files in a folder whose name begins with $.
        if not below.name.startswith((".", "$")) and below.resolve() != output.resolve():
            try:
                found += walk_images(below, output)
            except PermissionError:
                warn(f"{below} may not be read: left out")
    return found


def is_image(path: Path) -> bool:
    """Known picture ending, no hidden file (such as macOS's `._x.png`, which is none)."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def check_size(subject: object, mask: np.ndarray, picture: object, size: tuple[int, int]) -> None:
    """Raises UserError where a mask (H, W[, 3]) is not of the `size` (height, width) of its picture."""
    if mask.shape[:2] != size:
        found = f"a mask of {mask.shape[0]}×{mask.shape[1]} (height×width)"
        remedy = "export the mask in the picture's size; class indices must not be interpolated"
        raise UserError(
            "mask-size", subject, found, f"the size of its picture {picture}: {size[0]}×{size[1]}", remedy
        )
