"""What the values of a mask look like: areas, smooth edges of drawings, numbers of objects, a photograph."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from skimage.measure import label

SOLID = 0.2  # share of a value's pixels without another value beside them from which on it is an area
EDGE = 0.8  # share of a value's pixels between a smaller and a larger one from which on it is a smooth edge
EDGE_PIXELS = 16  # fewer pixels of a value tell nothing
GRAIN = 0.25  # a drawing has more pixels than this without another value beside them; a photograph has not
SPIKE = 4  # times as many pixels as usual make one value of edges conspicuous
NEAR_END = 8  # a drawing's black and white are at most this far from 0 and 255
PHOTO_VALUES = 16  # a photograph has more values than this


@dataclass(frozen=True)
class Evidence:
    """Of one mask in its own values (up to 65535), or packed colors: value → pixels.

    inner: pixels without another value beside them; between: those with a smaller and a larger value around
    them; drawn, whole: how many values but 0 there are, and how many of these are one connected part (0 where
    that was not counted).
    """

    path: Path
    pixels: dict[int, int] = field(repr=False)
    inner: dict[int, int] = field(repr=False)
    between: dict[int, int] = field(repr=False)
    drawn: int = 0
    whole: int = 0

    @property
    def photograph(self) -> bool:
        share = sum(self.inner.values()) / max(sum(self.pixels.values()), 1)
        # Small objects have few such pixels too, but a number of their own each.
        return len(self.pixels) > PHOTO_VALUES and share < GRAIN and self.whole <= 0.5 * self.drawn

    @property
    def numbered(self) -> bool:
        """Whether the values are 1, 2, …, beside 0, with few gaps, as where objects were removed."""
        values = self.pixels.keys() - {0}
        return bool(values) and max(values) <= 1.25 * len(values)


def gather(path: Path, values: np.ndarray, count_parts: bool) -> Evidence:
    """values: (H, W) uint8 or uint16, or (H, W) uint32 packed colors. count_parts: of all values but 0."""
    # The border of the picture ends no area.
    wide = np.pad(values, 1, mode="edge")
    across, down = wide[1:-1], wide[:, 1:-1]
    same = (values == across[:, :-2]) & (values == across[:, 2:])
    same &= (values == down[:-2]) & (values == down[2:])
    between = np.zeros(values.shape, bool)
    if values.dtype != np.uint32:
        around = np.ones((3, 3), np.uint8)
        between = (values > cv2.erode(values, around)) & (values < cv2.dilate(values, around))
    counted = [_count(some) for some in (values, values[same], values[between])]
    drawn = len(counted[0].keys() - {0})
    if not count_parts or drawn < 2:
        return Evidence(path, *counted)
    parts = label(values, background=0, connectivity=2)
    first = np.unique(parts, return_index=True)[1]
    times = Counter(values.ravel()[first].tolist())
    return Evidence(path, *counted, drawn, sum(times[value] == 1 for value in counted[0] if value))


def _count(values: np.ndarray) -> dict[int, int]:
    if values.dtype != np.uint32:
        counts = np.bincount(values.ravel())
        found = np.flatnonzero(counts)
        return dict(zip(found.tolist(), counts[found].tolist(), strict=True))
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


@dataclass(frozen=True)
class Levels:
    """The values of several masks together. solid: those that are areas."""

    pixels: Counter = field(repr=False)
    between: Counter = field(repr=False)
    solid: list[int]

    @property
    def values(self) -> list[int]:
        return sorted(self.pixels)

    @property
    def edges(self) -> list[int]:
        """Values of smooth edges; none where nothing is an area, because the masks are too small to tell."""
        thin = [value for value in self.values if value not in self.solid]
        edges = [value for value in thin if self.are_edges([value])]
        return edges if self.solid and sum(map(self.pixels.get, edges)) >= EDGE_PIXELS else []

    @property
    def areas(self) -> list[int]:
        """Values of areas of some size, sorted: of those near each other the most frequent one."""
        found: list[int] = []
        for value in sorted(self.solid, key=self.pixels.get, reverse=True):
            if self.pixels[value] >= EDGE_PIXELS and all(abs(value - one) > 2 * NEAR_END for one in found):
                found.append(value)
        return sorted(found)

    def are_edges(self, values: Sequence[int]) -> bool:
        return sum(map(self.between.get, values)) >= EDGE * sum(map(self.pixels.get, values))


def pool(masks: Iterable[Evidence]) -> Levels:
    pixels, inner, between = Counter(), Counter(), Counter()
    for mask in masks:
        pixels.update(mask.pixels)
        inner.update(mask.inner)
        between.update(mask.between | dict.fromkeys(mask.pixels.keys() - mask.between, 0))
    return Levels(pixels, between, [one for one in sorted(pixels) if inner[one] >= SOLID * pixels[one]])


def find_drawing(levels: Levels) -> tuple[int, int, list[int]] | None:
    """The two values of a drawing with smooth edges, and those of the edges, which cover little.

    The drawing itself may be thin lines; then it is the most frequent of the other values.
    """
    others = sorted(set(levels.values) - set(levels.solid), key=levels.pixels.get)
    areas = sorted(levels.solid + others[-1:] * (len(levels.solid) == 1))
    black_white = bool(areas) and is_black(areas[0]) and is_white(areas[-1])
    groups, limit = [[area] for area in areas], 1.5
    if black_white and len(levels.values) > PHOTO_VALUES:
        # Filters leave black and white a little off, and wide edges; no classes are so many and so near.
        ends = (list(filter(kind, levels.values)) for kind in (is_black, is_white))
        groups = [*ends, *([area] for area in areas if not is_black(area) and not is_white(area))]
        limit = 5
    edges = [value for value in levels.values if not any(value in group for group in groups)]
    pixels = sum(map(levels.pixels.get, edges))
    if len(groups) != 2 or pixels < EDGE_PIXELS or not levels.are_edges(edges):
        return None
    if len(edges) > 1 and _has_spike(levels, edges, groups[0][-1], groups[1][0]):
        return None
    sizes = [sum(map(levels.pixels.get, group)) for group in groups]
    low, high = (max(group, key=levels.pixels.get) for group in groups)
    return (low, high, edges) if pixels <= limit * min(sizes) else None


def _has_spike(levels: Levels, edges: Sequence[int], low: int, high: int) -> bool:
    """Whether one of the values of edges is more frequent than the others, and has pixels that are no edge.

    Dots and lines of a class of their own are. Values near both ends are not asked: filters overshoot.
    """
    usual, reach = float(np.median([levels.pixels[value] for value in edges])), (high - low) // 8
    inner = [value for value in edges if low + reach < value < high - reach]
    often = [one for one in inner if levels.pixels[one] >= max(EDGE_PIXELS, SPIKE * usual)]
    return not all(levels.are_edges([value]) for value in often)


def find_levels(levels: Levels) -> list[int]:
    """Three values or more of a drawing whose smooth edges have all others; none where that is unsure."""
    drawn = levels.areas
    edges = [value for value in levels.values if all(abs(value - one) > NEAR_END for one in drawn)]
    pixels, most = sum(map(levels.pixels.get, edges)), levels.pixels.total() / 2
    if len(drawn) < 3 or len(edges) <= len(drawn) or not EDGE_PIXELS <= pixels <= most:
        return []
    # A value that stands out may be a class of thin lines.
    limit = max(0.25, 2 / len(edges)) * pixels
    even = all(levels.pixels[value] <= limit for value in edges)
    return drawn if even and levels.are_edges(edges) and not _hold_class(levels, edges) else []


def _hold_class(levels: Levels, edges: Sequence[int]) -> bool:
    """Whether one of the values of edges is an area, or has pixels that are no edge."""
    frequent = [value for value in edges if levels.pixels[value] >= EDGE_PIXELS]
    return any(value in levels.solid or not levels.are_edges([value]) for value in frequent)


def is_black(value: int) -> bool:
    return value <= NEAR_END


def is_white(value: int) -> bool:
    return 255 - NEAR_END < value <= 255


def look_numbered(masks: Sequence[Evidence], least: int = 4) -> bool:
    """Whether the values number objects: each is one area, and how many there are varies by picture.

    Classes would be the same in many pictures; numbers begin at 1 in each, or hardly come again. least: that
    many in one picture at least.
    """
    drawn = [mask for mask in masks if mask.pixels.keys() - {0}]
    counts = [len(mask.pixels.keys() - {0}) for mask in drawn]
    if not drawn or max(counts) < least:
        return False
    if len(drawn) > 1 and len(set(counts)) == 1:
        return min(counts) >= 4 and _number_on(drawn)
    # Objects that lie over others may come in pieces.
    if sum(mask.whole for mask in drawn) < 0.7 * sum(mask.drawn for mask in drawn):
        return False
    levels = pool(drawn)
    if len(levels.solid) < 0.7 * len(levels.values):
        return False
    from_one = sum(mask.numbered for mask in drawn) >= 0.8 * len(drawn)
    times = Counter(value for mask in drawn for value in mask.pixels if value)
    # Classes of a small set are rare too, but few in one picture.
    rare = len(drawn) >= 4 and np.median([*times.values()]) <= 2 and np.mean(counts) >= 5
    return bool(from_one or rare or _number_on(drawn))


def _number_on(drawn: Sequence[Evidence]) -> bool:
    """Whether masks have numbers without a gap, some from 1, others from further on, each one part."""
    runs: dict[int, set[int]] = {}
    for mask in drawn:
        values = mask.pixels.keys() - {0}
        if mask.whole < mask.drawn or max(values) - min(values) >= len(values):
            return False
        runs.setdefault(min(values), set()).update(values)
    return len(runs) > 1 and sum(map(len, runs.values())) == len(set().union(*runs.values()))


def look_alike(masks: Sequence[Evidence]) -> bool:
    """Whether the same four values or more are in all masks, and every value is one part wherever it is.

    These may be classes of a fixed scene, or as many objects in every picture.
    """
    drawn = [mask for mask in masks if mask.pixels.keys() - {0}]
    common = set.intersection(*(mask.pixels.keys() - {0} for mask in drawn)) if drawn else set()
    return len(common) >= 4 and all(mask.whole == mask.drawn for mask in drawn)
