"""What the window shows and does, without a screen: everything that the widgets show comes from here."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gui.card import Choices, ModelCard
from gui.engine import Cancelled, Engine, never
from gui.picture import Box, Document, Prediction, Segmentation, scratch
from utils.core.console import UserError
from utils.images.large import display_range, open_picture
from utils.images.palette import IGNORE_INDEX, blend
from utils.images.reading import Picture, as_array
from utils.inference.gaps import close_gaps, fits_gaps
from utils.inference.objects import Objects, measure_objects
from utils.inference.postprocess import postprocess

UNSEEN = (70, 70, 70)  # color of what is not predicted yet, where classes are shown alone
# Larger masks are neither cleaned nor measured: it takes more memory than many machines have.
MOST_PIXELS = 1 << 27


@dataclass(frozen=True)
class LegendRow:
    """A class beside the picture. pixels, share (0…1), objects: None where they are not counted."""

    index: int
    name: str
    color: tuple[int, int, int]
    pixels: int | None
    share: float | None
    objects: int | None


@dataclass(frozen=True)
class Spot:
    """What is under the cursor.

    value: of the picture, () for a large one; name: of the class; certainty: 0…1; number: of the object.
    """

    value: tuple[float, ...]
    name: str | None = None
    certainty: float = 0.0
    number: int = 0


class Model:
    """A model, and the pictures that it is used on. Methods may be called from any thread.

    Those with `is_cancelled` ask it now and then, and raise Cancelled when it is true.
    """

    def __init__(self, engine: Any = None):
        """engine: has the methods of `Engine`."""
        self.engine = engine or Engine()
        self.card: ModelCard | None = None

    def open_model(
        self, path: Path | None, device: str = "auto", is_cancelled: Callable[[], bool] = never
    ) -> ModelCard:
        """Load a checkpoint or ONNX file (None: the newest). Raises UserError; then the old one stays."""
        self.card = self.engine.call("open_model", path, device, is_cancelled=is_cancelled)
        return self.card

    def open_picture(self, source: Picture, name: str = "") -> Document:
        """A file, PIL picture or array. Raises UserError."""
        is_file = isinstance(source, (str, Path))
        path = Path(source) if is_file else None
        picture = open_picture(path) if is_file else as_array(source)
        document = Document(path.name if is_file else name, path, picture, display_range(picture))
        if not document.is_large:
            document.reduce()
        return document

    def predict(
        self,
        document: Document,
        tta: bool,
        show: Callable[[Prediction, Box], None] = lambda *_: None,
        is_cancelled: Callable[[], bool] = never,
    ) -> Prediction:
        """Run the network, unless it has run. show: called after each tile. Raises UserError."""
        if self.is_predicted(document, tta):
            return document.predictions[tta]
        self._reopen()
        size = document.size
        ridge = None if self.card.separator is None else scratch(size)
        prediction = Prediction(scratch(size, IGNORE_INDEX), scratch(size), ridge)

        def put(top: int, left: int, mask: np.ndarray, *others: np.ndarray | None) -> None:
            box = prediction.put(top, left, mask, *others)
            prediction.seconds = time.perf_counter() - start
            # Not before: until something is predicted, the result of other choices is shown.
            document.predictions[tta] = prediction
            show(prediction, box)

        start = time.perf_counter()
        picture = document.picture if document.path is None else document.path
        try:
            self.engine.call("predict", picture, tta, on_event=put, is_cancelled=is_cancelled)
        except BaseException:
            # Given up after its last tile it is whole, and may be in use.
            if prediction.share < 1:
                document.predictions.pop(tta, None)
            raise
        return prediction

    def is_predicted(self, document: Document, tta: bool) -> bool:
        return tta in document.predictions and document.predictions[tta].share == 1

    def _reopen(self) -> None:
        """The model again, in a new process, after the one before has ended. Raises UserError."""
        if self.card is None:
            expected, remedy = "a model", "choose a model: a .pth file of train.py, or an ONNX file"
            raise UserError("model-missing", "model", "none is loaded", expected, remedy)
        if not self.engine.runs:
            self.open_model(self.card.path)

    def refine(
        self, document: Document, choices: Choices, is_cancelled: Callable[[], bool] = never
    ) -> Segmentation:
        """The prediction as the check boxes want it; the network does not run again."""
        prediction = document.predictions[choices.tta]
        mask = prediction.mask
        if choices.gaps and self.may_close_gaps(document):
            mask = close_gaps(mask, prediction.ridge, self.card.separator, self.card.closing)
        if is_cancelled():
            raise Cancelled
        if self.may_clean(document):
            mask = postprocess(mask, self.card.object_classes, choices.cleaning)
        bands = np.array_split(mask, -(-len(mask) // 2048))
        counts = sum(np.bincount(rows.ravel(), minlength=256) for rows in bands)
        if is_cancelled():
            raise Cancelled
        document.segmentation = Segmentation(mask, prediction.sure, counts)
        return document.segmentation

    def may_close_gaps(self, document: Document | None) -> bool:
        """Whether the check box of gaps acts: the model has a separator, and the picture is not too large."""
        return self.card.separator is not None and (document is None or fits_gaps(document.size))

    def may_clean(self, document: Document | None) -> bool:
        """Whether the other boxes act."""
        return document is None or document.size[0] * document.size[1] <= MOST_PIXELS

    def segment_frame(self, image: np.ndarray, name: str, choices: Choices) -> Document:
        """A frame of a video, predicted and refined if there is a model. Raises UserError."""
        document = self.open_picture(image, name)
        if self.card:
            self.predict(document, choices.tta)
            self.refine(document, choices)
        return document

    def measure(self, document: Document, segmentation: Segmentation) -> Objects | None:
        """Find and measure the objects of all classes but the background; None for a mask too large."""
        if not self.may_clean(document):
            return None
        image = document.picture[:]
        segmentation.objects = measure_objects(
            segmentation.mask, image, segmentation.sure, self.card.object_classes, None
        )
        return segmentation.objects

    def legend(self, segmentation: Segmentation | None) -> list[LegendRow]:
        """A row for each class."""
        rows = []
        for index, name in enumerate(self.card.class_names):
            pixels = share = number = None
            if segmentation:
                pixels = int(segmentation.counts[index])
                share = pixels / max(int(segmentation.counts.sum()), 1)
            if segmentation and segmentation.objects and index in segmentation.objects.classes:
                number = int(np.count_nonzero(segmentation.objects.columns["class"] == index))
            rows.append(
                LegendRow(index, name, tuple(self.card.palette[index].tolist()), pixels, share, number)
            )
        return rows

    def spot(self, document: Document, x: int, y: int) -> Spot:
        """What is at a pixel of the picture."""
        # To read a large file would stop the cursor.
        value = () if document.is_large else tuple(np.ravel(document.picture[y, x]).tolist())
        shown = document.shown
        if shown is None or shown.mask[y, x] >= len(self.card.class_names):
            return Spot(value)
        objects = document.objects
        number = int(objects.labels[y, x]) if objects else 0
        index, sure = int(shown.mask[y, x]), int(shown.sure[y, x]) / 255
        return Spot(value, self.card.class_names[index], sure, number)

    def draw(
        self, document: Document, layer: str, level: int, box: Box, opacity: float, hidden: frozenset[int]
    ) -> np.ndarray:
        """(h, w, 3) uint8 of a box of a level. layer: picture, mask or overlay; hidden: classes left out."""
        if layer == "picture" or (self.card is None and layer == "overlay"):
            return document.pixels(level, box)
        mask = document.mask_pixels(level, box)
        table = np.arange(256, dtype=np.uint8)
        table[list(hidden)] = 0
        mask = cv2.LUT(mask, table)
        palette = np.zeros((256, 3), np.uint8) if self.card is None else self.card.palette.copy()
        palette[IGNORE_INDEX] = UNSEEN
        if layer == "mask":
            return palette[mask]
        return blend(document.pixels(level, box), mask, palette, opacity)

    def outlines(self, objects: Objects, number: int) -> list[np.ndarray]:
        """Polygons (n, 2) of an object, in pixels of the picture: corners at whole numbers."""
        box = [int(objects.columns[f"{name}_px"][number - 1]) for name in ("left", "top", "width", "height")]
        left, top, width, height = box
        found = objects.labels[top : top + height, left : left + width] == number
        # Twice as large and shifted, so that lines run around the pixels and not through them.
        wide = np.pad(np.kron(found.view(np.uint8), np.ones((2, 2), np.uint8)), 1)
        contours, _ = cv2.findContours(wide, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        return [(contour[:, 0] / 2 + (left - 0.25, top - 0.25)) for contour in contours]
