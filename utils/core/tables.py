"""Tables as CSV files that spreadsheet programs open."""

import csv
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from utils.core.console import UserError
from utils.core.files import replacing

# What spreadsheet programs compute, but for plain numbers.
FORMULA = re.compile(r"(?![-+]?[\d.]+(e[-+]?\d+)?$)[=+\-@\t\r]", re.IGNORECASE)
ENCODING = "utf-8-sig"  # with the mark by which spreadsheet programs know UTF-8


def write_table(path: Path, rows: Sequence[dict[str, object]], columns: Iterable[str] | None = None) -> None:
    """Write rows, floats with six digits; columns: needed where there is no row."""
    with replacing(path) as temporary, temporary.open("w", encoding=ENCODING, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(map(escape, columns or rows[0]))
        writer.writerows(map(as_text, rows))


def append_row(path: Path, row: dict[str, object]) -> None:
    """Add a row to a table, or begin one. Raises UserError if its columns differ or it cannot be written."""
    if not path.exists():
        write_table(path, [row])
        return
    with path.open(encoding=ENCODING, newline="") as file:
        columns = [unescape(cell) for cell in next(csv.reader(file), [])]
    if columns != list(row):
        expected = f"the columns {', '.join(row)}"
        remedy = "choose another --output, repeat the settings of the earlier run, or --overwrite it"
        raise UserError("table-columns", path, "a table with other columns", expected, remedy)
    size = path.stat().st_size
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(as_text(row))
    except OSError as error:
        # Half a row would spoil the table for a run that is resumed.
        with suppress(OSError):
            os.truncate(path, size)
        found, remedy = f"it cannot be written ({error.strerror})", "close other programs; free disk space"
        raise UserError("table-locked", path, found, "a table to add a row to", remedy) from None


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding=ENCODING, newline="") as file:
        header, *rows = [list(map(unescape, row)) for row in csv.reader(file)] or [[]]
    return [dict(zip(header, row, strict=False)) for row in rows]


def as_text(row: dict[str, object]) -> list[object]:
    return [f"{v:.6g}" if isinstance(v, float) else escape(v) for v in row.values()]


def escape(cell: object) -> object:
    """A text that a spreadsheet program would run as a formula, such as the name =cmd(), after a quote."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell.lstrip("'")) else cell


def unescape(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and FORMULA.match(cell.lstrip("'")) else cell


def join_tables(path: Path, parts: Iterable[Path]) -> None:
    """Write tables of the same columns one below the other, however long they are."""
    with replacing(path) as temporary, temporary.open("w", encoding=ENCODING, newline="") as file:
        for number, part in enumerate(parts):
            with part.open(encoding=ENCODING, newline="") as source:
                header = source.readline()
                file.write("" if number else header)
                shutil.copyfileobj(source, file)
