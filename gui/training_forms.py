"""The left side of the pane of the training: which data, how long, which network."""

from pathlib import Path

from PyQt5.QtCore import QSettings, Qt, pyqtSignal
from PyQt5.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from gui.dialogs import file_kinds
from gui.scripts import shown_command
from gui.training_model import TrainingModel
from gui.translation import keep_text, on_language, said, tr
from gui.widgets import button, plain_label

KINDS = {
    "voc": "A VOC folder, pictures: {pictures}",
    "labelme": "A folder of labelme files: {annotations}. They are converted into {target}",
    "other": "A folder of another kind. Its format is found out, and it is converted into {target}",
    "missing": "There is no such folder",
}
BACKBONES = {
    "plain": "U-Net of its own, small and fast",
    "vgg": "VGG-16, begun from ImageNet",
    "vgg_bn": "VGG-16 with batch norm, begun from ImageNet",
    "resnet50": "ResNet-50, begun from ImageNet",
}
WEIGHTS = ".pth", ".pt"  # what train.py begins from


class DataForm(QGroupBox):
    """Choose a folder, check it, mend it."""

    chosen = pyqtSignal(Path)

    def __init__(self, model: TrainingModel):
        super().__init__()
        self.model = model
        keep_text(self.setTitle, "1. Data")
        self.folder, self.kind, self.result, self.command = (plain_label() for _ in range(4))
        self.offers = QComboBox()
        # Long explanations do not widen the form.
        self.offers.setSizeAdjustPolicy(QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self.choose_button, self.check_button = button("Choose a folder …"), button("Check")
        self.cancel_button, self.offer_button = button("Cancel"), button("Do this")
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        row = QHBoxLayout()
        for one in (self.choose_button, self.check_button, self.cancel_button):
            row.addWidget(one)
        layout = QVBoxLayout(self)
        layout.addWidget(self.folder)
        layout.addWidget(self.kind)
        layout.addLayout(row)
        layout.addWidget(self.busy)
        layout.addWidget(self.result)
        layout.addWidget(self.offers)
        layout.addWidget(self.command)
        layout.addWidget(self.offer_button)
        self.choose_button.clicked.connect(self.ask_folder)
        self.check_button.clicked.connect(model.check)
        self.cancel_button.clicked.connect(model.cancel_check)
        self.offer_button.clicked.connect(lambda: model.accept(self.offers.currentData()))
        self.offers.currentIndexChanged.connect(self._show_command)
        model.data_changed.connect(self.refresh)
        on_language(self, self.refresh)

    def ask_folder(self) -> None:
        before = str(self.model.source.folder) if self.model.source else ""
        path = QFileDialog.getExistingDirectory(self, tr("A VOC folder, or one of labelme files"), before)
        if path:
            self.chosen.emit(Path(path))

    def refresh(self) -> None:
        model, source = self.model, self.model.source
        self.folder.setText(str(source.folder) if source else tr("Choose a folder, or drop it here"))
        self.kind.setVisible(source is not None)
        if source:
            counts = {"pictures": source.pictures, "annotations": source.annotations}
            self.kind.setText(tr(KINDS[source.kind], **counts, target=source.voc_root.name))
        checking = model.is_checking()
        self.check_button.setEnabled(source is not None and source.kind != "missing" and not checking)
        self.cancel_button.setVisible(checking)
        self.busy.setVisible(checking)
        self.result.setText(self._describe())
        self.result.setVisible(bool(self.result.text()))
        self.offers.clear()
        for number, offer in enumerate(model.offers, start=1):
            meaning = said(offer.meaning) or offer.script
            text = tr("Proposal {number}: {meaning}", number=number, meaning=meaning)
            self.offers.addItem(text, offer)
            self.offers.setItemData(number - 1, text, Qt.ToolTipRole)
        self._show_command()

    def _show_command(self) -> None:
        offer = self.offers.currentData()
        for widget in (self.offers, self.command, self.offer_button):
            widget.setVisible(offer is not None)
        if offer:
            command = shown_command(offer.script, offer.arguments)
            self.command.setText(f"{said(offer.meaning)}\n{command}".strip())

    def _describe(self) -> str:
        report = self.model.report
        if self.model.is_checking():
            return tr("Checking with {script} …", script=self.model.script.name)
        if report:
            text = "Pictures with masks: {pictures} ({train} to train, {val} to validate, {test} to test)"
            text = tr(text, pictures=report.pictures, **report.splits)
            count = self.model.count_warnings()
            return text + ("\n" + tr("Warnings: {count}, listed under Check", count=count)) * bool(count)
        known = self.model.source and self.model.source.kind != "missing"
        return tr("Not checked yet") if known and not self.model.offers else ""


class TrainingForm(QGroupBox):
    """Settings of a run, and its start. They are remembered."""

    started = pyqtSignal()

    def __init__(self, model: TrainingModel, settings: QSettings):
        super().__init__()
        self.model, self.settings = model, settings
        keep_text(self.setTitle, "2. Training")
        self.amount, self.unit = QDoubleSpinBox(), QComboBox()
        self.amount.setRange(1, 100000)
        self.amount.setDecimals(0)
        self.backbone, self.origin = QComboBox(), plain_label()
        self.name, self.flags = QLineEdit(), QLineEdit()
        self.model_button, self.new_button = button("A model …"), button("New weights")
        self.start_button = button("Start training")
        self.command = plain_label()
        self.weights: Path | None = None
        length, start = QWidget(), QWidget()
        for holder, parts in (
            (length, (self.amount, self.unit)),
            (start, (self.model_button, self.new_button)),
        ):
            row = QHBoxLayout(holder)
            row.setContentsMargins(0, 0, 0, 0)
            for part in parts:
                row.addWidget(part)
        form = QFormLayout()
        form.setRowWrapPolicy(QFormLayout.WrapLongRows)
        rows = {"Length": length, "Network": self.backbone, "Begin from": start, "": self.origin}
        rows |= {"Name": self.name, "Further flags": self.flags}
        for text, widget in rows.items():
            label = QLabel()
            label.setBuddy(widget)
            keep_text(label.setText, text)
            form.addRow(label, widget)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.command)
        layout.addWidget(self.start_button)
        self._restore()
        self._connect()
        on_language(self, self._retranslate)

    def _restore(self) -> None:
        stored = self.settings
        self.unit.addItems(["", ""])
        self.backbone.addItems([""] * len(BACKBONES))
        self.amount.setValue(float(stored.value("training/amount", 20)))
        self.unit.setCurrentIndex(int(stored.value("training/unit", 0)))
        self.backbone.setCurrentIndex(int(stored.value("training/backbone", 0)))
        self.flags.setText(stored.value("training/flags", ""))

    def _connect(self) -> None:
        self.model_button.clicked.connect(self._ask_model)
        self.new_button.clicked.connect(lambda: self._set_weights(None))
        self.start_button.clicked.connect(self.start)
        self.model.data_changed.connect(self.refresh)
        self.model.started.connect(self._show_start)
        self.amount.valueChanged.connect(self.refresh)
        for box in (self.unit, self.backbone):
            box.currentIndexChanged.connect(self.refresh)
        self.flags.textChanged.connect(self.refresh)

    def _retranslate(self) -> None:
        for index, text in enumerate(("minutes", "epochs")):
            self.unit.setItemText(index, tr(text))
        for index, text in enumerate(BACKBONES.values()):
            self.backbone.setItemText(index, tr(text))
        self.name.setPlaceholderText(tr("date and time"))
        self.flags.setPlaceholderText(tr("as for train.py, or none"))
        self.refresh()

    def choices(self) -> dict:
        return {
            "amount": self.amount.value(),
            "in_minutes": self.unit.currentIndex() == 0,
            "backbone": list(BACKBONES)[self.backbone.currentIndex()],
            "model_path": self.weights,
            "flags": self.flags.text(),
        }

    def refresh(self) -> None:
        ready = self.model.report is not None and not self.model.is_checking()
        self.start_button.setEnabled(ready)
        self.origin.setText(str(self.weights) if self.weights else tr("new weights"))
        self.new_button.setEnabled(self.weights is not None)
        self.command.setText(self.model.describe(**self.choices()) if ready else tr("Check the data first"))

    def start(self) -> None:
        for name, value in (
            ("amount", self.amount.value()),
            ("unit", self.unit.currentIndex()),
            ("backbone", self.backbone.currentIndex()),
            ("flags", self.flags.text()),
        ):
            self.settings.setValue(f"training/{name}", value)
        self.start_button.setEnabled(False)  # once, not twice by a double click
        self.model.start(self.model.settings(**self.choices()), self.name.text())

    def _show_start(self, runs: bool) -> None:
        self.refresh()
        if runs:
            self.name.clear()
            self.started.emit()

    def _ask_model(self) -> None:
        title, folder = tr("Begin from a model"), str(self.model.save_dir)
        path, _ = QFileDialog.getOpenFileName(self, title, folder, file_kinds({tr("Models"): WEIGHTS}))
        if path:
            self._set_weights(Path(path))

    def _set_weights(self, path: Path | None) -> None:
        self.weights = path
        self.refresh()
