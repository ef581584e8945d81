"""What is asked before something is opened or written."""

from collections.abc import Callable, Sequence
from pathlib import Path

from PyQt5.QtCore import QSettings
from PyQt5.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QWidget,
)

from gui.translation import said, tr

OUTPUTS = {
    "mask": "Mask: class indices as a PNG",
    "overlay": "The picture with its classes, as it is shown",
    "objects": "Table of objects (CSV)",
    "labelme": "Polygons to correct in labelme (JSON)",
}


class FolderField(QWidget):
    """A line for the path of a folder, and a button to choose it."""

    def __init__(self, path: Path):
        super().__init__()
        self.line, button = QLineEdit(str(path)), QPushButton(tr("Choose …"))
        button.clicked.connect(self._choose)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line, 1)
        layout.addWidget(button)
        self.line.setMinimumWidth(360)
        self.setFocusProxy(self.line)

    def _choose(self) -> None:
        path = QFileDialog.getExistingDirectory(self, tr("Choose a folder"), self.line.text())
        if path:
            self.line.setText(path)

    @property
    def path(self) -> Path:
        return Path(self.line.text().strip())


class OutputDialog(QDialog):
    """A folder, and check boxes of what is written to it, which are remembered."""

    def __init__(
        self,
        parent: QWidget,
        title: str,
        note: str,
        folder: Path,
        settings: QSettings,
        group: str = "",
        usual: dict[str, bool] | None = None,
    ):
        """usual: which OUTPUTS are offered, and whether they are checked at first; group: of `settings`."""
        super().__init__(parent)
        self.setWindowTitle(title)
        self.settings, self.group = settings, group
        form = QFormLayout(self)
        label = QLabel(note)
        label.setWordWrap(True)
        form.addRow(label)
        self.folder, self.boxes = FolderField(folder), {}
        form.addRow(tr("Folder"), self.folder)
        for name, checked in (usual or {}).items():
            self.boxes[name] = QCheckBox(tr(OUTPUTS[name]))
            self.boxes[name].setChecked(settings.value(f"{group}/{name}", checked, bool))
            form.addRow(self.boxes[name])
        buttons = QDialogButtonBox(QDialogButtonBox.Ok | QDialogButtonBox.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form.addRow(buttons)

    @property
    def checked(self) -> dict[str, bool]:
        return {name: box.isChecked() for name, box in self.boxes.items()}

    def accept(self) -> None:
        for name, checked in self.checked.items():
            self.settings.setValue(f"{self.group}/{name}", checked)
        super().accept()


def file_kinds(kinds: dict[str, Sequence[str]]) -> str:
    """What a dialog for files lets people choose from. kinds: text → suffixes."""
    named = [f"{text} ({' '.join(f'*{suffix}' for suffix in suffixes)})" for text, suffixes in kinds.items()]
    return ";;".join([*named, f"{tr('All files')} (*)"])


def ask(parent: QWidget, text: str, details: str, choices: dict[str, str]) -> str:
    """The value of the chosen button; "" if the question was closed. choices: value → text."""
    box = QMessageBox(QMessageBox.Question, parent.windowTitle(), text, parent=parent)
    box.setInformativeText(details)
    buttons = {box.addButton(label, QMessageBox.AcceptRole): value for value, label in choices.items()}
    box.addButton(QMessageBox.Cancel)
    box.exec_()
    return buttons.get(box.clickedButton(), "")


def ask_replace(parent: QWidget, error: Exception, replace: Callable[[], object]) -> bool:
    """Whether a result that is there already was the failure. `replace` is called if people agree."""
    if getattr(error, "code", "") != "result-exists":
        return False
    question = tr("{name} is there already. Replace it?", name=Path(error.subject).name)
    if ask(parent, question, said(error.found), {"replace": tr("Replace")}):
        replace()
    return True
