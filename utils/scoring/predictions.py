"""Masks that were predicted before, or elsewhere, as the second side of a comparison."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.core.console import UserError
from utils.images.reading import read_mask


def find_masks(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """The mask of every name: NAME.png or NAME_mask.png in the folder, or in its folder masks.

    So get_miou.py and predict.py write them. Raises UserError for the first name without.
    """
    places = [folder / "masks", folder]
    files = {path.name: path for place in places for path in place.glob("*.png")}
    # predict.py writes NAME.png to look at beside NAME_mask.png.
    found = {name: files.get(f"{name}_mask.png") or files.get(f"{name}.png") for name in names}
    for name, path in found.items():
        if path is None:
            expected = "a run folder, a checkpoint, or a folder of masks NAME.png or NAME_mask.png"
            remedy = "pass such a folder to --compare, or score the split of these masks with --split"
            raise UserError("prediction-missing", folder, f"no mask of {name}", expected, remedy)
    return found


def read_prediction(path: Path, truth: Path, num_classes: int) -> np.ndarray:
    """A predicted mask (H, W) uint8. Raises UserError for another size than the truth's, or other values."""
    mask, shape = read_mask(path), read_mask(truth).shape
    if mask.shape != shape:
        found, expected = (f"{size[1]}×{size[0]} pixels" for size in (mask.shape, shape))
        raise UserError("prediction-size", path, found, f"{expected}, like {truth}", "predict it again")
    if mask.max(initial=0) >= num_classes:
        expected = f"class indices 0 … {num_classes - 1} for every pixel"
        remedy = "compare with masks of the same classes"
        raise UserError("prediction-value", path, f"value {mask.max()}", expected, remedy)
    return mask
