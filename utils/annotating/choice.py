"""Which pictures are corrected next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from utils.images.arrays import to_uint8_rgb

Choice = Literal["uncertain", "random"]
GRID = 4  # cells of a picture per side, of which colours are compared
FLOOR = 0.02  # share of the corrected pixels below which a class counts as equally rare


@dataclass(frozen=True)
class Candidate:
    """uncertainty: (K,) share of the picture's pixels predicted as each class, each weighted by its entropy.

    shares: (K,) of the pixels predicted as each class. look: see `describe_look`. Both are None as long as
    there is no network.
    """

    name: str
    look: np.ndarray
    uncertainty: np.ndarray | None = None
    shares: np.ndarray | None = None


def describe_look(image: np.ndarray) -> np.ndarray:
    """Colours and their spread in 4×4 cells, (64,) float32, of a picture (H, W) or (H, W, C)."""
    small = cv2.resize(to_uint8_rgb(image), (8 * GRID, 8 * GRID), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32) / 255
    cells = lab.reshape(GRID, 8, GRID, 8, 3).swapaxes(1, 2).reshape(GRID * GRID, 64, 3)
    return np.concatenate([cells.mean(1).ravel(), cells[..., 0].std(1)])


def weigh_classes(corrected: np.ndarray) -> np.ndarray:
    """(K,) weights, 1 in the mean: the rarer a class among the corrected pixels (K,), the higher."""
    shares = corrected / max(corrected.sum(), 1)
    weights = 1 / np.sqrt(np.maximum(shares, FLOOR))
    return weights / weights.mean()


def choose(
    candidates: Sequence[Candidate],
    known: Sequence[Candidate],
    corrected: np.ndarray | None,
    count: int,
    choice: Choice,
    rng: np.random.Generator,
) -> list[str]:
    """Names of up to `count` candidates, in the order of their choice.

    uncertain: the class-balanced uncertainty of a picture times its distance to the nearest of those that are
    corrected (`known`) or chosen, one after another. Without a network it is the distance alone, from the
    picture nearest to the mean. corrected: pixels of each class (K,) that are corrected.
    """
    if choice == "random" or len(candidates) <= count:
        order = rng.permutation(len(candidates))[:count]
        return [candidates[index].name for index in order]
    places = _places([*candidates, *known])
    if candidates[0].uncertainty is None:
        value = np.ones(len(candidates))
    else:
        value = np.stack([one.uncertainty for one in candidates]) @ weigh_classes(corrected)
    own = places[: len(candidates)]
    if known:
        distance = _distances(own, places[len(candidates) :]).min(1)
        chosen = []
    else:
        chosen = [
            int(np.argmin(np.square(own - own.mean(0)).sum(1)) if np.ptp(value) == 0 else value.argmax())
        ]
        distance = _distances(own, own[chosen]).min(1)
    while len(chosen) < count:
        gain = value * distance
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        distance = np.minimum(distance, _distances(own, own[chosen[-1:]])[:, 0])
    return [candidates[index].name for index in chosen]


def _places(candidates: Sequence[Candidate]) -> np.ndarray:
    """(N, F): looks, each of unit spread, and, where there is a network, the roots of the classes' shares."""
    looks = np.stack([one.look for one in candidates])
    looks = (looks - looks.mean(0)) / (looks.std(0) + 1e-3) / np.sqrt(looks.shape[1])
    shares = [one.shares for one in candidates]
    if any(one is None for one in shares):
        return looks
    # Hellinger's distance between two distributions over the classes.
    return np.hstack([looks, np.sqrt(np.stack(shares))])


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) between the rows of (N, F) and (M, F)."""
    return np.sqrt(np.maximum(np.square(a[:, None] - b[None]).sum(2), 0))
