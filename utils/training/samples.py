"""Samples: decoded pictures and masks, augmented as a function of (seed, epoch, index)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from utils.core.console import UserError
from utils.images.arrays import to_channels
from utils.images.letterbox import letterbox, letterbox_mask
from utils.images.normalisation import stretch, to_tensor
from utils.images.reading import read_image, read_mask
from utils.training.augmentation import Augmentation, augment
from utils.training.border_weights import BorderWeights
from utils.voc.folder import VocFolder

# Pictures of small data sets stay decoded in memory, up to this many bytes in all processes together.
CACHE_BYTES = 1 << 30


@dataclass(eq=False)
class SegmentationDataset(Dataset):
    """Picture (C, h, w) uint8 or uint16, mask (h, w) uint8 and, with `border`, weights (h, w) float32.

    With `crop` and `augmentation`, key e · len(dataset) + i is sample i of epoch e: a random crop that
    depends on (seed, e, i) alone, whatever the number of workers. Without them, key i is the whole picture
    i.
    """

    folder: VocFolder
    names: Sequence[str]
    in_channels: int
    crop: tuple[int, int] | None = None  # height and width
    crops_per_picture: int = 1
    augmentation: Augmentation | None = None
    seed: int = 0
    letterboxed: bool = False  # whole pictures are scaled to `crop` instead of being cut
    border: BorderWeights | None = None
    range_16bit: Sequence[int] | None = None
    cache_bytes: int = CACHE_BYTES
    _cache: dict[int, tuple[np.ndarray, ...]] = field(default_factory=dict, init=False, repr=False)
    _cached_bytes: int = field(default=0, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.names) * self.crops_per_picture

    def __getitems__(self, keys: list[int]) -> "list[tuple[Tensor, ...]] | UserError":
        """The samples of a batch. A UserError is returned: `Loader` raises it in the main process."""
        try:
            return [self[key] for key in keys]
        except UserError as error:
            return error

    def __getitem__(self, key: int) -> tuple[Tensor, ...]:
        epoch, index = divmod(int(key), len(self))
        image, mask, *weights = self._read_cached(index % len(self.names))
        if self.crop:
            rng = np.random.default_rng((self.seed, epoch, index))
            image, mask, *weights = augment(image, mask, self.crop, self.augmentation, rng, *weights)
        image = np.ascontiguousarray(to_channels(image, self.in_channels))
        return to_tensor(image), torch.from_numpy(mask), *map(torch.from_numpy, weights)

    def _read_cached(self, number: int) -> tuple[np.ndarray, ...]:
        if number in self._cache:
            return self._cache[number]
        arrays = self._read(number)
        size = sum(array.nbytes for array in arrays)
        if self._cached_bytes + size <= self.cache_bytes:
            self._cache[number] = arrays
            self._cached_bytes += size
        return arrays

    def _read(self, number: int) -> tuple[np.ndarray, ...]:
        """Picture, mask and perhaps border weights, at full size or letterboxed."""
        name = self.names[number]
        image = stretch(read_image(self.folder.image_path(name)), self.range_16bit)
        mask = read_mask(self.folder.mask_path(name))
        objects = self.folder.read_objects(name, mask.shape) if self.border else None
        if self.letterboxed:
            image, mask = letterbox_pair(image, mask, self.crop)
            if objects is not None:
                objects = letterbox_mask(torch.from_numpy(objects), self.crop).numpy()
        return (image, mask, self.border.of_picture(number, mask, objects)) if self.border else (image, mask)


def letterbox_pair(
    image: np.ndarray, mask: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Picture (H, W) or (H, W, 3) and mask (H, W) fitted into `size`; the bars are gray and ignored."""
    boxed = letterbox(to_tensor(np.atleast_3d(image)).unsqueeze(0), size)[0].permute(1, 2, 0).numpy()
    boxed_mask = letterbox_mask(torch.from_numpy(mask), size).numpy()
    return np.ascontiguousarray(boxed.reshape(*size, *image.shape[2:])), boxed_mask
