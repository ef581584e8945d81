"""A message in the window, with details to copy; the window goes on."""

import traceback
from collections.abc import Callable

from PyQt5.QtCore import Qt
from PyQt5.QtGui import QColor, QPalette
from PyQt5.QtWidgets import QApplication, QFrame, QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from gui.translation import error_details, error_sentence, on_language, tr
from gui.widgets import button, plain_label
from utils.core.console import UserError, visible


class Banner(QFrame):
    """Hidden while there is nothing to say."""

    def __init__(self) -> None:
        super().__init__()
        self.setFrameShape(QFrame.StyledPanel)
        self.mark, self.label, self.details = QWidget(), plain_label(), QPlainTextEdit()
        self.mark.setFixedWidth(6)
        self.mark.setAutoFillBackground(True)
        self.details.setReadOnly(True)
        self.details.setMaximumHeight(110)
        self.more, self.copy, self.close_button = button("Details"), button("Copy"), button("Close")
        self.more.setCheckable(True)
        self.more.toggled.connect(self.details.setVisible)
        self.copy.clicked.connect(lambda: QApplication.clipboard().setText(self.details.toPlainText()))
        self.close_button.clicked.connect(self.hide)
        row = QHBoxLayout()
        row.addWidget(self.label, 1)
        for one in (self.more, self.copy, self.close_button):
            row.addWidget(one, 0, Qt.AlignTop)
        column = QVBoxLayout()
        column.addLayout(row)
        column.addWidget(self.details)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 6, 0)
        layout.addWidget(self.mark)
        layout.addLayout(column)
        self.say: Callable[[], tuple[str, str]] | None = None  # the sentence and its details
        self.hide()
        on_language(self, self._refresh)

    def show_error(self, error: BaseException) -> None:
        """A sentence for people; of a bug, the details are its traceback."""

        def say() -> tuple[str, str]:
            if isinstance(error, UserError):
                return error_sentence(error), error_details(error)
            first = (str(error).strip() or type(error).__name__).splitlines()[-1]
            sentence = tr("Something went wrong that should not have: {error}", error=first)
            return sentence, "".join(traceback.format_exception(error))

        self._show(say, "#b3261e")

    def show_note(self, say: Callable[[], str], details: Callable[[], str] | None = None) -> None:
        """Called now and when the language changes."""
        self._show(lambda: (say(), (details or say)()), "#2e7d32")

    def _refresh(self) -> None:
        if self.say:
            sentence, details = self.say()
            self.label.setText(visible(sentence))
            self.details.setPlainText(visible(details))

    def _show(self, say: Callable[[], tuple[str, str]], color: str) -> None:
        self.say = say
        self._refresh()
        self.more.setChecked(False)
        self.details.hide()
        # No style sheet: it would keep the colors that the window had then.
        self.mark.setPalette(QPalette(QColor(color)))
        self.show()
