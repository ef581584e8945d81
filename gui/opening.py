"""What is opened: by dialogs, by dropping it on the window, or again from a list of recent files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PyQt5.QtCore import QMimeData, QSettings
from PyQt5.QtGui import QImage
from PyQt5.QtWidgets import QApplication, QFileDialog, QInputDialog, QMainWindow, QMenu

from gui.controller import Controller
from gui.dialogs import file_kinds
from gui.player import Player
from gui.tiles import to_array
from gui.translation import tr

MODELS = (".pth", ".pt", ".onnx")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".wmv", ".mpg", ".mpeg")
MOST_RECENT = 10


@dataclass
class Opening:
    """Pictures and folders go to the controller, videos and cameras to the player."""

    window: QMainWindow
    settings: QSettings
    controller: Controller
    player: Player
    asked: list[Path] = field(default_factory=list)  # for, and not seen yet

    def __post_init__(self):
        self.controller.opened.connect(lambda _: self._keep(self.controller.document.path))
        self.player.started.connect(self._keep)

    def ask_pictures(self) -> None:
        """Pictures or a video."""
        from utils.images.file_types import IMAGE_SUFFIXES

        kinds = file_kinds({tr("Pictures"): IMAGE_SUFFIXES, tr("Videos"): VIDEOS})
        folder = self.settings.value("folder", "")
        paths, _ = QFileDialog.getOpenFileNames(self.window, tr("Open pictures or a video"), folder, kinds)
        self.open_paths([Path(path) for path in paths])

    def ask_folder(self) -> None:
        folder = self.settings.value("folder", "")
        path = QFileDialog.getExistingDirectory(self.window, tr("Open a folder"), folder)
        self.open_paths([Path(path)] if path else [])

    def ask_camera(self) -> None:
        number, good = QInputDialog.getInt(
            self.window, tr("Open a camera"), tr("Number of the camera; the first is 0"), 0, 0, 99
        )
        if good:
            self.player.open(Path(str(number)))

    def ask_model(self) -> None:
        folder = str(Path(self.settings.value("model", "") or "logs").parent)
        kinds = file_kinds({tr("Models"): MODELS})
        path, _ = QFileDialog.getOpenFileName(self.window, tr("Choose a model"), folder, kinds)
        if path:
            self.open_model(Path(path))

    def open_model(self, path: Path) -> None:
        self.player.close()
        self.controller.open_model(path)

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Models, videos, pictures or folders, as they come from a dialog or are dropped."""
        models = [path for path in paths if path.suffix.lower() in MODELS]
        videos = [path for path in paths if path.suffix.lower() in VIDEOS]
        pictures = [path for path in paths if path not in models and path not in videos]
        if models:
            self.open_model(models[0])
        if pictures:
            self.player.close()
            self.controller.open_paths(pictures)
        elif videos:
            self.player.open(videos[0])
        if others := [path.absolute() for path in (*pictures, *videos)]:
            first, self.asked = others[0], others
            self.settings.setValue("folder", str(first if first.is_dir() else first.parent))

    def drop(self, data: QMimeData) -> None:
        self.open_paths([Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()])

    def paste(self) -> None:
        """The picture of the clipboard."""
        data = QApplication.clipboard().mimeData()
        image = QImage(data.imageData()) if data.hasImage() else QImage()
        if not image.isNull():
            self.player.close()
            self.controller.show(to_array(image), "clipboard.png")
        elif data.hasUrls():
            self.drop(data)

    # Lists of recent files.

    def recent(self, kind: str) -> list[Path]:
        """Those that are still there. kind: recent (pictures, folders, videos), or models."""
        paths = self.settings.value(kind, []) or []
        return [Path(path) for path in ([paths] if isinstance(paths, str) else paths) if Path(path).exists()]

    def remember_model(self, path: Path) -> None:
        self.settings.setValue("model", str(path.absolute()))
        self._remember("models", path.absolute())

    def _keep(self, path: Path | None) -> None:
        """Remember what was asked for when a picture of it is seen: files that cannot be opened are not."""
        places = [] if path is None else [path.absolute(), *path.absolute().parents]
        if known := [each for each in self.asked if each in places]:
            self._remember("recent", known[0])
            self.asked = []

    def _remember(self, kind: str, path: Path) -> None:
        paths = [path, *(each for each in self.recent(kind) if each != path)][:MOST_RECENT]
        self.settings.setValue(kind, [str(each) for each in paths])

    def models(self) -> list[Path]:
        """Recent ones, then what was trained or came with the repository."""
        trained = sorted(Path("logs").glob("*/best.pth"), key=lambda path: -path.stat().st_mtime)
        found = [*self.recent("models"), *trained, *sorted(Path("model_data").glob("*.pth"))]
        return list(dict.fromkeys(path.absolute() for path in found))[: 2 * MOST_RECENT]

    def fill_recent(self, menu: QMenu) -> None:
        menu.clear()
        for path in self.recent("recent"):
            menu.addAction(str(path), lambda path=path: self.open_paths([path]))
        menu.setEnabled(True)
        if menu.isEmpty():
            menu.addAction(tr("Nothing yet")).setEnabled(False)

    def fill_models(self, menu: QMenu) -> None:
        menu.clear()
        for path in self.models():
            action = menu.addAction(
                f"{path.parent.name}/{path.name}", lambda path=path: self.open_model(path)
            )
            action.setToolTip(str(path))
        menu.addSeparator()
        menu.addAction(tr("Another file …"), self.ask_model)
