"""What a network costs: feature maps, parameters, multiply-adds and the memory of a training step, level by level."""

import sys
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nets.config import NetworkConfig
from nets.unet import UNet, build


@dataclass
class Config:
    """The network and its input."""

    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(num_classes=2, in_channels=3))
    input_shape: tuple[int, int] = (512, 512)  # height and width
    batch_size: int = 1  # pictures a step


@dataclass(frozen=True)
class Level:
    """One row: the shape of its output (C, H, W), parameters, multiply-adds a picture, bytes kept for the backward pass."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    saved_bytes: int


def measure(net: UNet, shape: tuple[int, int, int, int]) -> list[Level]:
    """Rows for a network on the meta device (nothing is computed or stored) at an input of shape (N, C, H, W)."""
    levels: list[Level] = []
    seen = {p.untyped_storage()._cdata for p in net.parameters()}
    parts = [
        *(("encoder", m) for m in net.encoder.levels),
        *(("decoder", m) for m in net.decoder.steps),
        ("head", net.head),
    ]
    for index, (kind, module) in enumerate(parts):
        module.forward = _measured(module, f"{kind} {index}" if kind != "head" else kind, levels, seen)
    net.train()(torch.zeros(shape, device="meta", requires_grad=True))
    return levels


def _measured(module: nn.Module, name: str, levels: list[Level], seen: set[int]):
    """`module.forward` that appends its row; `seen`: storages that are counted already, or weights."""
    forward = module.forward

    def measured(*inputs: Tensor) -> Tensor:
        saved = 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal saved
            storage = tensor.untyped_storage()
            if storage._cdata not in seen:
                seen.add(storage._cdata)
                saved += storage.nbytes()
            return tensor

        with (
            FlopCounterMode(display=False) as flops,
            torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
        ):
            output = forward(*inputs)
        parameters = sum(p.numel() for p in module.parameters())
        levels.append(
            Level(
                name, tuple(output.shape[1:]), parameters, flops.get_total_flops() // 2 // len(output), saved
            )
        )
        return output

    return measured


def check_input(net: UNet, config: Config) -> None:
    """Raises ValueError for an input that cannot be trained on."""
    height, width = config.input_shape
    if min(height, width, config.batch_size) < 1:
        raise ValueError(
            f"input_shape is {height}×{width} and batch_size {config.batch_size}; they must be 1 or more"
        )
    deepest = config.batch_size * -(-height // net.stride) * -(-width // net.stride)
    if config.network.norm == "batch" and deepest < 2:
        least = f"{2 * net.stride}×{2 * net.stride}"
        raise ValueError(
            f"{height}×{width} leaves batch norm one value a channel at the deepest level; at least {least}, or 2 pictures"
        )


def main(config: Config) -> None:
    height, width = config.input_shape
    try:
        with torch.device("meta"):
            net = build(config.network)
        check_input(net, config)
        levels = measure(net, (config.batch_size, config.network.in_channels, height, width))
    except ValueError as error:
        sys.exit(f"{error}: choose other values (python -m nets.unet --help lists them)")
    print(
        f"{'level':<12}{'output (C, H, W)':>20}{'parameters':>14}{'G multiply-adds':>18}{'MiB to keep':>14}"
    )
    for row in levels:
        shape = "×".join(map(str, row.shape))
        print(
            f"{row.name:<12}{shape:>20}{row.parameters:14,}{row.multiply_adds / 1e9:18.2f}{row.saved_bytes / 2**20:14.1f}"
        )
    parameters, work, saved = (
        sum(getattr(r, n) for r in levels) for n in ("parameters", "multiply_adds", "saved_bytes")
    )
    print(f"{'all':<12}{'':>20}{parameters:14,}{work / 1e9:18.2f}{saved / 2**20:14.1f}")
    print(f"\n{work * 2 / 1e9:.1f} GFLOP a picture to predict, about {work * 6 / 1e9:.1f} to train. To train in float32, batch "
          f"{config.batch_size}: {saved / 2**20:.0f} MiB of maps, {parameters * 16 / 2**20:.0f} MiB of weights, gradients and "
          "AdamW's means; about half the maps in bfloat16.")  # fmt: skip
