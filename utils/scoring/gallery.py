"""Pictures of a report: the worst, median and best ones with truth, prediction and an error map."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from utils.images.arrays import to_uint8_rgb
from utils.images.palette import IGNORE_INDEX, voc_palette

SIDE = 400  # pixels of an embedded picture, at most
EACH = 3  # pictures of each kind
# Colors that people with any color vision tell apart (Okabe and Ito 2008).
ERRORS = {
    "missed: background instead of a class": (0, 114, 178),
    "extra: a class instead of background": (230, 159, 0),
    "confused: another class": (204, 121, 167),
    "ignored": (255, 255, 255),
}

# Name → picture (H, W[, C]) uint8 or uint16, truth and prediction (H, W) uint8
Reader = Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Shown:
    """A picture in the gallery; score: its mIoU; images: captions and data URIs."""

    name: str
    score: float
    images: dict[str, str]


def choose_pictures(scores: np.ndarray) -> dict[str, list[int]]:
    """Which of N pictures are shown under which heading; scores (N,), NaN is left out."""
    order = np.argsort(scores, kind="stable")[: np.isfinite(scores).sum()].tolist()
    if len(order) < 3 * EACH:
        return {"All pictures, the worst first": order} if order else {}
    start = (len(order) - EACH) // 2
    return {"Worst": order[:EACH], "Median": order[start : start + EACH], "Best": order[-EACH:][::-1]}


def make_gallery(names: Sequence[str], scores: np.ndarray, read: Reader) -> dict[str, list[Shown]]:
    return {
        heading: [Shown(names[index], scores[index], draw_row(*read(names[index]))) for index in indices]
        for heading, indices in choose_pictures(scores).items()
    }


def draw_row(picture: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> dict[str, str]:
    picture = to_uint8_rgb(picture)
    masks = {"truth": truth, "prediction": prediction}
    return {
        "picture": embed_photo(picture),
        **{caption: embed_mask(mask) for caption, mask in masks.items()},
        "errors": embed_photo(error_map(picture, truth, prediction)),
    }


def error_map(picture: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The picture in pale gray, wrong pixels in the colors of ERRORS: (H, W, 3) uint8."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) // 2 + 64
    drawn = cv2.merge([gray] * 3)
    wrong, counted = truth != prediction, truth != IGNORE_INDEX
    kinds = (prediction == 0, truth == 0, (truth != 0) & (prediction != 0))
    for kind, color in zip(
        (*(wrong & counted & kind for kind in kinds), ~counted), ERRORS.values(), strict=True
    ):
        drawn[kind] = color
    return drawn


def embed_photo(picture: np.ndarray) -> str:
    """(H, W, 3) uint8 → a JPEG of at most SIDE pixels as a data URI."""
    return to_uri(Image.fromarray(shrink(picture, cv2.INTER_AREA)), "JPEG", quality=85)


def embed_mask(mask: np.ndarray) -> str:
    """(H, W) uint8 → a PNG of at most SIDE pixels in VOC colors as a data URI."""
    image = Image.fromarray(shrink(mask, cv2.INTER_NEAREST))
    image.putpalette(voc_palette().ravel().tolist())
    return to_uri(image, "PNG", optimize=True)


def shrink(image: np.ndarray, method: int) -> np.ndarray:
    scale = SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(round(side * scale), 1) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=method)


def to_uri(image: Image.Image, kind: str, **options: object) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
