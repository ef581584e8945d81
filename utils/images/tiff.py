"""What a TIFF holds, as tifffile sees it: which pages and samples are the picture, and what is left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image
from tifffile import PHOTOMETRIC, PLANARCONFIG, TiffFile, TiffFileError, TiffPage

MOST_CHANNELS = 16
GRAY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
AXES = {"C": "channels", "Z": "slices", "T": "points in time"}


@dataclass(frozen=True)
class Layout:
    """pages: numbers of those that are the picture: one per channel, or one that holds all channels.

    channels: 1 gray, 3 RGB, other numbers as they are; left_out: what is not read, "" for nothing.
    """

    pages: tuple[int, ...]
    channels: int
    left_out: str

    def is_usual(self, page: TiffPage) -> bool:
        """Whether it is gray or RGB in a form that Pillow and OpenCV decode. page: the first one."""
        if page.photometric == PHOTOMETRIC.RGB and self.channels == 3:
            return page.planarconfig != PLANARCONFIG.SEPARATE or page.bitspersample == 8
        return self.channels == 1 or page.photometric not in (*GRAY, PHOTOMETRIC.RGB)


def read_layout(file: TiffFile) -> Layout:
    """Pages are channels where the file says so (axis C of ImageJ and OME); of others the first is read.

    Raises TiffFileError for a broken list of pages.
    """
    page = file.pages.first
    samples = len(list_samples(page)) if page.photometric in (*GRAY, PHOTOMETRIC.RGB) else 3
    check_pages(file)
    if len(file.pages) == 1:
        return Layout((0,), samples, "")
    series = file.series[0]
    axes = {axis: size for axis, size in zip(series.axes, series.shape, strict=True) if axis not in "YXS"}
    pages, channels = (0,), samples
    if (
        samples == 1
        and page.photometric in GRAY
        and axes.get("C", 1) > 1
        and len(series.pages) == prod(axes.values())
    ):
        channels, after = axes.pop("C"), series.axes.split("C")[1]
        step = prod(size for axis, size in axes.items() if axis in after)
        pages = tuple(series.pages[number * step].index for number in range(channels))
    left_out = [f"{size} {AXES.get(axis, 'pages')}" for axis, size in axes.items() if size > 1]
    # Smaller copies and previews are no pictures of their own.
    others = sum(len(one.pages) for one in file.series[1:] if not one.keyframe.is_reduced)
    left_out += [f"{others + 1} pictures"] if others else []
    return Layout(pages, channels, ", ".join(left_out))


def describe_pages(data: bytes) -> str:
    """What a TIFF holds besides one picture or channel: `2 pages`; "" for nothing.

    Raises ValueError for a damaged file.
    """
    try:
        with TiffFile(BytesIO(data)) as file:
            layout = read_layout(file)
    except (RuntimeError, ArithmeticError, AttributeError, AssertionError, LookupError, TypeError) as error:
        raise ValueError(str(error)) from error
    channels = f"{len(layout.pages)} channels" * (len(layout.pages) > 1)
    return ", ".join(filter(None, (channels, layout.left_out)))


def check_pages(file: TiffFile) -> None:
    """Raises TiffFileError for a list of pages that breaks off; tifffile takes it to end there."""
    count = len(file.pages)
    # A whole one ends with 0 (TIFF 6.0, section 2).
    file.filehandle.seek(file.pages.next_page_offset)
    if not count or file.filehandle.read(file.tiff.offsetsize) != bytes(file.tiff.offsetsize):
        raise TiffFileError(f"its directory is broken after page {count}")


def list_samples(page: TiffPage) -> list[int]:
    """Places of the samples of a pixel that are no alpha: extra samples of unknown meaning are channels."""
    colours = page.samplesperpixel - len(page.extrasamples)
    return [*range(colours), *(colours + i for i, kind in enumerate(page.extrasamples) if not kind)]


def to_picture(values: np.ndarray, page: TiffPage) -> np.ndarray:
    """Stored values (h, w, samples) → (h, w) gray or (h, w, channels), uint8 or uint16, as `read_image`."""
    if page.photometric == PHOTOMETRIC.PALETTE:
        return (page.colormap >> 8).astype(np.uint8).T[values[..., 0].astype(np.uint16)]
    if page.photometric == PHOTOMETRIC.SEPARATED:
        return np.asarray(Image.fromarray(np.ascontiguousarray(values[..., :4]), "CMYK").convert("RGB"))
    if page.photometric not in (*GRAY, PHOTOMETRIC.RGB):
        return values[..., :3]
    values = values[..., list_samples(page)]
    values = values[..., 0] if values.shape[2] == 1 else values
    if page.photometric == PHOTOMETRIC.RGB:
        return values
    values = values * np.uint8(255 // (2**page.bitspersample - 1)) if page.bitspersample < 8 else values
    return np.iinfo(values.dtype).max - values if page.photometric == PHOTOMETRIC.MINISWHITE else values


def read_channels(source: Path | BytesIO, pages: Sequence[int]) -> np.ndarray:
    """The whole picture, upright, (H, W, channels) uint8 or uint16. Raises ValueError for other numbers."""
    with TiffFile(source) as file:
        planes = []
        for page in (file.pages[number] for number in pages):
            if page.dtype not in (np.uint8, np.uint16) or page.imagedepth > 1:
                raise ValueError(f"values of the type {page.dtype}")
            values = page.asarray()
            values = np.moveaxis(values, page.axes.index("S"), -1) if "S" in page.axes else values[..., None]
            planes.append(to_picture(values, page))
        return upright(planes[0] if len(planes) == 1 else np.dstack(planes), orientation_of(file.pages.first))


def orientation_of(page: TiffPage) -> int:
    """The EXIF code, 1 to 8."""
    return int(page.tags.valueof("Orientation", default=1))


def turn_of(orientation: int) -> tuple[bool, int, int]:
    """Whether rows and columns are exchanged, then the steps (1 or -1) down and across."""
    return (
        orientation >= 5,
        -1 if orientation in (3, 4, 7, 8) else 1,
        -1 if orientation in (2, 3, 6, 7) else 1,
    )


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored rows and columns (H, W[, C]) as they are to be seen."""
    transposed, down, across = turn_of(orientation)
    return np.ascontiguousarray((pixels.swapaxes(0, 1) if transposed else pixels)[::down, ::across])
