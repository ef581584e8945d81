"""Bytes of picture files of every kind that people have, and the arrays that they hold."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

from utils.core.console import UserError

ORIENTATION = 0x0112
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), np.uint8)
GRAY = RGB[..., 0]
ALPHA = RGB[..., 1:2]
RGB16 = RNG.integers(0, 65536, (20, 30, 3), np.uint16)
GRAY16 = RGB16[..., 0]
BITS = np.where(GRAY > 127, 255, 0).astype(np.uint8)
PALETTED = Image.fromarray(RGB).quantize(16)
CLASSES = RNG.integers(0, 4, (20, 30)).astype(np.uint8)

FIVE = RNG.integers(0, 256, (20, 30, 5), np.uint8)
FIVE16 = FIVE * np.uint16(200)
PAGES, PAGES16 = (np.moveaxis(each, 2, 0).copy() for each in (FIVE, FIVE16))
CONTIGUOUS = {"photometric": "minisblack", "planarconfig": "contig"}
PLANES = {"photometric": "minisblack", "planarconfig": "separate"}


def pillow(image: Image.Image | np.ndarray, file_format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, file_format, **options)
    return stream.getvalue()


def opencv(image: np.ndarray, ending: str = ".png") -> bytes:
    bgr = image if image.ndim == 2 else np.concatenate([image[..., 2::-1], image[..., 3:]], axis=2)
    return cv2.imencode(ending, bgr)[1].tobytes()


def tiff(image: np.ndarray, orientation: int = 1, **options: object) -> bytes:
    stream = io.BytesIO()
    photometric = "rgb" if image.ndim == 3 else "minisblack"
    tags = [(ORIENTATION, "H", 1, orientation, True)]
    tifffile.imwrite(
        stream, image, **{"photometric": photometric, "extratags": tags, "metadata": None, **options}
    )
    return stream.getvalue()


def axes(names: str, **options: object) -> dict[str, object]:
    return {"metadata": {"axes": names}, "photometric": "minisblack", **options}


def png16(image: np.ndarray, colour_type: int, exif: bytes = b"") -> bytes:
    """A 16-bit PNG chunk by chunk (PNG specification, 5.3): Pillow writes none with colour or alpha."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 16, colour_type, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)
    middle = chunk(b"eXIf", exif) if exif else b""
    return b"\x89PNG\r\n\x1a\n" + header + middle + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """EXIF 2.3: which side of the stored picture is the top of the scene."""
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: np.rot90(a, 2),
        4: lambda a: a[::-1],
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
        8: lambda a: np.rot90(a, 1),
    }
    return turn[orientation](stored)


def save(folder: Path, data: bytes, name: str = "picture.png") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def assert_helpful(error: UserError, path: Path) -> None:
    """Design: file, found, expected, remedy."""
    assert str(path) in str(error)
    for part in (error.found, error.expected, error.remedy):
        assert part
        assert part in str(error)


EXACT = {
    "gray": (pillow(GRAY), GRAY),
    "gray with alpha": (pillow(np.dstack([GRAY, ALPHA])), GRAY),
    "RGB": (pillow(RGB), RGB),
    "RGBA": (pillow(np.dstack([RGB, ALPHA])), RGB),
    "palette": (pillow(PALETTED), np.array(PALETTED.convert("RGB"))),
    "1-bit": (pillow(Image.fromarray(BITS).convert("1")), BITS),
    "16-bit gray": (opencv(GRAY16), GRAY16),
    "16-bit gray with alpha": (png16(RGB16[..., :2], colour_type=4), GRAY16),
    "16-bit RGB": (opencv(RGB16), RGB16),
    "16-bit RGBA": (opencv(np.dstack([RGB16, GRAY16])), RGB16),
    "TIFF gray": (tiff(GRAY), GRAY),
    "TIFF RGB": (tiff(RGB), RGB),
    "TIFF RGB compressed": (pillow(RGB, "TIFF", compression="tiff_lzw"), RGB),
    "TIFF RGBA": (tiff(np.dstack([RGB, ALPHA]), extrasamples=["unassalpha"]), RGB),
    "TIFF 1-bit": (tiff(BITS > 0), BITS),
    "TIFF 16-bit gray": (tiff(GRAY16), GRAY16),
    "TIFF 16-bit gray, big-endian": (tiff(GRAY16, byteorder=">"), GRAY16),
    "TIFF 16-bit RGB": (tiff(RGB16), RGB16),
    "TIFF 16-bit RGB, big-endian": (tiff(RGB16, byteorder=">"), RGB16),
    "TIFF 16-bit RGB compressed": (tiff(RGB16, compression="zlib", predictor=True), RGB16),
    "TIFF 16-bit RGBA": (tiff(np.dstack([RGB16, GRAY16]), extrasamples=["unassalpha"]), RGB16),
    "BigTIFF 16-bit RGB": (tiff(RGB16, bigtiff=True), RGB16),
    "TIFF stack": (tiff(np.stack([GRAY, GRAY[::-1]]), photometric="minisblack"), GRAY),
    "TIFF 16-bit planes": (tiff(RGB16.transpose(2, 0, 1).copy(), planarconfig="separate"), RGB16),
    "TIFF RGB with an unnamed sample": (tiff(FIVE[..., :4], extrasamples=["unspecified"]), FIVE[..., :4]),
    "TIFF of 2 samples": (tiff(FIVE[..., :2], **CONTIGUOUS), FIVE[..., :2]),
    "TIFF gray with alpha": (tiff(FIVE[..., :2], **CONTIGUOUS, extrasamples=["unassalpha"]), FIVE[..., 0]),
    "TIFF of 5 samples": (tiff(FIVE, **CONTIGUOUS), FIVE),
    "TIFF of 5 samples, compressed": (tiff(FIVE, **CONTIGUOUS, compression="lzw", predictor=True), FIVE),
    "TIFF of 5 planes, big-endian": (tiff(PAGES, byteorder=">", **PLANES), FIVE),
    "TIFF of 5 planes in tiles": (tiff(PAGES, **PLANES, tile=(16, 16), compression="zlib"), FIVE),
    "TIFF of 5 inverted samples": (tiff(FIVE, **{**CONTIGUOUS, "photometric": "miniswhite"}), 255 - FIVE),
    "ImageJ channels": (tiff(PAGES16, **axes("CYX", imagej=True)), FIVE16),
    "ImageJ slices of channels": (
        tiff(
            np.stack([PAGES16, PAGES16 // 2]),
            imagej=True,
            metadata={"axes": "ZCYX"},
            photometric="minisblack",
        ),
        FIVE16,
    ),
    "ImageJ slices": (tiff(PAGES, **axes("ZYX", imagej=True)), PAGES[0]),
    "OME channels of slices": (
        tiff(
            np.stack([PAGES, PAGES[::-1]], axis=1),
            ome=True,
            metadata={"axes": "CZYX"},
            photometric="minisblack",
        ),
        FIVE,
    ),
    "BMP": (pillow(RGB, "BMP"), RGB),
    "GIF": (pillow(GRAY, "GIF"), np.repeat(GRAY[..., None], 3, axis=2)),
    "PPM": (pillow(RGB, "PPM"), RGB),
    "WebP": (pillow(RGB, "WEBP", lossless=True), RGB),
}
