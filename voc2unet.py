"""Check a VOC folder, mend the coding of its masks on request, describe it, and write its split files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.core.console import UserError, counted, quoted, run_script, warn
from utils.core.files import remove, write_lines
from utils.doctor.examination import Findings, check_pictures, check_values, examine, report
from utils.doctor.pairing import Fault, list_pairs
from utils.doctor.repair import Mending, write_mended
from utils.doctor.sheets import draw_contact_sheet, draw_statistics
from utils.doctor.statistics import Statistics, describe, save_statistics
from utils.images.palette import IGNORE_INDEX
from utils.voc.classes import resolve_class_names
from utils.voc.folder import VocFolder
from utils.voc.splits import Kind, check_folds, draw, draw_folds, group_keys, join_groups, sizes_of


@dataclass
class Config:
    """Settings of the check, the mending and the split."""

    voc_root: Path = Path("VOCdevkit/VOC2007")  # VOC folder
    # Splits
    val_percent: float = 20.0  # share of the pictures for validation
    test_percent: float = 0.0  # share of the pictures kept apart for a last test
    split: Kind = (
        "random"  # stratified: rare classes on all sides; contiguous: the last names in order, for slices
    )
    group: str | None = (
        None  # pattern on the name, such as ^[^_]+: names with the same match stay on one side
    )
    folds: int = 0  # also write fold0_train.txt, fold0_val.txt, …: every name outside the test validates once
    seed: int = 0  # of the draw: same seed, same split
    overwrite: bool = False  # draw the splits anew although split files exist
    # Mending: the originals go to SegmentationClass.orig, and mask_map.json says what was done
    fix: bool = False  # mend what leaves no choice: names, file types, bit depth, EXIF; included in --map and --colors
    map: str | None = None  # mask values: OLD:NEW,…, such as 0:0,255:1; * stands for all others
    colors: str | None = (
        None  # colours to classes: voc, msrc2, camvid, or a text file with a line R G B NAME a colour
    )
    nearest: int = 0  # how far a value or colour may be from the nearest one that --map or --colors names


def main(config: Config) -> None:
    check_percents(config)
    folder = VocFolder(config.voc_root)
    mending = Mending(config.voc_root, config.fix, config.map, config.colors, config.nearest)
    pairs, faults = list_pairs(folder, mending)
    findings = examine(pairs, mending)
    class_names = named_classes(folder, mending)
    faults += (
        findings.faults + check_values(folder, findings, class_names, mending) + check_pictures(findings)
    )
    if not pairs:
        found = "no pair of picture and mask"
        faults.append(Fault("folders without pairs", folder.root, found, "pairs of one name", "put them in"))
    # A proposed command draws the split that was asked for.
    wanted = folder.doctor(split_flags(config))
    faults = [replace(fault, remedy=fault.remedy.replace(folder.doctor(), wanted)) for fault in faults]
    # What the masks are going to hold, and what the splits are asked to be, are checked before any mask is written.
    report(folder, faults, len(pairs))
    groups = set(group_keys([one.name for one in findings.seen], config.group))
    if config.folds:
        check_folds(config.folds, len(groups))
    if mending.active:
        write_mended(folder, mending, pairs, [one.mended for one in findings.seen])
    class_names = settle_classes(folder, mending, class_names, findings)
    write_splits(config, folder, findings)
    # After the split, for training chooses its settings by the pictures that it trains on.
    statistics = describe(findings, class_names, folder.read_split("train"))
    save_statistics(folder, statistics, findings.seen)
    print_statistics(folder, statistics)
    draw_statistics(folder, statistics, findings)
    draw_contact_sheet(folder, findings.seen, class_names)
    settings = " ".join(one.flags for one in statistics.proposals)
    print(f"\nnext: python train.py --voc-root {quoted(folder.root)} {settings}")


def check_percents(config: Config) -> None:
    val, test = config.val_percent, config.test_percent
    if min(val, test) < 0 or val + test >= 100:
        found = f"--val-percent {val:g} and --test-percent {test:g}"
        raise UserError(
            "check-percents",
            "split",
            found,
            "percentages from 0 that leave something to train on",
            "choose smaller ones",
        )


def split_flags(config: Config) -> str:
    """The flags of the split that differ from the defaults, as they are typed."""
    names, default = ("val_percent", "test_percent", "split", "group", "folds", "seed", "overwrite"), Config()
    changed = {
        n.replace("_", "-"): getattr(config, n) for n in names if getattr(config, n) != getattr(default, n)
    }
    # In double quotes, for a pattern means something to some shells.
    words = {name: f'"{value}"' if name == "group" else value for name, value in changed.items()}
    return " ".join(f"--{name}" if value is True else f"--{name} {value}" for name, value in words.items())


def named_classes(folder: VocFolder, mending: Mending) -> list[str] | None:
    """Class names from class_names.txt or, where there is none, from the colour table; None without either."""
    names, table = folder.read_class_names(), mending.table
    if table and names and names != table.class_names:
        expected = (
            f"the classes of the table {table.name}, in its order: {', '.join(table.class_names[:8])}, …"
        )
        remedy = "remove the file, which is then written from the table, or use a table of these classes"
        raise UserError(
            "named-classes", folder.class_names_path, f"{', '.join(names[:8])}, …", expected, remedy
        )
    return names or (table.class_names if table else None)


def settle_classes(
    folder: VocFolder, mending: Mending, names: list[str] | None, findings: Findings
) -> list[str]:
    """The class names; written where they come from a colour table, said where they are made up."""
    path = folder.class_names_path
    if mending.table and not path.is_file():
        write_lines(path, names)
        print(f"classes  {len(names)} names written to {path}")
    if names is None:
        names = resolve_class_names(folder, findings.counts)
        print(f"no {path}: the classes are called {', '.join(names)} (one name a line names them)")
    return names


def print_statistics(folder: VocFolder, statistics: Statistics) -> None:
    """A line for each value, with pixels, share and number of masks; objects; pictures; proposals."""
    ignored, total = statistics.ignored_pixels, sum(one.pixels for one in statistics.classes)
    rows = [(one.index, one.name, one.pixels, one.share, one.pictures) for one in statistics.classes]
    if ignored:
        share = ignored / (total + ignored)
        rows.append((IGNORE_INDEX, "(ignored)", ignored, share, statistics.ignored_pictures))
    width = max(len(row[1]) for row in rows)
    print(
        f"\n{counted(statistics.pictures, 'pair')}\nvalue  {'class':<{width}}        pixels    share   masks"
    )
    for value, name, pixels, share, masks in rows:
        print(f"{value:5d}  {name:<{width}} {pixels:13d} {share:8.2%} {masks:7d}")
    for one in statistics.classes:
        if one.objects:
            print(f"objects  {one.name}: {one.objects} of {one.object_smallest} … {one.object_largest} pixels, "
                  f"median about {one.object_median:.0f}")  # fmt: skip
    levels = statistics.intensity_percentiles
    depths = ", ".join(statistics.bits)
    print(f"pictures {', '.join([*statistics.sizes][:4])}; {', '.join(statistics.channels)}; {depths} bits; "
          f"98 % of the values in {levels['1']:g} … {levels['99']:g}")  # fmt: skip
    for one in statistics.proposals:
        print(f"propose  {one.flags}   ({one.reason})")
    print(
        f"saved    {folder.root / 'dataset.json'}, dataset.png, contact_sheet.png (look whether the masks fit)"
    )


def write_splits(config: Config, folder: VocFolder, findings: Findings) -> None:
    """train, val, trainval and test, then the folds; existing files are kept, and checked, unless `overwrite`."""
    names = [one.name for one in findings.seen]
    if (
        any((folder.splits_dir / f"{split}.txt").exists() for split in ("train", "val"))
        and not config.overwrite
    ):
        keep_splits(folder, names)
    else:
        apart = [] if config.test_percent else folder.read_split_if_any("test")
        splits = draw_splits(config, findings, apart)
        for split, members in splits.items():
            folder.write_split(split, members)
        sizes = ", ".join(f"{split} {len(members)}" for split, members in splits.items())
        print(f"split ({config.split}) written to {folder.splits_dir}: {sizes}")
    warn_of_copies(config, folder, findings)
    if config.folds:
        write_folds(config, folder, findings)


def draw_splits(config: Config, findings: Findings, apart: Sequence[str]) -> dict[str, list[str]]:
    """Lists of names, each in natural order, by split; `apart`: those of an earlier test split, which stay in it."""
    kept = [one.name for one in findings.seen if one.name in set(apart)]
    names = [one.name for one in findings.seen if one.name not in set(apart)]
    groups, present = drawing_groups(config, findings, names)
    if len(groups) == 1:
        what = "one pair only" if len(names) == 1 else "one group of names only"
        warn(f"there is {what}: it is used for training and for validation, so the scores mean little")
        return {"train": names, "val": names, "trainval": names, "test": kept}
    sizes = sizes_of(len(names), config.val_percent, config.test_percent)
    train, val, test = draw(groups, sizes, config.split, present, config.seed)
    parts = {"train": train, "val": val, "trainval": sorted(train + val), "test": test}
    drawn = {split: [names[index] for index in part] for split, part in parts.items()}
    return {**drawn, "test": kept or drawn["test"]}


def drawing_groups(
    config: Config, findings: Findings, names: list[str]
) -> tuple[list[list[int]], np.ndarray]:
    """Groups of indices into `names` that stay together, and which class is in which picture, (N, C) bool."""
    seen = {one.name: one for one in findings.seen}
    keys = group_keys(names, config.group)
    # Copies of one picture would tell the validation what was trained on.
    copies = names if config.split == "contiguous" else [seen[name].digest for name in names]
    labels = np.flatnonzero(findings.counts[:IGNORE_INDEX])
    present = np.array([np.isin(labels, [*seen[name].values]) for name in names])
    return join_groups(keys, copies), present


def write_folds(config: Config, folder: VocFolder, findings: Findings) -> None:
    """foldI_train.txt and foldI_val.txt of all names outside test.txt."""
    existing = sorted(folder.splits_dir.glob("fold*_*.txt"))
    if existing and not config.overwrite:
        print(f"kept     {len(existing)} fold files in {folder.splits_dir}; --overwrite draws them anew")
        return
    apart = set(folder.read_split_if_any("test"))
    names = [one.name for one in findings.seen if one.name not in apart]
    groups, present = drawing_groups(config, findings, names)
    parts = draw_folds(groups, config.folds, config.split, present, config.seed)
    for path in existing:
        remove(path)
    for fold, part in enumerate(parts):
        inside = set(part)
        folder.write_split(f"fold{fold}_val", [names[index] for index in part])
        folder.write_split(
            f"fold{fold}_train", [name for index, name in enumerate(names) if index not in inside]
        )
    sizes = ", ".join(str(len(part)) for part in parts)
    print(f"folds    {config.folds} written to {folder.splits_dir}: to validate {sizes}")


def keep_splits(folder: VocFolder, names: list[str]) -> None:
    """Say what the split files hold. Raises UserError for one that is missing or empty, or a name that has no pair."""
    listed = set(folder.read_split_if_any("test"))
    known = set(names)
    for split in ("train", "val"):
        members = folder.read_split(split)
        for name in members:
            if name not in known:
                found = f"the name {name}, which has no pair of picture and mask"
                remedy = "correct the file, or draw the split anew with --overwrite"
                raise UserError(
                    "keep-splits", folder.splits_dir / f"{split}.txt", found, "names of pairs", remedy
                )
        listed.update(members)
        print(f"kept     {folder.splits_dir / f'{split}.txt'}: {counted(len(members), 'name')}")
    if missing := known - listed:
        print(f"         {counted(len(missing), 'pair')} in no split; --overwrite draws train and val anew")


def warn_of_copies(config: Config, folder: VocFolder, findings: Findings) -> None:
    """Say which pictures are to train and, under this or another name, to validate."""
    digests = {one.name: one.digest for one in findings.seen}
    train, val = ({digests[name]: name for name in folder.read_split(split)} for split in ("train", "val"))
    both = sorted(train.keys() & val.keys())
    if both and set(train.values()) != set(val.values()):
        such = f"{train[both[0]]} and {val[both[0]]}"
        remedy = (
            ""
            if config.split == "contiguous"
            else "; --overwrite draws the split anew and keeps copies together"
        )
        warn(
            f"{counted(len(both), 'picture')} in train and in val, such as {such}: the scores will be too good{remedy}"
        )


if __name__ == "__main__":
    run_script(main, Config, __doc__)
