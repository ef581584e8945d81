"""Writing files whole or not at all."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from utils.core.console import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder to write to, and rename it to `path` at the end.

    A crash at any instant leaves the old file or the new one, whole. An exception leaves the old one and no
    other. Makes the folder. Raises UserError where it cannot be written.
    """
    # Several processes may write one file, those of torchrun even on machines that share a disk.
    writer = f"{os.getpid()}-{os.environ.get('RANK', 0)}"
    temporary = path.with_name(f".{path.stem}.{writer}.writing{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        flush_to_disk(temporary)
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        raise UserError(
            "file-not-writable",
            path,
            f"it cannot be written ({error.strerror or error})",
            "a folder that you may write to, with free space",
            "close programs that have it open; free space, change permissions or choose another folder",
        ) from None


def remove(path: Path) -> None:
    """Delete a file. Raises UserError where another program or its permissions forbid it."""
    try:
        path.unlink()
    except OSError as error:
        found = f"it cannot be removed ({error.strerror or error})"
        remedy = "close programs that have it open, or change its permissions"
        raise UserError("file-not-removable", path, found, "a file that may be replaced", remedy) from None


def read_record(path: Path) -> dict:
    """The JSON object in a file that one of our scripts wrote; empty without a file. Raises UserError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (ValueError, OSError) as error:
        raise UserError(
            "record-damaged",
            path,
            f"a damaged file ({error})",
            "a record that a script here wrote",
            "move the file away",
        ) from None
    if not isinstance(content, dict):
        raise UserError(
            "record-damaged", path, "other JSON", "a record that a script here wrote", "move the file away"
        )
    return content


def flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def read_lines(path: Path, remedy: str) -> list[str]:
    """Lines of a UTF-8 text file (with or without BOM). Raises UserError."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError("file-missing", path, "no such file", "a text file", remedy) from None
    except OSError as error:
        raise UserError(
            "file-unreadable", path, f"it cannot be read ({error.strerror})", "a text file", remedy
        ) from None
    except UnicodeDecodeError:
        raise UserError(
            "file-not-utf-8", path, "text that is not UTF-8", "UTF-8", "save the file again as UTF-8"
        ) from None


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write UTF-8 lines that end in \\n on every system. Raises UserError as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
