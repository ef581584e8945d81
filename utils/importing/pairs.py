"""Pictures with masks beside them → VOC folders."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from utils.core.console import UserError, counted, note, warn
from utils.images.reading import DECODE_ERRORS, read_image, read_mask
from utils.importing.transfer import Item, check_all, transfer
from utils.voc.folder import VocFolder, check_size, list_images

MASK_SUFFIXES = "_mask _gt _label _labels _seg _annotation"  # in any case


def import_pairs(
    folder: VocFolder, images_dir: Path, masks_dir: Path | None, link: bool = False
) -> list[str]:
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
        note(
            f"{such}: copied as they are; voc2unet.py reports the colours and makes class indices of them (--colors)"
        )
    return [f"{counted(len(pairs), 'pair')}: {done}"]


def find_pairs(images_dir: Path, masks_dir: Path) -> dict[str, tuple[Path, Path]]:
    """Name → picture and mask. Warns of those that have no partner. Raises UserError for two of one name, or no pair."""
    files, candidates = list_images(images_dir), list_images(masks_dir)
    if images_dir.resolve() == masks_dir.resolve():
        stems = {path.stem for path in files}
        candidates = [path for path in files if bare_name(path.stem) in stems]
        files = sorted({*files} - {*candidates})
    pictures = by_name([(path.stem.strip(), path) for path in files], "pictures")
    named = [
        (name if (name := path.stem.strip()) in pictures else bare_name(name), path) for path in candidates
    ]
    masks = by_name([(name, path) for name, path in named if name in pictures], "masks")
    bare = [path for name, path in pictures.items() if name not in masks]
    orphans = [path for name, path in named if name not in pictures]
    for paths, kind in ((bare, "pictures without a mask"), (orphans, "masks without a picture")):
        if paths:
            warn(f"{kind} are left out: {len(paths)}, such as {paths[0]}")
    if not masks:
        found = f"no mask that fits one of the pictures ({len(pictures)}) in {images_dir} by its name"
        expected = (
            f"masks called as their pictures, or with one of {MASK_SUFFIXES} after it; any picture ending"
        )
        remedy = "rename them, or say where they are: --images FOLDER --masks FOLDER"
        raise UserError("find-pairs", masks_dir, found, expected, remedy)
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
            raise UserError("by-name", path.parent, both, f"one of the {kind} a name", remedy)
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
