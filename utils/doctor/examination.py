"""The examination of a VOC folder: each pair is read once, in threads."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from utils.core.console import UserError, progress
from utils.core.threads import map_ahead
from utils.doctor.evidence import Evidence
from utils.doctor.fitting import read_turn
from utils.doctor.originals import RepairedMask, read_mask_map
from utils.doctor.repair import MaskReading, MaskRepair, Pair
from utils.images.arrays import digest
from utils.images.masks import is_partly_annotated, read_objects
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import find_unread, read_image
from utils.voc.copies import look_of
from utils.voc.survey import THREADS, PairRecord, make_record

SIZE_BINS = 8  # of object sizes, per octave


@dataclass(frozen=True, slots=True)
class PairReport:
    """What one pair holds. digest, look: of the picture's pixels."""

    record: PairRecord
    picture: Path
    digest: str
    look: bytes
    repaired: RepairedMask
    evidence: Evidence | None
    palette: dict[int, int]  # of the mask: value → packed color


@dataclass
class Objects:
    """Connected parts of one class. bins: (256,) numbers of objects by size, SIZE_BINS bins to a doubling."""

    count: int = 0
    smallest: int = 0
    largest: int = 0
    bins: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))

    def add(self, areas: np.ndarray) -> None:
        """areas: (n,) pixels of each object, n from 1."""
        self.smallest = min(self.smallest or int(areas.min()), int(areas.min()))
        self.largest, self.count = max(self.largest, int(areas.max())), self.count + len(areas)
        self.bins += np.bincount((np.log2(areas) * SIZE_BINS).astype(int), minlength=256)

    def quantile(self, share: float) -> float:
        """Size in pixels, to within 5 %, that `share` of the objects do not exceed; 0 without objects."""
        if not self.count:
            return 0.0
        place = int(np.searchsorted(self.bins.cumsum(), share * self.count))
        return float(np.clip(2 ** ((place + 0.5) / SIZE_BINS), self.smallest, self.largest))


@dataclass
class Examination:
    """What one reading of the folder found. histogram: (65536,) of all channels, 8 bits widened (· 257).

    faults: of files that cannot be read as the settings say; forms: those that every repair mends.
    """

    reports: list[PairReport] = field(default_factory=list)
    faults: list[UserError] = field(default_factory=list)
    forms: list[UserError] = field(default_factory=list)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(65536))
    objects: dict[int, Objects] = field(default_factory=lambda: defaultdict(Objects))


def examine(pairs: Sequence[Pair], repair: MaskRepair) -> Examination:
    """Read every pair. Memory does not depend on the number of pictures."""
    examination = Examination()
    repair = replace(repair, usual_lean=_pool_leans(pairs, repair))
    known = {name: entry.get("objects", []) for name, entry in read_mask_map(repair.folder).items()}
    results = map_ahead(
        lambda pair: _examine_pair(pair, repair, known.get(pair.name, [])), pairs, THREADS, 2 * THREADS
    )
    for errors, forms, report, histogram, areas in progress(results, "checking pairs", "pair", len(pairs)):
        examination.faults += errors
        examination.forms += forms
        if report:
            examination.reports.append(report)
            examination.counts += report.record.counts
            examination.histogram[:: 65535 // (len(histogram) - 1)] += histogram
            for label, sizes in areas.items():
                examination.objects[label].add(sizes)
    return examination


def _pool_leans(pairs: Sequence[Pair], repair: MaskRepair) -> float:
    """How masks that fit both ways lie on the pictures that EXIF turns, all together: see `Fit.lean`."""

    def lean(pair: Pair) -> float:
        turn, keeps_size = read_turn(pair.picture)
        # What cannot be read is told by the examination.
        with suppress(UserError):
            if turn is not None and keeps_size:
                image = read_image(pair.picture)
                return repair.read(pair, image.shape[:2], image).fit.lean
        return 0.0

    leans = [one for one in map_ahead(lean, pairs, THREADS, 2 * THREADS) if one]
    return sum(leans) / max(len(leans), 1) ** 0.5


def _examine_pair(
    pair: Pair, repair: MaskRepair, known: Sequence[str]
) -> tuple[list[UserError], list[UserError], PairReport | None, np.ndarray | None, dict[int, np.ndarray]]:
    """Errors, faults of the form; if both can be read: report, histogram, class → sizes of its objects.

    known: digests of the numbers of objects that earlier repairs wrote.
    """
    image, reading, errors = None, None, []
    try:
        image = read_image(pair.picture)
        errors += [unread] if (unread := find_unread(pair.picture)) else []
    except UserError as error:
        errors.append(error)
    try:
        reading = repair.read(pair, image.shape[:2] if image is not None else None, image)
        _check_objects(repair, pair, reading, known)
    except UserError as error:
        errors.append(error)
    forms = reading.faults if reading else []
    if image is None or reading is None:
        return errors, forms, None, None, {}
    mask = reading.mask
    record, histograms = make_record(pair.name, image, mask)
    done = digest(mask) if repair.active else ""
    numbers = "" if reading.objects is None else digest(reading.objects)
    repaired = RepairedMask(tuple(reading.steps), done, mask.shape, reading.fit, numbers)
    looks = digest(image), look_of(image)
    report = PairReport(record, pair.picture, *looks, repaired, reading.evidence, reading.palette)
    return errors, forms, report, histograms[-1], _measure_objects(mask, record.values)


def _check_objects(repair: MaskRepair, pair: Pair, reading: MaskReading, known: Sequence[str]) -> None:
    """Raises UserError if SegmentationObject has numbers that --instances would not write, nor ever wrote."""
    path = repair.folder.objects_path(pair.name)
    if reading.objects is None or not path.is_file():
        return
    objects = read_objects(path)
    if not np.array_equal(objects, reading.objects) and digest(objects) not in known:
        found, remedy = "other objects than --instances finds", "move the file away if the mask is right"
        raise UserError("objects-differ", path, found, "the numbers of this mask", remedy)


def _measure_objects(mask: np.ndarray, values: dict[int, int]) -> dict[int, np.ndarray]:
    areas = {}
    if is_partly_annotated(mask.size - values.get(IGNORE_INDEX, 0), mask.size):
        return areas  # Strokes are no objects.
    # Hundreds of values are gray levels or numbers of objects, no classes.
    for label in values.keys() - {0, IGNORE_INDEX} if len(values) <= 64 else ():
        stats = cv2.connectedComponentsWithStats((mask == label).view(np.uint8))[2]
        areas[label] = stats[1:, cv2.CC_STAT_AREA]
    return areas
