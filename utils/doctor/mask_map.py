"""--map: new class indices for the values of masks."""

import re
from collections.abc import Iterable

import numpy as np

from utils.core.console import UserError

NO_CLASS = -1


def named_values(text: str) -> set[int]:
    """The old values that a map names; all of 16 bits where it has `*`. Raises UserError."""
    named = _parse_entries(text)
    return set(range(65536)) if "*" in named else set(map(int, named))


def parse_map(text: str, nearest: int = 0) -> np.ndarray:
    """`OLD:NEW,…` as a table (65536,) int32 from old value to new. Raises UserError.

    Values that are not named take the class of the nearest named one, at most `nearest` away, then that of
    `*`. Otherwise those up to 255 stay, or have no class (-1) if `nearest` is given; those above have none.
    """
    named = _parse_entries(text)
    others = named.pop("*", None)
    table = np.full(65536, NO_CLASS if others is None else others, np.int32)
    if others is None and not nearest:
        table[:256] = np.arange(256)
    old = _sorted_levels(named)
    new = np.array([named[str(value)] for value in old], int)
    if nearest and named:
        place = nearest_level(old)
        near = np.abs(np.arange(65536) - old[place]) <= nearest
        table[near] = new[place[near]]
    table[old] = new
    return table


def named_levels(text: str) -> np.ndarray:
    """The old values that a map names, (n,) sorted, without `*`. Raises UserError."""
    return _sorted_levels(_parse_entries(text))


def _sorted_levels(named: Iterable[str]) -> np.ndarray:
    return np.array(sorted(int(value) for value in named if value != "*"), int)


def nearest_level(levels: np.ndarray) -> np.ndarray:
    """(65536,) places, in sorted levels (n,), of the one nearest to each value; of two, of the larger one."""
    return np.searchsorted((levels[:-1] + levels[1:]) / 2, np.arange(65536), side="right")


def _parse_entries(text: str) -> dict[str, int]:
    named: dict[str, int] = {}
    for entry in text.split(","):
        match = re.fullmatch(r"\s*(\d+|\*)\s*:\s*(\d+)\s*", entry)
        if not match or int(match[1].replace("*", "0")) > 65535 or int(match[2]) > 255:
            found = f"the entry {entry!r}"
            expected = "OLD:NEW with numbers 0 … 255 (OLD up to 65535 in 16-bit masks, * for all others)"
            raise UserError("map-entry", f"--map {text}", found, expected, "for example --map 0:0,255:1")
        old = match[1] if match[1] == "*" else str(int(match[1]))
        if old in named:
            found = f"the value {old} twice"
            raise UserError("map-twice", f"--map {text}", found, "each OLD once", "choose one NEW for it")
        named[old] = int(match[2])
    return named
