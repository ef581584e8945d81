"""Talking to the user: the one exception for what they can mend, warnings, progress bars, the start of every script."""

import re
import sys
from collections.abc import Callable, Iterable

import tyro
from tqdm import tqdm

FEWER_PROCESSES = "load with fewer processes (--num-workers 0); in a container, allow more shared memory (docker run --shm-size 2g)"
SMALLER_STEPS = (
    "train with a smaller --batch-size or --input-shape, then with --save-memory; "
    "close other programs (nvidia-smi lists those on an NVIDIA GPU)"
)
# How PyTorch (loading processes; CUDA, cuDNN, Apple's GPU, a CPU on Linux and Windows) says that memory ran out → what helps.
SHORTAGES = {
    "DataLoader worker .* killed by signal": FEWER_PROCESSES,
    "out of memory|not enough memory|allocate memory|ALLOC_FAILED": SMALLER_STEPS,
}


class UserError(Exception):
    """A mistake in files or settings. Scripts print it and leave with exit status 2; any other exception is a bug.

    code: names the kind of mistake, such as mask-size; it stays when the wording changes, and tests compare it.
    subject: the file or setting; found, expected: what was there and what should be; remedy: what to do.
    """

    def __init__(self, code: str, subject: object, found: str, expected: str, remedy: str):
        self.code, self.subject = code, str(subject)
        self.found, self.expected, self.remedy = found, expected, remedy
        super().__init__(f"{subject}\n  found:    {found}\n  expected: {expected}\n  to do:    {remedy}")


def run_script(main: Callable, config_class: type, description: str) -> None:
    """Parse the command line into `config_class` (a dataclass: its defaults and comments become flags), call `main`.

    Exit status: 0 done, 2 a UserError (or a wrong flag, told by tyro), 130 interrupted. Bugs keep their traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        # A Windows console in a local code page must not turn a progress bar or a Chinese name into a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    config = tyro.cli(config_class, description=description)
    try:
        main(config)
    except UserError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, MemoryError) as error:
        if not (text := explanation(error)):
            raise
        print(f"\nerror: {text}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)


def explanation(error: RuntimeError | MemoryError) -> str | None:
    """The text of a UserError of a process that loads pictures, or of one for memory that ran out; None for a bug."""
    # Such a process sends the text of its exception, behind its traceback.
    _, from_worker, text = str(error).rpartition(f"{UserError.__module__}.UserError: ")
    if from_worker:
        return text.strip()
    found = f"out of memory. {error}" if isinstance(error, MemoryError) else str(error)
    # That such a process was killed is only the cause of the error that comes of it.
    for text in (found, str(error.__cause__)):
        for sign, remedy in SHORTAGES.items():
            if re.search(sign, text):
                return str(
                    UserError(
                        "explanation",
                        "memory",
                        text.strip().split("\n")[0][:200],
                        "enough for what is to be done",
                        remedy,
                    )
                )
    return None


def warn(message: str) -> None:
    """Say something that deserves a look but does not stop the run."""
    print(f"warning: {message}", file=sys.stderr)


def note(message: str) -> None:
    """Say what was done or assumed on the user's behalf."""
    print(f"note: {message}", file=sys.stderr)


def quoted(path: object) -> str:
    """A path as it can be pasted into a shell, on Windows too: in double quotes where it holds blanks."""
    text = str(path)
    return f'"{text}"' if any(c in text for c in " &()'") else text


def counted(number: int, thing: str) -> str:
    """`1 pair`, `2 pairs`."""
    return f"{number} {thing}{'s' * (number != 1)}"


def progress(items: Iterable, description: str, unit: str, total: int | None = None) -> tqdm:
    """The progress bar of every script: on standard error, gone when finished, absent where that is no terminal."""
    return tqdm(
        items, desc=description, unit=unit, total=total, leave=False, dynamic_ncols=True, disable=None
    )
