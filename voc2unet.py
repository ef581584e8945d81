"""Check a VOC folder, mend the coding of its masks on request, and write its split files."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from utils.console import UserError, progress, quoted, run_script, warn
from utils.files import replacing
from utils.images import read_mask, write_mask
from utils.palette import IGNORE_INDEX
from utils.voc import MaskScan, VocFolder, check_classes, is_image, resolve_class_names, scan_pairs


@dataclass
class Config:
    """Settings of the check and the split."""

    voc_root: Path = Path("VOCdevkit/VOC2007")  # VOC folder
    val_percent: float = 20.0  # share of the pictures for validation
    test_percent: float = 0.0  # share of the pictures kept apart for a last test
    split: Literal["random", "contiguous"] = "random"  # contiguous: the last names in order, for slices or video frames
    seed: int = 0  # of the random split: same seed, same split
    overwrite: bool = False  # draw the split anew although split files exist
    map: str | None = None  # mend mask values: OLD:NEW,…, such as 0:0,255:1; the originals go to SegmentationClass.orig


def main(config: Config) -> None:
    check_percents(config)
    folder = VocFolder(config.voc_root)
    names = paired_names(folder)
    if config.map is None:
        scans = scan_all(folder, names)
        class_names = check_values(folder, scans)
    else:
        table, source = parse_map(config.map), OriginalMasks(config.voc_root)
        # What the masks are going to hold is checked before any is written.
        scans = map_scans(scan_all(source, names), table)
        class_names = check_mapped(folder, scans, config.map)
        mend_masks(folder, source, names, table)
    print_values(scans, class_names)
    write_splits(config, folder, names)
    print(f"\nnext: python train.py --voc-root {quoted(folder.root)}")


def check_percents(config: Config) -> None:
    val, test = config.val_percent, config.test_percent
    if min(val, test) < 0 or val + test >= 100:
        found = f"--val-percent {val:g} and --test-percent {test:g}"
        raise UserError("split", found, "percentages from 0 that leave something to train on", "choose smaller ones")


def paired_names(folder: VocFolder) -> list[str]:
    """Names that have a picture and a mask, in natural order. Raises UserError for a mask that has no picture."""
    for part in (folder.root, folder.images_dir, folder.masks_dir):
        if not part.is_dir():
            raise UserError(
                part,
                "no such folder",
                "a VOC folder with pictures in JPEGImages and masks in SegmentationClass",
                f"put them there, or convert labelme files: python json_to_dataset.py --voc-root {quoted(folder.root)}",
            )
    pictures = folder.images
    masks = {path.stem: path for path in folder.masks_dir.iterdir() if is_image(path)}
    for name, path in masks.items():
        if name not in pictures:
            near = [other for other in pictures if name.startswith(other) or other.startswith(name)]
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise UserError(
                path,
                "no picture of the same name in JPEGImages" + hint,
                f"a picture {name}.jpg or .png, …",
                "rename or remove it",
            )
        if path.suffix != ".png":
            raise UserError(
                path, f"a mask in a {path.suffix} file", f"{name}.png", "save the mask as PNG, without smoothing"
            )
    bare = [name for name in pictures if name not in masks]
    if bare:
        warn(f"{len(bare)} pictures without a mask are left out, such as {pictures[bare[0]].name}")
    names = sorted((name for name in pictures if name in masks), key=natural_key)
    if not names:
        raise UserError(folder.root, "no pair of picture and mask", "pairs of one name", "put pictures and masks in")
    return names


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts slice_9 before slice_10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def parse_map(text: str) -> np.ndarray:
    """`OLD:NEW,…` as a table (256,) uint8 from old value to new; values that are not named stay."""
    table, named = np.arange(256, dtype=np.uint8), set()
    for entry in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*", entry)
        if not match or max(map(int, match.groups())) > 255:
            raise UserError(
                f"--map {text}", f"the entry {entry!r}", "OLD:NEW with numbers 0 … 255", "for example --map 0:0,255:1"
            )
        old, new = map(int, match.groups())
        if old in named:
            raise UserError(f"--map {text}", f"the value {old} twice", "each OLD once", "choose one NEW for it")
        named.add(old)
        table[old] = new
    return table


class OriginalMasks(VocFolder):
    """The same folder with its masks as they were before any mending."""

    def kept_path(self, name: str) -> Path:
        return self.root / f"{self.masks_dir.name}.orig" / f"{name}.png"

    def mask_path(self, name: str) -> Path:
        kept = self.kept_path(name)
        return kept if kept.exists() else super().mask_path(name)


def map_scans(scans: list[MaskScan], table: np.ndarray) -> list[MaskScan]:
    """What the masks hold after going through `table`."""
    mapped = []
    for scan in scans:
        counts = np.zeros_like(scan.counts)
        np.add.at(counts, table, scan.counts)
        mapped.append(MaskScan(scan.name, scan.size, counts))
    return mapped


def check_mapped(folder: VocFolder, scans: list[MaskScan], mapping: str) -> list[str]:
    """`check_values` of mapped scans, for a message that names the map."""
    try:
        return check_values(folder, scans)
    except UserError as error:
        raise UserError(
            f"--map {mapping}",
            f"it would give {error.subject} {error.found}",
            error.expected,
            "correct the map, which always starts from the original masks; nothing was written",
        ) from None


def mend_masks(folder: VocFolder, source: OriginalMasks, names: list[str], table: np.ndarray) -> None:
    """Write every mask anew through `table`, always from its original, which is kept in SegmentationClass.orig."""
    for name in progress(names, "mending masks", "mask"):
        kept = source.kept_path(name)
        if not kept.exists():
            with replacing(kept) as temporary:
                shutil.copy2(folder.mask_path(name), temporary)
        write_mask(folder.mask_path(name), table[read_mask(kept)])
    changes = ", ".join(f"{old} → {table[old]}" for old in np.flatnonzero(table != np.arange(256)))
    originals = source.kept_path(names[0]).parent
    print(
        f"mended   {len(names)} masks in {folder.masks_dir} ({changes or 'nothing to change'}); originals in {originals}"
    )


def scan_all(folder: VocFolder, names: list[str]) -> list[MaskScan]:
    """All scans. Raises one UserError that lists every faulty pair."""
    results = list(progress(scan_pairs(folder, names), "checking pairs", "pair", len(names)))
    faults = [result for result in results if isinstance(result, UserError)]
    if faults:
        listed = "\n\n".join(str(fault) for fault in faults[:20]) + ("\n\n…" if len(faults) > 20 else "")
        raise UserError(
            folder.root,
            f"{len(faults)} of {len(names)} pairs with a fault (listed below)",
            "pictures and masks that can be read and are of one size",
            f"mend these files and run this again; no split file was written\n\n{listed}",
        )
    return [result for result in results if isinstance(result, MaskScan)]


def check_values(folder: VocFolder, scans: list[MaskScan]) -> list[str]:
    """The class names. Raises UserError for values that are no class indices; warns of masks with background only."""
    total = sum(scan.counts for scan in scans)
    class_names = resolve_class_names(folder, total)
    check_classes(folder, scans, class_names)
    if folder.read_class_names() is None:
        values = [int(value) for value in np.flatnonzero(total[:IGNORE_INDEX])]
        if values != list(range(len(values))):
            mapping = ",".join(f"{value}:{index}" for index, value in enumerate(values))
            command = f"python voc2unet.py --voc-root {quoted(folder.root)} --map {mapping}"
            white = f"255 means 'ignore'; where it is a class, add ,255:{len(values)}; " if total[IGNORE_INDEX] else ""
            raise UserError(
                folder.masks_dir,
                f"the values {', '.join(map(str, values[:12]))} and no {folder.class_names_path.name}",
                "class indices 0, 1, 2, … without gaps, or a class_names.txt that names every index",
                f"{command}   ({white}or write class_names.txt)",
            )
        print(
            f"no {folder.class_names_path}: the classes are called {', '.join(class_names)} (one name a line names them)"
        )
    empty = [scan.name for scan in scans if scan.counts[0] == scan.counts.sum()]
    if empty:
        warn(f"{len(empty)} masks hold background only, such as {empty[0]}.png")
    return class_names


def print_values(scans: list[MaskScan], class_names: list[str]) -> None:
    """A line for each value: class, pixels, share, number of masks that hold it."""
    total = sum(scan.counts for scan in scans)
    names = {**dict(enumerate(class_names)), IGNORE_INDEX: "(ignored)"}
    width = max(len(name) for name in names.values())
    print(f"{len(scans)} pairs\nvalue  {'class':<{width}}        pixels    share   masks")
    for value in sorted({*range(len(class_names)), *np.flatnonzero(total).tolist()}):
        masks = sum(scan.counts[value] > 0 for scan in scans)
        print(f"{value:5d}  {names[value]:<{width}} {total[value]:13d} {total[value] / total.sum():8.2%} {masks:7d}")


def write_splits(config: Config, folder: VocFolder, names: list[str]) -> None:
    """train, val, trainval and test; existing ones are kept, and checked, unless `overwrite`."""
    existing = any((folder.splits_dir / f"{split}.txt").exists() for split in ("train", "val"))
    if existing and not config.overwrite:
        keep_splits(folder, names)
        return
    splits = draw_split(names, config)
    for split, members in splits.items():
        folder.write_split(split, members)
    sizes = ", ".join(f"{split} {len(members)}" for split, members in splits.items())
    print(f"\nsplit ({config.split}) written to {folder.splits_dir}: {sizes}")


def draw_split(names: list[str], config: Config) -> dict[str, list[str]]:
    """Lists of names (each in natural order) by split; the last names, or random ones, go to val and test."""
    if len(names) == 1:
        warn("there is one pair only: it is used for training and for validation, so the scores mean little")
        return {"train": names, "val": names, "trainval": names, "test": []}
    order = list(range(len(names)))
    if config.split == "random":
        order = np.random.default_rng(config.seed).permutation(len(names)).tolist()
    test = round(len(names) * config.test_percent / 100)
    val = max(round(len(names) * config.val_percent / 100), 1)
    train = max(len(names) - val - test, 1)
    parts = {"train": order[:train], "val": order[train : train + val], "test": order[train + val :]}
    parts["trainval"] = parts["train"] + parts["val"]
    return {split: [names[index] for index in sorted(parts[split])] for split in ("train", "val", "trainval", "test")}


def keep_splits(folder: VocFolder, names: list[str]) -> None:
    """Say what the split files hold. Raises UserError for one that is missing or empty, or a name that has no pair."""
    listed: set[str] = set()
    for split in ("train", "val"):
        members = folder.read_split(split)
        for name in members:
            if name not in names:
                raise UserError(
                    folder.splits_dir / f"{split}.txt",
                    f"the name {name}, which has no pair of picture and mask",
                    "names of pairs",
                    "correct the file, or draw the split anew with --overwrite",
                )
        listed.update(members)
        print(f"\nkept     {folder.splits_dir / f'{split}.txt'}: {len(members)} names", end="")
    missing = len(set(names) - listed)
    print(f"\n         {missing} pairs are in neither; --overwrite draws the split anew" if missing else "")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
