"""The tables of all pictures of a folder, which several processes may fill."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from utils.core.files import remove
from utils.core.tables import append_row, join_tables, read_table, write_table


@dataclass(frozen=True)
class FolderTables:
    """summary.csv, order.csv and, where objects are measured, objects.csv. rank: number of this process."""

    folder: Path
    objects: bool = False
    rank: int = 0

    @property
    def summary(self) -> Path:
        return self.folder / "summary.csv"

    @property
    def order(self) -> Path:
        return self.folder / "order.csv"

    @property
    def paths(self) -> list[Path]:
        return [self.summary, self.order, *([self.folder / "objects.csv"] if self.objects else [])]

    def add(self, row: dict[str, object]) -> None:
        """Add a picture: the first process to summary.csv, any other to a file of its own."""
        append_row(self.folder / f"summary.{self.rank}.csv" if self.rank else self.summary, row)

    def remove_summaries(self) -> None:
        for part in (self.summary, *self._parts()):
            if part.exists():
                remove(part)

    def finish(self, objects_of: Callable[[str], Path]) -> None:
        """Join the rows of all processes, those of an interrupted run included, and write the other tables.

        order.csv lists the pictures from the least to the most certain, because the first are worth
        correcting. objects_of: the object table of a picture by its name in summary.csv.
        """
        for part in self._parts():
            for row in read_table(part):
                append_row(self.summary, row)
            remove(part)
        if not self.summary.exists():
            return
        # A picture that was done again has a second row, which counts.
        rows = list({row["picture"]: row for row in read_table(self.summary)}.values())
        write_table(self.summary, rows)
        ordered = sorted(rows, key=lambda row: float(row["mean_certainty"]))
        write_table(
            self.order, [{name: row[name] for name in ("picture", "mean_certainty")} for row in ordered]
        )
        if self.objects:
            tables = [objects_of(row["picture"]) for row in rows]
            join_tables(self.folder / "objects.csv", [table for table in tables if table.exists()])

    def _parts(self) -> list[Path]:
        """Summaries of all processes but the first, not yet joined."""
        found = self.folder.glob("summary.*.csv")
        return sorted(part for part in found if re.fullmatch(r"summary\.\d+\.csv", part.name))
