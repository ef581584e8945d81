"""Synthetic fluorescence microscopy: gray pictures of cells with nuclei, and their exact masks."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from utils.core.console import progress
from utils.core.files import write_lines
from utils.images.writing import write_image, write_mask
from utils.voc.folder import VocFolder

CLASS_NAMES = ("background", "cell", "nucleus")
TABLE_ANGLES = 360  # entries of an outline table: one per degree


class Cell(NamedTuple):
    """One cell: place (x, y) and mean radius in pixels, two outline tables, float32 (TABLE_ANGLES,)."""

    centre: np.ndarray
    radius: float
    outline: np.ndarray
    nucleus_centre: np.ndarray
    nucleus_outline: np.ndarray


def _outline(rng: np.random.RandomState, radius: float, elongation: float, roughness: float) -> np.ndarray:
    """Radius at each degree, float32 (TABLE_ANGLES,): a rotated ellipse times a Fourier series."""
    angle = np.linspace(0, 2 * np.pi, TABLE_ANGLES, endpoint=False)
    turned = angle - rng.uniform(0, np.pi)
    ellipse = radius / np.sqrt(np.cos(turned) ** 2 / elongation + np.sin(turned) ** 2 * elongation)
    order = np.arange(2, 8)[:, None]
    amplitude = roughness * rng.normal(size=order.shape) / (order - 1)
    wave = (amplitude * np.cos(order * angle + rng.uniform(0, 2 * np.pi, order.shape))).sum(axis=0)
    return (ellipse * np.exp(wave.clip(-0.35, 0.35))).astype(np.float32)


def _place_centre(rng: np.random.RandomState, placed: list[Cell], radius: float, size: int) -> np.ndarray:
    """A centre (x, y) for a cell of that radius: often beside a placed one, perhaps near the border."""
    best, best_gap = np.zeros(2), -np.inf
    for _ in range(40):
        centre = rng.uniform(0, size, 2)
        if placed and rng.uniform() < 0.6:
            mate, turn = placed[rng.randint(len(placed))], rng.uniform(0, 2 * np.pi)
            centre = mate.centre + 0.88 * (mate.radius + radius) * np.array([np.cos(turn), np.sin(turn)])
        if centre.min() < 0 or centre.max() > size:
            continue
        gap = min((np.hypot(*(c.centre - centre)) / (c.radius + radius) for c in placed), default=1.0)
        if gap >= 0.85:
            return centre
        if gap > best_gap:
            best, best_gap = centre, gap
    return best


def _place_cells(rng: np.random.RandomState, size: int) -> list[Cell]:
    """8 to 16 cells that together cover about 40 % of a picture of size x size pixels."""
    count = rng.randint(8, 17)
    mean_radius = size * np.sqrt(rng.uniform(0.42, 0.56) / (np.pi * count))
    cells: list[Cell] = []
    for radius in mean_radius * rng.uniform(0.75, 1.2, count):
        centre = _place_centre(rng, cells, radius, size)
        nucleus_radius = radius * rng.uniform(0.47, 0.55)
        shift = rng.normal(0, 0.1 * radius, 2).clip(-0.2 * radius, 0.2 * radius)
        outline = _outline(rng, radius, rng.uniform(1.0, 1.9), 0.14)
        nucleus_outline = _outline(rng, nucleus_radius, rng.uniform(1.0, 1.5), 0.025)
        cells.append(Cell(centre, radius, outline, centre + shift, nucleus_outline))
    return cells


def _polar(grid: np.ndarray, centre: np.ndarray, outline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the centre, 1 on the outline, and angle in degrees, float32 (h, w) each."""
    distance, angle = cv2.cartToPolar(*(grid - centre.astype(np.float32)[:, None, None]), angleInDegrees=True)
    return distance / outline[angle.astype(np.int32) % TABLE_ANGLES], angle


def _noise(rng: np.random.RandomState, shape: tuple[int, int], sigma_x: float, sigma_y: float) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation 1, float32 of that shape."""
    field = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), sigma_x, sigmaY=sigma_y)
    return (field - field.mean()) / field.std()


def _spots(rng: np.random.RandomState, size: int, count: int, widths: tuple[float, float]) -> np.ndarray:
    """Gaussian spots of height 0.3 to 1 anywhere in the picture, float32 (size, size)."""
    x = np.arange(size)
    (cx, cy), height = rng.uniform(0, size, (2, count, 1)), rng.uniform(0.3, 1, (count, 1))
    precision = 0.5 / rng.uniform(*widths, (count, 1)) ** 2
    rows, columns = height * np.exp(-precision * (x - cy) ** 2), np.exp(-precision * (x - cx) ** 2)
    return (rows.T @ columns).astype(np.float32)


def _filaments(rng: np.random.RandomState, depth: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Wavy fibres that run out from the nucleus, mean 0 and deviation about 1, float32 like depth."""
    table = _noise(rng, (64, 180), 0.8, 5.0)  # rows: distance, columns: angle
    bend = 10 * np.sin(2.5 * depth + np.radians(angle) * rng.randint(1, 4) + rng.uniform(0, 6))
    return cv2.remap(table, (angle + bend) / 2, 16 * depth, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _stain(
    rng: np.random.RandomState, reach: np.ndarray, depth: np.ndarray, angle: np.ndarray, grain: np.ndarray
) -> np.ndarray:
    """Brightness of one cell, float32 (h, w); reach and depth are 1 on its rim and that of its nucleus."""
    fine, clumps, coarse = grain
    fibrous = rng.uniform(0, 1)
    texture = fibrous * 0.35 * _filaments(rng, depth, angle) + (1 - fibrous) * 0.22 * fine + 0.12 * coarse
    cytoplasm = (1.05 - 0.5 * reach**1.5) * np.exp(texture)
    contrast = (
        rng.uniform(1.75, 2.4) if rng.uniform() > 0.08 else rng.uniform(0.3, 0.45)
    )  # a few are unstained
    nucleus = contrast * (1 - 0.15 * depth**2) * np.exp(0.08 * fine + 0.12 * coarse)
    nucleus *= 1 + 0.5 * (clumps > 1.4) * (depth < 0.85)  # nucleoli, clear of the nuclear envelope
    return np.exp(rng.uniform(-0.6, 0.35)) * np.where(depth < 1, nucleus, cytoplasm)


def _paint_cells(rng: np.random.RandomState, cells: list[Cell], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Light of the sharp cells, float32 (size, size), 0 outside, and the mask, uint8 (size, size), 0 to 2."""
    light, mask = np.zeros((size, size), np.float32), np.zeros((size, size), np.uint8)
    nearest = np.ones((size, size), np.float32)  # reach of the cell that owns a pixel; 1 for none
    second = np.full((size, size), 2, np.float32)
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size))).astype(np.float32)
    grain = np.stack([_noise(rng, (size, size), sigma, sigma) for sigma in (1.1, 1.8, 3.5)])
    for cell in cells:
        # Twice the mean radius holds any outline: sqrt(1.9) of elongation times exp(0.35) of roughness.
        low, high = cell.centre - 2 * cell.radius, cell.centre + 2 * cell.radius
        (left, top), (right, bottom) = low.clip(0, size).astype(int), high.clip(0, size).astype(int)
        window = np.s_[top:bottom, left:right]
        here = grid[(slice(None), *window)]
        depth, angle = _polar(here, cell.nucleus_centre, cell.nucleus_outline)
        # The cell reaches a third past its nucleus at least, so that no neighbour cuts into the nucleus.
        reach = np.minimum(_polar(here, cell.centre, cell.outline)[0], 0.75 * depth)
        owned = reach < nearest[window]
        stain = _stain(rng, reach, depth, angle, grain[(slice(None), *window)])
        light[window][owned] = stain[owned]
        mask[window][owned] = np.where(depth < 1, 2, 1)[owned]
        second[window] = np.minimum(second[window], np.maximum(reach, nearest[window]))
        nearest[window] = np.minimum(nearest[window], reach)
    seam = np.exp(-(((second - nearest) / 0.06) ** 2)) * (second < 1)
    return light * (1 - 0.5 * seam), mask


def _illuminate(rng: np.random.RandomState, size: int) -> np.ndarray:
    """Uneven illumination, float32 (size, size), about 0.5 to 1: dimmer towards the corners."""
    x = np.linspace(-1, 1, size)
    (cx, cy), strength = rng.uniform(-0.5, 0.5, 2), rng.uniform(0.1, 0.3)
    return np.exp(-strength * ((x[None, :] - cx) ** 2 + (x[:, None] - cy) ** 2)).astype(np.float32)


def draw_sample(seed: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """One picture, uint8 (size, size) gray, and its mask, uint8 (size, size) class indices 0 to 2."""
    rng = np.random.RandomState(seed)
    light, mask = _paint_cells(rng, _place_cells(rng, size), size)
    haze = cv2.GaussianBlur(light, (0, 0), size / 20) * rng.uniform(0.2, 0.4)
    haze += 0.1 + 0.03 * _noise(rng, (size, size), size / 8, size / 8)
    blobs = 0.35 * _spots(rng, size, rng.randint(2, 6), (5, 12))  # out of focus, not cells
    specks = 2 * _spots(rng, size, rng.randint(4, 14), (0.6, 1.4))
    sharp = cv2.GaussianBlur(light + blobs + specks, (0, 0), rng.uniform(0.8, 1.1))
    photons = (sharp + haze).clip(0) * _illuminate(rng, size) * rng.uniform(80, 180)  # at a brightness of 1
    counts = rng.poisson(photons) + rng.normal(0, 2, photons.shape)
    # Some pictures are under-exposed; others saturate in their brightest nuclei.
    gain = rng.uniform(160, 260) / np.percentile(counts, 99.5)
    return (counts * gain + rng.uniform(4, 14)).clip(0, 255).astype(np.uint8), mask


def ensure_demo(root: Path) -> None:
    """`make_demo`, unless it is there. Says so."""
    if not (VocFolder(root).splits_dir / "test.txt").exists():
        print(f"drawing the demo set into {root}")
        make_demo(root)


def make_demo(root: Path, count: int = 40, val: int = 8) -> None:
    """Write a VOC folder of `count` pictures, picture i drawn from seed i, the last `val` for validation.

    test.txt is written last: where it is, the folder is complete.
    """
    folder = VocFolder(root)
    names = [f"cells_{index:02d}" for index in range(count)]
    for index, name in enumerate(progress(names, "drawing", "picture")):
        image, mask = draw_sample(index)
        write_image(folder.images_dir / f"{name}.png", image)
        write_mask(folder.mask_path(name), mask)
    write_lines(folder.class_names_path, CLASS_NAMES)
    splits = {"train": names[:-val], "val": names[-val:], "trainval": names, "test": []}
    for split, members in splits.items():
        folder.write_split(split, members)
