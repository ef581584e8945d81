"""Drawing training, validation and test splits: at random, in order, by class, by group; and k folds."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import tyro
from annotated_types import Ge, Lt

from utils.core.console import UserError, warn
from utils.images.palette import IGNORE_INDEX
from utils.voc.survey import PairRecord

Kind = Literal["random", "stratified", "contiguous"]
Percent = Annotated[float, Ge(0), Lt(100)]


@dataclass(frozen=True)
class SplitSettings:
    """The split into pictures to train on, to validate on, and to test on."""

    val_percent: Percent = 20.0  # share of the pictures for validation
    test_percent: Percent = 0.0  # share of the pictures kept apart for a last test
    # stratified: rare classes on all sides; contiguous: the last names in order, for slices
    split_by: Annotated[Kind, tyro.conf.arg(aliases=["--split"])] = "random"
    group: str | None = None  # pattern such as ^[^_]+: names with the same match stay on one side
    # also write fold0_train.txt, fold0_val.txt, …: every name outside the test validates once
    folds: Annotated[int, Ge(0)] = 0
    seed: Annotated[int, Ge(0)] = 0  # of the draw: same seed, same split
    overwrite: bool = False  # draw the splits anew although split files exist


def check_percents(settings: SplitSettings) -> None:
    """Raises UserError for percentages that leave nothing to train on."""
    if settings.val_percent + settings.test_percent >= 100:
        found = f"--val-percent {settings.val_percent:g} and --test-percent {settings.test_percent:g}"
        expected = "percentages that leave something to train on"
        raise UserError("split-percent", "split", found, expected, "choose smaller ones")


def check_groups(settings: SplitSettings, names: Sequence[str]) -> None:
    """Raises UserError for a pattern or a number of folds that does not fit these names."""
    groups = set(group_keys(names, settings.group))
    if settings.folds:
        check_folds(settings.folds, len(groups))


def draw_splits(
    settings: SplitSettings, records: Sequence[PairRecord], digests: Mapping[str, str], apart: Sequence[str]
) -> dict[str, list[str]]:
    """Split → names in the order of the records. apart: the names of an earlier test split, which stay in it.

    digests: name → digest of the picture. Copies of one picture stay on one side.
    """
    kept = [record.name for record in records if record.name in set(apart)]
    records = [record for record in records if record.name not in set(apart)]
    names = [record.name for record in records]
    groups, present = _group_records(settings, records, digests)
    if len(groups) == 1:
        what = "one pair only" if len(names) == 1 else "one group of names only"
        warn(f"there is {what}: it is used for training and for validation, so the scores mean little")
        return {"train": names, "val": names, "trainval": names, "test": kept}
    sizes = sizes_of(len(names), settings.val_percent, settings.test_percent)
    train, val, test = draw(groups, sizes, settings.split_by, present, settings.seed)
    parts = {"train": train, "val": val, "trainval": sorted(train + val), "test": test}
    drawn = {split: [names[index] for index in part] for split, part in parts.items()}
    return {**drawn, "test": kept or drawn["test"]}


def draw_fold_splits(
    settings: SplitSettings, records: Sequence[PairRecord], digests: Mapping[str, str], apart: Sequence[str]
) -> list[tuple[list[str], list[str]]]:
    """Names to train on and to validate on, for each fold; those of the test split `apart` are in none."""
    records = [record for record in records if record.name not in set(apart)]
    groups, present = _group_records(settings, records, digests)
    parts = draw_folds(groups, settings.folds, settings.split_by, present, settings.seed)
    names = [record.name for record in records]
    return [
        (
            [name for index, name in enumerate(names) if index not in set(part)],
            [names[index] for index in part],
        )
        for part in parts
    ]


def _group_records(
    settings: SplitSettings, records: Sequence[PairRecord], digests: Mapping[str, str]
) -> tuple[list[list[int]], np.ndarray]:
    """Groups of indices of records that stay together, and which class is in which mask, (N, C) bool."""
    names = [record.name for record in records]
    if not names:
        expected, remedy = "pairs outside test.txt", "remove test.txt, or names from it"
        raise UserError("split-nothing-left", "split", "all pairs are in test.txt", expected, remedy)
    # Copies of one picture would reveal to the validation what was trained on.
    copies = names if settings.split_by == "contiguous" else [digests[name] for name in names]
    labels = sorted(set().union(*(record.values for record in records)) - {IGNORE_INDEX})
    present = np.array([[label in record.values for label in labels] for record in records], bool)
    return join_groups(group_keys(names, settings.group), copies), present


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
            found = f"no match in the name {name}"
            expected = "a pattern that finds a group in every name, such as ^[^_]+ for all before the first _"
            raise UserError("group-no-match", f"--group {pattern}", found, expected, "correct the pattern")
    return [match[1] if match.re.groups else match[0] for match in matches]


def join_groups(*keys: Sequence[str]) -> list[list[int]]:
    """Lists of indices that share a key of any of the lists, directly or by others, by first appearance."""
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
    """`folds` parts of about the same size, each to validate once.

    Raises UserError if there are fewer groups.
    """
    check_folds(folds, len(groups))
    base, extra = divmod(sum(map(len, groups)), folds)
    return draw(groups, [base + (fold < extra) for fold in range(folds)], kind, present, seed)


def check_folds(folds: int, groups: int) -> None:
    """Raises UserError for a number of folds that so many groups of names cannot fill."""
    if not 2 <= folds <= groups:
        found, expected = f"{folds} folds of {groups} groups of names", f"2 … {groups} folds"
        remedy = "ask for fewer folds, or annotate more"
        raise UserError("fold-number", f"--folds {folds}", found, expected, remedy)
