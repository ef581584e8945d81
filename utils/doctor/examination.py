"""The doctor of a VOC folder: pairs pictures with masks, reads each once, and names every fault with what mends it."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from utils.core.console import UserError, counted, progress, warn
from utils.doctor.pairing import Fault
from utils.doctor.repair import MaskFault, MendedMask, Mending, Pair, digest
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_image
from utils.voc.classes import check_classes, looks_like_0_255, resolve_class_names
from utils.voc.colors import BUILT_IN, in_words
from utils.voc.folder import VocFolder
from utils.voc.survey import PairRecord, make_record

CHUNK = 64  # pairs read between two looks at the results, which bounds the memory
SIZE_BINS = 8  # of object sizes, an octave


@dataclass(frozen=True, slots=True)
class Seen:
    """What one pair holds: mask values with their pixels, picture (height, width), channels, bits, digest of its pixels."""

    name: str
    picture: Path
    record: PairRecord
    channels: int
    digest: str
    mended: MendedMask

    @property
    def size(self) -> tuple[int, int]:
        return self.record.size

    @property
    def gray(self) -> bool:
        return self.record.gray

    @property
    def bits(self) -> int:
        return self.record.bits

    @property
    def values(self) -> dict[int, int]:
        return self.record.values


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
        """Size in pixels, to within 5 %, that `share` of the objects do not exceed; 0 where there are none."""
        place = int(np.searchsorted(self.bins.cumsum(), share * self.count))
        return (
            float(np.clip(2 ** ((place + 0.5) / SIZE_BINS), self.smallest, self.largest))
            if self.count
            else 0.0
        )


@dataclass
class Findings:
    """All that one reading of the folder gave. histogram: (65536,) values of all channels, 8 bits widened (· 257)."""

    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(65536))
    objects: dict[int, Objects] = field(default_factory=lambda: defaultdict(Objects))
    colours: Counter = field(default_factory=Counter)


def examine(pairs: Sequence[Pair], mending: Mending) -> Findings:
    """Read every pair once, in threads (decoding releases the lock). Memory does not depend on the number of pictures."""
    findings, in_colour = Findings(), []
    for seen, faults, histogram, areas in progress(
        _look_at_all(pairs, mending), "checking pairs", "pair", len(pairs)
    ):
        for fault in faults:
            if isinstance(fault, MaskFault) and fault.colours:
                in_colour.append(len(findings.faults))
                findings.colours.update(dict(list(fault.colours.items())[:1000]))
            kind = fault.kind if isinstance(fault, MaskFault) else "files that cannot be read"
            findings.faults.append(_to_fault(kind, fault))
        if histogram is not None:
            findings.histogram[:: 65535 // (len(histogram) - 1)] += histogram
        if seen:
            findings.seen.append(seen)
            findings.counts[list(seen.values)] += list(seen.values.values())
            for label, sizes in areas.items():
                findings.objects[label].add(sizes)
    remedy = colour_remedy(findings.colours, mending) if in_colour else ""
    for index in in_colour:
        findings.faults[index] = replace(findings.faults[index], remedy=remedy)
    return findings


def _to_fault(kind: str, error: UserError) -> Fault:
    return Fault(kind, error.subject, error.found, error.expected, error.remedy)


def _look_at_all(pairs: Sequence[Pair], mending: Mending) -> Iterator[tuple]:
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(pairs), CHUNK):
            yield from pool.map(lambda pair: _look_at(pair, mending), pairs[start : start + CHUNK])


def _look_at(
    pair: Pair, mending: Mending
) -> tuple[Seen | None, list[UserError], np.ndarray | None, dict[int, np.ndarray]]:
    """What a pair holds, its faults, the histogram of the picture (256,) or (65536,), the sizes of objects by class."""
    image, mask, faults = None, None, []
    try:
        image = read_image(pair.picture)
    except UserError as error:
        faults.append(error)
    try:
        mask, steps = mending.read(pair, image.shape[:2] if image is not None else None)
    except UserError as error:
        faults.append(error)
    if image is None or mask is None:
        return None, faults, None, {}
    record, histogram = make_record(pair.name, image, mask)
    mended = MendedMask(tuple(steps), digest(mask) if mending.active else "", mask.shape)
    seen = Seen(pair.name, pair.picture, record, 1 if image.ndim == 2 else 3, digest(image), mended)
    return seen, faults, histogram[4], _object_sizes(mask, record.values)


def _object_sizes(mask: np.ndarray, values: dict[int, int]) -> dict[int, np.ndarray]:
    areas = {}
    # Hundreds of values are gray levels or numbers of objects, no classes.
    for label in [value for value in values if value not in (0, IGNORE_INDEX)] if len(values) <= 64 else []:
        stats = cv2.connectedComponentsWithStats((mask == label).view(np.uint8))[2]
        areas[label] = stats[1:, cv2.CC_STAT_AREA]
    return areas


def colour_remedy(colours: Counter, mending: Mending) -> str:
    """The commands whose table has every colour found, and the folder's classes, or the table to write."""
    names = VocFolder(mending.root).read_class_names()
    tables = {name: table for name, table in BUILT_IN.items() if names in (None, table.class_names)}
    fitting = [name for name, table in tables.items() if set(colours) <= set(table.packed.tolist())]
    if fitting:
        return "   or   ".join(mending.command(colors=name) for name in fitting)
    found = in_words(dict(colours.most_common()), colours.total())
    command, order = (
        mending.command(colors="colours.txt"),
        ", in the order of class_names.txt," if names else "",
    )
    return f"{command}   after writing colours.txt, a line R G B NAME{order} for each of the colours {found}"


def check_values(
    folder: VocFolder, findings: Findings, class_names: Sequence[str] | None, mending: Mending
) -> list[Fault]:
    """Faults of the mask values, and what deserves a look. class_names: None where there is no class_names.txt."""
    names, faults = class_names or resolve_class_names(folder, findings.counts), []
    beyond = set(range(len(names), IGNORE_INDEX))
    suspects = [seen for seen in findings.seen if beyond & seen.values.keys()]
    black_white = looks_like_0_255(findings.counts)
    records = [seen.record for seen in findings.seen]
    for some in [records] if black_white else [[seen.record] for seen in suspects]:
        try:
            check_classes(folder, some, names)
        except UserError as error:
            faults.append(_to_fault("masks with values beyond the classes", error))
    if class_names is None and not faults and not findings.faults:
        faults += _gaps(folder, findings.counts, mending)
    if mending.map is not None:
        subject, remedy = (
            f"--map {mending.map}",
            "correct the map, which always starts from the original masks",
        )
        faults = [
            replace(fault, path=subject, found=f"it would give {fault.path} {fault.found}", remedy=remedy)
            for fault in faults
        ]
    if findings.seen and not findings.counts[:IGNORE_INDEX].any():
        found, expected = "nothing but 255 (ignored) in all masks", "pixels of classes to learn from"
        faults.append(
            Fault("masks without a class", folder.masks_dir, found, expected, "export the masks again")
        )
    return faults + _one_class(folder, findings, black_white)


def _gaps(folder: VocFolder, total: np.ndarray, mending: Mending) -> list[Fault]:
    values = [int(value) for value in np.flatnonzero(total[:IGNORE_INDEX])]
    if len(values) > 64:
        found = f"{len(values)} different values and no class_names.txt: gray levels, or numbers of objects"
        drawing, numbers = mending.command(map="0:0,255:1", nearest=127), mending.command(map="0:0,*:1")
        remedy = (
            f"{drawing}   (a drawing in black and white), or {numbers}   (numbers of objects of one class)"
        )
        return [Fault("masks of gray levels", folder.masks_dir, found, "class indices 0, 1, 2, …", remedy)]
    if values == list(range(len(values))):
        return []
    mapping = ",".join(f"{value}:{index}" for index, value in enumerate(values))
    white = (
        f"255 means 'ignore'; where it is a class, add ,255:{len(values)}; " if total[IGNORE_INDEX] else ""
    )
    found = (
        f"the values {', '.join(map(str, values[:12]))}{', …' * (len(values) > 12)} and no class_names.txt"
    )
    expected = "class indices 0, 1, 2, … without gaps, or a class_names.txt that names every index"
    remedy = f"{mending.command(map=mapping)}   ({white}or write class_names.txt)"
    return [Fault("masks with gaps in their values", folder.masks_dir, found, expected, remedy)]


def _one_class(folder: VocFolder, findings: Findings, black_white: bool) -> list[Fault]:
    """Masks that hold one value alone, and masks in 0 and 255 beside masks with classes. None of these stops."""
    kinds = {0: "masks hold background only", IGNORE_INDEX: "masks hold nothing but 255 (ignored)"}
    remedy = "255 means 'ignore': where white is a class, draw it in the index of that class"
    faults = []
    for seen in findings.seen:
        path, values = folder.mask_path(seen.name), set(seen.values)
        if len(values) == 1:
            faults.append(Fault(kinds.get(values.pop(), "masks are all one class"), path, stops=False))
        elif values == {0, IGNORE_INDEX} and not black_white:
            kind, found = (
                "masks hold 0 and 255 only, beside masks with classes",
                f"{seen.values[255]} pixels of 255",
            )
            faults.append(Fault(kind, path, found, remedy=remedy, stops=False))
    return faults


def check_pictures(findings: Findings) -> list[Fault]:
    """Pictures that are copies of others; gray among colour; 8 among 16 bits. None of these stops."""
    first: dict[str, Seen] = {}
    faults = []
    for one in findings.seen:
        other = first.setdefault(one.digest, one)
        if other is not one:
            found, remedy = f"the same pixels as {other.picture.name}", "remove one of each"
            faults.append(
                Fault("pictures are the same as another", one.picture, found, remedy=remedy, stops=False)
            )
    remedy = "train on one kind, unless prediction will meet both"
    colour = {one.picture: "gray" if one.gray else "in colour" for one in findings.seen}
    depth = {one.picture: f"of {one.bits} bits" for one in findings.seen}
    for kinds in (colour, depth):
        common, number = Counter(kinds.values()).most_common(1)[0] if kinds else ("", 0)
        for path, kind in kinds.items():
            if kind != common:
                heading = f"pictures are {kind}, beside {number} that are {common}"
                faults.append(Fault(heading, path, remedy=remedy, stops=False))
    return faults


def report(folder: VocFolder, faults: Sequence[Fault], pairs: int) -> None:
    """Print the warnings, a line a group; raise one UserError that lists all other faults, grouped by kind."""
    groups: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        groups[fault.kind].append(fault)
    stopping = {kind: group for kind, group in groups.items() if group[0].stops}
    for kind, group in groups.items():
        if kind not in stopping:
            found, remedy = (f" ({group[0].found})" if group[0].found else ""), group[0].remedy
            such = f"{Path(group[0].path).name}{found}" + (f"; {remedy}" if remedy else "")
            warn(f"{_in_number(len(group), kind)}, such as {such}")
    if not stopping:
        return
    if len(stopping) == 1:
        ((_, (one, *others)),) = stopping.items()
        more = f"; the same in {len(others)} more, such as {Path(others[0].path).name}" if others else ""
        raise UserError("report", one.path, one.found + more, one.expected, one.remedy)
    listed = "\n\n".join(_group_in_words(kind, group) for kind, group in stopping.items())
    number = sum(map(len, stopping.values()))
    found = f"{number} faults of {len(stopping)} kinds in {counted(pairs, 'pair')} (listed below)"
    expected = "pictures and masks that can be read, belong together and hold class indices"
    raise UserError(
        "report",
        folder.root,
        found,
        expected,
        f"mend these and run this again; nothing was written\n\n{listed}",
    )


def _in_number(number: int, kind: str) -> str:
    """`2 masks hold …` or `1 mask holds …`."""
    if number == 1:
        kind = re.sub(r"^(\w+)s\b", r"\1", kind).replace(" are ", " is ", 1).replace(" hold ", " holds ", 1)
    return f"{number} {kind}"


def _group_in_words(kind: str, group: Sequence[Fault]) -> str:
    files = "\n".join(f"  {fault.path}: {fault.found}" for fault in group[:3])
    more = f"\n  … and {len(group) - 3} more" if len(group) > 3 else ""
    return f"{_in_number(len(group), kind)}\n{files}{more}\n  expected: {group[0].expected}\n  to do:    {group[0].remedy}"
