"""What is written for a picture, and where: the settings of results, and the files that follow from them."""

import filecmp
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from utils.core.console import UserError
from utils.images.palette import cutout_of
from utils.inference.maps import entropy, probability_of


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
class Output:
    """A picture of a result.

    make: for a map, from logits (K, h, w) to (h, w) uint8; for a cutout, from the picture (H, W, 3) uint8 and
    its mask to (H, W, 4) uint8.
    """

    path: Path
    make: Callable


@dataclass(frozen=True, eq=False)
class ResultFiles:
    """All files of one picture, None or empty where not asked for. picture: the one to look at first."""

    picture: Path
    mask: Path
    objects: Path | None
    summary: Path | None
    labelme: Path | None
    labelme_picture: Path | None  # the copy of the picture beside its polygons
    cutouts: list[Output]
    maps: list[Output]

    def as_tiff(self) -> "ResultFiles":
        """Those of a picture that is too large for PNG viewers."""
        maps = [replace(each, path=each.path.with_suffix(".tif")) for each in self.maps]
        return replace(
            self, picture=self.picture.with_suffix(".tif"), mask=self.mask.with_suffix(".tif"), maps=maps
        )

    @property
    def paths(self) -> list[Path]:
        """All but the copy of the picture, the mask last."""
        single = [self.picture, self.objects, self.summary, self.labelme]
        pictures = [each.path for each in (*self.cutouts, *self.maps)]
        return [*(path for path in single if path), *pictures, self.mask]

    @property
    def claimed(self) -> list[Path]:
        """All files that no other picture may write to."""
        return [*self.paths, *([self.labelme_picture] if self.labelme_picture else [])]

    def replaced(self, source: Source) -> list[Path]:
        """What is there already and would be lost: results, and a copy of another picture of this name."""
        copy = self.labelme_picture
        other = [copy] if copy and has_other_content(copy, source.path) else []
        return [*(path for path in self.paths if path.exists()), *other]

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

    def named(ending: str) -> Path:
        return target.with_name(f"{target.name}{ending}")

    # Class names may hold what file names may not.
    safe = [f"{index}_" + re.sub(r"[^\w-]+", "_", name) for index, name in enumerate(class_names)]
    cutouts = [
        Output(named(f"_cutout_{safe[index]}.png"), partial(cutout_of, index=index))
        for index in object_classes
    ]
    maps = [
        Output(named(f"_proba_{name}.png"), partial(probability_of, index, bits=settings.map_bits))
        for index, name in enumerate(safe)
    ]
    uncertainty = Output(named("_uncertainty.png"), partial(entropy, bits=settings.map_bits))
    labelme = target.parent / "labelme"
    return ResultFiles(
        picture=named(".png"),
        mask=named("_mask.png"),
        objects=named("_objects.csv") if settings.objects else None,
        summary=named("_summary.csv") if settings.objects and summary else None,
        labelme=labelme / f"{target.name}.json" if settings.save_labelme else None,
        labelme_picture=labelme / f"{target.name}{suffix}" if settings.save_labelme else None,
        cutouts=cutouts if settings.cutouts else [],
        maps=[*(maps if settings.save_proba else []), *([uncertainty] if settings.save_uncertainty else [])],
    )


def has_other_content(there: Path, path: Path) -> bool:
    """Whether there is a file already, of another content than `path`."""
    return there.exists() and not filecmp.cmp(path, there, shallow=False)


def refuse_overwrite(existing: Sequence[Path]) -> None:
    """Raises UserError if there are files that would be replaced."""
    if existing:
        more = f", and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise UserError(
            "result-exists",
            existing[0],
            f"a result of this name{more}",
            "no file that would be replaced",
            "pass --overwrite, or choose another --output",
        )


def refuse_same_folder(pictures: Path, output: Path) -> None:
    """Raises UserError if results would go into the folder of the pictures, where they could replace some."""
    if pictures.resolve() == output.resolve():
        raise UserError(
            "output-among-pictures",
            f"--output {output}",
            "the folder of the pictures themselves",
            "another folder",
            "choose another --output",
        )
