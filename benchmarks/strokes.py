"""Strokes instead of outlines: draws them as a person would, trains on them, and compares with dense masks.

python benchmarks/strokes.py --voc-roots VOCdevkit/isbi VOCdevkit/msrc --line-widths 3 3 --minutes 6
The pictures of val.txt are scored, and no run sees them: it validates on each sixth of the others, by strokes
where it trains on strokes. With --keep FOLDER the labelme files and the VOC folders stay there.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copy2
from tempfile import TemporaryDirectory

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import recipes
from measuring import choose_folder, describe_machine, markdown, report

from utils.core.console import UserError, run_script
from utils.core.device import choose_device
from utils.core.files import write_lines
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_mask
from utils.importing.labelme_files import convert_labelme
from utils.labelme.annotation import BACKGROUND_LABEL, Shape
from utils.labelme.painting import LINE_WIDTH, rasterise
from utils.labelme.writing import write_shapes
from utils.voc.folder import VocFolder

PIECE = 100  # pixels: a stroke is no longer
LEAST = 2  # line widths: a stroke is no shorter
SPARE = 1.4  # times as much is drawn as may be, because strokes overlap; then what is too much goes


@dataclass
class Config:
    """Settings of the benchmark."""

    voc_roots: tuple[Path, ...] = ()  # VOC folders of dense masks, with the splits train and val
    line_widths: tuple[int, ...] = ()  # of the strokes in pixels, for each folder; none: labelme's 10
    share: float = 0.05  # of a picture's pixels that strokes may cover
    pictures: int | None = None  # only the first so many of the training pictures
    output: Path | None = None  # Markdown file to write; None: print only
    keep: Path | None = None  # folder for labelme files and VOC folders of strokes; None: removed at the end
    minutes: float = 6.0  # of each run
    seeds: int = 3  # of strokes and runs
    flags: str = ""  # of train.py
    train: bool = True  # False: draw the strokes only, into --keep
    device: str = "auto"  # auto, cpu, cuda
    quick: bool = False  # drawn pictures, two epochs, one seed: does it run?


def draw_strokes(
    mask: np.ndarray, names: list[str], share: float, width: int, rng: np.random.Generator
) -> list[Shape]:
    """Line strips inside each region of a mask (H, W) and along its border, on at most `share` of the pixels.

    Classes, and the regions of a class, get strokes in proportion to the root of their areas: half of them as
    near to the region's border as `width` allows, the others at 60 % of its depth.
    """
    labels = {**dict(enumerate(names)), 0: BACKGROUND_LABEL}
    index = {label: value for value, label in labels.items()}
    classes = {
        value: list(find_regions(mask == value, width)) for value in np.unique(mask[mask != 255]).tolist()
    }
    areas = {
        value: [np.count_nonzero(depth) ** 0.5 for depth, _ in parts] for value, parts in classes.items()
    }
    roots = {value: np.sum(np.square(each)) ** 0.5 for value, each in areas.items()}
    shapes = []
    for value, parts in classes.items():
        whole = SPARE * share * mask.size / width * roots[value] / sum(roots.values())
        for (depth, corner), root in zip(parts, areas[value], strict=True):
            for level in (width / 2 + 1, max(0.6 * depth.max(), width / 2 + 1)):
                length = whole * root / sum(areas[value]) / 2
                pieces = draw_pieces(depth > level, length, LEAST * width, rng)
                shapes += [Shape(labels[value], points + corner, "linestrip") for points in pieces]
    shapes = [shapes[number] for number in rng.permutation(len(shapes))]
    while (known := rasterise(shapes, mask.shape, index, IGNORE_INDEX, width) != IGNORE_INDEX).mean() > share:
        shapes = shapes[: int(len(shapes) * share / known.mean())]
    return shapes


def find_regions(area: np.ndarray, width: int) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """Depth (h, w) float32, 0 outside, and corner (x, y) of each connected part of an area (H, W) bool.

    Parts that are too thin for a line of this width are left out.
    """
    depth = cv2.distanceTransform(area.view(np.uint8), cv2.DIST_L2, 5)
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(area.view(np.uint8), connectivity=4)
    for number in range(1, count):
        x, y, w, h = boxes[number, :4].tolist()
        own = np.where(parts[y : y + h, x : x + w] == number, depth[y : y + h, x : x + w], np.float32(0))
        if own.max() > width / 2 + 1:
            yield own, (x, y)


def draw_pieces(
    inside: np.ndarray, length: float, least: float, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Random pieces (n, 2) of the contours of an area (H, W) bool, `length` pixels together."""
    contours, _ = cv2.findContours(inside.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    weights = np.array([len(contour) for contour in contours], float)
    left = min(length, weights.sum())
    while left >= least:
        contour = contours[rng.choice(len(contours), p=weights / weights.sum())][:, 0]
        size = int(min(left, PIECE, len(contour)))
        piece = np.roll(contour, -rng.integers(len(contour)), axis=0)[:size]
        left -= max(size, least / 2)
        if size > 1:
            yield cv2.approxPolyDP(piece.reshape(-1, 1, 2), 0.7, closed=False)[:, 0].astype(float)


def make_folder(config: Config, dense: VocFolder, width: int, root: Path, seed: int) -> tuple[VocFolder, str]:
    """A VOC folder of strokes by way of labelme files, and what the strokes cover.

    The pictures of the dense folder's split val are its split test, with dense masks.
    """
    train = dense.read_split("train")[: config.pictures]
    folder, source = VocFolder(root / "voc"), root / "labelme"
    source.mkdir(parents=True)
    names, rng = dense.read_class_names(), np.random.default_rng(seed)
    write_lines(folder.class_names_path, names)
    known = wrong = pixels = 0
    for name in train:
        mask, picture = read_mask(dense.mask_path(name)), dense.image_path(name)
        shapes = draw_strokes(mask, names, config.share, width, rng)
        copy2(picture, source)
        write_shapes(source / f"{name}.json", picture.name, shapes, mask.shape)
    convert_labelme(source, folder, unlabelled="ignore", line_width=width)
    for name in train:
        mask, strokes = (read_mask(one.mask_path(name)) for one in (dense, folder))
        drawn = strokes != IGNORE_INDEX
        known, pixels = known + np.count_nonzero(drawn), pixels + mask.size
        wrong += np.count_nonzero(drawn & (mask != IGNORE_INDEX) & (mask != strokes))
    recipes.copy_splits(dense, folder, {"test": dense.read_split("val")})
    for split, part in recipes.held_out(train).items():
        folder.write_split(split, part)
    return folder, f"{known / pixels:.2%}, {wrong / max(known, 1):.2%} of it in another class"


def compare(config: Config, dense: VocFolder, width: int, root: Path) -> list[str]:
    """A row of the table: scores of dense masks and of strokes, seed by seed."""
    name, pairs = dense.root.name, []
    for seed in range(config.seeds):
        strokes, described = make_folder(config, dense, width, root / name / str(seed), seed)
        print(f"{name}, seed {seed}: strokes on {described}", flush=True)
        if not config.train:
            continue
        fewer = VocFolder(root / name / f"{seed}-dense")
        splits = {split: strokes.read_split(split) for split in ("train", "val", "test")}
        recipes.copy_splits(dense, fewer, splits)
        write_lines(fewer.class_names_path, dense.read_class_names())
        options = recipes.Config(device=config.device, quick=config.quick)
        pair = [
            recipes.train_ours(options, one, config.minutes, config.flags, seed)[0].miou
            for one in (fewer, strokes)
        ]
        pairs.append(pair)
        print(f"{name}, seed {seed}: dense {pair[0]:.4f}, strokes {pair[1]:.4f}", flush=True)
    if not pairs:
        return [name, described, *4 * ["–"]]
    outlines, lines = np.transpose(pairs)
    ratios = lines / outlines
    spread = f"{ratios.min():.3f} … {ratios.max():.3f}"
    scores = (f"{values.mean():.3f}" for values in (outlines, lines))
    return [name, described, *scores, f"{lines.mean() / outlines.mean():.3f}", spread]


def main(config: Config) -> None:
    if not config.train and not config.keep:
        raise UserError("settings-conflict", "--no-train", "no --keep", "a folder to look at", "pass --keep")
    with TemporaryDirectory() as directory:
        roots, place = config.voc_roots or (None,), config.keep or Path(directory)
        folders = [choose_folder(root, config.quick, place / "drawn") for root in roots]
        widths = config.line_widths or (LINE_WIDTH,) * len(folders)
        if config.quick:
            config.seeds, config.minutes, widths = 1, 0.05, (2,)
            config.flags = "--base-channels 4 --depth 2"
        rows = [compare(config, *pair, place) for pair in zip(folders, widths, strict=True)]
    header = ["data", "strokes on", "dense, mIoU", "strokes, mIoU", "strokes / dense", "range"]
    machine = describe_machine(choose_device(config.device))
    intro = f"`python benchmarks/strokes.py`: {config.minutes:g} minutes, {config.seeds} seeds; {machine}."
    intro += " Scores of pictures that no run saw, with dense masks."
    report("Strokes", f"{intro}\n\n{markdown(header, rows)}", config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
