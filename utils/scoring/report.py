"""The report of a scored split: one HTML page that needs no other file, its figures, and a LaTeX table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from utils.core.console import counted
from utils.core.files import replacing
from utils.core.tables import read_table
from utils.images.palette import IGNORE_INDEX, voc_palette
from utils.images.plots import (
    class_bars,
    confusion_figure,
    curves_figure,
    lettering,
    save_for_print,
    spread_figure,
    xy_figure,
)
from utils.scoring.comparison import Difference
from utils.scoring.gallery import ERRORS, Shown
from utils.scoring.results import Estimate, SplitResults
from utils.scoring.scores import Score
from utils.scoring.tables import compared, comparison_sentence, heading, remarks, show, show_interval
from utils.scoring.thresholds import reliability
from utils.scoring.verdict import Finding

BARS = {"iou": "IoU", "precision": "Precision", "recall": "Recall"}
GROUPS = {"pixels": "Pixels", "borders": "Borders", "objects": "Objects", "topology": "Parts and holes"}
CELLS_WITH_TEXT = 25  # classes of a confusion matrix with a number in each cell


@dataclass(frozen=True)
class Table:
    """rows: a name, then pairs of a value and its 95 % interval or other small print."""

    caption: str
    header: list[str]
    rows: list[tuple[str, list[tuple[str, str]]]]


@dataclass(frozen=True)
class Report:
    """What the page shows beside the results. facts: label and text of what was scored, and with what.

    curves: columns of history.csv, empty without one.
    """

    facts: Mapping[str, str]
    findings: Sequence[Finding] = ()
    gallery: Mapping[str, Sequence[Shown]] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    differences: Sequence[Difference] = ()


def write_report(output: Path, results: SplitResults, report: Report) -> list[str]:
    """report.html, its figures as PNG and SVG, and metrics.tex; returns the names of the files."""
    figures = dict(make_figures(results, report))
    figures["confusion_matrix"] = confusion_figure(results.class_names, results.matrix)
    with lettering(output):
        drawn = {name: Markup(save_for_print(figure, output / name)) for name, figure in figures.items()}
    # The page has a table in its place.
    drawn.pop("confusion_matrix")
    folder = Path(__file__).parent
    # Names of classes, pictures and files are text, never markup.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    swatches = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in voc_palette().tolist()]
    ignored = [("ignored", swatches[IGNORE_INDEX])] if results.ignored.any() else []
    page = environment.get_template("report.html.j2").render(
        report=report,
        results=results,
        headlines=list(headlines(results)),
        comparison=comparison_sentence(report.differences, results),
        tables=list(make_tables(results, report)),
        figures=drawn,
        matrix=list(zip(results.class_names, matrix_rows(results.matrix), strict=True)),
        with_text=len(results.class_names) <= CELLS_WITH_TEXT,
        remarks=list(remarks(results)),
        classes=[*zip(results.class_names, swatches, strict=False), *ignored],
        errors={
            text.replace("background", results.class_names[0]): "#{:02x}{:02x}{:02x}".format(*color)
            for text, color in ERRORS.items()
        },
    )
    write_text(output / "report.html", page)
    write_text(output / "metrics.tex", latex_table(results))
    return ["report.html", "metrics.tex", *(f"{name}.png and .svg" for name in figures)]


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def make_figures(results: SplitResults, report: Report) -> Iterator[tuple[str, Figure]]:
    """File name and figure."""
    names = results.class_names
    scores = {score.key: score for score in results.class_scores}
    for key, label in BARS.items():
        each = results.estimate(scores[key])
        bars = ", with 95 % intervals" * bool(np.isfinite(each.low).any())
        title = f"{label}, pooled{bars} (mean {each.pooled[-1]:.4f})"
        yield key, class_bars(names, each.pooled[:-1], title, np.stack([each.low, each.high])[:, :-1])
    yield (
        "pictures",
        spread_figure(
            [*names, "mean"], results.per_picture(scores["iou"]), "IoU of each picture, and the median"
        ),
    )
    if epochs := report.curves.get("epoch"):
        losses = {"training": report.curves["train_loss"], "validation": report.curves["val_loss"]}
        yield "loss", curves_figure(epochs, losses, "loss")
        yield "miou", curves_figure(epochs, {"validation": report.curves["miou"]}, "mIoU", top=1.0)
    if (curve := results.threshold_curve) is not None:
        best = f"best threshold {curve.thresholds[curve.best]:.3f}"
        points = {
            "": (curve.recall, curve.precision),
            best: (curve.recall[[curve.best]], curve.precision[[curve.best]]),
        }
        yield "precision_recall", xy_figure(points, "recall", f"precision of {names[1]}")
        said, found, _ = reliability(results.probabilities.pooled().counts)
        diagonal = np.array([0.0, 1.0])
        lines = {"network": (said, found), "calibrated": (diagonal, diagonal)}
        yield "reliability", xy_figure(lines, f"probability of {names[1]}", "share in the truth", 3)


def headlines(results: SplitResults) -> Iterator[tuple[str, str, str]]:
    """Label, value and interval of the figures at the top."""
    chosen = [score for score in results.class_scores if score.key in ("iou", "dice")]
    for score in chosen:
        each = results.estimate(score)
        label = f"mean {score.label}"
        yield label, show(score, each.pooled[-1], results), ends_of(score, each, -1, results)
        values = each.per_picture_low[-1], each.per_picture_high[-1]
        average = show(score, each.per_picture[-1], results)
        yield f"{label}, mean per picture", average, show_interval(score, *values, results)


def ends_of(score: Score, each: Estimate, index: int, results: SplitResults) -> str:
    return show_interval(score, np.ravel(each.low)[index], np.ravel(each.high)[index], results)


def make_tables(results: SplitResults, report: Report) -> Iterator[Table]:
    for group, title in GROUPS.items():
        scores = [score for score in results.class_scores if score.group == group]
        table = class_table(title, scores, results)
        known = [row for row in table.rows if any(value != "–" for value, _ in row[1])]
        if known:
            yield replace(table, rows=known)
    rows = []
    for score in results.overall_scores:
        each = results.estimate(score)
        average = show_interval(score, float(each.per_picture_low), float(each.per_picture_high), results)
        pooled = show(score, float(each.pooled), results), ends_of(score, each, 0, results)
        rows.append((score.label, [pooled, (show(score, float(each.per_picture), results), average)]))
    yield Table("All classes together", ["score", "pooled", "mean per picture"], rows)
    if report.differences:
        yield difference_table(results, report.differences)


def class_table(title: str, scores: Sequence[Score], results: SplitResults) -> Table:
    """A row per class and one for their mean, pooled; the last row is the mean per picture."""
    estimates = [results.estimate(score) for score in scores]
    pairs = list(zip(scores, estimates, strict=True))
    rows = [
        (
            name,
            [
                (show(score, each.pooled[k], results), ends_of(score, each, k, results))
                for score, each in pairs
            ],
        )
        for k, name in enumerate([*results.class_names, "mean"])
    ]
    averages = [
        (
            show(score, each.per_picture[-1], results),
            show_interval(score, each.per_picture_low[-1], each.per_picture_high[-1], results),
        )
        for score, each in pairs
    ]
    header = ["class", *(heading(score, results) for score in scores)]
    return Table(f"{title}, pooled over the split", header, [*rows, ("mean per picture", averages)])


def difference_table(results: SplitResults, differences: Sequence[Difference]) -> Table:
    rows = [
        (name, [(this, ""), (other, ""), (value, bar), (verdict, "")])
        for name, this, other, value, bar, verdict in compared(differences, results)
    ]
    return Table("Against the other run", ["score", "this", "other", "difference", ""], rows)


def matrix_rows(matrix: np.ndarray) -> list[list[tuple[float | None, int]]]:
    """Share of the row (None where it is empty) and pixels of every cell."""
    totals = matrix.sum(1)
    return [
        [(count / total if total else None, count) for count in row]
        for row, total in zip(matrix.tolist(), totals.tolist(), strict=True)
    ]


def latex_table(results: SplitResults) -> str:
    """The scores of the pixels as a LaTeX table of the package booktabs, with intervals."""
    scores = [score for score in results.class_scores if score.group == "pixels"]
    table = class_table("", scores, results)
    lines = [" & ".join(map(latex, table.header)) + r" \\", r"\midrule"]
    for name, cells in table.rows:
        texts = [value if bar == "–" else rf"{value} {{\scriptsize ({bar})}}" for value, bar in cells]
        texts = [text.replace(" … ", "--").replace("–", "--") for text in texts]
        lines += [r"\midrule"] * (name == "mean") + [" & ".join([latex(name), *texts]) + r" \\"]
    columns = "l" + "r" * len(scores)
    number = counted(len(results.names), "picture")
    note = f"% In percent, {number}; in brackets 95 % intervals (bootstrap over pictures)."
    head = [note, r"% \usepackage{booktabs}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    return "\n".join([*head, *lines, r"\bottomrule", r"\end{tabular}", ""])


def latex(text: str) -> str:
    """Text in which LaTeX sees no commands."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    }
    return "".join(special.get(sign, sign) for sign in text)


def read_curves(path: Path) -> dict[str, list[float]]:
    """Columns of a history.csv; none without the file or its columns."""
    rows = read_table(path) if path.is_file() else []
    wanted = ("epoch", "train_loss", "val_loss", "miou")
    if not rows or not set(wanted) <= set(rows[0]):
        return {}
    columns = {name: [float(row[name] or "nan") for row in rows] for name in wanted}
    return {**columns, "epoch": [int(epoch) for epoch in columns["epoch"]]}
