"""The Semantic Boundaries Dataset, joined with VOC2012 → VOC folder.

torchvision.datasets.SBDataset reads the same folder, but it does not join VOC2012 or check anything, and it
reports a file of another kind as a KeyError. It could replace two lines of `read_mat`.
"""

from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from utils.core.console import UserError, counted
from utils.core.files import read_lines
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import DECODE_ERRORS, read_image, read_mask
from utils.importing.transfer import Item, check_all, transfer
from utils.voc.colors import VOC_NAMES
from utils.voc.folder import VocFolder, check_size

VOC_CLASSES = VOC_NAMES.split()
AGAIN = "copy or download it again"


def import_sbd(
    folder: VocFolder, sbd: Path, voc: Path | None, link: bool = False, overwrite: bool = False
) -> list[str]:
    """Write SBD, joined with VOC2012 where given, into a VOC folder. Returns a summary.

    With VOC, val is VOC's val, and train is VOC's train and all of SBD but this val (`trainaug`). VOC's own
    masks win. Without VOC, both splits are SBD's. Raises UserError before anything is written.
    """
    remedy = "pass the folder that holds cls, img, train.txt and val.txt as --sbd"
    train, val = (read_names(sbd / f"{split}.txt", remedy) for split in ("train", "val"))
    own: set[str] = set()
    if voc is not None:
        source = VocFolder(voc)
        remedy = "pass the folder VOC2012 that holds JPEGImages and ImageSets as --voc"
        splits = (source.splits_dir / f"{split}.txt" for split in ("train", "val"))
        voc_train, voc_val = (read_names(path, remedy) for path in splits)
        own = {*voc_train, *voc_val}
        train, val = sorted({*voc_train, *train, *val} - set(voc_val)), voc_val
    items, checks = [], []
    for name in (*train, *val):
        picture = (source.images_dir if name in own else sbd / "img") / f"{name}.jpg"
        mask = source.mask_path(name) if name in own else sbd / "cls" / f"{name}.mat"
        pixels = None if name in own else partial(read_mat, mask)
        items.append(Item(folder.images_dir / picture.name, picture, "picture"))
        items.append(Item(folder.mask_path(name), mask, "mask", pixels))
        checks.append(partial(check_voc_pair, picture, mask))
    check_all(sbd, checks, "pair")
    splits = {"train": train, "val": val, **({"trainaug": train} if own else {})}
    texts = {folder.splits_dir / f"{split}.txt": names for split, names in splits.items()}
    summary = transfer(folder, items, {folder.class_names_path: VOC_CLASSES, **texts}, link, False, overwrite)
    return [
        f"{counted(len(checks), 'pair')}, {len(own)} of them VOC's: {summary}",
        f"split: train {len(train)}{' (trainaug)' if own else ''}, val {len(val)}",
    ]


def read_names(path: Path, remedy: str) -> list[str]:
    names = list(dict.fromkeys(filter(None, map(str.strip, read_lines(path, remedy)))))
    if not names:
        raise UserError("split-empty", path, "no names", "one picture name per line", remedy)
    return names


def check_voc_pair(picture: Path, path: Path) -> None:
    mask = read_mat(path) if path.suffix == ".mat" else read_mask(path)
    wrong = [value for value in np.unique(mask) if len(VOC_CLASSES) <= value != IGNORE_INDEX]
    if wrong:
        raise UserError("mask-value", path, f"the value {wrong[0]}", "0 … 20, or 255 at borders", AGAIN)
    check_size(path, mask, picture, read_image(picture).shape[:2])


def read_mat(path: Path) -> np.ndarray:
    """GTcls.Segmentation of a file of SBD's folder cls: (H, W) uint8 class indices. Raises UserError."""
    expected = "a .mat file of SBD's folder cls, with the field GTcls.Segmentation"
    try:
        content = loadmat(path, appendmat=False)
    except FileNotFoundError:
        remedy = "download the data set again; every name of the split needs a file"
        raise UserError("mat-missing", path, "no such file", expected, remedy) from None
    except NotImplementedError:
        remedy = "save it in MATLAB with save(…, '-v7')"
        raise UserError("mat-version", path, "MATLAB 7.3 (HDF5)", expected, remedy) from None
    except (MatReadError, *DECODE_ERRORS, MemoryError) as error:
        raise UserError("mat-damaged", path, f"a damaged file ({error})", expected, AGAIN) from None
    record = np.asarray(content.get("GTcls"))
    inner = record.dtype.names or ()
    if "Segmentation" not in inner or not record.size:
        fields = [name for name in content if not name.startswith("__")]
        names = ", ".join([*fields, *(f"GTcls.{name}" for name in inner)]) or "none"
        remedy = "pass SBD's own folder as --sbd (the folder inst has other fields)"
        raise UserError("mat-fields", path, f"the fields {names}", expected, remedy)
    mask = record["Segmentation"].flat[0]
    if mask.ndim != 2 or not mask.size or not np.isin(mask, np.arange(256)).all():
        found = f"GTcls.Segmentation of shape {mask.shape} and type {mask.dtype}"
        raise UserError("mat-values", path, found, "class indices (H, W) in 8 bits", AGAIN)
    return mask.astype(np.uint8)
