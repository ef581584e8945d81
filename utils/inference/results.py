"""The writer of results: every file that is written for a picture, in one pass over its bands."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.core.files import replacing, write_lines
from utils.core.heap import keep_freed_memory
from utils.core.tables import write_table
from utils.images.arrays import to_uint8_rgb
from utils.images.large import LARGE_PIXELS, TiffWindows
from utils.images.palette import voc_palette
from utils.images.writing import PNG_PIXELS, row_writer, write_image
from utils.inference.bands import Band, join_bands
from utils.inference.folder_tables import FolderTables
from utils.inference.maps import certainty, classes
from utils.inference.objects import Objects, measure_objects, object_rows, parse_pixel_size, summary_row
from utils.inference.outputs import ResultFiles, ResultSettings, Source, plan_files, refuse_overwrite
from utils.inference.postprocess import Postprocessing, postprocess
from utils.inference.rendering import Drawing, display_range
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL
from utils.labelme.writing import write_labelme

DRAWN_ROWS = 64  # at once, because drawing takes many bytes per pixel
Picture = np.ndarray | TiffWindows  # (H, W) or (H, W, 3), uint8 or uint16
Predict = Callable[..., Iterable[Band]]  # (picture, *functions of the logits) → bands, such as `Unet.bands`


@dataclass(frozen=True, eq=False)
class Result:
    """What one picture gave. files: the picture to look at first; counts: (256,) int64 pixels per class."""

    files: list[Path]
    counts: np.ndarray

    @property
    def only_class(self) -> int | None:
        """The class of all pixels, or None where there are several."""
        present = np.flatnonzero(self.counts)
        return int(present[0]) if len(present) == 1 else None


@dataclass(eq=False)
class Tally:
    """What the bands of a picture add up to. counts: (256,) pixels per class; certainty: sum of 0 … 255."""

    counts: np.ndarray
    certainty: int = 0
    objects: Objects | None = None


class ResultWriter:
    """Writes all that is asked for of one picture after another."""

    def __init__(
        self,
        settings: ResultSettings,
        drawing: Drawing,
        object_classes: Sequence[int],
        cleaning: Postprocessing,
        output: Path,
        tables: FolderTables | None = None,
        overwrite: bool = False,
        skip_existing: bool = False,
    ):
        """object_classes: indices of the classes that are cleaned, measured and cut out; output: the folder.

        tables: those of a folder, None for single pictures. overwrite: replace what is there. skip_existing:
        complete an earlier run; annotations that may have been corrected by hand are kept. Raises UserError
        for a pixel size that is no length.
        """
        self.settings, self.drawing, self.cleaning, self.output = settings, drawing, cleaning, output
        self.object_classes, self.tables = object_classes, tables
        self.overwrite, self.may_replace = overwrite, overwrite or skip_existing
        self.pixel_size = parse_pixel_size(settings.pixel_size) if settings.pixel_size else None
        self.drawn_whole = drawing.legend or settings.objects
        self.needs_whole = self.drawn_whole or settings.save_labelme or settings.cutouts or cleaning.active

    def files(self, source: Source) -> ResultFiles:
        return plan_files(
            (self.output / source.name).with_suffix(""),
            source.path.suffix,
            self.settings,
            self.drawing.class_names,
            self.object_classes,
            summary=self.tables is None,
        )

    def is_done(self, source: Source) -> bool:
        return self.files(source).are_complete()

    def write(self, source: Source, picture: Picture, predict: Predict) -> Result:
        """Predict one picture and write its results; the only way to do so.

        Where something needs the whole picture, its bands are joined to one; otherwise no more than a band is
        in memory. Raises UserError if a result is there that may not be replaced.
        """
        files, size = self.files(source), picture.shape[:2]
        pixels = size[0] * size[1]
        if pixels > PNG_PIXELS:
            files = files.as_tiff()
        if not self.may_replace:
            refuse_overwrite(files.replaced(source))
        if self.needs_whole or pixels <= LARGE_PIXELS:
            # Not for the large ones, whose memory is bounded.
            keep_freed_memory()
        if self.needs_whole:
            picture = picture[:]
        bands = predict(picture, classes, certainty, *(each.make for each in files.maps))
        if self.needs_whole:
            bands = [join_bands(bands, size[0])]
        # The mask takes its name last: where there is one, the picture is done.
        with row_writer(files.mask, size, palette=voc_palette()) as mask_file:
            tally = self._write_pictures(source, files, picture, bands, mask_file.write)
            self._write_tables(source, files, tally)
        return Result(files.paths, tally.counts)

    def _write_pictures(
        self,
        source: Source,
        files: ResultFiles,
        picture: Picture,
        bands: Iterable[Band],
        write_mask: Callable[[np.ndarray], None],
    ) -> Tally:
        limits, tally, top = display_range(picture), Tally(np.zeros(256, np.int64)), 0
        with ExitStack() as stack:
            dtype = np.uint16 if self.settings.map_bits == 16 else np.uint8
            maps = [
                stack.enter_context(row_writer(each.path, picture.shape[:2], dtype)) for each in files.maps
            ]
            drawn_file = None
            for mask, sure, *values in bands:
                mask = postprocess(mask, self.object_classes, self.cleaning)
                image = picture[top : top + len(mask)]
                top += len(mask)
                tally.counts += np.bincount(mask.ravel(), minlength=256)
                tally.certainty += int(sure.sum(dtype=np.int64))
                if self.needs_whole:
                    tally.objects = self._write_objects(source, files, image, mask, sure)
                for drawn in self._draw(image, mask, tally.objects, limits):
                    if drawn_file is None:
                        # A legend or a montage makes it larger than the picture.
                        height = len(drawn) if self.drawn_whole else picture.shape[0]
                        shape = (height, *drawn.shape[1:])
                        drawn_file = stack.enter_context(row_writer(files.picture, shape))
                    drawn_file.write(drawn)
                for y in range(0, len(mask), DRAWN_ROWS):
                    write_mask(mask[y : y + DRAWN_ROWS])
                    for file, array in zip(maps, values, strict=True):
                        file.write(array[y : y + DRAWN_ROWS])
        return tally

    def _draw(
        self, image: np.ndarray, mask: np.ndarray, objects: Objects | None, limits: tuple[float, float] | None
    ) -> Iterator[np.ndarray]:
        """A band as people look at it, (h, w, 3) uint8, a few rows at a time where that is possible."""
        step = len(mask) if self.drawn_whole else DRAWN_ROWS
        for y in range(0, len(mask), step):
            rows = to_uint8_rgb(image[y : y + step], limits)
            yield self.drawing.draw(rows, mask[y : y + step], objects.labels if objects else None)

    def _write_objects(
        self, source: Source, files: ResultFiles, image: np.ndarray, mask: np.ndarray, sure: np.ndarray
    ) -> Objects | None:
        """What needs the whole picture: write annotations and cutouts, return the measured objects."""
        if files.labelme and files.labelme_picture:
            with replacing(files.labelme_picture) as temporary:
                shutil.copyfile(source.path, temporary)
            # A run that is completed may find polygons that were corrected by hand.
            if self.overwrite or not files.labelme.exists():
                write_labelme(files.labelme, files.labelme_picture.name, mask, self.drawing.class_names)
            # Fixes the order of the classes, for json_to_dataset.py and for labelme itself.
            labels = files.labelme.with_name("labels.txt")
            if self.overwrite or not labels.exists():
                write_lines(labels, [IGNORE_LABEL, BACKGROUND_LABEL, *self.drawing.class_names[1:]])
        for cutout in files.cutouts:
            write_image(cutout.path, cutout.make(to_uint8_rgb(image), mask))
        if not self.settings.objects:
            return None
        return measure_objects(mask, image, sure, self.object_classes, self.pixel_size)

    def _write_tables(self, source: Source, files: ResultFiles, tally: Tally) -> None:
        names, objects = self.drawing.class_names, tally.objects
        if objects and files.objects:
            rows = object_rows(objects, source.name, names)
            write_table(files.objects, rows, ["picture", *objects.columns])
        sure = tally.certainty / int(tally.counts.sum()) / 255
        summary = summary_row(source.name, tally.counts, sure, objects, names, self.pixel_size)
        if self.tables:
            self.tables.add(summary)
        elif files.summary:
            write_table(files.summary, [summary])


def print_counts(class_names: Sequence[str], counts: np.ndarray) -> None:
    """Pixels and share of every class; counts: (256,)."""
    width = max(len(name) for name in class_names)
    for index, name in enumerate(class_names):
        print(f"  {index:3d} {name:<{width}} {counts[index]:12d} pixels {counts[index] / counts.sum():8.2%}")
