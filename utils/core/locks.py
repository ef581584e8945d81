"""A folder that one process at a time writes to."""

from pathlib import Path

from filelock import FileLock, Timeout

from utils.core.console import UserError

Lock = FileLock
NAME = ".lock"  # of the file in the folder that is locked


def take_lock(folder: Path, remedy: str) -> Lock:
    """Make the folder and take its lock, until `release`. However a process ends, the system releases it.

    Raises UserError if another process holds it, and where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / NAME, timeout=0)
        lock.acquire()
    except Timeout:
        found, expected = "another process is writing to it", "a folder that nobody else writes to"
        raise UserError("folder-in-use", folder, found, expected, remedy) from None
    except OSError as error:
        found = f"it cannot be written ({error.strerror or error})"
        expected = "a writable folder with free space"
        raise UserError("file-not-writable", folder, found, expected, "choose another folder") from None
    return lock
