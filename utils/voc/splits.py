"""Drawing splits and k folds: at random, in order, by class, by group; and the files that hold them."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import tyro
from annotated_types import Ge, Lt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from utils.core.console import UserError, counted, warn
from utils.core.files import remove
from utils.images.palette import IGNORE_INDEX
from utils.voc.folder import VocFolder
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
        raise UserError("split-percent", "split", found, "a sum below 100", "choose smaller ones")


def check_groups(settings: SplitSettings, names: Sequence[str]) -> None:
    """Raises UserError for a pattern or a number of folds that does not fit these names."""
    groups = set(group_keys(names, settings.group))
    if settings.folds:
        check_folds(settings.folds, len(groups))


def write_splits(
    folder: VocFolder, settings: SplitSettings, records: Sequence[PairRecord], digests: Mapping[str, str]
) -> None:
    """Write train, val, trainval and test, then the folds. digests: name → digest of the picture.

    Existing files are kept, and checked, unless `overwrite`. Without test_percent an earlier test.txt keeps
    its names. Copies of one picture stay on one side.
    """
    existing = [split for split in ("train", "val") if (folder.splits_dir / f"{split}.txt").exists()]
    if existing and not settings.overwrite:
        _check_kept_splits(folder, {record.name for record in records})
    else:
        apart = [] if settings.test_percent else folder.read_split_if_any("test")
        splits = _draw_splits(settings, *_split_off(records, apart), digests)
        for split, names in splits.items():
            folder.write_split(split, names)
        sizes = ", ".join(f"{split} {len(names)}" for split, names in splits.items())
        print(f"split ({settings.split_by}) written to {folder.splits_dir}: {sizes}")
    _warn_about_copies(folder, settings, digests)
    if settings.folds:
        _write_folds(folder, settings, records, digests)


def _check_kept_splits(folder: VocFolder, known: set[str]) -> None:
    """Print what the split files hold. Raises UserError for an empty one and for a name without a pair."""
    listed = set(folder.read_split_if_any("test"))
    for split in ("train", "val"):
        path, names = folder.splits_dir / f"{split}.txt", folder.read_split(split)
        if stray := [name for name in names if name not in known]:
            found = f"the name {stray[0]}, which has no pair"
            remedy = "correct the file, or draw the split anew with --overwrite"
            raise UserError("split-name", path, found, "names of pairs of picture and mask", remedy)
        listed.update(names)
        print(f"kept     {path}: {counted(len(names), 'name')}")
    if missing := known - listed:
        print(f"         {counted(len(missing), 'pair')} in no split; --overwrite draws train and val anew")


def _split_off(records: Sequence[PairRecord], apart: Sequence[str]) -> tuple[list[PairRecord], list[str]]:
    """The records but for those with names in `apart`, and the names of these. Raises UserError if all."""
    kept = [record.name for record in records if record.name in set(apart)]
    if len(kept) == len(records):
        expected, remedy = "pairs outside test.txt", "remove test.txt, or names from it"
        raise UserError("split-nothing-left", "split", "all pairs are in test.txt", expected, remedy)
    return [record for record in records if record.name not in set(kept)], kept


def _draw_splits(
    settings: SplitSettings, records: Sequence[PairRecord], tested: Sequence[str], digests: Mapping[str, str]
) -> dict[str, list[str]]:
    """Split → names in the order of the records. tested: those of an earlier test split, which they stay."""
    names = [record.name for record in records]
    groups, present = _group_records(settings, records, digests)
    if len(groups) == 1:
        what = "one pair only" if len(names) == 1 else "one group of names only"
        warn(f"there is {what}: it is used for training and for validation, so the scores mean little")
        return {"train": names, "val": names, "trainval": names, "test": tested}
    sizes = sizes_of(len(names), settings.val_percent, settings.test_percent)
    train, val, test = draw(groups, sizes, settings.split_by, present, settings.seed)
    parts = {"train": train, "val": val, "trainval": sorted(train + val), "test": test}
    drawn = {split: [names[index] for index in part] for split, part in parts.items()}
    return {**drawn, "test": tested or drawn["test"]}


def _write_folds(
    folder: VocFolder, settings: SplitSettings, records: Sequence[PairRecord], digests: Mapping[str, str]
) -> None:
    """foldI_train.txt and foldI_val.txt of all names outside test.txt."""
    existing = sorted(folder.splits_dir.glob("fold*_*.txt"))
    if existing and not settings.overwrite:
        print(f"kept     {len(existing)} fold files in {folder.splits_dir}; --overwrite draws them anew")
        return
    records, _ = _split_off(records, folder.read_split_if_any("test"))
    groups, present = _group_records(settings, records, digests)
    parts = draw_folds(groups, settings.folds, settings.split_by, present, settings.seed)
    for path in existing:
        remove(path)
    for fold, part in enumerate(parts):
        folder.write_split(f"fold{fold}_val", [records[index].name for index in part])
        train = [record.name for index, record in enumerate(records) if index not in set(part)]
        folder.write_split(f"fold{fold}_train", train)
    sizes = ", ".join(str(len(part)) for part in parts)
    print(f"folds    {len(parts)} written to {folder.splits_dir}: to validate {sizes}")


def _warn_about_copies(folder: VocFolder, settings: SplitSettings, digests: Mapping[str, str]) -> None:
    """Warn about pictures that train and, under this or another name, validate."""
    train, val = ({digests[name]: name for name in folder.read_split(split)} for split in ("train", "val"))
    both = sorted(train.keys() & val.keys())
    if both and set(train.values()) != set(val.values()):
        number, such = counted(len(both), "picture"), " and ".join({train[both[0]]: 0, val[both[0]]: 0})
        remedy = "; --overwrite draws the split anew and keeps copies together"
        remedy *= settings.split_by != "contiguous"
        warn(f"{number} in train and in val, such as {such}: the scores will be too good{remedy}")


def _group_records(
    settings: SplitSettings, records: Sequence[PairRecord], digests: Mapping[str, str]
) -> tuple[list[list[int]], np.ndarray]:
    """Groups of indices of records that stay together, and which class is in which mask, (N, C) bool."""
    names = [record.name for record in records]
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
            found, expected = f"no match in the name {name}", "a match in every name, such as of ^[^_]+"
            raise UserError("group-no-match", f"--group {pattern}", found, expected, "correct it")
    return [match[1] if match.re.groups else match[0] for match in matches]


def join_groups(*keys: Sequence[str]) -> list[list[int]]:
    """Lists of indices that share a key of any of the lists, directly or by others, by first appearance."""
    count = len(keys[0])
    # Edges from each index to the first one with its key.
    firsts = [dict(zip(reversed(values), reversed(range(count)), strict=True)) for values in keys]
    targets = [first[value] for first, values in zip(firsts, keys, strict=True) for value in values]
    edges = coo_array((np.ones(len(targets)), (np.tile(range(count), len(keys)), targets)), (count, count))
    groups = defaultdict(list)
    for index, label in enumerate(connected_components(edges, directed=False)[1]):
        groups[label].append(index)
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
    """`folds` parts of about the same size, each to validate once. Raises UserError for too few groups."""
    check_folds(folds, len(groups))
    base, extra = divmod(sum(map(len, groups)), folds)
    return draw(groups, [base + (fold < extra) for fold in range(folds)], kind, present, seed)


def check_folds(folds: int, groups: int) -> None:
    """Raises UserError for a number of folds that so many groups of names cannot fill."""
    if not 2 <= folds <= groups:
        found, remedy = f"{folds} folds of {groups} groups of names", "ask for fewer folds, or annotate more"
        raise UserError("fold-number", f"--folds {folds}", found, f"2 … {groups} folds", remedy)
