"""The one pass over the pairs of a VOC folder, in threads, and dataset.json, which spares it to training."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import cv2
import numpy as np

from utils.core.console import UserError, counted, progress, warn
from utils.core.files import write_lines
from utils.core.threads import map_ahead
from utils.images.arrays import check_channels, count_channels, is_gray, is_photo, to_channels
from utils.images.masks import is_partly_annotated
from utils.images.normalisation import Normalisation, Range, stretch
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import find_unread, read_image, read_mask
from utils.voc.folder import VocFolder, check_size
from utils.voc.names import list_some
from utils.voc.orientation import GRID, Asymmetry, count_places, measure_asymmetry
from utils.voc.strokes import complete

FORMAT = 4  # of dataset.json
THREADS = min(32, (os.cpu_count() or 1) + 4)  # of reading, because decoding releases Python's lock
BAND = 1 << 22  # pixels whose luminance is computed at once, which bounds the memory for large pictures


@dataclass(frozen=True, slots=True)
class PairRecord:
    """What one pair holds. size: (height, width); values: mask value → pixels; gray: all channels are equal.

    channels: of the picture's file; moments: (C + 1, 2) int64, sum and sum of squares of each channel (C is 3
    for gray, too) and of the luminance; zeros for 16 bits, whose values are stretched by a range that depends
    on the other pictures. places: `count_places` of `values`, in masks of strokes after `complete`.
    """

    name: str
    size: tuple[int, int]
    values: dict[int, int]
    gray: bool
    channels: int
    bits: int
    moments: np.ndarray = field(repr=False)
    places: np.ndarray = field(repr=False)

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def labelled(self) -> int:
        """Pixels that are not 255."""
        return self.pixels - self.values.get(IGNORE_INDEX, 0)

    @property
    def is_strokes(self) -> bool:
        """Whether the mask is strokes, points or the like: `is_partly_annotated`."""
        return is_partly_annotated(self.labelled, self.pixels)

    @property
    def counts(self) -> np.ndarray:
        """(256,) int64 pixels of each mask value."""
        counts = np.zeros(256, np.int64)
        counts[list(self.values)] = list(self.values.values())
        return counts


@dataclass(frozen=True)
class PictureStatistics:
    """What training needs of the training pictures. range_16bit: 0.1 and 99.9 percentile of 16-bit ones.

    moments: (C + 1, 2) float64, as in `PairRecord` (luminance: ITU-R 601), scaled to 0…1 after 16-bit
    pictures were stretched from `range_16bit`. The luminance of 16-bit colors is stretched as such, not
    channel by channel, which differs only where a channel is clipped. Channels that are neither gray nor RGB
    have a range each.
    """

    channels: int  # 1 if all pictures are gray
    range_16bit: Range | None
    pixels: int
    moments: np.ndarray = field(repr=False)

    def normalisation(self, in_channels: int) -> Normalisation:
        """Mean and standard deviation of each channel over all pixels."""
        total, squares = self.moments[3:].T if in_channels == 1 else self.moments[:-1].T
        mean = total / self.pixels
        # Constant pictures have no spread to divide by; one gray step of 8 bits is the least.
        std = np.sqrt(np.maximum(squares / self.pixels - mean**2, (1 / 255) ** 2))
        return Normalisation(tuple(mean.tolist()), tuple(std.tolist()), self.range_16bit)


@dataclass(frozen=True)
class Survey:
    """records: of the training pairs, then of the others, in the order given; pictures: to train on."""

    records: list[PairRecord]
    pictures: PictureStatistics


def find_asymmetry(records: Sequence[PairRecord]) -> Asymmetry:
    """How much the places of the classes change when these pictures are mirrored or turned."""
    return measure_asymmetry([dict(zip(one.values, one.places, strict=True)) for one in records])


def labelled_share(records: Sequence[PairRecord]) -> float:
    """Of the pixels of these masks, those that are not 255."""
    return sum(one.labelled for one in records) / max(sum(one.pixels for one in records), 1)


def survey_pairs(folder: VocFolder, train: Sequence[str], others: Sequence[str] = ()) -> Survey:
    """Read and check every pair once, in bounded memory. Warns of files of several pictures.

    Raises UserError for names without a picture or a mask, all of them together, else for the first fault.
    """
    names = [*train, *others]
    _check_files(folder, names)
    pairs = map_ahead(lambda name: read_pair(folder, name), names, THREADS, 2 * THREADS)
    records, counts_16bit = [], np.zeros((1, 65536), np.int64)
    for record, counts in progress(pairs, "checking pairs", "pair", len(names)):
        records.append(record)
        path, first = folder.image_path(record.name), folder.image_path(records[0].name).name
        check_channels(path, record.channels, records[0].channels, first)
        if record.bits == 16 and len(records) <= len(train):
            counts_16bit = counts_16bit + counts
    if unread := [one for one in map(find_unread, map(folder.image_path, names)) if one]:
        files = f"{counted(len(unread), 'file')} of several pictures, such as {unread[0].subject}"
        warn(f"{files}: {unread[0].found}; {unread[0].remedy}")
    return Survey(records, summarise_pictures(records[: len(train)], counts_16bit))


def _check_files(folder: VocFolder, names: Sequence[str]) -> None:
    """Raises UserError for all names that lack a picture, or else a mask."""
    remedy = f"or draw the split anew: {folder.doctor('--overwrite')}"
    for kind, expected, missing in (
        (
            "picture",
            "a picture for every name in the split files",
            [n for n in names if n not in folder.images],
        ),
        ("mask", "a mask for every picture", [n for n in names if not folder.mask_path(n).is_file()]),
    ):
        if missing:
            found = f"no {kind} for {len(missing)} of {counted(len(names), 'name')}: {list_some(missing)}"
            path = folder.images_dir / missing[0] if kind == "picture" else folder.mask_path(missing[0])
            raise UserError(f"{kind}-missing", path, found, expected, f"add what is missing, {remedy}")


def read_pair(folder: VocFolder, name: str) -> tuple[PairRecord, np.ndarray]:
    """The record of a pair and `count_values` of its picture. Raises UserError for a faulty one."""
    image_path, mask_path = folder.image_path(name), folder.mask_path(name)
    # The whole picture, not its header alone: a truncated one must not come up in the middle of a training.
    mask, image = read_mask(mask_path), read_image(image_path)
    check_size(mask_path, mask, image_path.name, image.shape[:2])
    return make_record(name, image, mask)


def make_record(name: str, image: np.ndarray, mask: np.ndarray) -> tuple[PairRecord, np.ndarray]:
    """The record of a picture (H, W[, 3]) and its mask (H, W), and `count_values` of the picture."""
    pixels, counts = np.bincount(mask.ravel(), minlength=256), count_values(image)
    values = {int(value): int(pixels[value]) for value in np.flatnonzero(pixels)}
    moments = np.zeros((len(counts) - 1, 2), np.int64)
    if image.dtype == np.uint8:
        moments = counts[:-1] @ np.stack([np.arange(256), np.arange(256) ** 2], axis=1)
    kind = is_gray(image), count_channels(image), 8 * image.itemsize
    places = count_places(complete(image, mask), list(values))
    return PairRecord(name, image.shape[:2], values, *kind, moments, places), counts


def count_values(image: np.ndarray) -> np.ndarray:
    """(C + 2, 256 or 65536) int64 pixels of each value: each channel, luminance, all channels together.

    A gray picture counts as three channels, alike in all rows. Only RGB has a luminance.
    """
    levels = np.iinfo(image.dtype).max + 1
    if image.ndim == 2:
        return np.tile(_count(image, levels), (5, 1))
    colors = [_count(np.ascontiguousarray(channel), levels) for channel in np.moveaxis(image, 2, 0)]
    if len(colors) != 3:
        return np.stack([*colors, np.zeros(levels, np.int64), sum(colors)])
    bands = np.array_split(image, -(-image[..., 0].size // BAND))
    luminance = sum(_count(to_channels(band, 1)[..., 0], levels) for band in bands)
    return np.stack([*colors, luminance, sum(colors)])


def _count(values: np.ndarray, levels: int) -> np.ndarray:
    # Four times as fast as numpy.bincount. It counts in float32, which is exact up to 2²⁴ pixels.
    if values.size < 1 << 24:
        return cv2.calcHist([values], [0], None, [levels], [0, levels]).ravel().astype(np.int64)
    return np.bincount(values.ravel(), minlength=levels)


def summarise_pictures(records: Sequence[PairRecord], counts_16bit: np.ndarray) -> PictureStatistics:
    """Statistics of the pictures. counts_16bit: (C + 2, 65536), `count_values` of those of 16 bits, summed;
    (1, 65536) zeros without any.
    """
    moments = sum(record.moments / (255, 255**2) for record in records)
    channels = 1 if all(record.gray for record in records) else max(record.channels for record in records)
    limits = find_range(counts_16bit[-1])
    if limits:
        ranges = [limits] * 4 if is_photo(channels) else tuple(map(find_range, counts_16bit[:channels]))
        limits = limits if is_photo(channels) else ranges
        for row, counts, each in zip(moments, counts_16bit, ranges, strict=False):
            values = stretch(np.arange(65536, dtype=np.uint16), each) / 65535
            row += counts @ np.stack([values, values**2], axis=1)
    pixels = sum(record.pixels for record in records)
    return PictureStatistics(channels, limits, pixels, moments)


def find_range(counts: np.ndarray) -> tuple[int, int] | None:
    """The 0.1 and 99.9 percentile of 16-bit values, counts: (65536,); None where there are none.

    A camera of 12 bits fills a sixteenth of the range; without this, brightness changes made for the full
    range drown it.
    """
    if not counts.any():
        return None
    low, high = np.searchsorted(counts.cumsum(), counts.sum() * np.array([0.001, 0.999]))
    return int(low), max(int(high), int(low) + 1)


def write_dataset_file(folder: VocFolder, content: Mapping, records: Sequence[PairRecord]) -> None:
    """Write `content` and the records to dataset.json, one line per pair, so that it stays readable."""
    pairs, pictures, places = {}, {}, {}
    for one in records:
        values = [f"{value}:{pixels}" for value, pixels in one.values.items()]
        pairs[one.name] = " ".join([f"{one.size[0]}×{one.size[1]}", *values])
        moments = [f"{total}:{squares}" for total, squares in one.moments.tolist()]
        kind = "gray" if one.gray else "color"
        pictures[one.name] = " ".join([kind, str(one.channels), str(one.bits), *moments])
        places[one.name] = " ".join(map(str, one.places.ravel().tolist()))
    content = {"format": FORMAT, "fingerprint": _fingerprint(folder, list(pairs)), **content}
    content |= {"pairs": pairs, "pictures": pictures, "places": places}
    write_lines(folder.root / "dataset.json", [json.dumps(content, ensure_ascii=False, indent=1)])


def read_survey(folder: VocFolder, train: Sequence[str], others: Sequence[str] = ()) -> Survey | None:
    """What `survey_pairs` would find, from dataset.json.

    None where the file is missing, of an earlier version or older than a picture or mask that it lists, and
    for training pictures of 16 bits, whose histograms it does not hold.
    """
    try:
        content = json.loads((folder.root / "dataset.json").read_text(encoding="utf-8"))
        pairs, pictures, places = (content[key] for key in ("pairs", "pictures", "places"))
        if content["format"] != FORMAT or content["fingerprint"] != _fingerprint(folder, list(pairs)):
            return None
        records = [
            _parse_record(name, pairs[name], pictures[name], places[name]) for name in [*train, *others]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    measured = records[: len(train)]
    if any(record.bits == 16 for record in measured):
        return None
    return Survey(records, summarise_pictures(measured, np.zeros((1, 65536), np.int64)))


def _parse_record(name: str, pair: str, picture: str, places: str) -> PairRecord:
    size, *values = pair.split()
    kind, channels, bits, *moments = picture.split()
    height, width = map(int, size.split("×"))
    values = dict(tuple(map(int, value.split(":"))) for value in values)
    moments = np.array([list(map(int, moment.split(":"))) for moment in moments])
    counts = np.array(places.split(), np.int64).reshape(len(values), GRID, GRID)
    numbers = int(channels), int(bits)
    return PairRecord(name, (height, width), values, kind == "gray", *numbers, moments, counts)


def _fingerprint(folder: VocFolder, names: Sequence[str]) -> str:
    """Of the names, sizes and times of the files. Raises OSError or KeyError where one is missing."""
    total = blake2b(digest_size=16)
    for name in names:
        for path in (folder.images[name], folder.mask_path(name)):
            state = path.stat()
            total.update(f"{path.name}|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return total.hexdigest()
