"""Samples for training and validation: decoded pictures and masks, augmented as a function of (seed, epoch, index)."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from utils.ahead import map_ahead
from utils.augment import Augmentation, augment
from utils.console import UserError, progress, warn
from utils.images import is_gray, read_image, read_mask, to_channels
from utils.letterbox import letterbox, letterbox_mask
from utils.losses import BorderWeights
from utils.normalise import Normalisation, measure_normalisation, measure_range, stretch, to_tensor
from utils.statistics import fresh_statistics
from utils.voc import MaskScan, VocFolder, check_classes, resolve_class_names, scan_pairs

# Pictures of small data sets stay decoded in memory, up to this many bytes in all processes together.
CACHE_BYTES = 1 << 30


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
        remedy = (
            "make one from labelme files (python json_to_dataset.py), or run python train.py for the built-in demo set"
        )
        raise UserError(folder.root, "no such folder", expected, remedy)
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


class SegmentationDataset(Dataset):
    """Picture (C, h, w) uint8 or uint16, mask (h, w) uint8, and, where `border` is given, weights (h, w) float32.

    letterboxed: whole pictures are scaled to `crop` instead of being cut. With `crop` and `augmentation`, an index of
    epoch e is e · len(dataset) + i: the random crop that it gives depends on (seed, e, i) alone, whatever the number of
    workers. Without them, item i is the whole picture i. border_dir: where border weights are kept for all processes.
    """

    def __init__(
        self,
        folder: VocFolder,
        names: Sequence[str],
        in_channels: int,
        crop: tuple[int, int] | None = None,
        crops_per_picture: int = 1,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        border: BorderWeights | None = None,
        letterboxed: bool = False,
        range_16bit: Sequence[int] | None = None,
        cache_bytes: int = CACHE_BYTES,
        border_dir: Path | None = None,
    ):
        self.folder, self.names, self.in_channels = folder, list(names), in_channels
        self.crop, self.augmentation, self.seed = crop, augmentation, seed
        self.crops_per_picture, self.border, self.letterboxed = crops_per_picture, border, letterboxed
        self.range_16bit, self.cache_bytes, self.border_dir = range_16bit, cache_bytes, border_dir
        self._cache: dict[int, tuple[np.ndarray, ...]] = {}
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self.names) * self.crops_per_picture

    def __getitem__(self, key: int) -> tuple[Tensor, ...]:
        epoch, index = divmod(int(key), len(self))
        image, mask, *weights = self._read(index % len(self.names))
        if self.crop:
            rng = np.random.default_rng((self.seed, epoch, index))
            image, mask, *weights = augment(image, mask, self.crop, self.augmentation, rng, *weights)
        image = np.ascontiguousarray(to_channels(image, self.in_channels))
        return to_tensor(image), torch.from_numpy(mask), *map(torch.from_numpy, weights)

    def _read(self, picture: int) -> tuple[np.ndarray, ...]:
        if picture in self._cache:
            return self._cache[picture]
        name = self.names[picture]
        image, mask = read_image(self.folder.image_path(name)), read_mask(self.folder.mask_path(name))
        image, objects = stretch(image, self.range_16bit), None
        if self.border:
            objects = self.folder.read_objects(name, mask.shape)
        if self.letterboxed:
            image, mask = letterbox_pair(image, mask, self.crop)
            if objects is not None:
                objects = letterbox_mask(torch.from_numpy(objects), self.crop).numpy()
        arrays = (image, mask, self._border_weights(picture, mask, objects)) if self.border else (image, mask)
        size = sum(array.nbytes for array in arrays)
        if self._cached_bytes + size <= self.cache_bytes:
            self._cache[picture] = arrays
            self._cached_bytes += size
        return arrays

    def _border_weights(self, picture: int, mask: np.ndarray, objects: np.ndarray | None) -> np.ndarray:
        """Computed once a mask, however many processes and epochs want them: nothing else takes so long."""
        if self.border_dir is None:
            return self.border(mask, objects)
        kept = self.border_dir / f"{picture}.npy"
        if not kept.exists():
            weights, unfinished = (
                self.border(mask, objects).astype(np.float16),
                kept.with_name(f"{picture}.{os.getpid()}.npy"),
            )
            try:
                np.save(unfinished, weights)
                unfinished.replace(kept)
            except OSError:
                # A full disk, or Windows while another process reads what it wrote first: go on without keeping them.
                return weights.astype(np.float32)
        return np.load(kept).astype(np.float32)


def letterbox_pair(image: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Picture (H, W) or (H, W, 3) and mask (H, W) fitted into `size`; the bars are gray and ignored."""
    boxed = letterbox(to_tensor(image.reshape(*mask.shape, -1)).unsqueeze(0), size)[0].permute(1, 2, 0).numpy()
    boxed_mask = letterbox_mask(torch.from_numpy(mask), size).numpy()
    return np.ascontiguousarray(boxed.reshape(*size, *image.shape[2:])), boxed_mask


class EpochBatches:
    """Batches of shuffled keys of the epoch `epoch`, a pure function of (seed, epoch); both attributes may be set."""

    def __init__(self, length: int, batch_size: int, seed: int):
        self.length, self.seed = length, seed
        self.batch_size, self.epoch = batch_size, 0

    def __len__(self) -> int:
        return -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        # Batches as even as possible: a last batch of one would give batch norm poor statistics.
        for part in np.array_split(order, len(self)):
            yield (self.epoch * self.length + part).tolist()

    def preview(self, dataset: SegmentationDataset) -> list[tuple[np.ndarray, np.ndarray]]:
        """The first batch as arrays: pictures (h, w, C) with their masks (h, w), then border weights (h, w) with theirs."""
        samples = [[part.numpy() for part in dataset[key]] for key in next(iter(self))]
        pictures = [(image.transpose(1, 2, 0), mask) for image, mask, *_ in samples]
        heights = [
            (np.uint8(weights[0] * (255 / max(weights[0].max(), 1))), None) for _, _, *weights in samples if weights
        ]
        return pictures + heights


def same_size_batches(sizes: Sequence[tuple[int, int]], max_pixels: int) -> list[list[int]]:
    """Indices of pictures of one (height, width), in batches of at most `max_pixels` pixels, at least one picture each."""
    batches: list[list[int]] = []
    for size in sorted(set(sizes)):
        members = [index for index, other in enumerate(sizes) if other == size]
        step = max(max_pixels // (size[0] * size[1]), 1)
        batches += [members[start : start + step] for start in range(0, len(members), step)]
    return batches


def make_loader(dataset: SegmentationDataset, batches: object, workers: int, device: torch.device) -> DataLoader:
    """A DataLoader over `batches` (an iterable of lists of keys) with `workers` processes (0: in this one)."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )


def choose_workers(device: torch.device) -> int:
    """Processes that load pictures: none beside a network on a CPU, which keeps every core busy itself."""
    return min(torch.get_num_threads(), 8) if device.type == "cuda" else 0


def collate(samples: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Stack to (N, C, H, W), (N, H, W), …. 8-bit pictures among 16-bit ones are widened exactly (255 · 257 = 65535)."""
    images, *others = zip(*samples, strict=True)
    if len({image.dtype for image in images}) > 1:
        images = [(x.int() * 257).to(torch.uint16) if x.dtype == torch.uint8 else x for x in images]
    return torch.stack(images), *map(torch.stack, others)


def measure_split(folder: VocFolder, names: Sequence[str], in_channels: int, at_most: int = 200) -> Normalisation:
    """Normalisation from up to `at_most` pictures, spread evenly over the names. Raises UserError for a bad picture."""
    limits = measure_split_range(folder, names, at_most)
    images = (to_channels(stretch(image, limits), in_channels) for image in read_some(folder, names, at_most))
    return replace(measure_normalisation(images), range_16bit=limits)


def measure_channels(folder: VocFolder, names: Sequence[str], at_most: int = 200) -> int:
    """1 if all of up to `at_most` pictures, spread evenly over the names, are gray; else 3."""
    return 1 if all(map(is_gray, read_some(folder, names, at_most))) else 3


def measure_split_range(folder: VocFolder, names: Sequence[str], at_most: int = 200) -> tuple[int, int] | None:
    """`measure_range` of up to `at_most` pictures, spread evenly over the names."""
    return measure_range(read_some(folder, names, at_most))


def read_some(folder: VocFolder, names: Sequence[str], at_most: int) -> Iterator[np.ndarray]:
    """Up to `at_most` pictures, spread evenly over the names; a few are read ahead, since photos are large."""
    steps = np.linspace(0, len(names) - 1, min(len(names), at_most)).round().astype(int)
    return map_ahead(read_image, [folder.image_path(names[index]) for index in steps], threads=4, depth=4)
