"""The curves of a run as a picture in the colors of the window, drawn in any thread."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PyQt5.QtGui import QImage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from utils.training.history import Row

DPI = 90  # at which letters are as large as those of the window


@dataclass(frozen=True)
class Style:
    """width, height: in pixels of the screen; ratio: of these to pixels of the window; words: by CURVES."""

    width: int
    height: int
    ratio: float
    ink: str
    words: tuple[str, ...]


# What the words of a Style stand for, in this order.
CURVES = "loss", "training", "validation", "epoch", "best: {score} (epoch {epoch})"


def draw_loss(rows: "Sequence[Row]", style: Style) -> QImage:
    from utils.images.plots import curves_figure

    label, training, validation, epoch, _ = drawable(style.words)
    losses = {training: [row.train_loss for row in rows], validation: [row.val_loss for row in rows]}
    return _draw(curves_figure([row.epoch for row in rows], losses, label), epoch, style)


def draw_miou(rows: "Sequence[Row]", style: Style) -> QImage:
    from utils.images.plots import curves_figure

    _, _, validation, epoch, best = drawable(style.words)
    scores = {validation: [row.miou for row in rows]}
    return _draw(curves_figure([row.epoch for row in rows], scores, "mIoU", 1.0, best), epoch, style)


def drawable(words: Sequence[str]) -> Sequence[str]:
    """The words, or English ones where matplotlib knows no font with Chinese letters, unlike Qt."""
    from matplotlib.font_manager import get_font_names

    from utils.images.plots import CJK_FONTS

    return words if "".join(words).isascii() or {*CJK_FONTS} & {*get_font_names()} else CURVES


def _draw(figure: "Figure", epoch: str, style: Style) -> QImage:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from utils.images.plots import lettering

    figure.set_dpi(DPI * style.ratio)
    figure.set_size_inches(style.width / figure.dpi, style.height / figure.dpi)
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
        axes.set_xlabel(epoch)
        axes.tick_params(colors=style.ink, which="both")
        for label in (axes.xaxis.label, axes.yaxis.label, *axes.get_legend().get_texts()):
            label.set_color(style.ink)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(style.ink)
    canvas = FigureCanvasAgg(figure)
    with lettering("the picture of the curves", figure):
        canvas.draw()
    pixels = canvas.buffer_rgba()
    image = QImage(pixels, pixels.shape[1], pixels.shape[0], QImage.Format_RGBA8888).copy()
    image.setDevicePixelRatio(style.ratio)
    return image
