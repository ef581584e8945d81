"""Writing repaired masks; SegmentationClass.orig keeps their originals, mask_map.json what was done."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from utils.core.console import UserError, counted, note, progress, quoted
from utils.core.files import read_record, remove, replacing, write_lines
from utils.doctor.fitting import Fit
from utils.doctor.repair import MaskRepair, Pair
from utils.images.arrays import digest
from utils.images.masks import read_objects, write_objects
from utils.images.reading import read_mask
from utils.images.writing import write_mask
from utils.voc.aside import set_aside
from utils.voc.classes import read_settings
from utils.voc.folder import VocFolder
from utils.voc.names import list_some

CODING = ("map", "colors", "nearest", "instances")  # settings that say what values and colors mean


@dataclass(frozen=True, slots=True)
class RepairedMask:
    """What is done to a mask, the digest of the result, its (height, width), and how it is fitted to that.

    objects: digest of the numbers for SegmentationObject; empty without --instances.
    """

    steps: tuple[str, ...]
    digest: str
    size: tuple[int, int]
    fit: Fit
    objects: str = ""


def read_mask_map(folder: VocFolder) -> dict[str, dict]:
    """What mask_map.json says of each mask, by name; empty without the file. Raises UserError."""
    return read_record(folder.root / "mask_map.json").get("masks", {})


def find_changed_masks(folder: VocFolder, pairs: Sequence[Pair]) -> list[UserError]:
    """Faults: masks in place that are new work, neither the kept original nor what the repair wrote."""
    known, faults = read_mask_map(folder), []
    expected = "the mask that the repair wrote, because it starts from the original again"
    for pair in pairs:
        kept = folder.originals_dir / pair.mask.name
        current = pair.mask if pair.mask.parent == folder.masks_dir else folder.mask_path(pair.name)
        if not kept.is_file() or not current.is_file() or kept.read_bytes() == current.read_bytes():
            continue
        if not _holds(current, known.get(pair.name, {}).get("written", [])):
            found = "another content than the repair wrote"
            remedy = (
                f"remove {quoted(kept)} if the new mask is right, or {quoted(current)} if the original is"
            )
            faults.append(UserError("mask-changed", current, found, expected, remedy))
    return faults


def _holds(path: Path, digests: Sequence[str]) -> bool:
    """Whether the mask in a file is one of those with these digests."""
    try:
        return path.is_file() and digest(read_mask(path)) in digests
    except UserError:
        return False


def _find_other_objects(folder: VocFolder, changes: Sequence[tuple[Pair, RepairedMask]]) -> set[Path]:
    """Files of SegmentationObject, there or not, that lack the numbers found now."""
    wanted = {folder.objects_path(pair.name): mask.objects for pair, mask in changes if mask.objects}
    return {path for path, name in wanted.items() if not path.is_file() or digest(read_objects(path)) != name}


def write_repaired(repair: MaskRepair, pairs: Sequence[Pair], plan: Sequence[RepairedMask]) -> None:
    """Write the masks that change. After an interruption at any instant, running again completes the work."""
    folder, kept_dir = repair.folder, repair.folder.originals_dir
    changes = [(p, m) for p, m in zip(pairs, plan, strict=True) if m.steps or p.mask.parent == kept_dir]
    if changes or repair.from_originals or read_settings(folder):
        _keep_originals(repair, changes, pairs)
    if not changes:
        print("repaired nothing: no mask needs it")
        return
    rewritten, renumbered = 0, _find_other_objects(folder, changes)
    if aside := set_aside(folder, sorted(renumbered)):
        note(f"numbers of objects from masks that have changed since: copies are in {aside}")
    for pair, mask in progress(changes, "repairing masks", "mask"):
        target, kept = folder.mask_path(pair.name), kept_dir / pair.mask.name
        leftover = folder.masks_dir / pair.mask.name
        if leftover.exists() and leftover != target:
            remove(leftover)
        # Only what differs is written, so that running again leaves even the times of the files.
        objects = folder.objects_path(pair.name)
        if pair.mask == target or objects in renumbered or not _holds(target, [mask.digest]):
            reading = repair.read(Pair(pair.name, pair.picture, kept), mask.size, fit=mask.fit)
            # Before the mask: an interrupted run finds the mask as it was and begins again.
            if reading.objects is not None:
                write_objects(objects, reading.objects)
            write_mask(target, reading.mask)
            rewritten += 1
    if not rewritten:
        print(f"repaired nothing: {counted(len(changes), 'mask')} in {folder.masks_dir} held this already")
        return
    renamed = "other names and file types → NAME.png"
    steps = dict.fromkeys(renamed if s.startswith("file ") else s for _, mask in changes for s in mask.steps)
    done, number = list_some([*steps], 6) or "as before", counted(rewritten, "mask")
    print(f"repaired {number} in {folder.masks_dir} ({done}); originals in {kept_dir}")


def _keep_originals(
    repair: MaskRepair, changes: Sequence[tuple[Pair, RepairedMask]], pairs: Sequence[Pair]
) -> None:
    """Copy the originals and write mask_map.json, before any mask changes. pairs: all of them."""
    folder, known = repair.folder, read_mask_map(repair.folder)
    for pair, mask in changes:
        kept = folder.originals_dir / pair.mask.name
        if not kept.exists():
            with replacing(kept) as temporary:
                # Without its attributes: a file that is read-only could not be renamed.
                shutil.copyfile(pair.mask, temporary)
        entry = {"original": pair.mask.name, "steps": mask.steps}
        for key, new in ("written", mask.digest), ("objects", mask.objects):
            if digests := [*dict.fromkeys(filter(None, [*known.get(pair.name, {}).get(key, []), new]))]:
                entry[key] = digests
        known[pair.name] = entry
    # By these a mask that is added later is read as well, unless --fix says that it needs no such repair.
    settings = {name: value for name, value in asdict(repair.settings).items() if name in CODING and value}
    settings = settings if repair.from_originals else read_settings(folder)
    for pair in pairs if settings and repair.settings.fix else ():
        known.setdefault(pair.name, {"original": pair.mask.name, "steps": [], "written": []})
    content = {
        "command": repair.command(fix=True),
        "settings": settings,
        "originals": folder.originals_dir.name,
        "masks": known,
    }
    write_lines(folder.root / "mask_map.json", [json.dumps(content, ensure_ascii=False, indent=1)])
