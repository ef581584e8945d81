"""Pictures and masks written row by row: PNG, and TIFF where PNG viewers give up.

tifffile and pypng ask for their rows, but several files grow together. So a thread encodes each file.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import png
import tifffile

from utils.core.files import replacing
from utils.core.threads import consumer_thread

PNG_PIXELS = 178_956_970  # Pillow and what is built on it refuse more
TILE = 512
BIGTIFF_BYTES = 1 << 31  # of pixels; offsets of 32 bits end at 4 GB
LEVEL = 6  # of deflate


@dataclass(frozen=True)
class RowWriter:
    push: Callable[[np.ndarray], None]

    def write(self, rows: np.ndarray) -> None:
        """Append rows (h, W) or (h, W, 3). They are copied: a view would keep the whole band in memory."""
        self.push(np.array(rows))


@contextmanager
def row_writer(
    path: Path, shape: Sequence[int], dtype: type = np.uint8, palette: np.ndarray | None = None
) -> Iterator[RowWriter]:
    """Open a .png or .tif of `shape` (H, W) or (H, W, 3), uint8 or uint16; write its rows from the top.

    palette: (256, 3) uint8 colours of class indices. At the end the file is whole or absent: see `replacing`.
    """
    encode = _encode_tiff if path.suffix == ".tif" else _encode_png
    with replacing(path) as temporary:

        def consume(bands: Iterator[np.ndarray]) -> None:
            encode(temporary, bands, tuple(shape), np.dtype(dtype), palette)

        with consumer_thread(consume) as push:
            yield RowWriter(push)


def _encode_png(
    path: Path,
    bands: Iterator[np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
    palette: np.ndarray | None,
) -> None:
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


def _encode_tiff(
    path: Path,
    bands: Iterator[np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
    palette: np.ndarray | None,
) -> None:
    if palette is not None:
        colours = {"photometric": "palette", "colormap": palette.T.astype(np.uint16) * 257}
    elif len(shape) == 3:
        colours = {"photometric": "rgb", "planarconfig": "contig"}
    else:
        colours = {"photometric": "minisblack"}
    tifffile.imwrite(
        path,
        _tiles(bands, shape, dtype),
        shape=shape,
        dtype=dtype,
        tile=(TILE, TILE),
        compression="zlib",
        compressionargs={"level": LEVEL},
        predictor=palette is None,
        bigtiff=np.prod(shape, dtype=np.int64) * dtype.itemsize >= BIGTIFF_BYTES,
        metadata=None,
        # One row of tiles: tifffile would collect 256 MB for its threads.
        buffersize=TILE * int(np.prod(shape[1:])) * dtype.itemsize,
        **colours,
    )


def _tiles(bands: Iterator[np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> Iterator[np.ndarray]:
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
