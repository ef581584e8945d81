"""Data sets as people have them → VOC folders: pictures with masks beside them, and SBD with VOC2012."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from utils.colors import VOC_NAMES
from utils.console import UserError, counted, note, warn
from utils.images import DECODE_ERRORS, read_image, read_mask
from utils.palette import IGNORE_INDEX
from utils.transfer import Item, check_all, transfer
from utils.voc import VocFolder, check_size, list_images, read_lines

MASK_SUFFIXES = "_mask _gt _label _labels _seg _annotation"  # in any case

VOC_CLASSES = VOC_NAMES.split()


def import_pairs(folder: VocFolder, images_dir: Path, masks_dir: Path | None, link: bool = False) -> list[str]:
    """Pictures and masks of one name, or with a usual ending of the mask's, into a VOC folder. Returns what was done.

    masks_dir None: images_dir/annotations, or else images_dir itself. A class_names.txt beside them comes along.
    Raises UserError before anything is written.
    """
    if masks_dir is None:
        masks_dir = images_dir / "annotations" if (images_dir / "annotations").is_dir() else images_dir
    pairs = find_pairs(images_dir, masks_dir)
    check_all(masks_dir, [partial(check_pair, picture, mask) for picture, mask in pairs.values()], "pair")
    items, coloured = [], []
    for name, (picture, mask) in pairs.items():
        items.append(Item(folder.images_dir / f"{name}{picture.suffix}", picture, "picture"))
        if not is_coloured(mask):
            items.append(Item(folder.mask_path(name), mask, "mask", partial(read_mask, mask)))
            continue
        coloured.append(mask)
        pixels = None if mask.suffix.lower() == ".png" else partial(read_image, mask)
        items.append(Item(folder.mask_path(name), mask, "colours", pixels))
    # PaddleSeg's converter puts it beside the pictures, or above the masks.
    listed = (path / "class_names.txt" for path in (images_dir, masks_dir, masks_dir.parent))
    beside = next((path for path in listed if path.is_file()), None)
    texts = {folder.class_names_path: VocFolder(beside.parent).read_class_names()} if beside else {}
    done = transfer(folder, items, texts, link)
    if coloured:
        such = f"{counted(len(coloured), 'mask')} in RGB colours, such as {coloured[0]}"
        note(f"{such}: copied as they are; voc2unet.py reports the colours and makes class indices of them (--colors)")
    return [f"{counted(len(pairs), 'pair')}: {done}"]


def find_pairs(images_dir: Path, masks_dir: Path) -> dict[str, tuple[Path, Path]]:
    """Name → picture and mask. Warns of those that have no partner. Raises UserError for two of one name, or no pair."""
    files, candidates = list_images(images_dir), list_images(masks_dir)
    if images_dir.resolve() == masks_dir.resolve():
        stems = {path.stem for path in files}
        candidates = [path for path in files if bare_name(path.stem) in stems]
        files = sorted({*files} - {*candidates})
    pictures = by_name([(path.stem.strip(), path) for path in files], "pictures")
    named = [(name if (name := path.stem.strip()) in pictures else bare_name(name), path) for path in candidates]
    masks = by_name([(name, path) for name, path in named if name in pictures], "masks")
    bare = [path for name, path in pictures.items() if name not in masks]
    orphans = [path for name, path in named if name not in pictures]
    for paths, kind in ((bare, "pictures without a mask"), (orphans, "masks without a picture")):
        if paths:
            warn(f"{kind} are left out: {len(paths)}, such as {paths[0]}")
    if not masks:
        found = f"no mask that fits one of the pictures ({len(pictures)}) in {images_dir} by its name"
        expected = f"masks called as their pictures, or with one of {MASK_SUFFIXES} after it; any picture ending"
        remedy = "rename them, or say where they are: --images FOLDER --masks FOLDER"
        raise UserError(masks_dir, found, expected, remedy)
    return {name: (pictures[name], mask) for name, mask in masks.items()}


def bare_name(stem: str) -> str | None:
    """The picture's name in that of a mask, such as x in x_GT; None where it ends in no suffix of masks."""
    match = re.fullmatch(rf"(.+?)\s*({MASK_SUFFIXES.replace(' ', '|')})", stem, re.IGNORECASE)
    return match[1] if match else None


def by_name(named: Sequence[tuple[str, Path]], kind: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, path in named:
        if name in found:
            both = f"two {kind} of one name: {found[name].name} and {path.name}"
            remedy = "rename or remove one; where one is a mask, put the masks into a folder of their own (--masks)"
            raise UserError(path.parent, both, f"one of the {kind} a name", remedy)
        found[name] = path
    return found


def check_pair(picture: Path, mask: Path) -> None:
    """Raises UserError: unreadable, a mask that is neither class indices nor colours without loss, different sizes."""
    pixels = (read_image if is_coloured(mask) else read_mask)(mask)
    check_size(mask, pixels, picture, read_image(picture).shape[:2])


def is_coloured(mask: Path) -> bool:
    """RGB colours in a format without loss (JPEG masks, which `read_mask` refuses, are none)."""
    try:
        with Image.open(mask) as image:
            return image.mode in ("RGB", "RGBA") and image.format != "JPEG"
    except (*DECODE_ERRORS, Image.DecompressionBombError):
        return False


def import_sbd(folder: VocFolder, sbd: Path, voc: Path | None, link: bool = False) -> list[str]:
    """The Semantic Boundaries Dataset, joined with VOC2012 where given, into a VOC folder. Returns what was done.

    With VOC, train is VOC's train and all of SBD but VOC's val (`trainaug`), val is VOC's; VOC's own masks win. Without,
    both are SBD's. Raises UserError before anything is written.
    """
    remedy = "pass the folder that holds cls, img, train.txt and val.txt as --sbd"
    train, val = (read_names(sbd / f"{split}.txt", remedy) for split in ("train", "val"))
    own: set[str] = set()
    if voc is not None:
        source, remedy = VocFolder(voc), "pass the folder VOC2012 that holds JPEGImages and ImageSets as --voc"
        voc_train, voc_val = (read_names(source.splits_dir / f"{split}.txt", remedy) for split in ("train", "val"))
        own = {*voc_train, *voc_val}
        train, val = sorted({*voc_train, *train, *val} - set(voc_val)), voc_val
    items, checks = [], []
    for name in (*train, *val):
        picture = voc / "JPEGImages" / f"{name}.jpg" if name in own else sbd / "img" / f"{name}.jpg"
        mask = source.mask_path(name) if name in own else sbd / "cls" / f"{name}.mat"
        pixels = None if name in own else partial(read_mat, mask)
        items += [Item(folder.images_dir / picture.name, picture, "picture")]
        items += [Item(folder.mask_path(name), mask, "mask", pixels)]
        checks.append(partial(check_voc_pair, picture, mask))
    check_all(sbd, checks, "pair")
    splits = {"train": train, "val": val, **({"trainaug": train} if own else {})}
    texts = {folder.splits_dir / f"{split}.txt": names for split, names in splits.items()}
    done = transfer(folder, items, {folder.class_names_path: VOC_CLASSES, **texts}, link)
    return [
        f"{counted(len(checks), 'pair')}, {len(own)} of them VOC's: {done}",
        f"split: train {len(train)}{' (trainaug)' if own else ''}, val {len(val)}",
    ]


def read_names(path: Path, remedy: str) -> list[str]:
    names = list(dict.fromkeys(line.strip() for line in read_lines(path, remedy) if line.strip()))
    if not names:
        raise UserError(path, "no names", "one picture name a line", remedy)
    return names


def check_voc_pair(picture: Path, path: Path) -> None:
    mask = read_mat(path) if path.suffix == ".mat" else read_mask(path)
    wrong = [value for value in np.unique(mask) if len(VOC_CLASSES) <= value != IGNORE_INDEX]
    if wrong:
        raise UserError(path, f"the value {wrong[0]}", "0 … 20, or 255 at borders", "download the data set again")
    check_size(path, mask, picture, read_image(picture).shape[:2])


def read_mat(path: Path) -> np.ndarray:
    """GTcls.Segmentation of a file of SBD's folder cls: (H, W) uint8 class indices. Raises UserError."""
    expected = "a .mat file of SBD's folder cls, with the field GTcls.Segmentation"
    try:
        content = loadmat(path, appendmat=False)
    except FileNotFoundError:
        raise UserError(path, "no such file", expected, "download the data set again; all names need one") from None
    except NotImplementedError:
        raise UserError(path, "MATLAB 7.3 (HDF5)", expected, "save it in MATLAB with save(…, '-v7')") from None
    except (MatReadError, *DECODE_ERRORS, MemoryError) as error:
        raise UserError(path, f"a damaged file ({error})", expected, "copy or download it again") from None
    fields = {name: value for name, value in content.items() if not name.startswith("__")}
    record = fields.get("GTcls")
    inner = (record.dtype.names if isinstance(record, np.ndarray) else None) or ()
    if "Segmentation" not in inner or not record.size:
        found = ", ".join([*(name for name in fields if name != "GTcls"), *(f"GTcls.{name}" for name in inner)])
        remedy = "pass SBD's own folder as --sbd (the folder inst has other fields)"
        raise UserError(path, f"the fields {found or list(fields) or 'none'}", expected, remedy)
    mask = record["Segmentation"].flat[0]
    if mask.ndim != 2 or not mask.size or not np.isin(mask, np.arange(256)).all():
        found = f"GTcls.Segmentation of shape {mask.shape} and type {mask.dtype}"
        raise UserError(path, found, "a picture (H, W) of class indices in 8 bits", "copy or download it again")
    return mask.astype(np.uint8)
