"""Pictures with masks beside them, in one folder, in two, or in folders of official splits → VOC folder."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from utils.core.console import UserError, counted, note, quoted, warn
from utils.images.masks import read_mask_file
from utils.images.reading import read_image, read_mask
from utils.importing.dataset import describe_splits, join_splits
from utils.importing.float_pictures import choose_scale, read_scaled
from utils.importing.stacks import record_range, sample_values
from utils.importing.transfer import Item, check_all, raise_together, transfer
from utils.importing.tree import SPLIT_NAMES, walk
from utils.voc.class_files import find_class_file, read_mask_classes
from utils.voc.folder import VocFolder, check_size, is_image, list_images, same_shape
from utils.voc.names import AFFIX, core_name, list_some, match, names_masks
from utils.voc.strangers import describe_strangers

# Drawings of masks for people, which lie beside the masks themselves.
VIEW = re.compile(r"(?:^|[-_. ])(?:colou?rs?|instanceids|overlays?|viz)(?:$|[-_. ])", re.IGNORECASE)


class FoundPair(NamedTuple):
    """split: train, val or test, where folders beside each other are named so."""

    name: str
    picture: Path
    mask: Path
    split: str | None


def import_pairs(
    folder: VocFolder,
    images_dir: Path,
    masks_dir: Path | None,
    link: bool,
    overwrite: bool = False,
    like: Path | None = None,
) -> list[str]:
    """Write pictures and the masks that `find_pairs` finds for them into a VOC folder. Returns a summary.

    Masks that are no plain index masks are copied as they are: voc2unet.py mends them. Pictures of floats
    become 16 bits as stacks do (like: see `choose_range`). Class names and official splits come along. Raises
    UserError before anything is written.
    """
    pairs = find_pairs(images_dir, masks_dir)
    masks: dict[str, tuple[Item, bool]] = {}
    floats: dict[Path, np.ndarray] = {}
    checks = [partial(check_pair, folder, one, masks, floats) for one in pairs]
    check_all(masks_dir or images_dir, checks, "pair")
    scaling = folder.root / "scaling.json"
    low_high = (
        choose_scale(images_dir, [one.picture for one in pairs], floats, scaling, like) if floats else None
    )
    items = []
    for one in pairs:
        picture = Item(folder.images_dir / f"{one.name}{one.picture.suffix}", one.picture, "picture")
        if low_high:
            read = partial(read_scaled, one.picture, low_high)
            picture = Item(folder.images_dir / f"{one.name}.png", one.picture, "picture", read)
        items += [picture, masks[one.name][0]]
    unlike = [one.mask for one in pairs if not masks[one.name][1]]
    texts = {}
    # Roboflow puts _classes.csv into each folder of masks.
    places = [images_dir, masks_dir or images_dir, *(one.mask.parent for one in pairs)]
    if names := find_class_names(folder, places):
        texts[folder.class_names_path] = names
    splits = join_splits(folder, pairs) if any(one.split for one in pairs) else {}
    texts |= {folder.splits_dir / f"{split}.txt": listed for split, listed in splits.items()}
    lines = [f"{counted(len(pairs), 'pair')}: {transfer(folder, items, texts, link, True, overwrite)}"]
    if low_high:
        lines.append(record_range(scaling, "pictures", low_high))
    if unlike:
        found = (
            f"{counted(len(unlike), 'mask')} copied as they are, such as {unlike[0]}: no plain index masks"
        )
        note(f"{found}. voc2unet.py says what they are and proposes the command that mends them")
    return lines + describe_splits(splits, pairs)


def find_pairs(images_dir: Path, masks_dir: Path | None = None) -> list[FoundPair]:
    """Pictures and masks in and below the folders, whose names and folders agree but for affixes.

    masks_dir None: masks are told from pictures by words such as mask in the names of folders or else files.
    Warns of single files. Raises UserError for several files of one name, or no pair.
    """
    files = list_below(images_dir)
    if masks_dir is None or masks_dir.resolve() == images_dir.resolve():
        pictures, masks = tell_apart(files, images_dir)
        masks_dir = images_dir
    else:
        masks = list_below(masks_dir)
        pictures = sorted({*files} - {*masks})
    roots = {**dict.fromkeys(pictures, images_dir), **dict.fromkeys(masks, masks_dir)}

    @cache
    def place(path: Path) -> tuple[str, ...]:
        return folder_key(path, roots[path])

    masks = leave_out_views(masks, place)
    rules: list[Callable[[Path], object]] = [
        lambda path: (place(path), path.stem.strip()),
        lambda path: (place(path), core_name(path.stem)),
    ]
    if not any(map(place, masks)) or not any(map(place, pictures)):
        rules += [lambda path: path.stem.strip(), lambda path: core_name(path.stem)]
    found = match(pictures, masks, rules)
    refuse_rivals(pictures, masks, found, rules[1])
    pictures_of, single = set(found.values()), {}
    single["pictures without a mask"] = [path for path in pictures if path not in pictures_of]
    single["masks without a picture"] = [path for path in masks if path not in found]
    for kind, paths in single.items():
        if paths and found:
            warn(f"{kind} are left out: {len(paths)}, such as {paths[0]}")
    files = (path for folder in dict.fromkeys((images_dir, masks_dir)) for path in walk(folder))
    strangers = describe_strangers(files, importing=True)
    if not found:
        raise no_pairs(images_dir, masks_dir, pictures, masks, strangers)
    for line in strangers:
        warn(line)
    splits = cache(partial(official_split, root=images_dir.resolve()))
    names = name_pictures([found[mask] for mask in found], place)
    pairs = [
        FoundPair(names[picture], picture, mask, splits(picture.parent.resolve()))
        for mask, picture in found.items()
    ]
    return sorted(pairs, key=lambda pair: pair.picture)


def no_pairs(
    images_dir: Path,
    masks_dir: Path,
    pictures: Sequence[Path],
    masks: Sequence[Path],
    strangers: Sequence[str],
) -> UserError:
    """strangers: what is said of files that are not read."""
    found = f"{counted(len(pictures), 'picture')} and {counted(len(masks), 'mask')} whose names do not fit"
    expected = "the picture's name, or that with a word such as _mask, -label, _GT, seg_"
    beside = [path for path in sorted(images_dir.parent.glob("*/")) if names_masks(path.name)]
    remedy = "; ".join(strangers) or "rename them, or pass --images and --masks"
    if beside and masks_dir == images_dir and not strangers:
        remedy = f"python import_dataset.py --images {quoted(images_dir)} --masks {quoted(beside[0])}"
    return UserError("no-pairs", masks_dir, found, expected, remedy)


def list_below(folder: Path) -> list[Path]:
    """Pictures in and below a folder, sorted. Raises UserError if it is missing."""
    list_images(folder)
    return sorted(path for path in walk(folder) if is_image(path))


def tell_apart(files: Sequence[Path], root: Path) -> tuple[list[Path], list[Path]]:
    """Pictures and masks: by the names of folders below the root, or else of the files."""

    def in_mask_folder(path: Path) -> bool:
        return any(names_masks(part) or part.endswith("annot") for part in path.relative_to(root).parts[:-1])

    masks = [path for path in files if in_mask_folder(path)]
    if not masks:
        masks = [path for path in files if names_masks(path.stem)]
    return sorted({*files} - {*masks}), masks


def folder_key(path: Path, root: Path) -> tuple[str, ...]:
    """The folders of a file below the root, without words for pictures and masks: train for train/masks."""
    parts = (part.lower() for part in path.relative_to(root).parts[:-1])
    bare = (re.sub(rf"^{AFFIX}(?:[-_. ]{AFFIX})*$|annot$", "", part) for part in parts)
    return tuple(core_name(part) for part in bare if part)


def leave_out_views(masks: Sequence[Path], place: Callable[[Path], object]) -> list[Path]:
    """The masks, without drawings of one that is there too, such as x_color.png beside x_labelIds.png."""
    groups = defaultdict(list)
    for path in masks:
        groups[place(path), core_name(path.stem)].append(path)
    kept, views = [], []
    for paths in groups.values():
        bare = [path for path in paths if not VIEW.search(path.stem)] or paths
        kept += bare
        views += [path for path in paths if path not in bare]
    if views:
        note(f"{counted(len(views), 'drawing')} of masks left out, such as {views[0]}")
    return kept


def refuse_rivals(
    pictures: Sequence[Path], masks: Sequence[Path], found: dict[Path, Path], key: Callable[[Path], object]
) -> None:
    """Raises UserError where several pictures or masks share a name, so that a mask would be left out."""
    groups = defaultdict(lambda: ([], []))
    for side, paths in enumerate((pictures, masks)):
        for path in paths:
            groups[key(path)][side].append(path)
    faults = []
    for owners, rivals in groups.values():
        left = [path for path in rivals if path not in found]
        if (owners and left) or (len(owners) > 1 and not masks):
            listed, expected = list_some([*owners, *rivals]), "one picture and one mask per name"
            remedy = tell_rivals_apart(owners, rivals)
            faults.append(UserError("name-twice", owners[0].parent, listed, expected, remedy))
    raise_together(pictures[0].parent if pictures else Path(), faults)


def tell_rivals_apart(pictures: Sequence[Path], masks: Sequence[Path]) -> str:
    """What to do where several pictures or masks share a name."""
    if not masks or {path.parent for path in pictures} & {path.parent for path in masks}:
        return "rename or remove one, or put masks into a folder of their own (--masks)"
    if len(masks) < 2:
        return f"keep one of {list_some(pictures)}"
    # Beside x_mask.png, x.jpg is a picture.
    bare = [path for path in masks if not names_masks(path.stem)]
    if 0 < len(bare) < len(masks):
        return f"move away what is no mask: {list_some(bare)} lies in the folder of masks"
    return f"keep one of {list_some(masks)}, which lie in the folder of masks"


def name_pictures(paths: Sequence[Path], place: Callable[[Path], tuple[str, ...]]) -> dict[Path, str]:
    """Picture → its name, with the folders before it if pictures of several folders share names.

    Raises UserError if that does not tell them apart.
    """
    prefixes = len({path.stem.strip() for path in paths}) < len(paths)
    names = {path: "_".join([*place(path) * prefixes, path.stem.strip()]) for path in paths}
    for name, count in Counter(names.values()).items():
        if count > 1:
            one, other = [path for path in paths if names[path] == name][:2]
            found, expected = f"{one} and {other} under the name {name}", "one picture per name"
            raise UserError("name-twice", one.parent, found, expected, "rename one of them")
    return names


def official_split(folder: Path, root: Path) -> str | None:
    """The split that a folder is named after, down from the one that holds the root, beside that of another.

    A folder `test` alone is nobody's test split.
    """
    for place in (folder, *folder.parents):
        split = split_word(place.name)
        if split and any(split_word(other.name) not in (None, split) for other in place.parent.glob("*/")):
            return split
        if place == root.parent:
            break
    return None


def split_word(name: str) -> str | None:
    words = re.split(r"[-_. 0-9]+", name.lower())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def find_class_names(folder: VocFolder, places: Sequence[Path]) -> list[str] | None:
    """Names from class_names.txt, or a file of another program, in or above the places. Raises UserError."""
    places = list(dict.fromkeys([*places, *(place.parent for place in places)]))
    for place in places:
        if names := VocFolder(place).read_class_names():
            return names
    if not (path := find_class_file(places)):
        return None
    names = read_mask_classes(path)
    if existing := folder.read_class_names():
        check_order(path, names, existing)
        return None
    note(f"class names from {path}: {list_some([f'{value} {name}' for value, name in enumerate(names)])}")
    return names


def check_order(path: Path, names: Sequence[str], existing: Sequence[str]) -> None:
    """Raises UserError where one of the names has another value in the masks that are there already."""
    for value, name in enumerate(names):
        if name in existing and existing.index(name) != value:
            found, expected = f"{value} {name}", f"{existing.index(name)} {name}, as in class_names.txt"
            remedy = "choose another --voc-root, or give the masks the values of class_names.txt"
            raise UserError("class-order", path, found, expected, remedy)


def check_pair(
    folder: VocFolder, pair: FoundPair, masks: dict[str, tuple[Item, bool]], floats: dict[Path, np.ndarray]
) -> None:
    """Add to `masks`, by name, what is to be written, and whether it is an index mask.

    floats: gets finite values (n,) of a picture of floats. Raises UserError for files that cannot be read,
    and for a mask of another shape than its picture.
    """
    file, picture = read_mask_file(pair.mask), read_image(pair.picture, floats=True)
    size = picture.shape[:2]
    if picture.dtype.kind == "f":
        floats[pair.picture] = sample_values(picture)
    # voc2unet.py turns and resizes.
    sizes = [size, size[::-1]] if is_turned(pair.picture) else [size]
    if not any(same_shape(file.values.shape[:2], one) for one in sizes):
        check_size(pair.mask, file.values, pair.picture, size)
    target, ending = folder.mask_path(pair.name), pair.mask.suffix.lower()
    if file.plain and file.palette is None and holds_indices(file.values):
        item = Item(target, pair.mask, "mask", partial(read_mask, pair.mask))
    elif ending == ".png" or (file.values.ndim == 3 and not file.jpeg and not file.has_alpha):
        # Colours without loss keep all that they hold in a PNG.
        pixels = None if ending == ".png" else partial(read_image, pair.mask)
        item = Item(target, pair.mask, "as it is", pixels)
    elif file.plain and file.palette is None:
        item = Item(target, pair.mask, "as it is", partial(read_mask, pair.mask))
    else:
        item = Item(target.with_name(pair.name + ending), pair.mask, "as it is")
    masks[pair.name] = item, file.plain and item.target == target


def holds_indices(values: np.ndarray) -> bool:
    """Whether gray values may be classes, which get a palette; others stay the grays that they are."""
    found = set(np.unique(values).tolist())
    return all(value < 64 or value == 255 for value in found) and (255 not in found or len(found - {0}) > 1)


def is_turned(picture: Path) -> bool:
    """Whether the EXIF orientation of a picture (EXIF 2.3, tag 0x0112) swaps height and width."""
    # What Pillow does not know or allow is left as it is.
    with suppress(OSError, Image.DecompressionBombError), Image.open(picture) as image:
        return image.getexif().get(0x0112, 1) >= 5
    return False
