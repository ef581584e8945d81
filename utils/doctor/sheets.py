"""The two pictures of a data set: its statistics, and overlays that show whether the masks fit."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from utils.core.console import counted
from utils.doctor.examination import SIZE_BINS, Examination, PairReport
from utils.doctor.statistics import Statistics
from utils.images.palette import voc_palette
from utils.images.plots import montage, overlay_tile, save_figure
from utils.images.reading import read_image, read_mask
from utils.voc.folder import VocFolder
from utils.voc.names import list_some

TILE, STRIP = 256, 26  # pixels of a tile and of the name below it
COLUMNS, AT_MOST = 6, 24  # tiles per row and in all
DPI = 120  # of saved figures


def draw_statistics(
    folder: VocFolder, statistics: Statistics, examination: Examination, proposals: Mapping[str, str]
) -> None:
    """dataset.png: classes, gray levels, sizes of objects, and the proposals (flags → reason)."""
    shown = [one for one in statistics.classes if one.pixels] or statistics.classes
    figure = Figure(figsize=(12, 6.2 + 0.22 * max(len(shown) - 6, 0)), layout="constrained")
    bars, levels, sizes, words = figure.subplots(2, 2).ravel()
    figure.suptitle(f"{folder.root.name}: {counted(statistics.pictures, 'picture')}")
    colors = class_colors(len(statistics.classes))
    names, shares = [shorten(one.name) for one in shown], [one.share for one in shown]
    drawn = bars.barh(names, shares, color=[colors[one.index] for one in shown])
    labels = [f"{one.share:.1%}, in {counted(one.pictures, 'picture')}" for one in shown]
    bars.bar_label(drawn, labels, padding=3)
    bars.invert_yaxis()
    widest = 1.5 * max(shares)
    bars.set(xlim=(0, widest), title="classes, share of pixels")
    # There is room for the labels, but no share beyond the whole.
    bars.set_xticks([tick for tick in bars.get_xticks() if tick <= min(widest, 1)])
    bars.spines["bottom"].set_bounds(0, min(widest, 1))
    bars.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _draw_levels(levels, statistics)
    _draw_sizes(sizes, statistics, examination, colors)
    words.axis("off")
    text = _summarise(statistics, proposals)
    words.text(0, 1, text, va="top", fontsize=9, linespacing=1.5, transform=words.transAxes)
    for axes in (bars, levels, sizes):
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, folder.root / "dataset.png")


def class_colors(count: int) -> np.ndarray:
    """The palette as (count, 3) float 0…1, the background light gray to be visible on white."""
    colors = voc_palette(count) / 255
    colors[0] = 0.8
    return colors


def _draw_levels(axes: Axes, statistics: Statistics) -> None:
    top = 65535 if "16" in statistics.bits else 255
    edges = np.linspace(0, top, len(statistics.intensity_histogram) + 1)
    axes.stairs(statistics.intensity_histogram, edges, fill=True, color="#777777")
    for percent in ("1", "99"):
        axes.axvline(statistics.intensity_percentiles[percent], color="black", linestyle=":", linewidth=1)
    axes.set(xlim=(0, top), yticks=[], title="gray levels of all channels (dotted: 1 % and 99 %)")


def _draw_sizes(axes: Axes, statistics: Statistics, examination: Examination, colors: np.ndarray) -> None:
    edges = 2 ** (np.arange(257) / SIZE_BINS)
    classes = [one for one in statistics.classes if one.objects]
    curves = []
    for one in classes:
        label = f"{shorten(one.name)}: {one.objects}, median {one.object_median:.0f}"
        curves.append((label, colors[one.index], examination.objects[one.index].bins))
    if len(curves) > 8:
        total = sum(bins for _, _, bins in curves)
        curves = [(f"all classes: {total.sum()}", "black", total)]
    for label, color, bins in curves:
        # Four bins in one: a curve instead of a comb.
        axes.stairs(bins.reshape(-1, 4).sum(1), edges[::4], color=color, linewidth=1.5, label=label)
    axes.set(title="objects (connected parts), by size in pixels", ylabel="number")
    if classes:
        smallest, largest = min(c.object_smallest for c in classes), max(c.object_largest for c in classes)
        axes.set(xscale="log", xlim=(smallest / 1.5, largest * 1.5))
        axes.legend(fontsize=8)


def _summarise(statistics: Statistics, proposals: Mapping[str, str]) -> str:
    lines = []
    for title in ("sizes", "channels", "bits"):
        counts = [f"{name}: {count}" for name, count in getattr(statistics, title).items()]
        lines.append(f"{title}  {list_some(counts, 4)}")
    lines += [f"ignored pixels (255)  {statistics.ignored_pixels}", "", "Proposed"]
    return "\n".join(lines + [f"{flags}\n      {reason}" for flags, reason in proposals.items()])


def draw_contact_sheet(folder: VocFolder, reports: Sequence[PairReport], class_names: Sequence[str]) -> None:
    """contact_sheet.png: up to 24 pictures with their masks laid over, if possible with every class."""
    chosen = choose_pairs(reports, len(class_names))
    tiles = []
    for report in chosen:
        mask = read_mask(folder.mask_path(report.record.name))
        tile = overlay_tile(read_image(report.picture), mask, TILE)
        tiles.append(np.pad(tile, ((0, STRIP), (0, STRIP), (0, 0)), constant_values=255))
    columns = min(COLUMNS, len(tiles))
    sheet = montage(tiles, columns, gap=0)
    height, width = sheet.shape[:2]
    present = set().union(*(report.record.values for report in reports))
    shown = [index for index in range(1, len(class_names)) if index in present]
    legend = 30 * -(-len(shown) // columns)
    figure = Figure(figsize=(width / DPI, (height + legend) / DPI), dpi=DPI)
    figure.figimage(sheet, 0, legend, resize=False)
    for number, report in enumerate(chosen):
        x = number % columns * (TILE + STRIP) + TILE / 2
        y = legend + height - number // columns * (TILE + STRIP) - TILE - STRIP / 2
        name = report.record.name
        name = name if len(name) <= 34 else f"…{name[-33:]}"
        place = {"ha": "center", "va": "center", "fontsize": 6.5, "parse_math": False}
        figure.text(x / width, y / (height + legend), name, **place)
    colors = class_colors(len(class_names))
    labels = {index: shorten(class_names[index]).replace("$", r"\$") for index in shown}
    if patches := [Patch(color=colors[index], label=label) for index, label in labels.items()]:
        figure.legend(handles=patches, loc="lower left", ncols=columns, frameon=False, fontsize=9)
    save_figure(figure, folder.root / "contact_sheet.png")


def choose_pairs(reports: Sequence[PairReport], classes: int) -> list[PairReport]:
    """Up to AT_MOST pairs, in their order: for each class the mask with most of it, then evenly spread."""
    values = [report.record.values for report in reports]
    totals = {label: sum(one.get(label, 0) for one in values) for label in range(classes)}
    chosen: dict[int, None] = {}
    for label in sorted((label for label in totals if totals[label]), key=totals.get)[: AT_MOST // 2]:
        chosen[max(range(len(values)), key=lambda index: values[index].get(label, 0))] = None
    spread = np.linspace(0, len(reports) - 1, AT_MOST).round().astype(int).tolist()
    chosen.update(dict.fromkeys(spread))
    return [reports[index] for index in sorted(list(chosen)[:AT_MOST])]


def shorten(name: str, most: int = 22) -> str:
    """A name that leaves room for the picture beside it."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
