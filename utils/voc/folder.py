"""The VOC folder: where pictures, masks, splits and class names are."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from utils.core.console import UserError, counted, has_controls, quoted, warn
from utils.core.files import read_lines, write_lines
from utils.images.file_types import IMAGE_SUFFIXES
from utils.images.masks import read_objects
from utils.images.palette import IGNORE_INDEX, LONGEST_CLASS_NAME
from utils.voc.names import list_some, name_in_list

SPLITS = ("train", "val", "trainval", "test")


class VocFolder:
    """A folder in the layout of PASCAL VOC. Nothing is read before it is needed; nothing is created.

    doctor_flags: flags of voc2unet.py that the commands in messages repeat.
    """

    def __init__(self, root: str | Path, doctor_flags: str = ""):
        self.root, self.doctor_flags = Path(root), doctor_flags
        self.images_dir = self.root / "JPEGImages"
        self.masks_dir = self.root / "SegmentationClass"
        self.originals_dir = self.root / "SegmentationClass.orig"  # masks before their repair
        self.objects_dir = self.root / "SegmentationObject"
        self.splits_dir = self.root / "ImageSets" / "Segmentation"
        self.class_names_path = self.root / "class_names.txt"

    def doctor(self, flags: str = "") -> str:
        """The command that checks this folder, repairs its masks and draws its split."""
        words = ("python voc2unet.py --voc-root", quoted(self.root), self.doctor_flags, flags)
        return " ".join(word for word in words if word)

    @cached_property
    def images(self) -> dict[str, Path]:
        """Name without ending → picture. Raises UserError without the folder and for a name twice."""
        found, faults = files_by_name(list_images(self.images_dir), "picture")
        if faults:
            raise faults[0]
        return found

    def images_if_any(self) -> dict[str, Path]:
        """`images`, or none if the folder is missing."""
        return self.images if self.images_dir.is_dir() else {}

    def image_path(self, name: str) -> Path:
        """The picture of a name. Raises UserError if there is none."""
        if name not in self.images:
            remedy = f"add the picture, or draw the split anew: {self.doctor('--overwrite')}"
            expected = "a picture for every name in the split files"
            raise UserError(
                "picture-missing", self.images_dir / name, "no picture of this name", expected, remedy
            )
        return self.images[name]

    def mask_path(self, name: str) -> Path:
        return self.masks_dir / f"{name}.png"

    def objects_path(self, name: str) -> Path:
        return self.objects_dir / f"{name}.png"

    def read_objects(self, name: str, size: tuple[int, int]) -> np.ndarray | None:
        """SegmentationObject/NAME.png, see `utils.images.masks.read_objects`; None without the file.

        size: (height, width) of the picture. Raises UserError if it is another one.
        """
        path = self.objects_path(name)
        if not path.is_file():
            return None
        objects = read_objects(path)
        check_size(path, objects, name, size)
        return objects

    @cached_property
    def _stems(self) -> set[str]:
        return {path.stem for path in self.images_dir.glob("*") if is_image(path)}

    def read_list(self, path: Path, remedy: str = "") -> list[str]:
        """Lines of a list of pictures, without empty ones. Raises UserError."""

        def count_known(lines: list[str]) -> int:
            return sum(name_in_list(line.strip(), self._stems) in self._stems for line in lines)

        return [line for line in map(str.strip, read_lines(path, remedy, count_known)) if line]

    def read_split(self, split: str) -> list[str]:
        """Names listed in ImageSets/Segmentation/SPLIT.txt, each once. Raises UserError.

        Lines may also be paths of pictures, with the path of the mask after it (`name_in_list`). trainval is
        what train and val list, where it has no file, as in data sets that bring their own splits.
        """
        path = self.splits_dir / f"{split}.txt"
        if split == "trainval" and not path.exists():
            return list(dict.fromkeys(self.read_split("train") + self.read_split("val")))
        others = sorted(other.stem for other in self.splits_dir.glob("*.txt"))
        if split not in SPLITS and not path.is_file():
            folds = f", or write folds: {self.doctor('--folds 5')}" * split.startswith("fold")
            expected = f"one of: {', '.join(others) or 'none is there yet'}"
            raise UserError("split-unknown", path, "no such split", expected, f"check the spelling{folds}")
        # voc2unet.py keeps split files that are there.
        flags = ["--test-percent 10"] * (split == "test") + ["--overwrite"] * bool(others)
        anew = "draw all splits anew, in place of those that are there" if others else "write the split files"
        remedy = f"{anew}: {self.doctor(' '.join(flags))}"
        lines = self.read_list(path, remedy)
        if not lines:
            raise UserError("split-empty", path, "no names in this file", "one picture name per line", remedy)
        names = Counter(name_in_list(line, self._stems) for line in lines)
        if twice := [name for name, count in names.items() if count > 1]:
            warn(f"{path} lists {counted(len(twice), 'name')} more than once: {list_some(twice)}")
        return list(names)

    def read_split_if_any(self, split: str) -> list[str]:
        """Names of a split; none if its file is missing or empty."""
        path = self.splits_dir / f"{split}.txt"
        return self.read_split(split) if path.is_file() and any(map(str.strip, read_lines(path, ""))) else []

    def write_split(self, split: str, names: Sequence[str]) -> None:
        write_lines(self.splits_dir / f"{split}.txt", names)

    def read_class_names(self) -> list[str] | None:
        """Names from class_names.txt, background first, or None without the file. Raises UserError."""
        path = self.class_names_path
        if not path.is_file():
            return None
        names = [line.strip() for line in read_lines(path, "")]
        while names and not names[-1]:
            names.pop()
        if "" in names:
            found = f"an empty line {names.index('') + 1} between names"
            raise UserError(
                "class-name-empty", path, found, "a name on every line", "fill it in: the next names move up"
            )
        if twice := [name for name in names if names.count(name) > 1]:
            found = f"the name {twice[0]} twice"
            raise UserError("class-name-twice", path, found, "another name for each class", "rename one")
        if len(names) < 2:
            found, expected = counted(len(names), "class name"), "the background, then at least one class"
            remedy = "complete the file, or remove it to have the classes called class_0, class_1, …"
            raise UserError("class-names-few", path, found, expected, remedy)
        check_storable(path, names)
        return names


def check_storable(path: Path, names: Sequence[str]) -> None:
    """Raises UserError for class names that no weight file can hold, before anything is trained on them."""
    if len(names) > IGNORE_INDEX:
        found, expected = (
            f"{len(names)} class names",
            f"at most {IGNORE_INDEX}: a mask has 8 bits, 255 is ignored",
        )
        raise UserError("class-count", path, found, expected, "remove those that no mask has, or join some")
    for number, name in enumerate(names, 1):
        if has_controls(name) or len(name) > LONGEST_CLASS_NAME:
            found = f"{name[:40]!a} in line {number}" + ", …" * (len(name) > 40)
            expected = f"printable characters, {LONGEST_CLASS_NAME} at most"
            raise UserError("class-name-unprintable", path, found, expected, "correct the line")


def list_images(folder: Path, wanted: Callable[[Path], object] | None = None) -> list[Path]:
    """Pictures, or what is `wanted`, directly in a folder, by name. Raises UserError if it is missing."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise UserError("picture-folder-missing", folder, found, "a folder of pictures", "check the path")
    return sorted(filter(wanted or is_image, folder.iterdir()))


def files_by_name(paths: Sequence[Path], kind: str) -> tuple[dict[str, Path], list[UserError]]:
    """Name without ending → file; a fault for each further file of a name. kind: picture or mask."""
    found: dict[str, Path] = {}
    faults, expected = [], f"one {kind} per name, because a mask belongs to a name"
    for path in paths:
        other = found.setdefault(path.stem, path)
        if other != path:
            two, remedy = f"two of one name: {other.name} and {path.name}", "rename or remove one"
            faults.append(UserError(f"{kind}-name-twice", path, two, expected, remedy))
    return found, faults


def walk_images(folder: Path, output: Path, wanted: Callable[[Path], object] | None = None) -> list[Path]:
    """As `list_images`, and below the folder, without hidden folders and `output`. Raises UserError."""
    found = list_images(folder, wanted)
    for below in sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()):
        # Windows keeps deleted files in a folder whose name begins with $.
        if not below.name.startswith((".", "$")) and below.resolve() != output.resolve():
            try:
                found += walk_images(below, output, wanted)
            except PermissionError:
                warn(f"{below} may not be read: left out")
    return found


def is_image(path: Path) -> bool:
    """Known picture ending, no hidden file (such as macOS's `._x.png`, which is none)."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def check_size(subject: object, mask: np.ndarray, picture: object, size: tuple[int, int]) -> None:
    """Raises UserError if a mask (H, W[, 3]) is not of the `size` (height, width) of its picture."""
    if mask.shape[:2] != size:
        found = f"a mask of {mask.shape[0]}×{mask.shape[1]} (height×width)"
        expected = f"the size of its picture {picture}: {size[0]}×{size[1]}"
        remedy = "export the mask in the picture's size; class indices must not be interpolated"
        raise UserError("mask-size", subject, found, expected, remedy)


def same_shape(shape: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether both (height, width) have one aspect, to within two pixels and 5 %."""
    (height, width), (tall, wide) = shape, size
    scale = ((height / tall) * (width / wide)) ** 0.5
    apart = max(abs(height - scale * tall), abs(width - scale * wide))
    return apart <= min(2 * max(scale, 1), 0.05 * min(shape))
