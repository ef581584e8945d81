"""Batches: which samples they have, by their keys."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from utils.core.processes import this_process

SOUGHT_SHARE = 1 / 3  # of the crops, if classes are sought


class Key(NamedTuple):
    """Of a sample, see `SegmentationDataset`; its number alone stands for the whole size and any place.

    sought: the class that the middle of the crop shows; draw: tells several crops for it apart.
    """

    number: int
    divisor: int = 1  # of the size of picture and crop
    sought: int | None = None
    draw: int = 0


def as_key(key: Key | int) -> Key:
    return key if isinstance(key, tuple) else Key(key)


class EpochBatches:
    """Batches of shuffled keys, a pure function of (seed, epoch) and of what may be set.

    That is `epoch`, `batch_size`, `divisor` (of the size of the crops) and `sought`: the classes on which
    SOUGHT_SHARE of the crops are centred, in pictures that show them. shows: their numbers, by class.
    Of each batch this process gets its share. Where there are fewer keys than processes, some get a key of
    an ignored sample, because all of them have to take the step. first: batches that are left out, because
    an earlier part of the run had them. taught: see `utils.training.unlabelled.TaughtBatches`.
    """

    def __init__(
        self, length: int, batch_size: int, seed: int, shows: Mapping[int, Sequence[int]] | None = None
    ):
        self.length, self.batch_size, self.seed, self.epoch, self.divisor = length, batch_size, seed, 0, 1
        self.rank, self.processes = this_process()
        self.first = 0
        self.shows, self.sought = shows or {}, ()
        self.taught = False

    def __len__(self) -> int:
        return -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        first = self.epoch * self.length
        keys = [Key(number, self.divisor) for number in (first + rng.permutation(self.length)).tolist()]
        if sought := [index for index in self.sought if len(self.shows.get(index, ()))]:
            for place in rng.choice(self.length, round(SOUGHT_SHARE * self.length), replace=False).tolist():
                index = int(rng.choice(sought))
                keys[place] = Key(first + int(rng.choice(self.shows[index])), self.divisor, index, place)
        # Batches as even as possible: a last batch of one would give batch norm poor statistics.
        for part in np.array_split(np.arange(self.length), len(self))[self.first :]:
            share = [keys[place] for place in np.array_split(part, self.processes)[self.rank]]
            yield share or [keys[part[0]]._replace(number=~keys[part[0]].number)]


def same_size_batches(sizes: Sequence[tuple[int, int]], max_pixels: int) -> list[list[int]]:
    """Indices of pictures of equal (height, width), in batches of up to `max_pixels` or of one picture."""
    batches: list[list[int]] = []
    for size in sorted(set(sizes)):
        members = [index for index, other in enumerate(sizes) if other == size]
        step = max(max_pixels // (size[0] * size[1]), 1)
        batches += [members[start : start + step] for start in range(0, len(members), step)]
    return batches
