"""What is shown of a model, and what is asked of its process: plain values that travel between processes."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.inference.gaps import Closing
from utils.inference.postprocess import Postprocessing


@dataclass(frozen=True, eq=False)
class ModelCard:
    """A model as its file describes it.

    palette: (256, 3) uint8; parameters: number of weights, 0 where unknown; separator: index of the class
    whose gaps are closed, or None; closing: how; views: how many predictions test-time augmentation averages.
    """

    path: Path
    class_names: tuple[str, ...]
    palette: np.ndarray = field(repr=False)
    backbone: str
    input_shape: tuple[int, int]
    parameters: int
    file_bytes: int
    precision: str
    scores: dict[str, float]
    separator: int | None
    closing: Closing
    views: int

    @property
    def object_classes(self) -> tuple[int, ...]:
        """The classes that are measured and cleaned: all but the background."""
        return tuple(range(1, len(self.class_names)))


@dataclass(frozen=True)
class Choices:
    """What the check boxes say. tta: average over mirror images and turns; gaps: close a separator's."""

    tta: bool = False
    gaps: bool = True
    cleaning: Postprocessing = field(default_factory=Postprocessing)


@dataclass(frozen=True)
class FolderJob:
    """A folder to predict as `predict.py --mode dir_predict` does.

    existing: stop at, replace or keep results that are there already ("stop", "replace", "keep").
    """

    folder: Path
    output: Path
    choices: Choices
    objects: bool = False
    labelme: bool = False
    existing: str = "stop"


@dataclass(frozen=True, eq=False)
class FolderReport:
    """done: pictures predicted; kept: those of an earlier run; counts: (256,) pixels; faults: left out."""

    done: int
    kept: int
    total: int
    counts: np.ndarray
    faults: tuple[str, ...]
