"""Score a model on a split of a VOC folder: a table per class, the confusion matrix, plots, and the predicted masks."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from unet import Unet
from utils.core.console import UserError, counted, progress, run_script, warn
from utils.core.files import replacing
from utils.core.heap import keep_freed_memory
from utils.images.palette import numbered_classes
from utils.images.plots import draw_class_bars, draw_confusion_matrix
from utils.images.reading import read_mask
from utils.images.writing import write_mask
from utils.scoring.confusion import ConfusionMatrix, Scores
from utils.voc.classes import check_classes
from utils.voc.folder import VocFolder
from utils.voc.survey import survey_pairs


@dataclass
class Config:
    """Settings of an evaluation."""

    model_path: list[Path] | None = (
        None  # checkpoint, or several to average; None: the newest logs/*/best.pth
    )
    voc_root: Path | None = None  # VOC folder; None: the one that the model was trained on
    split: str = "val"  # split file in ImageSets/Segmentation: val, test, train, trainval
    output: Path = Path("miou_out")  # folder for metrics.csv, confusion_matrix.csv, the plots and masks/
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # number format of the network
    tta: bool = False  # average over flips and turns by 90°: better by a little, eight times slower
    close_gaps: str | None = None  # name of a class that separates others, such as membrane: close its gaps


def main(config: Config) -> None:
    unet = Unet(config.model_path, config.device, config.precision, config.tta, config.close_gaps)
    folder = VocFolder(config.voc_root or unet.settings.get("voc_root", ""))
    if not folder.root.is_dir() or folder.root == Path():
        raise UserError(
            "main",
            folder.root,
            "no such folder",
            "the VOC folder to score on",
            "pass --voc-root VOCdevkit/VOC2007",
        )
    names = folder.read_split(config.split)
    take_names(folder, unet)
    check_split(folder, names, unet)
    matrix = ConfusionMatrix(unet.num_classes)
    keep_freed_memory()
    for name in progress(names, f"scoring {config.split}", "picture"):
        mask = unet.predict(folder.image_path(name))
        matrix.update(read_mask(folder.mask_path(name)), mask)
        write_mask(config.output / "masks" / f"{name}.png", mask)
    scores = matrix.scores()
    print(f"model    {unet.origin}, {unet.precision}")
    print(f"data     {folder.root}, split {config.split}: {counted(len(names), 'picture')}\n")
    print_table(unet.class_names, scores)
    write_tables(config.output, unet.class_names, scores)
    for name, values, label in (("iou", scores.iou, "IoU"), ("precision", scores.precision, "Precision"),
                                ("recall", scores.recall, "Recall")):  # fmt: skip
        draw_class_bars(
            config.output / f"{name}.png",
            unet.class_names,
            values,
            f"{label} (mean {np.nanmean(values):.4f})",
        )
    draw_confusion_matrix(config.output / "confusion_matrix.png", unet.class_names, scores.matrix)
    print(f"\nwritten to {config.output}: metrics.csv, confusion_matrix.csv, "
          "iou.png, precision.png, recall.png, confusion_matrix.png, masks/")  # fmt: skip
    say_what_looks_wrong(unet.class_names, scores)


def take_names(folder: VocFolder, unet: Unet) -> None:
    """Classes that the weights only number, such as those of other repositories, are called as the folder has them."""
    own = folder.read_class_names()
    if unet.class_names == numbered_classes(unet.num_classes) and own and len(own) == unet.num_classes:
        unet.class_names = own


def check_split(folder: VocFolder, names: list[str], unet: Unet) -> None:
    """Raises UserError if a mask is faulty or the classes of the folder are not those of the model."""
    records = survey_pairs(folder, names).records
    own = folder.read_class_names()
    if own is not None and own != unet.class_names:
        raise UserError(
            "check-split",
            folder.class_names_path,
            f"classes {', '.join(own)}",
            f"the classes of {unet.model_path}: {', '.join(unet.class_names)}",
            "choose a model of these classes by --model-path logs/<run>/best.pth, or other data by --voc-root",
        )
    check_classes(folder, records, unet.class_names)


def percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.2f}"


def print_table(class_names: list[str], scores: Scores) -> None:
    """One line a class, then the means; in percent."""
    width = max(len("frequency-weighted IoU"), *(len(name) for name in class_names))
    print(f"{'class, in %':<{width}}    IoU   Dice  precision  recall")
    for name, *row in zip(class_names, scores.iou, scores.dice, scores.precision, scores.recall, strict=True):
        iou, dice, precision, recall = map(percent, row)
        print(f"{name:<{width}} {iou:>6} {dice:>6} {precision:>10} {recall:>7}")
    iou, dice, precision, recall = map(percent, (scores.miou, scores.mdice, scores.mprecision, scores.mpa))
    print(f"{'mean':<{width}} {iou:>6} {dice:>6} {precision:>10} {recall:>7}")
    print(f"{'overall accuracy':<{width}} {percent(scores.accuracy):>6}")
    print(f"{'frequency-weighted IoU':<{width}} {percent(scores.fwiou):>6}")


def write_tables(output: Path, class_names: list[str], scores: Scores) -> None:
    """metrics.csv (shares 0…1, empty where a class has no say) and confusion_matrix.csv (pixels; rows truth)."""
    columns = zip(class_names, scores.iou, scores.dice, scores.precision, scores.recall, strict=True)
    rows = [*columns, ("mean", scores.miou, scores.mdice, scores.mprecision, scores.mpa)]
    rows += [("overall accuracy", scores.accuracy), ("frequency-weighted IoU", scores.fwiou)]
    scored = ([name, *("" if np.isnan(v) else f"{v:.6f}" for v in values)] for name, *values in rows)
    write_csv(output / "metrics.csv", [("class", "iou", "dice", "precision", "recall"), *scored])
    counted = ([name, *row] for name, row in zip(class_names, scores.matrix.tolist(), strict=True))
    write_csv(output / "confusion_matrix.csv", [("truth \\ prediction", *class_names), *counted])


def write_csv(path: Path, rows: Iterable[Sequence]) -> None:
    """A table that spreadsheet programs open with the right letters. Raises UserError where it cannot be written."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(rows)


def say_what_looks_wrong(class_names: list[str], scores: Scores) -> None:
    """Verdicts on results that are wrong in a known way."""
    predicted = scores.matrix.sum(0)
    if (predicted > 0).sum() == 1:
        only = class_names[int(predicted.argmax())]
        warn(
            f"every pixel was predicted as {only}: check the training masks (python voc2unet.py) and train longer"
        )
        return
    for name, recall in zip(class_names, scores.recall, strict=True):
        if recall == 0:
            warn(
                f"class {name} is in the truth but no pixel of it was found: too rare in training, or too little training"
            )


if __name__ == "__main__":
    run_script(main, Config, __doc__)
