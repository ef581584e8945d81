"""Scoring of a split from masks, and its report: CPU time and memory; scikit-learn's confusion matrix.

python benchmarks/scoring.py --output scoring.md
"""

import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import cv2
import numpy as np
import psutil
import torch
from annotated_types import Ge

sys.path.insert(0, str(Path(__file__).parents[1]))
from measuring import describe_machine, markdown, report

from utils.core.console import UserError, run_script
from utils.core.packages import optional_package
from utils.core.settings import check_settings
from utils.images.palette import voc_palette
from utils.scoring.confusion import ConfusionMatrix
from utils.scoring.gallery import make_gallery
from utils.scoring.report import Report, write_report
from utils.scoring.results import Measures
from utils.scoring.scorer import Scorer
from utils.scoring.tables import picture_rows, score_rows

Pair = tuple[np.ndarray, np.ndarray]


@dataclass
class Config:
    """Settings of the benchmark."""

    pictures: Annotated[int, Ge(1)] = 1000  # masks to score
    size: Annotated[int, Ge(32)] = 512  # side of a mask in pixels
    classes: Annotated[int, Ge(2)] = 21  # with the background
    output: Path | None = None  # Markdown file to write; None: print only
    quick: bool = False  # ten small masks: does it run?


def draw_pair(seed: int, size: int, classes: int) -> Pair:
    """A mask (size, size) uint8 of a dozen ellipses, and a prediction: shifted, one class mistaken."""
    rng, mask = np.random.default_rng(seed), np.zeros((size, size), np.uint8)
    for _ in range(12):
        middle, axes = rng.integers(0, size, 2).tolist(), rng.integers(size // 50, size // 4, 2).tolist()
        angle, index = float(rng.uniform(0, 180)), int(rng.integers(1, classes))
        cv2.ellipse(mask, middle, axes, angle, 0, 360, index, -1)
    shifted = np.roll(mask, rng.integers(-3, 4, 2), (0, 1))
    shifted[shifted == mask.max()] = int(rng.integers(classes))
    return mask, shifted


# Counts a pair, and what follows the last one
Method = tuple[Callable[[Pair], None], dict[str, Callable[[], None]]]


def all_scores(config: Config) -> Method:
    """Every score of `get_miou.py`, its tables with error bars, and the report with its figures."""
    names = [f"class {index}" for index in range(config.classes)]
    scorer = Scorer(names, Measures(object_classes=tuple(range(1, config.classes))))

    def tables() -> None:
        results = scorer.results()
        list(score_rows(results))
        list(picture_rows(results))

    def read(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pair = draw_pair(int(name), config.size, config.classes)
        return voc_palette()[pair[0]], *pair

    def page() -> None:
        results = scorer.results()
        gallery = make_gallery(results.names, results.per_picture(results.class_scores[0])[:, -1], read)
        with TemporaryDirectory() as folder:
            write_report(Path(folder), results, Report({"model": "drawn"}, gallery=gallery))

    finish = {"tables": tables, "report": page}
    return lambda pair: scorer.update(str(len(scorer.pictures)), *pair), finish


def pixel_counts(config: Config) -> Method:
    """Our confusion matrix alone."""
    matrix = ConfusionMatrix(config.classes)
    return lambda pair: matrix.update(*pair), {}


def scikit_learn(config: Config) -> Method:
    """scikit-learn's confusion matrix of each picture, added up."""
    metrics = optional_package("sklearn.metrics", "scikit-learn", "benchmarks/scoring.py")
    total, labels = np.zeros((config.classes, config.classes), np.int64), np.arange(config.classes)

    def update(pair: Pair) -> None:
        total[:] += metrics.confusion_matrix(pair[0].ravel(), pair[1].ravel(), labels=labels)

    return update, {}


METHODS = {
    "all scores": all_scores,
    "our confusion matrix": pixel_counts,
    "confusion matrix of scikit-learn": scikit_learn,
}


def measure(config: Config, label: str) -> dict[str, tuple[float, float]]:
    """CPU seconds, without those of drawing pictures, and MiB that the process grew until then, by part.

    CPU time of the process, because it is the same beside other work.
    """
    update, finish = METHODS[label](config)
    # What is loaded at the first use is no part of a picture's cost.
    update(draw_pair(0, config.size, config.classes))
    process, seconds = psutil.Process(), 0.0
    before = peak = process.memory_info().rss
    for seed in range(1, config.pictures):
        pair = draw_pair(seed, config.size, config.classes)
        start = time.process_time()
        update(pair)
        seconds += time.process_time() - start
        peak = max(peak, process.memory_info().rss)
    found = {"pictures": (seconds, (peak - before) / 2**20)}
    for part, work in finish.items():
        start = time.process_time()
        work()
        seconds = time.process_time() - start
        peak = max(peak, process.memory_info().rss)
        found[part] = seconds, (peak - before) / 2**20
    return found


def main(config: Config) -> None:
    check_settings(config)
    if config.quick:
        config.pictures, config.size, config.classes = 10, 64, 5
    rows = []
    for label in METHODS:
        # Each in a process of its own, so that the memory is its own.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            try:
                found = pool.apply(measure, (config, label))
            except UserError as error:
                print(f"left out: {label}: {error}", file=sys.stderr)
                continue
        for part, (seconds, memory) in found.items():
            rows.append([f"{label}, {part}", f"{seconds:.1f}", f"{memory:.0f}"])
            print(*rows[-1], flush=True)
    table = markdown(["", "CPU seconds", "MiB more until then"], rows)
    what = f"{config.pictures} masks of {config.size}×{config.size}, {config.classes} classes"
    text = f"`python benchmarks/scoring.py`: {what}; {describe_machine(torch.device('cpu'))}.\n\n{table}"
    report("Scoring", text, config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
