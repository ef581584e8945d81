"""What happens in the window, one after another: open, predict, refine, measure. Work goes to threads."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PyQt5.QtCore import QObject, pyqtSignal

from gui.jobs import Job, Jobs

if TYPE_CHECKING:
    from gui.card import Choices
    from gui.model import Model
    from gui.picture import Document

KEPT = 6  # documents that are kept open, so that going back is quick


class Controller(QObject):
    """Signals say what there is to show. `model` and `choices` are None until they are imported.

    phase: what is being done, for people; "" for nothing.
    """

    ready = pyqtSignal()  # the modules are there
    model_opened = pyqtSignal()
    opened = pyqtSignal(bool)  # a document; whether the place in the picture may stay
    listed = pyqtSignal(object, object)  # pictures of the folder, and the one that is shown
    predicted = pyqtSignal(object)  # a box of the picture has its classes
    segmented = pyqtSignal()
    measured = pyqtSignal()
    phased = pyqtSignal(str, float)  # text and share that is done, below 0 where unknown
    reduced = pyqtSignal()  # more of a large picture can be shown

    def __init__(self, jobs: Jobs, engine: Any = None, device: str = "auto"):
        """engine: for tests, instead of a process."""
        super().__init__()
        self.jobs, self.device = jobs, device
        self.model: Model | None = None
        self.choices: Choices | None = None
        self.document: Document | None = None
        self.documents: OrderedDict[Path, Document] = OrderedDict()
        self.imported: Future[Model] = Future()  # for jobs of other lanes
        jobs.run("network", lambda _: self._import(engine), self._imported)

    def _import(self, engine: Any) -> None:
        # Here, because these take a second and more, and the window is shown before.
        from gui.card import Choices
        from gui.model import Model

        self.choices = self.choices or Choices()
        self.model = Model(engine)
        self.imported.set_result(self.model)

    def _imported(self, _: None) -> None:
        self.ready.emit()

    def end(self) -> None:
        self.jobs.end()
        if self.model:
            self.model.engine.end()

    # The model.

    def open_model(self, path: Path | None, failed: Callable[[Exception], None] | None = None) -> None:
        """None: the newest."""
        self.phased.emit("loading", -1)
        self.jobs.cancel("predict")

        def work(job: Job) -> Any:
            return self.model.open_model(path, self.device, job.is_cancelled)

        def fail(error: Exception) -> None:
            self.phased.emit("", 0)
            if failed:
                failed(error)

        self.jobs.run("network", work, self._model_opened, kind="model", failed=fail)

    def _model_opened(self, _card: Any) -> None:
        self.phased.emit("", 0)
        for document in [*self.documents.values(), *([self.document] if self.document else [])]:
            document.predictions.clear()
            document.segmentation = None
        self.model_opened.emit()
        if self.document:
            self.opened.emit(True)
            self.predict()

    # Pictures.

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Pictures, or folders of them; the first is shown."""

        def work(_job: Job) -> tuple[list[Path], Path]:
            from gui.listing import list_pictures

            return list_pictures(paths)

        def done(found: tuple[list[Path], Path]) -> None:
            self.listed.emit(*found)
            self.show(found[1])

        self.jobs.run("picture", work, done, kind="list")

    def show(self, source: Any, name: str = "") -> None:
        """Open a picture, by its path or as an array, and predict it."""
        known = self.documents.get(source) if isinstance(source, Path) else None
        self.jobs.cancel("predict")
        if known:
            self._show(known)
            return
        self.phased.emit("opening", -1)
        self.jobs.run(
            "picture",
            lambda _: self.imported.result().open_picture(source, name),
            self._show,
            kind="picture",
            failed=lambda _: self.phased.emit("", 0),
        )

    def _show(self, document: "Document") -> None:
        self.document = document
        if document.path:
            self.documents[document.path] = document
            self.documents.move_to_end(document.path)
        while len(self.documents) > KEPT:
            self.documents.popitem(last=False)
        self.phased.emit("", 0)
        self.opened.emit(False)
        if document.segmentation:
            self.segmented.emit()
            self.measured.emit()
        if document.is_large and not document.levels:
            self._reduce(document)
        self.predict()

    def _reduce(self, document: "Document") -> None:
        def work(job: Job) -> None:
            document.reduce(lambda: job.post(self.reduced.emit), job.is_cancelled)

        self.jobs.run("picture", work, lambda _: self.reduced.emit(), kind="reduce")

    # The network and what follows.

    def predict(self) -> None:
        """Predict what is shown, as the check boxes want it, and refine the result."""
        document, choices = self.document, self.choices
        if document is None or self.model is None or self.model.card is None:
            return
        tta = choices.tta
        if tta in document.predictions and document.predictions[tta].share == 1:
            self.refine()
            return
        self.phased.emit("predicting", 0)

        def work(job: Job) -> None:
            def show(prediction: Any, box: Any) -> None:
                job.post(lambda: self._tile(document, prediction.share, box))

            self.model.predict(document, tta, show, job.is_cancelled)

        def done(_: None) -> None:
            self.phased.emit("", 1)
            if document is self.document:
                self.refine()

        failed = lambda _: self.phased.emit("", 0)  # noqa: E731
        self.jobs.run("network", work, done, kind="predict", failed=failed)

    def _tile(self, document: "Document", share: float, box: Any) -> None:
        if document is self.document:
            self.phased.emit("predicting", share)
            self.predicted.emit(box)

    def choose(self, choices: "Choices") -> None:
        """What the check boxes say now."""
        self.choices = choices
        self.predict()

    def refine(self) -> None:
        document, choices = self.document, self.choices

        def work(job: Job) -> None:
            self.model.refine(document, choices, job.is_cancelled)

        def done(_: None) -> None:
            if document is self.document:
                self.segmented.emit()
                self._measure(document)

        self.jobs.run("refine", work, done, kind="refine")

    def _measure(self, document: "Document") -> None:
        segmentation = document.segmentation

        def done(_: Any) -> None:
            if document is self.document and segmentation is document.segmentation:
                self.measured.emit()

        self.jobs.run("refine", lambda _: self.model.measure(document, segmentation), done, kind="measure")
