"""What is taken away: the mask, the picture as it is seen, the table of objects, polygons for labelme."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from gui.picture import Document
from utils.core.console import UserError
from utils.core.tables import write_table
from utils.images.palette import voc_palette
from utils.images.writing import PNG_PIXELS, row_writer
from utils.inference.annotations import write_annotation
from utils.inference.objects import object_rows
from utils.inference.outputs import (
    ResultFiles,
    ResultSettings,
    plan_files,
    refuse_overwrite,
    refuse_same_folder,
)

ROWS = 512  # written at once


@dataclass(frozen=True)
class Wanted:
    """What is saved."""

    mask: bool = True
    overlay: bool = True
    objects: bool = False
    labelme: bool = False


def files_of(document: Document, folder: Path, wanted: Wanted, class_names: Sequence[str]) -> ResultFiles:
    """Where it goes, by the names that predict.py gives. Raises UserError for the folder of the picture."""
    if document.path:
        refuse_same_folder(document.path.parent, folder)
    name = document.path or Path(document.name)
    settings = ResultSettings(objects=wanted.objects, save_labelme=wanted.labelme)
    files = plan_files(folder / name.stem, name.suffix or ".png", settings, class_names, (), summary=False)
    return files.as_tiff() if np.prod(document.size, dtype=np.int64) > PNG_PIXELS else files


def save(
    document: Document,
    folder: Path,
    wanted: Wanted,
    class_names: Sequence[str],
    draw: Callable[[slice], np.ndarray],
    overwrite: bool,
) -> list[Path]:
    """Write what is wanted of the segmentation that is shown; returns the files.

    draw: rows of the picture → (h, W, 3) uint8 as they are seen. Raises UserError, result-exists if a file is
    there and `overwrite` is not set.
    """
    files, segmentation = files_of(document, folder, wanted, class_names), document.segmentation
    kinds = {files.mask: wanted.mask, files.picture: wanted.overlay, files.objects: wanted.objects}
    paths = [path for path, chosen in {**kinds, files.labelme: wanted.labelme}.items() if path and chosen]
    if not overwrite:
        refuse_overwrite(paths)
    size = document.size
    bands = [slice(top, min(top + ROWS, size[0])) for top in range(0, size[0], ROWS)]
    if wanted.overlay:
        with row_writer(files.picture, (*size, 3)) as file:
            for rows in bands:
                file.write(draw(rows))
    if wanted.objects:
        objects = document.objects
        if objects is None:
            expected, remedy = "a mask of which objects can be measured", "save the mask without their table"
            raise UserError("objects-unmeasured", document.name, "no measured objects", expected, remedy)
        rows = object_rows(objects, document.name, class_names)
        write_table(files.objects, rows, ["picture", *objects.columns])
    if wanted.labelme:
        image = document.picture[:]
        write_annotation(files, document.path, image, segmentation.mask, class_names, overwrite)
    if wanted.mask:
        with row_writer(files.mask, size, palette=voc_palette()) as file:
            for rows in bands:
                file.write(segmentation.mask[rows])
    return paths


def start_labelme(annotation: Path) -> None:
    """Open a JSON file in labelme, a program of its own. Raises UserError if that is not installed."""
    if find_spec("labelme") is None:
        remedy = "pip install labelme"
        raise UserError("package-missing", "labelme", "it is not installed", "labelme", remedy)
    labels = annotation.absolute().with_name("labels.txt")
    command = [sys.executable, "-m", "gui.labelme", str(annotation.absolute()), "--labels", str(labels)]
    subprocess.Popen(command, start_new_session=True, cwd=Path(__file__).parents[1])
