"""Talking to the user: the one exception for what they can mend, warnings, progress bars, the start of every script."""

import sys
from collections.abc import Callable, Iterable

import tyro
from tqdm import tqdm


class UserError(Exception):
    """A mistake in files or settings. Scripts print it and leave with exit status 2; any other exception is a bug.

    subject: the file or setting; found, expected: what was there and what should be; remedy: what to do.
    """

    def __init__(self, subject: object, found: str, expected: str, remedy: str):
        self.subject, self.found, self.expected, self.remedy = str(subject), found, expected, remedy
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
    except RuntimeError as error:
        # A process that loads pictures sends the text of its exception, behind its traceback.
        _, from_worker, text = str(error).rpartition(f"{UserError.__module__}.UserError: ")
        if not from_worker:
            raise
        print(f"\nerror: {text.strip()}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)


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
    return tqdm(items, desc=description, unit=unit, total=total, leave=False, dynamic_ncols=True, disable=None)
