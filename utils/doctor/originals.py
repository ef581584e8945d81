"""Writing repaired masks; SegmentationClass.orig keeps their originals, mask_map.json what was done."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from utils.core.console import UserError, counted, progress
from utils.core.files import read_record, remove, replacing, write_lines
from utils.doctor.repair import MaskRepair, Pair
from utils.images.reading import read_mask
from utils.images.writing import write_mask
from utils.voc.folder import VocFolder


@dataclass(frozen=True, slots=True)
class RepairedMask:
    """What is done to a mask, the digest of the resulting pixels, and the size of its upright picture."""

    steps: tuple[str, ...]
    digest: str
    size: tuple[int, int]


def digest(array: np.ndarray) -> str:
    """A name for the pixels of an array, its shape and dtype included."""
    key = f"{array.shape}{array.dtype}".encode()
    return blake2b(np.ascontiguousarray(array), key=key, digest_size=16).hexdigest()


def originals_dir(folder: VocFolder) -> Path:
    return folder.root / f"{folder.masks_dir.name}.orig"


def read_mask_map(folder: VocFolder) -> dict[str, dict]:
    """What mask_map.json says of each mask, by name; empty without the file. Raises UserError."""
    return read_record(folder.root / "mask_map.json").get("masks", {})


def mask_in_place(folder: VocFolder, pair: Pair) -> Path:
    return pair.mask if pair.mask.parent == folder.masks_dir else folder.mask_path(pair.name)


def changed_by_hand(folder: VocFolder, pair: Pair, known: dict[str, dict]) -> bool:
    """Whether the mask in place is new work: neither the kept original nor what the repair wrote."""
    kept, current = originals_dir(folder) / pair.mask.name, mask_in_place(folder, pair)
    if not kept.is_file() or not current.is_file() or kept.read_bytes() == current.read_bytes():
        return False
    return not _holds(current, known.get(pair.name, {}).get("written", []))


def _holds(path: Path, digests: Sequence[str]) -> bool:
    """Whether the mask in a file is one of those with these digests."""
    try:
        return path.is_file() and digest(read_mask(path)) in digests
    except UserError:
        return False


def write_repaired(
    folder: VocFolder, repair: MaskRepair, pairs: Sequence[Pair], plan: Sequence[RepairedMask]
) -> None:
    """Write the masks that change. After an interruption at any instant, running again completes the work."""
    kept_dir = originals_dir(folder)
    changes = [(p, m) for p, m in zip(pairs, plan, strict=True) if m.steps or p.mask.parent == kept_dir]
    if not changes:
        print("repaired nothing: no mask needs it")
        return
    _keep_originals(folder, repair, changes)
    rewritten = 0
    for pair, mask in progress(changes, "repairing masks", "mask"):
        target, kept = folder.mask_path(pair.name), kept_dir / pair.mask.name
        leftover = folder.masks_dir / pair.mask.name
        if leftover.exists() and leftover != target:
            remove(leftover)
        # Only what differs is written, so that running again leaves even the times of the files.
        if pair.mask == target or not _holds(target, [mask.digest]):
            write_mask(target, repair.read(Pair(pair.name, pair.picture, kept), mask.size)[0])
            rewritten += 1
    if not rewritten:
        print(f"repaired nothing: {counted(len(changes), 'mask')} in {folder.masks_dir} held this already")
        return
    renamed = "other names and file types → NAME.png"
    steps = dict.fromkeys(renamed if s.startswith("file ") else s for _, mask in changes for s in mask.steps)
    listed = "; ".join([*steps][:6]) + "; …" * (len(steps) > 6)
    number = counted(rewritten, "mask")
    print(f"repaired {number} in {folder.masks_dir} ({listed or 'as before'}); originals in {kept_dir}")


def _keep_originals(
    folder: VocFolder, repair: MaskRepair, changes: Sequence[tuple[Pair, RepairedMask]]
) -> None:
    """Copy the originals and write mask_map.json, before any mask changes."""
    kept_dir, known = originals_dir(folder), read_mask_map(folder)
    for pair, mask in changes:
        kept = kept_dir / pair.mask.name
        if not kept.exists():
            with replacing(kept) as temporary:
                # Without its attributes: a file that is read-only could not be renamed.
                shutil.copyfile(pair.mask, temporary)
        written = [*known.get(pair.name, {}).get("written", []), mask.digest]
        known[pair.name] = {
            "original": pair.mask.name,
            "steps": mask.steps,
            "written": list(dict.fromkeys(written)),
        }
    content = {"command": repair.command(fix=True), "originals": kept_dir.name, "masks": known}
    write_lines(folder.root / "mask_map.json", [json.dumps(content, ensure_ascii=False, indent=1)])
