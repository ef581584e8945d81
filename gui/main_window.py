"""The window: where everything is, and what leads to what."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PyQt5.QtCore import QSettings, Qt
from PyQt5.QtGui import QKeySequence
from PyQt5.QtWidgets import (
    QApplication,
    QLabel,
    QMainWindow,
    QProgressBar,
    QSlider,
    QSplitter,
    QTabWidget,
    QToolBar,
    QVBoxLayout,
    QWidget,
)

from gui.actions import VIEWS, Menus, language_entries, look_entries
from gui.banner import Banner
from gui.batch import Batch, TaskRow
from gui.controller import Controller
from gui.engine import Engine
from gui.jobs import Jobs
from gui.layout import picture_side, results_side
from gui.look import is_dark_system, set_look
from gui.memory import restore, store
from gui.object_table import ObjectTable
from gui.opening import Opening
from gui.panels import ChoicesBox, Legend, ModelBox
from gui.player import Player
from gui.results import Results
from gui.strip import Strip
from gui.training_pane import TrainingPane
from gui.translation import keep_text, on_language, set_language, tr
from gui.viewer import Viewer

PHASES = {
    "": "Ready",
    "loading": "Loading the model …",
    "opening": "Opening …",
    "predicting": "Predicting …",
    "saving": "Saving …",
}


# Text, keys, and logical pixels to the right and down.
MOVES = (
    ("Move to the left", "Alt+Left", (-80, 0)),
    ("Move to the right", "Alt+Right", (80, 0)),
    ("Move up", "Alt+Up", (0, -80)),
    ("Move down", "Alt+Down", (0, 80)),
)


class MainWindow(QMainWindow):
    """Widgets and their connections; what is shown comes from `controller`.

    settings: remembered from one start to the next; make_engine: for tests, something else than a process.
    """

    def __init__(self, settings: QSettings, make_engine: Callable[[], Any] = Engine, device: str = "auto"):
        super().__init__()
        self.settings = settings
        self.jobs = Jobs(self)
        self.controller = Controller(self.jobs, make_engine, device)
        self.system_dark = is_dark_system(QApplication.instance())
        self._make_widgets()
        window = self, self.settings, self.controller
        self.opening = Opening(*window, self.player)
        self.batch = Batch(*window, self.banner, self.tasks)
        self.results = Results(*window, self.viewer, self.banner)
        self._make_menus()
        self._connect()
        self.setAcceptDrops(True)
        restore(self)
        on_language(self, self._retranslate)

    # Widgets.

    def _make_widgets(self) -> None:
        self.viewer, self.strip, self.banner = Viewer(self.jobs), Strip(self.jobs), Banner()
        self.player, self.tasks = Player(self.controller), TaskRow()
        self.model_box, self.choices_box = ModelBox(), ChoicesBox()
        self.legend, self.table = Legend(), ObjectTable()
        self.opacity = QSlider(Qt.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setMaximumWidth(220)
        self.bar = QToolBar()
        self.halves = QSplitter(Qt.Horizontal)
        self.halves.addWidget(picture_side(self.bar, self.viewer, self.player, self.strip))
        self.halves.addWidget(results_side(self.model_box, self.choices_box, self.legend, self.table))
        self.halves.setStretchFactor(0, 1)
        self.halves.setSizes([900, 380])
        self.tabs = QTabWidget()
        self.training = TrainingPane(self.jobs, self.settings)
        for page in (self.halves, self.training):
            self.tabs.addTab(page, "")
        whole = QWidget()
        outer = QVBoxLayout(whole)
        outer.addWidget(self.banner)
        outer.addWidget(self.tabs, 1)
        outer.addWidget(self.tasks)
        self.setCentralWidget(whole)
        self._make_status_bar()

    def _make_status_bar(self) -> None:
        self.phase, self.spot, self.zoom = QLabel(), QLabel(), QLabel()
        self.doing = "loading", -1.0  # from the first moment, until the controller says more
        self.progress = QProgressBar()
        self.progress.setMaximumWidth(200)
        self.progress.hide()
        self.statusBar().addWidget(self.phase)
        self.statusBar().addWidget(self.progress)
        self.statusBar().addPermanentWidget(self.spot)
        self.statusBar().addPermanentWidget(self.zoom)

    def _make_menus(self) -> None:
        self.menus = Menus(self)
        self._make_file_menu(self.menus)
        self._make_view_menu(self.menus)
        settings = self.menus.menu("&Settings")
        language, look = (self.settings.value(name, "system") for name in ("language", "look"))
        menu = self.menus.menu("Language", settings)
        self.menus.choice(menu, language_entries(), self.set_language, language)
        self.menus.choice(self.menus.menu("Colors", settings), look_entries(), self.set_look, look)

    def _make_file_menu(self, menus: Menus) -> None:
        file = menus.menu("&File")
        opening = self.opening
        menus.add(file, "Open pictures or a video …", opening.ask_pictures, QKeySequence.Open)
        menus.add(file, "Open a folder …", opening.ask_folder, "Ctrl+Shift+O")
        menus.add(file, "Open a camera …", opening.ask_camera)
        menus.add(file, "Paste a picture", opening.paste, QKeySequence.Paste)
        recent = menus.menu("Recent", file)
        recent.aboutToShow.connect(partial(opening.fill_recent, recent))
        menus.add(file, "Choose a model …", opening.ask_model, "Ctrl+M")
        file.addSeparator()
        results = self.results
        menus.add(file, "Save results …", results.ask_save, QKeySequence.Save)
        menus.add(file, "Predict the folder …", self.batch.ask_folder, "Ctrl+B")
        menus.add(file, "Correct in labelme", results.open_in_labelme, "Ctrl+L")
        menus.add(file, "Copy what is shown", results.copy, QKeySequence.Copy)
        file.addSeparator()
        menus.add(file, "Quit", self.close, "Ctrl+Q")

    def _make_view_menu(self, menus: Menus) -> None:
        view = menus.menu("&View")
        mode = self.settings.value("mode", "overlay")
        self.modes = menus.choice(view, VIEWS, self.set_mode, mode)
        self.bar.addActions(self.modes.actions())
        label = QLabel()
        keep_text(label.setText, "Opacity")
        label.setContentsMargins(16, 0, 6, 0)
        label.setBuddy(self.opacity)
        self.bar.addWidget(label)
        self.bar.addWidget(self.opacity)
        view.addSeparator()
        viewer = self.viewer
        menus.add(view, "Zoom in", partial(viewer.zoom, 1), "+ = Ctrl++")
        menus.add(view, "Zoom out", partial(viewer.zoom, -1), "- Ctrl+-")
        menus.add(view, "Fit to the window", viewer.fit, "0")
        menus.add(view, "Pixel by pixel", partial(viewer.zoom_to, 1.0), "1")
        view.addSeparator()
        for text, keys, way in MOVES:
            menus.add(view, text, partial(viewer.move_by, *way), keys)
        view.addSeparator()
        menus.add(view, "More opaque", partial(self._change_opacity, 10), "]")
        menus.add(view, "Less opaque", partial(self._change_opacity, -10), "[")
        menus.add(view, "Divider to the left", lambda: viewer.set_divider(viewer.divider - 0.05), ",")
        menus.add(view, "Divider to the right", lambda: viewer.set_divider(viewer.divider + 0.05), ".")
        view.addSeparator()
        menus.add(view, "Play or pause", self.player.toggle, "P")
        menus.add(view, "Next frame", self.player.step, "N")
        menus.add(view, "Next picture", partial(self.strip.step, 1), "Right PgDown")
        menus.add(view, "Previous picture", partial(self.strip.step, -1), "Left PgUp")

    def _connect(self) -> None:
        controller, viewer = self.controller, self.viewer
        self.jobs.failed.connect(self.banner.show_error)
        controller.ready.connect(self._start)
        controller.model_opened.connect(self._show_model)
        controller.opened.connect(self._show_document)
        controller.listed.connect(self.strip.show_paths)
        controller.predicted.connect(viewer.refresh)
        controller.segmented.connect(self._show_segmentation)
        controller.measured.connect(self._show_objects)
        controller.reduced.connect(partial(viewer.refresh, picture=True))
        controller.phased.connect(self._show_phase)
        self.model_box.menu.aboutToShow.connect(partial(self.opening.fill_models, self.model_box.menu))
        self.player.saving_asked.connect(self.batch.ask_video)
        self.tasks.button.clicked.connect(self.batch.cancel)
        self.choices_box.chosen.connect(lambda: controller.choose(self.choices_box.read(controller.choices)))
        self.legend.hid.connect(viewer.hide_classes)
        self.opacity.valueChanged.connect(viewer.set_opacity)
        self.strip.chosen.connect(controller.show)
        self.table.picked.connect(partial(self._mark, center=True))
        self.training.model_chosen.connect(self._try_model)
        self.training.model.began.connect(self.banner.hide)
        viewer.hovered.connect(self._show_spot)
        viewer.clicked.connect(self._pick)
        viewer.scaled.connect(lambda scale: self.zoom.setText(f"{scale:.0%}"))

    def _retranslate(self) -> None:
        self._show_title()
        for place, text in enumerate(("Segment", "Train")):
            self.tabs.setTabText(place, tr(text))
        self._show_phase(*self.doing)

    def closeEvent(self, event) -> None:
        if not self.batch.may_end():
            event.ignore()
            return
        store(self)
        self.player.close()
        self.training.end()
        self.controller.end()
        super().closeEvent(event)

    def _try_model(self, path: Path) -> None:
        """The model of a training, on the picture that is open."""
        self.tabs.setCurrentWidget(self.halves)
        self.opening.open_model(path)

    def _change_opacity(self, by: int) -> None:
        self.opacity.setValue(self.opacity.value() + by)

    def set_mode(self, mode: str) -> None:
        self.settings.setValue("mode", mode)
        for action in self.modes.actions():
            action.setChecked(action.data() == mode)
        self.viewer.set_mode(mode)

    def set_language(self, code: str) -> None:
        self.settings.setValue("language", code)
        set_language(code)

    def set_look(self, look: str) -> None:
        self.settings.setValue("look", look)
        set_look(QApplication.instance(), look, self.system_dark)

    # Opening.

    def _start(self) -> None:
        """Once the modules are there: the model of last time, or the newest."""
        path = self.settings.value("model", "")
        self.controller.open_model(Path(path) if path and Path(path).is_file() else None)

    def dragEnterEvent(self, event) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event) -> None:
        self.opening.drop(event.mimeData())

    # Showing.

    def _show_model(self) -> None:
        card = self.controller.model.card
        self.opening.remember_model(card.path)
        self.model_box.show_card(card)
        self._show_legend()
        self.choices_box.show_model(card)
        self.controller.choices = self.choices_box.read(self.controller.choices)

    def _show_document(self, keep: bool) -> None:
        document = self.controller.document
        self.banner.hide()
        self._show_title()
        self.viewer.show_picture(document.size, document.level_count, self._draw, keep)
        self.table.clear()
        self._show_legend()
        if document.path:
            self.strip.mark(document.path)

    def _show_legend(self) -> None:
        model, document = self.controller.model, self.controller.document
        if model.card:
            self.legend.show_rows(model.legend(document and document.segmentation))
            self.choices_box.enable(model.may_close_gaps(document), model.may_clean(document))

    def _show_title(self) -> None:
        document = self.controller.document
        self.setWindowTitle((f"{document.name} – " if document else "") + tr("U-Net segmentation"))

    def _draw(self, layer: str, level: int, box: Any) -> Any:
        """In the thread of the tiles."""
        controller, viewer = self.controller, self.viewer
        return controller.model.draw(controller.document, layer, level, box, viewer.opacity, viewer.hidden)

    def _show_segmentation(self) -> None:
        self._show_legend()
        self.viewer.refresh()

    def _show_objects(self) -> None:
        self._show_legend()
        controller = self.controller
        self.table.show_objects(controller.document.objects, controller.model.card.class_names)
        self.viewer.set_outlines([])

    def _show_phase(self, phase: str, share: float) -> None:
        self.doing = phase, share
        self.phase.setText(tr(PHASES[phase]))
        self.progress.setVisible(bool(phase))
        self.progress.setRange(0, 0 if share < 0 else 100)
        self.progress.setValue(round(max(share, 0) * 100))

    def _show_spot(self, x: int, y: int) -> None:
        document = self.controller.document
        if document is None or x < 0:
            self.spot.clear()
            return
        spot = self.controller.model.spot(document, x, y)
        text = f"({x}, {y})  " + " ".join(f"{value:g}" for value in spot.value)
        if spot.name is not None:
            text += f"  {spot.name}  {spot.certainty:.0%}"
        self.spot.setText(text + (f"  #{spot.number}" if spot.number else ""))

    def _pick(self, x: int, y: int) -> None:
        """A click on the picture selects the object there."""
        document = self.controller.document
        number = self.controller.model.spot(document, x, y).number if document and x >= 0 else 0
        self.table.select(number)
        self._mark(number)

    def _mark(self, number: int, center: bool = False) -> None:
        model, document = self.controller.model, self.controller.document
        objects = document and document.objects
        self.viewer.set_outlines(model.outlines(objects, number) if objects and number else [], center)
