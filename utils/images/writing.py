"""Writing pictures and masks."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils.core.files import replacing
from utils.images.palette import voc_palette


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write (H, W), (H, W, 3) or (H, W, 4) uint8, or (H, W) or (H, W, 3) uint16, in the suffix's format."""
    with replacing(Path(path)) as temporary:
        if image.dtype == np.uint16 and image.ndim == 3:
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
