"""What a training step and a prediction spend their time on, by operation, as PyTorch's profiler has it.

Beside it the share of the machine's matrix rate that they reach, and what the convolutions alone would reach.

python benchmarks/operations.py --output logs/operations.md
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from loops import NETWORKS, OurLoop
from measuring import describe_machine, draw_folder, forward_flop, in_child, markdown, matrix_rate, report
from torch.autograd import DeviceType

from nets.config import NetworkConfig
from nets.unet import build
from utils.core.console import run_script
from utils.core.device import choose_device

# The beginning of an operation's name → what it is called in the table; the first that fits counts.
KINDS = {
    "aten::convolution_backward": "convolutions, backward",
    "aten::mkldnn_convolution": "convolutions, forward",
    "mkldnn::_convolution_pointwise": "convolutions, forward",
    "aten::_convolution": "convolutions, forward",
    "aten::cudnn_convolution": "convolutions, forward",
    "aten::native_batch_norm": "batch norm",
    "aten::cudnn_batch_norm": "batch norm",
    "aten::clamp": "ReLU",
    "aten::threshold_backward": "ReLU",
    "aten::max_pool2d": "pooling",
    "aten::maximum": "pooling",
    "aten::add": "additions (maps that are joined, shortcuts, gradients)",
    "aten::copy_": "copies and casts",
    "aten::_fused_adam": "optimizer and averaging",
    "aten::lerp_": "optimizer and averaging",
    "enumerate(DataLoader)": "loading",
}
REACHED = "share of the matrix rate reached", "share of it if there were only the convolutions"


@dataclass
class Config:
    """Settings of the benchmark."""

    output: Path | None = None  # Markdown file to write; None: print only
    device: str = "auto"  # auto, cpu, cuda
    networks: tuple[Literal[tuple(NETWORKS)], ...] = tuple(n for n in NETWORKS if n != "tiny")  # see loops.py
    size: int = 512  # height and width of the pictures
    steps: int = 4  # steps, and predictions, after some that do not count
    quick: bool = False  # a tiny network on tiny pictures: does it run?


def shares(profiler: torch.profiler.profile, device: torch.device, least: float) -> dict[str, float]:
    """Share of the time of each kind of operation, 0 … 1, and the two of the matrix rate (REACHED).

    On CUDA it is the card's time. least: seconds that the profiled work would take at the matrix rate.
    """
    found: dict[str, float] = {}
    for event in profiler.key_averages():
        # The kernels themselves are listed once more, beside the operations that start them.
        if event.device_type == DeviceType.CPU:
            kind = next((kind for start, kind in KINDS.items() if event.key.startswith(start)), "the rest")
            time = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
            found[kind] = found.get(kind, 0.0) + time / 1e6
    total = sum(found.values())
    convolving = sum(time for kind, time in found.items() if kind.startswith("convolutions"))
    ratios = dict(zip(REACHED, (least / total, least / convolving), strict=True))
    return {kind: time / total for kind, time in found.items()} | ratios


def measure(config: Config, network: str, root: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Shares of training and of predicting, in this process."""
    device = choose_device(config.device)
    loop = OurLoop(network, folder := draw_folder(root, 2, config.size), config.size, device)
    names = folder.read_split("train")
    flop = config.steps * forward_flop(lambda: build(NetworkConfig(3, 3, **NETWORKS[network])), config.size)
    loop.train(3 * names, 2)
    with torch.profiler.profile() as training:
        loop.train(config.steps * names, 2)
    loop.prepare()
    picture = loop.open(names[0])
    loop.predict(picture)
    with torch.profiler.profile() as predicting:
        for _ in range(config.steps):
            loop.predict(picture)
    least = flop / matrix_rate(loop.precision, device, config.quick)
    return shares(training, device, 3 * len(names) * least), shares(predicting, device, least)


def main(config: Config) -> None:
    if config.quick:
        config.networks, config.size, config.steps = ("tiny",), 64, 1
    columns = []
    for network in config.networks:
        with TemporaryDirectory() as directory:
            columns += in_child(measure, config, network, Path(directory))
        print(network, flush=True)
    kinds = [*dict.fromkeys(KINDS.values()), "the rest", *REACHED]
    rows = [
        [kind, *(f"{column[kind]:.0%}" if kind in column else "–" for column in columns)] for kind in kinds
    ]
    header = [
        "share of the time",
        *(f"{name}: {what}" for name in config.networks for what in ("train", "predict")),
    ]
    machine = describe_machine(choose_device(config.device))
    size = f"{config.size}×{config.size}"
    intro = f"`python benchmarks/operations.py`: {size}, batch 2, one picture to predict; {machine}."
    report("Operations", f"{intro}\n\n{markdown(header, rows)}", config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
