"""The log of a run: one CSV row per epoch, and the curves drawn from it."""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from utils.core.console import UserError, warn
from utils.core.files import replacing
from utils.images.plots import draw_curves


@dataclass(frozen=True)
class Row:
    """One epoch. lr: of its last step; losses: means; miou: 0…1; seconds: of training and validation."""

    epoch: int
    lr: float
    train_loss: float
    val_loss: float
    miou: float
    seconds: float
    images_per_second: float


class History:
    """history.csv of a run folder. Of an earlier part of the run the first `keep_epochs` rows are kept."""

    def __init__(self, path: Path, keep_epochs: int = 0):
        self.path = path
        self.rows = [row for row in read_history(path) if row.epoch <= keep_epochs] if keep_epochs else []

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        try:
            with replacing(self.path) as temporary:
                self._write(temporary)
        except UserError as error:
            # On Windows a spreadsheet program locks the file that it shows, which is no reason to end a
            # training.
            warn(f"{self.path}: {error.found}; the next epoch writes it again")

    def _write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            writer.writeheader()
            for row in self.rows:
                values = asdict(row).items()
                writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values})

    def draw(self) -> None:
        """loss.png and miou.png beside the CSV."""
        epochs = [row.epoch for row in self.rows]
        training, validation = [row.train_loss for row in self.rows], [row.val_loss for row in self.rows]
        losses = {"training": training, "validation": validation}
        draw_curves(self.path.with_name("loss.png"), epochs, losses, "loss")
        scores = {"validation": [row.miou for row in self.rows]}
        draw_curves(self.path.with_name("miou.png"), epochs, scores, "mIoU", top=1.0)


def read_history(path: Path) -> list[Row]:
    """Rows of a history.csv; empty if there is no file. Raises UserError for a damaged one."""
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        return [Row(int(row.pop("epoch")), **{k: float(v) for k, v in row.items()}) for row in rows]
    except (ValueError, TypeError, KeyError, csv.Error):
        found, remedy = (
            "a table that is damaged or was edited",
            "move the file away; the run starts a new one",
        )
        raise UserError("history-damaged", path, found, "the table that train.py wrote", remedy) from None
