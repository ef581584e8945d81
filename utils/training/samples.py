"""Samples and their batches: random crops for training, whole pictures of one size for validation."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from utils.core.console import UserError
from utils.core.processes import processes_here, this_process
from utils.core.signals import leave_signals
from utils.images.arrays import to_channels
from utils.images.letterbox import letterbox, letterbox_mask
from utils.images.masks import is_partly_annotated
from utils.images.normalisation import stretch, to_tensor
from utils.images.palette import BETWEEN_INDEX, IGNORE_INDEX
from utils.images.plots import draw_samples
from utils.images.reading import read_image, read_mask
from utils.models.checkpoint import Checkpoint
from utils.training.augmentation import Augmentation, augment
from utils.training.batches import EpochBatches, Key, as_key, same_size_batches
from utils.training.border_weights import BorderWeights
from utils.training.data import Data
from utils.training.recipe import LARGE_STEP
from utils.voc.folder import VocFolder
from utils.voc.strokes import complete, find_unlike

# Pictures of small data sets stay decoded in memory, up to this many bytes in all processes together.
CACHE_BYTES = 1 << 30


@dataclass(eq=False)
class SegmentationDataset(Dataset):
    """Picture (C, h, w) uint8 or uint16, mask (h, w) uint8 and, with `border`, weights (h, w) float32.

    With `shown`, (N, K) bool, its row of the picture follows, see `Data.shown_by_strokes`, and the mask is
    254 between strokes. In small crops strokes have grown over these pixels, and the row is false.

    With `crop` and `augmentation`, key e · len(dataset) + i is sample i of epoch e: a random crop that
    depends on (seed, e, i) alone, whatever the number of workers. Without them, key i is the whole picture i.
    Key ~k is sample k with an ignored mask: it teaches nothing.
    """

    folder: VocFolder
    names: Sequence[str]
    in_channels: int
    crop: tuple[int, int] | None = None  # height and width
    crops_per_picture: int = 1
    augmentation: Augmentation | None = None
    seed: int = 0
    box: tuple[int, int] | None = None  # whole pictures are scaled to this height and width before the crop
    border: BorderWeights | None = None
    shown: np.ndarray | None = None
    range_16bit: Sequence[int] | None = None
    cache_bytes: int = CACHE_BYTES
    _cache: dict[tuple[int, int], tuple[np.ndarray, ...]] = field(
        default_factory=dict, init=False, repr=False
    )
    _cached_bytes: int = field(default=0, init=False, repr=False)
    _unlike: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return self.turn * self.crops_per_picture

    @property
    def turn(self) -> int:
        """Samples after which the pictures come again."""
        return len(self.names)

    def __getitems__(self, keys: list[Key | int]) -> "list[tuple[Tensor, ...]] | UserError":
        """The samples of a batch. A UserError is returned: `Loader` raises it in the main process."""
        samples = []
        for key in keys:
            try:
                samples.append(self[key])
            except UserError as error:
                return error
            except Exception as error:
                # A bug keeps its traceback, to which this adds the picture.
                path = self.path_of(key)
                raise RuntimeError(f"{path}: {type(error).__name__}: {error}") from error
        return samples

    def path_of(self, key: Key | int) -> Path:
        return self.folder.image_path(self.name_of(key))

    def name_of(self, key: Key | int) -> str:
        """Of the picture that a sample is of."""
        return self.names[self.number_of(key)]

    def number_of(self, key: Key | int) -> int:
        """Of the picture that a sample is of."""
        number = as_key(key).number
        return self._picture(max(number, ~number) % self.turn)

    def _picture(self, place: int) -> int:
        """The number of the picture at this place of a turn."""
        return place

    def __getitem__(self, key: Key | int) -> tuple[Tensor, ...]:
        number, divisor, sought, draw = as_key(key)
        epoch, index = divmod(int(max(number, ~number)), len(self))
        picture = self.number_of(key)
        image, mask, *weights = self._read_cached(picture, divisor)
        if self.crop:
            place = (self.seed, epoch, index)
            rng = np.random.default_rng(place if sought is None else (*place, sought, draw))
            height, width = (-(-side // divisor) for side in self.crop)
            settings = self.augmentation.shrunk(divisor)
            image, mask, *weights = augment(
                image, mask, (height, width), settings, rng, *weights, sought=sought
            )
        if number < 0:
            mask = np.full_like(mask, IGNORE_INDEX)
        if self.shown is not None:
            weights.append(self.shown[picture] & (number >= 0 and divisor == 1))
        image = np.ascontiguousarray(to_channels(image, self.in_channels))
        return to_tensor(image), torch.from_numpy(mask), *map(torch.from_numpy, weights)

    def _read_cached(self, number: int, divisor: int) -> tuple[np.ndarray, ...]:
        if (number, divisor) in self._cache:
            return self._cache[number, divisor]
        arrays = shrink(divisor, *self._read(number, divisor > 1))
        size = sum(array.nbytes for array in arrays)
        if self._cached_bytes + size <= self.cache_bytes:
            self._cache[number, divisor] = arrays
            self._cached_bytes += size
        return arrays

    def _read(self, number: int, is_small: bool) -> tuple[np.ndarray, ...]:
        """Picture, mask and perhaps border weights, whole or letterboxed. is_small: for small crops."""
        name = self.names[number]
        image = stretch(read_image(self.folder.image_path(name)), self.range_16bit)
        mask = read_mask(self.folder.mask_path(name))
        is_drawn = is_partly_annotated(np.count_nonzero(mask != IGNORE_INDEX), mask.size)
        if self.shown is not None and self.shown[number].any():
            if number not in self._unlike:
                self._unlike[number] = find_unlike(image, mask)
            mask = fill(image, mask, self._unlike[number], is_small)
        objects = self.folder.read_objects(name, mask.shape) if self.border else None
        if self.box:
            image, mask = letterbox_pair(image, mask, self.box)
            if objects is not None:
                objects = letterbox_mask(torch.from_numpy(objects), self.box).numpy()
        if not self.border:
            return image, mask
        if is_drawn:
            # Edges of strokes are no borders.
            return image, mask, np.zeros(mask.shape, np.float32)
        return image, mask, self.border.of_picture(number, mask, objects)


def fill(image: np.ndarray, mask: np.ndarray, unlike: np.ndarray, is_small: bool) -> np.ndarray:
    """A mask of strokes that says what is known of the pixels between them, 255 where that is nothing.

    unlike: see `find_unlike`. is_small: for small crops. What has grown is wrong here and there, but teaches
    the rough shapes sooner.
    """
    filled = complete(image, mask) if is_small else np.where(mask == IGNORE_INDEX, BETWEEN_INDEX, mask)
    areas = cv2.resize(unlike, mask.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.where((areas > 0) & (mask == IGNORE_INDEX), IGNORE_INDEX, filled).astype(np.uint8)


def shrink(divisor: int, image: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Picture (H, W) or (H, W, C), mask and weights (H, W) at 1 / divisor of their size, rounded up.

    The picture's pixels are means; the others' are those in the middle.
    """
    if divisor == 1:
        return image, *others
    height, width = (-(-side // divisor) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return small, *(
        cv2.resize(other, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for other in others
    )


def letterbox_pair(
    image: np.ndarray, mask: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Picture (H, W) or (H, W, 3) and mask (H, W) fitted into `size`; the bars are gray and ignored."""
    boxed = letterbox(to_tensor(np.atleast_3d(image)).unsqueeze(0), size)[0].permute(1, 2, 0).numpy()
    boxed_mask = letterbox_mask(torch.from_numpy(mask), size).numpy()
    return np.ascontiguousarray(boxed.reshape(*size, *image.shape[2:])), boxed_mask


@dataclass(frozen=True)
class Sampling:
    """How training crops are drawn and loaded."""

    augmentation: Augmentation
    batch_size: int
    seed: int = 0
    margin: int = 0  # pixels of context around the crop, mirrored beyond the picture as in the paper
    border: BorderWeights | None = None
    workers: int | None = None  # processes that load; None: chosen by the device
    unlabelled: Path | None = None  # folder of pictures without annotation, see `utils.training.unlabelled`
    labels: Path | None = None  # folder of masks of these pictures, see `utils.training.pseudo_labels`
    between: bool = True  # what is said of the pixels between strokes is learned, too


def make_loaders(
    data: Data, checkpoint: Checkpoint, sampling: Sampling, device: torch.device
) -> tuple[DataLoader, DataLoader]:
    """Random crops, which show about every pixel once per epoch, and whole validation pictures.

    checkpoint: says how pictures are fitted to the network and scaled.
    """
    workers = choose_workers(device) if sampling.workers is None else sampling.workers
    (height, width), cropped = checkpoint.input_shape, checkpoint.fit == "crop"
    val = SegmentationDataset(
        data.folder,
        data.val,
        checkpoint.network.in_channels,
        range_16bit=checkpoint.normalisation["range_16bit"],
        cache_bytes=CACHE_BYTES // (2 * max(workers, 1) * processes_here()),
    )
    train = replace(
        val,
        names=data.train,
        crop=(height + 2 * sampling.margin, width + 2 * sampling.margin),
        crops_per_picture=data.crops_per_picture((height, width)) if cropped else 1,
        augmentation=sampling.augmentation,
        seed=sampling.seed,
        box=None if cropped else (height, width),
        border=sampling.border,
        shown=data.shown_by_strokes if sampling.between else None,
    )
    batches = EpochBatches(len(train), sampling.batch_size, sampling.seed, data.shows)
    val_batches = same_size_batches(data.val_sizes, max(sampling.batch_size * height * width, LARGE_STEP))
    # Each process takes as much memory as Python and PyTorch do; validation needs no more than two.
    rank, processes = this_process()
    val_loader = make_loader(val, val_batches[rank::processes], min(workers, 2), device)
    return make_loader(train, batches, workers, device), val_loader


class Loader(DataLoader):
    """Raises the UserErrors of its processes; PyTorch would pass on only the text of their tracebacks.

    Raises RuntimeError for a process that was killed, see `utils.core.console.memory_error`.
    """

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        try:
            for batch in super().__iter__():
                if isinstance(batch, UserError):
                    raise batch
                yield batch
        except (ConnectionError, EOFError) as error:
            # Of a batch that was sent, but whose arrays the dead process can no longer hand over.
            raise RuntimeError("DataLoader worker process was killed by signal") from error


def make_loader(
    dataset: SegmentationDataset,
    batches: Iterable[list[Key | int]],
    workers: int,
    device: torch.device,
    collated: Callable | None = None,
) -> DataLoader:
    """A DataLoader over `batches` of keys with `workers` processes (0: in this one), which are `collated`."""
    processes = {"num_workers": workers, "persistent_workers": workers > 0}
    if workers:
        processes["worker_init_fn"] = leave_signals
    pinned = device.type == "cuda"
    return Loader(
        dataset, batch_sampler=batches, collate_fn=collated or collate, pin_memory=pinned, **processes
    )


def choose_workers(device: torch.device) -> int:
    """Processes that load pictures: none beside a network on a CPU, which keeps every core busy itself."""
    return min(torch.get_num_threads(), 8) if device.type == "cuda" else 0


def collate(samples: "list[tuple[Tensor, ...]] | UserError") -> "tuple[Tensor, ...] | UserError":
    """Stack to (N, C, H, W), (N, H, W), …, see `widen`. A UserError passes through."""
    if isinstance(samples, UserError):
        return samples
    images, *others = zip(*samples, strict=True)
    return torch.stack(widen(images)), *map(torch.stack, others)


def widen(images: Sequence[Tensor]) -> Sequence[Tensor]:
    """8-bit pictures among 16-bit ones get 16 bits, exactly (255 · 257 = 65535)."""
    if len({image.dtype for image in images}) == 1:
        return images
    return [(x.int() * 257).to(torch.uint16) if x.dtype == torch.uint8 else x for x in images]


def draw_batch(path: Path, loader: DataLoader) -> None:
    dataset, keys = loader.dataset, next(iter(loader.batch_sampler))
    titles = ["augmented crops, with their masks"]
    draw_samples(path, tiles_of_samples(dataset, keys), min(4, len(keys)), titles)


def tiles_of_samples(
    dataset: SegmentationDataset, keys: Sequence[Key | int]
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Crops (h, w, C) with their masks, then their border weights, if any, as gray values (h, w)."""
    samples = [[part.numpy() for part in dataset[key]] for key in keys]
    masks = [np.where(mask == BETWEEN_INDEX, IGNORE_INDEX, mask).astype(np.uint8) for _, mask, *_ in samples]
    tiles = [(image.transpose(1, 2, 0), mask) for (image, *_), mask in zip(samples, masks, strict=True)]
    borders = [weights[0] for _, _, *weights in samples if weights and weights[0].ndim == 2]
    return tiles + [(np.uint8(border * (255 / max(border.max(), 1))), None) for border in borders]
