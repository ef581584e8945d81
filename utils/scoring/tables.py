"""Scores as tables: printed, shares in percent, and as CSV files, shares in 0…1."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from utils.core.console import counted
from utils.core.tables import write_table
from utils.images.masks import is_partly_annotated
from utils.scoring.bootstrap import FEW, LEAST
from utils.scoring.comparison import Difference
from utils.scoring.results import SplitResults
from utils.scoring.scores import Score
from utils.scoring.thresholds import ThresholdCurve

PRINTED = {
    "pixels": ("iou", "dice", "precision", "recall", "specificity"),
    "borders": ("boundary_iou", "boundary_f", "hausdorff95", "surface_distance"),
    "objects": ("object_precision", "object_recall", "object_f1", "object_f1_mean", "panoptic_quality"),
    "counts": ("count_error", "parts_error", "holes_error"),
}
COMPARED = ("iou", "dice", "boundary_f", "object_f1", "accuracy", "kappa", "rand_f", "v_rand", "v_info")


def show(score: Score, value: float, results: SplitResults) -> str:
    """A value as people read it: percent, a length in the unit of the results, or a number; `–` for none."""
    if np.isnan(value):
        return "–"
    if score.kind == "length":
        return f"{value * results.measures.pixel_size:.2f}"
    return f"{100 * value:.2f}" if score.kind == "share" else f"{value:.2f}"


def show_interval(score: Score, low: float, high: float, results: SplitResults) -> str:
    return "–" if np.isnan(low) else f"{show(score, low, results)} … {show(score, high, results)}"


def heading(score: Score, results: SplitResults) -> str:
    return f"{score.label}, {results.measures.unit}" if score.kind == "length" else score.label


def subjects(score: Score, results: SplitResults) -> list[str]:
    return [*results.class_names, "mean"] if score.by_class else ["all"]


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The first column flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for first, *rest in (header, *rows):
        cells = (text.rjust(width) for text, width in zip(rest, widths[1:], strict=True))
        print(f"{first:<{widths[0]}}  {'  '.join(cells)}".rstrip())


def print_results(results: SplitResults) -> None:
    """A table per group of scores, with a line per class, one of all classes, and what was left out."""
    print_class_table(results, PRINTED["pixels"], bars=True)
    print()
    print_overall(results)
    measured = {score.key for score in results.class_scores}
    for keys in (PRINTED["borders"], PRINTED["objects"], PRINTED["counts"]):
        if measured.isdisjoint(keys):
            continue
        print()
        print_class_table(results, keys)
    print()
    print("\n".join(remarks(results)))


def print_class_table(results: SplitResults, keys: Sequence[str], bars: bool = False) -> None:
    """Pooled scores per class, of the first one also its interval; the last line is the mean per picture."""
    scores = [score for score in results.class_scores if score.key in keys]
    estimates = [results.estimate(score) for score in scores]
    header, columns = ["class"], [[*results.class_names, "mean", "mean per picture"]]
    for number, (score, each) in enumerate(zip(scores, estimates, strict=True)):
        header.append(heading(score, results))
        values = [*each.pooled, each.per_picture[-1]]
        columns.append([show(score, value, results) for value in values])
        if bars and not number:
            header.append("95 %")
            lows = [*each.low, each.per_picture_low[-1]]
            highs = [*each.high, each.per_picture_high[-1]]
            pairs = zip(lows, highs, strict=True)
            columns.append([show_interval(score, low, high, results) for low, high in pairs])
    rows = [row for row in zip(*columns, strict=True) if bars or set(row[1:]) != {"–"}]
    if rows:
        print_table(header, rows)


def print_overall(results: SplitResults) -> None:
    header, rows = ["all classes", "pooled", "95 %", "mean per picture"], []
    for score in results.overall_scores:
        each = results.estimate(score)
        bar = show_interval(score, float(each.low), float(each.high), results)
        values = [show(score, float(value), results) for value in (each.pooled, each.per_picture)]
        rows.append([score.label, values[0], bar, values[1]])
    print_table(header, rows)


def remarks(results: SplitResults) -> Iterator[str]:
    """How it was computed, what was left out, and how sure it is."""
    measures, number = results.measures, len(results.names)
    yield "Shares in percent, pooled: from the sums over all pictures. 95 %: bootstrap over the pictures."
    if number < FEW:
        intervals = "the 95 % intervals are rough" if number > 1 else "without 95 % intervals"
        yield f"Only {counted(number, 'picture')}: {intervals}. Score {FEW} or more."
    ignored, pictures = int(results.ignored.sum()), int(np.count_nonzero(results.ignored))
    if ignored:
        share = ignored / (ignored + results.matrix.sum())
        where = f"marked 255 in {counted(pictures, 'picture')}"
        yield f"Left out: {ignored:,} pixels ({share:.2%}) {where}."
        if is_partly_annotated(labelled := int(results.matrix.sum()), labelled + ignored):
            yield (
                f"The masks are strokes or the like: the scores are those on {1 - share:.2%} of the pixels, "
                "which people draw where they are sure. Borders and objects need outlines and are not scored."
            )
    if results.borders is not None:
        yield f"Boundary F: contours may be {measures.tolerance:g} px off. Boundary IoU: 2 % of the diagonal."
        alone = results.borders.one_sided.sum(0).astype(int)
        named = [f"{name} {n}" for name, n in zip(results.class_names, alone, strict=True) if n]
        if named:
            yield f"No distance in pictures with the class in truth or prediction alone: {', '.join(named)}."
    if results.objects is not None and measures.object_classes:
        names = ", ".join(results.class_names[index] for index in measures.object_classes)
        yield f"Objects: connected parts of {names}; found above IoU 0.5. Betti 0: parts, Betti 1: holes."
    if results.regions is not None:
        yield from region_remarks(results)
    if (curve := results.threshold_curve) is not None:
        yield from threshold_remarks(curve, results.class_names[1])


def region_remarks(results: SplitResults) -> Iterator[str]:
    measures, name = results.measures, results.class_names[results.measures.membrane]
    yield f"Rand F-score of the mask: {name} as predicted, pixels in pairs (adapted Rand, no thinning)."
    how = "of the mask, thinned"
    if measures.v_rand_threshold is not None:
        rand, info = measures.v_rand_threshold, measures.v_info_threshold
        how = f"thinned, at the best threshold of the probability ({rand:g} and {info:g})"
    yield f"V-Rand and V-Info: as the ISBI 2012 challenge computes them: {name} {how}."


def threshold_remarks(curve: ThresholdCurve, class_name: str) -> Iterator[str]:
    """What the best threshold brings, beside one half."""
    half = int(np.abs(curve.thresholds - 0.5).argmin())
    texts = []
    for index in (curve.best, half):
        dice, precision, recall = (100 * x[index] for x in (curve.dice, curve.precision, curve.recall))
        at = f"{curve.thresholds[index]:.3f}" if index != half else "0.5"
        texts.append(f"{at}: Dice {dice:.2f}, precision {precision:.2f}, recall {recall:.2f}")
    yield f"Threshold of the probability of {class_name}: best {texts[0]}; {texts[1]}."
    yield f"Average precision {100 * curve.average_precision:.2f}."


def print_comparison(differences: Sequence[Difference], results: SplitResults, other: str) -> None:
    """The main scores of both, their difference with its interval, and whether it is more than noise."""
    print(f"\nagainst {other}")
    print_table(["score", "this", "other", "difference", "95 %", ""], list(compared(differences, results)))
    if sentence := comparison_sentence(differences, results):
        print(sentence)


def compared(differences: Sequence[Difference], results: SplitResults) -> Iterator[list[str]]:
    """Name, both values, difference, interval and verdict of the main scores, IoU of every class."""
    for each in differences:
        if each.score.key in COMPARED and (each.score.key == "iou" or each.subject in ("mean", "all")):
            values = [show(each.score, value, results) for value in (each.first, each.second, each.value)]
            subject = each.score.label if each.subject == "all" else f"{each.score.label}, {each.subject}"
            yield [subject, *values, show_interval(each.score, each.low, each.high, results), each.verdict]


def comparison_sentence(differences: Sequence[Difference], results: SplitResults) -> str:
    """The difference of the mean IoU, and whether it is more than noise; "" if one side has none."""
    for each in differences:
        if (each.score.key, each.subject) == ("iou", "mean"):
            bar = show_interval(each.score, each.low, each.high, results)
            number = counted(len(results.names), "picture")
            by = f"mIoU differs by {100 * each.value:+.2f} points (95 %: {bar}) on {number}: {each.verdict}"
            few = f", because chance can make all of them agree; compare {LEAST} or more"
            return by + few * (each.verdict == "too few pictures") + "."
    return ""


def write_results(output: Path, results: SplitResults) -> list[str]:
    """All tables as CSV, values as numbers (empty for NaN); returns the names of the files."""
    write_table(output / "metrics.csv", list(class_rows(results)))
    write_table(output / "scores.csv", list(score_rows(results)))
    write_table(output / "pictures.csv", list(picture_rows(results)))
    names = results.class_names
    matrix = [
        {"truth \\ prediction": name, **dict(zip(names, row, strict=True))}
        for name, row in zip(names, results.matrix.tolist(), strict=True)
    ]
    write_table(output / "confusion_matrix.csv", matrix)
    return ["metrics.csv", "scores.csv", "pictures.csv", "confusion_matrix.csv"]


def class_rows(results: SplitResults) -> Iterator[dict[str, object]]:
    """A row per class and one for their mean, a column per pooled score."""
    pooled = {score.key: results.pooled(score) for score in results.class_scores}
    for index, name in enumerate([*results.class_names, "mean"]):
        yield {"class": name, **{key: number(values[index]) for key, values in pooled.items()}}


def score_rows(results: SplitResults) -> Iterator[dict[str, object]]:
    """A row per score and class: pooled and per picture, each with its interval. Lengths are in pixels."""
    for score in (*results.class_scores, *results.overall_scores):
        columns = {key: np.ravel(values) for key, values in vars(results.estimate(score)).items()}
        for index, subject in enumerate(subjects(score, results)):
            values = {key: number(column[index]) for key, column in columns.items()}
            yield {"score": score.key, "class": subject, **values}


def picture_rows(results: SplitResults) -> Iterator[dict[str, object]]:
    """A row per picture: ignored pixels, every score of all classes, the means, and those of every class."""
    scores = [*results.overall_scores, *results.class_scores]
    each = {score: results.per_picture(score).reshape(len(results.names), -1) for score in scores}
    for index, name in enumerate(results.names):
        row: dict[str, object] = {"picture": name, "ignored_px": int(results.ignored[index])}
        row |= {score.key: number(values[index, -1]) for score, values in each.items()}
        for place, class_name in enumerate(results.class_names):
            by_class = {f"{s.key} {class_name}": x[index, place] for s, x in each.items() if s.by_class}
            row |= {key: number(value) for key, value in by_class.items()}
        yield row


def write_threshold_curve(output: Path, curve: ThresholdCurve) -> list[str]:
    """A row per threshold; returns the name of the file."""
    columns = {key: values.tolist() for key, values in vars(curve).items()}
    rows = zip(*columns.values(), strict=True)
    table = [dict(zip(columns, map(number, row), strict=True)) for row in rows]
    write_table(output / "thresholds.csv", table)
    return ["thresholds.csv"]


def write_comparison(output: Path, differences: Sequence[Difference]) -> list[str]:
    """All scores of both, with their difference; returns the name of the file."""
    rows = [
        {
            "score": each.score.key,
            "class": each.subject,
            "this": each.first,
            "other": each.second,
            "difference": each.value,
            "low": number(each.low),
            "high": number(each.high),
            "verdict": each.verdict,
        }
        for each in differences
    ]
    write_table(output / "comparison.csv", rows)
    return ["comparison.csv"]


def write_order(output: Path, results: SplitResults, expected: dict[str, float]) -> list[str]:
    """order.csv: expected and true IoU of each picture, the lowest expected first; returns its name."""
    true = dict(zip(results.names, results.per_picture(results.class_scores[0])[:, -1].tolist(), strict=True))
    names = sorted((name for name in expected if not np.isnan(true[name])), key=expected.get)
    rows = [{"picture": name, "expected_iou": expected[name], "iou": true[name]} for name in names]
    write_table(output / "order.csv", rows, ["picture", "expected_iou", "iou"])
    pairs = [(expected[name], true[name]) for name in names]
    # Networks that agree everywhere rank nothing.
    if len(names) > 2 and all(len(set(values)) > 1 for values in zip(*pairs, strict=True)):
        rank = spearmanr(*zip(*pairs, strict=True)).statistic
        number = counted(len(names), "picture")
        found = f"Spearman {rank:.2f} with the true one, {number}"
        print(f"\nexpected IoU, by the agreement of the networks: {found}")
    return ["order.csv"]


def number(value: float) -> float | str:
    return "" if np.isnan(value) else float(value)
