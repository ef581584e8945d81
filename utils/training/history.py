"""The log of a run: one CSV row an epoch, and the curves drawn from it."""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from utils.core.console import UserError, warn
from utils.core.files import replacing
from utils.images.plots import draw_curves


@dataclass(frozen=True)
class Row:
    """One epoch. lr: the rate of its last step; losses: means; miou: 0…1; seconds: training and validation."""

    epoch: int
    lr: float
    train_loss: float
    val_loss: float
    miou: float
    seconds: float
    images_per_second: float


class History:
    """history.csv of a run folder. `keep_epochs` rows of an earlier part of the run are kept, later ones dropped."""

    def __init__(self, path: Path, keep_epochs: int = 0):
        self.path = path
        self.rows = [row for row in read_history(path) if row.epoch <= keep_epochs] if keep_epochs else []

    def add(self, row: Row) -> None:
        self.rows.append(row)
        try:
            with replacing(self.path) as temporary:
                self._write(temporary)
        except UserError as error:
            # On Windows a spreadsheet program locks the file that it shows; no reason to end a training.
            warn(f"{self.path}: {error.found}; it is written again after the next epoch")

    def _write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(Row)])
            writer.writeheader()
            for row in self.rows:
                writer.writerow(
                    {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in asdict(row).items()}
                )

    def draw(self) -> None:
        """loss.png and miou.png beside the CSV."""
        epochs = [row.epoch for row in self.rows]
        losses = {
            "training": [r.train_loss for r in self.rows],
            "validation": [r.val_loss for r in self.rows],
        }
        draw_curves(self.path.with_name("loss.png"), epochs, losses, "loss")
        draw_curves(
            self.path.with_name("miou.png"),
            epochs,
            {"validation": [r.miou for r in self.rows]},
            "mIoU",
            top=1.0,
        )


def read_history(path: Path) -> list[Row]:
    """Rows of a history.csv; empty where there is no file. Raises UserError for a damaged one."""
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [
                Row(int(row.pop("epoch")), **{k: float(v) for k, v in row.items()})
                for row in csv.DictReader(file)
            ]
    except (ValueError, TypeError, KeyError, csv.Error):
        remedy = "move the file away; the run then goes on with a new one"
        raise UserError(
            "read-history", path, "a damaged table, or one changed by hand", "what train.py wrote", remedy
        ) from None
