"""Files of torch.save, read as data: nothing in them is executed, and damage is told from other contents."""

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from utils.core.console import UserError

EXPECTED = "a PyTorch checkpoint"
COPY_AGAIN = "check the path; copy or download the file again"


def load_weights_only(path: str | Path) -> Any:
    """`torch.load` restricted to tensors and plain containers. Raises UserError for anything else."""
    path = Path(path)
    if not path.is_file():
        train_first = "check the path, or train first: python train.py"
        found = "a folder" if path.is_dir() else "no such file"
        raise UserError("checkpoint-missing", path, found, EXPECTED, train_first)
    start = read_start(path)
    try:
        if start.startswith(b"PK"):
            check_archive(path)
        if start.startswith((b"PK", pickle.PROTO)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise unreadable_pickle(path, start, error) from None
    except Exception as error:
        # For damaged files torch.load raises a dozen types, from struct.error to AssertionError.
        raise damaged(path, f"a damaged or truncated file ({first_line(error)})") from error
    if not start:
        raise UserError("checkpoint-empty", path, "an empty file (zero bytes)", EXPECTED, COPY_AGAIN)
    found = f"a file that is no checkpoint (it begins with {repr(start)[1:]})"
    raise UserError("not-a-checkpoint", path, found, EXPECTED, COPY_AGAIN)


def read_start(path: Path) -> bytes:
    """The first eight bytes. Raises UserError where permissions or the disk forbid it."""
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        found = f"it cannot be read ({error.strerror or error})"
        remedy = "change its permissions, or copy it to another place"
        raise UserError("file-unreadable", path, found, EXPECTED, remedy) from None


def check_archive(path: Path) -> None:
    """Hold every part of a zip file against its checksum, which PyTorch does not.

    Raises UserError for damage, and for parts that unpack to more than the file holds: torch.save compresses
    nothing, so the memory that a file takes is bounded by its size.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        unpacked = sum(part.file_size for part in parts)
        compressed = [part for part in parts if part.compress_type != zipfile.ZIP_STORED]
        if compressed or unpacked > path.stat().st_size:
            found = f"a zip file that unpacks to {unpacked:,} bytes"
            remedy = "save the weights again with torch.save, which compresses nothing"
            raise UserError("checkpoint-compressed", path, found, EXPECTED, remedy)
        try:
            broken = archive.testzip()
        except zlib.error as error:
            raise zipfile.BadZipFile(str(error)) from None
    if broken:
        raise damaged(path, f"a damaged file: the checksum of {broken} is wrong")


def damaged(path: str | Path, found: str) -> UserError:
    return UserError("checkpoint-damaged", path, found, EXPECTED, COPY_AGAIN)


def unreadable_pickle(path: Path, start: bytes, error: Exception) -> UserError:
    # torch.save writes pickles of protocol 2; only those can be called damaged.
    if "Unsupported operand" in str(error) and start[:2] in (b"PK", b"\x80\2"):
        return damaged(path, "a damaged file (its pickle cannot be read)")
    found = "a pickle of more than tensors and plain values; it could run any program, so it was not loaded"
    remedy = "save the weights again where they were made, with torch.save(net.state_dict(), PATH)"
    return UserError("checkpoint-unsafe", path, found, "a checkpoint of tensors and plain values", remedy)


def first_line(error: Exception) -> str:
    """Of its message, 120 characters at most; its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
