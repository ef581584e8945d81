"""The table of objects. Its cells are made when they are seen, so that thousands of objects cost nothing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PyQt5.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, QSignalBlocker, Qt, pyqtSignal
from PyQt5.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from gui.translation import on_language, tr
from gui.widgets import draw_note

if TYPE_CHECKING:
    from utils.inference.objects import Objects

COLUMNS = ("number", "class", "area_px", "mean_certainty", "circularity", "equivalent_diameter_px")
ROW = 24  # height of a line
LATER = "Objects are listed here once a picture is segmented"
NONE = "No objects"
TOO_MANY = "The picture is too large for its objects to be counted"


class ObjectRows(QAbstractTableModel):
    """`order` holds the place of each row in the columns."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: Objects | None = None
        self.class_names, self.order = (), np.empty(0, int)
        self.sorted_by = 0, Qt.AscendingOrder

    def show_objects(self, objects: "Objects | None", class_names: Sequence[str]) -> None:
        self.beginResetModel()
        self.objects, self.class_names = objects, class_names
        self._sort()
        self.endResetModel()

    def _sort(self) -> None:
        column, direction = self.sorted_by
        values = np.empty(0) if self.objects is None else self.objects.columns[COLUMNS[column]]
        self.order = np.argsort(values if direction == Qt.AscendingOrder else -values, kind="stable")

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.DisplayRole) -> object:
        name = COLUMNS[index.column()]
        if role == Qt.TextAlignmentRole:
            return int((Qt.AlignLeft if name == "class" else Qt.AlignRight) | Qt.AlignVCenter)
        if role != Qt.DisplayRole:
            return None
        value = self.objects.columns[name][self.order[index.row()]].item()
        return self.class_names[value] if name == "class" else round(value, 3)

    def headerData(self, section: int, orientation: int, role: int = Qt.DisplayRole) -> object:
        if role != Qt.DisplayRole or orientation != Qt.Horizontal:
            return None
        names = tr("Number"), tr("Class"), tr("Area (px)"), tr("Certainty")
        return (*names, tr("Circularity"), tr("Diameter (px)"))[section]

    def sort(self, column: int, order: int = Qt.AscendingOrder) -> None:
        self.layoutAboutToBeChanged.emit()
        kept = self.persistentIndexList()
        places = [int(self.order[index.row()]) for index in kept]
        self.sorted_by = column, order
        self._sort()
        row_of = np.argsort(self.order)
        moved = [
            self.index(int(row_of[place]), index.column()) for place, index in zip(places, kept, strict=True)
        ]
        # The selection stays with its object.
        self.changePersistentIndexList(kept, moved)
        self.layoutChanged.emit()


class ObjectTable(QTableView):
    """A row per object; selects it in the picture, and is selected from there."""

    picked = pyqtSignal(int)  # number of the object

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.note = ObjectRows(), LATER
        self.setModel(self.rows)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW)
        self.setSelectionBehavior(QAbstractItemView.SelectRows)
        self.setSelectionMode(QAbstractItemView.SingleSelection)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeToContents)
        header.setResizeContentsPrecision(50)
        header.setSortIndicator(0, Qt.AscendingOrder)
        self.setSortingEnabled(True)
        self.selectionModel().selectionChanged.connect(self._selection_changed)
        on_language(self, self._retranslate)

    def _retranslate(self) -> None:
        self.setAccessibleName(tr("Objects"))
        self.rows.headerDataChanged.emit(Qt.Horizontal, 0, len(COLUMNS) - 1)
        self.viewport().update()

    def paintEvent(self, event) -> None:
        super().paintEvent(event)
        if not self.rows.rowCount():
            draw_note(self, self.note)

    def clear(self) -> None:
        """Nothing is measured yet."""
        self._show(None, (), LATER)

    def show_objects(self, objects: "Objects | None", class_names: Sequence[str]) -> None:
        """None: the picture is too large to measure."""
        self._show(objects, class_names, TOO_MANY if objects is None else NONE)

    def _show(self, objects: "Objects | None", class_names: Sequence[str], note: str) -> None:
        self.note = note
        with QSignalBlocker(self):
            self.rows.show_objects(objects, class_names)

    def number_at(self, row: int) -> int:
        """The object of a row."""
        return int(self.rows.order[row]) + 1

    def selected_numbers(self) -> list[int]:
        return [self.number_at(index.row()) for index in self.selectionModel().selectedRows()]

    def select(self, number: int) -> None:
        """Select the row of an object without a signal; 0: none."""
        with QSignalBlocker(self):
            self.clearSelection()
            for row in np.flatnonzero(self.rows.order == number - 1):
                index = self.rows.index(int(row), 0)
                self.selectionModel().select(index, QItemSelectionModel.Select | QItemSelectionModel.Rows)
                self.scrollTo(index)

    def _selection_changed(self) -> None:
        self.picked.emit((self.selected_numbers() or [0])[0])
