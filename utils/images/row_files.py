"""Pictures and masks written row by row: PNG, and TIFF where PNG viewers give up."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from utils.core.files import replacing

PNG_PIXELS = 178_956_970  # Pillow and what is built on it refuse more
TILE = 512


@contextmanager
def row_writer(
    path: Path, shape: Sequence[int], dtype: type = np.uint8, palette: np.ndarray | None = None
) -> "Iterator[PngBands | TiffBands]":
    """Gives an object whose `write(rows)` takes a picture (H, W) or (H, W, 3) from top to bottom; a .png or a .tif.

    palette: (256, 3) uint8 colours of class indices. The file is there at the end, whole, or not at all: see `replacing`.
    """
    kind = TiffBands if path.suffix == ".tif" else PngBands
    with replacing(path) as temporary, temporary.open("wb") as file:
        bands = kind(file, tuple(shape), np.dtype(dtype), palette)
        yield bands
        bands.close()


class PngBands:
    """A PNG (ISO/IEC 15948) written row by row."""

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype, palette: np.ndarray | None):
        self.file, self.compressor = file, zlib.compressobj(6)
        # A row as the difference to the one above packs better, except for class indices.
        self.above = None if palette is not None else np.zeros(np.prod(shape[1:]) * dtype.itemsize, np.uint8)
        colour_type = 3 if palette is not None else 2 if len(shape) == 3 else 0
        file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(
            b"IHDR", struct.pack(">IIBBBBB", shape[1], shape[0], 8 * dtype.itemsize, colour_type, 0, 0, 0)
        )
        if palette is not None:
            self._chunk(b"PLTE", palette.tobytes())

    def write(self, rows: np.ndarray) -> None:
        values = (
            np.ascontiguousarray(rows, rows.dtype.newbyteorder(">")).reshape(len(rows), -1).view(np.uint8)
        )
        lines = np.empty((len(rows), 1 + values.shape[1]), np.uint8)
        lines[:, 0], lines[:, 1:] = (0 if self.above is None else 2), values
        if self.above is not None:
            lines[1:, 1:] -= values[:-1]
            lines[0, 1:] -= self.above
            self.above = values[-1].copy()
        self._chunk(b"IDAT", self.compressor.compress(lines))

    def close(self) -> None:
        self._chunk(b"IDAT", self.compressor.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, name: bytes, data: bytes) -> None:
        self.file.write(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )


class TiffBands:
    """A tiled, deflated TIFF (TIFF 6.0, sections 2, 14 and 15) written row by row; BigTIFF from 2 GB of pixels on.

    tifffile's writer asks for its tiles; here several files grow together, each handed its rows as they are predicted.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype, palette: np.ndarray | None):
        self.file, self.shape, self.palette = file, (*shape, 1)[:3], palette
        self.big = np.prod(shape, dtype=np.int64) * dtype.itemsize >= 1 << 31
        self.waiting, self.places, self.sizes = np.empty((0, *self.shape[1:]), dtype), [], []
        file.write(b"\0" * 16)

    def write(self, rows: np.ndarray) -> None:
        self.waiting = np.concatenate((self.waiting, rows.reshape(len(rows), *self.shape[1:])))
        while len(self.waiting) >= TILE:
            self._write_tiles(self.waiting[:TILE])
            self.waiting = self.waiting[TILE:]

    def _write_tiles(self, rows: np.ndarray) -> None:
        for left in range(0, self.shape[1], TILE):
            tile = np.zeros((TILE, TILE, self.shape[2]), rows.dtype)
            part = rows[:, left : left + TILE]
            tile[: part.shape[0], : part.shape[1]] = part
            if self.palette is None:
                tile[:, 1:] = np.diff(tile, axis=1)
            data = zlib.compress(tile.astype(tile.dtype.newbyteorder("<"), copy=False), 6)
            self.places.append(self.file.tell())
            self.sizes.append(len(data))
            self.file.write(data)

    def close(self) -> None:
        """Write the last rows and the directory of tags."""
        if len(self.waiting):
            self._write_tiles(self.waiting)
        height, width, samples = self.shape
        number = ("Q", 16) if self.big else ("I", 4)
        tags = {
            256: ("I", 4, [width]),
            257: ("I", 4, [height]),
            258: ("H", 3, [8 * self.waiting.itemsize] * samples),
            259: ("H", 3, [8]),  # deflate
            262: ("H", 3, [3 if self.palette is not None else 2 if samples == 3 else 1]),
            277: ("H", 3, [samples]),
            317: ("H", 3, [1 if self.palette is not None else 2]),  # horizontal differences
            322: ("H", 3, [TILE]),
            323: ("H", 3, [TILE]),
            324: (*number, self.places),
            325: (*number, self.sizes),
        }
        if self.palette is not None:
            tags[320] = ("H", 3, (self.palette.T.astype(int) * 257).ravel().tolist())
        room, entries = (8 if self.big else 4), []
        for tag, (code, kind, values) in sorted(tags.items()):
            data = struct.pack(f"<{len(values)}{code}", *values)
            if len(data) > room:
                self.file.write(b"\0" * (self.file.tell() % 2))
                place = self.file.tell()
                self.file.write(data)
                data = struct.pack(f"<{number[0]}", place)
            entries.append(struct.pack(f"<HH{number[0]}", tag, kind, len(values)) + data.ljust(room, b"\0"))
        self.file.write(b"\0" * (self.file.tell() % 2))
        directory = self.file.tell()
        self.file.write(
            struct.pack("<Q" if self.big else "<H", len(entries)) + b"".join(entries) + b"\0" * room
        )
        self.file.seek(0)
        self.file.write(
            struct.pack("<2sHHHQ", b"II", 43, 8, 0, directory)
            if self.big
            else struct.pack("<2sHI", b"II", 42, directory)
        )
