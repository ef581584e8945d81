"""Seconds to train, predict and validate a picture, and peak memory: ours, the plain loop, another library.

python benchmarks/speed.py --output logs/speed.md
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import plain_loop
from loops import LOOPS, NETWORKS, Cost, missing
from measuring import (
    describe_machine,
    draw_folder,
    forward_flop,
    in_child,
    markdown,
    matrix_rate,
    median_seconds,
    peak_bytes,
    report,
)

from utils.core.console import run_script
from utils.core.device import choose_device
from utils.training.losses import criterion
from utils.voc.folder import VocFolder


@dataclass
class Config:
    """Settings of the benchmark."""

    output: Path | None = None  # Markdown file to write; None: print only
    device: str = "auto"  # auto, cpu, cuda
    networks: tuple[Literal[tuple(NETWORKS)], ...] = tuple(n for n in NETWORKS if n != "tiny")  # see loops.py
    loops: tuple[Literal[tuple(LOOPS)], ...] = tuple(LOOPS)  # see loops.py
    batch_sizes: tuple[int, ...] = ()  # pictures per step; none given: 2, on a GPU 8, 16, 32 too
    size: int = 512  # height and width of the pictures
    repeats: int = 3  # timed steps (on a GPU: blocks of ten) after one that does not count; median
    quick: bool = False  # a tiny network and pictures, no torch.compile, one process: does it run?


def measure(config: Config, network: str, loop: str, batch_size: int, root: Path) -> Cost:
    """One row, in this process."""
    device = choose_device(config.device)
    folder = VocFolder(root)
    pictures = folder.read_split("train")
    torch.manual_seed(0)
    runner = LOOPS[loop](network, folder, config.size, device)
    block = 10 if device.type == "cuda" else 1
    names = [pictures[index % len(pictures)] for index in range((config.repeats + 1) * block * batch_size)]
    warm_up, *steps = runner.train(names, batch_size, block)
    peak = peak_bytes(device)
    runner.prepare()
    picture = runner.open(pictures[0])
    predict = median_seconds(lambda: runner.predict(picture), config.repeats * block, device)
    validate = median_seconds(
        lambda: runner.validate(names[:batch_size], batch_size), min(config.repeats, 2), device
    )
    rate = matrix_rate(runner.precision, device, config.quick)
    train = median(steps) / batch_size
    return Cost(runner.precision, train, predict, validate / batch_size, warm_up * block, peak, rate)


def measure_losses(
    device: torch.device, classes: int, batch_size: int, size: int
) -> dict[str, tuple[float, int]]:
    """Seconds of each loss with its gradient, and its bytes above the logits and the class indices.

    Ours comes first, because a process only knows its highest peak so far. The one-hot target comes with
    the data, so making it takes memory here and no time.
    """
    logits = torch.randn(batch_size, classes, size, size, device=device, requires_grad=True)
    masks = torch.randint(0, classes, (batch_size, size, size), dtype=torch.uint8, device=device)
    before = peak_bytes(device)

    def ours() -> None:
        logits.grad = None
        criterion(logits, masks.long()).backward()

    found = {"ours, class indices": (median_seconds(ours, 2, device), peak_bytes(device) - before)}
    one_hot = torch.from_numpy(np.eye(classes + 1, dtype=np.float32)[masks.cpu().numpy()]).to(device)

    def plain() -> None:
        logits.grad = None
        plain_loop.one_hot_loss(logits, masks.long(), one_hot).backward()

    found["one-hot target"] = median_seconds(plain, 2, device), peak_bytes(device) - before
    return found


def run_alone(config: Config, function: Callable, *arguments: Any) -> Any:
    """In a process of its own, but for --quick, whose memory is of no interest."""
    return function(*arguments) if config.quick else in_child(function, *arguments)


def loss_table(config: Config, device: torch.device) -> str:
    classes, batch_size, size = (3, 2, 64) if config.quick else (21, 16, 512)
    found = run_alone(config, measure_losses, device, classes, batch_size, size)
    most = max(peak for _, peak in found.values())
    rows = [
        [label, f"{seconds:.3g}", f"{peak / 2**20:.0f}", f"{peak / most:.2f}×" if most else "–"]
        for label, (seconds, peak) in found.items()
    ]
    title = f"Cross-entropy + Dice with its gradient, {classes} classes, batch {batch_size}, {size}×{size}"
    return f"{title}:\n\n{markdown(['loss', 'seconds', 'MiB above the logits', 'memory'], rows)}"


def speed_rows(config: Config, device: torch.device, root: Path, notes: list[str]) -> Iterator[list[str]]:
    """Lines of the table; `notes` gets what is left out and the ratio to the other library."""
    default_sizes = (2, 8, 16, 32) if device.type == "cuda" else (2,)
    for network in config.networks:
        for batch_size in config.batch_sizes or default_sizes:
            found: dict[str, Cost] = {}
            for loop in config.loops:
                reason = missing(loop, network, device)
                if reason:
                    notes.append(f"{network}, {LOOPS[loop].label}: left out, {reason}.")
                    continue
                row = found[loop] = run_alone(config, measure, config, network, loop, batch_size, root)
                yield line(config, network, loop, batch_size, row, found.get("plain"))
            if {"ours", "smp"} <= found.keys():
                ratio = found["smp"].train / found["ours"].train
                label = f"{network}, batch {batch_size}"
                notes.append(f"{label}: ours trains {ratio:.2f}× as fast as {LOOPS['smp'].label}.")


def line(
    config: Config, network: str, loop: str, batch_size: int, row: Cost, plain: Cost | None
) -> list[str]:
    """A line of the table; `plain` is what ratios refer to."""
    cells = [network, LOOPS[loop].label, row.precision, str(batch_size)]
    for name in ("train", "predict", "validate"):
        seconds = getattr(row, name)
        cells += [f"{seconds:.3g}", f"{getattr(plain, name) / seconds:.2f}×" if plain else "–"]
    cells += [f"{row.peak / 2**30:.2f}", f"{row.peak / plain.peak:.2f}×" if plain else "–"]
    make_net = LOOPS["smp" if loop == "smp" else "plain"].make_net
    least = forward_flop(lambda: make_net(network, 3), config.size) / row.rate
    cells += [f"{300 * least / row.train:.0f} %", f"{100 * least / row.predict:.0f} %"]
    return [*cells, f"{row.rate / 1e9:.0f}", f"{row.warm_up:.1f}"]


HEADER = [
    *("network", "loop", "precision", "batch", "train, s per picture", "speed", "predict, s", "speed"),
    *("validate, s", "speed", "peak, GiB", "memory", "of matrix rate: train", "predict"),
    *("rate, GFLOP/s", "warm-up, s"),
]
EXPLANATION = """Speed and memory: relative to the plain loop (`benchmarks/plain_loop.py`: float32,
one-hot target, validation through PNG files) on the same network. Training: all of a step, loading
included; predicting: one picture, from memory to its mask in memory; validating: a batch of pictures to
their confusion matrix. Peak: of the process that trains (on CUDA: on the card). Of matrix rate: FLOP per
second of the convolutions (training: three forward passes) as a share of what a large matrix product
reached in the same process in that precision. Warm-up: the first step (on CUDA: ten) and compilation."""


def main(config: Config) -> None:
    if config.quick:
        config.networks, config.batch_sizes, config.size, config.repeats = ("tiny",), (2,), 64, 1
        config.loops = ("plain", "ours")
    device = choose_device(config.device)
    notes: list[str] = []
    with TemporaryDirectory() as directory:
        draw_folder(Path(directory), 4, config.size)
        rows = []
        for row in speed_rows(config, device, Path(directory), notes):
            print(" | ".join(row), flush=True)
            rows.append(row)
    size = f"{config.size}×{config.size}"
    command = f"`python benchmarks/speed.py`: {size}, three classes; {describe_machine(device)}."
    listed = "\n".join(f"- {text}" for text in notes)
    text = "\n\n".join([command, markdown(HEADER, rows), EXPLANATION, listed, loss_table(config, device)])
    report("Speed", text, config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
