"""Prediction with PyTorch's ReLU and with QuickReLU (nets/layers.py), by turns: python benchmarks/relu.py"""

import copy
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

sys.path.insert(0, str(Path(__file__).parents[1]))
from loops import NETWORKS
from measuring import describe_machine, markdown, median_seconds

from nets.fold import fold_batch_norm, quicken_relu
from nets.unet import build

CPU = torch.device("cpu")


@dataclass
class Config:
    """Settings of the benchmark."""

    networks: tuple[str, ...] = tuple(name for name in NETWORKS if name != "tiny")  # see NETWORKS in loops.py
    size: int = 512  # height and width of the picture
    rounds: int = 5  # by turns
    quick: bool = False  # a tiny network on a tiny picture: does it run?


@torch.inference_mode()
def measure(config: Config, network: str) -> list[str]:
    plain = fold_batch_norm(build(3, **NETWORKS[network]))
    plain = plain.to(torch.bfloat16, memory_format=torch.channels_last)
    picture = torch.rand(1, 3, config.size, config.size, dtype=torch.bfloat16)
    picture = picture.contiguous(memory_format=torch.channels_last)
    nets, seconds = (plain, quicken_relu(copy.deepcopy(plain))), []
    assert torch.equal(nets[0](picture), nets[1](picture))
    for _ in range(config.rounds):
        seconds.append([median_seconds(lambda net=net: net(picture), 3, CPU) for net in nets])
    before, after = (sorted(column)[config.rounds // 2] for column in zip(*seconds, strict=True))
    return [network, f"{before * 1000:.1f}", f"{after * 1000:.1f}", f"{before / after:.2f}×"]


def main(config: Config) -> None:
    if config.quick:
        config.networks, config.size = ("tiny",), 64
    rows = [measure(config, network) for network in config.networks]
    print(f"{config.size}×{config.size}, bfloat16; {describe_machine(CPU)}\n")
    print(markdown(["network", "PyTorch's ReLU, ms", "QuickReLU, ms", ""], rows))


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
