"""What the machine's number format costs in accuracy: bfloat16 (or float16) against float32, several seeds.

python benchmarks/precision.py --voc-root VOCdevkit/isbi --output logs/precision.md
"""

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import accuracy
from measuring import choose_folder, describe_machine, markdown, report

from unet import Unet
from utils.core.console import run_script
from utils.core.device import choose_device
from utils.voc.folder import VocFolder


@dataclass
class Config:
    """Settings of the benchmark."""

    voc_root: Path | None = None  # VOC folder with the splits train and val
    output: Path | None = None  # Markdown file to write; None: print only
    epochs: int = 20  # of each run
    seeds: int = 3  # runs in each number format
    device: str = "auto"  # auto, cpu, cuda
    quick: bool = False  # drawn pictures, one epoch, one seed: does it run?


def agreement(path: Path, folder: VocFolder, device: str) -> float:
    """Share of the pixels of the validation pictures that have the same class in both number formats."""
    fast, exact = (Unet(path, device, precision) for precision in ("auto", "fp32"))
    images = [folder.image_path(name) for name in folder.read_split("val")]
    return float(np.mean([(fast.predict(image) == exact.predict(image)).mean() for image in images]))


def main(config: Config) -> None:
    if config.quick:
        config.epochs = 1
    with TemporaryDirectory() as directory:
        logs = Path(directory)
        folder, rows = choose_folder(config.voc_root, config.quick, logs), []
        scores = {"auto": [], "fp32": []}
        for seed in range(1 if config.quick else config.seeds):
            for precision, mious in scores.items():
                flags = f"--epochs {config.epochs} --precision {precision} --seed {seed}"
                flags += " --base-channels 4 --depth 2" * config.quick
                settings = accuracy.Config(folder.root, train_flags=flags, device=config.device)
                settings.quick = config.quick
                (parent := logs / f"{precision}-{seed}").mkdir()
                run, unet = accuracy.train_ours(settings, None, parent)
                mious.append(max(miou for _, miou in run.curve))
                same = agreement(unet.model_path, folder, config.device)
                trained = str(unet.precision).split()[0] if precision == "auto" else "float32"
                minutes = f"{run.curve[-1][0]:.2f}"
                rows.append([trained, str(seed), minutes, f"{mious[-1]:.4f}", f"{same:.3%}"])
                print(" | ".join(rows[-1]), flush=True)
    header = [
        "trained in",
        "seed",
        "minutes",
        "best validation mIoU",
        "pixels predicted alike in both formats",
    ]
    spread = [f"{statistics.mean(m):.4f} ± {np.ptp(m) / 2:.4f}" for m in scores.values()]
    machine = describe_machine(choose_device(config.device))
    command = f"python benchmarks/precision.py --voc-root {config.voc_root}"
    intro = f"`{command}`: {config.epochs} epochs each. {machine}."
    sums = f"Mean and half the range of the seeds: {spread[0]} with --precision auto, {spread[1]} in float32."
    report("Number formats", f"{intro}\n\n{markdown(header, rows)}\n\n{sums}", config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
