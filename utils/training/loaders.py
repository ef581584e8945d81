"""Batches of samples: shuffled crops for training, whole pictures of one size for validation."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from utils.core.console import UserError
from utils.models.checkpoint import Checkpoint
from utils.training.augmentation import Augmentation
from utils.training.border_weights import BorderWeights
from utils.training.data import Data
from utils.training.recipe import LARGE_STEP
from utils.training.samples import CACHE_BYTES, SegmentationDataset


class EpochBatches:
    """Batches of shuffled keys, a pure function of (seed, epoch). `epoch` and `batch_size` may be set."""

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


def same_size_batches(sizes: Sequence[tuple[int, int]], max_pixels: int) -> list[list[int]]:
    """Indices of pictures of equal (height, width), in batches of up to `max_pixels` or of one picture."""
    batches: list[list[int]] = []
    for size in sorted(set(sizes)):
        members = [index for index, other in enumerate(sizes) if other == size]
        step = max(max_pixels // (size[0] * size[1]), 1)
        batches += [members[start : start + step] for start in range(0, len(members), step)]
    return batches


@dataclass(frozen=True)
class Sampling:
    """How training crops are drawn and loaded."""

    augmentation: Augmentation
    batch_size: int
    seed: int = 0
    margin: int = 0  # pixels of context around the crop, mirrored beyond the picture as in the paper
    border: BorderWeights | None = None
    workers: int | None = None  # processes that load; None: chosen by the device


@dataclass(frozen=True)
class Loaders:
    """Random crops (an epoch sees about every pixel once), their batches, and whole validation pictures."""

    train: DataLoader
    batches: EpochBatches
    val: DataLoader


def make_loaders(data: Data, checkpoint: Checkpoint, sampling: Sampling, device: torch.device) -> Loaders:
    """checkpoint: says how pictures are fitted to the network and scaled."""
    workers = choose_workers(device) if sampling.workers is None else sampling.workers
    (height, width), in_channels = checkpoint.input_shape, checkpoint.network.in_channels
    cropped, margin = checkpoint.fit == "crop", sampling.margin
    shared = {
        "range_16bit": checkpoint.normalisation["range_16bit"],
        "cache_bytes": CACHE_BYTES // (2 * max(workers, 1)),
    }
    train = SegmentationDataset(
        data.folder,
        data.train,
        in_channels,
        crop=(height + 2 * margin, width + 2 * margin),
        crops_per_picture=data.crops_per_picture((height, width)) if cropped else 1,
        augmentation=sampling.augmentation,
        seed=sampling.seed,
        letterboxed=not cropped,
        border=sampling.border,
        **shared,
    )
    val = SegmentationDataset(data.folder, data.val, in_channels, **shared)
    batches = EpochBatches(len(train), sampling.batch_size, sampling.seed)
    val_batches = same_size_batches(data.val_sizes, max(sampling.batch_size * height * width, LARGE_STEP))
    # Each process takes as much memory as Python and PyTorch do; validation needs no more than two.
    val_loader = make_loader(val, val_batches, min(workers, 2), device)
    return Loaders(make_loader(train, batches, workers, device), batches, val_loader)


class Loader(DataLoader):
    """Raises the UserErrors of its processes as they are; PyTorch would pass on the text of their tracebacks only."""

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for batch in super().__iter__():
            if isinstance(batch, UserError):
                raise batch
            yield batch


def make_loader(
    dataset: SegmentationDataset, batches: Iterable[list[int]], workers: int, device: torch.device
) -> DataLoader:
    """A DataLoader over `batches` of keys with `workers` processes (0: in this one)."""
    return Loader(
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


def collate(samples: "list[tuple[Tensor, ...]] | UserError") -> "tuple[Tensor, ...] | UserError":
    """Stack to (N, C, H, W), (N, H, W), …. A UserError passes through.

    8-bit pictures among 16-bit ones are widened exactly (255 · 257 = 65535).
    """
    if isinstance(samples, UserError):
        return samples
    images, *others = zip(*samples, strict=True)
    if len({image.dtype for image in images}) > 1:
        images = [(x.int() * 257).to(torch.uint16) if x.dtype == torch.uint8 else x for x in images]
    return torch.stack(images), *map(torch.stack, others)
