"""What is exported: a VOC folder, or other masks of its pictures."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.core.console import UserError, counted, note, progress, warn
from utils.images.palette import IGNORE_INDEX, numbered_classes
from utils.images.reading import read_image, read_mask
from utils.voc.class_files import BACKGROUND_NAMES
from utils.voc.folder import VocFolder, check_size, list_images
from utils.voc.names import list_some, natural_key

ALL = "all"  # the split of a folder without split files


@dataclass(frozen=True)
class Source:
    """class_names: background first. splits: split → names. objects: whether SegmentationObject counts."""

    folder: VocFolder
    masks: dict[str, Path]
    class_names: list[str]
    splits: dict[str, list[str]]
    objects: bool

    @property
    def background(self) -> str | None:
        """The name of class 0 if it says something: other formats have no place for it, so we note it."""
        plain = (BACKGROUND_NAMES[0], *numbered_classes(1))
        return self.class_names[0] if self.class_names[0] not in plain else None

    def check(self) -> None:
        """Read all masks. Raises UserError for a faulty one, before anything is written."""
        for name in progress(self.masks, "checking", "picture"):
            self.read(name)

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Mask (H, W) uint8 and numbers of objects, or None. Raises UserError for sizes that differ."""
        mask = read_mask(self.masks[name])
        check_size(
            self.masks[name], mask, self.folder.images[name], read_image(self.folder.images[name]).shape[:2]
        )
        beyond = [
            value for value in np.unique(mask).tolist() if len(self.class_names) <= value != IGNORE_INDEX
        ]
        if beyond:
            expected = f"values 0 … {len(self.class_names) - 1} for {list_some(self.class_names, 8)}, or 255"
            remedy = f"complete {self.folder.class_names_path}, or check the folder: {self.folder.doctor()}"
            raise UserError("mask-value", self.masks[name], f"the value {beyond[0]}", expected, remedy)
        return mask, self.folder.read_objects(name, mask.shape) if self.objects else None


def open_source(folder: VocFolder, masks_dir: Path | None) -> Source:
    """masks_dir: predicted masks, x.png or x_mask.png, in the place of SegmentationClass."""
    pictures = sorted(folder.images, key=natural_key)
    paths = {path.stem: path for path in list_images(masks_dir or folder.masks_dir)}
    # predict.py writes x_mask.png, and its overlay x.png beside it.
    choices = {name: (f"{name}_mask", name) if masks_dir else (name,) for name in pictures}
    found = {name: next((stem for stem in stems if stem in paths), None) for name, stems in choices.items()}
    masks = {name: paths[stem] for name, stem in found.items() if stem}
    names = [name for name in pictures if name in masks]
    if not names:
        found, expected = (
            f"no mask of the {counted(len(pictures), 'picture')}",
            "x.png or x_mask.png for x.jpg",
        )
        remedy = f"write masks there, or check the folder: {folder.doctor()}"
        raise UserError("no-pairs", masks_dir or folder.masks_dir, found, expected, remedy)
    if len(names) < len(pictures) and not masks_dir:
        warn(f"{counted(len(pictures) - len(names), 'picture')} without a mask left out")
    listed = (
        {} if masks_dir else {split: folder.read_split_if_any(split) for split in ("train", "val", "test")}
    )
    known = Counter(name for split in listed.values() for name in split)
    splits = {split: [name for name in part if name in masks] for split, part in listed.items() if part}
    if left := [name for name in names if name not in known]:
        splits[ALL if not splits else "rest"] = left
    class_names = folder.read_class_names()
    if class_names is None:
        largest = max(
            int(read_mask(path)[read_mask(path) < IGNORE_INDEX].max(initial=1)) for path in masks.values()
        )
        class_names = numbered_classes(largest + 1)
        named = f"{folder.class_names_path}: classes are called {list_some(class_names[1:], 3)}"
        note(f"no {named}. For names, pass the --voc-root of the training data, or write that file")
    source = Source(folder, masks, class_names, splits, masks_dir is None)
    if source.background:
        found = "in the other format it is what no object covers; import_dataset.py brings the name back"
        note(f"class 0 is called {source.background}: {found}")
    return source
