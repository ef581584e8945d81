"""What a labelme file holds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

BACKGROUND_LABEL = "_background_"  # painted as 0: a hole in the shapes under it
IGNORE_LABEL = "__ignore__"  # painted as 255


@dataclass(frozen=True, eq=False)
class Shape:
    """points: (n, 2) float64 x and y in pixels. mask: (h, w) bool for shape type `mask`, else None."""

    label: str
    points: np.ndarray
    shape_type: str
    group_id: int | None = None
    mask: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Annotation:
    """One labelme file with its picture.

    image: (H, W) or (H, W, 3), uint8 or uint16, as labelme shows it. picture: bytes of a picture file that
    `read_image` reads as `image`, or None where it must be written anew. suffix: the picture's file ending.
    shapes: later ones cover earlier ones. remarks: warnings to print, with details.
    """

    path: Path
    image: np.ndarray
    picture: bytes | None
    suffix: str
    shapes: tuple[Shape, ...]
    remarks: dict[str, str]
