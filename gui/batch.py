"""Long work in the background, with its progress, the time left and a button to cancel: folders, videos."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PyQt5.QtCore import QSettings
from PyQt5.QtWidgets import QHBoxLayout, QLabel, QMainWindow, QProgressBar, QWidget

from gui.banner import Banner
from gui.controller import Controller
from gui.dialogs import OutputDialog, ask, ask_replace
from gui.engine import Cancelled
from gui.jobs import Job
from gui.translation import language, said, tr
from gui.widgets import button


class TaskRow(QWidget):
    """What is being done in the background. Hidden while that is nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.label, self.bar, self.button = QLabel(), QProgressBar(), button("Cancel")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.label)
        layout.addWidget(self.bar, 1)
        layout.addWidget(self.button)
        self.start, self.say = 0.0, str
        self.hide()

    def begin(self, say: Callable[[], str]) -> None:
        """say: what is being done, in the language of the window."""
        self.start, self.say = time.monotonic(), say
        self.show_share(0, 0)
        self.button.setEnabled(True)
        self.show()

    def show_share(self, done: int, total: int) -> None:
        """total: 0 where unknown."""
        left = ""
        if done:
            seconds = (time.monotonic() - self.start) / done * (total - done)
            left = tr(", {time} left", time=duration(seconds))
        count = f" {done} / {total}" if total else ""
        self.label.setText(self.say() + count + left)
        self.bar.setRange(0, total)
        self.bar.setValue(done)

    def end_soon(self) -> None:
        """Until what runs has noticed that it is cancelled."""
        self.button.setEnabled(False)
        self.label.setText(tr("Ending …"))


@dataclass
class Batch:
    """One piece of long work at a time, in a process of its own, so that pictures can be opened meanwhile."""

    window: QMainWindow
    settings: QSettings
    controller: Controller
    banner: Banner
    row: TaskRow
    job: Job | None = None

    @property
    def runs(self) -> bool:
        return self.job is not None

    def may_end(self) -> bool:
        """Whether the window may be closed; asks where that ends something."""
        question = tr("Something is being done in the background. End it?")
        details = tr("What is done so far is kept.")
        return not self.runs or bool(ask(self.window, question, details, {"end": tr("End it")}))

    def cancel(self) -> None:
        if self.job:
            self.job.cancel_softly()
            self.row.end_soon()

    def ask_folder(self) -> None:
        """The folder of the pictures that are shown, with the check boxes as they are."""
        if not self._may_begin():
            return
        if not self.settings.value("folder", ""):
            self.banner.show_note(lambda: tr("Nothing is open yet. Open a folder first."))
            return
        folder = Path(self.settings.value("folder"))
        note = tr("All pictures in {folder} are predicted as the check boxes say.", folder=folder)
        title, usual = tr("Predict the folder"), {"objects": False, "labelme": False}
        output = folder / "img_out"
        dialog = OutputDialog(self.window, title, note, output, self.settings, "folder", usual)
        if dialog.exec_():
            self.predict_folder(folder, dialog.folder.path, dialog.checked)

    def _may_begin(self) -> bool:
        if self.runs:
            text = "Something is being done in the background. Wait for it, or cancel it."
            self.banner.show_note(lambda: tr(text))
        elif self.controller.model is None or self.controller.model.card is None:
            self.banner.show_note(lambda: tr("No model is loaded yet."))
        else:
            return True
        return False

    def predict_folder(
        self, folder: Path, output: Path, wanted: dict[str, bool], existing: str = "stop"
    ) -> None:
        """existing: see `FolderJob`."""
        choices = self.controller.choices

        def failed(error: Exception) -> bool:
            self._end()
            if getattr(error, "code", "") not in ("result-exists", "table-columns"):
                return False
            choices = {"keep": tr("Only those that are missing"), "replace": tr("Replace them")}
            if answer := ask(self.window, tr("There are results in this folder."), str(output), choices):
                self.predict_folder(folder, output, wanted, answer)
            return True

        def done(report: Any) -> None:
            self._end()
            self.banner.show_note(
                lambda: describe_report(report, output),
                lambda: "\n\n".join([describe_report(report, output), *map(said, report.faults)]),
            )

        def work(job: Job, engine: Any) -> Any:
            from gui.card import FolderJob

            folder_job = FolderJob(folder, output, choices, existing=existing, **wanted)
            return self._call(job, engine, "predict_folder", folder_job)

        self._begin(lambda: tr("Predicting {name}", name=folder.name), work, done, failed)

    def ask_video(self, source: Path) -> None:
        if not self._may_begin():
            return
        note = tr("The video is written with the classes laid over it, without sound.")
        title, output = tr("Save the segmented video"), source.parent / "img_out"
        dialog = OutputDialog(self.window, title, note, output, self.settings)
        if dialog.exec_():
            self.predict_video(source, dialog.folder.path)

    def predict_video(self, source: Path, output: Path, overwrite: bool = False) -> None:
        choices = self.controller.choices

        def failed(error: Exception) -> bool:
            self._end()
            return ask_replace(self.window, error, lambda: self.predict_video(source, output, True))

        def done(path: Path) -> None:
            self._end()
            self.banner.show_note(
                lambda: tr("Saved {names} in {folder}.", names=path.name, folder=path.parent)
            )

        def work(job: Job, engine: Any) -> Any:
            return self._call(job, engine, "predict_video", source, output, choices, overwrite)

        self._begin(lambda: tr("Predicting {name}", name=source.name), work, done, failed)

    def _call(self, job: Job, engine: Any, method: str, *arguments: Any) -> Any:
        def show(done: int, total: int) -> None:
            job.post(lambda: None if job.is_ending() else self.row.show_share(done, total))

        return engine.call(method, *arguments, on_event=show, is_cancelled=job.is_ending)

    def _begin(self, say: Callable[[], str], work: Any, done: Any, failed: Any) -> None:
        controller, path = self.controller, self.controller.model.card.path

        def run(job: Job) -> Any:
            engine = controller.make_engine()
            try:
                engine.call("open_model", path, controller.device, is_cancelled=job.is_ending)
                return work(job, engine)
            except Cancelled:
                return None
            finally:
                engine.end()

        def ended(result: Any) -> None:
            if result is None:
                self._end()
                self.banner.show_note(lambda: tr("Cancelled. What is done so far is kept."))
            else:
                done(result)

        self.banner.hide()
        self.row.begin(say)
        self.job = controller.jobs.run("batch", run, ended, kind="batch", failed=failed)

    def _end(self) -> None:
        self.job = None
        self.row.hide()


def describe_report(report: Any, output: Path) -> str:
    """What was done with a folder. report: a FolderReport."""
    values = {"done": report.done, "total": report.total, "folder": output}
    sentences = [tr("Pictures predicted: {done} of {total}, into {folder}.", **values)]
    if report.kept:
        sentences.append(tr("There before: {kept}.", kept=report.kept))
    if report.faults:
        sentences.append(tr("Left out: {count}, see the details.", count=len(report.faults)))
    return ("" if language() == "zh" else " ").join(sentences)


def duration(seconds: float) -> str:
    """`0:42`, `1:03:20`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
