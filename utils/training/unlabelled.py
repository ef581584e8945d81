"""Crops of pictures without annotation, in two views: for the averaged weights, and for the network."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from utils.core.console import UserError, counted, note
from utils.core.processes import from_first
from utils.core.threads import map_ahead
from utils.images.arrays import check_channels, count_channels, digest
from utils.images.masks import is_partly_annotated
from utils.images.reading import read_image
from utils.models.checkpoint import Checkpoint
from utils.training.batches import EpochBatches, Key
from utils.training.data import Data
from utils.training.mixed import Source, add_labelled, find_labelled, read_source, strengthen
from utils.training.samples import Loader, Sampling, SegmentationDataset, collate, make_loader, make_loaders
from utils.voc.folder import list_images

EVERY = 2  # steps from one that is taught to the next: it takes 7/3 of the time of another one
SEED = 1 << 32  # apart from the crops of annotated pictures


class Crop(NamedTuple):
    """Key of a crop without annotation: its number in the run; divisor: of its size."""

    number: int
    divisor: int = 1


class Views(NamedTuple):
    """Of one crop, or of a batch of them: pictures (N, C, H, W) uint8 or uint16, and masks (N, H, W) uint8.

    The masks are 255 but for strokes.
    """

    weak: Tensor
    strong: Tensor
    known: Tensor


@dataclass(eq=False)
class UnlabelledDataset(SegmentationDataset):
    """Crops of `sources`, which depend on seed and number alone. All have a turn before one comes again."""

    sources: Sequence[Source] = ()

    def __getitem__(self, key: Crop) -> Views:
        turn, index = self._place(key)
        weak, known = super().__getitem__(Key(turn * len(self) + index, key.divisor))
        rng = np.random.default_rng((self.seed, turn, index, 1))
        return Views(weak, strengthen(weak, key.divisor, rng), known)

    def path_of(self, key: Crop) -> Path:
        return self.sources[self._place(key)[1]].image

    def name_of(self, key: Crop) -> str:
        return str(self.path_of(key))

    def _place(self, key: Crop) -> tuple[int, int]:
        """The turn that this crop belongs to, and the number of its source."""
        turn, place = divmod(key.number, len(self))
        return turn, int(shuffled(len(self), self.seed, turn)[place])

    def _read(self, number: int, is_small: bool) -> tuple[np.ndarray, ...]:
        return read_source(self.sources[number], self)


@lru_cache(maxsize=4)
def shuffled(length: int, seed: int, turn: int) -> np.ndarray:
    """The numbers 0 … length − 1."""
    return np.random.default_rng((seed, turn, length)).permutation(length)


@dataclass(eq=False)
class TaughtDataset(SegmentationDataset):
    """Annotated samples by `Key`, and after them in a batch crops without annotation by `Crop`."""

    unlabelled: UnlabelledDataset | None = None

    def __getitems__(self, keys: list[Key | int | Crop]) -> Any:
        """Samples as of `SegmentationDataset`, or those and the crops. A UserError is returned."""
        crops = [key for key in keys if isinstance(key, Crop)]
        samples = super().__getitems__([key for key in keys if not isinstance(key, Crop)])
        if isinstance(samples, UserError) or not crops:
            return samples
        views = self.unlabelled.__getitems__(crops)
        return views if isinstance(views, UserError) else (samples, views)

    def name_of(self, key: Key | int | Crop) -> str:
        return self.unlabelled.name_of(key) if isinstance(key, Crop) else super().name_of(key)


class TaughtBatches(EpochBatches):
    """Batches of `EpochBatches`. While `taught`, each EVERY-th has as many crops without annotation, too.

    Their numbers follow from the number of the step in the epoch, so a resumed run sees the same crops. Each
    process has equally many.
    """

    def __iter__(self) -> Iterator[list[Key | Crop]]:
        own = -(-self.batch_size_at_most // self.processes)
        size = own * self.processes
        for number, keys in enumerate(super().__iter__(), self.epoch * len(self) + self.first):
            if self.taught and number % EVERY == 0:
                first = number // EVERY * size + self.rank * own
                keys = [*keys, *(Crop(first + place, self.divisor) for place in range(own))]
            yield keys

    @property
    def batch_size_at_most(self) -> int:
        """Crops of the largest batch of all processes."""
        return -(-self.length // len(self))


def collate_taught(samples: Any) -> Any:
    """`collate`; behind what it returns stand the Views of the crops without annotation, if there are any."""
    if not isinstance(samples, tuple):
        return collate(samples)
    annotated, views = samples
    return *collate(annotated), collate_views(views)


def collate_views(views: Sequence[Views]) -> Views:
    """Those of a batch."""
    weak, known = collate([(view.weak, view.known) for view in views])
    (strong,) = collate([(view.strong,) for view in views])
    return Views(weak, strong, known)


def load_crops(
    data: Data, checkpoint: Checkpoint, sampling: Sampling, device: torch.device
) -> tuple[DataLoader, DataLoader]:
    """`make_loaders`, with crops of pictures without annotation beside the others, if there are any.

    Raises UserError, see `find_sources`.
    """
    train, val = make_loaders(data, checkpoint, sampling, device)
    if sampling.unlabelled is None:
        return train, val
    if sampling.labels is not None:
        labelled = find_labelled(sampling.unlabelled, sampling.labels)
        return add_labelled(train, labelled, data.class_pixels, device), val
    sources = from_first(lambda: find_sources(sampling.unlabelled, data))
    print(describe_sources(sampling.unlabelled, sources))
    return add_unlabelled(train, sources, device), val


def add_unlabelled(loader: Loader, sources: Sequence[Source], device: torch.device) -> Loader:
    """The loader, whose batches have crops of the sources, too, while its `batch_sampler` is `taught`."""
    annotated, batches = loader.dataset, loader.batch_sampler
    known = {field.name: getattr(annotated, field.name) for field in fields(annotated) if field.init}
    # Each has half of the memory for decoded pictures. There are no classes to balance.
    known["cache_bytes"] //= 2
    own = {
        "names": [source.image.stem for source in sources],
        "crops_per_picture": 1,
        "border": None,
        "shown": None,
    }
    own |= {"augmentation": replace(annotated.augmentation, balance=0.0), "seed": annotated.seed + SEED}
    unlabelled = UnlabelledDataset(**known | own, sources=sources)
    taught = TaughtBatches(batches.length, batches.batch_size, batches.seed, batches.shows)
    dataset = TaughtDataset(**known, unlabelled=unlabelled)
    return make_loader(dataset, taught, loader.num_workers, device, collate_taught)


def find_sources(folder: Path, data: Data) -> list[Source]:
    """Pictures of a folder that are in no split of the data, and strokes that the network is trained on.

    Each is read once, so that none fails in the middle of a run. Says what is left out. Raises UserError for
    a picture that cannot be read or has other channels, and if nothing is left.
    """
    paths = list_images(folder)
    if not paths:
        expected, remedy = "pictures without annotation", "check the path, or leave --unlabelled out"
        raise UserError("folder-without-pictures", folder, "no picture in this folder", expected, remedy)
    splits = {"train": data.train, "val": data.val, "test": data.folder.read_split_if_any("test")}
    owners = {}
    for split, names in splits.items():
        files = [data.folder.image_path(name) for name in names]
        owners |= dict.fromkeys(map_ahead(lambda path: digest(read_image(path)), files, 2), split)
    sources, left = [], Counter()
    for path, (channels, name) in zip(paths, map_ahead(look_at, paths, 2), strict=True):
        check_channels(path, channels, data.pictures.channels, f"in {data.folder.root}")
        if name in owners:
            left[owners[name]] += 1
        else:
            sources.append(Source(path))
    if left:
        parts = ", ".join(f"{count} of {split}" for split, count in left.items())
        note(f"{counted(left.total(), 'picture')} of {folder} left out, being in the splits: {parts}")
    strokes = []
    if is_partly_annotated(data.labelled[0], 1):
        strokes = [Source(data.folder.image_path(name), data.folder.mask_path(name)) for name in data.train]
    if not sources and not strokes:
        expected, remedy = "some that are in no split", "add others, or leave --unlabelled out"
        raise UserError("unlabelled-none", folder, "only pictures of the splits", expected, remedy)
    return [*sources, *strokes]


def look_at(path: Path) -> tuple[int, str]:
    """Channels of a picture, and a name for its pixels."""
    image = read_image(path)
    return count_channels(image), digest(image)


def describe_sources(folder: Path, sources: Sequence[Source]) -> str:
    """What is going to teach, in words."""
    strokes = sum(source.mask is not None for source in sources)
    pictures = len(sources) - strokes
    parts = [f"{counted(pictures, 'picture')} of {folder}"] if pictures else []
    parts += [f"what is not annotated of {counted(strokes, 'picture')} to train on"] if strokes else []
    return f"pool     {' and '.join(parts)}, in every {EVERY}nd step once they teach"
