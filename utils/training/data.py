"""The checked data set of a training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median_low

import numpy as np

from utils.core.console import UserError, counted, note, warn
from utils.images.masks import is_partly_annotated
from utils.images.palette import BETWEEN_INDEX, IGNORE_INDEX
from utils.images.reading import read_image, read_mask
from utils.voc.classes import check_classes, resolve_class_names
from utils.voc.folder import VocFolder
from utils.voc.names import list_some
from utils.voc.orientation import Asymmetry
from utils.voc.structure import Structure, measure_structures, typical_width
from utils.voc.survey import (
    PictureStatistics,
    Survey,
    find_asymmetry,
    labelled_share,
    read_survey,
    survey_pairs,
)

COMPARED = 1 << 20  # pixels of validation pictures whose regions are compared, about
CLOSING_COST = 8e-6  # seconds per such pixel to choose how gaps are closed, on two cores


@dataclass(frozen=True)
class Data:
    """A checked data set: the splits, the classes, the sizes (height, width) of all pictures."""

    folder: VocFolder
    train: list[str]
    val: list[str]
    class_names: list[str]
    train_sizes: list[tuple[int, int]] = field(repr=False)
    val_sizes: list[tuple[int, int]] = field(repr=False)
    class_pixels: np.ndarray = field(repr=False)  # (K,) int64, of the training masks
    pictures: PictureStatistics = field(repr=False)  # of the training pictures
    asymmetry: Asymmetry = field(repr=False)  # of the training masks
    structures: dict[int, Structure] = field(repr=False)  # of the classes, in some of the training masks
    shows: dict[int, list[int]] = field(repr=False)  # numbers of the training pictures, by class
    labelled: tuple[float, float] = (1.0, 1.0)  # shares of the pixels that are not 255: training, validation
    strokes: tuple[int, ...] = ()  # numbers of the training pictures whose masks are strokes

    @property
    def has_strokes(self) -> bool:
        """Whether most of the training pixels are 255."""
        return is_partly_annotated(self.labelled[0], 1)

    @property
    def shown_by_strokes(self) -> np.ndarray | None:
        """(N, K) bool: the classes that a training picture with strokes shows, nothing of other pictures.

        None where most pixels are annotated, or where a class has the value of pixels between strokes.
        """
        if not self.has_strokes or len(self.class_names) > BETWEEN_INDEX:
            return None
        shown = np.zeros((len(self.train), len(self.class_names)), bool)
        for index, numbers in self.shows.items():
            shown[numbers, index] = True
        return shown & np.isin(np.arange(len(shown)), self.strokes)[:, None]

    @property
    def typical_width(self) -> float:
        """Of the classes, in pixels. Of strokes the lower median: grown strokes are often too wide."""
        if self.has_strokes:
            return median_low(one.width for one in self.structures.values())
        return typical_width(self.structures, self.class_pixels)

    @property
    def separator(self) -> int | None:
        """The class whose meshes are the objects, such as membranes between cells."""
        return next((index for index, one in self.structures.items() if one.separates), None)

    @property
    def least_width(self) -> float:
        return min(one.width for one in self.structures.values())

    @property
    def train_pixels(self) -> int:
        return sum(height * width for height, width in self.train_sizes)

    @property
    def val_pixels(self) -> int:
        return sum(height * width for height, width in self.val_sizes)

    def fit_crop(
        self, crop: tuple[int, int], stride: int, wanted: tuple[int, int] | None = None
    ) -> tuple[int, int]:
        """The crop, no larger than the largest picture rounded up: mirrored borders teach little.

        Says so if it is another one than the user wanted.
        """
        # Less than two strides would leave batch norm a single value per channel at the deepest level.
        largest = -(-np.max(self.train_sizes, axis=0) // stride) * stride
        height, width = np.maximum(np.minimum(crop, largest), 2 * stride).tolist()
        if wanted not in (None, (height, width)):
            sizes = f"not {wanted[0]}×{wanted[1]} but {height}×{width}"
            limits = (
                f"at least {2 * stride}×{2 * stride} for this network, no larger than the largest picture"
            )
            note(f"the crops are {sizes}: {limits}")
        return height, width

    def crops_per_picture(self, crop: tuple[int, int]) -> int:
        """Crops that cover a picture of mean size about once."""
        return max(round(self.train_pixels / len(self.train_sizes) / (crop[0] * crop[1])), 1)

    def crops_per_epoch(self, crop: tuple[int, int], fit: str) -> int:
        return len(self.train) * (self.crops_per_picture(crop) if fit == "crop" else 1)

    def read_pair(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        return read_image(self.folder.image_path(name)), read_mask(self.folder.mask_path(name))

    @property
    def closing_seconds(self) -> float:
        """About the time that it takes to choose how gaps are closed."""
        return 0.0 if self.separator is None else CLOSING_COST * min(self.val_pixels, COMPARED)

    def outlined_pairs(self, pixels: int = COMPARED) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Validation pictures and masks whose regions can be compared, of about so many pixels together.

        The last of them may be larger, up to four times as many.
        """
        left = pixels
        for name, (height, width) in zip(self.val, self.val_sizes, strict=True):
            if left <= 0:
                return
            if height * width > 4 * pixels:
                continue
            image, mask = self.read_pair(name)
            if not is_partly_annotated(np.count_nonzero(mask != IGNORE_INDEX), mask.size):
                left -= mask.size
                yield image, mask


def load_data(
    folder: VocFolder, fold: int | None = None, names: tuple[list[str], list[str]] | None = None
) -> Data:
    """The splits train and val, or those of a fold, all pairs checked. Raises UserError for a fault.

    names: to train and to validate on, in place of a split.
    """
    if not folder.root.is_dir():
        expected = "a VOC folder with JPEGImages, SegmentationClass and ImageSets/Segmentation"
        remedy = "make one (python json_to_dataset.py), or train on the demo set (python train.py)"
        raise UserError("data-folder-missing", folder.root, "no such folder", expected, remedy)
    prefix = "" if fold is None else f"fold{fold}_"
    train, val = names or (folder.read_split(f"{prefix}train"), folder.read_split(f"{prefix}val"))
    if not names and (both := set(train) & set(val)):
        pictures, files = counted(len(both), "picture"), f"{prefix}train.txt and in {prefix}val.txt"
        warn(f"{pictures} in {files}, such as {min(both)}: the scores will be too good")
    survey = read_survey(folder, train, val) or survey_pairs(folder, train, val)
    train, survey = leave_out_unlabelled(folder, train, survey)
    class_names = resolve_class_names(folder, sum(record.counts for record in survey.records))
    check_classes(folder, survey.records, class_names)
    class_pixels = sum(record.counts for record in survey.records[: len(train)])[: len(class_names)]
    missing = [f"{index} ({class_names[index]})" for index in np.flatnonzero(class_pixels == 0)]
    if missing:
        them = "them" if len(missing) > 1 else "it"
        classes = f"class{'es' * (len(missing) > 1)} {list_some(missing)}"
        warn(f"no training mask has a pixel of {classes}: the network cannot learn {them}")
    sizes = [record.size for record in survey.records]
    split_sizes = sizes[: len(train)], sizes[len(train) :]
    asymmetry = find_asymmetry(survey.records[: len(train)])
    structures = measure_structures(folder, train)
    records = survey.records
    labelled = labelled_share(records[: len(train)]), labelled_share(records[len(train) :])
    shown = np.array([record.counts for record in records[: len(train)]])[:, : len(class_names)] > 0
    shows = {index: np.flatnonzero(column).tolist() for index, column in enumerate(shown.T)}
    strokes = tuple(number for number, record in enumerate(records[: len(train)]) if record.is_strokes)
    found = class_pixels, survey.pictures, asymmetry, structures, shows, labelled, strokes
    return Data(folder, train, val, class_names, *split_sizes, *found)


def leave_out_unlabelled(folder: VocFolder, train: list[str], survey: Survey) -> tuple[list[str], Survey]:
    """The training pictures with an annotated pixel. Raises UserError if there is none."""
    records = survey.records[: len(train)]
    taught = [one.name for one in records if one.labelled]
    if not taught:
        expected, remedy = (
            "pixels of classes to learn from",
            "draw some strokes of each class, then convert again",
        )
        found = "nothing but 255 (not annotated) in all training masks"
        raise UserError("mask-no-class", folder.masks_dir, found, expected, remedy)
    if len(taught) == len(train):
        return train, survey
    left = [one for one in records if not one.labelled]
    pictures = f"{counted(len(left), 'training picture')} without an annotated pixel"
    note(f"{pictures}, such as {left[0].name}: left out, because nothing can be learnt from them")
    return taught, replace(
        survey, records=[one for one in records if one.labelled] + survey.records[len(train) :]
    )


def check_class_settings(data: Data, num_classes: int | None, weights: str | Sequence[float]) -> None:
    """Raises UserError if a number of classes, or of weights of classes, is not that of the data."""
    count, names = len(data.class_names), ", ".join(data.class_names)
    if num_classes not in (None, count):
        flag, found = f"--num-classes {num_classes}", f"{data.folder.root} has {count} classes: {names}"
        remedy = f"leave the flag out, or correct {data.folder.class_names_path}"
        raise UserError("class-count", flag, found, f"{count}, the background included", remedy)
    if not isinstance(weights, str) and (len(weights) != count or not any(weights)):
        expected, found = f"{count} numbers, one for each of {names}, not all 0", " ".join(map(str, weights))
        raise UserError("class-weights", "--class-weights", found, expected, "pass as many, or balanced")
