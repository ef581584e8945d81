"""Drawing parts of names: at random, in order, by class, by group; and k folds."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from utils.core.console import UserError

Kind = Literal["random", "stratified", "contiguous"]


def group_keys(names: Sequence[str], pattern: str | None) -> list[str]:
    """The group of each name: what `pattern`, a regular expression, finds in it, or its first bracket if any.

    Without a pattern every name is a group. Raises UserError for a bad pattern or a name without a match.
    """
    if pattern is None:
        return list(names)
    try:
        matches = [re.search(pattern, name) for name in names]
    except re.error as error:
        found, expected = f"no regular expression ({error})", "a pattern such as ^[^_]+"
        raise UserError("group-pattern", f"--group {pattern}", found, expected, "correct it") from None
    for name, match in zip(names, matches, strict=True):
        if not match or (match.re.groups and match[1] is None):
            found, expected = f"no match in the name {name}", "a match in every name, such as of ^[^_]+"
            raise UserError("group-no-match", f"--group {pattern}", found, expected, "correct it")
    return [match[1] if match.re.groups else match[0] for match in matches]


def join_groups(*keys: Sequence[str]) -> list[list[int]]:
    """Lists of indices that share a key of any of the lists, directly or by others, by first appearance."""
    count = len(keys[0])
    # Edges from each index to the first one with its key.
    firsts = [dict(zip(reversed(values), reversed(range(count)), strict=True)) for values in keys]
    edges = [
        (index, first[value])
        for first, values in zip(firsts, keys, strict=True)
        for index, value in enumerate(values)
    ]
    groups = defaultdict(list)
    for index, label in enumerate(connect(count, edges)):
        groups[label].append(index)
    return list(groups.values())


def connect(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """For each of `count` indices the number of its group. edges: pairs of indices of one group."""
    ends = np.array(edges, int).reshape(-1, 2)
    matrix = coo_array((np.ones(len(ends)), tuple(ends.T)), (count, count))
    return connected_components(matrix, directed=False)[1].tolist()


def sizes_of(count: int, val_percent: float, test_percent: float) -> list[int]:
    """Numbers of names to train, to validate and to test, at least one of the first two each."""
    test, val = round(count * test_percent / 100), max(round(count * val_percent / 100), 1)
    train = max(count - val - test, 1)
    val = min(val, count - train)
    return [train, val, count - train - val]


def draw(
    groups: Sequence[Sequence[int]], sizes: Sequence[int], kind: Kind, present: np.ndarray, seed: int
) -> list[list[int]]:
    """Parts of about these sizes, each a sorted list of indices.

    Every index is in one part, no group is torn. present: (N, C) bool, which class is in which picture; used
    if `kind` is stratified. contiguous: the parts follow each other in the order of the groups. A part gets
    no group only if there are fewer groups than parts.
    """
    if kind == "contiguous":
        parts = _cut(groups, sizes)
    else:
        order = np.random.default_rng(seed).permutation(len(groups))
        # The largest first, because later ones can still even out the rest; sorted() keeps the random order
        # of equals.
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
    """Part that lacks most of class `label`, for the next of the `left` groups, `carriers` of which have it.

    A full part gets nothing. The last carriers go to parts without the class, last groups to empty ones.
    """
    wanted = [part for part in range(len(need)) if need[part, -1] > 0] or list(range(len(need)))
    for column, remaining in ((-1, left), (label, carriers)):
        lacking = [part for part in wanted if not has[part, column]]
        wanted = lacking if lacking and remaining <= len(lacking) else wanted
    return max(wanted, key=lambda part: (need[part, label], need[part, -1]))


def draw_folds(
    groups: Sequence[Sequence[int]], folds: int, kind: Kind, present: np.ndarray, seed: int
) -> list[list[int]]:
    """`folds` parts of about the same size, each to validate once. Raises UserError for too few groups."""
    check_folds(folds, len(groups))
    base, extra = divmod(sum(map(len, groups)), folds)
    return draw(groups, [base + (fold < extra) for fold in range(folds)], kind, present, seed)


def check_folds(folds: int, groups: int) -> None:
    """Raises UserError for a number of folds that so many groups of names cannot fill."""
    if not 2 <= folds <= groups:
        found, remedy = f"{folds} folds of {groups} groups of names", "ask for fewer folds, or annotate more"
        raise UserError("fold-number", f"--folds {folds}", found, f"2 … {groups} folds", remedy)
