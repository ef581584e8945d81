"""Cleaning of predicted masks, class by class: specks, gaps and holes, touching objects."""

from dataclasses import dataclass, fields

import cv2
import numpy as np

# Two parts of an object are two objects where the neck between them is thinner than this share of the thinner part
# (half thickness, by distance transform), and by more than a pixel.
NECK, NECK_PIXELS = 0.85, 1.0


@dataclass(frozen=True)
class Postprocessing:
    """What is done with each of `classes` (indices), in the order of the fields; all of it off by default.

    Objects are the 8-connected parts of a class, holes the 4-connected parts of the rest that do not reach the border.
    """

    classes: tuple[int, ...]
    opening: int = 0  # radius in pixels of a disk: what it does not fit into is removed
    closing: int = 0  # radius in pixels of a disk: gaps that it does not fit into are closed
    fill_holes: bool = False
    split_touching: bool = False
    min_area: int = 0  # pixels; smaller objects are removed
    largest_only: bool = False
    convex_hull: bool = False

    @property
    def active(self) -> bool:
        return self != Postprocessing(self.classes)


STEPS = tuple(f.name for f in fields(Postprocessing)[1:])


def postprocess(mask: np.ndarray, steps: Postprocessing) -> np.ndarray:
    """A cleaned copy of a mask (H, W) uint8.

    Pixels that a class gains are taken from the background only (class 0; where that is itself among `steps.classes`, it
    gains from those that are not), so a nucleus is no hole of its cell.
    Pixels that it loses take the class of the nearest pixel of another class, so a removed speck of nucleus becomes the
    cell around it; the lines between split objects become background.
    """
    mask = mask.copy()
    for index in steps.classes if steps.active else ():
        before = mask == index
        if not before.any():
            continue
        inside = belonging(mask, index) if steps.split_touching else np.zeros_like(before)
        after, lines = clean(before, inside, steps)
        free = mask == 0 if index else ~np.isin(mask, steps.classes)
        nearest = nearest_other(mask, before, before & ~after)
        mask[before & ~after] = nearest
        # Class 0 is itself the background, and gives its lines to its neighbours.
        if index:
            mask[before & lines] = 0
        mask[after & ~before & free] = index
    return mask


def clean(shape: np.ndarray, inside: np.ndarray, steps: Postprocessing) -> tuple[np.ndarray, np.ndarray]:
    """One class, (H, W) bool, after all steps, and the lines along which it was split, (H, W) bool.

    inside: (H, W) bool, pixels of other classes that belong to its objects, such as nuclei.
    """
    lines = np.zeros_like(shape)
    if steps.opening:
        shape = cv2.morphologyEx(shape.view(np.uint8), cv2.MORPH_OPEN, disk(steps.opening)) > 0
    if steps.closing:
        # Beyond the border there is background; OpenCV would close the gap between an object and the border.
        wide = np.pad(shape, steps.closing).view(np.uint8)
        middle = slice(steps.closing, -steps.closing)
        shape = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, disk(steps.closing))[middle, middle] > 0
    if steps.fill_holes:
        shape = without_holes(shape)
    if steps.split_touching:
        lines = touching(split(shape | inside) * shape)
        shape = shape & ~lines
    if steps.min_area or steps.largest_only:
        _, parts, stats, _ = cv2.connectedComponentsWithStats(shape.view(np.uint8), connectivity=8)
        areas = stats[:, cv2.CC_STAT_AREA]
        areas[0] = 0
        keep = areas >= max(steps.min_area, 1)
        if steps.largest_only:
            keep &= np.arange(len(areas)) == areas.argmax()
        shape = keep[parts]
    if steps.convex_hull:
        shape = convex_hulls(shape, apart=steps.split_touching)
    return shape, lines


def disk(radius: int) -> np.ndarray:
    """(2·radius + 1)² uint8: 1 where x² + y² ≤ radius²."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)


def without_holes(shape: np.ndarray) -> np.ndarray:
    """(H, W) bool with its holes filled."""
    count, parts = cv2.connectedComponents((~shape).view(np.uint8), connectivity=4)
    closed = np.ones(count, bool)
    closed[np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])] = False
    return shape | closed[parts]


def belonging(mask: np.ndarray, index: int) -> np.ndarray:
    """(H, W) bool: parts of other classes (0 aside) that have more than half of their border with class `index`."""
    others = (mask != index) & (mask != 0)
    count, parts = cv2.connectedComponents(others.view(np.uint8), connectivity=8)
    border, shared = np.zeros(count), np.zeros(count)
    for (part_a, part_b), (class_a, class_b) in zip(neighbours(parts)[:2], neighbours(mask)[:2], strict=True):
        for part, beyond, neighbour in ((part_a, part_b, class_b), (part_b, part_a, class_a)):
            edge = part != beyond
            border += np.bincount(part[edge], minlength=count)
            shared += np.bincount(part[edge & (neighbour == index)], minlength=count)
    belongs = shared > border / 2
    belongs[0] = False
    return belongs[parts]


def split(shape: np.ndarray) -> np.ndarray:
    """Labels (H, W) int32 of the objects in (H, W) bool, 0 outside; blobs that touch have labels of their own.

    Watershed of the distance to the edge: every pixel follows the steepest ascent to a summit; then summits between which
    the saddle is hardly lower than the lower of them (see NECK) are one object, the highest saddles first.
    """
    height = cv2.distanceTransform(shape.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    height = np.where(shape, cv2.GaussianBlur(height, (0, 0), 1), -1)
    summit_of = climb(height)
    summits = shape.ravel() & (summit_of.ravel() == np.arange(shape.size))
    labels = np.where(shape, np.cumsum(summits, dtype=np.int32)[summit_of], 0)
    peaks = [0.0, *height.ravel()[summits].tolist()]
    root = list(range(len(peaks)))

    def find(label: int) -> int:
        while root[label] != label:
            root[label] = label = root[root[label]]
        return label

    for low, high, saddle in saddles(labels, height):
        a, b = find(low), find(high)
        lower = min(peaks[a], peaks[b])
        if a != b and (saddle > NECK * lower or saddle > lower - NECK_PIXELS):
            root[b], peaks[a] = a, max(peaks[a], peaks[b])
    return np.array([find(label) for label in range(len(root))], np.int32)[labels]


def climb(height: np.ndarray) -> np.ndarray:
    """Flat index (H, W) of the summit that steepest ascent over the 8 neighbours leads to from every pixel."""
    rows, columns = height.shape
    wide = np.pad(height, 1, constant_values=-np.inf)
    steepest, step = np.zeros_like(height), np.zeros(height.shape, np.int32)
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        # Diagonal steps are longer.
        rise = (wide[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns] - height) / float(np.hypot(dy, dx))
        better = rise > steepest
        np.copyto(steepest, rise, where=better)
        step[better] = dy * columns + dx
    target = step.ravel() + np.arange(height.size, dtype=np.int32 if height.size < 2**31 else np.int64)
    while not np.array_equal(further := target[target], target):
        target = further
    return target.reshape(height.shape)


def neighbours(array: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """All pairs of 8-neighbours, each once, as four pairs of views: right, down and the two diagonals."""
    return [
        (array[:, :-1], array[:, 1:]),
        (array[:-1], array[1:]),
        (array[:-1, :-1], array[1:, 1:]),
        (array[:-1, 1:], array[1:, :-1]),
    ]


def saddles(labels: np.ndarray, height: np.ndarray) -> list[tuple[int, int, float]]:
    """(lower label, higher label, height of the pass between them) of all labels that touch, the highest passes first."""
    pairs, passes = [], []
    for (a, b), (height_a, height_b) in zip(neighbours(labels), neighbours(height), strict=True):
        meet = (a != b) & (a > 0) & (b > 0)
        pairs.append(np.sort(np.stack([a[meet], b[meet]], axis=-1), axis=-1))
        passes.append(np.minimum(height_a[meet], height_b[meet]))
    unique, where = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    highest = np.zeros(len(unique), np.float32)
    np.maximum.at(highest, where.ravel(), np.concatenate(passes))
    order = np.argsort(-highest, kind="stable")
    return [(int(a), int(b), float(h)) for (a, b), h in zip(unique[order], highest[order], strict=True)]


def touching(labels: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels beside (8 neighbours) a higher label; without them no two labels touch."""
    line = np.zeros(labels.shape, bool)
    for (a, b), (line_a, line_b) in zip(neighbours(labels), neighbours(line), strict=True):
        both = (a > 0) & (b > 0)
        line_a |= both & (a < b)
        line_b |= both & (b < a)
    return line


def convex_hulls(shape: np.ndarray, apart: bool) -> np.ndarray:
    """(H, W) bool with every object grown to its convex hull; `apart`: a line stays free between different objects."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(shape.view(np.uint8), connectivity=8)
    hulls = labels.copy()
    for number in range(1, count):
        x, y, width, height = stats[number, :4]
        window = np.s_[y : y + height, x : x + width]
        hull = np.zeros((height, width), np.uint8)
        points = cv2.findNonZero((labels[window] == number).view(np.uint8))
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
        hulls[window][(hull > 0) & (hulls[window] == 0)] = number
    return (hulls > 0) & ~touching(hulls) if apart else hulls > 0


def nearest_other(mask: np.ndarray, own: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """For the `wanted` among the `own` pixels of a class: the class of the nearest pixel that is not own, (n,) uint8.

    Where all pixels are own: 0.
    """
    if own.all() or not wanted.any():
        return np.zeros(np.count_nonzero(wanted), np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(
        own.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value = np.zeros(nearest.max() + 1, np.uint8)
    value[nearest[~own]] = mask[~own]
    return value[nearest[wanted]]
