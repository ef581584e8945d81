"""VGG-16 and ResNet-50 from scratch in the same minutes: train.py and segmentation-models-pytorch.

python benchmarks/encoders.py --voc-root VOCdevkit/isbi --output logs/encoders.md
"""

import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import accuracy
from loops import SMP_ENCODERS, SmpLoop, missing
from measuring import choose_folder, describe_machine, learning_curve, markdown, report

from utils.core.console import note, run_script
from utils.core.device import choose_device
from utils.scoring.confusion import Scores
from utils.voc.folder import VocFolder


@dataclass
class Config:
    """Settings of the benchmark."""

    voc_root: Path | None = None  # VOC folder with the splits train and val, all pictures of one size
    output: Path | None = None  # Markdown file to write; None: print only
    minutes: float = 2  # of each run
    networks: tuple[Literal[tuple(SMP_ENCODERS)], ...] = tuple(SMP_ENCODERS)  # encoders
    device: str = "auto"  # auto, cpu, cuda
    quick: bool = False  # drawn pictures, one epoch: does it run?


def train_smp(config: Config, network: str, folder: VocFolder) -> accuracy.Run:
    """Batches of two whole pictures, flips, Adam at 1e-4, validated after every epoch."""
    torch.manual_seed(0)
    order = random.Random(0)
    names, val = folder.read_split("train"), folder.read_split("val")
    run = accuracy.Run(SmpLoop.label)
    start = time.perf_counter()
    runner = SmpLoop(network, folder, 512, choose_device(config.device))

    def validate() -> float:
        runner.prepare()
        return Scores(runner.validate(val, 1)).miou

    def train() -> None:
        runner.train(order.sample(names, len(names)), 2)

    minutes, least = (0, 1) if config.quick else (config.minutes, 1)
    run.curve = list(learning_curve(train, validate, minutes, least, start))
    return run


def rows_of(config: Config, network: str, folder: VocFolder, logs: Path) -> list[list[str]]:
    flags = f"--backbone {network} --no-pretrained --in-channels 3"
    ours = accuracy.Config(voc_root=folder.root, train_flags=flags, device=config.device, quick=config.quick)
    runs = [accuracy.train_ours(ours, config.minutes, logs)[0]]
    runs[0].label = "ours"
    if reason := missing("smp", network, choose_device(config.device)):
        note(f"{network}, {SmpLoop.label}: left out, {reason}")
    else:
        runs.append(train_smp(config, network, folder))
    return [
        [
            network,
            run.label,
            f"{run.curve[-1][0]:.2f}",
            str(len(run.curve)),
            f"{max(miou for _, miou in run.curve):.4f}",
        ]
        for run in runs
    ]


def main(config: Config) -> None:
    with TemporaryDirectory() as directory:
        logs = Path(directory)
        folder, rows = choose_folder(config.voc_root, config.quick, logs), []
        for network in ("vgg",) if config.quick else config.networks:
            (logs / network).mkdir()
            for row in rows_of(config, network, folder, logs / network):
                print(" | ".join(row), flush=True)
                rows.append(row)
    table = markdown(["network", "loop", "minutes", "validations", "best validation mIoU"], rows)
    machine = describe_machine(choose_device(config.device))
    length = "--quick" if config.quick else f"--voc-root {config.voc_root} --minutes {config.minutes:g}"
    command = f"python benchmarks/encoders.py {length}"
    intro = f"`{command}`: {machine}. No pretrained weights; one seed."
    report("Encoders in the same minutes", f"{intro}\n\n{table}", config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
