"""Pictures that need not fit in memory: large TIFFs are read by windows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from tifffile import COMPRESSION, PHOTOMETRIC, PLANARCONFIG, TiffPage

from utils.core.console import UserError, quoted, warn
from utils.images.reading import DECODE_ERRORS, read_image

LARGE_PIXELS = 1 << 25  # pictures above are predicted band by band
STRIP_BYTES = 1 << 26  # a compressed strip or tile that is larger gains nothing from windows
TIFF_ERRORS = (tifffile.TiffFileError, RuntimeError, *DECODE_ERRORS)
JPEG = {COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.JPEG_LOSSY, COMPRESSION.ALT_JPEG}
COLOURS = {
    PHOTOMETRIC.MINISBLACK,
    PHOTOMETRIC.MINISWHITE,
    PHOTOMETRIC.RGB,
    PHOTOMETRIC.PALETTE,
    PHOTOMETRIC.SEPARATED,
    PHOTOMETRIC.YCBCR,
}


def open_picture(path: str | Path) -> "np.ndarray | TiffWindows":
    """`read_image`, or for a large TIFF what reads its rows when they are asked for. Raises UserError."""
    windows = open_windows(Path(path), LARGE_PIXELS)
    return read_image(path, floats=True) if windows is None else windows


def open_windows(path: Path, above: int) -> "TiffWindows | None":
    """The rows of a TIFF of more than `above` pixels; None for any other file and for TIFFs that are decoded in one piece."""
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            if len(file.pages) > 1:
                unpack = f"python import_dataset.py --format stack --images {quoted(path)} --voc-root VOCdevkit/stack"
                warn(
                    f"{path} has {len(file.pages)} pages; only the first is looked at. A picture of each: {unpack}"
                )
            if page.imagelength * page.imagewidth <= above or not can_be_windowed(page):
                return None
            turned = page.tags.valueof("Orientation", default=1)
            size = (page.imagelength, page.imagewidth)
            gray = page.photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
            shape = (*(size[::-1] if turned >= 5 else size), *(() if gray else (3,)))
            return TiffWindows(path, shape, int(turned))
    except TIFF_ERRORS:
        # `read_image` says what is wrong with it.
        return None


def can_be_windowed(page: TiffPage) -> bool:
    """Gray or palette of 1 … 16 bits, RGB and CMYK of 8 or 16, in pieces of a bearable size."""
    piece = page.tile[0] * page.tile[1] if page.is_tiled else page.rowsperstrip * page.imagewidth
    pieces = page.is_memmappable or piece * page.samplesperpixel * page.bitspersample // 8 <= STRIP_BYTES
    known = page.photometric in COLOURS and page.dtype in (np.bool_, np.uint8, np.uint16)
    # Others, which Pillow refuses, are left to it.
    odd = {
        PHOTOMETRIC.PALETTE: range(1, 17),
        PHOTOMETRIC.MINISBLACK: (1, 2, 4, 12),
        PHOTOMETRIC.MINISWHITE: (1, 2, 4),
    }
    known &= page.bitspersample in (8, 16, *odd.get(page.photometric, ()))
    known &= page.photometric != PHOTOMETRIC.SEPARATED or page.dtype == np.uint8
    return known and pieces and page.imagedepth == 1


@dataclass(frozen=True)
class TiffWindows:
    """Rows of a large TIFF on demand: `windows[top:bottom]` is what `read_image(path)[top:bottom]` would be.

    shape: (H, W) or (H, W, 3), upright; orientation: the EXIF code, 1 … 8.
    """

    path: Path
    shape: tuple[int, ...]
    orientation: int = 1

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Raises UserError where the file is damaged, or compressed by a method that is not installed."""
        top, bottom, _ = rows.indices(self.shape[0])
        transposed = self.orientation >= 5
        mirrored_rows, mirrored_columns = self.orientation in (3, 4, 7, 8), self.orientation in (2, 3, 6, 7)
        if mirrored_rows:
            top, bottom = self.shape[0] - bottom, self.shape[0] - top
        box = (
            (slice(0, self.shape[1]), slice(top, bottom))
            if transposed
            else (slice(top, bottom), slice(0, self.shape[1]))
        )
        try:
            with tifffile.TiffFile(self.path) as file:
                pixels = to_picture(read_box(file.pages.first, *box), file.pages.first)
        except TIFF_ERRORS as error:
            raise UserError(
                "getitem",
                self.path,
                f"a damaged or truncated picture ({(str(error) or type(error).__name__).splitlines()[0]})",
                "a TIFF that opens in an image viewer",
                "copy or export the file again",
            ) from None
        if transposed:
            pixels = pixels.swapaxes(0, 1)
        return np.ascontiguousarray(
            pixels[:: -1 if mirrored_rows else 1, :: -1 if mirrored_columns else 1].reshape(
                -1, *self.shape[1:]
            )
        )


def read_box(page: TiffPage, rows: slice, columns: slice) -> np.ndarray:
    """(h, w, samples) values as stored, from no more of the file than needed."""
    handle, samples = page.parent.filehandle, page.samplesperpixel
    separate = page.planarconfig == PLANARCONFIG.SEPARATE and samples > 1
    if page.is_memmappable and not separate and page.bitspersample >= 8:
        # Read, not mapped: mapped pages would count as memory in use.
        stored = page.dtype.newbyteorder(page.parent.byteorder)
        row = page.imagewidth * samples
        handle.seek(page.dataoffsets[0] + rows.start * row * stored.itemsize)
        values = np.frombuffer(read_all(handle, (rows.stop - rows.start) * row * stored.itemsize), stored)
        return values.astype(page.dtype).reshape(-1, page.imagewidth, samples)[:, columns]
    out = np.zeros((rows.stop - rows.start, columns.stop - columns.start, samples), page.dtype)
    height, width = page.tile if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    down, across = -(-page.imagelength // height), -(-page.imagewidth // width)
    tables = (
        {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression in JPEG else {}
    )
    for plane in range(samples if separate else 1):
        for y in range(rows.start // height, -(-rows.stop // height)):
            for x in range(columns.start // width, -(-columns.stop // width)):
                index = (plane * down + y) * across + x
                handle.seek(page.dataoffsets[index])
                data = read_all(handle, page.databytecounts[index])
                piece = page.decode(data, index, **tables)[0] if data else None
                if piece is not None:
                    top, left = max(rows.start, y * height), max(columns.start, x * width)
                    part = piece[0, top - y * height :, left - x * width :][
                        : rows.stop - top, : columns.stop - left
                    ]
                    down_to, right_to = top - rows.start + part.shape[0], left - columns.start + part.shape[1]
                    channels = slice(plane, plane + 1) if separate else slice(None)
                    out[top - rows.start : down_to, left - columns.start : right_to, channels] = part
    return out


def read_all(handle: tifffile.FileHandle, count: int) -> bytes:
    """The next `count` bytes of a file. Raises EOFError where there are fewer."""
    data = handle.read(count)
    if len(data) < count:
        raise EOFError("it ends too early")
    return data


def to_picture(values: np.ndarray, page: TiffPage) -> np.ndarray:
    """Stored values (h, w, samples) → (h, w) gray or (h, w, 3) RGB, uint8 or uint16, as `read_image` has them."""
    if page.photometric == PHOTOMETRIC.PALETTE:
        return (page.colormap >> 8).astype(np.uint8).T[values[..., 0].astype(np.uint16)]
    if page.photometric == PHOTOMETRIC.SEPARATED:
        return np.asarray(Image.fromarray(np.ascontiguousarray(values[..., :4]), "CMYK").convert("RGB"))
    if page.photometric not in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE):
        return values[..., :3]
    gray = values[..., 0]
    gray = gray * np.uint8(255 // (2**page.bitspersample - 1)) if page.bitspersample < 8 else gray
    return np.iinfo(gray.dtype).max - gray if page.photometric == PHOTOMETRIC.MINISWHITE else gray
