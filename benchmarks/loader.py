"""Samples per second of the data loader, and the share of a training that waits for data.

python benchmarks/loader.py --output logs/loader.md
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import plain_loop
from loops import OurLoop, our_loader
from measuring import describe_machine, draw_folder, markdown, report
from torch.utils.data import DataLoader

from utils.core.console import run_script
from utils.core.device import choose_device
from utils.training.augmentation import STRENGTHS
from utils.training.engine import train_one_epoch
from utils.training.losses import criterion
from utils.voc.folder import VocFolder


@dataclass
class Config:
    """Settings of the benchmark."""

    output: Path | None = None  # Markdown file to write; None: print only
    device: str = "auto"  # auto, cpu, cuda: where the network trains
    network: str = "plain, 16 channels (the default)"  # one of NETWORKS in loops.py
    size: int = 512  # height and width of pictures and crops
    batch_size: int = 4  # crops per step
    samples: int = 64  # samples of each timing, after a first epoch that fills the memory of decoded pictures
    quick: bool = False  # tiny pictures, a few samples: does it run?


def samples_per_second(loader: DataLoader) -> float:
    """Samples per second of the second epoch: pictures are decoded by then, and worker processes started."""
    for _ in loader:
        pass
    start = time.perf_counter()
    return sum(len(images) for images, *_ in loader) / (time.perf_counter() - start)


def main(config: Config) -> None:
    if config.quick:
        config.network, config.size, config.batch_size, config.samples = "tiny", 64, 2, 4
    device = choose_device(config.device)
    threads = torch.get_num_threads()
    with TemporaryDirectory() as directory:
        pictures = draw_folder(Path(directory), 4, config.size).read_split("train")
        folder = VocFolder(directory)
        names = [pictures[index % 4] for index in range(config.samples)]
        dataset = plain_loop.PlainDataset(folder, names, 3)
        plain = samples_per_second(DataLoader(dataset, config.batch_size))
        rows = [["plain loop: PIL, flips, one-hot", "0", f"{plain:.0f}"]]
        for workers in (0, threads):
            for strength in STRENGTHS:
                loader = our_loader(folder, names, config.size, strength, config.batch_size, device, workers)
                rows.append([f"ours, {strength}", str(workers), f"{samples_per_second(loader):.0f}"])
        loop = OurLoop(config.network, folder, config.size, device)
        loader = our_loader(
            folder, names[: config.samples // 2], config.size, "default", config.batch_size, device
        )
        # The first epoch decodes the pictures.
        epochs = [train_one_epoch(loop.trainer, loader, criterion, 0) for _ in range(2)]
    intro = f"""`python benchmarks/loader.py`: {config.size}×{config.size}, gray PNG to RGB,
batch {config.batch_size}; {describe_machine(device)}."""
    share = f"{epochs[1].waited / epochs[1].seconds:.1%} of the time is spent waiting for data."
    setting = f"{loop.precision}, {loader.num_workers} workers"
    waited = f"Training {config.network} with the default augmentation, {setting}: {share}"
    table = markdown(["samples", "workers", "per second"], rows)
    report("Data loading", f"{intro}\n\n{table}\n\n{waited}", config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
