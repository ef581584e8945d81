"""Writing files whole or not at all."""

import codecs
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from utils.core.console import UserError, has_controls, note

LONGEST = 255  # bytes of a file name, on Windows characters
WINDOWS = os.name == "nt"
LATER = (0.1, 0.2, 0.4, 0.8, 1.6)  # seconds between attempts


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder to write to, and rename it to `path` at the end.

    A crash at any instant leaves the old file or the new one, whole. An exception leaves the old one and no
    other. Makes the folder. Raises UserError where it cannot be written.
    """
    # Several processes and threads may write one file, even on machines that share a disk.
    writer = f"{os.getpid()}-{secrets.token_hex(4)}"
    # Without the name itself, which may be as long as names can be.
    temporary = path.with_name(f".{writer}.writing{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        put_in_place(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        found = f"it cannot be written ({error.strerror or error})"
        remedy = "close programs that have it open; free space, change permissions or choose another folder"
        raise UserError(
            "file-not-writable", path, found, "a writable folder with free space", remedy
        ) from None


def name_fault(path: Path) -> UserError | None:
    """Why no list or table in UTF-8 can hold the name of a file, or no disk its length; else None."""
    remedy = "rename it"
    if has_controls(path.stem):
        found = f"the name {path.stem!a}, with characters that cannot be written"
        return UserError("name-unprintable", path, found, "letters, digits, signs", remedy)
    if len(path.name if WINDOWS else os.fsencode(path.name)) > LONGEST:
        found, expected = "a name that is too long", f"{LONGEST} bytes at most, of {path.name[:20]}…"
        return UserError("name-too-long", path, found, expected, remedy)
    return None


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename. On Windows a file that another program holds open is tried again for some seconds.

    Virus scanners, indexers and viewers let go of it soon.
    """
    for wait in (*LATER, None):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            if wait is None or not WINDOWS:
                raise
            time.sleep(wait)


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that were killed were writing. Nobody else may write to the folder."""
    for path in folder.glob(".*.writing*"):
        with suppress(OSError):
            path.unlink()


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
        if isinstance(content, dict):
            return content
        found = "other JSON"
    except (ValueError, OSError) as error:
        found = f"a damaged file ({error})"
    raise UserError("record-damaged", path, found, "a record that a script here wrote", "move the file away")


def read_bytes(path: Path, kind: str, remedy: str) -> bytes:
    """Content of a file; kind: the noun for it in messages. Raises UserError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError("file-missing", path, "no such file", f"a {kind} file", remedy) from None
    except OSError as error:
        found = f"it cannot be read ({error.strerror})"
        raise UserError("file-unreadable", path, found, f"a {kind} file", remedy) from None


def read_lines(path: Path, remedy: str, count_known: Callable[[list[str]], int] | None = None) -> list[str]:
    """Lines of a text file in UTF-8 (with or without BOM), UTF-16 with BOM, or GBK. Raises UserError.

    count_known: how many of the lines name something that exists. It decides where both UTF-8 and GBK fit.
    """
    return decode_text(read_bytes(path, "text", remedy), path, count_known).splitlines()


def decode_text(data: bytes, path: Path, count_known: Callable[[list[str]], int] | None = None) -> str:
    """Text of a file that people wrote, on a Chinese Windows too. Raises UserError for other encodings."""
    utf, gbk = None, None
    with suppress(UnicodeDecodeError):
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16")
        utf = data.decode("utf-8-sig")
    # Two bytes above ASCII per letter. Letters of one byte, as in Latin-1, mostly stand between ASCII.
    marked = data.startswith(codecs.BOM_UTF8)
    if not marked and re.fullmatch(rb"(?:[\x01-\x7f]|[\x81-\xfe][\x80-\xfe])*", data):
        with suppress(UnicodeDecodeError):
            gbk = data.decode("gb18030")
    if utf is None and gbk is None:
        found, remedy = "text in another encoding", "save the file again as UTF-8"
        raise UserError("file-not-utf-8", path, found, "UTF-8, UTF-16 or GBK", remedy)
    # Bytes such as those of 图片 are UTF-8 too, of rare letters.
    both = count_known is not None and None not in (utf, gbk) and utf != gbk
    if utf is None or (both and count_known(gbk.splitlines()) > count_known(utf.splitlines())):
        letters = re.search(r"[^\x00-\x7f]+", gbk)
        note(f"{path} is no UTF-8: read as GBK ({letters[0][:12]} …)")
        return gbk
    return utf


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write UTF-8 lines that end in \\n on every system. Raises UserError as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
