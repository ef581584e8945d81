"""How pictures of floats became 16 bits: scaling.json of a VOC folder."""

import json
from pathlib import Path

from utils.core.console import UserError
from utils.core.files import read_record, write_lines


def record_scaling(path: Path, entries: dict[str, dict]) -> None:
    """Add entries to a scaling.json: name → low, high, to."""
    record = read_record(path)
    if record != {**record, **entries}:
        write_lines(path, [json.dumps({**record, **entries}, indent=1, ensure_ascii=False)])


def widest_range(path: Path) -> tuple[float, float]:
    """The lowest value that became 0 and the highest that became 65535 in the stacks of a scaling.json."""
    try:
        entries = read_record(path).values()
        return min(float(one["low"]) for one in entries), max(float(one["high"]) for one in entries)
    except (KeyError, TypeError, ValueError):
        found, expected = "no scale of any stack", "low and high for each stack"
        remedy = "pass the scaling.json that import_dataset.py wrote for the training data"
        raise UserError("scaling-empty", path, found, expected, remedy) from None
