"""Pictures with masks beside them → VOC folder."""

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


def import_pairs(folder: VocFolder, images_dir: Path, masks_dir: Path | None, link: bool) -> list[str]:
    """Write pictures and the masks that `find_pairs` finds for them into a VOC folder. Returns a summary.

    masks_dir None: images_dir/annotations, or else images_dir. A class_names.txt beside them is copied.
    Raises UserError before anything is written.
    """
    if masks_dir is None:
        masks_dir = images_dir / "annotations" if (images_dir / "annotations").is_dir() else images_dir
    pairs = find_pairs(images_dir, masks_dir)
    check_all(masks_dir, [partial(check_pair, *pair) for pair in pairs.values()], "pair")
    items, coloured = [], []
    for name, (picture, mask) in pairs.items():
        items.append(Item(folder.images_dir / f"{name}{picture.suffix}", picture, "picture"))
        kind, pixels = "mask", partial(read_mask, mask)
        if is_coloured(mask):
            coloured.append(mask)
            kind, pixels = "colours", None if mask.suffix.lower() == ".png" else partial(read_image, mask)
        items.append(Item(folder.mask_path(name), mask, kind, pixels))
    # PaddleSeg's converter puts class_names.txt beside the pictures, or above the masks.
    listed = (VocFolder(path).read_class_names() for path in (images_dir, masks_dir, masks_dir.parent))
    class_names = next(filter(None, listed), None)
    texts = {folder.class_names_path: class_names} if class_names else {}
    summary = transfer(folder, items, texts, link)
    if coloured:
        found = f"{counted(len(coloured), 'mask')} in RGB colours, such as {coloured[0]}: copied unchanged"
        note(f"{found}. voc2unet.py lists the colours and converts them to class indices (--colors)")
    return [f"{counted(len(pairs), 'pair')}: {summary}"]


def find_pairs(images_dir: Path, masks_dir: Path) -> dict[str, tuple[Path, Path]]:
    """Name → picture and mask, which share the name or differ by a suffix of masks. Warns of single files.

    Raises UserError for two files of one name, or no pair.
    """
    files, candidates = list_images(images_dir), list_images(masks_dir)
    if images_dir.resolve() == masks_dir.resolve():
        stems = {path.stem for path in files}
        candidates = [path for path in files if bare_name(path.stem) in stems]
        files = sorted({*files} - {*candidates})
    pictures = by_name([(path.stem.strip(), path) for path in files], "pictures")
    named = [(path.stem.strip(), path) for path in candidates]
    named = [(name if name in pictures else bare_name(name), path) for name, path in named]
    masks = by_name([(name, path) for name, path in named if name in pictures], "masks")
    single = {
        "pictures without a mask": [path for name, path in pictures.items() if name not in masks],
        "masks without a picture": [path for name, path in named if name not in pictures],
    }
    for kind, paths in single.items():
        if paths:
            warn(f"{kind} are left out: {len(paths)}, such as {paths[0]}")
    if not masks:
        found = f"no mask whose name fits one of the {counted(len(pictures), 'picture')} in {images_dir}"
        expected = f"the picture's name, or that with one of {MASK_SUFFIXES} after it"
        raise UserError("no-pairs", masks_dir, found, expected, "rename them, or pass --images and --masks")
    return {name: (pictures[name], mask) for name, mask in masks.items()}


def bare_name(stem: str) -> str | None:
    """The picture's name in that of a mask, such as x in x_GT. None without a suffix of masks."""
    match = re.fullmatch(rf"(.+?)\s*({MASK_SUFFIXES.replace(' ', '|')})", stem, re.IGNORECASE)
    return match[1] if match else None


def by_name(named: Sequence[tuple[str, Path]], kind: str) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for name, path in named:
        if paths.setdefault(name, path) != path:
            found, expected = f"{paths[name].name} and {path.name}", f"one of the {kind} per name"
            remedy = "rename or remove one, or put masks into a folder of their own (--masks)"
            raise UserError("name-twice", path.parent, found, expected, remedy)
    return paths


def check_pair(picture: Path, mask: Path) -> None:
    """Raises UserError: unreadable, a mask without class indices or lossless colours, different sizes."""
    pixels = (read_image if is_coloured(mask) else read_mask)(mask)
    check_size(mask, pixels, picture, read_image(picture).shape[:2])


def is_coloured(mask: Path) -> bool:
    """Whether a mask has RGB colours in a lossless format. JPEGs do not count: `read_mask` refuses them."""
    try:
        with Image.open(mask) as image:
            return image.mode in ("RGB", "RGBA") and image.format != "JPEG"
    except (*DECODE_ERRORS, Image.DecompressionBombError):
        return False
