"""The curve of a circle: pictures corrected → score."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.annotating.state import Round
from utils.core.tables import write_table
from utils.images.plots import save_figure


def draw_curve(path: Path, rounds: list[Round]) -> None:
    """The picture at `path`, and its numbers beside it as CSV."""
    columns = {"number": "round", "validation": "validation mIoU", "proposals": "mIoU of the proposals"}
    rows = [{columns.get(key, key): value for key, value in asdict(one).items()} for one in rounds]
    write_table(
        path.with_suffix(".csv"), [{k: "" if v is None else v for k, v in row.items()} for row in rows]
    )
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    x = [one.pictures for one in rounds]
    lines = {
        "mIoU of the validation pictures": [one.validation for one in rounds],
        "mIoU of proposals against corrections": [one.proposals for one in rounds],
        "corrected pixels, share of all": [one.corrected / max(one.pixels, 1) for one in rounds],
    }
    for (label, values), style in zip(lines.items(), ("o-", "s--", "^:"), strict=True):
        axes.plot(x, np.array(values, float), style, label=label, markersize=4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="pictures corrected", ylabel="share", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    save_figure(figure, path)
