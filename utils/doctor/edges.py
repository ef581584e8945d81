"""Smooth edges of drawings in gray values: which of the areas beside it each of their pixels belongs to.

A pixel of an edge is a mixture of two areas, so that between 0 and 255 it has the value of a third one.
"""

import cv2
import numpy as np

from utils.doctor.evidence import NEAR_END
from utils.doctor.mask_map import nearest_level

CROSS, AROUND = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), np.ones((3, 3), np.uint8)


def settle_edges(values: np.ndarray, levels: np.ndarray, nearest: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (H, W), those of edges replaced by the one of their area; and where (H, W) nothing tells it.

    levels: (n,) values of the areas, sorted; nearest: how far other values may be from them. Edges run from
    the largest value beside a pixel to the smallest, step by step, and end in two areas: the nearer one wins.
    """
    lost = np.zeros(values.shape, bool)
    # Levels that are nearer to each other are class indices.
    if len(levels) < 3 or np.diff(levels).min() <= 2 * NEAR_END:
        return values, lost
    # By value, small types: masks are large.
    place = nearest_level(levels)
    away = np.abs(np.arange(len(place)) - levels[place])
    # What is nearest to the lowest or the highest level is no mixture of others.
    middle = np.where((away <= nearest) & (place < len(levels) - 1), place, 0).astype(np.int16)[values]
    areas, beside = _find_areas(values, middle, (away <= NEAR_END)[values])
    unsure = (middle > 0) & ~areas
    if not unsure.any():
        return values, lost
    settled, flat = values.copy(), values.ravel()
    at, own = np.flatnonzero(unsure), values[unsure]
    ends = [_follow(values, at, sign) for sign in (-1, 1)]
    low, high = (levels[place[flat[end]]] for end in ends)
    edge = ~unsure.ravel()[ends[0]] & ~unsure.ravel()[ends[1]]
    chosen = np.where(2 * own.astype(int) >= low + high, high, low)
    settled[unsure] = np.where(edge, chosen, levels[place[own]])
    lost[unsure] = ~edge & ~beside[unsure]
    return settled, lost


def _find_areas(values: np.ndarray, middle: np.ndarray, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas of the middle levels with their thin parts, and pixels nearest to the level of the area beside.

    middle: (H, W) number of the level from 1, 0 for none; flat: where the value is that of the level.
    """
    between = (values > cv2.erode(values, AROUND)) & (values < cv2.dilate(values, AROUND))
    areas, beside = np.zeros(values.shape, bool), np.zeros(values.shape, bool)
    for number in range(1, middle.max() + 1):
        own = middle == number
        core = cv2.morphologyEx((own & flat).view(np.uint8), cv2.MORPH_OPEN, CROSS)
        near = own & cv2.dilate(core, AROUND).view(bool)
        # An edge of other areas may touch this one, and has its value between theirs.
        count, parts = cv2.connectedComponents((own & flat & (near | ~between)).view(np.uint8))
        kept = np.zeros(count, bool)
        kept[parts[core.view(bool)]] = True
        areas |= kept[parts]
        beside |= near
    return areas, beside


def _follow(values: np.ndarray, at: np.ndarray, sign: int) -> np.ndarray:
    """Where the way up (sign 1) or down (-1) from each of the unsure pixels ends, as places like `at`: (n,).

    That is at the first pixel that is not unsure, or at one whose neighbours lead no further. at: (n,) sorted
    places in the flat mask.
    """
    height, width = values.shape
    y, x = np.divmod(at, width)
    steps = np.array([(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    rows, columns = np.clip(y + steps[:, :1], 0, height - 1), np.clip(x + steps[:, 1:], 0, width - 1)
    around = sign * values[rows, columns].astype(np.int32)
    best, each = around.argmax(0), np.arange(len(at))
    further = around[best, each] > sign * values[y, x].astype(np.int32)
    following = np.where(further, rows[best, each] * width + columns[best, each], at)
    ends = following
    while True:
        place = np.searchsorted(at, ends).clip(max=len(at) - 1)
        moved = np.where(at[place] == ends, following[place], ends)
        if np.array_equal(moved, ends):
            return ends
        ends = moved
