"""Multi-page TIFF stacks → VOC folder, page by page."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
from tifffile import TiffFile, TiffFileError, TiffPage

from utils.core.console import UserError, counted, progress
from utils.core.files import read_record
from utils.images.normalisation import floats_to_uint16
from utils.images.reading import DECODE_ERRORS
from utils.images.tiff import check_pages, read_layout
from utils.importing.transfer import Item, transfer
from utils.voc.folder import VocFolder, check_size
from utils.voc.scaling import record_scaling, widest_range

SAMPLE = 1 << 23  # values that a range is measured on; smaller stacks are measured whole
REACH = 7  # how far a range may exceed the percentiles, in their distance: 12 bits remain between them
# RuntimeError: what imagecodecs raises, which tifffile decodes with where it is installed.
TIFF_ERRORS = (TiffFileError, RuntimeError, *DECODE_ERRORS)


def import_stack(
    folder: VocFolder, images: Path, masks: Path | None, like: Path | None = None, overwrite: bool = False
) -> list[str]:
    """Unpack a stack of pictures, and one of as many labels, to STACK_000.png … Returns a summary.

    Pages of 8 or 16 bits, gray or RGB, keep their values. Others (float, signed, 32 bits) are scaled to 16
    bits over a range that scaling.json records. Raises UserError before anything is written.
    """
    name, scaling_path = images.stem.strip(), folder.root / "scaling.json"
    with open_stack(images) as pictures, open_stack(masks or images) as labels:
        values = check_pictures(images, pictures)
        low_high = None if values is None else choose_range(images, values, scaling_path, like)
        if masks:
            check_labels(masks, labels, images, pictures)
        digits = max(3, len(str(len(pictures) - 1)))
        items = []
        for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            page = f"{name}_{number:0{digits}d}.png"
            read = partial(read_picture, picture, low_high)
            items.append(Item(folder.images_dir / page, images, "picture", read))
            if masks:
                items.append(Item(folder.masks_dir / page, masks, "mask", partial(read_label, label)))
        summary = transfer(folder, items, {}, overwrite=overwrite)
        lines = [f"{counted(len(pictures), 'page')} of {name}: {summary}"]
    if low_high:
        lines.append(record_range(scaling_path, name, low_high))
    return lines


def record_range(scaling: Path, name: str, low_high: tuple[float, float]) -> str:
    """Write to scaling.json what became 0 and 65535. name: of the stack. Returns the line that says so."""
    record_scaling(scaling, {name: {"low": low_high[0], "high": low_high[1], "to": [0, 65535]}})
    span = "{:g} … {:g}".format(*low_high)
    return f"values {span} became 0 … 65535 (recorded in {scaling}); training stretches them"


def choose_range(images: Path, values: np.ndarray, scaling: Path, like: Path | None) -> tuple[float, float]:
    """The values that become 0 and 65535: those of `like`, or else one range for all stacks of the folder.

    The first stack's range holds all its values but outliers beyond REACH. Raises UserError for a later stack
    that exceeds it. Training stretches what it covers (`utils.voc.survey.find_range`).
    """
    if like:
        return widest_range(like)
    if not read_record(scaling):
        return usual_range(values)
    low, high = np.percentile(values, (0.1, 99.9)).tolist()
    lowest, highest = widest_range(scaling)
    if not lowest <= low <= high <= highest:
        found, expected = f"values of {low:g} … {high:g}", f"{lowest:g} … {highest:g}, as in {scaling}"
        remedy = "import the data of the widest range first, or each into a folder of its own (--voc-root)"
        raise UserError("stack-range", images, found, expected, remedy)
    return lowest, highest


def usual_range(values: np.ndarray) -> tuple[float, float]:
    """All values but outliers."""
    low, high = np.percentile(values, (0.1, 99.9)).tolist()
    reach = REACH * (high - low) or np.inf
    return max(float(values.min()), low - reach), min(float(values.max()), high + reach)


def sample_values(values: np.ndarray, most: int = 1 << 16) -> np.ndarray:
    """Finite values (n,) spread over all of them, the smallest and the largest among them: a copy."""
    finite = values[np.isfinite(values)]
    if finite.size <= most:
        return finite
    return np.append(finite[:: -(-finite.size // most)], [finite.min(), finite.max()])


@contextmanager
def open_stack(path: Path) -> Iterator[list[TiffPage]]:
    """The pages of a TIFF, their pixels not yet read. Raises UserError: no TIFF, a broken list of pages."""
    if not path.exists():
        raise UserError("stack-missing", path, "no such file", "a multi-page TIFF", "check the path")
    with tiff_errors(path):
        stack = TiffFile(path)
    with stack:
        with tiff_errors(path):
            pages = list(stack.pages)
            check_pages(stack)
            if len(pages) == 1 and stack.is_imagej and len(stack.series[0].shape) > pages[0].ndim:
                raise TiffFileError(
                    "one directory for all pages, as ImageJ writes beyond 4 GB: save it in parts"
                )
            layout = read_layout(stack)
        if len(layout.pages) > 1 and layout.left_out:
            found = f"{layout.left_out} of {layout.channels} channels"
            remedy = "save each with its channels as a file of its own (docs/data.md, Channels and pages)"
            raise UserError("stack-channels", path, found, "a picture on each page", remedy)
        yield pages


@contextmanager
def tiff_errors(subject: object) -> Iterator[None]:
    """Raise a UserError, which names `subject`, for what tifffile and its decoders raise for bad files."""
    try:
        yield
    except TIFF_ERRORS as error:
        found, expected = f"an unreadable TIFF ({error})", "a TIFF that opens in ImageJ with all its pages"
        decoder = "imagecodecs" in str(error)
        remedy = "pip install imagecodecs, or save it" if decoder else "copy or export it again,"
        raise UserError("tiff-unreadable", subject, found, expected, f"{remedy} uncompressed") from None


def check_pictures(path: Path, pages: Sequence[TiffPage]) -> np.ndarray | None:
    """Read every page. Returns finite values (n,), a sample of many, or None where pages keep their values.

    Raises UserError for pages that are neither gray nor RGB, of different types, or without a finite value.
    """
    keep = {page.dtype in (np.uint8, np.uint16, np.bool_) for page in pages}
    samples = []
    for page in progress(pages, "checking", "page"):
        pixels = read_page(page)
        if pixels.shape[2:] not in ((), (3,)) or pixels.dtype.kind not in "biuf" or len(keep) > 1:
            found, expected = (
                f"shape {page.shape}, type {page.dtype}",
                "(height, width[, 3]), one type for all",
            )
            remedy = "split channels, or unify the pages, in ImageJ"
            raise UserError("page-kind", page_name(page), found, expected, remedy)
        if keep == {False}:
            samples.append(sample_values(pixels, max(1, SAMPLE // len(pages))))
    if not samples:
        return None
    values = np.concatenate(samples)
    if not values.size:
        raise UserError("no-finite-value", path, "no finite value in any page", "numbers", "export it again")
    return values


def page_name(page: TiffPage) -> str:
    return f"{page.parent.filehandle.path}, page {page.index + 1}"


def read_page(page: TiffPage) -> np.ndarray:
    """(H, W) or (H, W, C) values as stored, without alpha. Raises UserError."""
    with tiff_errors(page_name(page)):
        pixels = page.asarray()
    if pixels.ndim == 3:
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            pixels = np.moveaxis(pixels, 0, 2)
        # 0 marks a channel of unknown meaning, other numbers alpha.
        pixels = pixels[..., : pixels.shape[2] - np.count_nonzero(page.extrasamples)]
    return pixels[..., 0] if pixels.shape[2:] == (1,) else pixels


def read_picture(page: TiffPage, low_high: tuple[float, float] | None) -> np.ndarray:
    """(H, W) or (H, W, 3), uint8 or uint16, as viewers show it: colour tables and inverted gray applied."""
    pixels = read_page(page)
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        return (page.colormap >> 8).astype(np.uint8).T[pixels]
    if low_high:
        return floats_to_uint16(pixels, *low_high)
    if pixels.dtype == np.bool_:
        pixels = pixels * np.uint8(255)
    white_is_zero = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    return np.iinfo(pixels.dtype).max - pixels if white_is_zero else pixels


def check_labels(path: Path, labels: Sequence[TiffPage], images: Path, pictures: Sequence[TiffPage]) -> None:
    """Raises UserError for another number of pages, other sizes, or values that are no class indices."""
    if len(labels) != len(pictures):
        expected = f"as many as {images} has: {len(pictures)}"
        remedy = "pass the label stack that belongs to this picture stack"
        raise UserError("page-count", path, f"{len(labels)} pages", expected, remedy)
    for label, picture in progress(zip(labels, pictures, strict=True), "checking", "page", len(labels)):
        size = picture.imagelength, picture.imagewidth
        check_size(page_name(label), read_label(label), page_name(picture), size)


def read_label(page: TiffPage) -> np.ndarray:
    """(H, W) uint8 of the stored values, whatever their type. Raises UserError for others than 0 … 255."""
    values = read_page(page)
    if values.ndim != 2 or not np.isin(values, np.arange(256)).all():
        found = f"values from {values.min():g} to {values.max():g}, shape {values.shape}"
        remedy = "export class indices; give objects that are numbered one by one the number of their class"
        raise UserError("label-values", page_name(page), found, "whole numbers 0 … 255, one channel", remedy)
    return values.astype(np.uint8)
