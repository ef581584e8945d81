"""Labels for pictures without annotation, where one network knows too little to teach itself.

Pseudo-labels (Lee 2013), from which a network learns in augmented views (Xie et al. 2020, Noisy Student).
They come from what has learned the looks of all pictures (`looks`, `probing`), or, where the time is too
short for that, from the mean of several networks, which is sure of fewer pixels than each of them, and more
often right there (Lakshminarayanan et al. 2017).
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import nn

from utils.core.console import counted, note, progress, quoted
from utils.core.device import Precision, choose_device, choose_precision
from utils.core.processes import this_process
from utils.images.palette import IGNORE_INDEX
from utils.images.writing import write_mask
from utils.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from utils.training import teaching
from utils.training.data import Data, load_data
from utils.training.looks import LEAST_DEPTH, can_learn_looks, choose_divisor, learn_looks
from utils.training.mixed import Source, label_file
from utils.training.probing import fit_probe
from utils.training.run_folder import refuse_overwrite
from utils.training.several import Outcome, Split, TrainOnce
from utils.training.unlabelled import find_sources
from utils.voc.folder import VocFolder

TEACHERS = 4  # networks that agree on labels
SHARE = 0.1  # of the time of a run, for each of them
LOOKS_SHARE = 0.45  # the same, to learn the looks of all pictures
LABELLING = 0.1  # the same, for the labels at most
MOST = 20  # pictures that are labelled, per annotated one
SURE = 0.4  # share of the pixels that are labelled: those of which the teachers are surest
KNOWING = 1 / 3  # probability that teachers give these pixels at least; below it they have learned nothing
ASKED = 32  # pictures by which it is found how sure that is, at most


class Teachers(Protocol):
    """What is needed of `Unet`, which stands above this package."""

    def __init__(self, model_path: list[Path], device: str, *, close_gaps: str): ...

    @classmethod
    def from_network(cls, net: nn.Module, checkpoint: Checkpoint, precision: Precision) -> "Teachers": ...

    def predict_with_certainty(self, image: Path) -> tuple[np.ndarray, np.ndarray]: ...


def train_taught(
    train_once: TrainOnce, predictor: type[Teachers], config: Any, names: Split | None
) -> Outcome | None:
    """Train once; where one network knows too little to teach, the pictures are labelled first.

    A first run gets SHARE of the time. If its mIoU is high enough, a run follows that teaches itself
    (`utils.training.teaching`). If not, a network that has learned the looks of all pictures labels them
    (`learn_from_looks`), or, where the time is too short for that, several such runs together. The run learns
    from these labels, too. This takes a clock and one process, and masks that are not strokes: between these,
    the loss knows more than such labels.
    """
    one = this_process()[1] == 1 and config.resume is None
    if config.unlabelled is None or config.max_minutes is None or not one:
        return train_once(config, names)
    start = time.perf_counter()
    data = load_data(VocFolder(config.voc_root), config.fold, names)
    if data.has_strokes:
        return train_once(config, names)
    name = config.run_name or datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    config, folder = replace(config, run_name=name), config.save_dir / name
    refuse_overwrite(folder)
    sources = find_sources(config.unlabelled, data)
    spent, minutes = time.perf_counter() - start, config.max_minutes
    teachers = [train_teacher(1, config, names, train_once)]
    start, unet, labels = time.perf_counter(), None, None
    if not knows_enough(teachers[0]):
        unet, config = learn_from_looks(teachers[0], predictor, config, data, sources)
        spent += time.perf_counter() - start
        if unet is None:
            teachers += [train_teacher(2 + k, config, names, train_once) for k in range(TEACHERS - 1)]
            weights = [teacher.folder / "best.pth" for teacher in teachers]
            unet = predictor(weights, device=config.device, close_gaps="none")
    print(f"\n== {name} ==")
    start = time.perf_counter()
    if unet:
        seconds = LABELLING * 60 * minutes
        labels = label_pictures(unet, sources, len(data.train), folder / "labels", seconds, config.seed)
    spent += time.perf_counter() - start
    # One large picture may take longer than all of the time for labels.
    left = max(minutes * (1 - SHARE * len(teachers)) - spent / 60, SHARE * minutes)
    outcome = train_once(replace(config, max_minutes=round(left, 3), labels=labels), names)
    if labels:
        compare(outcome, teachers)
    return outcome


def train_teacher(number: int, config: Any, names: Split | None, train_once: TrainOnce) -> Outcome:
    """A short run with a seed of its own. One that was interrupted goes on."""
    print(f"\n== teacher {number}{f' of {TEACHERS}' * (number > 1)} ==")
    own = {"run_name": f"{config.run_name}_teacher{number}", "seed": config.seed + number}
    run = replace(config, **own, unlabelled=None, max_minutes=SHARE * config.max_minutes)
    last = config.save_dir / run.run_name / "last.pth"
    return train_once(replace(run, resume=last) if last.is_file() else run, names)


def knows_enough(teacher: Outcome) -> bool:
    """Whether one network can teach itself. Says so."""
    miou, least = np.nan_to_num(teacher.scores.miou), f"{teaching.LEAST:.0%}"
    if miou >= teaching.LEAST:
        note(f"mIoU {miou:.2%}: from {least} on a network can teach itself")
        return True
    note(f"mIoU {miou:.2%}: below {least} a network would teach itself its mistakes")
    return False


def learn_from_looks(
    teacher: Outcome, predictor: type[Teachers], config: Any, data: Data, sources: Sequence[Source]
) -> tuple[Teachers | None, Any]:
    """What labels the pictures by their looks, and the settings of a run that starts from what it knows.

    None, and the settings as they are, where there is no time for it, or a network that cannot learn them, or
    other weights to start from. Says so. Looks of a run that was stopped later stay.
    """
    given, seconds = load_checkpoint(teacher.folder / "best.pth"), LOOKS_SHARE * 60 * config.max_minutes
    path = config.save_dir / f"{config.run_name}_looks" / "looks.pth"
    together = f"so {TEACHERS} networks label the pictures together"
    if config.model_path or not can_learn_looks(given):
        note(f"only a new plain network of depth {LEAST_DEPTH} or more learns looks, {together}")
        return None, config
    precision = choose_precision(config.precision, choose_device(config.device))
    if not path.is_file():
        divisor = choose_divisor(given, precision, seconds)
        if divisor is None:
            note(f"too little time to learn the looks of the pictures (--max-minutes), {together}")
            return None, config
        pictures = [*sources, *(Source(data.folder.image_path(name)) for name in data.train)]
        more = precision, seconds, divisor, config.num_workers
        looks = learn_looks(given, data.folder, pictures, *more)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(path, looks)
    looks = load_checkpoint(path)
    unet = predictor.from_network(fit_probe(looks, data, precision), looks, precision)
    # The shapes are known: small crops, by which a new network learns them sooner, would bring nothing.
    return unet, replace(config, model_path=path, coarse=config.coarse or 0.0)


def label_pictures(
    teachers: Teachers, sources: Sequence[Source], annotated: int, labels: Path, seconds: float, seed: int
) -> Path | None:
    """Write what the teachers are sure of, for as many pictures as the time allows. Says how much it is.

    annotated: number of annotated pictures. Returns the folder `labels`, None if they know too little.
    """
    start = time.perf_counter()
    order = np.random.default_rng(seed).permutation(len(sources))[: MOST * annotated].tolist()
    images = [sources[number].image for number in order]
    least = find_sure(teachers, images[:ASKED], start + seconds / 2)
    if least < 255 * KNOWING:
        knowing = (
            f"the teachers are {least / 255:.0%} sure of the {SURE:.0%} of the pixels that they know best"
        )
        note(f"{knowing}: too little to teach. A longer run (--max-minutes) gives them more time")
        return None
    labels.mkdir(parents=True, exist_ok=True)
    shares: list[float] = []
    for image in progress(images, "labelling", "picture"):
        found, certainty = teachers.predict_with_certainty(image)
        mask = np.where(certainty >= least, found, IGNORE_INDEX).astype(np.uint8)
        write_mask(label_file(labels, image), mask)
        shares.append(np.count_nonzero(mask != IGNORE_INDEX) / mask.size)
        if time.perf_counter() - start > seconds:
            break
    where = f"on {np.mean(shares):.0%} of their pixels, of which the teachers are {least / 255:.0%} sure"
    print(f"labels   of {counted(len(shares), 'picture')}, {where} or more: {quoted(labels)}")
    return labels


def find_sure(teachers: Teachers, images: Sequence[Path], end: float = math.inf) -> int:
    """The largest certainty, 0 … 255, that SURE of the pixels have at least.

    end: `time.perf_counter` after which no further picture is looked at.
    """
    seen = np.zeros(256)
    for image in images:
        seen += np.bincount(teachers.predict_with_certainty(image)[1].ravel(), minlength=256)
        if time.perf_counter() > end:
            break
    above = seen[::-1].cumsum()[::-1]
    return int(np.flatnonzero(above >= SURE * above[0])[-1])


def compare(outcome: Outcome, teachers: Sequence[Outcome]) -> None:
    """Print the mIoU beside that of the best teacher, and where its weights are if they are better."""
    best = max(teachers, key=lambda teacher: np.nan_to_num(teacher.scores.miou))
    said = f"mIoU {outcome.scores.miou:.2%}, the best teacher's is {best.scores.miou:.2%}"
    if outcome.scores.miou > best.scores.miou:
        print(f"pictures without annotation  {said}")
    else:
        print(f"pictures without annotation  may not have helped: {said}, see {best.folder / 'best.pth'}")
