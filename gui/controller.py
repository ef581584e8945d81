"""What happens in the window, one after another: open, predict, refine, measure. Work goes to threads."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PyQt5.QtCore import QObject, QTimer, pyqtSignal

from gui.engine import Engine
from gui.jobs import Job, Jobs

if TYPE_CHECKING:
    from gui.card import Choices
    from gui.model import Model
    from gui.picture import Document

IDLE = 3000  # milliseconds without work before something is predicted ahead
AHEAD = 10.0  # seconds that this may take
KEPT = 6  # documents that are kept open, so that going back is quick


class Controller(QObject):
    """Signals say what there is to show. `model` and `choices` are None until they are imported."""

    ready = pyqtSignal()  # the modules are there
    model_opened = pyqtSignal()
    opened = pyqtSignal(bool)  # a document; whether the place in the picture may stay
    listed = pyqtSignal(object, object)  # pictures of the folder, and the one that is shown
    predicted = pyqtSignal(object)  # a box of the picture has its classes
    segmented = pyqtSignal()
    measured = pyqtSignal()
    phased = pyqtSignal(str, float)  # a key of the window's PHASES, and the share done, below 0 where unknown
    reduced = pyqtSignal()  # more of a large picture can be shown

    def __init__(self, jobs: Jobs, make_engine: Callable[[], Any] = Engine, device: str = "auto"):
        """make_engine: for tests, something else than a process."""
        super().__init__()
        self.jobs, self.make_engine, self.device = jobs, make_engine, device
        self.model: Model | None = None
        self.choices: Choices | None = None
        self.document: Document | None = None
        self.documents: OrderedDict[Path, Document] = OrderedDict()
        self.imported: Future[Model] = Future()  # for jobs of other lanes
        self.pending: tuple[Document, bool] | None = None  # what is being predicted, and how
        self.idle = QTimer(self)
        self.idle.setSingleShot(True)
        self.idle.setInterval(IDLE)
        self.idle.timeout.connect(self._average_ahead)
        self.loading = True  # the modules or a model
        jobs.run("network", self._import, lambda _: self.ready.emit(), failed=self._end_loading)

    def _import(self, _job: Job) -> None:
        # Here, because these take a second and more, and the window is shown before.
        from gui.card import Choices
        from gui.model import Model

        self.choices = Choices()
        self.model = Model(self.make_engine())
        self.imported.set_result(self.model)

    def end(self) -> None:
        self.jobs.end()
        if self.model:
            self.model.engine.end()

    # The model.

    def open_model(self, path: Path | None) -> None:
        """None: the newest."""
        self.loading = True
        self.phased.emit("loading", -1)
        self.jobs.cancel("predict")

        def work(job: Job) -> Any:
            return self.model.open_model(path, self.device, job.is_cancelled)

        self.jobs.run("network", work, self._model_opened, kind="model", failed=self._end_loading)

    def rest(self, _result: Any = None) -> None:
        """Nothing is being done any more, unless a model is loaded."""
        self.phased.emit(*(("loading", -1) if self.loading else ("", 0)))

    def _end_loading(self, _result: Any = None) -> None:
        self.loading = False
        self.rest()

    def _model_opened(self, _card: Any) -> None:
        self._end_loading()
        for kind in ("refine", "measure"):
            # They are of the model before.
            self.jobs.cancel(kind)
        for document in {*self.documents.values(), self.document} - {None}:
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
            # What was asked for before comes too late.
            self.jobs.cancel("picture")
            self._show(known)
            return
        self.phased.emit("opening", -1)
        self.jobs.run(
            "picture",
            lambda _: self.imported.result().open_picture(source, name),
            self._show,
            kind="picture",
            failed=self.rest,
        )

    def _show(self, document: "Document") -> None:
        self.document = document
        self.idle.stop()
        if document.path:
            self.documents[document.path] = document
            self.documents.move_to_end(document.path)
        while len(self.documents) > KEPT:
            self.documents.popitem(last=False)
        self.rest()
        self.opened.emit(False)
        if document.segmentation:
            self.segmented.emit()
            if document.objects:
                self.measured.emit()
        if not document.is_reduced:
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
        if self.model.is_predicted(document, choices.tta):
            self.jobs.cancel("predict")
            self.rest()
            self.refine()
        elif not (self.jobs.is_busy("predict") and self.pending == (document, choices.tta)):
            self._predict(document, choices.tta)
            self.phased.emit("predicting", -1)

    def _predict(self, document: "Document", tta: bool) -> None:
        self.pending = document, tta

        def is_wanted() -> bool:
            return document is self.document and tta == self.choices.tta

        def work(job: Job) -> None:
            def show(prediction: Any, box: Any) -> None:
                job.post(lambda: self._tile(prediction.share, box) if is_wanted() else None)

            self.model.predict(document, tta, show, job.is_cancelled)

        def done(_: None) -> None:
            if is_wanted():
                self.rest()
                self.refine()

        self.jobs.run("network", work, done, kind="predict", failed=self.rest)

    def _tile(self, share: float, box: Any) -> None:
        self.phased.emit("predicting", share)
        self.predicted.emit(box)

    def _average_ahead(self) -> None:
        """Predict mirror images and turns while nothing is done, so that their check box acts at once."""
        document, model = self.document, self.model
        busy = self.jobs.is_busy("predict", "model", "picture", "batch", "refine", "measure")
        if document is None or busy or document.is_large or not model.is_predicted(document, False):
            return
        fast = document.predictions[False].seconds * model.card.views < AHEAD
        if fast and model.card.views > 1 and not model.is_predicted(document, True):
            self._predict(document, True)

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

    def show_frame(self, document: "Document") -> None:
        """A frame of a video that is segmented already."""
        self.jobs.cancel("predict")
        self.document = document
        self.opened.emit(True)
        self.segmented.emit()

    def measure_shown(self) -> None:
        """Objects of a frame at which a video stands still."""
        if self.document and self.document.segmentation and not self.document.segmentation.objects:
            self._measure(self.document)

    def _measure(self, document: "Document") -> None:
        segmentation = document.segmentation

        def done(_: Any) -> None:
            if document is self.document and segmentation is document.segmentation:
                self.measured.emit()
                self.idle.start()

        self.jobs.run("refine", lambda _: self.model.measure(document, segmentation), done, kind="measure")
