"""A prediction with ReLU and sums within convolutions (`nets.inference.ConvReLU`) and beside them, in turns.

python benchmarks/fusing.py
"""

import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from loops import NETWORKS
from measuring import describe_machine, markdown, median_seconds

from nets.config import NetworkConfig
from nets.inference import fold_batch_norm, fuse_relu
from nets.unet import build
from utils.core.console import run_script
from utils.core.device import Precision, choose_precision

CPU = torch.device("cpu")


@dataclass
class Config:
    """Settings of the benchmark."""

    networks: tuple[Literal[tuple(NETWORKS)], ...] = tuple(n for n in NETWORKS if n != "tiny")  # see loops.py
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # number format
    size: int = 512  # height and width of the picture
    rounds: int = 5  # by turns
    quick: bool = False  # a tiny network on a tiny picture: does it run?


@torch.inference_mode()
def measure(config: Config, network: str, precision: Precision) -> list[str]:
    plain = fold_batch_norm(build(NetworkConfig(3, 3, **NETWORKS[network])))
    plain = plain.to(precision.dtype or torch.float32, memory_format=torch.channels_last)
    picture = torch.rand(1, 3, config.size, config.size).to(plain.head.weight)
    picture = picture.contiguous(memory_format=torch.channels_last)
    nets, seconds = (plain, fuse_relu(copy.deepcopy(plain))), []
    for _ in range(config.rounds):
        seconds.append([median_seconds(lambda net=net: net(picture), 3, CPU) for net in nets])
    before, after = (sorted(column)[config.rounds // 2] for column in zip(*seconds, strict=True))
    return [network, f"{before * 1000:.1f}", f"{after * 1000:.1f}", f"{before / after:.2f}×"]


def main(config: Config) -> None:
    if config.quick:
        config.networks, config.size = ("tiny",), 64
    precision = choose_precision(config.precision, CPU)
    rows = [measure(config, network, precision) for network in config.networks]
    print(f"{config.size}×{config.size}, {precision}; {describe_machine(CPU)}\n")
    print(markdown(["network", "beside them, ms", "within them, ms", ""], rows))


if __name__ == "__main__":
    run_script(main, Config, __doc__)
