"""Pictures that need not fit in memory: large TIFFs are read by windows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC, TiffPage

from utils.core.console import warn
from utils.images.arrays import Limits, display_limits
from utils.images.file_types import refuse_foreign
from utils.images.reading import TIFF_ERRORS, damaged_picture, find_unread, read_image
from utils.images.tiff import MOST_CHANNELS, orientation_of, read_layout, to_picture, turn_of, upright

LARGE_PIXELS = 1 << 25  # pictures above are predicted band by band
STRIP_BYTES = 1 << 26  # a compressed strip or tile that is larger gains nothing from windows
JPEG = {COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.JPEG_LOSSY, COMPRESSION.ALT_JPEG}
# Bits per value that are read by windows. Other TIFFs are left to `read_image`.
BITS = {
    PHOTOMETRIC.MINISBLACK: (1, 2, 4, 8, 12, 16),
    PHOTOMETRIC.MINISWHITE: (1, 2, 4, 8, 16),
    PHOTOMETRIC.RGB: (8, 16),
    PHOTOMETRIC.YCBCR: (8, 16),
    PHOTOMETRIC.PALETTE: range(1, 17),
    PHOTOMETRIC.SEPARATED: (8,),
}


def open_picture(path: str | Path) -> "np.ndarray | TiffWindows":
    """`read_image`, or for a large TIFF what reads its rows when they are asked for. Raises UserError.

    Warns of pages that are not read.
    """
    refuse_foreign(Path(path))
    if unread := find_unread(path):
        warn(f"{path}: {unread.found}; {unread.remedy}")
    windows = open_windows(Path(path), LARGE_PIXELS)
    return read_image(path, floats=True) if windows is None else windows


def open_windows(path: Path, above: int) -> "TiffWindows | None":
    """The rows of a TIFF of more than `above` pixels; None for files that have to be read whole."""
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            if page.imagelength * page.imagewidth <= above or not can_be_windowed(page):
                return None
            layout, orientation = read_layout(file), orientation_of(page)
            if layout.channels > MOST_CHANNELS:
                return None
            height, width = (page.imagelength, page.imagewidth)[:: -1 if orientation >= 5 else 1]
            shape = (height, width) if layout.channels == 1 else (height, width, layout.channels)
            return TiffWindows(path, shape, orientation, layout.pages)
    except TIFF_ERRORS:
        # `read_image` reports what is wrong with it.
        return None


def can_be_windowed(page: TiffPage) -> bool:
    """Gray or palette of 1 to 16 bits, RGB and CMYK of 8 or 16, in pieces of a bearable size."""
    piece = np.prod(page.chunks, dtype=np.int64) * page.bitspersample // 8
    return (
        page.bitspersample in BITS.get(page.photometric, ())
        and page.dtype in (np.bool_, np.uint8, np.uint16)
        and page.imagedepth == 1
        and bool(page.is_memmappable or piece <= STRIP_BYTES)
    )


@dataclass(frozen=True)
class TiffWindows:
    """Rows of a large TIFF on demand: `windows[top:bottom]` equals `read_image(path)[top:bottom]`.

    So does `windows[top:bottom, left:right]`, which decodes fewer tiles.

    shape: (H, W) or (H, W, channels), upright; orientation: the EXIF code, 1 to 8; pages: see `Layout`.
    """

    path: Path
    shape: tuple[int, ...]
    orientation: int = 1
    pages: tuple[int, ...] = (0,)

    def __getitem__(self, box: slice | tuple[slice, slice]) -> np.ndarray:
        """Raises UserError where the file is damaged, or its compression is not installed."""
        rows, columns = box if isinstance(box, tuple) else (box, slice(None))
        transposed, down, across = turn_of(self.orientation)
        box = stored(rows, self.shape[0], down), stored(columns, self.shape[1], across)
        box = box[:: -1 if transposed else 1]
        try:
            with tifffile.TiffFile(self.path) as file:
                pages = [file.pages[number] for number in self.pages]
                planes = [to_picture(read_box(page, *box), page) for page in pages]
        except TIFF_ERRORS as error:
            raise damaged_picture(self.path, error) from None
        return upright(planes[0] if len(planes) == 1 else np.dstack(planes), self.orientation)


def stored(span: slice, length: int, step: int) -> slice:
    """Where rows or columns of an upright picture are in its file. step: -1 where that is mirrored."""
    start, stop, _ = span.indices(length)
    return slice(length - stop, length - start) if step < 0 else slice(start, stop)


def read_box(page: TiffPage, rows: slice, columns: slice) -> np.ndarray:
    """(h, w, samples) values as stored, from the strips or tiles that the box touches, decoded by tifffile.

    On 20,000×20,000 RGB in bands of 1,700 rows this loop peaks at 265 MiB. pyvips takes up to 577 MiB and
    twice the time, zarr 254 MiB and 1.2 to 1.4 times the CPU time, and it prints hundreds of lines of
    tracebacks when a strip is damaged.
    """
    (top, bottom, _), (left, right, _) = rows.indices(page.imagelength), columns.indices(page.imagewidth)
    handle = page.parent.filehandle
    if page.is_memmappable:
        # Mapped anew for each box, because mapped pages count as memory in use.
        stored = tifffile.memmap(handle.path, page=page.index, mode="r").view(np.ndarray)
        stored = np.moveaxis(stored, page.axes.index("S"), -1) if "S" in page.axes else stored[..., None]
        return stored[top:bottom, left:right].astype(page.dtype)
    out = np.zeros((bottom - top, right - left, page.samplesperpixel), page.dtype)
    height, width = page.tile if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    down, across = slice(top // height, -(-bottom // height)), slice(left // width, -(-right // width))
    touched = tuple({"Y": down, "X": across}.get(axis, slice(None)) for axis in page.axes)
    pieces = np.arange(np.prod(page.chunked)).reshape(page.chunked)[touched]
    jpeg = page.compression in JPEG
    tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if jpeg else {}
    for index in pieces.ravel().tolist():
        size = page.databytecounts[index]
        handle.seek(page.dataoffsets[index])
        data = handle.read(size)
        if len(data) < size:
            raise EOFError("it ends too early")
        # What a sparse TIFF leaves out stays zero.
        if size:
            piece, (plane, _, y, x, _), _ = page.decode(data, index, **tables)
            inside = piece[0, max(top - y, 0) : bottom - y, max(left - x, 0) : right - x]
            h, w, samples = inside.shape
            out[max(y - top, 0) :, max(x - left, 0) :, plane:][:h, :w, :samples] = inside
    return out


def display_range(picture: np.ndarray | TiffWindows) -> Limits | None:
    """`display_limits` of a picture; of a large one they are taken from 16 of its rows."""
    if picture.shape[0] * picture.shape[1] <= LARGE_PIXELS:
        return display_limits(picture[:])
    rows = np.linspace(0, picture.shape[0] - 1, 16).astype(int)
    return display_limits(np.concatenate([picture[y : y + 1] for y in rows]))
