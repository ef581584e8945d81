"""Reading pictures and masks: the only place that decodes picture files."""

import io
import re
import struct
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import psutil
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from utils.core.console import UserError, quoted
from utils.core.files import read_bytes
from utils.core.packages import optional_package
from utils.images.file_types import PICTURE, PILLOW_TYPES, foreign_content, foreign_file, refuse_foreign
from utils.images.tiff import MOST_CHANNELS, Layout, describe_pages, read_channels, read_layout

Picture = str | Path | Image.Image | np.ndarray
# What Pillow and tifffile raise for damaged files of one format or another.
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, struct.error, zlib.error)
MODES = {"RGB": "colours", "RGBA": "colours with alpha", "LA": "gray with alpha", "I;16": "16-bit values"}
PNG = b"\x89PNG\r\n\x1a\n"
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
MASK_FORM = "an 8-bit PNG with one channel or a palette, whose pixel values are the class indices"
JPEG_2000 = b"\0\0\0\x0cjP  \r\n\x87\n"
TIFF_ERRORS = (RuntimeError, ArithmeticError, AttributeError, AssertionError, *DECODE_ERRORS)
DEFLATE_RATIO = 1032  # bytes that deflate makes of one at most
_PIXEL_LIMIT = threading.RLock()


def read_image(path: str | Path, floats: bool = False) -> np.ndarray:
    """A picture as (H, W) gray or (H, W, C), uint8 or uint16, turned upright by its EXIF orientation.

    C is 3 for RGB, and 2 … 16 for the channels of a TIFF. Gray with alpha, RGBA, CMYK, palette and 1-bit
    pictures are converted, and alpha is dropped. Of several frames the first is read, see `find_unread`.
    floats: gray pictures of floats keep them. Raises UserError for a file that is missing, empty, truncated,
    no picture, or holds 32-bit numbers.
    """
    path = Path(path)
    return decode_image(_read_file(path, "picture"), path, own=True, floats=floats)


def find_unread(path: str | Path) -> UserError | None:
    """A remark on what `read_image` leaves out of a file of several pictures; None for all others."""
    path, left_out = Path(path), ""
    # A damaged file is reported by `read_image`.
    with suppress(*TIFF_ERRORS, Image.DecompressionBombError):
        if path.suffix.lower() in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as file:
                left_out, channels = (layout := read_layout(file)).left_out, len(layout.pages)
        elif path.suffix.lower() in (".gif", ".webp"):
            with Image.open(path) as image:
                left_out, channels = f"{image.n_frames} frames" * (image.n_frames > 1), 0
    if not left_out:
        return None
    remedy = "save each as a file of its own (docs/data.md, Channels and pages)"
    if channels == 1:
        command = (
            f"python import_dataset.py --format stack --voc-root VOCdevkit/stack --images {quoted(path)}"
        )
        remedy = f"a picture of each: {command}; if they are channels of one picture, see docs/data.md"
    found = f"{left_out}, of which the first is read"
    return UserError("picture-pages", path, found, "one picture per file", remedy)


def decode_image(data: bytes, subject: str | Path, own: bool = False, floats: bool = False) -> np.ndarray:
    """Like `read_image`, from the bytes of a picture file; `subject` names them in messages.

    own: the user's own file, which may have more pixels than Pillow allows.
    """
    decode = partial(_decode, data, subject, floats)
    try:
        return allow_large(decode, data, subject) if own else decode()
    except UnidentifiedImageError:
        raise _not_a_picture(subject, data) from None
    except Image.DecompressionBombError as error:
        expected, remedy = "a picture of a usual size", "cut it into smaller pictures"
        raise UserError("picture-bomb", subject, str(error), expected, remedy) from None
    except (*DECODE_ERRORS, RuntimeError) as error:
        raise damaged_picture(subject, error) from None


def _decode(data: bytes, subject: str | Path, floats: bool) -> np.ndarray:
    tiff = _tiff_form(data)
    layout = _channel_layout(data, subject) if tiff and not tiff.is_plain else None
    if layout:
        return _decode_channels(data, subject, tiff, layout)
    if floats and tiff and (tiff.channels, tiff.kind) == (1, 3) and tiff.bits != 32:
        # Floats of 16 and 64 bits, which Pillow does not know.
        return tifffile.imread(io.BytesIO(data), key=0)
    if _is_deep_colour(data) or (tiff and tiff.channels > 1 and tiff.bits > 8):
        return _decode_deep_colour(data, subject, tiff)
    with _open_heif(data, subject) or open_with_pillow(data) as image:
        array = image_to_array(ImageOps.exif_transpose(image), subject, floats)
    # Where zero is white, Pillow inverts 8 bits, but not 16.
    white_is_zero = tiff and (tiff.bits, tiff.kind, tiff.photometric) == (16, 1, 0)
    return 65535 - array if white_is_zero else array


def open_with_pillow(data: bytes) -> Image.Image:
    """Pillow reads more types than we do."""
    image = Image.open(io.BytesIO(data))
    if image.format not in PILLOW_TYPES:
        raise UnidentifiedImageError(image.format)
    return image


def _open_heif(data: bytes, subject: str | Path) -> Image.Image | None:
    """The picture in a HEIC file, upright; None for any other file. Raises UserError without pillow-heif."""
    if data[4:8] != b"ftyp" or data[8:12] not in HEIF_BRANDS:
        return None
    return optional_package("pillow_heif", "pillow-heif", subject).open_heif(data).to_pillow()


def allow_large(decode: Callable[[], np.ndarray], data: bytes, subject: str | Path) -> np.ndarray:
    """`decode()`, without Pillow's limit of pixels if that refuses a file that is honest and fits in memory.

    The limit protects from decompression bombs and is a global of Pillow (`Image.MAX_IMAGE_PIXELS`). It is
    raised under a lock, never beyond what deflate can make of the file, and put back. Raises UserError if
    memory is short.
    """
    try:
        return decode()
    except Image.DecompressionBombError:
        with _PIXEL_LIMIT:
            usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, DEFLATE_RATIO * len(data)
            try:
                with open_with_pillow(data) as image:
                    _check_memory(image.height, image.width, subject)
                return decode()
            finally:
                Image.MAX_IMAGE_PIXELS = usual


def _check_memory(height: int, width: int, subject: str | Path, bytes_per_pixel: int = 6) -> None:
    needed, free = bytes_per_pixel * height * width, psutil.virtual_memory().available
    if needed > free:
        found = f"a picture of {height}×{width}, which needs {needed / 1e9:.1f} GB of memory"
        remedy = "save it as a tiled TIFF, which is read piece by piece, or cut it into smaller pictures"
        raise UserError("picture-memory", subject, found, f"the {free / 1e9:.1f} GB that are free", remedy)


def image_to_array(image: Image.Image, subject: str | Path = "picture", floats: bool = False) -> np.ndarray:
    """A PIL picture of any mode as (H, W) or (H, W, 3), uint8 or uint16. 32-bit numbers: see `read_image`."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        values = np.asarray(image)
        if image.mode == "F" and floats:
            return values.copy()
        if image.mode == "I" and values.min() >= 0 and values.max() <= 65535:
            return values.astype(np.uint16)
        found = f"32-bit values between {values.min():g} and {values.max():g}"
        remedy = "export all pictures as 16-bit PNG or TIFF, over one range of values for all of them"
        # The import of pairs scales them.
        remedy += ", or import them with their masks: import_dataset.py --images … --masks …" * (
            image.mode == "F"
        )
        raise UserError("picture-32-bit", subject, found, "8 or 16 bits per channel", remedy)
    return np.array(image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB"))


def as_array(image: Picture) -> np.ndarray:
    """A path, PIL picture or array as (H, W) or (H, W, C), uint8 or uint16, or (H, W) floats.

    Raises ValueError for arrays of another shape or type.
    """
    if isinstance(image, (str, Path)):
        return read_image(image, floats=True)
    if isinstance(image, Image.Image):
        return image_to_array(ImageOps.exif_transpose(image), floats=True)
    channels = image.ndim == 2 or (image.ndim == 3 and 2 <= image.shape[2] <= MOST_CHANNELS)
    known = image.dtype in (np.uint8, np.uint16) or (image.dtype.kind == "f" and image.ndim == 2)
    if not channels or not known or not image.size:
        found = f"array of shape {image.shape}, {image.dtype}"
        raise ValueError(f"{found}; expected (H, W) or (H, W, 2 … {MOST_CHANNELS}), uint8 or uint16")
    return image


def read_mask(path: str | Path) -> np.ndarray:
    """A mask as (H, W) uint8 class indices (255: ignored).

    Raises UserError for other files, those of several pages or frames included.
    """
    path = Path(path)
    data = _read_file(path, "mask")
    try:
        return allow_large(partial(_decode_mask, data, path), data, path)
    except UnidentifiedImageError:
        raise _not_a_picture(path, data) from None
    except (*DECODE_ERRORS, Image.DecompressionBombError) as error:
        found = f"a damaged or truncated mask ({error})"
        raise UserError("mask-damaged", path, found, MASK_FORM, "copy or export it again") from None


def _decode_mask(data: bytes, path: Path) -> np.ndarray:
    tiff = _tiff_form(data)
    if tiff and tiff.pages and (pages := describe_pages(data)):
        raise _mask_pages(path, pages)
    with open_with_pillow(data) as image:
        if not tiff and (frames := getattr(image, "n_frames", 1)) > 1:
            raise _mask_pages(path, f"{frames} frames")
        if image.format == "JPEG":
            colours = len(np.unique(np.asarray(image.convert("L"))))
            found = f"a JPEG ({colours} gray values, because its compression smears class indices)"
            remedy = "export the mask as PNG from the program that drew it"
            raise UserError("mask-jpeg", path, found, MASK_FORM, remedy)
        if image.mode not in ("1", "L", "P"):
            remedy = "export class indices instead of colours, as json_to_dataset.py does from labelme files"
            if image.mode.startswith("I"):
                remedy = "convert it to 8 bits without scaling (ImageJ: untick 'Scale when converting')"
            found = f"a mask of {MODES.get(image.mode, f'mode {image.mode}')}"
            raise UserError("mask-channels", path, found, MASK_FORM, remedy)
        values = np.array(ImageOps.exif_transpose(image)).astype(np.uint8)
    # Pillow spreads gray PNGs of 2 and 4 bits, and TIFFs of 2, over 0 … 255.
    bits = tiff.bits if tiff else data[24] if data.startswith(PNG) and data[25] == 0 else 8
    return values // (255 // (2**bits - 1)) if bits == 2 or (bits == 4 and not tiff) else values


def _mask_pages(path: Path, found: str) -> UserError:
    remedy = "keep the right one; if each is a class, join them into one mask of class indices; if each is"
    remedy += " the mask of a picture, save them as files of their own, or import both stacks (docs/data.md)"
    return UserError("mask-pages", path, f"a mask of {found}", "one mask per file", remedy)


def _read_file(path: Path, kind: str) -> bytes:
    refuse_foreign(path)
    data = read_bytes(path, kind, "check the path and the spelling")
    if not data:
        raise UserError("file-empty", path, "an empty file", f"a {kind}", "copy or export the file again")
    return data


def _is_deep_colour(data: bytes) -> bool:
    """16 bits that Pillow would cut to 8: PNG with colour or alpha (by its IHDR), JPEG 2000, netpbm's P6."""
    if data.startswith(PNG):
        return data[24:25] == b"\x10" and data[25:26] in (b"\2", b"\4", b"\6")
    if data.startswith(JPEG_2000):
        # Height, width, number of channels, bits less one.
        channels, bits = struct.unpack_from(">HB", data, data.index(b"ihdr") + 12)
        return channels > 1 and bits > 7
    header = re.match(rb"P6(?:\s+(?:#[^\n]*\n\s*)*(\d+)){3}\s", data[:1000])
    return header is not None and int(header[1]) > 255


class _TiffForm(NamedTuple):  # TIFF 6.0, sections 8 and 19
    channels: int
    bits: int
    kind: int  # 1 unsigned, 2 signed, 3 floating point
    photometric: int  # 2 is RGB
    planar: int  # 1: the channels of a pixel side by side
    pages: bool  # whether there are more of them

    @property
    def is_plain(self) -> bool:
        """Whether it is a single gray or RGB picture, without a look at its other tags."""
        colours = self.channels == 3 and self.photometric == 2 and (self.planar == 1 or self.bits == 8)
        return not self.pages and (self.channels == 1 or colours)


def _tiff_form(data: bytes) -> _TiffForm | None:
    """Of the first picture of a TIFF or BigTIFF; None for any other file and for a damaged one."""
    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    try:
        tags, file = ImageFileDirectory_v2(data[:16] if b"+" in data[2:4] else data[:8]), io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        photometric, planar = tags[Base.PhotometricInterpretation], tags.get(Base.PlanarConfiguration, 1)
        bits, kinds = tags[Base.BitsPerSample], tags.get(Base.SampleFormat, (1,))
        samples, more = tags.get(Base.SamplesPerPixel, 1), bool(tags.next)
        return _TiffForm(samples, max(bits), max(kinds), photometric, planar, more)
    except DECODE_ERRORS:
        return None


def _channel_layout(data: bytes, subject: str | Path) -> Layout | None:
    """Of a TIFF of channels that Pillow and OpenCV do not read; None for any other. Raises UserError."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            layout = read_layout(file)
            return None if layout.is_usual(file.pages.first) else layout
    except TIFF_ERRORS as error:
        raise damaged_picture(subject, error) from None


def _decode_channels(data: bytes, subject: str | Path, tiff: _TiffForm, layout: Layout) -> np.ndarray:
    if layout.channels > MOST_CHANNELS:
        expected, remedy = f"at most {MOST_CHANNELS}", "save the pages as a stack, or fewer channels"
        raise UserError("picture-channels", subject, f"{layout.channels} channels", expected, remedy)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if page.dtype not in (np.uint8, np.uint16):
            raise _unusual_tiff(subject, tiff._replace(channels=layout.channels))
        size, bytes_per_pixel = (page.imagelength, page.imagewidth), layout.channels * page.dtype.itemsize
    if bytes_per_pixel * size[0] * size[1] > DEFLATE_RATIO * len(data):
        found = f"{size[0]}×{size[1]} pixels of {layout.channels} channels in {len(data)} bytes"
        raise damaged_picture(subject, found)
    _check_memory(*size, subject, bytes_per_pixel)
    try:
        return read_channels(io.BytesIO(data), layout.pages)
    except TIFF_ERRORS as error:
        raise damaged_picture(subject, error) from None


def _decode_deep_colour(data: bytes, subject: str | Path, tiff: _TiffForm | None) -> np.ndarray:
    if tiff and tiff[1:5] != (16, 1, 2, 1):
        raise _unusual_tiff(subject, tiff)
    image = None
    with suppress(cv2.error):
        # These flags drop alpha, keep 16 bits and follow the EXIF orientation.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if image is None or image.dtype != np.uint16:
        raise damaged_picture(subject, "its 16-bit values cannot be decoded")
    if image.ndim == 3:
        gray_with_alpha = data.startswith(PNG) and data[25] == 4
        image = np.ascontiguousarray(image[..., 0] if gray_with_alpha else image[..., 2::-1])
    return image


def _not_a_picture(subject: str | Path, data: bytes) -> UserError:
    if tiff := _tiff_form(data):
        return _unusual_tiff(subject, tiff)
    if known := foreign_content(data):
        return foreign_file(subject, *known)
    found = f"{len(data)} bytes that are no picture (they begin with {repr(data[:8])[1:]})"
    return UserError("picture-format", subject, found, PICTURE, "export it again as PNG")


def damaged_picture(subject: str | Path, reason: object) -> UserError:
    found = f"a damaged or truncated picture ({(str(reason) or type(reason).__name__).splitlines()[0]})"
    expected = "a picture that opens in an image viewer"
    return UserError("picture-damaged", subject, found, expected, "copy or export the file again")


def _unusual_tiff(subject: str | Path, tiff: _TiffForm) -> UserError:
    kind = {2: "signed ", 3: "floating-point "}.get(tiff.kind, "")
    found = f"a TIFF form that is not read ({tiff.channels} channels of {kind}{tiff.bits}-bit values)"
    remedy = "export it as 8-bit or 16-bit PNG, several channels as TIFF"
    return UserError("tiff-form", subject, found, "8 or 16 bits per channel", remedy)
