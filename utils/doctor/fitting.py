"""Whether a mask lies on its picture: turned as EXIF says, a row short, or in another size."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils.images.reading import DECODE_ERRORS
from utils.voc.folder import check_size, same_shape

_TURN = Image.Transpose
# What brings a picture upright, by its EXIF orientation (EXIF 2.3, tag 0x0112).
TURNS = {
    2: _TURN.FLIP_LEFT_RIGHT,
    3: _TURN.ROTATE_180,
    4: _TURN.FLIP_TOP_BOTTOM,
    5: _TURN.TRANSPOSE,
    6: _TURN.ROTATE_270,
    7: _TURN.TRANSVERSE,
    8: _TURN.ROTATE_90,
}
SWAPS = (_TURN.TRANSPOSE, _TURN.ROTATE_270, _TURN.TRANSVERSE, _TURN.ROTATE_90)  # height and width
LONGEST = 512  # pixels of a side at which the edges of picture and mask are compared
# Standard deviations from which on edges decide. Of 40 photographs with masks of objects the median was 3.2
# in favor of the truth, and 10 % leant the wrong way, by 2.2 at most. So the pictures of a folder are pooled.
SURE = 4.0


@dataclass(frozen=True)
class Fit:
    """turn: what to do to the mask; evidence: in words; resize: to the picture's size.

    lean: where EXIF turns the picture and the mask fits both ways, how much better its edges fit upright, in
    standard deviations. doubtful: they do not decide.
    """

    turn: Image.Transpose | None = None
    evidence: str = ""
    resize: bool = False
    lean: float = 0.0
    doubtful: bool = False

    def apply(self, pair: object, mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The mask (H, W) in the size (height, width) of the picture. Raises UserError if it does not fit."""
        if self.turn is not None:
            mask = np.array(Image.fromarray(mask).transpose(self.turn))
        if self.resize:
            mask = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        check_size(pair.mask, mask, pair.picture.name, size)
        return mask


def read_turn(path: Path) -> tuple[Image.Transpose | None, bool]:
    """What brings the picture in a file upright, None where it lies so, and whether its size stays."""
    # A picture that is too large for Pillow is left as it is.
    with suppress(Image.DecompressionBombError, *DECODE_ERRORS), Image.open(path) as image:
        turn = TURNS.get(image.getexif().get(0x0112))
        return turn, turn not in SWAPS or image.width == image.height
    return None, True


def fit_mask(
    path: Path, picture: np.ndarray | None, size: tuple[int, int], mask: np.ndarray, usual: float
) -> Fit:
    """How a mask (H, W) uint8 comes to lie on the picture in a file, upright of a size (height, width).

    picture: its pixels (H, W[, C]), None where they are not at hand; usual: how other pairs lean.
    """
    (turn, keeps), shape = read_turn(path), mask.shape
    if turn is not None and not keeps and same_shape(shape, size[::-1]):
        return Fit(turn, "as its picture before EXIF turns it", shape != size[::-1])
    if turn is None or not keeps or shape != size or picture is None:
        return Fit(resize=shape != size and same_shape(shape, size))
    turned = np.array(Image.fromarray(mask).transpose(turn))
    if (mask == turned).all():
        return Fit()
    lean = _compare_edges(picture, mask, turned)
    decisive = lean if abs(lean) >= SURE else usual
    if decisive > -SURE:
        return Fit(lean=lean, doubtful=decisive < SURE)
    return Fit(turn, "whose edges lie on those of its picture before EXIF turns it", lean=lean)


def _compare_edges(picture: np.ndarray, mask: np.ndarray, turned: np.ndarray) -> float:
    """How much better the edges of `mask` lie on those of the picture than those of `turned`.

    In standard deviations of what shifted masks reach. picture: (H, W[, C]); masks: (H, W) uint8.
    """
    scale = min(LONGEST / max(mask.shape), 1)
    size = tuple(max(round(side * scale), 1) for side in mask.shape[::-1])
    gray = picture.astype(np.float32) if picture.ndim == 2 else picture.mean(axis=2, dtype=np.float32)
    gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    gray = cv2.GaussianBlur(gray, (0, 0), 1)
    slope = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    # Ranks, because a few strong edges would drown the others.
    ranks = (slope.ravel().argsort().argsort() / slope.size).reshape(slope.shape)
    edges = [_edges(cv2.resize(one, size, interpolation=cv2.INTER_NEAREST)) for one in (mask, turned)]
    if min(edge.sum() for edge in edges) < 20:
        return 0.0
    scores = [ranks[edge].mean() for edge in edges]
    steps = [(y * size[1] // 5, x * size[0] // 5) for y in range(5) for x in range(5) if x or y]
    chance = [ranks[np.roll(edge, step, (0, 1))].mean() for edge in edges for step in steps]
    return float((scores[0] - scores[1]) / max(np.std(chance), 1e-3))


def _edges(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels with another value to the right or below."""
    edge = np.zeros(mask.shape, bool)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    return edge
