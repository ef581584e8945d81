"""Where a result comes from: program, machine, command line and data."""

import hashlib
import platform
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy
import torch

from utils.training.data import Data

ENDS = 1 << 16  # bytes


def describe_environment(data: Data) -> dict[str, object]:
    """Versions, commit of this repository, command line, time, and digests of the splits and of the data."""
    return {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "commit": commit_of(Path(__file__).parents[2]),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "system": platform.platform(),
        "splits": digest_of(*(f"{name}\n" for name in (*data.train, "", *data.val))),
        "data": digest_of_data(data),
    }


def commit_of(root: Path) -> str | None:
    """The git commit of a checkout, with a plus sign if files of it were changed; None for other folders."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=root,
            capture_output=True,
            encoding="utf-8",
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if (root / ".git").exists() else None


def digest_of(*texts: str) -> str:
    return hashlib.blake2b("".join(texts).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def digest_of_data(data: Data) -> str:
    """Of names, sizes and the first and last 64 KiB of all pictures and masks, in the order of the splits.

    The end of a PNG holds checksums of all that it contains.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in (*data.train, *data.val):
        for path in (data.folder.image_path(name), data.folder.mask_path(name)):
            size = path.stat().st_size
            digest.update(f"{path.name}\n{size}\n".encode("utf-8", "surrogateescape"))
            with path.open("rb") as file:
                digest.update(file.read(ENDS))
                file.seek(max(size - ENDS, file.tell()))
                digest.update(file.read(ENDS))
    return digest.hexdigest()
