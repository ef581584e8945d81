"""What a VOC folder holds: printed, and saved as dataset.json."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.core.console import counted
from utils.doctor.examination import Examination
from utils.images.arrays import name_channels
from utils.images.palette import IGNORE_INDEX
from utils.voc.survey import labelled_share

PERCENTILES = (0.1, 1, 25, 50, 75, 99, 99.9)


@dataclass(frozen=True)
class ClassStatistics:
    """One class. pictures: those that have it. object_…: pixels of connected parts, to within 5 %."""

    index: int
    name: str
    pixels: int
    share: float
    pictures: int
    objects: int
    object_smallest: int
    object_median: float
    object_large: float  # 95 % are no larger
    object_largest: int


@dataclass(frozen=True)
class Statistics:
    """What a folder holds. Sizes are height×width."""

    pictures: int
    sizes: dict[str, int]
    channels: dict[str, int]
    bits: dict[str, int]
    intensity_percentiles: dict[str, float]
    intensity_histogram: list[float] = field(repr=False)  # 64 shares of pixels, from black to white
    classes: list[ClassStatistics]
    ignored_pixels: int
    ignored_pictures: int
    stroke_pictures: int  # masks of strokes or the like, most of whose pixels are ignored
    stroke_share: float  # of their pixels, those that are not


def describe(examination: Examination, class_names: Sequence[str]) -> Statistics:
    """Statistics of at least one pair."""
    reports, records = examination.reports, [report.record for report in examination.reports]
    strokes = [record for record in records if record.is_strokes]
    deep = any(record.bits == 16 for record in records)
    histogram = examination.histogram if deep else examination.histogram[::257]
    places = np.searchsorted(histogram.cumsum(), np.array(PERCENTILES) / 100 * histogram.sum())
    return Statistics(
        pictures=len(reports),
        sizes=_most_common(f"{record.size[0]}×{record.size[1]}" for record in records),
        channels=_most_common(
            name_channels(one.channels) + ", all equal" * (one.gray and one.channels > 1) for one in records
        ),
        bits=_most_common(str(record.bits) for record in records),
        intensity_percentiles={f"{p:g}": float(place) for p, place in zip(PERCENTILES, places, strict=True)},
        intensity_histogram=[float(part.sum() / histogram.sum()) for part in np.array_split(histogram, 64)],
        classes=[_describe_class(examination, index, name) for index, name in enumerate(class_names)],
        ignored_pixels=int(examination.counts[IGNORE_INDEX]),
        ignored_pictures=sum(IGNORE_INDEX in record.values for record in records),
        stroke_pictures=len(strokes),
        stroke_share=labelled_share(strokes),
    )


def _most_common(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common(20))


def _describe_class(examination: Examination, index: int, name: str) -> ClassStatistics:
    counts, objects = examination.counts, examination.objects[index]
    share = float(counts[index] / max(counts[:IGNORE_INDEX].sum(), 1))
    pictures = sum(index in report.record.values for report in examination.reports)
    sizes = (objects.smallest, objects.quantile(0.5), objects.quantile(0.95), objects.largest)
    return ClassStatistics(index, name, int(counts[index]), share, pictures, objects.count, *sizes)


def print_statistics(root: Path, statistics: Statistics, proposals: Mapping[str, str]) -> None:
    """A line for each value, with pixels, share and number of masks; objects; pictures; proposals."""
    rows = [(one.index, one.name, one.pixels, one.share, one.pictures) for one in statistics.classes]
    if ignored := statistics.ignored_pixels:
        share = ignored / (ignored + sum(one.pixels for one in statistics.classes))
        rows.append((IGNORE_INDEX, "(ignored)", ignored, share, statistics.ignored_pictures))
    width = max(len(row[1]) for row in rows)
    print(f"\n{counted(statistics.pictures, 'pair')}")
    print(f"value  {'class':<{width}}        pixels    share   masks")
    for value, name, pixels, share, masks in rows:
        print(f"{value:5d}  {name:<{width}} {pixels:13d} {share:8.2%} {masks:7d}")
    if strokes := statistics.stroke_pictures:
        labelled = (
            f"{counted(strokes, 'mask')} annotated in part, on {statistics.stroke_share:.2%} of the pixels"
        )
        print(f"strokes  {labelled}: where objects end, and how many there are, is not known there")
    for one in statistics.classes:
        if one.objects:
            sizes = f"{one.object_smallest} … {one.object_largest} pixels"
            print(f"objects  {one.name}: {one.objects} of {sizes}, median about {one.object_median:.0f}")
    kinds = (statistics.sizes, statistics.channels, statistics.bits)
    sizes, channels, bits = (", ".join([*one][:4]) for one in kinds)
    low, high = (statistics.intensity_percentiles[percent] for percent in ("1", "99"))
    print(f"pictures {sizes}; {channels}; {bits} bits; 98 % of the values in {low:g} … {high:g}")
    for flags, reason in proposals.items():
        print(f"propose  {flags}   ({reason})")
    print(f"saved    {root / 'dataset.json'}, dataset.png, contact_sheet.png (look whether the masks fit)")
