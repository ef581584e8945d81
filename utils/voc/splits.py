"""Drawing training, validation and test splits: at random, in order, by class, by group; and k folds."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from utils.core.console import UserError

Kind = Literal["random", "stratified", "contiguous"]


def group_keys(names: Sequence[str], pattern: str | None) -> list[str]:
    """The group of each name: what `pattern` (a regular expression) finds in it, or its first bracket where it has one.

    Without a pattern every name is a group of its own. Raises UserError for a bad pattern, and for a name without a match.
    """
    if pattern is None:
        return list(names)
    try:
        matches = [re.search(pattern, name) for name in names]
    except re.error as error:
        found = f"no regular expression ({error})"
        raise UserError(
            "group-keys", f"--group {pattern}", found, "a pattern such as ^[^_]+", "mend it"
        ) from None
    for name, match in zip(names, matches, strict=True):
        if not match or (match.re.groups and match[1] is None):
            expected = "a pattern that finds a group in every name, such as ^[^_]+ for all before the first _"
            raise UserError(
                "group-keys",
                f"--group {pattern}",
                f"no match in the name {name}",
                expected,
                "correct the pattern",
            )
    return [match[1] if match.re.groups else match[0] for match in matches]


def join_groups(*keys: Sequence[str]) -> list[list[int]]:
    """Lists of indices that belong together because they share a key of any of the lists, by first appearance."""
    parent = list(range(len(keys[0])))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for values in keys:
        first: dict[str, int] = {}
        for index, value in enumerate(values):
            a, b = sorted((root(first.setdefault(value, index)), root(index)))
            parent[b] = a
    groups = defaultdict(list)
    for index in range(len(parent)):
        groups[root(index)].append(index)
    return list(groups.values())


def sizes_of(count: int, val_percent: float, test_percent: float) -> list[int]:
    """Numbers of names to train, to validate and to test, at least one of the first two each."""
    test, val = round(count * test_percent / 100), max(round(count * val_percent / 100), 1)
    train = max(count - val - test, 1)
    val = min(val, count - train)
    return [train, val, count - train - val]


def draw(
    groups: Sequence[Sequence[int]], sizes: Sequence[int], kind: Kind, present: np.ndarray, seed: int
) -> list[list[int]]:
    """Parts of about these sizes, each a sorted list of indices; every index is in one part, no group is torn.

    present: (N, C) bool, which class is in which picture; looked at where `kind` is stratified. contiguous: the parts follow
    each other in the order of the groups. A part gets no group only where there are fewer groups than parts.
    """
    if kind == "contiguous":
        parts = _cut(groups, sizes)
    else:
        order = np.random.default_rng(seed).permutation(len(groups))
        # The largest first, because later ones can still even out the rest; sorted() keeps the random order of equals.
        shuffled = sorted((groups[index] for index in order), key=len, reverse=True)
        parts = _balance(shuffled, sizes, present if kind == "stratified" else present[:, :0])
    return [sorted(index for group in part for index in group) for part in parts]


def _cut(groups: Sequence[Sequence[int]], sizes: Sequence[int]) -> list[list[Sequence[int]]]:
    """A group goes to the part that its middle falls into."""
    lengths = np.array([len(group) for group in groups])
    wanted = [part for part, size in enumerate(sizes) if size]
    starts = np.searchsorted(lengths.cumsum() - lengths / 2, np.cumsum([sizes[part] for part in wanted])[:-1])
    for number in range(len(starts)):
        # Every part has a group, those before and those after it too.
        earliest = starts[number - 1] + 1 if number else 1
        starts[number] = max(min(starts[number], len(groups) - len(starts) + number), earliest)
    parts: list[list[Sequence[int]]] = [[] for _ in sizes]
    for part, start, stop in zip(wanted, [0, *starts], [*starts, len(groups)], strict=True):
        parts[part] = list(groups[start:stop])
    return parts


def _balance(
    groups: Sequence[Sequence[int]], sizes: Sequence[int], present: np.ndarray
) -> list[list[Sequence[int]]]:
    """Groups to parts, those of the rarest class first (iterative stratification, Sechidis et al. 2011)."""
    # The last column counts pictures: a class that all have.
    labels = np.array([[*present[list(group)].sum(0), len(group)] for group in groups])
    need = np.outer(np.array(sizes) / max(sum(sizes), 1), labels.sum(0))
    need[:, -1] = sizes
    has = np.zeros_like(need)
    parts: list[list[Sequence[int]]] = [[] for _ in sizes]
    left = np.ones(len(groups), bool)
    while left.any():
        carriers = (labels[left] > 0).sum(0)
        rarest = min((count, label) for label, count in enumerate(carriers) if count)[1]
        for group in np.flatnonzero(left & (labels[:, rarest] > 0)):
            part = _choose(need, has, rarest, (left & (labels[:, rarest] > 0)).sum(), left.sum())
            parts[part].append(groups[group])
            need[part] -= labels[group]
            has[part] += labels[group]
            left[group] = False
    return parts


def _choose(need: np.ndarray, has: np.ndarray, label: int, carriers: int, left: int) -> int:
    """The part that lacks most of a class, for the next of the `left` groups, `carriers` of which have that class.

    A full part takes nothing. The last carriers are for the parts without the class, the last groups for empty parts.
    """
    wanted = [part for part in range(len(need)) if need[part, -1] > 0] or list(range(len(need)))
    for column, remaining in ((-1, left), (label, carriers)):
        lacking = [part for part in wanted if not has[part, column]]
        wanted = lacking if lacking and remaining <= len(lacking) else wanted
    return max(wanted, key=lambda part: (need[part, label], need[part, -1]))


def check_folds(folds: int, groups: int) -> None:
    """Raises UserError for a number of folds that so many groups of names cannot fill."""
    if not 2 <= folds <= groups:
        found, expected = f"{folds} folds of {groups} groups of names", f"2 … {groups} folds"
        raise UserError(
            "check-folds", f"--folds {folds}", found, expected, "ask for fewer folds, or annotate more"
        )


def draw_folds(
    groups: Sequence[Sequence[int]], folds: int, kind: Kind, present: np.ndarray, seed: int
) -> list[list[int]]:
    """`folds` parts of about the same size, each to validate once. Raises UserError where there are fewer groups."""
    check_folds(folds, len(groups))
    count = sum(map(len, groups))
    sizes = [count // folds + (fold < count % folds) for fold in range(folds)]
    return draw(groups, sizes, kind, present, seed)
