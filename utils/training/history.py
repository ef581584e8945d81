"""The log of a run: history.csv and its curves."""

import csv
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from utils.core.console import UserError, warn
from utils.core.files import replacing
from utils.images.plots import draw_curves


@dataclass(frozen=True)
class Row:
    """One epoch. lr: of its last step; losses: means; miou: 0…1; seconds: of training and validation.

    val_loss and miou: NaN, in the file nothing, after an epoch without validation.
    """

    epoch: int
    lr: float
    train_loss: float
    val_loss: float
    miou: float
    seconds: float
    images_per_second: float


def best_row(rows: Sequence[Row]) -> Row:
    """The row of the highest mIoU."""
    return max(rows, key=lambda row: -1 if math.isnan(row.miou) else row.miou)


class History:
    """history.csv of a run folder, which begins with the rows of an earlier part of the run."""

    def __init__(self, path: Path, rows: Sequence[Row] = ()):
        self.path, self.rows = path, [*rows]

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        try:
            with replacing(self.path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(field.name for field in fields(Row))
                for values in map(astuple, self.rows):
                    writer.writerow(map(format_cell, values))
        except UserError as error:
            # A full disk, or on Windows a spreadsheet program that shows it: no reason to end a training.
            warn(f"{self.path}: {error.found}; the next epoch writes it again")

    def draw(self) -> None:
        """loss.png and miou.png beside the CSV."""
        curves = {field.name: [getattr(row, field.name) for row in self.rows] for field in fields(Row)}
        losses = {"training": curves["train_loss"], "validation": curves["val_loss"]}
        draw_curves(self.path.with_name("loss.png"), curves["epoch"], losses, "loss")
        scores = {"validation": curves["miou"]}
        draw_curves(self.path.with_name("miou.png"), curves["epoch"], scores, "mIoU", top=1.0)


def format_cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}" if isinstance(value, float) else str(value)


def read_history(path: Path) -> list[Row]:
    """Rows of a history.csv; empty if there is no file. Raises UserError for a damaged one."""
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        return [
            Row(int(row.pop("epoch")), **{k: float(v or math.nan) for k, v in row.items()}) for row in rows
        ]
    except (ValueError, TypeError, KeyError, csv.Error):
        remedy = "move the file away; the run starts a new one"
        raise UserError("history-damaged", path, "a damaged table", "that of train.py", remedy) from None
