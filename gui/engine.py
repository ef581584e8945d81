"""The process of the network. PyTorch holds Python's lock for seconds when it is loaded, and computes on all
cores; in a process of its own, neither stops the window.
"""

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from utils.core.console import UserError, memory_error

ENDED = OSError, EOFError  # what a pipe raises whose other end is gone


class Cancelled(Exception):
    """The work was given up because nobody waits for it any more."""


class EngineError(Exception):
    """A bug in the process of the network. Its text is the traceback."""


def never() -> bool:
    return False


class Engine:
    """Calls methods of a `gui.session.Session` in another process, one after another.

    Thread-safe. The process starts with the first call, and again after it has ended.
    """

    def __init__(self) -> None:
        self.lock, self.numbers = threading.Lock(), count()
        self.process: multiprocessing.Process | None = None
        self.connection: Connection | None = None
        self.waiting: dict[int, tuple[Future, Callable[..., None] | None]] = {}

    def call(
        self,
        method: str,
        *arguments: Any,
        on_event: Callable[..., None] | None = None,
        is_cancelled: Callable[[], bool] = never,
    ) -> Any:
        """What the method returns. Blocks; on_event is called in another thread with what it emits.

        is_cancelled: asked first, and then ten times a second. Raises Cancelled if it was true, what the
        method raises, a UserError if the process ends, and EngineError for a bug.
        """
        if is_cancelled():
            raise Cancelled
        future = Future()
        with self.lock:
            if self.process is None:
                self._start()
            number = next(self.numbers)
            self.waiting[number] = future, on_event
            self._send(("call", number, method, arguments))
        told = False
        while True:
            with suppress(TimeoutError):
                return future.result(timeout=0.1)
            if not told and is_cancelled():
                told = True
                with self.lock:
                    self._send(("cancel", number))

    def end(self) -> None:
        """Stop the process at once, whatever it does."""
        with self.lock:
            process, self.process = self.process, None
        if process:
            process.kill()

    @property
    def runs(self) -> bool:
        return self.process is not None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other,), daemon=True)
        self.process.start()
        other.close()
        arguments = self.process, self.connection
        threading.Thread(target=self._receive, args=arguments, daemon=True).start()

    def _send(self, message: tuple) -> None:
        # A process that has ended is noticed by the thread that receives.
        with suppress(*ENDED):
            self.connection.send(message)

    def _receive(self, process: multiprocessing.Process, connection: Connection) -> None:
        while True:
            try:
                kind, number, content = connection.recv()
            except ENDED:
                break
            future, on_event = self.waiting[number]
            if kind == "event":
                on_event(*content)
                continue
            del self.waiting[number]
            if kind == "result":
                future.set_result(content)
            else:
                future.set_exception(content)
        process.join()
        with self.lock:
            if self.process is process:
                self.process = None
            left, self.waiting = self.waiting, {}
        for future, _ in left.values():
            future.set_exception(ended_error(process.exitcode))


def ended_error(status: int | None) -> UserError:
    found = f"it ended (exit status {status}), perhaps because the memory ran out"
    remedy = "close other programs, or use a smaller picture; then choose the model again"
    return UserError("engine-ended", "the process of the network", found, "a running process", remedy)


def serve(connection: Connection) -> None:
    """Answer calls until the window is gone."""
    if hasattr(os, "nice"):
        # The window goes first.
        os.nice(5)
    calls, cancelled = SimpleQueue(), set()

    def receive() -> None:
        try:
            while True:
                kind, *content = connection.recv()
                if kind == "cancel":
                    cancelled.add(content[0])
                else:
                    calls.put(content)
        except ENDED:
            # Nobody is left to compute for.
            os._exit(0)

    threading.Thread(target=receive, daemon=True).start()
    from gui.session import Session  # in this process only, because it loads PyTorch

    session = Session()
    while True:
        number, method, arguments = calls.get()
        connection.send(answer(session, method, arguments, number, connection, cancelled))
        cancelled.discard(number)


def answer(
    session: Any, method: str, arguments: tuple, number: int, connection: Connection, cancelled: set[int]
) -> tuple[str, int, Any]:
    def emit(*content: Any) -> None:
        if number in cancelled:
            raise Cancelled
        connection.send(("event", number, content))

    try:
        if number in cancelled:
            raise Cancelled
        return "result", number, getattr(session, method)(*arguments, emit)
    except (UserError, Cancelled) as error:
        return "error", number, error
    except Exception as error:  # noqa: BLE001
        # Sent to the window, which shows it and goes on.
        return "error", number, memory_error(error) or EngineError(traceback.format_exc())
