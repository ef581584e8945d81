"""What is written for a picture or a folder, and where: settings, and the files that follow from them."""

import filecmp
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from utils.core.console import UserError, counted
from utils.core.files import name_fault, remove
from utils.core.tables import append_row, join_tables, read_table, write_table
from utils.images.file_types import IMAGE_SUFFIXES
from utils.images.palette import cutout_of

FILE_ENDINGS = (*IMAGE_SUFFIXES, ".mp4", ".avi", ".mov", ".mkv")


@dataclass(frozen=True)
class ResultSettings:
    """Files beside NAME.png and NAME_mask.png."""

    objects: bool = False  # measure every object: NAME_objects.csv, a summary, numbers in the result
    pixel_size: str = ""  # side of a pixel, such as 0.5um: measures in this unit too
    cutouts: bool = False  # NAME_cutout_CLASS.png: the objects of each class on transparent ground
    save_labelme: bool = False  # labelme/NAME.json with a copy of the picture, to correct by hand
    save_proba: bool = False  # NAME_proba_CLASS.png: probability of each class, from black (0) to white (1)
    save_uncertainty: bool = False  # NAME_uncertainty.png: entropy, black (sure) to white (all classes alike)
    map_bits: Literal[8, 16] = 8  # bits per pixel of these two


@dataclass(frozen=True)
class Source:
    """A picture to predict. name: its path below the folder of all pictures, by which tables call it."""

    path: Path
    name: str


@dataclass(frozen=True, eq=False)
class ResultFiles:
    """All files of one picture; None or empty for what is not asked for. picture: the one to look at first.

    cutouts: path → function of the picture (H, W, 3) uint8 and its mask → (H, W, 4) uint8; maps: path →
    function of the logits (K, h, w) → (h, w) uint8 or uint16; labelme_picture: the copy beside its polygons.
    """

    picture: Path
    mask: Path
    objects: Path | None
    summary: Path | None
    labelme: Path | None
    labelme_picture: Path | None
    cutouts: dict[Path, Callable]
    maps: dict[Path, Callable]

    def as_tiff(self) -> "ResultFiles":
        """Those of a picture that is too large for PNG viewers."""
        maps = {path.with_suffix(".tif"): make for path, make in self.maps.items()}
        picture, mask = self.picture.with_suffix(".tif"), self.mask.with_suffix(".tif")
        return replace(self, picture=picture, mask=mask, maps=maps)

    @property
    def paths(self) -> list[Path]:
        """All but the copy of the picture, the mask last."""
        tables = [path for path in (self.objects, self.summary, self.labelme) if path]
        return [self.picture, *tables, *self.cutouts, *self.maps, self.mask]

    @property
    def claimed(self) -> list[Path]:
        """All files that no other picture may write to."""
        return [*self.paths, *([self.labelme_picture] if self.labelme_picture else [])]

    def name_fault(self, source: Source) -> UserError | None:
        """Why the picture cannot be predicted: its name, or those of its results, cannot be written."""
        longest = max(self.claimed, key=lambda path: len(os.fsencode(path.name)))
        names = map(Path, (*Path(source.name).parts, longest.name))
        if not (fault := next(filter(None, map(name_fault, names)), None)):
            return None
        # About the picture, which a folder is predicted without.
        return UserError(fault.code, source.path, fault.found, fault.expected, fault.remedy)

    def replaced(self, source: Source) -> list[Path]:
        """What is there already: results (of a huge picture, as TIFF), and a copy of another of this name."""
        twins = (twin for path in self.paths for twin in (path, path.with_suffix(".tif")))
        copy, existing = self.labelme_picture, [path for path in dict.fromkeys(twins) if path.exists()]
        other = copy and copy.exists() and not filecmp.cmp(source.path, copy, shallow=False)
        return [*existing, copy] if other else existing

    def are_complete(self) -> bool:
        """Whether all results are there (of a huge picture, as TIFF)."""
        return all(path.exists() or path.with_suffix(".tif").exists() for path in self.paths)


def plan_files(
    target: Path,
    suffix: str,
    settings: ResultSettings,
    class_names: Sequence[str],
    object_classes: Iterable[int],
    summary: bool,
) -> ResultFiles:
    """The files of one picture. target: their folder and common name; suffix: the picture's own ending.

    summary: whether the picture has a summary of its own, because there is none of a folder.
    """

    def named(ending: str, wanted: bool = True) -> Path | None:
        return target.with_name(f"{target.name}{ending}") if wanted else None

    # Class names may hold what file names may not.
    safe = [f"{index}_" + re.sub(r"[^\w-]+", "_", name) for index, name in enumerate(class_names)]
    cutouts, maps = {}, {}
    for index in object_classes if settings.cutouts else ():
        cutouts[named(f"_cutout_{safe[index]}.png")] = partial(cutout_of, index=index)
    if settings.save_proba or settings.save_uncertainty:
        maps = plan_maps(named, safe, settings)
    labelme = target.parent / "labelme"
    return ResultFiles(
        picture=named(".png"),
        mask=named("_mask.png"),
        objects=named("_objects.csv", settings.objects),
        summary=named("_summary.csv", settings.objects and summary),
        labelme=labelme / f"{target.name}.json" if settings.save_labelme else None,
        labelme_picture=labelme / f"{target.name}{suffix}" if settings.save_labelme else None,
        cutouts=cutouts,
        maps=maps,
    )


def plan_maps(
    named: Callable[[str], Path], safe_names: Sequence[str], settings: ResultSettings
) -> dict[Path, Callable]:
    # The window asks for no maps, and shall not wait for PyTorch.
    from utils.inference.maps import entropy, probability_of

    maps = {}
    for index, name in enumerate(safe_names if settings.save_proba else ()):
        maps[named(f"_proba_{name}.png")] = partial(probability_of, index, bits=settings.map_bits)
    if settings.save_uncertainty:
        maps[named("_uncertainty.png")] = partial(entropy, bits=settings.map_bits)
    return maps


class FolderTables:
    """The tables of all pictures of a folder, which several processes may fill. rank: number of this one."""

    def __init__(self, folder: Path, objects: bool = False, rank: int = 0):
        """objects: whether objects are measured, for objects.csv."""
        self.folder, self.rank = folder, rank
        self.summary, self.order = folder / "summary.csv", folder / "order.csv"
        self.objects = folder / "objects.csv" if objects else None
        self.paths = [path for path in (self.summary, self.order, self.objects) if path]

    def add(self, row: dict[str, object]) -> None:
        """Add a picture: the first process to summary.csv, others to files of their own until `finish`."""
        append_row(self.folder / f"summary.{self.rank}.csv" if self.rank else self.summary, row)

    def remove_summaries(self) -> None:
        for part in (self.summary, *self._parts()):
            if part.exists():
                remove(part)

    def finish(self, objects_of: Callable[[str], Path]) -> None:
        """Join the rows of all processes, those of an interrupted run included, and write the other tables.

        order.csv lists the pictures from the least to the most certain, of an ensemble by the IoU to expect,
        so the first are worth correcting.
        objects_of: the object table of a picture by its name in summary.csv.
        """
        for part in self._parts():
            for row in read_table(part):
                append_row(self.summary, row)
            remove(part)
        if not self.summary.exists():
            return
        # A picture that was done again has a second row, which counts.
        rows = list({row["picture"]: row for row in read_table(self.summary)}.values())
        write_table(self.summary, rows)
        # How far the networks of an ensemble agree tells more than how certain they are.
        wanted = ("picture", "expected_iou", "mean_certainty")
        order = [{name: row[name] for name in wanted if name in row} for row in rows]
        judged = "expected_iou" if "expected_iou" in rows[0] else "mean_certainty"
        write_table(self.order, sorted(order, key=lambda row: float(row[judged])))
        if self.objects:
            tables = [objects_of(row["picture"]) for row in rows]
            join_tables(self.objects, [table for table in tables if table.exists()])

    def _parts(self) -> list[Path]:
        """Summaries of all processes but the first, not yet joined."""
        found = self.folder.glob("summary.*.csv")
        return sorted(part for part in found if re.fullmatch(r"summary\.\d+\.csv", part.name))


def refuse_overwrite(paths: Iterable[Path]) -> None:
    """Raises UserError if some of the files are there already."""
    existing = [path for path in paths if path.exists()]
    if existing:
        found = f"{counted(len(existing), 'result')} of an earlier run"
        remedy = "pass --overwrite, or choose another --output"
        raise UserError("result-exists", existing[0], found, "no file that would be replaced", remedy)


def refuse_same_folder(pictures: Path, output: Path) -> None:
    """Raises UserError if results would go into the folder of the pictures, where they could replace some."""
    if pictures.resolve() == output.resolve():
        found, remedy = "the folder of the pictures themselves", "choose another --output"
        raise UserError("output-among-pictures", f"--output {output}", found, "another folder", remedy)


def refuse_file_name(output: Path) -> None:
    """Raises UserError if the folder of the results is called like a picture or a video, or is a file."""
    if output.is_file() or (output.suffix.lower() in FILE_ENDINGS and not output.is_dir()):
        found, expected = "the name of a file", "a folder, for NAME.png and NAME_mask.png"
        remedy = "leave out the ending, or choose another name"
        raise UserError("output-is-file", f"--output {output}", found, expected, remedy)
