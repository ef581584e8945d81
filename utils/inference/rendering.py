"""Results as people look at them: the classes over the picture, numbered objects, a legend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.images.palette import blend, cutout
from utils.images.plots import draw_numbered, with_legend

MIX_TYPES = ("blend", "mask", "cutout", "montage")


def render(image: np.ndarray, mask: np.ndarray, mix_type: str, palette: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of a picture (H, W, 3) uint8 and its mask (H, W) in one of MIX_TYPES.

    `montage` is wider: the picture, 4 white columns, and its blend. Raises ValueError for another type.
    """
    if mix_type == "mask":
        return palette[mask]
    if mix_type == "cutout":
        return cutout(image, mask)
    if mix_type == "blend":
        return blend(image, mask, palette)
    if mix_type == "montage":
        gap = np.full((len(mask), 4, 3), 255, np.uint8)
        return np.hstack([image, gap, blend(image, mask, palette)])
    raise ValueError(f"mix_type is {mix_type!r}; there are: {', '.join(MIX_TYPES)}")


@dataclass(frozen=True, eq=False)
class Drawing:
    """How results are drawn. palette: (256, 3) uint8; legend: names of the classes beside the result."""

    palette: np.ndarray
    class_names: Sequence[str]
    mix_type: str = "blend"
    legend: bool = False

    def draw(self, image: np.ndarray, mask: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """(h, w, 3) uint8, wider than the picture (H, W, 3) uint8 with a legend or as a montage.

        labels: (H, W) int32 numbers of objects, which are outlined and numbered.
        """
        drawn = render(image, mask, self.mix_type, self.palette)
        if labels is not None:
            drawn[:, -mask.shape[1] :] = draw_numbered(drawn[:, -mask.shape[1] :], labels)
        return with_legend(drawn, self.class_names, self.palette) if self.legend else drawn
