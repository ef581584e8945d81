"""Which mask belongs to which picture of a VOC folder, and the faults of their names."""

import filecmp
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.core.console import UserError, quoted
from utils.doctor.repair import Mending, Pair, changed_by_hand, mask_in_place, originals_dir, read_mask_map
from utils.voc.folder import VocFolder, is_image, list_images

# What programs and people add to the name of a picture for its mask, or to that of a picture that has one.
AFFIX = (
    "(?:masks?|gt|labels?|labelids|labeltrainids|seg(?:mentation)?|anno(?:tation)?s?|truth|ground[-_ ]?truth|target|"
    "trimap|colou?rs?|images?|img|pictures?|pic|sat|raw)"
)


@dataclass(frozen=True)
class Fault:
    """One fault. kind: the heading of its group, after a number; stops: whether it must be mended to go on."""

    kind: str
    path: Path | str
    found: str = ""
    expected: str = ""
    remedy: str = ""
    stops: bool = True


def list_pairs(folder: VocFolder, mending: Mending) -> tuple[list[Pair], list[Fault]]:
    """Pairs in natural order, and the faults: no partner, two files of one name, masks changed since they were mended.

    A map or a colour table always starts from the original masks, where they are kept. Raises UserError without the folders.
    """
    for part in (folder.root, folder.images_dir, folder.masks_dir):
        if not part.is_dir():
            expected = "a VOC folder with pictures in JPEGImages and masks in SegmentationClass"
            convert = f"convert labelme files: python json_to_dataset.py --voc-root {quoted(folder.root)}"
            raise UserError("list-pairs", part, "no such folder", expected, f"put them there, or {convert}")
    faults: list[Fault] = []
    pictures = _by_name(list_images(folder.images_dir), "picture", faults)
    for name in (name for name in pictures if name != name.strip()):
        found, expected = (
            f"the name {name!r}, with a blank at an end",
            "a name that a line of a split file can hold",
        )
        faults.append(
            Fault("names that begin or end with a blank", pictures[name], found, expected, "rename it")
        )
    masks: dict[str, Path] = {}
    for source in _sources(folder, mending):
        # What an interrupted run has copied to its originals is not a second mask.
        kept = {path.name: path for path in masks.values() if path.parent != folder.masks_dir}
        listing = [path for path in sorted(source.glob("*")) if is_image(path) and path.stem not in masks
                   and not (path.name in kept and filecmp.cmp(path, kept[path.name], shallow=False))]  # fmt: skip
        found = _by_name(listing, "mask", faults)
        masks |= {name: path for name, path in found.items() if name in pictures}
        single = [name for name in found if name not in masks]
        near = _near_misses([name for name in pictures if name not in masks], single)
        # They are read in any case, for the faults that they have besides.
        masks |= {name: found[other] for other, name in near.items()}
        if source == folder.masks_dir:
            names, single = (
                sorted(pictures),
                [name for name in single if name not in near or not mending.active],
            )
            faults += [_without_picture(found[name], near.get(name), names, mending) for name in single]
    pairs = [Pair(name, pictures[name], masks[name]) for name in sorted(masks, key=natural_key)]
    bare = [path for name, path in pictures.items() if name not in masks]
    faults += [Fault("pictures without a mask are left out", path, stops=False) for path in bare]
    if mending.active:
        known = read_mask_map(folder)
        faults += [_by_hand(folder, pair) for pair in pairs if changed_by_hand(folder, pair, known)]
    return pairs, faults


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts slice_9 before slice_10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def _sources(folder: VocFolder, mending: Mending) -> list[Path]:
    """Where masks are taken from, the first that has one first. An interrupted run may have moved one to its originals."""
    if mending.values is not None or mending.table is not None:
        return [originals_dir(folder), folder.masks_dir]
    return [folder.masks_dir, originals_dir(folder)] if mending.active else [folder.masks_dir]


def _by_name(paths: Sequence[Path], what: str, faults: list[Fault]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(path.stem, path)
        if other != path:
            two = f"two {what}s of one name: {other.name} and {path.name}"
            reason = f"one {what} a name, because a mask belongs to a name"
            faults.append(
                Fault(f"{what}s of the same name", path, two, reason, "rename or remove one of them")
            )
    return found


def _near_misses(pictures: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
    """Mask name → picture name where both are the same but for case and affixes such as _mask, one to one."""
    by_core: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, names in enumerate((pictures, masks)):
        for name in names:
            core = re.sub(rf"^(?:{AFFIX}[-_. ]+)+|(?:[-_. ]+{AFFIX})+$", "", name.lower())
            by_core[core][side].append(name)
    return {labels[0]: images[0] for images, labels in by_core.values() if len(images) == len(labels) == 1}


def _without_picture(path: Path, near: str | None, pictures: Sequence[str], mending: Mending) -> Fault:
    kind, remedy = "masks without a picture", "rename or remove it"
    if near:
        kind = "masks of a name like that of a picture"
        remedy = f"{mending.command(fix=True)}   (takes it for the mask of {near})"
    place = bisect_left(pictures, path.stem)
    for name in pictures[max(place - 1, 0) : place + 1]:
        if path.stem.startswith(name) or name.startswith(path.stem):
            near = near or name
    found = "no picture of the same name in JPEGImages" + (f" (did you mean {near}?)" if near else "")
    return Fault(kind, path, found, f"a picture {path.stem}.jpg or .png, …", remedy)


def _by_hand(folder: VocFolder, pair: Pair) -> Fault:
    kept, current = originals_dir(folder) / pair.mask.name, mask_in_place(folder, pair)
    remedy = (
        f"remove {quoted(kept)} if the new mask is the right one, or {quoted(current)} if the original is"
    )
    expected = "the mask that mending wrote, because it starts from the original again"
    return Fault("masks changed since mending", current, "another content than was written", expected, remedy)
