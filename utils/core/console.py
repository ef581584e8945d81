"""The console: the exception for mistakes of the user, warnings, progress bars, the start of every script."""

import os
import re
import shlex
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tyro
from tqdm import tqdm

from utils.core.signals import signals_end

# What helps when memory runs out, by the code of `memory_error`; gpu: where it is a GPU's. Scripts with flags
# that help pass their own.
REMEDIES = {"memory": "close other programs, or use smaller pictures"}


class UserError(Exception):
    """A mistake in files or settings. Scripts print it and exit with status 2; any other exception is a bug.

    code: the kind of mistake, such as mask-size. It stays when the wording changes, and tests compare it.
    subject: the file or setting; found, expected: what is there and what should be; remedy: what to do.
    """

    def __init__(self, code: str, subject: object, found: str, expected: str, remedy: str):
        # All of them as arguments of the exception, so that pickle can rebuild it in another process.
        super().__init__(code, str(subject), found, expected, remedy)
        self.code, self.subject = code, str(subject)
        self.found, self.expected, self.remedy = found, expected, remedy

    def __str__(self) -> str:
        lines = f"found:    {self.found}", f"expected: {self.expected}", f"to do:    {self.remedy}"
        return "\n  ".join((self.subject, *lines))


def list_faults(faults: Sequence[UserError]) -> str:
    """Many mistakes in few lines: for each code how many, three of the files, and what to do."""
    groups = defaultdict(list)
    for fault in faults:
        groups[fault.code].append(fault)
    return "\n\n".join(map(_list_group, groups.values()))


def _list_group(group: Sequence[UserError]) -> str:
    files = "".join(f"  {fault.subject}: {fault.found}\n" for fault in group[:3])
    more = f"  … and {len(group) - 3} more\n" if len(group) > 3 else ""
    first = f"  expected: {group[0].expected}\n  to do:    {group[0].remedy}"
    return f"{group[0].code}: {len(group)}\n{files}{more}{first}"


def run_script(
    main: Callable,
    config_class: type,
    description: str,
    remedies: Mapping[str, str] = REMEDIES,
    find_defaults: Callable[[Any], Any] | None = None,
) -> None:
    """Parse the command line into `config_class`, a dataclass whose fields become flags, and call `main`.

    remedies: as in REMEDIES, with flags of the script. find_defaults: from what was typed, other values for
    all that was not. Exit status: 0 done, 2 a UserError or a wrong flag, 130 interrupted, 141 nobody reads
    the output any more, 143 after SIGTERM. Bugs keep their traceback and status 1.
    """
    for stream in (sys.stdout, sys.stderr):
        # A Windows console in a local code page must not turn a progress bar or a Chinese name into a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    config = tyro.cli(config_class, description=description)
    try:
        if find_defaults and (defaults := find_defaults(config)) is not config:
            config = tyro.cli(config_class, description=description, default=defaults)
        with signals_end():
            main(config)
        print(end="", flush=True)
    except BrokenPipeError:
        if not _output_is_closed():
            raise
        sys.exit(141)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        known = error if isinstance(error, UserError) else memory_error(error, remedies)
        if known is None:
            raise
        print(f"\nerror: {visible(str(known))}", file=sys.stderr)
        sys.exit(2)


def _output_is_closed() -> bool:
    """Whether its reader is gone, as after `| head`. What Python writes at its end then goes nowhere."""
    for stream in (sys.stdout, sys.stderr):
        try:
            print(file=stream, flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            return True
    return False


def memory_error(error: Exception, remedies: Mapping[str, str] = REMEDIES) -> UserError | None:
    """The UserError that reports memory that ran out; None for any other error, which stays a bug.

    PyTorch has a type for this on a GPU alone (`torch.OutOfMemoryError`). For a CPU, cuDNN, Apple's GPU and a
    loading process that was killed, it raises RuntimeErrors that differ in their messages only, so these are
    compared. If PyTorch rewords one, the script ends with that message and a traceback.
    """
    if not isinstance(error, (MemoryError, RuntimeError)):
        return None
    # A killed process is the cause of the error that comes of it.
    killed = re.search("DataLoader worker .* killed by signal.*", f"{error.__cause__ or ''}\n{error}")
    short = re.search("out of memory|not enough memory|allocate memory|ALLOC_FAILED|bad_alloc", str(error))
    if not (killed or short or isinstance(error, MemoryError)):
        return None
    code = "worker-killed" if killed else "memory"
    found = killed[0] if killed else (str(error).strip() or "out of memory").splitlines()[0]
    on_gpu = type(error).__name__ == "OutOfMemoryError" or re.search("CUDA|CUDNN|MPS", str(error))
    remedy = remedies.get("gpu" if on_gpu and not killed else code) or remedies["memory"]
    return UserError(code, "memory", found[:200], "enough for what is to be done", remedy)


def has_controls(text: str) -> bool:
    """Whether characters in it control a terminal or end lines, or stand for bytes that are no UTF-8."""
    return any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)


def on_one_line(text: str) -> str:
    """The text with a space for each run of line breaks and other characters of `has_controls`."""
    if not has_controls(text):
        return text
    parts = "".join("\n" if has_controls(c) else c for c in text).split("\n")
    return " ".join(filter(None, parts))


def visible(text: str) -> str:
    """The text with control characters as escapes: those of a name in a file could rewrite the terminal."""
    return "".join(ascii(c)[1:-1] if c not in "\n\t" and has_controls(c) else c for c in text)


def warn(message: str) -> None:
    """Report something that deserves a look but does not stop the run."""
    print(f"warning: {visible(message)}", file=sys.stderr)


def note(message: str) -> None:
    """Report what was done or assumed on the user's behalf."""
    print(f"note: {visible(message)}", file=sys.stderr)


def quoted(text: object, windows: bool = os.name == "nt") -> str:
    """A path or value as it is pasted into the shell of this system: bash, or Windows' cmd.

    In double quotes, which both have, unless bash would read something inside them.
    """
    text = str(text)
    plain = r"[\w.,:/\\+=@-]+" if windows else r"[\w.,:/+=@-]+"
    if re.fullmatch(plain, text):
        return text
    if not windows and re.search(r'[$`"\\!]', text):
        return shlex.quote(text)
    # On Windows a backslash before a quote means the quote.
    return f'"{text}{chr(92) * (windows and text.endswith(chr(92)))}"'


def counted(number: int, thing: str) -> str:
    """`1 pair`, `2 pairs`, `2 classes`."""
    ending = "es" if thing.endswith("s") else "s"
    return f"{number} {thing}{ending * (number != 1)}"


def progress(items: Iterable, description: str, unit: str, total: int | None = None) -> tqdm:
    """The progress bar of every script: on standard error, gone when finished, absent without a terminal."""
    return tqdm(items, description, total, unit=unit, leave=False, dynamic_ncols=True, disable=None)
