"""Signals that ask a program to end: Ctrl-C, SIGTERM of schedulers, SIGHUP of a closed shell."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = "SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"  # the last two: not on every system
ENDING = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


class StopRequest:
    """Whether a signal has asked to end: `signal` is its number, 0 before."""

    def __init__(self) -> None:
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal > 0

    def exit(self) -> None:
        """End the program as its shell expects: 130 after Ctrl-C, 143 after SIGTERM."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + self.signal)


@contextmanager
def stop_requested(promise: str) -> Iterator[StopRequest]:
    """Within it the first signal is only noted, and `promise` printed; the second ends at once."""
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if request:
            request.signal = number
            request.exit()
        request.signal = number
        print(f"note: {signal.Signals(number).name}: {promise}. Once more ends at once", file=sys.stderr)

    with handlers(handle):
        yield request


@contextmanager
def signals_end() -> Iterator[None]:
    """SIGTERM and the like end the program as an exception does, so that temporary files are removed."""

    def handle(number: int, frame: FrameType | None) -> None:
        print(f"\nended by {signal.Signals(number).name}", file=sys.stderr)
        sys.exit(128 + number)

    with handlers(handle, [number for number in ENDING if number != signal.SIGINT]):
        yield


@contextmanager
def handlers(handle, numbers=tuple(ENDING)) -> Iterator[None]:
    """Handle these signals. Without effect in another thread than the main one, where Python allows none."""
    before = {}
    try:
        for number in numbers:
            # What is ignored, as SIGHUP is under nohup, stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handle)
    except ValueError:
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_signals(_: int) -> None:
    """In a process that loads pictures, because the main process decides what signals mean, and ends it."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
