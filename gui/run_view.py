"""The right side of the pane of the training: a run, how far it is, its curves, pictures and words."""

from pathlib import Path

from PyQt5.QtCore import Qt, QTimer, pyqtSignal
from PyQt5.QtGui import QFontDatabase, QImage, QPalette, QPixmap, QTextCursor
from PyQt5.QtWidgets import (
    QApplication,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from gui.curves import CURVES, Style
from gui.training_model import TrainingModel
from gui.training_run import RunState, TrainingRun
from gui.translation import keep_text, on_language, said, tr
from gui.widgets import button, plain_label

PHASES = {
    "running": "Running",
    "stopped": "Stopped",
    "finished": "Finished",
    "failed": "Failed",
    "unknown": "Ended",
}


class Words(QPlainTextEdit):
    """Output of a program, followed to its end unless somebody has scrolled up."""

    def __init__(self, note: str) -> None:
        """note: what is said while there are none."""
        super().__init__()
        keep_text(self.setPlaceholderText, note)
        self.setReadOnly(True)
        self.setLineWrapMode(QPlainTextEdit.NoWrap)
        self.setFont(QFontDatabase.systemFont(QFontDatabase.FixedFont))
        self.text, self.shown, self.follows = "", "", True
        bar = self.verticalScrollBar()
        bar.valueChanged.connect(self._look_where)
        bar.rangeChanged.connect(self._follow)
        on_language(self, self._retranslate)

    def _look_where(self, place: int) -> None:
        self.follows = place == self.verticalScrollBar().maximum()

    def _follow(self) -> None:
        """When text comes, and when the place for it shrinks."""
        if self.follows:
            self.verticalScrollBar().setValue(self.verticalScrollBar().maximum())

    def show_text(self, text: str) -> None:
        """Text that grows is only added to."""
        if text == self.text:
            return
        follows = self.follows
        grows = self.text.endswith("\n") and text.startswith(self.text)
        shown = self.shown + said(text[len(self.text) :]) if grows else said(text)
        if self.shown and shown.startswith(self.shown):
            cursor = QTextCursor(self.document())
            cursor.movePosition(QTextCursor.End)
            cursor.insertText(shown[len(self.shown) :])
        else:
            self.setPlainText(shown)
        self.text, self.shown, self.follows = text, shown, follows
        self._follow()

    def _retranslate(self) -> None:
        text, self.text, self.shown = self.text, "", ""
        self.show_text(text)

    def add(self, text: str) -> None:
        """A command, which begins with a $, is shown in any case."""
        self.follows |= text.startswith("$ ")
        self.show_text(self.text + text)


# What is said where no curve is yet.
NO_CURVES = {
    "loss": "The loss is drawn here after the first epoch",
    "miou": "mIoU is drawn here after the first validation",
}


class Curves(QWidget):
    """Loss and mIoU, one above the other, drawn again where their place or their colors change."""

    resized = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.pictures = {name: QLabel() for name in NO_CURVES}
        layout = QVBoxLayout(self)
        for picture in self.pictures.values():
            picture.setMinimumSize(240, 120)
            picture.setAlignment(Qt.AlignCenter)
            layout.addWidget(picture, 1)
        on_language(self, self._retranslate)

    def _retranslate(self) -> None:
        for name, picture in self.pictures.items():
            if not picture.pixmap():
                picture.setText(tr(NO_CURVES[name]))

    def style_now(self) -> Style:
        ratio, palette = self.devicePixelRatioF(), self.palette()
        size = self.pictures["loss"].size() * ratio
        ink = palette.color(QPalette.WindowText).name()
        return Style(size.width(), size.height(), ratio, ink, tuple(tr(word) for word in CURVES))

    def show_image(self, name: str, image: QImage) -> None:
        """A null image stands for none."""
        if image.isNull():
            self.pictures[name].setText(tr(NO_CURVES[name]))
        else:
            self.pictures[name].setPixmap(QPixmap.fromImage(image))

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self.resized.emit()

    def changeEvent(self, event) -> None:
        super().changeEvent(event)
        if event.type() == event.PaletteChange:
            self.resized.emit()


class RunHeader(QWidget):
    """Which run, what it does, and what can be done with it."""

    opened = pyqtSignal(Path)  # a checkpoint to look at

    def __init__(self, model: TrainingModel):
        super().__init__()
        self.model = model
        self.runs, self.status, self.progress = QComboBox(), plain_label(), QProgressBar()
        self.runs.setMinimumWidth(220)
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.stop_button, self.resume_button = button("Stop"), button("Resume")
        self.open_button, self.details_button = button("Open the model"), button("What went wrong …")
        # The second click of a double click on Stop shall not end the run at once.
        self.pause = QTimer(self)
        self.pause.setSingleShot(True)
        self.pause.setInterval(QApplication.doubleClickInterval())
        self.pause.timeout.connect(self.refresh)
        row = QHBoxLayout()
        row.addWidget(self.runs, 1)
        for one in (self.stop_button, self.resume_button, self.details_button, self.open_button):
            row.addWidget(one)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.status)
        layout.addWidget(self.progress)
        self.runs.activated.connect(lambda index: model.open_run(self.runs.itemData(index)))
        self.stop_button.clicked.connect(self._stop)
        self.resume_button.clicked.connect(model.resume)
        self.open_button.clicked.connect(lambda: self.opened.emit(model.state.checkpoint))
        self.details_button.clicked.connect(lambda: model.jobs.failed.emit(model.state.failure))
        model.runs_listed.connect(self.show_runs)
        model.run_changed.connect(self.refresh)
        on_language(self, self.refresh)

    def show_runs(self, runs: list[TrainingRun]) -> None:
        self.runs.clear()
        for run in runs:
            self.runs.addItem(run.folder.name, run)
        self._mark_run()

    def _mark_run(self) -> None:
        names = [self.runs.itemText(index) for index in range(self.runs.count())]
        shown = self.model.run.folder.name if self.model.run else ""
        self.runs.setCurrentIndex(names.index(shown) if shown in names else -1)

    def refresh(self) -> None:
        state = self.model.state
        running = state is not None and state.phase == "running"
        self._mark_run()
        self.status.setText(self._describe(state))
        self.progress.setVisible(running)
        known = state is not None and state.done is not None
        self.progress.setRange(0, 1000 if known else 0)
        self.progress.setValue(round(1000 * state.done) if known else 0)
        self.stop_button.setVisible(running)
        self.stop_button.setEnabled(running and state.ours and not self.pause.isActive())
        self.stop_button.setText(tr("End at once" if running and state.is_ending else "Stop"))
        self.stop_button.setToolTip(tr("It finishes its step and saves it, so that it can be resumed"))
        self.resume_button.setVisible(state is not None and state.can_resume)
        self.open_button.setEnabled(state is not None and state.checkpoint is not None)
        self.details_button.setVisible(state is not None and state.failure is not None)

    def _stop(self) -> None:
        self.pause.start()
        self.stop_button.setEnabled(False)
        self.model.stop()

    def _describe(self, state: RunState | None) -> str:
        if state is None:
            return tr("Reading the run …") if self.model.run else tr("No run yet")
        parts = [tr("Finishing its step and saving …" if state.is_ending else PHASES[state.phase])]
        if state.failure:
            failure = {"subject": said(state.failure.subject), "found": said(state.failure.found)}
            parts.append(tr("{subject}: {found}", **failure))
        elif state.phase == "running" and not state.rows:
            parts.append(tr("the first epoch is not finished yet"))
        if state.rows:
            parts.append(tr("epoch {epoch}", epoch=state.rows[-1].epoch))
        if state.best:
            best = {"miou": f"{state.best.miou:.2%}", "epoch": state.best.epoch}
            parts.append(tr("best mIoU {miou} in epoch {epoch}", **best))
        if state.seconds_left is not None and not state.is_ending:
            parts.append(tr("about {minutes} min left", minutes=max(round(state.seconds_left / 60), 1)))
        if state.phase == "running" and not state.ours:
            parts.append(tr("started elsewhere: end it there"))
        return " · ".join(parts)
