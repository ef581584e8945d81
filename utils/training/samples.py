"""Samples for training and validation: decoded pictures and masks, augmented as a function of (seed, epoch, index)."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from utils.images.arrays import to_channels
from utils.images.letterbox import letterbox, letterbox_mask
from utils.images.normalisation import stretch, to_tensor
from utils.images.reading import read_image, read_mask
from utils.training.augmentation import Augmentation, augment
from utils.training.border_weights import BorderWeights
from utils.voc.folder import VocFolder

# Pictures of small data sets stay decoded in memory, up to this many bytes in all processes together.
CACHE_BYTES = 1 << 30


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


def letterbox_pair(
    image: np.ndarray, mask: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Picture (H, W) or (H, W, 3) and mask (H, W) fitted into `size`; the bars are gray and ignored."""
    boxed = (
        letterbox(to_tensor(image.reshape(*mask.shape, -1)).unsqueeze(0), size)[0].permute(1, 2, 0).numpy()
    )
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
            (np.uint8(weights[0] * (255 / max(weights[0].max(), 1))), None)
            for _, _, *weights in samples
            if weights
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


def make_loader(
    dataset: SegmentationDataset, batches: object, workers: int, device: torch.device
) -> DataLoader:
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
