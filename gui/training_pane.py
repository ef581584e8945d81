"""Train from the window: data and settings on the left, the run on the right."""

from pathlib import Path

from PyQt5.QtCore import QSettings, Qt, pyqtSignal
from PyQt5.QtGui import QImage
from PyQt5.QtWidgets import (
    QFrame,
    QHeaderView,
    QScrollArea,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from gui.jobs import Jobs
from gui.picture_view import PictureView
from gui.run_view import Curves, RunHeader, Words
from gui.training_forms import DataForm, TrainingForm
from gui.training_model import TrainingModel
from gui.training_run import TrainingRun
from gui.translation import on_language, tr

TABS = "Contact sheet", "Statistics", "Check", "Curves", "Validation", "Crops", "Log"
PICTURES = {
    "contact_sheet.png": "The check shows pictures and their masks here",
    "dataset.png": "The check shows its statistics here",
    "val_epoch.png": "A training shows validation pictures here, with truth and prediction",
    "train_batch.png": "A training shows the crops here that its network sees",
}
COLUMNS = "Class", "Share", "In pictures", "Objects", "Median size (pixels)"


class TrainingPane(QWidget):
    """`model_chosen` asks to open a checkpoint. Failures go to `jobs.failed`."""

    model_chosen = pyqtSignal(Path)

    def __init__(self, jobs: Jobs, settings: QSettings, save_dir: Path = Path("logs")):
        super().__init__()
        self.settings = settings
        model = self.model = TrainingModel(jobs, save_dir, self)
        self.data_form, self.training_form = DataForm(model), TrainingForm(model, settings)
        self.header, self.curves = RunHeader(model), Curves()
        self.pictures = {name: PictureView(note) for name, note in PICTURES.items()}
        self.classes = QTableWidget(0, len(COLUMNS))
        self.words = Words("The check says here what it finds")
        self.log = Words("A training that was started in the window says here what it does")
        self.awaits_sheet = False  # of a folder that somebody has just chosen or checked
        self.followed: TrainingRun | None = None  # the run that went on when it was looked at last
        self._lay_out()
        self._connect()
        self.setAcceptDrops(True)
        on_language(self, self._retranslate)
        if folder := settings.value("training/folder", ""):
            model.choose(Path(folder))
        model.begin()

    def _lay_out(self) -> None:
        forms, area = QWidget(), QScrollArea()
        column = QVBoxLayout(forms)
        column.addWidget(self.data_form)
        column.addWidget(self.training_form)
        column.addStretch(1)
        area.setWidget(forms)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.NoFrame)
        # The color of the tab shows through.
        for one in (area.viewport(), forms):
            one.setAutoFillBackground(False)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
        area.setMinimumWidth(forms.minimumSizeHint().width() + 24)
        self.classes.setEditTriggers(QTableWidget.NoEditTriggers)
        self.classes.verticalHeader().hide()
        self.classes.hide()
        self.classes.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeToContents)
        report = QSplitter(Qt.Vertical)
        report.addWidget(self.classes)
        report.addWidget(self.words)
        report.setSizes([200, 400])
        sheet, statistics, validation, crops = self.pictures.values()
        self.tabs = QTabWidget()
        for widget in (sheet, statistics, report, self.curves, validation, crops, self.log):
            self.tabs.addTab(widget, "")
        run = QWidget()
        right = QVBoxLayout(run)
        right.addWidget(self.header)
        right.addWidget(self.tabs, 1)
        halves = QSplitter(Qt.Horizontal)
        halves.addWidget(area)
        halves.addWidget(run)
        halves.setStretchFactor(1, 1)
        halves.setCollapsible(0, False)
        halves.setSizes([380, 900])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(halves)

    def _connect(self) -> None:
        model = self.model
        self.data_form.chosen.connect(self.choose)
        self.training_form.started.connect(lambda: self.show_tab("Curves"))
        self.header.opened.connect(self.model_chosen)
        self.curves.resized.connect(self._draw_curves)
        model.data_changed.connect(self._show_report)
        model.printed.connect(self.words.add)
        model.run_changed.connect(self._show_run)
        model.drawn.connect(self._show_picture)

    def _retranslate(self) -> None:
        for index, text in enumerate(TABS):
            self.tabs.setTabText(index, tr(text))
        self.classes.setHorizontalHeaderLabels([tr(text) for text in COLUMNS])
        self._draw_curves()

    def show_tab(self, name: str) -> None:
        self.tabs.setCurrentIndex(TABS.index(name))

    def choose(self, folder: Path) -> None:
        self.settings.setValue("training/folder", str(folder))
        self.words.show_text("")
        self.awaits_sheet = True
        self.model.choose(folder)

    def showEvent(self, event) -> None:
        super().showEvent(event)
        self.model.watch(True)

    def hideEvent(self, event) -> None:
        super().hideEvent(event)
        self.model.watch(False)

    def end(self) -> None:
        """Before the window is gone: a check ends with it, a training goes on."""
        self.model.timer.stop()
        self.model.cancel_check()

    # Showing.

    def _show_report(self) -> None:
        model = self.model
        if model.is_checking():
            self.awaits_sheet = True
            self.show_tab("Check")
        rows = model.report.classes if model.report else ()
        self.classes.setVisible(bool(rows))
        self.classes.setRowCount(len(rows))
        for place, row in enumerate(rows):
            counts = (row.objects, f"{row.size:.0f}") if row.index else ("–", "–")
            texts = (row.name, f"{row.share:.2%}", row.pictures, *counts)
            for column, text in enumerate(texts):
                item = QTableWidgetItem(str(text))
                item.setTextAlignment(Qt.AlignVCenter | (Qt.AlignRight if column else Qt.AlignLeft))
                self.classes.setItem(place, column, item)
        if model.report is None:
            for name in ("contact_sheet.png", "dataset.png"):
                self.pictures[name].show_image(QImage())

    def _show_run(self) -> None:
        run, state = self.model.run, self.model.state
        if state and state.phase == "running" and run is not self.followed:
            self.followed = run
            self.show_tab("Curves")
        self.log.show_text(state.log if state else "")
        self._draw_curves()

    def _draw_curves(self) -> None:
        self.model.draw_curves(self.curves.style_now())

    def _show_picture(self, name: str, image: QImage) -> None:
        if name in self.pictures:
            self.pictures[name].show_image(image)
            if name == "contact_sheet.png" and not image.isNull() and self.awaits_sheet:
                self.awaits_sheet = False
                self.show_tab("Contact sheet")
        else:
            self.curves.show_image(name, image)

    def dragEnterEvent(self, event) -> None:
        if any(Path(url.toLocalFile()).is_dir() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event) -> None:
        folders = [Path(url.toLocalFile()) for url in event.mimeData().urls()]
        self.choose(next(folder for folder in folders if folder.is_dir()))
