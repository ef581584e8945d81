"""What the pane of the training shows and does, without a screen: data, their check, and one run."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PyQt5.QtCore import QObject, QTimer, pyqtSignal
from PyQt5.QtGui import QImage

from gui.curves import Style, draw_loss, draw_miou
from gui.jobs import Jobs
from gui.scripts import Offer, Script, ScriptError, find_offers, shown_command
from gui.training_data import Report, Source, inspect, read_report
from gui.training_run import RunState, TrainingRun, TrainingSettings, list_runs
from gui.translation import error_sentence
from utils.core.console import UserError

LANE = "training"
INTERVAL = 1000  # milliseconds between two looks at the run


class TrainingModel(QObject):
    """source, report, offers: of the data; run, state: of the run that is looked at. None where none is.

    offers: commands that mend what the check found. Failures go to `jobs.failed`.
    """

    began = pyqtSignal()  # what somebody asked for: what was said before is past
    data_changed = pyqtSignal()  # source, report, offers, or whether a check runs
    printed = pyqtSignal(str)  # by the check
    started = pyqtSignal(bool)  # whether the training that was asked for runs now
    runs_listed = pyqtSignal(list)  # TrainingRun, the latest first
    run_changed = pyqtSignal()  # run or state
    drawn = pyqtSignal(str, QImage)  # a picture of the run or the data, by name

    def __init__(self, jobs: Jobs, save_dir: Path, parent: QObject | None = None):
        super().__init__(parent)
        self.jobs, self.save_dir = jobs, save_dir.resolve()
        self.source: Source | None = None
        self.report: Report | None = None
        self.offers: list[Offer] = []
        self.steps: list[tuple[str, Sequence]] = []
        self.run: TrainingRun | None = None
        self.state: RunState | None = None
        self.watched = False
        self.shown: dict[str, Any] = {}  # of pictures of the run: what they were drawn from
        self.trouble = ""  # why the last look failed
        self.script = Script(self)
        self.script.printed.connect(self.printed)
        self.script.ended.connect(self._end_step)
        self.timer = QTimer(self)
        self.timer.setInterval(INTERVAL)
        self.timer.timeout.connect(self.look)

    # Data.

    def choose(self, folder: Path) -> None:
        """A VOC folder, one of labelme files, or a data set of another format that is known."""
        self.began.emit()
        self.cancel_check()
        self.script.output = ""
        self.report, self.offers = None, []
        self._work(lambda: inspect(folder.resolve()), self._show_source, "data")

    def _show_source(self, source: Source) -> None:
        self.source = source
        self.data_changed.emit()
        if source.kind != "missing":
            self._read_report()

    def _read_report(self) -> None:
        root = self.source.voc_root
        self._work(lambda: read_report(root), self._show_report, "data")

    def _show_report(self, report: Report | None) -> None:
        self.report = report
        self.data_changed.emit()
        for path in report.sheets if report else ():
            self._work(lambda path=path: QImage(str(path)), partial(self.drawn.emit, path.name))

    def check(self) -> None:
        """Convert if need be, then run the doctor."""
        if self.source and self.source.kind != "missing" and not self.is_checking():
            self.began.emit()
            self._run_steps(self.source.steps())

    def accept(self, offer: Offer) -> None:
        """Run a command that the check proposed, then the steps that were left."""
        if not self.is_checking():
            self.began.emit()
            left = self.source.steps()[1:] if offer.script != "voc2unet.py" else []
            self._run_steps([(offer.script, offer.arguments), *left])

    def is_checking(self) -> bool:
        return self.script.is_running()

    def count_warnings(self) -> int:
        """Of the last script; 0 before the first."""
        return sum(line.startswith("warning: ") for line in self.script.output.splitlines())

    def cancel_check(self) -> None:
        self.steps = []
        self.script.cancel()
        self.data_changed.emit()

    def _run_steps(self, steps: list[tuple[str, Sequence]]) -> None:
        self.report, self.offers = None, []
        first, *self.steps = steps
        self.printed.emit(f"$ {shown_command(*first)}\n")
        self.script.start(*first)
        self.data_changed.emit()

    def _end_step(self, error: ScriptError | None) -> None:
        if error:
            self.steps, self.offers = [], find_offers(error.remedy)
            if self.offers:
                # The commands stand below the folder; the sentence need not repeat them.
                error = error.with_remedy("Choose a proposal under Data")
            self.jobs.failed.emit(error)
        elif self.steps:
            self._run_steps(self.steps)
            return
        else:
            self._read_report()
        self.data_changed.emit()

    # The run.

    def settings(self, **choices: Any) -> TrainingSettings:
        """Those of a run on the data that were checked; see TrainingSettings."""
        return TrainingSettings(self.report.root, needed=self.report.needed, **choices)

    def describe(self, **choices: Any) -> str:
        """The command that `start` would run, or what is wrong with it."""
        try:
            return shown_command("train.py", self.settings(**choices).arguments())
        except UserError as error:
            return error_sentence(error)

    def start(self, settings: TrainingSettings, name: str) -> None:
        def done(run: TrainingRun) -> None:
            self.started.emit(True)
            self._show_run(run)

        def failed(_: Exception) -> None:
            self.started.emit(False)

        self.began.emit()
        self.jobs.run(LANE, lambda _: TrainingRun.start(settings, self.save_dir, name), done, failed=failed)

    def resume(self) -> None:
        run = self.run
        self.began.emit()
        self._work(run.resume, lambda _: self._show_run(run))

    def stop(self) -> None:
        """Asked once, the run finishes its step and saves; asked twice, it ends at once."""
        if self.run:
            self._work(self.run.stop, lambda _: self.look())

    def find_runs(self) -> None:
        self._work(lambda: list_runs(self.save_dir), self.runs_listed.emit)

    def begin(self) -> None:
        """Find the run that goes on, or that came last, and follow it."""

        def find() -> tuple[list[TrainingRun], TrainingRun | None]:
            runs = list_runs(self.save_dir)
            return runs, next((run for run in runs if run.find_process()), runs[0] if runs else None)

        def show(found: tuple[list[TrainingRun], TrainingRun | None]) -> None:
            self.runs_listed.emit(found[0])
            if found[1] and self.run is None:
                self.open_run(found[1])

        self._work(find, show)
        self.timer.start()

    def watch(self, wanted: bool) -> None:
        """Follow the run, or only one that goes on, to tell its end."""
        self.watched = wanted
        self.look()

    def _show_run(self, run: TrainingRun) -> None:
        if run is self.run:
            self.trouble = ""
            self.look()
        else:
            self.open_run(run)
        self.find_runs()

    def open_run(self, run: TrainingRun) -> None:
        self.run, self.state, self.trouble = run, None, ""
        self.shown.clear()
        for name in ("loss", "miou", "val_epoch.png", "train_batch.png"):
            self.drawn.emit(name, QImage())
        self.run_changed.emit()
        self.look()

    def look(self) -> None:
        """Read the folder of the run again, unless that is being done, or nothing can have changed."""
        wanted = self.watched or self.state is None or self.state.phase == "running"
        if self.run and wanted and not self.jobs.is_busy("look"):
            run = self.run
            done = partial(self._show_state, run)
            self.jobs.run(LANE, lambda _: run.read(), done, "look", self._is_told)

    def _is_told(self, error: Exception) -> bool:
        """A failure that each look meets again, as in a file that stays damaged, is told once."""
        before, self.trouble = self.trouble, str(error)
        return self.trouble == before

    def _show_state(self, run: TrainingRun, state: RunState) -> None:
        if run is not self.run:
            return
        before, self.state, self.trouble = self.state, state, ""
        if state.failure and before and before.phase == "running":
            self.jobs.failed.emit(state.failure)
        if state != before:
            self.run_changed.emit()
        for name, changed in state.changed.items():
            self._draw(name, changed, lambda name=name: QImage(str(state.folder / name)))

    def draw_curves(self, style: Style) -> None:
        """In the size and the colors that are wanted now; nothing happens if they are drawn so."""
        rows = self.state.rows if self.state else []
        if rows:
            self._draw("loss", (len(rows), style), lambda: draw_loss(rows, style))
        if self.state and self.state.best:
            self._draw("miou", (len(rows), style), lambda: draw_miou(rows, style))

    def _draw(self, name: str, source: Any, draw: Callable[[], QImage]) -> None:
        if self.shown.get(name) != source:
            self.shown[name] = source
            run = self.run
            self._work(draw, lambda image: self.run is run and self.drawn.emit(name, image), name)

    def _work(self, function: Callable[[], Any], done: Callable[[Any], Any], kind: str | None = None) -> None:
        self.jobs.run(LANE, lambda _: function(), done, kind)
