"""Filling a VOC folder from elsewhere: everything is checked first, and nothing that stands there is written over."""

import filecmp
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from utils.console import UserError, progress
from utils.files import replacing
from utils.images import read_image, read_mask, write_image, write_mask
from utils.voc import VocFolder


@dataclass(frozen=True)
class Item:
    """One file to come: its place, where it is from, and its pixels, or none where the file is taken as it is."""

    target: Path
    source: Path
    kind: Literal["picture", "mask"]
    pixels: Callable[[], np.ndarray] | None = None


def raise_together(subject: Path, faults: Sequence[UserError]) -> None:
    """Raise nothing, the one fault, or a UserError that lists them all."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        found = f"{len(faults)} faults:\n\n" + "\n\n".join(map(str, faults)) + "\n"
        raise UserError(subject, found, "none of these", "as said for each of them; nothing has been written")


def check_all(subject: Path, checks: Iterable[Callable[[], None]], total: int, unit: str) -> None:
    """Run all checks in threads. Raises one UserError for all that raise one."""

    def fault(check: Callable[[], None]) -> UserError | None:
        try:
            check()
        except UserError as error:
            return error
        return None

    with ThreadPoolExecutor() as pool:
        faults = list(progress(pool.map(fault, checks), "checking", unit, total))
    raise_together(subject, [found for found in faults if found])


def transfer(folder: VocFolder, items: Sequence[Item], link: bool = False) -> tuple[int, int]:
    """Write what is not there yet. Returns how many files were written and how many stood there already.

    Raises UserError, before anything is written, for every target that holds something else.
    """
    missing = list(absent(folder, items))
    for item in progress(missing, "writing", "file"):
        write(item, link)
    return len(missing), len(items) - len(missing)


def absent(folder: VocFolder, items: Sequence[Item]) -> Iterator[Item]:
    pictures = folder.images if folder.images_dir.is_dir() else {}
    faults, missing = [], []
    for item in progress(items, "comparing", "file"):
        standing = pictures.get(item.target.stem, item.target) if item.kind == "picture" else item.target
        if not standing.is_file():
            missing.append(item)
        elif standing != item.target or not holds(item):
            found = "a file of this name with other content; nothing is written over"
            remedy = f"choose another --voc-root, rename {item.source.name}, or move the existing file away"
            faults.append(UserError(standing, found, f"what comes from {item.source}, or no file", remedy))
    raise_together(folder.root, faults)
    return iter(missing)


def holds(item: Item) -> bool:
    """Whether the target holds what would be written."""
    if item.pixels is None:
        return item.target.samefile(item.source) or filecmp.cmp(item.source, item.target, shallow=False)
    try:
        return np.array_equal((read_mask if item.kind == "mask" else read_image)(item.target), item.pixels())
    except UserError:
        return False


def write(item: Item, link: bool) -> None:
    if item.pixels is None:
        (hard_link if link else copy)(item.source, item.target)
    elif item.kind == "mask":
        write_mask(item.target, item.pixels())
    else:
        write_picture(item.target, item.pixels())


def copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def hard_link(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    except OSError as error:
        found = f"no hard link to {source} ({error.strerror or error})"
        raise UserError(target, found, "source and target on one disk that knows links", "leave out --link") from None


def write_picture(path: Path, image: np.ndarray) -> None:
    """PNG of (H, W) or (H, W, 3), uint8 or uint16."""
    if image.ndim == 2 or image.dtype == np.uint8:
        write_image(path, image)
        return
    # Pillow has no colours of 16 bits.
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
