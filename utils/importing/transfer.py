"""Filling a VOC folder from elsewhere: everything is checked first, and nothing that stands there is written over."""

import filecmp
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from utils.core.console import UserError, progress
from utils.core.files import read_lines, replacing, write_lines
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.voc.folder import VocFolder


@dataclass(frozen=True)
class Item:
    """One file to come: its place, where it is from, and its pixels, or none where the file is taken as it is."""

    target: Path
    source: Path
    kind: Literal["picture", "mask", "colours"]  # colours: a mask that is not yet class indices
    pixels: Callable[[], np.ndarray] | None = None


def raise_together(subject: Path, faults: Sequence[UserError]) -> None:
    """Raise nothing, the one fault, or a UserError that lists them all."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        found = f"{len(faults)} faults:\n\n" + "\n\n".join(map(str, faults)) + "\n"
        raise UserError(
            "raise-together",
            subject,
            found,
            "none of these",
            "as said for each of them; nothing has been written",
        )


def check_all(subject: Path, checks: Sequence[Callable[[], None]], unit: str) -> None:
    """Run all checks in threads (decoding releases the lock). Raises one UserError for all that raise one."""

    def fault(check: Callable[[], None]) -> UserError | None:
        try:
            return check()
        except UserError as error:
            return error

    with ThreadPoolExecutor() as pool:
        faults = list(progress(pool.map(fault, checks), "checking", unit, len(checks)))
    raise_together(subject, [found for found in faults if found])


def transfer(
    folder: VocFolder, items: Sequence[Item], texts: Mapping[Path, Sequence[str]], link: bool = False
) -> str:
    """Write the pictures, masks and text files (target → lines) that are not there yet. Returns how many, in words.

    link: files that are taken as they are become hard links. Raises UserError, before anything is written, for all
    targets that hold something else.
    """
    pictures = folder.images_if_any()
    other = {
        path: "the imported one" for path, lines in texts.items() if path.exists() and not same(path, lines)
    }
    missing = []
    for item in progress(items, "comparing", "file"):
        # A picture of another ending would have the same name.
        standing = pictures.get(item.target.stem, item.target) if item.kind == "picture" else item.target
        if not standing.exists():
            missing.append(item)
        elif standing != item.target or not holds(item):
            other[standing] = f"what comes from {item.source}"
    found, remedy = (
        "other content; nothing is written over",
        "choose another --voc-root, or move this file away",
    )
    faults = [
        UserError("transfer", path, found, f"{expected}, or no file", remedy)
        for path, expected in other.items()
    ]
    raise_together(folder.root, faults)
    missing_texts = [path for path in texts if not path.exists()]
    for path in missing_texts:
        write_lines(path, texts[path])
    for item in progress(missing, "writing", "file"):
        write(item, link)
    written = len(missing) + len(missing_texts)
    return f"{written} files written, {len(items) + len(texts) - written} there already"


def same(path: Path, lines: Sequence[str]) -> bool:
    return [line.strip() for line in read_lines(path, "move it away") if line.strip()] == list(lines)


def holds(item: Item) -> bool:
    """Whether the target holds what would be written, or did before voc2unet.py mended it and kept the original."""
    kept = item.target.parent.with_name(f"{item.target.parent.name}.orig") / item.target.name
    for path in (item.target, kept) if item.kind != "picture" else (item.target,):
        with suppress(UserError, FileNotFoundError):
            if item.pixels is None:
                same_content = path.samefile(item.source) or filecmp.cmp(item.source, path, shallow=False)
            else:
                same_content = np.array_equal(
                    (read_mask if item.kind == "mask" else read_image)(path), item.pixels()
                )
            if same_content:
                return True
    return False


def write(item: Item, link: bool) -> None:
    pixels = item.pixels and item.pixels()
    if pixels is None and link:
        hard_link(item.source, item.target)
    elif pixels is None:
        with replacing(item.target) as temporary:
            shutil.copyfile(item.source, temporary)
    else:
        (write_mask if item.kind == "mask" else write_image)(item.target, pixels)


def hard_link(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    except OSError as error:
        found = f"no hard link to {source} ({error.strerror or error})"
        raise UserError(
            "hard-link", target, found, "source and target on one disk that knows links", "leave out --link"
        ) from None
