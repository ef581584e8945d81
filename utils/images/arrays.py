"""Picture arrays: gray, colour or other channels; those that a network takes; 8-bit RGB for showing."""

from hashlib import blake2b

import numpy as np

from utils.core.console import UserError


def count_channels(image: np.ndarray) -> int:
    """Of (H, W) or (H, W, C)."""
    return 1 if image.ndim == 2 else image.shape[2]


def is_photo(channels: int) -> bool:
    """Gray or RGB, which are converted to each other. Other channels are taken as they are."""
    return channels in (1, 3)


def is_gray(image: np.ndarray) -> bool:
    """(H, W), or (H, W, 3) of equal channels."""
    return image.ndim == 2 or (image.shape[2] == 3 and bool((image == image[..., :1]).all()))


def check_channels(subject: object, found: int, expected: int, of: object) -> None:
    """Raises UserError for a picture whose channels are not those that are expected as in `of`."""
    if found != expected and not (is_photo(found) and is_photo(expected)):
        wanted = f"{name_channels(expected)}, as {of}"
        remedy = "use pictures of the same channels throughout; those of a TIFF are explained in docs/data.md"
        raise UserError("picture-channels", subject, name_channels(found), wanted, remedy)


def name_channels(count: int) -> str:
    return {1: "gray", 3: "RGB"}.get(count, f"{count} channels")


def to_channels(image: np.ndarray, in_channels: int) -> np.ndarray:
    """(H, W) or (H, W, C) → (H, W, in_channels), same dtype.

    Gray is repeated; RGB becomes luminance (ITU-R 601). Raises ValueError for other numbers that differ.
    """
    found = count_channels(image)
    if found == in_channels:
        return image.reshape(*image.shape[:2], found)
    if found == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), in_channels, axis=2)
    if (found, in_channels) != (3, 1):
        raise ValueError(f"{found} channels are not {in_channels}")
    gray = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return (gray + 0.5).astype(image.dtype)[..., None]


Limits = tuple[np.ndarray, np.ndarray]  # lowest and highest value: a number, or (C,) one per channel


def display_limits(image: np.ndarray) -> Limits | None:
    """The values to show as black and white (0.1 and 99.9 percentile) of (…, H, W) or (…, H, W, C).

    One for all channels of gray and RGB, to keep the colours; None for 8 bits.
    """
    if image.dtype == np.uint8:
        return None
    low, high = np.nanpercentile(image, (0.1, 99.9), None if is_photo(count_channels(image)) else (0, 1))
    return low, high


def to_uint8_rgb(image: np.ndarray, limits: Limits | None = None) -> np.ndarray:
    """Any picture array as (H, W, 3) uint8 to look at.

    Two channels become magenta and green; of more the first three are shown. All but 8-bit pictures are
    stretched to `limits`, or to those of `display_limits`; given where `image` is a part of a picture.
    """
    if image.dtype != np.uint8:
        low, high = limits or display_limits(image)
        least = 1 if image.dtype == np.uint16 else np.finfo(np.float32).tiny
        stretched = (image - low) * (255 / np.maximum(high - low, least))
        image = np.clip(np.nan_to_num(stretched), 0, 255).astype(np.uint8)
    channels = count_channels(image)
    if channels == 2:
        return image[..., [0, 1, 0]]
    return to_channels(image if is_photo(channels) else image[..., :3], 3)


def digest(array: np.ndarray) -> str:
    """A name for the pixels of an array, its shape and dtype included."""
    key = f"{array.shape}{array.dtype}".encode()
    return blake2b(np.ascontiguousarray(array), key=key, digest_size=16).hexdigest()
