"""The writer of results: every file that is written for a picture, in one pass over its bands."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.core.heap import keep_freed_memory, stop_keeping_memory
from utils.core.tables import write_table
from utils.images.arrays import to_uint8_rgb
from utils.images.large import LARGE_PIXELS, TiffWindows, display_range
from utils.images.palette import voc_palette
from utils.images.writing import PNG_PIXELS, row_writer, write_image
from utils.inference.agreement import Agreement
from utils.inference.annotations import write_annotation
from utils.inference.maps import certainty, classes, member_classes
from utils.inference.objects import Objects, measure_objects, object_rows, parse_pixel_size, summary_row
from utils.inference.outputs import (
    FolderTables,
    ResultFiles,
    ResultSettings,
    Source,
    plan_files,
    refuse_overwrite,
)
from utils.inference.postprocess import Postprocessing, postprocess
from utils.inference.rendering import Drawing
from utils.inference.tiling import Band, join

DRAWN_ROWS = 64  # at once, because drawing takes many bytes per pixel
Picture = np.ndarray | TiffWindows  # (H, W) or (H, W, 3), uint8 or uint16
Predict = Callable[..., Iterable[Band]]  # (picture, *functions of the logits) → bands, such as `Unet.bands`


@dataclass(eq=False)
class Result:
    """What one picture gave. paths: its files, the one to look at first is the first.

    counts: (256,) int64, pixels of each class; certainty: sum of 0 … 255 over the pixels.
    """

    paths: list[Path]
    counts: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    certainty: int = 0
    agreement: Agreement | None = None  # of an ensemble
    objects: Objects | None = None

    @property
    def only_class(self) -> int | None:
        """The class of all pixels, or None where there are several."""
        present = np.flatnonzero(self.counts)
        return int(present[0]) if len(present) == 1 else None


@dataclass(eq=False)
class ResultWriter:
    """Writes all that is asked for of one picture after another.

    object_classes: indices of the classes that are cleaned, measured and cut out; output: the folder; tables:
    those of a folder of pictures, None for single ones; overwrite: replace what is there; skip_existing:
    complete an earlier run, and keep annotations that may have been corrected by hand; members: networks of
    the ensemble. Raises UserError for a pixel size that is no length.
    """

    settings: ResultSettings
    drawing: Drawing
    object_classes: Sequence[int]
    cleaning: Postprocessing
    output: Path
    tables: FolderTables | None = None
    overwrite: bool = False
    skip_existing: bool = False
    members: int = 1

    def __post_init__(self):
        wanted = self.settings
        self.pixel_size = parse_pixel_size(wanted.pixel_size) if wanted.pixel_size else None
        self.drawn_whole = self.drawing.legend or wanted.objects
        self.needs_whole = self.drawn_whole or wanted.save_labelme or wanted.cutouts or self.cleaning.active

    def files(self, source: Source) -> ResultFiles:
        target, names = (self.output / source.name).with_suffix(""), self.drawing.class_names
        classes, summary = self.object_classes, self.tables is None
        return plan_files(target, source.path.suffix, self.settings, names, classes, summary)

    def is_done(self, source: Source) -> bool:
        return self.files(source).are_complete()

    def refuse_overwrite(self, *sources: Source) -> None:
        """Raises UserError if a result of one of them is there that may not be replaced."""
        if not (self.overwrite or self.skip_existing):
            refuse_overwrite(path for source in sources for path in self.files(source).replaced(source))

    def write(self, source: Source, picture: Picture, predict: Predict) -> Result:
        """Predict one picture and write its results; the only way to do so.

        Where something needs the whole picture, its bands are joined to one; otherwise no more than a band is
        in memory. Raises UserError if a result is there that may not be replaced.
        """
        self.refuse_overwrite(source)
        files, size = self.files(source), picture.shape[:2]
        pixels = size[0] * size[1]
        if pixels > PNG_PIXELS:
            files = files.as_tiff()
        if self.needs_whole or pixels <= LARGE_PIXELS:
            keep_freed_memory()
        else:
            # The memory of large ones is bounded, also after small ones in the same process.
            stop_keeping_memory()
        if self.needs_whole:
            picture = picture[:]
        agreement = [member_classes] * (self.members > 1)
        bands = predict(picture, classes, certainty, *files.maps.values(), *agreement)
        if self.needs_whole:
            bands = [join(bands, size[0], axis=-2)]
        # The mask takes its name last: where there is one, the picture is done.
        with row_writer(files.mask, size, palette=voc_palette()) as mask_file:
            result = self._write_pictures(source, files, picture, bands, mask_file.write)
            self._write_tables(source, files, result)
        return result

    def _write_pictures(
        self,
        source: Source,
        files: ResultFiles,
        picture: Picture,
        bands: Iterable[Band],
        write_mask: Callable[[np.ndarray], None],
    ) -> Result:
        limits, result, top, drawn_file = display_range(picture), Result(files.paths), 0, None
        dtype = np.uint16 if self.settings.map_bits == 16 else np.uint8
        with ExitStack() as stack:
            maps = [stack.enter_context(row_writer(path, picture.shape[:2], dtype)) for path in files.maps]
            if self.members > 1:
                result.agreement = Agreement(self.members, len(self.drawing.class_names))
            for mask, sure, *values in bands:
                if result.agreement:
                    result.agreement.update(values.pop())
                mask = postprocess(mask, self.object_classes, self.cleaning)
                image = picture[top : top + len(mask)]
                top += len(mask)
                result.counts += np.bincount(mask.ravel(), minlength=256)
                result.certainty += int(sure.sum(dtype=np.int64))
                if self.needs_whole:
                    result.objects = self._write_objects(source, files, image, mask, sure)
                labels = result.objects.labels if result.objects else None
                step = len(mask) if self.drawn_whole else DRAWN_ROWS
                for rows in (slice(y, y + step) for y in range(0, len(mask), step)):
                    drawn = self.drawing.draw(to_uint8_rgb(image[rows], limits), mask[rows], labels)
                    if drawn_file is None:
                        # A legend or a montage makes it larger than the picture.
                        height = len(drawn) if self.drawn_whole else picture.shape[0]
                        shape = (height, *drawn.shape[1:])
                        drawn_file = stack.enter_context(row_writer(files.picture, shape))
                    drawn_file.write(drawn)
                    write_mask(mask[rows])
                    for file, array in zip(maps, values, strict=True):
                        file.write(array[rows])
        return result

    def _write_objects(
        self, source: Source, files: ResultFiles, image: np.ndarray, mask: np.ndarray, sure: np.ndarray
    ) -> Objects | None:
        """What needs the whole picture: write annotations and cutouts, return the measured objects."""
        if files.labelme:
            write_annotation(files, source.path, image, mask, self.drawing.class_names, self.overwrite)
        for path, make in files.cutouts.items():
            write_image(path, make(to_uint8_rgb(image), mask))
        if not self.settings.objects:
            return None
        return measure_objects(mask, image, sure, self.object_classes, self.pixel_size)

    def _write_tables(self, source: Source, files: ResultFiles, result: Result) -> None:
        names, objects = self.drawing.class_names, result.objects
        if objects:
            rows = object_rows(objects, source.name, names)
            write_table(files.objects, rows, ["picture", *objects.columns])
        sure = result.certainty / int(result.counts.sum()) / 255
        expected = result.agreement.expected_iou if result.agreement else None
        summary = summary_row(source.name, result.counts, sure, objects, names, self.pixel_size, expected)
        if self.tables:
            self.tables.add(summary)
        elif files.summary:
            write_table(files.summary, [summary])


def print_shares(class_names: list[str], counts: np.ndarray, table: bool) -> None:
    """The share of each class in one line, or of the 8 largest; table: also in pixels. counts: (256,)."""
    shares, count = counts / counts.sum(), len(class_names)
    shown = sorted(np.argsort(-counts[:count], kind="stable")[:8].tolist())
    others = f", {count - 8} others {1 - shares[shown].sum():.2%}" * (count > 8)
    print("classes  " + ", ".join(f"{class_names[index]} {shares[index]:.2%}" for index in shown) + others)
    if table:
        width = max(len(name) for name in class_names)
        for index, name in enumerate(class_names):
            print(f"  {index:3d} {name:<{width}} {counts[index]:12d} pixels {shares[index]:8.2%}")
