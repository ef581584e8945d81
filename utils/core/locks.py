"""A folder that one process at a time writes to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from utils.core.console import UserError

AGAIN = "wait until it has ended, then run this again"
LOCK_FILE = ".lock"  # of the file in the folder that is locked


class Lock:
    """A lock that is held until `release`, which removes its file."""

    def __init__(self, path: Path):
        self.path, self.lock = path, FileLock(path, timeout=0)
        self.lock.acquire()

    def release(self) -> None:
        if self.lock.is_locked:
            # Before others can take it; Windows allows it only after that.
            with suppress(OSError):
                self.path.unlink()
            self.lock.release()
            if os.name == "nt":
                with suppress(OSError):
                    self.path.unlink()


def take_lock(folder: Path, remedy: str) -> Lock:
    """Make the folder and take its lock, until `release`. However a process ends, the system releases it.

    Raises UserError if another process holds it, and where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder / LOCK_FILE)
    except Timeout:
        found, expected = "another process is writing to it", "a folder that nobody else writes to"
        raise UserError("folder-in-use", folder, found, expected, remedy) from None
    except OSError as error:
        found = f"it cannot be written ({error.strerror or error})"
        expected = "a writable folder with free space"
        raise UserError("file-not-writable", folder, found, expected, "choose another folder") from None
    return lock


@contextmanager
def locked(folder: Path, remedy: str = AGAIN) -> Iterator[None]:
    """No other process that asks for it writes to the folder meanwhile. Raises UserError as `take_lock`.

    The folder is made for it, and removed again if nothing was written.
    """
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = take_lock(folder, remedy)
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # what is not empty stays
            for path in absent:
                path.rmdir()


def is_taken(folder: Path) -> bool:
    """Whether a process holds the folder's lock now. A file that a killed process left counts for nothing."""
    path = folder / LOCK_FILE
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError):
        return True
