"""What the pairs of a VOC folder hold, and whether they fit together and hold class indices."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from utils.core.console import UserError
from utils.images.palette import IGNORE_INDEX, numbered_classes
from utils.images.reading import read_image, read_mask
from utils.voc.folder import VocFolder, check_size


@dataclass(frozen=True)
class MaskScan:
    """What one pair of picture and mask holds. counts: (256,) int64 pixels of each value."""

    name: str
    size: tuple[int, int]
    counts: np.ndarray = field(repr=False)


def scan_pair(folder: VocFolder, name: str) -> MaskScan:
    """Read a picture and its mask. Raises UserError: missing, unreadable, or of different sizes."""
    image_path, mask_path = folder.image_path(name), folder.mask_path(name)
    if not mask_path.is_file():
        remedy = f"add the mask, or draw the split anew: {folder.doctor('--overwrite')}"
        raise UserError(
            "scan-pair", mask_path, "no such mask", f"a mask for the picture {image_path.name}", remedy
        )
    # The whole picture, not its header alone: a truncated one must not come up in the middle of a training.
    mask, size = read_mask(mask_path), read_image(image_path).shape[:2]
    check_size(mask_path, mask, image_path.name, size)
    return MaskScan(name, size, np.bincount(mask.ravel(), minlength=256))


def scan_pairs(folder: VocFolder, names: Sequence[str]) -> Iterator[MaskScan | UserError]:
    """`scan_pair` for every name, in threads (decoding releases the lock); faults are yielded, not raised."""

    def scan(name: str) -> MaskScan | UserError:
        try:
            return scan_pair(folder, name)
        except UserError as error:
            return error

    with ThreadPoolExecutor() as pool:
        yield from pool.map(scan, names)


def looks_like_0_255(counts: np.ndarray) -> bool:
    """Masks with exactly the values 0 and 255: black and white drawings, not class indices. counts: (256,)."""
    return set(np.flatnonzero(counts)) == {0, IGNORE_INDEX}


def resolve_class_names(folder: VocFolder, counts: np.ndarray) -> list[str]:
    """class_names.txt, or class_0 … up to the largest value found (255 aside). counts: (256,) pixels of each value."""
    names = folder.read_class_names()
    if names is not None:
        return names
    largest = int(np.flatnonzero(counts[:IGNORE_INDEX]).max(initial=1))
    return numbered_classes(max(largest, 1) + 1)


def check_classes(folder: VocFolder, scans: Sequence[MaskScan], class_names: Sequence[str]) -> None:
    """Raises UserError if a mask of the split holds a value that is no class index, naming file, value and pixel count."""
    total = sum(scan.counts for scan in scans)
    if looks_like_0_255(total):
        reason = "255 means 'ignore', so the network would learn nothing but class 0"
        values = (
            f"the values 0 ({total[0]} pixels) and 255 ({total[255]} pixels): masks drawn in black and white"
        )
        remedy = f"{folder.doctor('--map 0:0,255:1')}   (white becomes class 1; for black as class 1: --map 0:1,255:0)"
        expected = "class indices 0, 1, … (255 only where the truth is unknown)"
        raise UserError("check-classes", folder.masks_dir, f"only {values}. {reason}", expected, remedy)
    for scan in scans:
        wrong = [v for v in np.flatnonzero(scan.counts) if len(class_names) <= v != IGNORE_INDEX]
        if wrong:
            listed = ", ".join(f"{v} ({scan.counts[v]} pixels)" for v in wrong[:5]) + (
                ", …" if len(wrong) > 5 else ""
            )
            number, names = len(class_names), ", ".join(class_names[:8])
            expected = f"values 0 … {number - 1} for the {number} classes ({names}), or 255"
            remedy = (
                f"complete {folder.class_names_path}, or mend the masks: {folder.doctor('--map OLD:NEW,…')}"
            )
            raise UserError(
                "check-classes", folder.mask_path(scan.name), f"value {listed} in the mask", expected, remedy
            )


DATASET_FORMAT = 1


def fresh_statistics(folder: VocFolder, names: Sequence[str]) -> list[MaskScan] | None:
    """What dataset.json says of these pairs, or None where it is missing, or older than any picture or mask it lists."""
    try:
        content = json.loads((folder.root / "dataset.json").read_text(encoding="utf-8"))
        pairs = content["pairs"]
        if content["format"] != DATASET_FORMAT or content["fingerprint"] != _fingerprint(folder, list(pairs)):
            return None
        return [_parse_scan(name, pairs[name]) for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _parse_scan(name: str, text: str) -> MaskScan:
    size, *entries = text.split()
    height, width = size.split("×")
    counts = np.zeros(256, np.int64)
    for entry in entries:
        value, pixels = entry.split(":")
        counts[int(value)] = int(pixels)
    return MaskScan(name, (int(height), int(width)), counts)


def _fingerprint(folder: VocFolder, names: Sequence[str]) -> str:
    """Of the names, sizes and times of the files. Raises OSError or KeyError where one is missing."""
    total = blake2b(digest_size=16)
    for name in names:
        for path in (folder.images[name], folder.mask_path(name)):
            state = path.stat()
            total.update(f"{path.name}|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return total.hexdigest()
