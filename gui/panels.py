"""What stands beside the picture: the model, the check boxes and the legend."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from PyQt5.QtCore import QSignalBlocker, Qt, pyqtSignal
from PyQt5.QtGui import QColor, QIcon, QPixmap
from PyQt5.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QGridLayout,
    QGroupBox,
    QHeaderView,
    QLabel,
    QMenu,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
)

from gui.object_table import ROW
from gui.translation import keep_text, on_language, tr
from gui.widgets import button

if TYPE_CHECKING:
    from gui.card import Choices, ModelCard
    from gui.model import LegendRow


class ModelBox(QGroupBox):
    """Name, classes, size and scores of the model."""

    def __init__(self) -> None:
        super().__init__()
        keep_text(self.setTitle, "Model")
        self.label, self.button = QLabel(), button("Choose a model …")
        self.label.setWordWrap(True)
        self.label.setTextInteractionFlags(Qt.TextSelectableByMouse | Qt.TextSelectableByKeyboard)
        self.menu = QMenu(self)
        self.menu.setToolTipsVisible(True)
        self.button.setMenu(self.menu)
        layout = QVBoxLayout(self)
        layout.addWidget(self.label)
        layout.addWidget(self.button)
        self.card: ModelCard | None = None
        on_language(self, lambda: self.show_card(self.card))

    def show_card(self, card: "ModelCard | None") -> None:
        self.card = card
        if card is None:
            self.label.setText(tr("No model is loaded yet."))
            return
        size = tr("{size:.1f} MB", size=card.file_bytes / 1e6)
        if card.parameters:
            size += tr(", {count:.2f} million weights", count=card.parameters / 1e6)
        lines = [f"{card.path.parent.name}/{card.path.name}"]
        lines.append(tr("Classes: {names}", names=", ".join(card.class_names)))
        network = tr("Network: {backbone}, {size}", backbone=card.backbone, size=size)
        if "miou" in card.scores:
            network += tr(", mIoU {miou:.3f}", miou=card.scores["miou"])
        self.label.setText("\n".join([*lines, network]))
        height, width = card.input_shape
        details = [str(card.path), *(f"{name}: {score:.4g}" for name, score in card.scores.items())]
        details.append(tr("Trained on {width}×{height} pixels", width=width, height=height))
        details.append(tr("Computes in {precision}", precision=card.precision))
        self.label.setToolTip("\n".join(details))


class ChoicesBox(QGroupBox):
    """Check boxes that act on the prediction that is there."""

    chosen = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        keep_text(self.setTitle, "Prediction")
        self.column, self.numbers = QVBoxLayout(self), QGridLayout()
        self.column.setSpacing(3)
        self.tta = self._check("Average over mirrored views (slower)")
        self.gaps = self._check("Close gaps between objects")
        self.split = self._check("Split objects that touch")
        self.fill = self._check("Fill holes")
        self.largest = self._check("Keep only the largest object")
        self.hull = self._check("Grow objects to their convex hull")
        self.numbers.setColumnStretch(0, 1)
        self.numbers.setVerticalSpacing(3)
        self.column.addLayout(self.numbers)
        self.least = self._number("Smallest object", 1_000_000)
        self.opening = self._number("Remove what is thinner than", 50)
        self.closing = self._number("Close gaps narrower than", 50)
        self.gaps.setChecked(True)
        self.setEnabled(False)

    def _check(self, text: str) -> QCheckBox:
        box = QCheckBox()
        keep_text(box.setText, text)
        box.toggled.connect(self.chosen)
        self.column.addWidget(box)
        return box

    def _number(self, text: str, most: int) -> QSpinBox:
        box, label = QSpinBox(), QLabel()
        keep_text(label.setText, text)
        keep_text(box.setSuffix, " px")
        label.setBuddy(box)
        box.setRange(0, most)
        box.setKeyboardTracking(False)
        box.valueChanged.connect(self.chosen)
        row = self.numbers.rowCount()
        self.numbers.addWidget(label, row, 0)
        self.numbers.addWidget(box, row, 1)
        return box

    def read(self, choices: "Choices") -> "Choices":
        """What the boxes say now; `choices`: any, whose types are used."""
        cleaning = replace(
            choices.cleaning,
            opening=self.opening.value(),
            closing=self.closing.value(),
            fill_holes=self.fill.isChecked(),
            split_touching=self.split.isChecked(),
            min_area=self.least.value(),
            largest_only=self.largest.isChecked(),
            convex_hull=self.hull.isChecked(),
        )
        return replace(choices, tta=self.tta.isChecked(), gaps=self.gaps.isChecked(), cleaning=cleaning)

    def show_model(self, card: "ModelCard") -> None:
        self.setEnabled(True)
        self.gaps.setVisible(card.separator is not None)

    def enable(self, gaps: bool, cleaning: bool) -> None:
        """Gray out what does not act on the picture that is shown, because that is too large."""
        widgets = self.split, self.fill, self.largest, self.hull, self.least, self.opening, self.closing
        for widget, acts in [(self.gaps, gaps), *((widget, cleaning) for widget in widgets)]:
            widget.setEnabled(acts)
            widget.setToolTip("" if acts else tr("The picture is too large for this"))


class Legend(QTableWidget):
    """A row per class; its check box shows or hides it in the picture."""

    hid = pyqtSignal(object)  # frozenset of the classes that are hidden

    def __init__(self) -> None:
        super().__init__(0, 4)
        self.rows: Sequence[LegendRow] = ()
        self.hidden: frozenset[int] = frozenset()
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW)
        self.setSelectionMode(QAbstractItemView.NoSelection)
        self.setEditTriggers(QAbstractItemView.NoEditTriggers)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeToContents)
        self.horizontalHeader().setSectionResizeMode(0, QHeaderView.Stretch)
        self.itemChanged.connect(self._item_changed)
        on_language(self, self._retranslate)

    def _retranslate(self) -> None:
        self.setAccessibleName(tr("Classes"))
        self.setHorizontalHeaderLabels([tr("Class"), tr("Pixels"), tr("Area"), tr("Objects")])

    def show_rows(self, rows: "Sequence[LegendRow]") -> None:
        if [row.name for row in rows] != [row.name for row in self.rows]:
            self.hidden = frozenset()
            self.hid.emit(self.hidden)
        self.rows = rows
        self.setRowCount(len(rows))
        with QSignalBlocker(self):
            for line, row in enumerate(rows):
                self._show_row(line, row)

    def _show_row(self, line: int, row: "LegendRow") -> None:
        name = QTableWidgetItem(color_icon(row.color), row.name)
        name.setCheckState(Qt.Unchecked if row.index in self.hidden else Qt.Checked)
        self.setItem(line, 0, name)
        values = (row.pixels, "{:,}"), (row.share, "{:.2%}"), (row.objects, "{:,}")
        for column, (value, form) in enumerate(values, 1):
            item = QTableWidgetItem("–" if value is None else form.format(value))
            item.setTextAlignment(Qt.AlignRight | Qt.AlignVCenter)
            self.setItem(line, column, item)

    def _item_changed(self, item: QTableWidgetItem) -> None:
        if item.column() == 0:
            states = [(row.index, self.item(line, 0).checkState()) for line, row in enumerate(self.rows)]
            self.hidden = frozenset(index for index, state in states if state == Qt.Unchecked)
            self.hid.emit(self.hidden)


def color_icon(color: Sequence[int]) -> QIcon:
    pixmap = QPixmap(16, 16)
    pixmap.fill(QColor(*color))
    return QIcon(pixmap)
