"""Joint random transforms of picture and mask: one coordinate map, one resampling, changes of gray values."""

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Annotated

import cv2
import numpy as np
from annotated_types import Ge, Interval

from utils.core.console import UserError
from utils.core.settings import find_faults
from utils.images.arrays import count_channels, is_photo
from utils.images.palette import BETWEEN_INDEX, IGNORE_INDEX

_REMAP_MARGIN = 2  # neighbours that the interpolation reads beyond the coordinates

Rng = np.random.Generator
Size = tuple[int, int]  # height, width
Share = Annotated[float, Interval(ge=0, le=1)]
Amount = Annotated[float, Ge(0)]


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random transforms; 0: off. Angles in degrees, lengths in pixels, gray values 0…1."""

    left_right: bool = True  # mirrored half of the time
    top_bottom: bool = True  # mirrored half of the time
    turn: bool = True  # by a multiple of 90°
    rotate: Amount = 0.0  # up to ± this angle
    scale: Amount = 0.0  # by a factor between 1 / (1 + this) and 1 + this
    shear: Amount = 0.0  # up to ± this angle
    shift: Amount = 0.0  # standard deviation, where the picture is no larger than the crop
    elastic: Amount = 0.0  # standard deviation of the displacements at the nodes of a coarse grid
    elastic_spacing: Annotated[int, Ge(1)] = 96  # distance of those nodes, about
    balance: Share = 0.3  # share of the crops that are centred on a class drawn regardless of its frequency
    cubic: bool = False  # pictures are resampled by cubic interpolation, sharper and slower than linear
    mirror: bool = True  # what lies outside the picture is mirrored; otherwise its mask is ignored
    brightness: Share = 0.05  # added, up to ± this
    contrast: Amount = 0.1  # factor between 1 / (1 + this) and 1 + this, about the picture's mean
    gamma: Amount = 0.1  # exponent between 1 / (1 + this) and 1 + this
    saturation: Amount = 0.1  # colours: factor between 1 / (1 + this) and 1 + this
    hue: Amount = 0.0  # colours: turned by up to ± this angle
    illumination: Share = 0.0  # a linear gradient of up to ± this across the crop
    blur: Amount = 0.0  # standard deviation of up to this, half of the time
    noise: Share = 0.0  # Gaussian, standard deviation of up to this
    shot: Share = 0.0  # Poisson: standard deviation of up to this at full brightness, less where it is darker
    jpeg: Annotated[int, Interval(ge=0, le=100)] = 0  # 8 bits: compressed at a quality between this and 100
    erase: Share = 0.0  # a rectangle of up to this share of the crop is painted over, half of the time

    def shrunk(self, divisor: int) -> "Augmentation":
        """The same for pictures at 1 / divisor of their size."""
        spacing = -(-self.elastic_spacing // divisor)
        lengths = {name: getattr(self, name) / divisor for name in ("shift", "elastic", "blur")}
        return replace(self, **lengths, elastic_spacing=spacing) if divisor > 1 else self


_STRONG_WARP = {"rotate": 45, "scale": 0.4, "shear": 10, "shift": 32, "elastic": 10}
_STRONG_TONES = {"brightness": 0.2, "contrast": 0.4, "gamma": 0.5, "saturation": 0.4, "hue": 20}
_STRONG_CAMERA = {"illumination": 0.3, "blur": 1.2, "noise": 0.06, "shot": 0.05, "jpeg": 50, "erase": 0.1}
STRENGTHS = {
    "none": Augmentation(False, False, False, balance=0, brightness=0, contrast=0, gamma=0, saturation=0),
    "light": Augmentation(brightness=0, contrast=0, gamma=0, saturation=0),
    # No free warps: in short runs (one seed, 30 epochs on 20 slices of thin membranes) they scored lower than
    # none at all. They are for long runs, and for objects that really come in other angles and sizes.
    "default": Augmentation(),
    "strong": Augmentation(**_STRONG_WARP, **_STRONG_TONES, **_STRONG_CAMERA),
}


def parse_augmentation(text: str) -> Augmentation:
    """`STRENGTH`, or `STRENGTH,PART=NUMBER,…` with some parts changed. Raises UserError.

    `flip` stands for both `left_right` and `top_bottom`.
    """
    flag, example = f"--augmentation {text}", "for example default,rotate=180"
    strength, changes = split_augmentation(text)
    if strength not in STRENGTHS:
        raise UserError("augmentation-strength", flag, repr(strength), ", ".join(STRENGTHS), example)
    kinds = {field.name: type(field.default) for field in fields(Augmentation)}
    parts = {}
    for name, number in changes:
        try:
            parts[name] = kinds[name](float(number))
        except (KeyError, ValueError, OverflowError):
            expected = f"PART=NUMBER with a part of {', '.join(kinds)}"
            found = f"'{name}={number}'" if number else repr(name)
            raise UserError("augmentation-part", flag, found, expected, example) from None
    settings = replace(STRENGTHS[strength], **parts)
    for name, found, expected in find_faults(settings):
        raise UserError("augmentation-range", flag, f"{name}={found}", expected, "choose another number")
    return settings


def split_augmentation(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The strength, and the parts that the text names with their numbers."""
    strength, *changes = (part.strip() for part in text.split(","))
    pairs = [(name, number) for name, _, number in (change.partition("=") for change in changes)]
    both = ("left_right", "top_bottom")
    return strength, [(one, n) for name, n in pairs for one in (both if name == "flip" else (name,))]


def augment(
    image: np.ndarray,
    mask: np.ndarray,
    size: Size,
    settings: Augmentation,
    rng: Rng,
    *weights: np.ndarray,
    sought: int | None = None,
) -> tuple[np.ndarray, ...]:
    """A random crop of `size` (height, width), warped and changed in its gray values.

    image (H, W) or (H, W, C), uint8 or uint16; mask (H, W) uint8; weights (H, W) float32, if any. All come
    back in `size` and in their own type: the mask resampled by nearest neighbour, the others linearly (the
    image cubically if `cubic`), what lies outside mirrored (as in the paper), or ignored in the mask. sought:
    class at the middle of the crop, if the mask shows it.
    """
    coordinates, cropped = draw_crop(mask, size, settings, rng, sought)
    smooth = cv2.INTER_CUBIC if settings.cubic else cv2.INTER_LINEAR
    image = change_values(resample(image, *coordinates, smooth), settings, rng)
    return image, cropped, *(resample(each, *coordinates, cv2.INTER_LINEAR) for each in weights)


def draw_crop(
    mask: np.ndarray, size: Size, settings: Augmentation, rng: Rng, sought: int | None = None
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """`draw_map`, and the mask (h, w) there. Where it would show no class, around a pixel of one.

    Of a few strokes in a large picture most crops would show none, and teach nothing.
    """
    outside = None if settings.mirror else IGNORE_INDEX
    coordinates = draw_map(mask, size, settings, rng, sought)
    cropped = resample(mask, *coordinates, cv2.INTER_NEAREST, outside)
    if (cropped >= BETWEEN_INDEX).all() and (mask < BETWEEN_INDEX).any():
        coordinates = draw_map(mask, size, replace(settings, balance=1), rng)
        cropped = resample(mask, *coordinates, cv2.INTER_NEAREST, outside)
    return coordinates, cropped


def draw_map(
    mask: np.ndarray, size: Size, settings: Augmentation, rng: Rng, sought: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """x and y in the source of each pixel of the crop, (h, w) float32: crop ∘ shift ∘ affine ∘ elastic."""
    h, w = size
    matrix = _draw_affine(settings, rng)
    middle_y, middle_x = _draw_middle(mask, size, settings, rng, sought)
    # Distances from the crop's middle, so that turning and scaling leave the middle where it is.
    x = np.arange(w, dtype=np.float32) - (w - 1) / 2
    y = np.arange(h, dtype=np.float32)[:, None] - (h - 1) / 2
    map_x = matrix[0, 0] * x + (matrix[0, 1] * y + middle_x)
    map_y = matrix[1, 0] * x + (matrix[1, 1] * y + middle_y)
    if np.isin(np.abs(matrix), (0, 1)).all():
        # A crop of odd height and even width, or the reverse, comes to lie between pixels when it is turned.
        map_x -= map_x[0, 0] % 1
        map_y -= map_y[0, 0] % 1
    if settings.elastic:
        # At least the paper's 3×3 grid.
        nodes = tuple(max(round(side / settings.elastic_spacing), 3) for side in size)
        for coordinate in (map_x, map_y):
            displacement = rng.standard_normal(nodes, dtype=np.float32) * settings.elastic
            coordinate += cv2.resize(displacement, (w, h), interpolation=cv2.INTER_CUBIC)
    return map_x, map_y


def _draw_affine(settings: Augmentation, rng: Rng) -> np.ndarray:
    """2×2 matrix, float32: shear, then scale and rotation, then quarter turns and flips."""
    angle = np.deg2rad(rng.uniform(-settings.rotate, settings.rotate))
    shear = np.tan(np.deg2rad(rng.uniform(-settings.shear, settings.shear)))
    factor = _draw_factor(settings.scale, rng)
    cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, shear], [0, 1]])
    if settings.turn:
        matrix = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), rng.integers(4)) @ matrix
    if settings.left_right or settings.top_bottom:
        signs = np.where((settings.left_right, settings.top_bottom), rng.choice((-1, 1), 2), 1)
        matrix = np.diag(signs) @ matrix
    return matrix.astype(np.float32)


def _draw_middle(
    mask: np.ndarray, size: Size, settings: Augmentation, rng: Rng, sought: int | None
) -> tuple[np.float32, np.float32]:
    """y and x of the crop's middle in the source: anywhere the crop fits, else near the picture's middle."""
    wanted = _draw_pixel_of_a_class(mask, rng) if rng.random() < settings.balance else (None, None)
    if sought is not None and len(places := np.flatnonzero(mask == sought)):
        wanted = np.unravel_index(rng.choice(places), mask.shape)
    middles = []
    for length, side, pixel in zip(mask.shape, size, wanted, strict=True):
        free = (length - side) / 2
        if free <= 0:
            offset = rng.normal(0, settings.shift)
        elif pixel is None:
            offset = rng.uniform(-free, free)
        else:
            offset = np.clip(pixel - (length - 1) / 2, -free, free)
        # The crop begins on a whole pixel: no resampling blur without a reason.
        middles.append(np.float32((length - 1) / 2 + np.round(offset + free) - free))
    return middles[0], middles[1]


def _draw_pixel_of_a_class(mask: np.ndarray, rng: Rng, tries: int = 256) -> tuple[int, int]:
    """A pixel (y, x) of a class drawn with equal chances among those found at `tries` random pixels."""
    # The whole mask is not searched unless it must be, because that takes time in proportion to its size.
    y, x = rng.integers(mask.shape[0], size=tries), rng.integers(mask.shape[1], size=tries)
    classes = mask[y, x]
    known = np.unique(classes[classes < BETWEEN_INDEX])
    if not len(known):
        # A few strokes in a large picture.
        places = np.argwhere(mask < BETWEEN_INDEX)
        return tuple(rng.choice(places).tolist()) if len(places) else (int(y[0]), int(x[0]))
    chosen = rng.choice(np.flatnonzero(classes == rng.choice(known)))
    return int(y[chosen]), int(x[chosen])


def _draw_factor(spread: float, rng: Rng) -> float:
    return float(np.exp(rng.uniform(-1, 1) * np.log1p(spread)))


def resample(
    array: np.ndarray, map_x: np.ndarray, map_y: np.ndarray, interpolation: int, outside: int | None = None
) -> np.ndarray:
    """(H, W) or (H, W, C) at source coordinates (h, w) float32; beyond: mirrored, or the value `outside`."""
    window_x, window_y = _window(map_x, array.shape[1]), _window(map_y, array.shape[0])
    # Only the part that the crop needs: a picture of any size costs the same, below cv2's 32767 pixels.
    part, map_x, map_y = array[window_y, window_x], map_x - window_x.start, map_y - window_y.start
    border = cv2.BORDER_REFLECT if outside is None else cv2.BORDER_CONSTANT
    options = {"interpolation": interpolation, "borderMode": border, "borderValue": outside or 0}
    if part.ndim == 2 or part.shape[2] <= 4:
        return cv2.remap(part, map_x, map_y, **options)
    # OpenCV interpolates no more than 4 channels cubically.
    fours = (np.ascontiguousarray(part[..., i : i + 4]) for i in range(0, part.shape[2], 4))
    return np.dstack([cv2.remap(four, map_x, map_y, **options) for four in fours])


def _window(coordinate: np.ndarray, length: int) -> slice:
    low, high = int(coordinate.min()) - _REMAP_MARGIN, int(coordinate.max()) + _REMAP_MARGIN
    # What lies outside is mirrored, so the part must hold its mirror image.
    low, high = min(low, 2 * length - high), max(high, -low)
    return slice(max(low, 0), min(high + 1, length))


def change_values(image: np.ndarray, settings: Augmentation, rng: Rng) -> np.ndarray:
    """Tone, colour, light, blur, noise, compression, erasing of (H, W) or (H, W, C), uint8 or uint16.

    Colour and compression are for RGB, compression for gray, too.
    """
    top = np.iinfo(image.dtype).max
    photo = is_photo(count_channels(image))
    mean = sum(cv2.mean(image)) / count_channels(image) if photo else image.mean()
    values = tone_curve(top, mean / top, settings, rng)
    # A table does in one pass what three powers and products would do pixel by pixel.
    changed = cv2.LUT(image, values) if image.dtype == np.uint8 else values[image]
    if image.ndim == 3 and photo and (settings.saturation or settings.hue):
        changed = cv2.transform(changed, _draw_colour_matrix(settings, rng))
    if settings.illumination:
        changed *= _draw_light(changed.shape, settings.illumination, rng)
    if settings.blur and rng.random() < 0.5:
        changed = cv2.GaussianBlur(changed, (0, 0), rng.uniform(0.1, 1) * settings.blur)
    if settings.noise or settings.shot:
        changed = add_noise(changed, top, settings, rng)
    changed = np.clip(changed + 0.5, 0, top, out=changed).astype(image.dtype)
    if settings.jpeg and photo and image.dtype == np.uint8:
        quality = int(rng.integers(settings.jpeg, 101))
        file = cv2.imencode(".jpg", changed, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        changed = cv2.imdecode(file, cv2.IMREAD_UNCHANGED)
    if settings.erase and rng.random() < 0.5:
        changed = erase(changed, settings.erase, rng)
    return changed


def add_noise(values: np.ndarray, top: int, settings: Augmentation, rng: Rng) -> np.ndarray:
    """Gaussian noise; its variance is the camera's plus the light's, which grows with the value (Poisson)."""
    camera, light = rng.uniform(0, settings.noise) * top, rng.uniform(0, settings.shot) ** 2 * top
    deviation = cv2.sqrt(np.maximum(values * light + camera**2, 0)) if light else camera
    bank = _noise_bank()
    if values.size > bank.size:
        return values + deviation * rng.standard_normal(values.shape, dtype=np.float32)
    start = rng.integers(bank.size - values.size + 1)
    return values + deviation * bank[start : start + values.size].reshape(values.shape)


@lru_cache(maxsize=1)
def _noise_bank() -> np.ndarray:
    """Standard normal numbers: taking a random stretch of them is ten times faster than drawing new ones."""
    return np.random.default_rng(0).standard_normal(1 << 22, dtype=np.float32)


def _draw_colour_matrix(settings: Augmentation, rng: Rng) -> np.ndarray:
    """3×3 float32: turns colours about the gray axis and scales their distance from it; gray stays gray."""
    angle = np.deg2rad(rng.uniform(-settings.hue, settings.hue))
    axis = np.full(3, 3**-0.5)
    gray = np.outer(axis, axis)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.cos(angle) * (np.eye(3) - gray) + np.sin(angle) * cross
    return (gray + _draw_factor(settings.saturation, rng) * turn).astype(np.float32)


def erase(image: np.ndarray, share: float, rng: Rng) -> np.ndarray:
    """Paint up to `share` of the area in the picture's mean colour (random erasing, Zhong et al. 2017)."""
    area, shape = rng.uniform(0, share), np.exp(rng.uniform(-1, 1))
    height = max(int(image.shape[0] * (area * shape) ** 0.5), 1)
    width = max(int(image.shape[1] * (area * (1 / shape)) ** 0.5), 1)
    y, x = rng.integers(max(image.shape[0] - height, 0) + 1), rng.integers(max(image.shape[1] - width, 0) + 1)
    image[y : y + height, x : x + width] = image.mean((0, 1)).round()
    return image


def tone_curve(top: int, mean: float, settings: Augmentation, rng: Rng) -> np.ndarray:
    """New value, float32 in 0…top, of each value 0…top: gamma, contrast about `mean` (0…1), brightness."""
    values = np.linspace(0, 1, top + 1) ** _draw_factor(settings.gamma, rng)
    values = (values - mean) * _draw_factor(settings.contrast, rng) + mean
    values += rng.uniform(-settings.brightness, settings.brightness)
    return (np.clip(values, 0, 1) * top).astype(np.float32)


def _draw_light(shape: tuple[int, ...], strength: float, rng: Rng) -> np.ndarray:
    """Factors (h, w) or (h, w, 1) float32, 1 in the middle: light that falls from one side."""
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, strength)
    x = np.linspace(-1, 1, shape[1], dtype=np.float32) * np.float32(np.cos(angle) * slope)
    y = np.linspace(-1, 1, shape[0], dtype=np.float32) * np.float32(np.sin(angle) * slope)
    light = 1 + x + y[:, None]
    return light if len(shape) == 2 else light[..., None]
