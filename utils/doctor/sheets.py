"""The two pictures of a data set: its statistics, and a sheet of overlays that shows at a glance whether masks fit."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from utils.core.console import counted
from utils.doctor.examination import SIZE_BINS, Findings, Seen
from utils.doctor.statistics import Statistics
from utils.images.palette import voc_palette
from utils.images.plots import montage, overlay_tile, save_figure
from utils.images.reading import read_image, read_mask
from utils.voc.folder import VocFolder

TILE, STRIP, COLUMNS, AT_MOST = (
    256,
    26,
    6,
    24,
)  # pixels of a tile and of the name below it; tiles a row and in all
DPI = 120  # of saved figures


def draw_statistics(folder: VocFolder, statistics: Statistics, findings: Findings) -> None:
    """dataset.png: shares of the classes, gray levels, sizes of objects, and the proposals."""
    shown = [one for one in statistics.classes if one.pixels] or statistics.classes
    figure = Figure(figsize=(12, 6.2 + 0.22 * max(len(shown) - 6, 0)), layout="constrained")
    bars, levels, sizes, words = figure.subplots(2, 2).ravel()
    figure.suptitle(f"{folder.root.name}: {counted(statistics.pictures, 'picture')}")
    colours = class_colours(len(statistics.classes))
    names, shares = [shortened(one.name) for one in shown], [one.share for one in shown]
    drawn = bars.barh(names, shares, color=[colours[one.index] for one in shown])
    bars.bar_label(
        drawn, [f"{one.share:.1%}, in {counted(one.pictures, 'picture')}" for one in shown], padding=3
    )
    bars.invert_yaxis()
    bars.set(xlim=(0, 1.5 * max(shares)), title="classes, share of pixels")
    bars.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    top = 65535 if "16" in statistics.bits else 255
    edges = np.linspace(0, top, len(statistics.intensity_histogram) + 1)
    levels.stairs(statistics.intensity_histogram, edges, fill=True, color="#777777")
    for name in ("1", "99"):
        levels.axvline(statistics.intensity_percentiles[name], color="black", linestyle=":", linewidth=1)
    levels.set(xlim=(0, top), yticks=[], title="gray levels of all channels (dotted: 1 % and 99 %)")
    _draw_sizes(sizes, statistics, findings, colours)
    words.axis("off")
    words.text(0, 1, _in_words(statistics), va="top", fontsize=9, linespacing=1.5, transform=words.transAxes)
    for axes in (bars, levels, sizes):
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, folder.root / "dataset.png")


def class_colours(count: int) -> np.ndarray:
    """The palette as (count, 3) float 0…1, the background light gray, which is seen on white."""
    colours = voc_palette(count) / 255
    colours[0] = 0.8
    return colours


def _draw_sizes(axes: Axes, statistics: Statistics, findings: Findings, colours: np.ndarray) -> None:
    edges = 2 ** (np.arange(257) / SIZE_BINS)
    counted = [one for one in statistics.classes if one.objects]
    curves = []
    for one in counted:
        label = f"{shortened(one.name)}: {one.objects}, median {one.object_median:.0f}"
        curves.append((label, colours[one.index], findings.objects[one.index].bins))
    if len(curves) > 8:
        total = sum(bins for _, _, bins in curves)
        curves = [(f"all classes: {total.sum()}", "black", total)]
    for label, colour, bins in curves:
        # Four bins in one: a curve instead of a comb.
        axes.stairs(bins.reshape(-1, 4).sum(1), edges[::4], color=colour, linewidth=1.5, label=label)
    axes.set(title="objects (connected parts), by size in pixels", ylabel="number")
    if counted:
        smallest, largest = (
            min(one.object_smallest for one in counted),
            max(one.object_largest for one in counted),
        )
        axes.set(xscale="log", xlim=(smallest / 1.5, largest * 1.5))
        axes.legend(fontsize=8)


def _in_words(statistics: Statistics) -> str:
    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{name}: {count}" for name, count in list(counts.items())[:4]) + ", …" * (
            len(counts) > 4
        )

    lines = [f"sizes  {listed(statistics.sizes)}", f"channels  {listed(statistics.channels)}"]
    lines += [
        f"bits  {listed(statistics.bits)}",
        f"ignored pixels (255)  {statistics.ignored_pixels}",
        "",
        "Proposed",
    ]
    return "\n".join(lines + [f"{one.flags}\n      {one.reason}" for one in statistics.proposals])


def draw_contact_sheet(folder: VocFolder, seen: Sequence[Seen], class_names: Sequence[str]) -> None:
    """contact_sheet.png: up to 24 pictures with their masks laid over and outlined, every class among them where it can be."""
    chosen = choose(seen, len(class_names))
    tiles = []
    for one in chosen:
        tile = overlay_tile(read_image(one.picture), read_mask(folder.mask_path(one.name)), TILE)
        tiles.append(np.pad(tile, ((0, STRIP), (0, STRIP), (0, 0)), constant_values=255))
    columns = min(COLUMNS, len(tiles))
    sheet = montage(tiles, columns, gap=0)
    height, width = sheet.shape[:2]
    present = set().union(*(one.values for one in seen))
    shown = [index for index in range(1, len(class_names)) if index in present]
    legend = 30 * -(-len(shown) // columns)
    figure = Figure(figsize=(width / DPI, (height + legend) / DPI), dpi=DPI)
    figure.figimage(sheet, 0, legend, resize=False)
    for number, one in enumerate(chosen):
        x = number % columns * (TILE + STRIP) + TILE / 2
        y = legend + height - number // columns * (TILE + STRIP) - TILE - STRIP / 2
        name = one.name if len(one.name) <= 34 else f"…{one.name[-33:]}"
        place = {"ha": "center", "va": "center", "fontsize": 6.5, "parse_math": False}
        figure.text(x / width, y / (height + legend), name, **place)
    colours = class_colours(len(class_names))
    patches = [
        Patch(color=colours[index], label=shortened(class_names[index]).replace("$", r"\$"))
        for index in shown
    ]
    if patches:
        figure.legend(handles=patches, loc="lower left", ncols=columns, frameon=False, fontsize=9)
    save_figure(figure, folder.root / "contact_sheet.png")


def choose(seen: Sequence[Seen], classes: int) -> list[Seen]:
    """Up to AT_MOST of the pairs, in their order: for each class the mask with most of it, the rarest first, then evenly."""
    totals = {label: sum(one.values.get(label, 0) for one in seen) for label in range(classes)}
    chosen: dict[int, None] = {}
    for label in sorted((label for label in totals if totals[label]), key=totals.get)[: AT_MOST // 2]:
        chosen[max(range(len(seen)), key=lambda index: seen[index].values.get(label, 0))] = None
    spread = np.linspace(0, len(seen) - 1, AT_MOST).round().astype(int).tolist()
    chosen.update(dict.fromkeys(spread))
    return [seen[index] for index in sorted(list(chosen)[:AT_MOST])]


def shortened(name: str, most: int = 22) -> str:
    """A name that leaves room for the picture beside it."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
