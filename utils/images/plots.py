"""Pictures for people: curves, bars per class, the confusion matrix, montages of overlays."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import skimage.util
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from scipy import ndimage

from utils.core.console import warn
from utils.core.files import replacing
from utils.images.arrays import to_uint8_rgb
from utils.images.letterbox import inner_box
from utils.images.palette import blend, outline, voc_palette
from utils.images.writing import write_image

# Tried in this order for letters that matplotlib's own font lacks, such as Chinese class names.
CJK_FONTS = (
    "Noto Sans CJK SC",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "WenQuanYi Micro Hei",
    "Arial Unicode MS",
)
FONT = cv2.FONT_HERSHEY_SIMPLEX
TILE, TITLE = 384, 28  # pixels: side of a tile, height of the titles above
BAR = "#4c78a8"
PRINT_DPI, PRINT_PIXELS = 300, 6000  # of figures for print; the largest side of one


def draw_curves(
    path: Path, x: Sequence[float], curves: dict[str, Sequence[float]], label: str, top: float | None = None
) -> None:
    """`curves_figure` in a file."""
    save_figure(curves_figure(x, curves, label, top), path)


def curves_figure(
    x: Sequence[float],
    curves: dict[str, Sequence[float]],
    label: str,
    top: float | None = None,
    best: str = "best: {score} (epoch {epoch})",
) -> Figure:
    """Line plot of named curves over epochs, NaN left out; the best of a score (`top` given) is marked."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, values in curves.items():
        known = [index for index, value in enumerate(values) if not np.isnan(value)]
        points = [x[index] for index in known], [values[index] for index in known]
        axes.plot(*points, label=name, marker="o" if len(known) < 3 else None)
    finite = [value for values in curves.values() for value in values if 0 < value < np.inf]
    if top is not None:
        values = next(iter(curves.values()))
        place = int(np.argmax(np.nan_to_num(values, nan=-1)))
        text = best.format(score=f"{values[place]:.4f}", epoch=x[place])
        axes.plot(x[place], values[place], "*", color="#d62728", markersize=10, label=text)
        axes.set_ylim(0, top)
    elif finite and max(finite) > 10 * min(finite):
        # The first loss may be many times the others, and would flatten them.
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    # There is no epoch 2.5.
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="epoch", ylabel=label)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def class_axes(class_names: Sequence[str], title: str) -> tuple[Figure, Axes]:
    """A line per class from top to bottom, shares from left to right."""
    figure = Figure(figsize=(7, 1.2 + 0.36 * len(class_names)), layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(class_names)), [plain(name) for name in class_names])
    # Beyond 1 there is room for the numbers only.
    axes.set(xlim=(0, 1.12), xticks=np.linspace(0, 1, 6), title=title)
    axes.set_ylim(len(class_names) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def class_bars(
    class_names: Sequence[str], values: np.ndarray, title: str, ends: np.ndarray | None = None
) -> Figure:
    """One horizontal bar per class with its value beside it; `values` (K,) in 0…1, NaN shown as –.

    ends: (2, K) of the error bars.
    """
    figure, axes = class_axes(class_names, title)
    bars = axes.barh(range(len(values)), np.nan_to_num(values), color=BAR)
    texts = ["–" if np.isnan(v) else f"{v:.3f}" for v in values]
    if ends is None:
        axes.bar_label(bars, texts, padding=3)
        return figure
    known = np.isfinite([values, *ends]).all(0)
    # A percentile interval need not hold the value itself.
    lengths = np.maximum([values - ends[0], ends[1] - values], 0)[:, known]
    axes.errorbar(values[known], np.flatnonzero(known), xerr=lengths, fmt="none", ecolor="#d95f02", capsize=3)
    for place, text in enumerate(texts):
        axes.text(1.01, place, text, va="center")
    return figure


def spread_figure(class_names: Sequence[str], values: np.ndarray, title: str) -> Figure:
    """A dot for each picture, a line per class, and a bar at the median; values (N, K) in 0…1 or NaN."""
    figure, axes = class_axes(class_names, title)
    for place, column in enumerate(values.T):
        known = np.sort(column[np.isfinite(column)])
        # Neighbours in value lie at different heights, so that dots do not hide each other.
        height = (np.arange(len(known)) % 5 - 2) * 0.09
        axes.scatter(known, place + height, s=14, color=BAR, alpha=0.6, linewidths=0)
        if len(known):
            axes.vlines(np.median(known), place - 0.35, place + 0.35, color="#d95f02", linewidth=2)
    return figure


def xy_figure(
    lines: dict[str, tuple[np.ndarray, np.ndarray]], x_label: str, y_label: str, dots: float = 6
) -> Figure:
    """Named lines of shares in 0…1 over shares; a single point is a dot. dots: size of the marks."""
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, (x, y) in lines.items():
        marked = "o" if len(x) < 20 else None
        axes.plot(x, y, label=name or None, marker=marked, markersize=dots)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel=plain(x_label), ylabel=plain(y_label))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def confusion_figure(class_names: Sequence[str], matrix: np.ndarray) -> Figure:
    """Rows truth, columns prediction, shares of the row (– if it is empty); matrix (K, K) pixel counts."""
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    # A class is a line of text high, and the picture of hundreds of classes can still be opened.
    side = 2.5 + min(0.55 * len(class_names), 30)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    labels = [plain(name) for name in class_names]
    names = {"labels": labels, "fontsize": min(10, 1200 / len(class_names))}
    axes.set_xticks(range(len(class_names)), rotation=45, ha="right", rotation_mode="anchor", **names)
    axes.set_yticks(range(len(class_names)), **names)
    axes.set(xlabel="prediction", ylabel="truth", title="share of each true class")
    if len(class_names) <= 25:
        for row, column in np.ndindex(shares.shape):
            share = shares[row, column]
            text, colour = f"{share:.2f}" if matrix[row].any() else "–", "white" if share > 0.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour)
    figure.colorbar(image, shrink=0.8)
    return figure


Sample = tuple[np.ndarray, np.ndarray | None]  # picture (H, W[, C]) and its mask (H, W)


def draw_samples(path: Path, samples: Sequence[Sample], columns: int, titles: Sequence[str] = ()) -> None:
    """A grid of pictures under their masks. titles: ASCII texts above the first columns."""
    sheet = montage([overlay_tile(image, mask) for image, mask in samples], columns)
    strip = np.full((TITLE if titles else 0, *sheet.shape[1:]), 255, np.uint8)
    for column, title in enumerate(titles):
        place = (column * (TILE + 4) + 4, TITLE - 9)
        cv2.putText(strip, title, place, FONT, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    write_image(path, np.concatenate([strip, sheet]))


def overlay_tile(image: np.ndarray, mask: np.ndarray | None, side: int = TILE) -> np.ndarray:
    """A picture, its mask laid over it and outlined, scaled to fit (side, side, 3) uint8 on white."""
    tile = to_uint8_rgb(image)
    if mask is not None:
        tile = blend(tile, mask, voc_palette(), 0.35)
        edge = outline(mask)
        tile[edge] = voc_palette()[mask[edge]]
    top, left, height, width = inner_box(tile.shape[:2], (side, side))
    method = cv2.INTER_AREA if max(tile.shape[:2]) > side else cv2.INTER_NEAREST
    canvas = np.full((side, side, 3), 255, np.uint8)
    canvas[top : top + height, left : left + width] = cv2.resize(tile, (width, height), interpolation=method)
    return canvas


def montage(tiles: Sequence[np.ndarray], columns: int, gap: int = 4) -> np.ndarray:
    """Tiles (s, s, 3) uint8 in rows of `columns`, a white gap between them."""
    grid, white = (-(-len(tiles) // columns), columns), (255, 255, 255)
    sheet = skimage.util.montage(tiles, white, grid_shape=grid, padding_width=gap, channel_axis=-1)
    return sheet[gap : len(sheet) - gap, gap : sheet.shape[1] - gap]


def draw_numbered(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A copy of a picture (H, W, 3) uint8, objects 1, 2, … of `labels` (H, W) int32 outlined and numbered."""
    scale = max(max(labels.shape) / 1000, 1)
    edge, ink, thickness = outline(labels).view(np.uint8), np.zeros(labels.shape, np.uint8), round(scale)
    # Where an object is thickest: not on the nucleus of a cell, and not beside a crescent.
    inside = np.pad((labels > 0) & (edge == 0), 1).view(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
    numbers = np.arange(1, labels.max(initial=0) + 1)
    for number, (y, x) in zip(numbers, ndimage.maximum_position(depth, labels, numbers), strict=True):
        text, size = str(number), (0.4 if depth[y, x] > 8 * scale else 0.35) * scale
        width, height = cv2.getTextSize(text, FONT, size, thickness)[0]
        # Never beyond the edge of the picture.
        left = np.clip(round(x - width / 2), 1, max(ink.shape[1] - width - 1, 1))
        bottom = np.clip(round(y + height / 2), height + 1, max(ink.shape[0] - 2, height + 1))
        cv2.putText(ink, text, (left, bottom), FONT, size, 255, thickness, cv2.LINE_AA)
    # Yellow in black is seen on any picture; no class of the VOC palette is yellow.
    lines = cv2.dilate(edge * np.uint8(255), np.ones((thickness, thickness), np.uint8))
    around = cv2.dilate(ink, np.ones((2 * thickness + 1, 2 * thickness + 1), np.uint8))
    drawn = image.copy()
    drawn[lines > 0] = (255, 255, 0)
    drawn = cv2.multiply(drawn, cv2.merge([255 - around] * 3), scale=1 / 255)
    return cv2.add(drawn, cv2.merge([ink, ink, np.zeros_like(ink)]))


def with_legend(image: np.ndarray, class_names: Sequence[str], palette: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 with colours and names of all classes but the background beside it."""
    height, width = image.shape[:2]
    dpi = min(max(height / 5, 70), 400)
    legend = _legend(tuple(class_names[1:]), palette[1 : len(class_names)].tobytes(), dpi)
    # Even, because codecs cut an odd column off.
    both = width + legend.shape[1] + (width + legend.shape[1]) % 2
    sheet = np.full((max(height, len(legend)), both, 3), 255, np.uint8)
    sheet[:height, :width] = image
    sheet[: len(legend), width : width + legend.shape[1]] = legend
    return sheet


@lru_cache(maxsize=8)
def _legend(class_names: tuple[str, ...], colours: bytes, dpi: float) -> np.ndarray:
    """(h, w, 3) uint8, as large as its letters need; cached, because all pictures of a folder share it."""
    figure = Figure(figsize=(30, 1 + 0.4 * len(class_names)), dpi=dpi)
    canvas = FigureCanvasAgg(figure)
    rows = np.frombuffer(colours, np.uint8).reshape(-1, 3) / 255
    names = zip(rows, class_names, strict=True)
    patches = [Patch(color=row, label=plain(name)) for row, name in names]
    with lettering("the legend"):
        legend = figure.legend(handles=patches, loc="upper left", bbox_to_anchor=(0, 1), frameon=False)
        canvas.draw()
        box = legend.get_window_extent()
    return np.asarray(canvas.buffer_rgba())[: round(box.height), : round(box.x1 + dpi / 10), :3].copy()


def plain(name: str) -> str:
    """A name that matplotlib draws as it is, not as mathematics."""
    return name.replace("$", r"\$")


def save_figure(figure: Figure, path: Path, dpi: float = 120) -> None:
    """Write a figure; letters as in `lettering`."""
    with lettering(path, figure), replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def save_for_print(figure: Figure, path: Path) -> str:
    """Write a figure as PATH.png (300 dpi, or fewer for one that would hardly open) and as PATH.svg.

    Returns an <svg> for an HTML page, in the color of the page's text. Inside `lettering`.
    """
    dpi = min(PRINT_DPI, PRINT_PIXELS / max(figure.get_size_inches()))
    with replacing(path.with_suffix(".png")) as temporary:
        figure.savefig(temporary, dpi=dpi)
    # Where everything lies is found, which takes as long as drawing.
    figure.set_layout_engine("none")
    # What an SVG refers to inside itself has names of its own, also beside others in one page.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    with replacing(path.with_suffix(".svg")) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    # Without what is only for a file of its own.
    text = re.sub("<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    used = set(re.findall(r"#(\w+)", text))
    text = re.sub(r' id="([\w.]+)"', lambda found: found[0] * (found[1] in used), text)
    return text.replace(": #000000", ": currentColor").replace("<svg ", '<svg fill="currentColor" ', 1)


@contextmanager
def lettering(subject: object, figure: Figure | None = None) -> Iterator[None]:
    """Draw with a font for Chinese letters; warn that the subject lacks them if none is installed.

    figure: one whose texts were made before; a text keeps the fonts that were set when it was made.
    """
    installed = set(font_manager.get_font_names())
    families = ["DejaVu Sans", *(font for font in CJK_FONTS if font in installed)]
    for text in figure.findobj(Text) if figure else ():
        text.set_family(families)
    with warnings.catch_warnings(record=True) as caught, matplotlib.rc_context({"font.family": families}):
        warnings.filterwarnings("always", message="Glyph")
        yield
    if any("Glyph" in str(warning.message) for warning in caught):
        warn(f"{subject} lacks some letters. Install a font such as {CJK_FONTS[0]} and draw it again.")
