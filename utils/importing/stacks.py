"""Multi-page TIFF stacks → VOC folders, page by page."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
from tifffile import TiffPage

from utils.core.console import UserError, counted, progress
from utils.core.files import read_record, write_lines
from utils.images.normalisation import floats_to_uint16
from utils.images.reading import DECODE_ERRORS
from utils.importing.transfer import Item, transfer
from utils.voc.folder import VocFolder, check_size
from utils.voc.scaling import widest_range

SAMPLE = 1 << 23  # numbers that a range is taken from; smaller stacks give all of theirs
# How far a range reaches beyond the percentiles, in their distance: outliers leave 12 bits for what lies between them.
REACH = 7
# RuntimeError: whatever imagecodecs raises, which tifffile decodes with where it is installed.
TIFF_ERRORS = (tifffile.TiffFileError, RuntimeError, *DECODE_ERRORS)
WHOLE_STACK = "a TIFF that opens in ImageJ with all its pages"


def import_stack(folder: VocFolder, images: Path, masks: Path | None, like: Path | None = None) -> list[str]:
    """Unpack a stack of pictures, and one of as many labels, to STACK_000.png … Returns what was done.

    Pages of 8 or 16 bits, gray or RGB, keep their values; others (float, signed, 32 bits) become 16 bits, over a range
    that scaling.json keeps: `like`, that of other data, or else one for all stacks of the folder, with room for whatever
    is trained on. The percentiles that a network sees are those of its training pictures (`utils.voc.survey.find_range`).
    Raises UserError before anything is written.
    """
    name, scaling_path = images.stem.strip(), folder.root / "scaling.json"
    with open_stack(images) as pictures:
        numbers = check_pictures(images, pictures)
        low_high = None if numbers is None else choose_range(images, numbers, scaling_path, like)
        names = [
            f"{name}_{number:0{max(3, len(str(len(pictures) - 1)))}d}.png" for number in range(len(pictures))
        ]
        readers = [partial(read_picture, page, low_high) for page in pictures]
        items = [
            Item(folder.images_dir / n, images, "picture", read)
            for n, read in zip(names, readers, strict=True)
        ]
        scaling = read_record(scaling_path)
        with open_stack(masks or images) as labels:
            if masks:
                check_labels(masks, labels, images, pictures)
                readers = [partial(read_label, page) for page in labels]
                items += [
                    Item(folder.masks_dir / n, masks, "mask", r) for n, r in zip(names, readers, strict=True)
                ]
            lines = [f"{counted(len(pictures), 'page')} of {name}: {transfer(folder, items, {})}"]
    if low_high:
        entry = {"low": low_high[0], "high": low_high[1], "to": [0, 65535]}
        if scaling.get(name) != entry:
            write_lines(scaling_path, [json.dumps({**scaling, name: entry}, indent=1, ensure_ascii=False)])
        lines.append(
            f"values {low_high[0]:g} … {low_high[1]:g} became 0 … 65535 (kept in {scaling_path}); training stretches them"
        )
    return lines


def choose_range(
    images: Path, numbers: np.ndarray, scaling_path: Path, like: Path | None
) -> tuple[float, float]:
    """The numbers that become 0 and 65535: those of `like`, or of the folder's other stacks, for a network sees one scale.

    Of a first stack all, but outliers no farther than REACH says. Raises UserError for a stack beyond the folder's others.
    """
    if like:
        return widest_range(like)
    low, high = np.percentile(numbers, (0.1, 99.9)).tolist()
    if not read_record(scaling_path):
        reach = REACH * (high - low) or np.inf
        return max(float(numbers.min()), low - reach), min(float(numbers.max()), high + reach)
    known = widest_range(scaling_path)
    if not known[0] <= low <= high <= known[1]:
        found, expected = (
            f"numbers of {low:g} … {high:g}",
            f"{known[0]:g} … {known[1]:g}, which is what {scaling_path} keeps",
        )
        remedy = (
            "import the stack with the widest numbers first, or each into a folder of its own (--voc-root)"
        )
        raise UserError("choose-range", images, found, expected, remedy)
    return known


@contextmanager
def open_stack(path: Path) -> Iterator[list[TiffPage]]:
    """The pages of a TIFF, their pixels not yet read. Raises UserError: no TIFF, a broken list of pages."""
    logger, faults = logging.getLogger("tifffile"), _Complaints()
    logger.addHandler(faults)
    logger.propagate, propagate = False, logger.propagate
    try:
        stack = tifffile.TiffFile(path)
        pages = list(stack.pages)
        truncated = len(pages) == 1 and stack.is_imagej and len(stack.series[0].shape) > pages[0].ndim
    except FileNotFoundError:
        raise UserError("open-stack", path, "no such file", "a multi-page TIFF", "check the path") from None
    except TIFF_ERRORS as error:
        raise _unreadable(path, str(error)) from None
    finally:
        logger.removeHandler(faults)
        logger.propagate = propagate
    with stack:
        # tifffile ends a list of pages where it breaks, and only logs that.
        if faults.texts or not pages:
            raise _unreadable(path, f"its directory is broken after page {len(pages)}")
        if truncated:
            raise _unreadable(
                path, "one directory for all pages, as ImageJ writes beyond 4 GB: save it in parts"
            )
        yield pages


class _Complaints(logging.Handler):
    """Collects what tifffile says about lists of pages."""

    def __init__(self):
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "TiffPages" in (text := record.getMessage()):
            self.texts.append(text)


def _unreadable(where: object, detail: str) -> UserError:
    remedy = "pip install imagecodecs, or save it" if "imagecodecs" in detail else "copy or export it again,"
    return UserError(
        "unreadable", where, f"a TIFF that cannot be read ({detail})", WHOLE_STACK, f"{remedy} uncompressed"
    )


def check_pictures(path: Path, pages: list[TiffPage]) -> np.ndarray | None:
    """Read every page. Returns its finite numbers (n,), of a large stack a sample, or None where pages keep their values.

    Raises UserError for pages of other kinds than gray and RGB, or without a finite number.
    """
    kept = {page.dtype in (np.uint8, np.uint16, np.bool_) for page in pages}
    samples = []
    for page in progress(pages, "checking", "page"):
        pixels = read_page(page)
        if pixels.shape[2:] not in ((), (3,)) or pixels.dtype.kind not in "biuf" or len(kept) > 1:
            found, remedy = (
                f"shape {page.shape}, type {page.dtype}",
                "split channels, or unify the pages, in ImageJ",
            )
            raise UserError(
                "check-pictures",
                subject(page),
                found,
                "pages (height, width) of one type, gray or RGB",
                remedy,
            )
        if kept == {False}:
            values = pixels[np.isfinite(pixels)]
            # A copy, for a view would hold the whole page.
            samples.append(values[:: max(1, -(-values.size * len(pages) // SAMPLE))].copy())
    if kept == {True}:
        return None
    values = np.concatenate(samples)
    if not values.size:
        raise UserError(
            "check-pictures", path, "no finite number in any page", "numbers", "export the stack again"
        )
    return values


def subject(page: TiffPage) -> str:
    return f"{page.parent.filehandle.path}, page {page.index + 1}"


def read_page(page: TiffPage) -> np.ndarray:
    """(H, W) or (H, W, C) values as stored; alpha is dropped. Raises UserError."""
    try:
        pixels = page.asarray()
    except TIFF_ERRORS as error:
        raise _unreadable(subject(page), str(error)) from None
    if pixels.ndim == 3 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim == 3:
        # 0 marks a channel of unknown meaning, other numbers alpha.
        pixels = pixels[..., : pixels.shape[2] - np.count_nonzero(page.extrasamples)]
    return pixels[..., 0] if pixels.shape[2:] == (1,) else pixels


def read_picture(page: TiffPage, low_high: tuple[float, float] | None) -> np.ndarray:
    """(H, W) or (H, W, 3), uint8 or uint16, as a viewer shows it: colour tables and inverted gray values applied."""
    pixels = read_page(page)
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        return (page.colormap >> 8).astype(np.uint8).T[pixels]
    if low_high:
        return floats_to_uint16(pixels, *low_high)
    if pixels.dtype == np.bool_:
        pixels = pixels * np.uint8(255)
    white_is_zero = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    return np.iinfo(pixels.dtype).max - pixels if white_is_zero else pixels


def check_labels(path: Path, labels: list[TiffPage], images: Path, pictures: list[TiffPage]) -> None:
    """Raises UserError: another number of pages, other sizes, values that are no class indices of 8 bits."""
    if len(labels) != len(pictures):
        remedy = "pass the label stack that belongs to this picture stack"
        raise UserError(
            "check-labels", path, f"{len(labels)} pages", f"as many as {images} has: {len(pictures)}", remedy
        )
    for label, picture in progress(zip(labels, pictures, strict=True), "checking", "page", len(labels)):
        check_size(subject(label), read_label(label), subject(picture), read_page(picture).shape[:2])


def read_label(page: TiffPage) -> np.ndarray:
    """(H, W) uint8 of the stored values, whatever their type. Raises UserError for others than 0 … 255."""
    values = read_page(page)
    if values.ndim != 2 or not np.isin(values, np.arange(256)).all():
        found = f"values from {values.min():g} to {values.max():g}, shape {values.shape}"
        remedy = "export class indices; objects that are numbered one by one must get their class's number"
        raise UserError("read-label", subject(page), found, "one channel of whole numbers 0 … 255", remedy)
    return values.astype(np.uint8)
