"""Pictures that need not fit in memory: large TIFFs are read by windows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from tifffile import COMPRESSION, PHOTOMETRIC, TiffPage

from utils.core.console import quoted, warn
from utils.images.reading import DECODE_ERRORS, damaged_picture, read_image

LARGE_PIXELS = 1 << 25  # pictures above are predicted band by band
STRIP_BYTES = 1 << 26  # a compressed strip or tile that is larger gains nothing from windows
TIFF_ERRORS = (tifffile.TiffFileError, RuntimeError, *DECODE_ERRORS)
GRAY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
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
    """`read_image`, or for a large TIFF what reads its rows when they are asked for. Raises UserError."""
    windows = open_windows(Path(path), LARGE_PIXELS)
    return read_image(path, floats=True) if windows is None else windows


def open_windows(path: Path, above: int) -> "TiffWindows | None":
    """The rows of a TIFF of more than `above` pixels; None for files that have to be read whole."""
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            if len(file.pages) > 1:
                command = "python import_dataset.py --format stack --voc-root VOCdevkit/stack"
                found = f"{path} has {len(file.pages)} pages; only the first is read"
                warn(f"{found}. A picture of each: {command} --images {quoted(path)}")
            if page.imagelength * page.imagewidth <= above or not can_be_windowed(page):
                return None
            orientation = int(page.tags.valueof("Orientation", default=1))
            height, width = (page.imagelength, page.imagewidth)[:: -1 if orientation >= 5 else 1]
            shape = (height, width) if page.photometric in GRAY else (height, width, 3)
            return TiffWindows(path, shape, orientation)
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

    shape: (H, W) or (H, W, 3), upright; orientation: the EXIF code, 1 to 8.
    """

    path: Path
    shape: tuple[int, ...]
    orientation: int = 1

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Raises UserError where the file is damaged, or its compression is not installed."""
        top, bottom, _ = rows.indices(self.shape[0])
        transposed = self.orientation >= 5
        down = -1 if self.orientation in (3, 4, 7, 8) else 1
        across = -1 if self.orientation in (2, 3, 6, 7) else 1
        if down < 0:
            top, bottom = self.shape[0] - bottom, self.shape[0] - top
        box = slice(top, bottom), slice(None)
        try:
            with tifffile.TiffFile(self.path) as file:
                page = file.pages.first
                pixels = to_picture(read_box(page, *box[:: -1 if transposed else 1]), page)
        except TIFF_ERRORS as error:
            raise damaged_picture(self.path, error) from None
        upright = pixels.swapaxes(0, 1) if transposed else pixels
        return np.ascontiguousarray(upright[::down, ::across])


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
        stored = tifffile.memmap(handle.path, page=0, mode="r").view(np.ndarray)
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


def to_picture(values: np.ndarray, page: TiffPage) -> np.ndarray:
    """Stored values (h, w, samples) → (h, w) gray or (h, w, 3) RGB, uint8 or uint16, as from `read_image`."""
    if page.photometric == PHOTOMETRIC.PALETTE:
        return (page.colormap >> 8).astype(np.uint8).T[values[..., 0].astype(np.uint16)]
    if page.photometric == PHOTOMETRIC.SEPARATED:
        return np.asarray(Image.fromarray(np.ascontiguousarray(values[..., :4]), "CMYK").convert("RGB"))
    if page.photometric not in GRAY:
        return values[..., :3]
    gray = values[..., 0]
    gray = gray * np.uint8(255 // (2**page.bitspersample - 1)) if page.bitspersample < 8 else gray
    return np.iinfo(gray.dtype).max - gray if page.photometric == PHOTOMETRIC.MINISWHITE else gray
