"""Work in threads: each lane does one thing after another. Results come to the thread of the window."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PyQt5.QtCore import QObject, pyqtSignal

from gui.engine import Cancelled
from utils.core.console import UserError, memory_error


class Job:
    """One piece of work. `is_cancelled` and `post` are for the function that does it."""

    def __init__(self, jobs: "Jobs"):
        self.jobs = jobs
        self.given_up = self.ending = self.ended = False

    def cancel(self) -> None:
        """Nobody wants its result any more."""
        self.given_up = True

    def cancel_softly(self) -> None:
        """It shall end soon; its result, or that it was cancelled, still arrives."""
        self.ending = True

    def is_ending(self) -> bool:
        return self.ending or self.given_up

    def is_cancelled(self) -> bool:
        return self.given_up

    def post(self, function: Callable[[], None]) -> None:
        """Call a function in the thread of the window, unless the job is given up by then."""
        self.jobs.posted.emit(lambda: None if self.given_up else function())


class Jobs(QObject):
    """Lanes are made when they are first used. A new job may replace those of its kind that wait or run."""

    posted = pyqtSignal(object)
    failed = pyqtSignal(object)  # an exception

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self.lanes: dict[str, ThreadPoolExecutor] = {}
        self.current: dict[str, Job] = {}
        self.running: list[Job] = []
        self.over = False
        self.posted.connect(lambda function: function())

    def run(
        self,
        lane: str,
        function: Callable[[Job], Any],
        done: Callable[[Any], None] = lambda _: None,
        kind: str | None = None,
        failed: Callable[[Exception], bool | None] | None = None,
    ) -> Job:
        """Call `function(job)` in the thread of a lane, then `done(result)` in that of the window.

        kind: gives up the job of this kind before it. failed: called with the exception; the failure is
        shown unless it returns True.
        """
        job = Job(self)
        if self.over:
            # A timer or a signal came after the window was closed.
            job.given_up = job.ended = True
            return job
        if kind is not None:
            self.cancel(kind)
            self.current[kind] = job
        self.running.append(job)
        pool = self.lanes.setdefault(lane, ThreadPoolExecutor(1, lane))
        pool.submit(self._work, job, function, done, failed)
        return job

    def cancel(self, kind: str) -> None:
        if kind in self.current:
            self.current[kind].cancel()

    def end(self) -> None:
        """Give up everything; nothing begins or arrives after this."""
        self.over = True
        for job in self.running:
            job.cancel()
        for pool in self.lanes.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def is_busy(self, *kinds: str) -> bool:
        """Whether a job of these kinds waits or runs whose result is still wanted."""
        jobs = [self.current[kind] for kind in kinds if kind in self.current]
        return any(not (job.ended or job.given_up) for job in jobs)

    def _work(self, job: Job, function: Callable, done: Callable, failed: Callable | None) -> None:
        try:
            if not job.given_up:
                result = function(job)
                job.post(lambda: done(result))
        except Cancelled:
            job.given_up = True
        except Exception as error:  # noqa: BLE001 — shown in the window
            self._fail(job, error, failed)
        finally:
            self.posted.emit(lambda: self._end(job))

    def _fail(self, job: Job, error: Exception, failed: Callable | None) -> None:
        known = error if isinstance(error, UserError) else memory_error(error) or error

        def show() -> None:
            if not (failed and failed(known)):
                self.failed.emit(known)

        job.post(show)

    def _end(self, job: Job) -> None:
        job.ended = True
        self.running.remove(job)
