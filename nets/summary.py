"""What a network costs, level by level: maps, parameters, multiply-adds, memory of a training step."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from nets.config import NetworkConfig


@dataclass
class Config:
    """The network and its input."""

    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(num_classes=2, in_channels=3))
    input_shape: tuple[int, int] = (512, 512)  # height and width
    batch_size: int = 1  # pictures per step


@dataclass(frozen=True)
class Level:
    """shape: (C, H, W) of the output; multiply_adds: per picture; saved_bytes: for the backward pass."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    saved_bytes: int


def measure(net: nn.Module, shape: tuple[int, int, int, int]) -> list[Level]:
    """Levels of a `nets.unet.UNet` on the meta device, where nothing is computed. shape: (N, C, H, W)."""
    names = {f"encoder.levels.{i}": f"encoder {i}" for i in range(len(net.encoder.levels))}
    names |= {f"decoder.steps.{i}": f"decoder {len(names) + i}" for i in range(len(net.decoder.steps))}
    names |= {"head": "head"}
    shapes: dict[str, torch.Size] = {}
    saved = dict.fromkeys(names, 0)
    # Storages that are counted already, or weights, by their id; they are kept so that no id comes twice.
    seen = {id(storage): storage for p in net.parameters() for storage in [p.untyped_storage()]}
    running: list[str] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if running and id(storage) not in seen:
            seen[id(storage)] = storage
            saved[running[-1]] += storage.nbytes()
        return tensor

    def leave(name: str, output: Tensor) -> None:
        running.remove(name)
        shapes[name] = output.shape

    handles = []
    for name in names:
        module = net.get_submodule(name)
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
        handles.append(module.register_forward_hook(lambda *args, name=name: leave(name, args[-1])))
    counter = FlopCounterMode(display=False)
    try:
        with counter, saved_tensors_hooks(keep, lambda tensor: tensor):
            net.train()(torch.zeros(shape, device="meta", requires_grad=True))
    finally:
        for handle in handles:
            handle.remove()
    counts = counter.get_flop_counts()
    levels = []
    for name, label in names.items():
        parameters = sum(p.numel() for p in net.get_submodule(name).parameters())
        # Two operations per multiply-add.
        multiply_adds = sum(counts[f"{type(net).__name__}.{name}"].values()) // 2 // shape[0]
        levels.append(Level(label, tuple(shapes[name][1:]), parameters, multiply_adds, saved[name]))
    return levels


def check_input(net: nn.Module, input_shape: tuple[int, int], batch_size: int) -> None:
    """Raises ValueError for an input that cannot be trained on."""
    height, width = input_shape
    if min(height, width, batch_size) < 1:
        found = f"input_shape is {height}×{width} and batch_size {batch_size}"
        raise ValueError(f"{found}; they must be 1 or more")
    deepest = batch_size * -(-height // net.stride) * -(-width // net.stride)
    if deepest < 2 and any(isinstance(module, nn.BatchNorm2d) for module in net.modules()):
        found = f"{height}×{width} leaves batch norm one value per channel at the deepest level"
        raise ValueError(f"{found}; at least {2 * net.stride}×{2 * net.stride}, or 2 pictures")


def print_summary(net: nn.Module, input_shape: tuple[int, int], batch_size: int) -> None:
    """Print the levels of a network on the meta device. Raises ValueError for an impossible input."""
    check_input(net, input_shape, batch_size)
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    levels = measure(net, (batch_size, first.in_channels, *input_shape))
    parameters = sum(level.parameters for level in levels)
    work = sum(level.multiply_adds for level in levels)
    saved = sum(level.saved_bytes for level in levels)
    heads = "level", "output (C, H, W)", "parameters", "G multiply-adds", "MiB to keep"
    print("{:<12}{:>20}{:>14}{:>18}{:>14}".format(*heads))
    for row in (*levels, Level("all", (), parameters, work, saved)):
        print(
            f"{row.name:<12}{'×'.join(map(str, row.shape)):>20}{row.parameters:14,}"
            f"{row.multiply_adds / 1e9:18.2f}{row.saved_bytes / 2**20:14.1f}"
        )
    gflop, mib = 2 * work / 1e9, 2**20
    print(f"\n{gflop:.1f} GFLOP per picture to predict, about {3 * gflop:.1f} to train.")
    print(
        f"To train in float32 with batch size {batch_size}: {saved / mib:.0f} MiB of maps (half in bfloat16) "
        f"and {parameters * 16 / mib:.0f} MiB of weights, gradients and the optimizer's means."
    )
