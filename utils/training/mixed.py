"""Annotated pictures, and among them others with labels that networks gave them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from utils.core.console import UserError, counted
from utils.images.normalisation import stretch, to_tensor
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_image, read_mask
from utils.training.augmentation import STRENGTHS, change_values
from utils.training.batches import EpochBatches, Key, as_key
from utils.training.samples import Loader, SegmentationDataset, letterbox_pair, make_loader, widen

# Tone, blur, noise and compression of the stronger view. Nothing is painted over.
STRONG = replace(STRENGTHS["strong"], erase=0.0)
CUT_SHARE = 0.5  # of the crops, in which a rectangle of another one is pasted (UniMatch)
CLASS_SHARE = 0.5  # of the labelled crops, into which rare classes of an annotated one are pasted
CUT_AREAS = 0.2, 0.5  # least and largest share of a crop that is pasted in
ANNOTATED = 0.5  # about the share of samples of annotated pictures, which are repeated for it


class Source(NamedTuple):
    """A picture, and its mask if some of its pixels are labelled."""

    image: Path
    mask: Path | None = None


@dataclass(eq=False)
class MixedDataset(SegmentationDataset):
    """Samples of the annotated pictures `names`, each `repeats` times, and then of those of `labelled`.

    The latter are seen in a stronger view than that in which networks labelled them: other tones, blur
    and noise. Networks are surest of frequent classes, so rare ones are missing in the labels: CLASS_SHARE of
    these crops get the rarer classes of an annotated one (after ClassMix, Olsson et al. 2021). CUT_SHARE of
    the others get a rectangle of another labelled one. class_pixels: (K,), of the annotated masks.
    """

    labelled: Sequence[Source] = ()
    repeats: int = 1
    class_pixels: Sequence[int] = ()

    @property
    def annotated(self) -> int:
        """Samples of annotated pictures, with which each turn begins."""
        return len(self.names) * self.repeats

    @property
    def turn(self) -> int:
        return self.annotated + len(self.labelled)

    def __getitem__(self, key: Key | int) -> tuple[Tensor, ...]:
        key = as_key(key)
        parts = super().__getitem__(key)
        if self.number_of(key) < len(self.names):
            return parts
        rng = np.random.default_rng((self.seed, max(key.number, ~key.number), 1))
        parts = strengthen(parts[0], key.divisor, rng), *parts[1:]
        if rng.random() < CLASS_SHARE:
            other = self._other(key, range(self.annotated), rng)
            where = choose_rarer(other[1].numpy(), self.class_pixels)
            return paste(other, parts, where if where.any() else choose_rectangle(where.shape, rng))
        if rng.random() < CUT_SHARE:
            other = self._other(key, range(self.annotated, self.turn), rng)
            return paste(other, parts, choose_rectangle(other[1].shape, rng))
        return parts

    def _other(self, key: Key, places: range, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A stronger view of a sample at one of these places of the same turn."""
        number = max(key.number, ~key.number)
        number += int(rng.choice(places)) - number % self.turn
        image, *others = super().__getitem__(key._replace(number=number if key.number >= 0 else ~number))
        return strengthen(image, key.divisor, rng), *others

    def path_of(self, key: Key | int) -> Path:
        number = self.number_of(key) - len(self.names)
        return super().path_of(key) if number < 0 else self.labelled[number].image

    def name_of(self, key: Key | int) -> str:
        number = self.number_of(key) - len(self.names)
        return super().name_of(key) if number < 0 else self.labelled[number].image.stem

    def _picture(self, place: int) -> int:
        others = place - self.annotated
        return place % len(self.names) if others < 0 else len(self.names) + others

    def _read(self, number: int, is_small: bool) -> tuple[np.ndarray, ...]:
        if number < len(self.names):
            return super()._read(number, is_small)
        image, mask = read_source(self.labelled[number - len(self.names)], self)
        # Where the networks were unsure, edges of labels are no borders.
        return (image, mask, np.zeros(mask.shape, np.float32)) if self.border else (image, mask)


def read_source(source: Source, like: SegmentationDataset) -> tuple[np.ndarray, np.ndarray]:
    """Picture and mask (255: no label), stretched and letterboxed as those of `like`. Raises UserError."""
    image = stretch(read_image(source.image), like.range_16bit)
    mask = read_mask(source.mask) if source.mask else np.full(image.shape[:2], IGNORE_INDEX, np.uint8)
    return letterbox_pair(image, mask, like.box) if like.box else (image, mask)


def strengthen(image: Tensor, divisor: int, rng: np.random.Generator) -> Tensor:
    """A stronger view, a new tensor, of a crop (C, h, w) uint8 or uint16 at 1 / divisor of its size."""
    pixels = np.ascontiguousarray(image.numpy().transpose(1, 2, 0))
    pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    return to_tensor(np.atleast_3d(change_values(pixels, STRONG.shrunk(divisor), rng)))


def paste(parts: Sequence[Tensor], into: Sequence[Tensor], where: np.ndarray) -> tuple[Tensor, ...]:
    """A sample (…, h, w): that of `parts` at the pixels `where`, (h, w) bool, elsewhere that of `into`."""
    pairs = (widen(pair) for pair in zip(parts, into, strict=True))
    return tuple(torch.from_numpy(np.where(where, part.numpy(), own.numpy())) for part, own in pairs)


def choose_rectangle(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Pixels (h, w) bool of a random rectangle (CutMix, Yun et al. 2019)."""
    height, width = size
    area, shape = rng.uniform(*CUT_AREAS), np.exp(rng.uniform(-0.7, 0.7))
    h, w = min(int(height * (area * shape) ** 0.5), height), min(int(width * (area / shape) ** 0.5), width)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    where = np.zeros(size, bool)
    where[top : top + h, left : left + w] = True
    return where


def choose_rarer(mask: np.ndarray, class_pixels: Sequence[int]) -> np.ndarray:
    """Pixels (h, w) bool of the rarer half of the classes in a mask (h, w): none of a single one."""
    classes = [index for index in np.unique(mask).tolist() if index != IGNORE_INDEX]
    rarer = sorted(classes, key=lambda index: class_pixels[index])[: len(classes) // 2]
    return np.isin(mask, rarer)


def label_file(labels: Path, image: Path) -> Path:
    """A picture's mask in the folder `labels`. It keeps the ending: pictures may differ by that alone."""
    return labels / f"{image.name}.png"


def find_labelled(pictures: Path, labels: Path) -> list[Source]:
    """The pictures of a folder that have a mask in `labels`. Raises UserError if there is none."""
    masks = sorted(labels.glob("*.png"))
    sources = [Source(pictures / mask.name.removesuffix(".png"), mask) for mask in masks]
    if not sources:
        remedy = "start the run anew, so that they are made again"
        raise UserError("labels-missing", labels, "no mask", "labels of the pictures that teach", remedy)
    return sources


def count_repeats(annotated: int, labelled: int) -> int:
    """Times that each annotated picture comes in a turn, so that they are about ANNOTATED of it."""
    return max(round(labelled * ANNOTATED / (1 - ANNOTATED) / annotated), 1)


def count_turns(annotated: int, labels: Path | None) -> int:
    """Length of a turn with the pictures of `labels`, in turns of the annotated ones alone, rounded."""
    labelled = len(list(labels.glob("*.png"))) if labels else 0
    return round((count_repeats(annotated, labelled) * annotated + labelled) / annotated)


def add_labelled(
    loader: Loader, sources: Sequence[Source], class_pixels: Sequence[int], device: torch.device
) -> Loader:
    """A loader like this one, with samples of the sources among the annotated ones. Says how many."""
    annotated, batches = loader.dataset, loader.batch_sampler
    known = {field.name: getattr(annotated, field.name) for field in fields(annotated) if field.init}
    repeats = count_repeats(len(annotated.names), len(sources))
    own = {"labelled": sources, "repeats": repeats, "class_pixels": class_pixels}
    dataset = MixedDataset(**known, **own)
    mixed = EpochBatches(len(dataset), batches.batch_size, batches.seed, batches.shows)
    share = f"{1 - len(sources) / dataset.turn:.0%} of the crops are of annotated ones"
    print(f"pool     {counted(len(sources), 'picture')} labelled by the teachers; {share}")
    return make_loader(dataset, mixed, loader.num_workers, device)
