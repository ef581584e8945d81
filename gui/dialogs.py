"""What is asked before something is written."""

from pathlib import Path

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

from gui.translation import tr


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
    """A folder, and check boxes of what is written to it."""

    def __init__(
        self, title: str, note: str, folder: Path, boxes: dict[str, tuple[str, bool]], parent: QWidget
    ):
        """boxes: name → text, and whether it is checked."""
        super().__init__(parent)
        self.setWindowTitle(title)
        form = QFormLayout(self)
        label = QLabel(note)
        label.setWordWrap(True)
        form.addRow(label)
        self.folder, self.boxes = FolderField(folder), {}
        form.addRow(tr("Folder"), self.folder)
        for name, (text, checked) in boxes.items():
            self.boxes[name] = QCheckBox(text)
            self.boxes[name].setChecked(checked)
            form.addRow(self.boxes[name])
        buttons = QDialogButtonBox(QDialogButtonBox.Ok | QDialogButtonBox.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form.addRow(buttons)

    @property
    def checked(self) -> dict[str, bool]:
        return {name: box.isChecked() for name, box in self.boxes.items()}


def ask(parent: QWidget, text: str, details: str, choices: dict[str, str]) -> str:
    """The value of the chosen button; "" if the question was closed. choices: value → text."""
    box = QMessageBox(QMessageBox.Question, parent.windowTitle(), text, parent=parent)
    box.setInformativeText(details)
    buttons = {box.addButton(label, QMessageBox.AcceptRole): value for value, label in choices.items()}
    box.addButton(QMessageBox.Cancel)
    box.exec_()
    return buttons.get(box.clickedButton(), "")
