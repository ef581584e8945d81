"""Writing pictures and masks, at once or row by row: PNG, and TIFF where PNG viewers give up."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import png
import tifffile
from PIL import Image

from utils.core.files import replacing
from utils.core.threads import consumer_thread
from utils.images.palette import voc_palette

PNG_PIXELS = 178_956_970  # Pillow and what is built on it refuse more
TILE = 512
BIGTIFF_BYTES = 1 << 31  # of pixels; offsets of 32 bits end at 4 GB
LEVEL = 6  # of deflate


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write (H, W), (H, W, 3) or (H, W, 4) uint8, or (H, W) or (H, W, 3) uint16, in the suffix's format.

    Other channels, and four in a .tif, need a TIFF.
    """
    with replacing(Path(path)) as temporary:
        if temporary.suffix == ".tif" and image.ndim == 3 and image.shape[2] != 3:
            options = {"photometric": "minisblack", "planarconfig": "contig", "compression": "zlib"}
            tifffile.imwrite(temporary, image, metadata=None, predictor=True, **options)
        elif image.dtype == np.uint16 and image.ndim == 3:
            # Pillow has no colours of 16 bits.
            temporary.write_bytes(cv2.imencode(temporary.suffix, image[..., ::-1])[1].tobytes())
        else:
            Image.fromarray(image).save(temporary)


def write_mask(path: str | Path, mask: np.ndarray) -> None:
    """Write class indices (H, W) uint8 as a palette PNG in VOC colours; pixel values are the indices."""
    image = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8))
    image.putpalette(voc_palette().ravel().tolist())
    with replacing(Path(path)) as temporary:
        image.save(temporary)


@dataclass
class RowWriter:
    push: Callable[[np.ndarray], None]
    missing: int  # rows

    def write(self, rows: np.ndarray) -> None:
        """Append rows (h, W) or (h, W, 3), copied: a view would keep the whole band in memory.

        Raises ValueError for more rows than the picture has.
        """
        if len(rows) > self.missing:
            raise ValueError(f"{len(rows)} rows; only {self.missing} are missing")
        self.missing -= len(rows)
        self.push(np.array(rows))


@contextmanager
def row_writer(
    path: Path, shape: Sequence[int], dtype: type = np.uint8, palette: np.ndarray | None = None
) -> Iterator[RowWriter]:
    """Open a .png or .tif of `shape` (H, W) or (H, W, 3), uint8 or uint16; write its rows from the top.

    palette: (256, 3) uint8 colours of class indices. At the end the file is whole or absent: see `replacing`.
    Raises ValueError there if rows are missing. tifffile and pypng ask for their rows, but several files grow
    together. So a thread encodes each file.
    """
    encode = _encode_tiff if path.suffix == ".tif" else _encode_png
    with (
        replacing(path) as temporary,
        consumer_thread(partial(encode, temporary, tuple(shape), np.dtype(dtype), palette)) as push,
    ):
        writer = RowWriter(push, shape[0])
        yield writer
        if writer.missing:
            raise ValueError(f"{path}: {writer.missing} of {shape[0]} rows were never written")


Shape, Palette, Bands = tuple[int, ...], np.ndarray | None, Iterator[np.ndarray]


def _encode_png(path: Path, shape: Shape, dtype: np.dtype, palette: Palette, bands: Bands) -> None:
    # pypng does not filter rows, which leaves predictions at 0.9 to 1.1 times the size.
    big_endian = (band.astype(dtype.newbyteorder(">"), copy=False) for band in bands)
    rows = (row for band in big_endian for row in band.reshape(len(band), -1).view(np.uint8))
    writer = png.Writer(
        shape[1],
        shape[0],
        greyscale=len(shape) == 2 and palette is None,
        bitdepth=8 * dtype.itemsize,
        palette=None if palette is None else [tuple(colour) for colour in palette.tolist()],
        compression=LEVEL,
    )
    with path.open("wb") as file:
        writer.write_packed(file, rows)


def _encode_tiff(path: Path, shape: Shape, dtype: np.dtype, palette: Palette, bands: Bands) -> None:
    gray = "minisblack" if palette is None else "palette"
    tifffile.imwrite(
        path,
        _tiles(bands, shape, dtype),
        shape=shape,
        dtype=dtype,
        photometric="rgb" if len(shape) == 3 else gray,
        planarconfig="contig" if len(shape) == 3 else None,
        colormap=None if palette is None else palette.T.astype(np.uint16) * 257,
        tile=(TILE, TILE),
        compression="zlib",
        compressionargs={"level": LEVEL},
        predictor=palette is None,
        bigtiff=np.prod(shape, dtype=np.int64) * dtype.itemsize >= BIGTIFF_BYTES,
        metadata=None,
        # One row of tiles: tifffile would collect 256 MB for its threads.
        buffersize=TILE * int(np.prod(shape[1:])) * dtype.itemsize,
    )


def _tiles(bands: Bands, shape: Shape, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Bands of any height → tiles of at most TILE×TILE, row by row."""
    block, filled, left = np.empty((TILE, *shape[1:]), dtype), 0, shape[0]
    for band in bands:
        while len(band):
            part, band = np.split(band, [min(TILE, left) - filled])
            block[filled : filled + len(part)] = part
            filled += len(part)
            if filled == min(TILE, left):
                # Copies: tifffile's threads encode them while the block is filled again.
                yield from (block[:filled, x : x + TILE].copy() for x in range(0, shape[1], TILE))
                left, filled = left - filled, 0
