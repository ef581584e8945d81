"""What is done with a result: saved, opened in labelme, copied."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PyQt5.QtCore import QSettings
from PyQt5.QtWidgets import QApplication, QMainWindow

from gui.banner import Banner
from gui.controller import Controller
from gui.dialogs import OutputDialog, ask, ask_replace
from gui.jobs import Job
from gui.tiles import to_qimage
from gui.translation import tr
from gui.viewer import Viewer

COPIED_PIXELS = 1 << 25  # of larger pictures a reduced copy goes to the clipboard


@dataclass(frozen=True)
class Results:
    """Actions of the window on the picture that is shown."""

    window: QMainWindow
    settings: QSettings
    controller: Controller
    viewer: Viewer
    banner: Banner

    def _folder(self) -> Path:
        """Where results go: the folder of last time, or one beside the pictures."""
        document = self.controller.document
        beside = document.path.parent / "img_out" if document and document.path else Path("img_out")
        return Path(self.settings.value("output", "") or beside)

    def is_there(self) -> bool:
        """Whether a picture is segmented; says so if not."""
        document = self.controller.document
        if document and document.segmentation:
            return True
        self.banner.show_note(lambda: tr("Nothing is segmented yet. Open a picture and wait for its mask."))
        return False

    def ask_save(self) -> None:
        if not self.is_there():
            return
        usual = {"mask": True, "overlay": True, "objects": False, "labelme": False}
        title, note = tr("Save results"), tr("Results of {name}", name=self.controller.document.name)
        dialog = OutputDialog(self.window, title, note, self._folder(), self.settings, "save", usual)
        if dialog.exec_():
            self.settings.setValue("output", str(dialog.folder.path))
            self.save(dialog.folder.path, dialog.checked)

    def save(
        self,
        folder: Path,
        wanted: dict[str, bool],
        overwrite: bool = False,
        done: Callable[[list[Path]], None] | None = None,
    ) -> None:
        """Write in a thread; asks before files are replaced."""
        controller, document = self.controller, self.controller.document
        opacity, hidden = self.viewer.opacity, self.viewer.hidden

        def work(job: Job) -> list[Path]:
            from gui.saving import Wanted, save

            height, width = document.size

            def draw(rows: slice):
                job.post(lambda: controller.phased.emit("saving", rows.stop / height))
                box = rows, slice(0, width)
                return controller.model.draw(document, "overlay", 0, box, opacity, hidden)

            names = controller.model.card.class_names
            return save(document, folder, Wanted(**wanted), names, draw, overwrite)

        def end(paths: list[Path]) -> None:
            controller.rest()
            (done or self._say_saved)(paths)

        def failed(error: Exception) -> bool:
            controller.rest()
            return ask_replace(self.window, error, lambda: self.save(folder, wanted, True, done))

        # A large picture takes a minute and more.
        controller.phased.emit("saving", -1)
        controller.jobs.run("saving", work, end, failed=failed)

    def _say_saved(self, paths: list[Path]) -> None:
        names, folder = ", ".join(path.name for path in paths), paths[0].parent if paths else ""
        self.banner.show_note(
            lambda: tr("Saved {names} in {folder}.", names=names, folder=folder),
            lambda: "\n".join(map(str, paths)),
        )

    def open_in_labelme(self) -> None:
        """Polygons of the mask in labelme; those that are there already may have been corrected."""
        if not self.is_there():
            return
        document, folder = self.controller.document, self._folder()
        path = folder / "labelme" / f"{(document.path or Path(document.name)).stem}.json"
        if path.exists():
            choices = {"open": tr("Open these"), "replace": tr("Replace them")}
            text = tr("There are polygons of {name} already.", name=document.name)
            answer = ask(self.window, text, str(path), choices)
            if answer == "open":
                self._start_labelme(path)
            if answer != "replace":
                return
        wanted = {"mask": False, "overlay": False, "objects": False, "labelme": True}
        self.save(folder, wanted, True, lambda _: self._start_labelme(path))

    def _start_labelme(self, path: Path) -> None:
        from gui.saving import start_labelme

        self.controller.jobs.run("saving", lambda _: start_labelme(path))

    def copy(self) -> None:
        """What is shown, all of it, to the clipboard."""
        controller, document = self.controller, self.controller.document
        if document is None:
            return
        mode, level = self.viewer.mode, 0
        layer = mode if mode in ("picture", "mask") else "overlay"
        opacity, hidden = self.viewer.opacity, self.viewer.hidden
        while document.size[0] * document.size[1] >> (2 * level) > COPIED_PIXELS:
            level += 1
        height, width = document.level_size(level)
        box = slice(0, height), slice(0, width)

        def done(image) -> None:
            QApplication.clipboard().setImage(to_qimage(image))
            self.window.statusBar().showMessage(tr("Copied to the clipboard"), 3000)

        self.controller.jobs.run(
            "saving", lambda _: controller.model.draw(document, layer, level, box, opacity, hidden), done
        )
