"""Picture arrays: gray or colour, the channels that a network takes, 8-bit RGB for showing."""

from hashlib import blake2b

import numpy as np


def is_gray(image: np.ndarray) -> bool:
    """(H, W), or (H, W, 3) of equal channels."""
    return image.ndim == 2 or bool((image == image[..., :1]).all())


def to_channels(image: np.ndarray, in_channels: int) -> np.ndarray:
    """(H, W) or (H, W, 1 or 3) → (H, W, in_channels), same dtype.

    Gray is repeated; RGB becomes luminance (ITU-R 601).
    """
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), in_channels, axis=2)
    if in_channels == 1:
        gray = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        return (gray + 0.5).astype(image.dtype)[..., None]
    return image


def to_uint8_rgb(image: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Any picture array as (H, W, 3) uint8 to look at.

    16-bit pictures are stretched from their 0.1 and 99.9 percentiles. limits: use these, because `image` is a
    part of a picture.
    """
    if image.dtype == np.uint16:
        low, high = limits or np.percentile(image, (0.1, 99.9))
        image = np.clip((image - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
    return to_channels(image, 3)


def digest(array: np.ndarray) -> str:
    """A name for the pixels of an array, its shape and dtype included."""
    key = f"{array.shape}{array.dtype}".encode()
    return blake2b(np.ascontiguousarray(array), key=key, digest_size=16).hexdigest()
