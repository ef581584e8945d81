"""Which mask belongs to which picture of a VOC folder, and the faults of their names."""

import filecmp
import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from utils.core.console import UserError, quoted
from utils.core.files import name_fault
from utils.doctor.faults import warning
from utils.doctor.originals import find_changed_masks
from utils.doctor.repair import MaskRepair, Pair
from utils.images.file_types import IMAGE_SUFFIXES, bare_stem, foreign_type
from utils.voc.folder import VocFolder, files_by_name, is_image, list_images
from utils.voc.names import match_names, natural_key
from utils.voc.strangers import pictures_below, without_converted

NOT_ON_WINDOWS = re.compile(r'^(con|prn|aux|nul|com\d|lpt\d)(\.|$)|[<>:"|?*\\]', re.IGNORECASE)


def list_pairs(folder: VocFolder, repair: MaskRepair) -> tuple[list[Pair], list[UserError]]:
    """Pairs in natural order, and the faults of names and of masks changed since their repair.

    Raises UserError without the folders.
    """
    for part in (folder.root, folder.images_dir, folder.masks_dir):
        if not part.is_dir():
            expected = "a VOC folder with pictures in JPEGImages and masks in SegmentationClass"
            convert = f"python json_to_dataset.py --voc-root {quoted(folder.root)}"
            remedy = f"put them there, or convert labelme files: {convert}"
            raise UserError("voc-folder-missing", part, "no such folder", expected, remedy)
    pictures, faults = files_by_name(list_images(folder.images_dir), "picture")
    expected = "a name that a line of a split file can hold"
    faults += [
        UserError("name-blank", path, f"the name {name!r}, with a blank at an end", expected, "rename it")
        for name, path in pictures.items()
        if name != name.strip()
    ]
    faults += name_faults(pictures)
    faults += _find_strangers(folder)
    masks, mask_faults = _find_masks(folder, repair, pictures)
    pairs = [Pair(name, pictures[name], masks[name]) for name in sorted(masks, key=natural_key)]
    faults += mask_faults
    faults += [warning("picture-without-mask", path) for name, path in pictures.items() if name not in masks]
    return pairs, faults + (find_changed_masks(folder, pairs) if repair.active else [])


def name_faults(pictures: dict[str, Path]) -> list[UserError]:
    """Names that lists in UTF-8 cannot hold, or that a disk of another system cannot."""
    faults, spellings = [], defaultdict(list)
    for name, path in pictures.items():
        spellings[unicodedata.normalize("NFC", name).casefold()].append(path)
        if fault := name_fault(path):
            faults.append(fault)
        elif NOT_ON_WINDOWS.search(name):
            faults.append(warning("name-not-portable", path, f"Windows has no file {name}", "rename it"))
    for twins in spellings.values():
        if len(twins) > 1:
            found, remedy = (
                f"beside {twins[0].name}, which is the same name on Windows and macOS",
                "rename one",
            )
            faults.append(warning("name-not-portable", twins[1], found, remedy))
    return faults


def _find_strangers(folder: VocFolder) -> list[UserError]:
    """Files that are not read: faults where a mask or a picture waits for one of that name, else warnings."""
    faults = []
    move = f"--images {quoted(folder.images_dir)} --masks {quoted(folder.masks_dir)} --voc-root NEW"
    for place, other in ((folder.images_dir, folder.masks_dir), (folder.masks_dir, folder.images_dir)):
        waiting = {path.stem for path in other.glob("*")} - {path.stem for path in list_images(place)}
        for path in _strangers(place):
            kind, way_out = foreign_type(path, folder.root) or ("picture or mask", "")
            found = f"a {kind} in a subfolder" if path.parent != place else f"a {kind} file"
            remedy = f"put all into one folder: python import_dataset.py {move}" * (path.parent != place)
            expected = f"a picture directly in {place.name}: {' '.join(IMAGE_SUFFIXES)}"
            code = "file-unread" if bare_stem(path) in waiting else "file-left-out"
            faults.append(UserError(code, path, found, expected, remedy or way_out))
    return faults


def _strangers(place: Path) -> list[Path]:
    return pictures_below(place) + without_converted(sorted(filter(foreign_type, place.iterdir())))


def _find_masks(
    folder: VocFolder, repair: MaskRepair, pictures: dict[str, Path]
) -> tuple[dict[str, Path], list[UserError]]:
    """Picture name → mask. One that matches a picture but for affixes is read too, for its other faults."""
    masks: dict[str, Path] = {}
    faults: list[UserError] = []
    # The first folder that has a mask decides. An interrupted run may have moved one to its originals.
    sources = [folder.masks_dir] + [folder.originals_dir] * repair.active
    for source in reversed(sources) if repair.from_originals else sources:
        # What an interrupted run has copied to its originals is not a second mask.
        kept = {path.name: path for path in masks.values() if path.parent != folder.masks_dir}
        listing = [
            path
            for path in sorted(source.glob("*"))
            if is_image(path) and path.stem not in masks
            if not (path.name in kept and filecmp.cmp(path, kept[path.name], shallow=False))
        ]
        found, twice = files_by_name(listing, "mask")
        faults += twice
        masks |= {name: path for name, path in found.items() if name in pictures}
        single = [name for name in found if name not in masks]
        near = match_names([name for name in pictures if name not in masks], single)
        masks |= {name: found[other] for other, name in near.items()}
        if source == folder.masks_dir:
            # A picture that is not read has a fault of its own.
            unread = {*map(bare_stem, _strangers(folder.images_dir))}
            faults += [
                _mask_without_picture(found[name], near.get(name), sorted(pictures), repair)
                for name in single
                if (name not in near or not repair.active) and name not in unread
            ]
    return masks, faults


def _mask_without_picture(
    path: Path, near: str | None, pictures: Sequence[str], repair: MaskRepair
) -> UserError:
    """near: the picture that matches but for affixes; pictures: all names, sorted."""
    code, remedy = "mask-without-picture", "rename or remove it"
    if near:
        code, remedy = "mask-name", f"{repair.command(fix=True)}   (uses it as the mask of {near})"
    place = bisect_left(pictures, path.stem)
    for name in pictures[max(place - 1, 0) : place + 1]:
        if path.stem.startswith(name) or name.startswith(path.stem):
            near = near or name
    found = "no picture of the same name in JPEGImages" + (f" (did you mean {near}?)" if near else "")
    return UserError(code, path, found, f"a picture {path.stem}.jpg or .png, …", remedy)
