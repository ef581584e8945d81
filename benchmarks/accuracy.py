"""Validation mIoU over minutes of training: train.py and the plain loop, same network, same pictures.

python benchmarks/accuracy.py --voc-root VOCdevkit/isbi --output logs/accuracy.md
"""

import math
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
import plain_loop
from measuring import choose_folder, describe_machine, learning_curve, markdown, report

from nets.config import NetworkConfig
from nets.unet import build
from unet import Unet
from utils.core.console import UserError, run_script
from utils.images.plots import save_figure
from utils.images.reading import read_mask
from utils.models.checkpoint import load_checkpoint
from utils.scoring import regions
from utils.scoring.confusion import ConfusionMatrix, Scores
from utils.training.history import read_history
from utils.voc.folder import VocFolder

ROOT = Path(__file__).parents[1]
Predict = Callable[[str], np.ndarray]


@dataclass
class Config:
    """Settings of the benchmark."""

    voc_root: Path | None = None  # VOC folder with the splits train and val, all pictures of one size
    output: Path | None = None  # Markdown file to write, the figure beside it; None: print only
    minutes: tuple[float, ...] = (2, 10)  # budgets of our runs (train.py --max-minutes), each from the start
    plain_minutes: float = 20  # time of the plain loop
    train_flags: str = ""  # further flags for train.py: --train-flags="--seed 1"
    boundary: str = "membrane"  # class between objects; Rand F is reported if the data have it
    device: str = "auto"  # auto, cpu, cuda
    seed: int = 0  # of the plain loop
    quick: bool = False  # drawn pictures, a tiny network, a few seconds: does it run?


@dataclass
class Run:
    """A training: its validation scores over time, and those of its best weights."""

    label: str
    curve: list[tuple[float, float]] = field(
        default_factory=list
    )  # (minutes since the start, mIoU) per epoch
    miou: float = 0.0  # of the best weights, as a user predicts with them
    rand_f: float | None = None  # mean over the pictures


def rand_f(truth: np.ndarray, prediction: np.ndarray, boundary: int) -> float:
    """Rand F-score of two masks (H, W) as they are, 0…1; NaN where no pair of pixels is joined.

    Not Rand F of the ISBI 2012 challenge, which thins borders and takes the best threshold of the
    probability: `get_miou.py` has both.
    """
    return regions.rand_f(truth != boundary, prediction != boundary)


def score(
    run: Run, predict: Predict, folder: VocFolder, num_classes: int, boundary: int | None, split: str = "val"
) -> None:
    """Fill in mIoU and Rand F of the pictures of a split. predict: name → class indices (H, W) uint8."""
    matrix, rands = ConfusionMatrix(num_classes), []
    for name in folder.read_split(split):
        truth, prediction = read_mask(folder.mask_path(name)), predict(name)
        matrix.update(truth, prediction)
        if boundary is not None:
            rands.append(rand_f(truth, prediction, boundary))
    run.miou, run.rand_f = matrix.scores().miou, float(np.mean(rands)) if rands else None


def train_ours(config: Config, minutes: float | None, logs: Path) -> tuple[Run, Unet]:
    """train.py in a process of its own, whose start counts, and its best weights. minutes None: --epochs."""
    label = f"ours, {minutes:g} minutes" if minutes else "ours"
    name = label.replace(", ", "-").removesuffix(" minutes")
    budget = ["--max-minutes", str(minutes)] if minutes else []
    if config.quick:
        # A slow start could use up a budget of seconds.
        budget = ["--epochs", "1", "--num-workers", "0"]
    flags = ["--voc-root", str(config.voc_root), *budget, "--device", config.device]
    flags += ["--save-dir", str(logs), "--run-name", name, *shlex.split(config.train_flags)]
    start = time.perf_counter()
    with (logs / f"{name}.txt").open("w", encoding="utf-8") as log:
        result = subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *flags], stdout=log, stderr=subprocess.STDOUT
        )
    wall = time.perf_counter() - start
    if result.returncode:
        found = f"status {result.returncode}:\n{Path(log.name).read_text('utf-8')[-2000:]}"
        command, remedy = f"train.py {shlex.join(flags)}", "correct --train-flags"
        raise UserError("training-failed", command, found, "exit status 0", remedy)
    rows = read_history(logs / name / "history.csv")
    # The time outside the epochs is the start and the end; all of it counts as start, against us.
    ends = np.cumsum([row.seconds for row in rows]) + wall - sum(row.seconds for row in rows)
    run = Run(
        label, [(end / 60, row.miou) for end, row in zip(ends, rows, strict=True) if not math.isnan(row.miou)]
    )
    return run, Unet(logs / name / "best.pth", config.device)


def train_plain(
    config: Config, folder: VocFolder, network: NetworkConfig, device: torch.device
) -> tuple[Run, Predict]:
    """The plain loop on this network, validated after every epoch, and its best weights as a function."""
    torch.manual_seed(config.seed)
    mode, classes = "L" if network.in_channels == 1 else "RGB", network.num_classes
    names, val = folder.read_split("train"), folder.read_split("val")
    run, best = Run(f"plain loop, {config.plain_minutes:g} minutes"), {}
    start = time.perf_counter()
    net = build(network).to(device)
    optimizer = plain_loop.make_optimizer(net)
    dataset = plain_loop.PlainDataset(folder, names, classes, mode)
    loader = plain_loop.make_loader(dataset, 2, device)

    def train() -> None:
        plain_loop.train_one_epoch(net, optimizer, loader, device)

    def validate() -> float:
        return Scores(plain_loop.validate(net, folder, val, classes, device, mode)).miou

    for minutes, miou in learning_curve(train, validate, config.plain_minutes, start=start):
        run.curve.append((minutes, miou))
        if miou >= max(reached for _, reached in run.curve):
            best = {key: value.clone() for key, value in net.state_dict().items()}
    net.load_state_dict(best)
    net.eval()
    return run, lambda name: plain_loop.predict(net, Image.open(folder.image_path(name)), device, mode)


def minutes_to(run: Run, miou: float) -> float | None:
    """When a run first had this score."""
    return next((minutes for minutes, reached in run.curve if reached >= miou), None)


def draw(path: Path, runs: Sequence[Run]) -> None:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for run in runs:
        if "--" in run.label:
            continue
        axes.plot(*zip(*run.curve, strict=True), label=run.label, marker="." if len(run.curve) < 50 else None)
    axes.set(xlabel="minutes since the start", ylabel="validation mIoU")
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def table(runs: Sequence[Run], goal: float) -> str:
    rows = []
    for run in runs:
        reached = minutes_to(run, goal)
        rand_f = "–" if run.rand_f is None else f"{run.rand_f:.4f}"
        numbers = [str(len(run.curve)), f"{run.curve[-1][0]:.2f}", f"{run.miou:.4f}", rand_f]
        rows.append([run.label, *numbers, "never" if reached is None else f"{reached:.2f}"])
    header = ["run", "validations", "minutes", "mIoU", "Rand F", f"minutes to mIoU {goal:.4f}"]
    return markdown(header, rows)


def main(config: Config) -> None:
    with TemporaryDirectory() as directory:
        config.voc_root = choose_folder(config.voc_root, config.quick, Path(directory)).root
        if config.quick:
            config.boundary, config.minutes, config.plain_minutes = "background", (0.05,), 0.02
            config.train_flags = f"--base-channels 4 --depth 2 --batch-size 2 {config.train_flags}".strip()
        compare(config, Path(directory))


def compare(config: Config, logs: Path) -> None:
    """All runs in turn, then the table and the figure. The plain loop gets the network of ours."""
    folder = VocFolder(config.voc_root)
    runs: list[Run] = []
    for minutes in config.minutes:
        run, unet = train_ours(config, minutes, logs)
        classes, boundary = unet.num_classes, None
        if config.boundary in unet.class_names:
            boundary = unet.class_names.index(config.boundary)
        score(run, predictor(unet, folder), folder, classes, boundary)
        print(run.label, f"mIoU {run.miou:.4f}", f"Rand F {run.rand_f}", flush=True)
        runs.append(run)
        if boundary is not None:
            careful = Unet(unet.model_path, config.device, tta=True, close_gaps=config.boundary)
            runs.append(Run(f"{run.label}, `--tta --close-gaps {config.boundary}`", run.curve))
            score(runs[-1], predictor(careful, folder), folder, classes, boundary)
    network = replace(load_checkpoint(unet.model_path).network, deep_supervision=False)
    plain, predict = train_plain(config, folder, network, unet.device)
    score(plain, predict, folder, classes, boundary)
    runs.append(plain)
    train, val = (len(folder.read_split(split)) for split in ("train", "val"))
    flags = f' --train-flags="{config.train_flags}"' if config.train_flags else ""
    command = f"python benchmarks/accuracy.py --voc-root {config.voc_root}{flags}"
    machine = f"{unet.backbone} U-Net, {unet.precision} against float32; {describe_machine(unet.device)}"
    intro = f"`{command}`: {train} pictures to train, {val} to validate; {machine}."
    text = f"{intro}\n\n{table(runs, max(miou for _, miou in plain.curve))}\n\n{EXPLANATION}"
    if config.output:
        figure = config.output.with_suffix(".png")
        draw(figure, runs)
        text += f"\n\n![mIoU over time]({figure.name})"
    report("Accuracy over time", text, config.output)


def predictor(unet: Unet, folder: VocFolder) -> Predict:
    return lambda name: unet.predict(folder.image_path(name))


EXPLANATION = """Minutes: of the wall clock, including validation after every epoch. mIoU, Rand F: of the
best weights of a run by validation mIoU; that of the plain loop is the goal of the last column. Rand F:
F-score of the pairs of pixels inside the true objects that truth and prediction join into one 4-connected
region, mean over the pictures; of the mask as it is, so it is not V-Rand of the ISBI 2012 challenge. The
plain loop (`benchmarks/plain_loop.py`): the same network, Adam at 1e-4, batch 2, float32, whole pictures,
flips."""


if __name__ == "__main__":
    run_script(main, Config, __doc__)
