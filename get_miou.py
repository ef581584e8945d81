"""Score a model on a split of a VOC folder: scores per class, confusion matrix, plots, predicted masks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from unet import Unet
from utils.core.console import UserError, counted, progress, run_script, warn
from utils.core.heap import keep_freed_memory
from utils.images.palette import numbered_classes
from utils.images.plots import draw_class_bars, draw_confusion_matrix
from utils.images.reading import read_mask
from utils.images.writing import write_mask
from utils.models.checkpoint import Checkpoint
from utils.scoring.confusion import ConfusionMatrix, Scores
from utils.scoring.tables import print_scores, write_scores
from utils.scoring.verdict import warn_about_scores
from utils.voc.classes import check_classes
from utils.voc.folder import VocFolder
from utils.voc.survey import survey_pairs

# What helps when memory runs out, see `run_script`.
REMEDIES = {
    "memory": "close other programs (nvidia-smi lists those on an NVIDIA GPU), or use --device cpu; cut the "
    "largest pictures of the folder into smaller ones, because each is read whole"
}


@dataclass
class Config:
    """Settings of an evaluation."""

    model_path: list[Path] | None = None  # checkpoint, or several to average; None: newest logs/*/best.pth
    voc_root: Path | None = None  # VOC folder; None: the one that the model was trained on
    split: str | None = None  # split file: val, test, train, trainval, …; None: val, or that of the fold
    output: Path = Path("miou_out")  # folder for metrics.csv, confusion_matrix.csv, the plots and masks/
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # number format of the network
    tta: bool = False  # average over the mirror images and turns known from training: up to 8 times slower
    close_gaps: str | None = None  # name of a class that separates others, such as membrane: close its gaps


def main(config: Config) -> None:
    unet = Unet(config.model_path, config.device, config.precision, config.tta, config.close_gaps)
    folder = find_folder(config, unet)
    split = config.split or choose_split(folder, unet)
    names = folder.read_split(split)
    adopt_class_names(folder, unet)
    check_split(folder, names, unet)
    warn_of_training_pictures(folder, split, names, unet)
    matrix = ConfusionMatrix(unet.num_classes)
    keep_freed_memory()
    for name in progress(names, f"scoring {split}", "picture"):
        mask = unet.predict(folder.image_path(name))
        matrix.update(read_mask(folder.mask_path(name)), mask)
        write_mask(config.output / "masks" / f"{name}.png", mask)
    scores = matrix.scores()
    print(f"model    {unet.origin}, {unet.precision}")
    print(f"data     {folder.root}, split {split}: {counted(len(names), 'picture')}\n")
    print_scores(unet.class_names, scores)
    write_scores(config.output, unet.class_names, scores)
    plots = draw_plots(config.output, unet.class_names, scores)
    print(f"\nwritten to {config.output}: metrics.csv, confusion_matrix.csv, {', '.join(plots)}, masks/")
    warn_about_scores(unet.class_names, scores)


def find_folder(config: Config, unet: Unet) -> VocFolder:
    """--voc-root, or the folder that the model was trained on. Raises UserError if it is not there."""
    folder = VocFolder(config.voc_root or unet.settings.get("voc_root", ""))
    if not folder.root.is_dir() or folder.root == Path():
        expected, remedy = "the VOC folder to score on", "pass --voc-root VOCdevkit/VOC2007"
        raise UserError("voc-root-missing", folder.root, "no such folder", expected, remedy)
    return folder


def was_trained_on(folder: VocFolder, checkpoint: Checkpoint) -> bool:
    """Whether it is the folder of the training, or may be it under another name."""
    trained = Path(checkpoint.settings.get("voc_root", ""))
    return not trained.is_dir() or trained.resolve() == folder.root.resolve()


def choose_split(folder: VocFolder, unet: Unet) -> str:
    """The validation pictures of the training: val, or those of its fold."""
    folds = {member.checkpoint.settings.get("fold") for member in unet.members}
    fold = folds.pop() if len(folds) == 1 and was_trained_on(folder, unet.checkpoint) else None
    return "val" if fold is None else f"fold{fold}_val"


def warn_of_training_pictures(folder: VocFolder, split: str, names: list[str], unet: Unet) -> None:
    for member in unet.members:
        seen = set(names) & set(member.checkpoint.trained_on)
        if seen and was_trained_on(folder, member.checkpoint):
            shown = f"{len(seen)} of the {counted(len(names), 'picture')} of {split}, such as {min(seen)}"
            own = choose_split(folder, unet)
            remedy = f". Pictures that it has not seen: --split {own}" * (own != split)
            warn(f"{member.path} was trained on {shown}: the scores are too good{remedy}")


def adopt_class_names(folder: VocFolder, unet: Unet) -> None:
    """Classes that the weights only number, such as those of other repositories, get the folder's names."""
    own = folder.read_class_names()
    if unet.class_names == numbered_classes(unet.num_classes) and own and len(own) == unet.num_classes:
        unet.class_names = own


def check_split(folder: VocFolder, names: list[str], unet: Unet) -> None:
    """Raises UserError if a mask is faulty or the classes of the folder are not those of the model."""
    records = survey_pairs(folder, names).records
    own = folder.read_class_names()
    if own is not None and own != unet.class_names:
        found = f"classes {', '.join(own)}"
        expected = f"the classes of {unet.model_path}: {', '.join(unet.class_names)}"
        remedy = "pass a --model-path with these classes, or another --voc-root"
        raise UserError("class-names-differ", folder.class_names_path, found, expected, remedy)
    check_classes(folder, records, unet.class_names)


def draw_plots(output: Path, class_names: list[str], scores: Scores) -> list[str]:
    """Write the plots; returns the names of the files."""
    bars = {"IoU": scores.iou, "Precision": scores.precision, "Recall": scores.recall}
    for label, values in bars.items():
        title = f"{label} (mean {np.nanmean(values):.4f})"
        draw_class_bars(output / f"{label.lower()}.png", class_names, values, title)
    draw_confusion_matrix(output / "confusion_matrix.png", class_names, scores.matrix)
    return [*(f"{label.lower()}.png" for label in bars), "confusion_matrix.png"]


if __name__ == "__main__":
    run_script(main, Config, __doc__, REMEDIES)
