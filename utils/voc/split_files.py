"""The split files of a VOC folder: written, or kept and checked."""

from collections.abc import Mapping, Sequence

from utils.core.console import UserError, counted, warn
from utils.core.files import remove
from utils.voc.folder import VocFolder
from utils.voc.splits import SplitSettings, draw_fold_splits, draw_splits
from utils.voc.survey import PairRecord


def write_splits(
    folder: VocFolder, settings: SplitSettings, records: Sequence[PairRecord], digests: Mapping[str, str]
) -> None:
    """train, val, trainval and test, then the folds.

    Existing files are kept, and checked, unless `overwrite`. digests: name → digest of the picture.
    """
    existing = [split for split in ("train", "val") if (folder.splits_dir / f"{split}.txt").exists()]
    if existing and not settings.overwrite:
        _check_kept_splits(folder, {record.name for record in records})
    else:
        apart = [] if settings.test_percent else folder.read_split_if_any("test")
        splits = draw_splits(settings, records, digests, apart)
        for split, names in splits.items():
            folder.write_split(split, names)
        sizes = ", ".join(f"{split} {len(names)}" for split, names in splits.items())
        print(f"split ({settings.split_by}) written to {folder.splits_dir}: {sizes}")
    _warn_about_copies(folder, settings, digests)
    if settings.folds:
        _write_folds(folder, settings, records, digests)


def _write_folds(
    folder: VocFolder, settings: SplitSettings, records: Sequence[PairRecord], digests: Mapping[str, str]
) -> None:
    """foldI_train.txt and foldI_val.txt of all names outside test.txt."""
    existing = sorted(folder.splits_dir.glob("fold*_*.txt"))
    if existing and not settings.overwrite:
        print(f"kept     {len(existing)} fold files in {folder.splits_dir}; --overwrite draws them anew")
        return
    folds = draw_fold_splits(settings, records, digests, folder.read_split_if_any("test"))
    for path in existing:
        remove(path)
    for fold, (train, val) in enumerate(folds):
        folder.write_split(f"fold{fold}_val", val)
        folder.write_split(f"fold{fold}_train", train)
    sizes = ", ".join(str(len(val)) for _, val in folds)
    print(f"folds    {len(folds)} written to {folder.splits_dir}: to validate {sizes}")


def _check_kept_splits(folder: VocFolder, known: set[str]) -> None:
    """Print what the split files hold.

    Raises UserError for one that is missing or empty, or a name without a pair.
    """
    listed = set(folder.read_split_if_any("test"))
    for split in ("train", "val"):
        names = folder.read_split(split)
        for name in names:
            if name not in known:
                path, found = folder.splits_dir / f"{split}.txt", f"the name {name}, which has no pair"
                remedy = "correct the file, or draw the split anew with --overwrite"
                raise UserError("split-name", path, found, "names of pairs of picture and mask", remedy)
        listed.update(names)
        print(f"kept     {folder.splits_dir / f'{split}.txt'}: {counted(len(names), 'name')}")
    if missing := known - listed:
        print(f"         {counted(len(missing), 'pair')} in no split; --overwrite draws train and val anew")


def _warn_about_copies(folder: VocFolder, settings: SplitSettings, digests: Mapping[str, str]) -> None:
    """Pictures that train and, under this or another name, validate."""
    train, val = ({digests[name]: name for name in folder.read_split(split)} for split in ("train", "val"))
    both = sorted(train.keys() & val.keys())
    if both and set(train.values()) != set(val.values()):
        number, such = counted(len(both), "picture"), " and ".join({train[both[0]]: 0, val[both[0]]: 0})
        remedy = "; --overwrite draws the split anew and keeps copies together"
        remedy = "" if settings.split_by == "contiguous" else remedy
        warn(f"{number} in train and in val, such as {such}: the scores will be too good{remedy}")
