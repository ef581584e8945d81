"""Scores as tables: printed in percent, and as CSV files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.core.tables import write_table
from utils.scoring.confusion import Scores

COLUMNS = ("iou", "dice", "precision", "recall")


def percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.2f}"


def class_rows(class_names: Sequence[str], scores: Scores) -> list[tuple[str, list[float]]]:
    """Name and COLUMNS of every class, then the means; shares in 0…1, NaN where a class has no say."""
    columns = np.column_stack([scores.iou, scores.dice, scores.precision, scores.recall])
    means = [scores.miou, scores.mdice, scores.mprecision, scores.mpa]
    return [*zip(class_names, columns.tolist(), strict=True), ("mean", means)]


def overall_rows(scores: Scores) -> list[tuple[str, float]]:
    return [("overall accuracy", scores.accuracy), ("frequency-weighted IoU", scores.fwiou)]


def print_scores(class_names: Sequence[str], scores: Scores) -> None:
    """One line per class, then the means; in percent."""
    rows, overall = class_rows(class_names, scores), overall_rows(scores)
    width = max(len(name) for name, _ in (*rows, *overall))
    print(f"{'class, in %':<{width}}    IoU   Dice  precision  recall")
    for name, values in rows:
        iou, dice, precision, recall = map(percent, values)
        print(f"{name:<{width}} {iou:>6} {dice:>6} {precision:>10} {recall:>7}")
    for name, value in overall:
        print(f"{name:<{width}} {percent(value):>6}")


def write_scores(output: Path, class_names: Sequence[str], scores: Scores) -> None:
    """metrics.csv (shares, empty for NaN) and confusion_matrix.csv (pixels, a row per class of the truth)."""
    rows = [
        {"class": name, **dict(zip(COLUMNS, map(share, values), strict=True))}
        for name, values in class_rows(class_names, scores)
    ]
    overall = [{"class": name, "iou": share(value)} for name, value in overall_rows(scores)]
    write_table(output / "metrics.csv", [*rows, *overall])
    counted = [
        {"truth \\ prediction": name, **dict(zip(class_names, row, strict=True))}
        for name, row in zip(class_names, scores.matrix.tolist(), strict=True)
    ]
    write_table(output / "confusion_matrix.csv", counted)


def share(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"
