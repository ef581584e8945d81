"""Which mask belongs to which picture of a VOC folder, and the faults of their names."""

import filecmp
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from utils.core.console import UserError, quoted
from utils.doctor.faults import Fault
from utils.doctor.originals import changed_by_hand, mask_in_place, originals_dir, read_mask_map
from utils.doctor.repair import MaskRepair, Pair
from utils.voc.folder import VocFolder, is_image, list_images
from utils.voc.names import match_names, natural_key


def list_pairs(folder: VocFolder, repair: MaskRepair) -> tuple[list[Pair], list[Fault]]:
    """Pairs in natural order, and the faults of names and of masks changed since their repair.

    Raises UserError without the folders.
    """
    for part in (folder.root, folder.images_dir, folder.masks_dir):
        if not part.is_dir():
            expected = "a VOC folder with pictures in JPEGImages and masks in SegmentationClass"
            convert = f"convert labelme files: python json_to_dataset.py --voc-root {quoted(folder.root)}"
            raise UserError(
                "voc-folder-missing", part, "no such folder", expected, f"put them there, or {convert}"
            )
    pictures, faults = _by_name(list_images(folder.images_dir), "picture")
    faults += [
        Fault(
            "name-blank",
            path,
            f"the name {name!r}, with a blank at an end",
            "a name that a line of a split file can hold",
            "rename it",
        )
        for name, path in pictures.items()
        if name != name.strip()
    ]
    masks, mask_faults = _find_masks(folder, repair, pictures)
    pairs = [Pair(name, pictures[name], masks[name]) for name in sorted(masks, key=natural_key)]
    faults += mask_faults
    faults += [Fault("picture-without-mask", path) for name, path in pictures.items() if name not in masks]
    if repair.active:
        known = read_mask_map(folder)
        faults += [_changed_mask(folder, pair) for pair in pairs if changed_by_hand(folder, pair, known)]
    return pairs, faults


def _find_masks(
    folder: VocFolder, repair: MaskRepair, pictures: dict[str, Path]
) -> tuple[dict[str, Path], list[Fault]]:
    """Picture name → mask.

    Masks that match a picture but for affixes are read in any case, for their other faults.
    """
    masks: dict[str, Path] = {}
    faults: list[Fault] = []
    for source in _mask_sources(folder, repair):
        # What an interrupted run has copied to its originals is not a second mask.
        kept = {path.name: path for path in masks.values() if path.parent != folder.masks_dir}
        listing = [
            path
            for path in sorted(source.glob("*"))
            if is_image(path) and path.stem not in masks
            if not (path.name in kept and filecmp.cmp(path, kept[path.name], shallow=False))
        ]
        found, twice = _by_name(listing, "mask")
        faults += twice
        masks |= {name: path for name, path in found.items() if name in pictures}
        single = [name for name in found if name not in masks]
        near = match_names([name for name in pictures if name not in masks], single)
        masks |= {name: found[other] for other, name in near.items()}
        if source == folder.masks_dir:
            faults += [
                _mask_without_picture(found[name], near.get(name), sorted(pictures), repair)
                for name in single
                if name not in near or not repair.active
            ]
    return masks, faults


def _mask_sources(folder: VocFolder, repair: MaskRepair) -> list[Path]:
    """Folders of masks; the first that has a mask decides.

    An interrupted run may have moved one to its originals.
    """
    if repair.from_originals:
        return [originals_dir(folder), folder.masks_dir]
    return [folder.masks_dir, originals_dir(folder)] if repair.active else [folder.masks_dir]


def _by_name(paths: Sequence[Path], kind: str) -> tuple[dict[str, Path], list[Fault]]:
    """Name without ending → file; a fault for each further file of a name. kind: picture or mask."""
    found: dict[str, Path] = {}
    faults = []
    for path in paths:
        other = found.setdefault(path.stem, path)
        if other != path:
            two = f"two {kind}s of one name: {other.name} and {path.name}"
            expected = f"one {kind} per name, because a mask belongs to a name"
            faults.append(Fault(f"{kind}-name-twice", path, two, expected, "rename or remove one of them"))
    return found, faults


def _mask_without_picture(path: Path, near: str | None, pictures: Sequence[str], repair: MaskRepair) -> Fault:
    """near: the picture that matches but for affixes; pictures: all names, sorted."""
    code, remedy = "mask-without-picture", "rename or remove it"
    if near:
        code, remedy = "mask-name", f"{repair.command(fix=True)}   (uses it as the mask of {near})"
    place = bisect_left(pictures, path.stem)
    for name in pictures[max(place - 1, 0) : place + 1]:
        if path.stem.startswith(name) or name.startswith(path.stem):
            near = near or name
    found = "no picture of the same name in JPEGImages" + (f" (did you mean {near}?)" if near else "")
    return Fault(code, path, found, f"a picture {path.stem}.jpg or .png, …", remedy)


def _changed_mask(folder: VocFolder, pair: Pair) -> Fault:
    kept, current = originals_dir(folder) / pair.mask.name, mask_in_place(folder, pair)
    return Fault(
        "mask-changed",
        current,
        "another content than the repair wrote",
        "the mask that the repair wrote, because it starts from the original again",
        f"remove {quoted(kept)} if the new mask is the right one, or {quoted(current)} if the original is",
    )
