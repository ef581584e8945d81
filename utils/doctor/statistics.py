"""What a VOC folder holds: printed, saved as dataset.json, and turned into proposals for training."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from utils.core.console import counted
from utils.doctor.examination import Findings, Seen
from utils.images.palette import IGNORE_INDEX
from utils.training.recipe import LARGE, plan_crops
from utils.voc.dataset_file import write_dataset_file
from utils.voc.folder import VocFolder

PERCENTILES = (0.1, 1, 25, 50, 75, 99, 99.9)


@dataclass(frozen=True)
class ClassStatistics:
    """One class. pictures: those that have it; sizes of its connected parts in pixels, the median to within 5 %."""

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
class Proposal:
    """Flags of train.py, and why."""

    flags: str
    reason: str


@dataclass(frozen=True)
class Statistics:
    """The content of dataset.json but for its fingerprint and its list of pairs. Sizes are height×width."""

    pictures: int
    sizes: dict[str, int]
    channels: dict[str, int]
    bits: dict[str, int]
    intensity_percentiles: dict[str, float]
    intensity_histogram: list[float] = field(repr=False)  # 64 shares of pixels, from black to white
    classes: list[ClassStatistics]
    ignored_pixels: int
    ignored_pictures: int
    proposals: list[Proposal]


def describe(findings: Findings, class_names: Sequence[str], train: Sequence[str]) -> Statistics:
    """Statistics of at least one pair, and proposals for training on those of the names `train`."""
    seen, counts, to_train = findings.seen, findings.counts, set(train)
    deep = any(one.bits == 16 for one in seen)
    histogram = findings.histogram if deep else findings.histogram[::257]
    places = np.searchsorted(histogram.cumsum(), np.array(PERCENTILES) / 100 * histogram.sum())
    classes = []
    for index, name in enumerate(class_names):
        objects, pictures = findings.objects[index], sum(index in one.values for one in seen)
        sizes = (objects.smallest, objects.quantile(0.5), objects.quantile(0.95), objects.largest)
        share = counts[index] / max(counts[:IGNORE_INDEX].sum(), 1)
        classes.append(
            ClassStatistics(index, name, int(counts[index]), float(share), pictures, objects.count, *sizes)
        )
    return Statistics(
        pictures=len(seen),
        sizes=_most_common(f"{one.size[0]}×{one.size[1]}" for one in seen),
        channels=_most_common(
            "RGB" if not one.gray else "gray" if one.channels == 1 else "RGB, all equal" for one in seen
        ),
        bits=_most_common(str(one.bits) for one in seen),
        intensity_percentiles={f"{p:g}": float(place) for p, place in zip(PERCENTILES, places, strict=True)},
        intensity_histogram=[float(part.sum() / histogram.sum()) for part in np.array_split(histogram, 64)],
        classes=classes,
        ignored_pixels=int(counts[IGNORE_INDEX]),
        ignored_pictures=sum(IGNORE_INDEX in one.values for one in seen),
        proposals=propose([one for one in seen if one.name in to_train], classes),
    )


def _most_common(values: object) -> dict[str, int]:
    return dict(Counter(values).most_common(20))


def propose(seen: Sequence[Seen], classes: Sequence[ClassStatistics]) -> list[Proposal]:
    """Settings of train.py for these pictures, each with its reason."""
    fit = _propose_fit(seen, classes)
    height, width = map(int, fit.flags.split()[-2:])
    cropped, sizes = "crop" in fit.flags, [one.size for one in seen]
    crops = max(round(sum(h * w for h, w in sizes) / (height * width)), len(seen)) if cropped else len(seen)
    _, batch = plan_crops(sizes, (height, width), not cropped)
    steps = counted(-(-crops // batch), "step")
    reason = (
        f"about {counted(crops, 'crop')} an epoch: {steps} of {batch * height * width / 1e6:.2g} M pixels"
    )
    proposals = [fit, Proposal(f"--batch-size {batch}", reason)]
    gray = all(one.gray for one in seen)
    reason = "all pictures are gray" if gray else "there are pictures in colour"
    proposals.append(Proposal(f"--in-channels {1 if gray else 3}", reason))
    present = [one for one in classes if one.pixels]
    rarest = min(present, key=lambda one: one.share)
    balanced = rarest.share < 0.2 / len(present)
    reason = f"class {rarest.name} has {rarest.share:.2%} of the pixels: " + (
        "too few for equal weights" if balanced else "the Dice loss makes up for that"
    )
    proposals.append(Proposal(f"--class-weights {'balanced' if balanced else 'none'}", reason))
    return proposals


def _propose_fit(seen: Sequence[Seen], classes: Sequence[ClassStatistics]) -> Proposal:
    """Crops or whole pictures, and their size: from the sizes of the pictures and of the objects in them."""
    height, width = (max(sides) for sides in zip(*(one.size for one in seen), strict=True))
    crop, _ = plan_crops([one.size for one in seen])
    if height <= crop[0] and width <= crop[1]:
        return Proposal(
            f"--fit crop --input-shape {crop[0]} {crop[1]}", "whole pictures fit in a crop: nothing is scaled"
        )
    if max(height, width) <= LARGE:
        reason = f"smaller than the pictures: {len(seen)} of them teach more in small steps"
        return Proposal(f"--fit crop --input-shape {crop[0]} {crop[1]}", reason)
    # As if they were discs.
    large = max((one.object_large for one in classes if one.objects), default=0) ** 0.5 * 1.13
    small = min((one.object_median for one in classes if one.objects), default=0) ** 0.5 * 1.13
    scale = LARGE / max(height, width)
    scaled = f"scaled to {LARGE} the small ones have {small * scale:.0f} of {small:.0f} pixels across"
    if large > LARGE and small * scale > 8:
        reason = f"objects of up to {large:.0f} pixels across do not fit in a crop; {scaled}"
        return Proposal(f"--fit letterbox --input-shape {LARGE} {LARGE}", reason)
    reason = f"pictures of up to {height}×{width}: crops keep objects as sharp as they are; {scaled}"
    return Proposal(f"--fit crop --input-shape {crop[0]} {crop[1]}", reason)


def save_statistics(folder: VocFolder, statistics: Statistics, seen: Sequence[Seen]) -> None:
    """Write dataset.json."""
    write_dataset_file(folder, asdict(statistics), [one.record for one in seen])
