"""Large pictures are predicted band by band, straight into files."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from utils.images.arrays import to_uint8_rgb
from utils.images.palette import voc_palette
from utils.images.row_files import row_writer
from utils.inference.maps import certainty, classes


def predict_to_files(
    unet: Any,
    picture: Any,
    paths: Mapping[str, Path],
    mix_type: str,
    maps: Mapping[str, Callable[[Tensor], Tensor]],
    bits: int,
) -> tuple[np.ndarray, float]:
    """Predict a picture, an array or what reads its rows, straight into files. Returns pixels a class (256,), mean certainty.

    paths: of `picture` (to look at), `mask`, and each of `maps` (functions of the logits to (h, w) of `bits`).
    """
    size, top, sure, counts = picture.shape[:2], 0, 0, np.zeros(256, np.int64)
    limits = sampled_range(picture)
    with ExitStack() as stack:
        # Closed in turn from the last to the first: where there is a mask, the rest is done.
        files = {"mask": stack.enter_context(row_writer(paths["mask"], size, palette=voc_palette()))}
        for name in maps:
            files[name] = stack.enter_context(row_writer(paths[name], size, f"uint{bits}"))
        files["picture"] = stack.enter_context(row_writer(paths["picture"], (*size, 3)))
        for mask, surety, *values in unet.bands(picture, classes, certainty, *maps.values()):
            rows = picture[top : top + len(mask)]
            # In thin slices, for drawing takes many bytes a pixel.
            for y in range(0, len(mask), 64):
                part = slice(y, y + 64)
                files["picture"].write(unet.render(to_uint8_rgb(rows[part], limits), mask[part], mix_type))
                files["mask"].write(mask[part])
                for name, array in zip(maps, values, strict=True):
                    files[name].write(array[part])
            counts += np.bincount(mask.ravel(), minlength=256)
            sure += int(surety.sum(dtype=np.int64))
            top += len(mask)
    return counts, sure / 255 / (size[0] * size[1])


def sampled_range(picture: Any) -> tuple[float, float] | None:
    """The values that become black and white in a 16-bit picture, from 16 of its rows; None for 8 bits."""
    rows = [picture[y : y + 1] for y in np.linspace(0, picture.shape[0] - 1, 16).astype(int)]
    if rows[0].dtype != np.uint16:
        return None
    low, high = np.percentile(np.concatenate(rows), (0.1, 99.9))
    return float(low), float(high)
