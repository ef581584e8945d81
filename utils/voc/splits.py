"""The splits of a VOC folder: planned and checked first, then written."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from annotated_types import Ge, Lt

from utils.core.console import UserError, counted, note, warn
from utils.core.files import read_record, remove
from utils.images.palette import IGNORE_INDEX
from utils.voc.drawing import Kind, draw, draw_folds, group_keys, join_groups, sizes_of
from utils.voc.folder import VocFolder
from utils.voc.names import list_some
from utils.voc.survey import PairRecord

Percent = Annotated[float, Ge(0), Lt(100)]
FEW, FEW_DRAWS = 10, 8  # groups of pictures of which several splits are drawn
GROUP_HINT = r"^.+(?=[-_. ]\d+)"  # what stands before the last number of a name


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


@dataclass
class SplitPlan:
    """Split files to write and to remove, and what to say about them; nothing is touched before `write`."""

    folder: VocFolder
    splits: dict[str, list[str]] = field(default_factory=dict)  # to write
    kept: dict[str, list[str]] = field(default_factory=dict)
    removed: list[Path] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def members(self, split: str) -> list[str]:
        """Names of a split once the plan is carried out."""
        return self.splits.get(split, self.kept.get(split, []))

    def write(self) -> None:
        for path in self.removed:
            remove(path)
        for split, names in self.splits.items():
            self.folder.write_split(split, names)
        print("\n".join(self.lines))


def plan_splits(
    folder: VocFolder, settings: SplitSettings, records: Sequence[PairRecord], copies: Mapping[str, str]
) -> SplitPlan:
    """Draw train, val, trainval and test, then the folds. copies: name → key, the same for copies.

    Existing files are kept, and checked, unless `overwrite`. An earlier test.txt keeps its names, unless
    test_percent draws it anew. Copies of one picture stay on one side.
    Raises UserError for a split that cannot be.
    """
    plan, names = SplitPlan(folder), [record.name for record in records]
    existing = [split for split in ("train", "val") if (folder.splits_dir / f"{split}.txt").exists()]
    if existing and not settings.overwrite:
        group_keys(names, settings.group)
        _keep_splits(plan, set(names))
    else:
        apart = folder.read_split_if_any("test")
        if settings.test_percent and settings.overwrite:
            apart = []
        elif settings.test_percent and apart:
            path = folder.splits_dir / "test.txt"
            plan.lines.append(f"kept     {path}: {counted(len(apart), 'name')}; --overwrite draws it anew")
            settings = replace(settings, test_percent=0.0)
        plan.splits = _draw_splits(settings, _split_off(settings, records, apart, copies), apart, copies)
        sizes = ", ".join(f"{split} {len(names)}" for split, names in plan.splits.items())
        plan.lines.append(f"split ({settings.split_by}) written to {folder.splits_dir}: {sizes}")
        if left_out := len({*names} - set().union(*plan.splits.values())):
            copied = counted(left_out, "pair")
            plan.lines.append(f"         {copied} in no split: copies of pictures that are kept for the test")
        if settings.group is None and settings.split_by != "contiguous":
            _hint_at_groups(folder, names)
    _warn_about_copies(plan, settings, copies, "val")
    _warn_about_copies(plan, settings, copies, "test")
    if settings.folds:
        _plan_folds(plan, settings, records, copies)
    return plan


def _hint_at_groups(folder: VocFolder, names: Sequence[str]) -> None:
    """Tell of --group where names share stems, as scan1_001 and scan1_002 do; of slices of one volume."""
    volumes = find_volumes(folder, names)
    if volumes and len(volumes) == 1:
        what = f"the pictures are slices of one volume ({volumes[0]}), and neighbours look alike"
        remedy = f"{folder.doctor('--split contiguous --overwrite')} keeps them together"
        warn(f"{what}: a random split makes scores too good; {remedy}")
        return
    stems = [re.search(GROUP_HINT, name) for name in names]
    sizes = Counter(stem[0] for stem in stems if stem)
    if all(stems) and 1 < len(sizes) <= len(names) / 2:
        stem, size = sizes.most_common(1)[0]
        found = f"{len(sizes)} stems in {len(names)} names, such as {stem} in {size} of them"
        note(f'{found}. If a stem is one scan, patient or film, keep it on one side: --group "{GROUP_HINT}"')


def find_volumes(folder: VocFolder, names: Sequence[str]) -> list[str]:
    """Files that more than one picture each was made of, if all pictures were."""
    counts = count_by_source(folder, names)
    slices = None not in counts and min(counts.values(), default=0) > 1
    return [path.name for path in counts] if slices else []


def count_by_source(folder: VocFolder, names: Iterable[str]) -> Counter[Path | None]:
    """Pictures by the file that they were made of, by import_record.json; None: it has none for them."""
    record = read_record(folder.root / "import_record.json")
    pictures = {Path(key).stem: known for key, known in record.items() if key.startswith("JPEGImages/")}
    sources = {name: Path(known.get("from", ""), known.get("file", "")) for name, known in pictures.items()}
    return Counter(map(sources.get, names))


def _keep_splits(plan: SplitPlan, known: set[str]) -> None:
    """What the split files hold. Raises UserError for an empty one and for names without a pair."""
    plan.kept["test"] = plan.folder.read_split_if_any("test")
    for split in ("train", "val"):
        path = plan.folder.splits_dir / f"{split}.txt"
        plan.kept[split] = names = plan.folder.read_split(split)
        if stray := [name for name in names if name not in known]:
            found = f"{counted(len(stray), 'name')} of {len(names)} without a pair: {list_some(stray)}"
            remedy = "correct the file, or draw the split anew with --overwrite"
            raise UserError("split-name", path, found, "names of pairs of picture and mask", remedy)
        plan.lines.append(f"kept     {path}: {counted(len(names), 'name')}")
    if missing := known - set().union(*plan.kept.values()):
        line = f"         {counted(len(missing), 'pair')} in no split; --overwrite draws train and val anew"
        plan.lines.append(line)


def _split_off(
    settings: SplitSettings, records: Sequence[PairRecord], apart: Sequence[str], copies: Mapping[str, str]
) -> list[PairRecord]:
    """The records but for those to test on and copies of these. Raises UserError if none is left."""
    names = set(apart)
    copied = {copies[name] for name in apart if name in copies and settings.split_by != "contiguous"}
    left = [one for one in records if one.name not in names and copies[one.name] not in copied]
    if not left:
        expected, remedy = "pairs outside test.txt", "remove test.txt, or names from it"
        raise UserError("split-nothing-left", "split", "all pairs are in test.txt", expected, remedy)
    return left


def _draw_splits(
    settings: SplitSettings, records: Sequence[PairRecord], tested: Sequence[str], copies: Mapping[str, str]
) -> dict[str, list[str]]:
    """Split → names in the order of the records. tested: those of an earlier test split, which stay so."""
    names = [record.name for record in records]
    groups, present = _group_records(settings, records, copies)
    if len(groups) == 1:
        what = "one pair only" if len(names) == 1 else "one group of names only"
        warn(f"there is {what}: it is used for training and for validation, so the scores mean little")
        return {"train": names, "val": names, "trainval": names, "test": list(tested)}
    sizes = sizes_of(len(names), settings.val_percent, settings.test_percent)
    draws = FEW_DRAWS if settings.split_by == "random" and len(groups) <= FEW else 1
    seeds = (settings.seed + 1_000_000 * number for number in range(draws))
    parts = [draw(groups, sizes, settings.split_by, present, seed) for seed in seeds]
    # What is only validated on cannot be learnt. The first draw wins unless another one keeps more classes.
    train, val, test = max(parts, key=lambda part: present[part[0]].any(0).sum())
    parts = {"train": train, "val": val, "trainval": sorted(train + val), "test": test}
    drawn = {split: [names[index] for index in part] for split, part in parts.items()}
    return {**drawn, "test": list(tested) or drawn["test"]}


def _plan_folds(
    plan: SplitPlan, settings: SplitSettings, records: Sequence[PairRecord], copies: Mapping[str, str]
) -> None:
    """foldI_train.txt and foldI_val.txt of all names outside the test split."""
    splits_dir = plan.folder.splits_dir
    existing = sorted(splits_dir.glob("fold*_*.txt"))
    if existing and not settings.overwrite:
        plan.lines.append(f"kept     {len(existing)} fold files in {splits_dir}; --overwrite draws them anew")
        return
    records = _split_off(settings, records, plan.members("test"), copies)
    groups, present = _group_records(settings, records, copies)
    parts = draw_folds(groups, settings.folds, settings.split_by, present, settings.seed)
    plan.removed = existing
    for fold, part in enumerate(parts):
        inside = set(part)
        train = [record.name for index, record in enumerate(records) if index not in inside]
        plan.splits[f"fold{fold}_val"] = [records[index].name for index in part]
        plan.splits[f"fold{fold}_train"] = train
    sizes = ", ".join(str(len(part)) for part in parts)
    plan.lines.append(f"folds    {len(parts)} written to {splits_dir}: to validate {sizes}")


def _warn_about_copies(
    plan: SplitPlan, settings: SplitSettings, copies: Mapping[str, str], other: str
) -> None:
    """Warn about pictures that train and, under this or another name, are in the `other` split."""
    train, judged = ({copies.get(n, n): n for n in plan.members(split)} for split in ("train", other))
    both = sorted(train.keys() & judged.keys())
    if both and set(train.values()) != set(judged.values()):
        number, such = counted(len(both), "picture"), " and ".join({train[both[0]]: 0, judged[both[0]]: 0})
        remedy = "; --overwrite draws the split anew and keeps copies together"
        remedy *= settings.split_by != "contiguous"
        warn(f"{number} in train and in {other}, such as {such}: the scores will be too good{remedy}")


def _group_records(
    settings: SplitSettings, records: Sequence[PairRecord], copies: Mapping[str, str]
) -> tuple[list[list[int]], np.ndarray]:
    """Groups of indices of records that stay together, and which class is in which mask, (N, C) bool."""
    names = [record.name for record in records]
    # Copies of one picture would reveal to the validation what was trained on.
    copied = names if settings.split_by == "contiguous" else [copies[name] for name in names]
    labels = sorted(set().union(*(record.values for record in records)) - {IGNORE_INDEX})
    present = np.array([[label in record.values for label in labels] for record in records], bool)
    return join_groups(group_keys(names, settings.group), copied), present
