"""Pictures of floats, each in a file of its own, scaled to 16 bits over the whole data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.core.console import UserError, counted
from utils.images.normalisation import floats_to_uint16
from utils.images.reading import read_image
from utils.importing.stacks import choose_range


def choose_scale(
    images_dir: Path,
    pictures: Sequence[Path],
    floats: dict[Path, np.ndarray],
    scaling: Path,
    like: Path | None,
) -> tuple[float, float]:
    """The values of all pictures that become 0 and 65535. floats: finite values (n,) of those of floats.

    Raises UserError where some of the pictures are no floats, or none has a finite value.
    """
    if others := [path for path in pictures if path not in floats]:
        found = f"floats in {len(floats)} of {counted(len(pictures), 'picture')}, not in {others[0].name}"
        remedy = "export all in one type, or import each kind into a folder of its own (--voc-root)"
        raise UserError("picture-types", images_dir, found, "pictures of one type", remedy)
    values = np.concatenate([*floats.values()])
    if not values.size:
        found = "no finite value in any picture"
        raise UserError("no-finite-value", images_dir, found, "numbers", "export them again")
    return choose_range(images_dir, values, scaling, like)


def read_scaled(path: Path, low_high: tuple[float, float]) -> np.ndarray:
    """(H, W) uint16 of a picture of floats."""
    return floats_to_uint16(read_image(path, floats=True), *low_high)
