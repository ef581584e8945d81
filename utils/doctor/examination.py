"""The examination of a VOC folder: each pair is read once, in threads."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from utils.core.console import UserError, progress
from utils.core.threads import map_ahead
from utils.doctor.originals import RepairedMask
from utils.doctor.repair import ColoredMaskError, MaskRepair, Pair
from utils.images.arrays import digest
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import find_unread, read_image
from utils.voc.colors import BUILT_IN, color_shares
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
    """What one reading of the folder found. histogram: (65536,) of all channels, 8 bits widened (· 257)."""

    reports: list[PairReport] = field(default_factory=list)
    faults: list[UserError] = field(default_factory=list)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(65536))
    objects: dict[int, Objects] = field(default_factory=lambda: defaultdict(Objects))


def examine(pairs: Sequence[Pair], repair: MaskRepair) -> Examination:
    """Read every pair. Memory does not depend on the number of pictures."""
    examination = Examination()
    results = map_ahead(lambda pair: _examine_pair(pair, repair), pairs, THREADS, 2 * THREADS)
    for errors, report, histogram, areas in progress(results, "checking pairs", "pair", len(pairs)):
        examination.faults += errors
        if report:
            examination.reports.append(report)
            examination.counts += report.record.counts
            examination.histogram[:: 65535 // (len(histogram) - 1)] += histogram
            for label, sizes in areas.items():
                examination.objects[label].add(sizes)
    colored = [error for error in examination.faults if isinstance(error, ColoredMaskError)]
    remedy = _color_remedy(colored, repair)
    for error in colored:
        error.remedy = remedy
    return examination


def _examine_pair(
    pair: Pair, repair: MaskRepair
) -> tuple[list[UserError], PairReport | None, np.ndarray | None, dict[int, np.ndarray]]:
    """Errors, and unless picture or mask cannot be read: report, histogram, class → sizes of its objects."""
    image, mask, errors = None, None, []
    try:
        image = read_image(pair.picture)
        errors += [unread] if (unread := find_unread(pair.picture)) else []
    except UserError as error:
        errors.append(error)
    try:
        mask, steps = repair.read(pair, image.shape[:2] if image is not None else None)
    except UserError as error:
        errors.append(error)
    if image is None or mask is None:
        return errors, None, None, {}
    record, histograms = make_record(pair.name, image, mask)
    repaired = RepairedMask(tuple(steps), digest(mask) if repair.active else "", mask.shape)
    report = PairReport(record, pair.picture, digest(image), look_of(image), repaired)
    return errors, report, histograms[-1], _measure_objects(mask, record.values)


def _measure_objects(mask: np.ndarray, values: dict[int, int]) -> dict[int, np.ndarray]:
    areas = {}
    # Hundreds of values are gray levels or numbers of objects, no classes.
    for label in values.keys() - {0, IGNORE_INDEX} if len(values) <= 64 else ():
        stats = cv2.connectedComponentsWithStats((mask == label).view(np.uint8))[2]
        areas[label] = stats[1:, cv2.CC_STAT_AREA]
    return areas


def _color_remedy(errors: Sequence[ColoredMaskError], repair: MaskRepair) -> str:
    """The commands whose table has every color found, and the folder's classes, or the table to write."""
    colors: Counter = Counter()
    for error in errors:
        colors.update(error.counts)
    names = repair.folder.read_class_names()
    tables = {name: table for name, table in BUILT_IN.items() if names in (None, table.class_names)}
    fitting = [name for name, table in tables.items() if set(colors) <= set(table.packed.tolist())]
    found = color_shares(dict(colors.most_common()), colors.total())
    return repair.color_command(fitting, f"for each of the colors {found}", repair.settings.nearest)
