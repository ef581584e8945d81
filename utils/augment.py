"""Joint random transforms of picture and mask: one coordinate map, one resampling, then changes of the gray values."""

from dataclasses import dataclass

import cv2
import numpy as np

# Neighbours that the interpolation reads beyond the coordinates.
_REMAP_MARGIN = 2


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random transforms; 0 switches a part off. Angles in degrees, lengths in pixels, gray values 0…1."""

    flip: bool = True  # mirror left-right and top-bottom, each half of the time
    turn: bool = True  # by a multiple of 90°
    rotate: float = 15.0  # up to ± this angle
    scale: float = 0.2  # by a factor between 1 / (1 + this) and 1 + this
    shear: float = 5.0  # up to ± this angle
    shift: float = 16.0  # standard deviation, where the picture is no larger than the crop
    elastic: float = 5.0  # standard deviation of the displacements at the nodes of a coarse grid
    elastic_spacing: int = 96  # distance of those nodes
    brightness: float = 0.1  # added, up to ± this
    contrast: float = 0.2  # factor between 1 / (1 + this) and 1 + this, about the picture's mean
    gamma: float = 0.3  # exponent between 1 / (1 + this) and 1 + this
    illumination: float = 0.15  # a linear gradient of up to ± this across the crop
    blur: float = 0.8  # standard deviation of up to this, half of the time
    noise: float = 0.03  # Gaussian, standard deviation of up to this


STRENGTHS = {
    "none": Augmentation(False, False, 0, 0, 0, 0, 0, 96, 0, 0, 0, 0, 0, 0),
    "light": Augmentation(True, True, 0, 0, 0, 0, 0, 96, 0.05, 0.1, 0.1, 0, 0, 0),
    "default": Augmentation(),
    "strong": Augmentation(
        rotate=45,
        scale=0.4,
        shear=10,
        shift=32,
        elastic=10,
        brightness=0.2,
        contrast=0.4,
        gamma=0.5,
        illumination=0.3,
        noise=0.06,
    ),
}


def augment(
    image: np.ndarray,
    mask: np.ndarray,
    size: tuple[int, int],
    settings: Augmentation,
    rng: np.random.Generator,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, ...]:
    """A random crop of `size` (height, width), warped and changed in its gray values.

    image (H, W) or (H, W, 3), uint8 or uint16; mask (H, W) uint8; weights (H, W) float32, which follow the warp and come
    back as a third array. All come back in `size` and in their own type: the mask resampled by nearest neighbour, the
    others linearly, what lies outside mirrored (as in the paper).
    """
    coordinates = draw_map(mask.shape, size, settings, rng)
    image = change_values(resample(image, *coordinates, cv2.INTER_LINEAR), settings, rng)
    mask = resample(mask, *coordinates, cv2.INTER_NEAREST)
    if weights is None:
        return image, mask
    return image, mask, resample(weights, *coordinates, cv2.INTER_LINEAR)


def draw_map(
    source: tuple[int, int], size: tuple[int, int], settings: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """x and y in the source, (h, w) float32 each, of every pixel of the crop: crop ∘ shift ∘ affine ∘ elastic."""
    (height, width), (h, w) = source, size
    matrix = _draw_affine(settings, rng)
    # Distances from the crop's middle, so that turning and scaling leave the middle where it is.
    x = np.arange(w, dtype=np.float32) - (w - 1) / 2
    y = np.arange(h, dtype=np.float32)[:, None] - (h - 1) / 2
    map_x = matrix[0, 0] * x + matrix[0, 1] * y + _draw_centre(width, w, settings.shift, rng)
    map_y = matrix[1, 0] * x + matrix[1, 1] * y + _draw_centre(height, h, settings.shift, rng)
    if settings.elastic:
        nodes = (h // settings.elastic_spacing + 3, w // settings.elastic_spacing + 3)
        for coordinate in (map_x, map_y):
            displacement = rng.standard_normal(nodes, dtype=np.float32) * settings.elastic
            coordinate += cv2.resize(displacement, (w, h), interpolation=cv2.INTER_CUBIC)
    return map_x, map_y


def _draw_affine(settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """2×2 matrix, float32: shear, then scale and rotation, then quarter turns and flips."""
    angle = np.deg2rad(rng.uniform(-settings.rotate, settings.rotate))
    shear = np.tan(np.deg2rad(rng.uniform(-settings.shear, settings.shear)))
    factor = _draw_factor(settings.scale, rng)
    cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, shear], [0, 1]])
    if settings.turn:
        matrix = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), rng.integers(4)) @ matrix
    if settings.flip:
        matrix = np.diag(rng.choice((-1, 1), 2)) @ matrix
    return matrix.astype(np.float32)


def _draw_centre(source: int, size: int, shift: float, rng: np.random.Generator) -> np.float32:
    """Middle of the crop on one axis: anywhere that the crop fits, else near the picture's middle."""
    middle = (source - 1) / 2
    free = (source - size) / 2
    offset = rng.uniform(-free, free) if free > 0 else rng.normal(0, shift)
    # The crop begins on a whole pixel: no resampling blur without a reason.
    return np.float32(middle + np.round(offset + free) - free)


def _draw_factor(spread: float, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(-1, 1) * np.log1p(spread)))


def resample(array: np.ndarray, map_x: np.ndarray, map_y: np.ndarray, interpolation: int) -> np.ndarray:
    """(H, W) or (H, W, 3) at the source coordinates (h, w) float32, the outside mirrored. interpolation: cv2.INTER_…"""
    window_x, window_y = _window(map_x, array.shape[1]), _window(map_y, array.shape[0])
    # Only the part that the crop needs, so that a picture of any size costs the same (and stays below cv2's 32767 pixels).
    part = array[window_y, window_x]
    return cv2.remap(part, map_x - window_x.start, map_y - window_y.start, interpolation, borderMode=cv2.BORDER_REFLECT)


def _window(coordinate: np.ndarray, length: int) -> slice:
    low, high = int(coordinate.min()) - _REMAP_MARGIN, int(coordinate.max()) + _REMAP_MARGIN
    # What lies outside is mirrored, so the part must hold its mirror image.
    low, high = min(low, 2 * length - high), max(high, -low)
    return slice(max(low, 0), min(high + 1, length))


def change_values(image: np.ndarray, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, gamma, uneven light, blur and noise. image (H, W) or (H, W, 3), uint8 or uint16; same back."""
    top = np.iinfo(image.dtype).max
    values = tone_curve(top, float(image.mean()) / top, settings, rng)
    # A table does in one pass what three powers and products would do pixel by pixel.
    changed = cv2.LUT(image, values) if image.dtype == np.uint8 else values[image]
    if settings.illumination:
        changed *= _draw_light(changed.shape, settings.illumination, rng)
    if settings.blur and rng.random() < 0.5:
        changed = cv2.GaussianBlur(changed, (0, 0), rng.uniform(0.1, 1) * settings.blur)
    if settings.noise:
        changed += rng.standard_normal(changed.shape, dtype=np.float32) * (rng.uniform(0, settings.noise) * top)
    return np.clip(changed + 0.5, 0, top).astype(image.dtype)


def tone_curve(top: int, mean: float, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """New value, float32 in 0…top, of each value 0…top: gamma, then contrast about `mean` (0…1), then brightness."""
    values = np.linspace(0, 1, top + 1) ** _draw_factor(settings.gamma, rng)
    values = (values - mean) * _draw_factor(settings.contrast, rng) + mean
    values += rng.uniform(-settings.brightness, settings.brightness)
    return (np.clip(values, 0, 1) * top).astype(np.float32)


def _draw_light(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> np.ndarray:
    """Factors (h, w) or (h, w, 1) float32, 1 in the middle: light that falls from one side."""
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, strength)
    x = np.linspace(-1, 1, shape[1], dtype=np.float32) * np.float32(np.cos(angle) * slope)
    y = np.linspace(-1, 1, shape[0], dtype=np.float32) * np.float32(np.sin(angle) * slope)
    light = 1 + x + y[:, None]
    return light if len(shape) == 2 else light[..., None]
