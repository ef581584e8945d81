"""Score a model on a split of a VOC folder: scores per class, confusion matrix, plots, predicted masks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from unet import Unet
from utils.core.console import UserError, counted, progress, run_script, warn
from utils.core.heap import keep_freed_memory
from utils.core.settings import check_settings
from utils.images.palette import numbered_classes
from utils.images.reading import read_mask
from utils.images.writing import write_mask
from utils.inference.agreement import Agreement
from utils.inference.ensemble import find_class
from utils.inference.maps import classes, member_classes, probability_of
from utils.inference.objects import parse_pixel_size
from utils.inference.tiling import join
from utils.models.checkpoint import (
    Checkpoint,
    is_own_format,
    load_checkpoint,
    load_weights_only,
    save_checkpoint,
)
from utils.models.weights import is_of_imagenet
from utils.scoring.comparison import Difference, compare
from utils.scoring.gallery import make_gallery
from utils.scoring.predictions import find_masks, read_prediction
from utils.scoring.report import Report, read_curves, write_report
from utils.scoring.results import Measures, SplitResults
from utils.scoring.scorer import Scorer
from utils.scoring.tables import (
    print_comparison,
    print_results,
    write_comparison,
    write_order,
    write_results,
    write_threshold_curve,
)
from utils.scoring.verdict import (
    EXPLAINS,
    GAIN,
    Finding,
    Origin,
    judge_drop,
    judge_scores,
    judge_turns,
    report_findings,
)
from utils.voc.classes import check_classes
from utils.voc.folder import VocFolder
from utils.voc.survey import survey_pairs

# What helps when memory runs out, see `run_script`.
REMEDIES = {
    "memory": "close other programs, or cut the largest pictures into smaller ones: each is read whole",
    "gpu": "close other programs (nvidia-smi lists those on an NVIDIA GPU), or use --device cpu",
}
# (class indices (H, W) uint8, probability (H, W) uint16 or None) of a picture by its name
Predictor = Callable[[str], tuple[np.ndarray, np.ndarray | None]]


@dataclass
class Config:
    """Settings of an evaluation."""

    model_path: list[Path] | None = None  # checkpoint, or several to average; None: newest logs/*/best.pth
    voc_root: Path | None = None  # VOC folder; None: the one that the model was trained on
    split: str | None = None  # split file: val, test, train, trainval, …; None: val, or that of the fold
    output: Path = Path("miou_out")  # folder for the tables, the plots and the predicted masks
    compare: Path | None = None  # another run, checkpoint, or folder of masks: is the difference noise?
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # number format of the network
    tta: bool = False  # average over the mirror images and turns known from training: up to 8 times slower
    close_gaps: str = "auto"  # class that separates others, such as membrane: close its gaps; auto; none

    tolerance: Annotated[int, Ge(1)] = 2  # pixels by which borders may be off in the boundary F-score
    pixel_size: str | None = None  # side of a pixel, such as 0.5um: distances are printed in this unit
    object_classes: tuple[str, ...] = ()  # names of classes whose parts are objects; none: all but the first
    membrane: str | None = None  # class that separates objects; None: the class membrane if there is one
    store_threshold: bool = False  # two classes: write the best threshold into the checkpoint, to predict by


def main(config: Config) -> None:
    check_settings(config)
    unet = Unet(config.model_path, config.device, config.precision, config.tta, config.close_gaps)
    folder = find_folder(config, unet)
    held_out = {} if config.split else find_held_out(folder, unet)
    split = config.split or choose_split(folder, unet)
    names = list(held_out) or folder.read_split(split)
    described = "each fold on its own held-out part" if held_out else f"split {split}"
    adopt_class_names(folder.read_class_names(), unet)
    check_split(folder, names, unet)
    measures = choose_measures(config, unet.class_names)
    if config.store_threshold:
        check_threshold_storage(unet)
    other = open_other(config, unet, folder, names) if config.compare else None
    if not held_out:
        warn_of_training_pictures(folder, split, names, unet)
    keep_freed_memory()
    expected: dict[str, float] = {}
    predict = predict_held_out(held_out, folder, measures) if held_out else None
    predict = predict or predictor(unet, folder, measures, expected)
    results = score_split(unet, folder, names, measures, predict, config.output)
    data = f"{folder.root}, {described}: {counted(len(results.names), 'picture')}"
    facts = {"model": describe_model(unet), "data": data}
    print("\n".join(f"{label:<8} {text}" for label, text in facts.items()) + "\n")
    print_folds(held_out, results)
    print_results(results)
    tables = write_results(config.output, results) + report_threshold(config, unet, results)
    differences: list[Difference] = []
    if other is not None:
        differences = list(compare(results, score_split(unet, folder, names, measures, other)))
        print_comparison(differences, results, str(config.compare))
        tables += write_comparison(config.output, differences)
    tables += write_order(config.output, results, expected) if expected else []
    findings = judge(unet, folder, results, config.output)
    tables += make_report(config, facts, unet, folder, results, findings, differences)
    print(f"\nwritten to {config.output}: {', '.join(tables)}, masks/")
    report_findings(findings)


def describe_model(unet: Unet) -> str:
    """The files, the number format, and what is done to the probability and the mask."""
    stored = [] if unet.threshold is None else [f"threshold {unet.threshold:.3f}"]
    closed = [] if unet.gap_class is None else [f"gaps of {unet.class_names[unet.gap_class]} closed"]
    return ", ".join([unet.origin, str(unet.precision), *stored, *closed])


def choose_measures(config: Config, class_names: list[str]) -> Measures:
    """What is measured. Raises UserError for names that are no class, and for a faulty --pixel-size."""
    membrane = config.membrane or ("membrane" if "membrane" in class_names else None)
    between = None if membrane is None else find_class("--membrane", membrane, class_names)
    # Between membranes every other class is an object, also the first.
    usual = [index for index in range(len(class_names)) if index != (between or 0)]
    chosen = [find_class("--object-classes", name, class_names) for name in config.object_classes]
    pixel = parse_pixel_size(config.pixel_size) if config.pixel_size else None
    size = {"pixel_size": pixel.value, "unit": pixel.unit} if pixel else {}
    return Measures(config.tolerance, object_classes=tuple(chosen or usual), membrane=between, **size)


def predictor(
    unet: Unet, folder: VocFolder, measures: Measures, expected: dict[str, float] | None = None
) -> Predictor:
    """Predicts pictures of the folder, with the probability that the measures need.

    expected: takes the expected IoU of each picture by its name, if there are several networks.
    """
    wanted = Scorer(unet.class_names, measures).probability_class if unet.has_probabilities else None
    outputs = [classes] if wanted is None else [classes, partial(probability_of, wanted, bits=16)]

    def predict(name: str) -> tuple[np.ndarray, np.ndarray | None]:
        picture = unet.open(folder.image_path(name))
        each = [member_classes] if expected is not None and len(unet.members) > 1 else []
        mask, *more = join(unet.bands(picture, *outputs, *each), picture.shape[0], axis=-2)
        if each:
            agreement = Agreement(len(unet.members), unet.num_classes)
            agreement.update(more.pop())
            expected[name] = agreement.expected_iou
        return mask, more[0] if more else None

    return predict


def find_held_out(folder: VocFolder, unet: Unet) -> dict[str, Unet]:
    """Name → the network that was not trained on it, where every network is of another fold of the folder."""
    networks = {single.settings.get("fold"): single for single in unet.alone()}
    known = None not in networks and len(networks) == len(unet.members) > 1
    if not known or not all(was_trained_on(folder, single.checkpoint) for single in networks.values()):
        return {}
    parts = {fold: folder.read_split(f"fold{fold}_val") for fold in sorted(networks)}
    return {name: networks[fold] for fold, names in parts.items() for name in names}


def predict_held_out(held_out: dict[str, Unet], folder: VocFolder, measures: Measures) -> Predictor:
    """Predicts each picture by the network that was not trained on it."""
    predictors = {unet: predictor(unet, folder, measures) for unet in held_out.values()}
    return lambda name: predictors[held_out[name]](name)


def print_folds(held_out: dict[str, Unet], results: SplitResults) -> None:
    """A line per fold, before the pooled scores."""
    for unet in dict.fromkeys(held_out.values()):
        part = [index for index, name in enumerate(results.names) if held_out[name] is unet]
        miou, number = results.pixels.pick(np.array(part)).pooled().miou, counted(len(part), "picture")
        print(f"fold {unet.settings['fold']}   mIoU {miou:.2%} on {number}, {unet.model_path}")
    if held_out:
        print("\nall folds pooled:\n")


def score_split(
    unet: Unet,
    folder: VocFolder,
    names: list[str],
    measures: Measures,
    predict: Predictor,
    output: Path | None = None,
) -> SplitResults:
    """Score the predictions of some pictures, and write their masks if there is an output folder."""
    scorer = Scorer(unet.class_names, measures)
    for name in progress(names, "scoring", "picture"):
        mask, probability = predict(name)
        scorer.update(name, read_mask(folder.mask_path(name)), mask, probability)
        if output:
            write_mask(output / "masks" / f"{name}.png", mask)
    return scorer.results()


def open_other(config: Config, unet: Unet, folder: VocFolder, names: list[str]) -> Predictor:
    """What predicts for --compare: a run folder or a checkpoint, or masks. Raises UserError."""
    path = config.compare / "best.pth" if (config.compare / "best.pth").is_file() else config.compare
    if path.is_file():
        other = Unet(path, config.device, config.precision, config.tta, config.close_gaps)
        adopt_class_names(unet.class_names, other)
        if other.class_names != unet.class_names:
            found, expected = (", ".join(one.class_names) for one in (other, unet))
            raise UserError("class-names-differ", path, found, expected, "compare models of the same classes")
        return predictor(other, folder, choose_measures(config, other.class_names))
    masks = find_masks(path, names)
    return lambda name: (read_prediction(masks[name], folder.mask_path(name), unet.num_classes), None)


def report_threshold(config: Config, unet: Unet, results: SplitResults) -> list[str]:
    """Write the curve of two classes, and store the best threshold if asked to; returns names of files."""
    curve = results.threshold_curve
    if curve is None:
        if config.store_threshold:
            warn(f"no threshold is stored: no pixel of the truth is {unet.class_names[1]}")
        return []
    if config.store_threshold:
        path, threshold = Path(unet.model_path), float(curve.thresholds[curve.best])
        save_checkpoint(path, replace(load_checkpoint(path), threshold=threshold))
        print(
            f"\nStored in {path}: predictions use it from now on. It fits these pictures best: score others."
        )
    return write_threshold_curve(config.output, curve)


def check_threshold_storage(unet: Unet) -> None:
    """Raises UserError for more classes, for an ensemble, and for files that are none of ours."""
    if unet.num_classes != 2:
        found, remedy = f"a model of {unet.num_classes} classes", "leave it out"
        raise UserError("threshold-classes", "--store-threshold", found, "two classes", remedy)
    single = len(unet.members) == 1 and unet.model_path.suffix.lower() != ".onnx"
    if not (single and is_own_format(load_weights_only(unet.model_path))):
        expected, remedy = "one checkpoint of train.py", "pass it alone as --model-path"
        raise UserError("threshold-storage", unet.origin, "an ensemble or another file", expected, remedy)


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


def adopt_class_names(own: list[str] | None, unet: Unet) -> None:
    """Classes that the weights only number, such as those of other repositories, get the folder's names."""
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


def judge(unet: Unet, folder: VocFolder, results: SplitResults, output: Path) -> list[Finding]:
    """What is wrong in a known way."""
    scores, few = results.scores, results.names[:20]
    found = judge_scores(unet.class_names, scores, folder.root)
    masks = output / "masks"
    pairs = ((read_mask(folder.mask_path(name)), read_mask(masks / f"{name}.png")) for name in few)
    # Scores above cannot gain as much by a turn.
    found += judge_turns(pairs, unet.num_classes, folder.root) if scores.miou < 1 - GAIN else []
    if any(finding.code in EXPLAINS for finding in found):
        return found
    high = results.estimate(results.class_scores[0]).high[-1]
    trained = None if is_of_imagenet(unet.normalisation) else unet.normalisation
    origin = Origin(unet.model_path, unet.scores.get("miou"), trained)

    def read_means() -> np.ndarray:
        return np.mean([unet.members[0].channel_means(unet.open(folder.image_path(n))) for n in few], axis=0)

    return found + judge_drop(origin, high, read_means, scores.miou, folder.root)


def make_report(
    config: Config,
    facts: dict[str, str],
    unet: Unet,
    folder: VocFolder,
    results: SplitResults,
    findings: list[Finding],
    differences: list[Difference],
) -> list[str]:
    """Write the report with its figures; returns the names of the files."""

    def read(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        picture = unet.open(folder.image_path(name))[:]
        prediction = read_mask(config.output / "masks" / f"{name}.png")
        return picture, read_mask(folder.mask_path(name)), prediction

    miou = results.per_picture(results.class_scores[0])[:, -1]
    curves = read_curves(unet.members[0].path.with_name("history.csv"))
    gallery = make_gallery(results.names, miou, read)
    return write_report(config.output, results, Report(facts, findings, gallery, curves, differences))


if __name__ == "__main__":
    run_script(main, Config, __doc__, REMEDIES)
