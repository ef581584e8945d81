"""Arrays of pictures that take long to make: made once, then read by all processes that load pictures."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Stored:
    """One .npy file per picture in a folder."""

    folder: Path

    def get(self, number: int, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of picture `number`, made if it is not there yet."""
        path = self.folder / f"{number}.npy"
        if not path.exists():
            made = make()
            unfinished = path.with_name(f"{number}.{os.getpid()}.npy")
            try:
                np.save(unfinished, made)
                unfinished.replace(path)
            except OSError:
                # A full disk, or on Windows another process that reads its own: go on without the file.
                return made
        return np.load(path)


def stored_for_now() -> Stored:
    """In a new folder, removed when the program ends."""
    folder = Path(tempfile.mkdtemp(prefix="unet_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Stored(folder)
