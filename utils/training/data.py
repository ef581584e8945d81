"""The checked data set of a training, and what is measured from its pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from utils.core.console import UserError, progress, warn
from utils.core.threads import map_ahead
from utils.images.arrays import is_gray, to_channels
from utils.images.normalisation import Normalisation, measure_normalisation, measure_range, stretch
from utils.images.reading import read_image, read_mask
from utils.voc.folder import VocFolder
from utils.voc.survey import MaskScan, check_classes, fresh_statistics, resolve_class_names, scan_pairs


@dataclass(frozen=True)
class Data:
    """A checked data set: the splits, the classes, the sizes (height, width) of all pictures."""

    folder: VocFolder
    train: list[str]
    val: list[str]
    class_names: list[str]
    train_sizes: list[tuple[int, int]] = field(repr=False)
    val_sizes: list[tuple[int, int]] = field(repr=False)
    class_pixels: np.ndarray = field(repr=False)  # (K,) int64, of the training masks

    def fit_crop(self, wanted: tuple[int, int], stride: int) -> tuple[int, int]:
        """The wanted crop, but no larger than the largest picture (rounded up to the stride): mirrored borders teach little.

        At least two strides, or batch norm would have a single value a channel at the deepest level.
        """
        largest = [max(sizes) for sizes in zip(*self.train_sizes, strict=True)]
        height, width = (
            max(min(w, -(-n // stride) * stride), 2 * stride) for w, n in zip(wanted, largest, strict=True)
        )
        return height, width

    def crops_per_picture(self, crop: tuple[int, int]) -> int:
        """Crops that cover a picture of mean size about once."""
        pixels = sum(height * width for height, width in self.train_sizes) / len(self.train_sizes)
        return max(round(pixels / (crop[0] * crop[1])), 1)

    def read_pair(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        return read_image(self.folder.image_path(name)), read_mask(self.folder.mask_path(name))


def load_data(folder: VocFolder, fold: int | None = None) -> Data:
    """Read the splits train and val, or those of a fold, and check every mask. Raises UserError for the first fault."""
    if not folder.root.is_dir():
        expected = "a VOC folder with JPEGImages, SegmentationClass and ImageSets/Segmentation"
        remedy = "make one from labelme files (python json_to_dataset.py), or run python train.py for the built-in demo set"
        raise UserError("load-data", folder.root, "no such folder", expected, remedy)
    prefix = "" if fold is None else f"fold{fold}_"
    train, val = folder.read_split(f"{prefix}train"), folder.read_split(f"{prefix}val")
    both = set(train) & set(val)
    if both:
        files = f"{prefix}train.txt and in {prefix}val.txt"
        warn(f"{len(both)} pictures are in {files}, such as {min(both)}: the scores will flatter")
    scans = fresh_statistics(folder, train + val) or scan_all(folder, train + val)
    class_names = resolve_class_names(folder, sum(scan.counts for scan in scans))
    check_classes(folder, scans, class_names)
    class_pixels = sum(scan.counts for scan in scans[: len(train)])[: len(class_names)]
    for index, pixels in enumerate(class_pixels):
        if not pixels:
            warn(f"no training mask has a pixel of class {index} ({class_names[index]}): it cannot be learnt")
    sizes = [scan.size for scan in scans]
    return Data(folder, train, val, class_names, sizes[: len(train)], sizes[len(train) :], class_pixels)


def scan_all(folder: VocFolder, names: Sequence[str]) -> list[MaskScan]:
    """Read all pairs of these names. Raises UserError for the first fault."""
    scans: list[MaskScan] = []
    for scan in progress(scan_pairs(folder, names), "checking masks", "mask", len(names)):
        if isinstance(scan, UserError):
            raise scan
        scans.append(scan)
    return scans


def measure_split(
    folder: VocFolder, names: Sequence[str], in_channels: int, at_most: int = 200
) -> Normalisation:
    """Normalisation from up to `at_most` pictures, spread evenly over the names. Raises UserError for a bad picture."""
    limits = measure_split_range(folder, names, at_most)
    images = (to_channels(stretch(image, limits), in_channels) for image in read_some(folder, names, at_most))
    return replace(measure_normalisation(images), range_16bit=limits)


def measure_channels(folder: VocFolder, names: Sequence[str], at_most: int = 200) -> int:
    """1 if all of up to `at_most` pictures, spread evenly over the names, are gray; else 3."""
    return 1 if all(map(is_gray, read_some(folder, names, at_most))) else 3


def measure_split_range(
    folder: VocFolder, names: Sequence[str], at_most: int = 200
) -> tuple[int, int] | None:
    """`measure_range` of up to `at_most` pictures, spread evenly over the names."""
    return measure_range(read_some(folder, names, at_most))


def read_some(folder: VocFolder, names: Sequence[str], at_most: int) -> Iterator[np.ndarray]:
    """Up to `at_most` pictures, spread evenly over the names; a few are read ahead, since photos are large."""
    steps = np.linspace(0, len(names) - 1, min(len(names), at_most)).round().astype(int)
    return map_ahead(read_image, [folder.image_path(names[index]) for index in steps], threads=4, depth=4)
