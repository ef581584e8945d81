"""What each member of the family costs: parameters, operations, time to train and to predict, peak memory.

python benchmarks/networks.py --output logs/networks.md
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from measuring import describe_machine, in_child, markdown, median_seconds, peak_bytes, report

from nets.config import NetworkConfig
from nets.summary import measure
from nets.unet import build
from utils.core.console import run_script
from utils.core.device import choose_device, choose_precision
from utils.core.heap import keep_freed_memory, return_freed_memory
from utils.models.weights import ready_to_predict
from utils.training.losses import criterion, deep_loss

ALIGNED = {"norm": "none", "upsampling": "aligned"}
MEMBERS = {
    "plain, 16 channels (the default)": {"base_channels": 16},
    "plain, 16, group norm": {"base_channels": 16, "norm": "group"},
    "plain, 16, no norm": {"base_channels": 16, "norm": "none"},
    "plain, 16, deep supervision": {"base_channels": 16, "deep_supervision": True},
    "plain, 32": {"base_channels": 32},
    "plain, 64": {"base_channels": 64},
    "plain, 64, bilinear": {"base_channels": 64, "upsampling": "bilinear"},
    "plain, 64, skip by addition": {"base_channels": 64, "skip": "add"},
    "plain, 64, save_memory": {"base_channels": 64, "save_memory": True},
    "the paper's own (512×512 in, 328×328 out)": {"base_channels": 64, "norm": "none", "padding": "valid"},
    "vgg": {"backbone": "vgg"},
    "vgg_bn": {"backbone": "vgg_bn"},
    "resnet50": {"backbone": "resnet50"},
    "unet-pytorch's vgg": {"backbone": "vgg", **ALIGNED},
    "unet-pytorch's resnet50": {"backbone": "resnet50", **ALIGNED},
    "Pytorch-UNet's bilinear": {"base_channels": 64, "upsampling": "aligned", "pad_picture": False},
}


@dataclass
class Config:
    """Settings of the benchmark."""

    output: Path | None = None  # Markdown file to write; None: print only
    device: str = "auto"  # auto, cpu, cuda
    size: int = 512  # height and width
    batch_size: int = 2  # pictures a step
    steps: int = 3  # timed steps, after one that does not count; the median is reported


def measure_member(config: Config, member: str) -> dict:
    """Seconds a picture and peak bytes of one member, in this process."""
    arguments = dict(MEMBERS[member])
    save_memory = arguments.pop("save_memory", False)
    settings = NetworkConfig(2, 3, **arguments)
    with torch.device("meta"):
        levels = measure(build(replace(settings, deep_supervision=False)), (1, 3, config.size, config.size))
    precision = choose_precision("auto", choose_device(config.device))
    net = build(settings).to(precision.device, memory_format=precision.memory_format)
    if save_memory:
        net.save_memory()
        return_freed_memory()
    images = torch.randn(config.batch_size, 3, config.size, config.size, device=precision.device)
    images = images.contiguous(memory_format=precision.memory_format)
    side = config.size - 2 * net.margin
    masks = torch.randint(0, 2, (config.batch_size, side, side), device=precision.device)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)

    def train() -> None:
        with precision.autocast():
            outputs = net(images)
        optimizer.zero_grad(set_to_none=True)
        loss = (
            criterion(outputs, masks)
            if isinstance(outputs, torch.Tensor)
            else deep_loss(criterion, outputs, masks)
        )
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def predict() -> None:
        with precision.autocast():
            net(images).argmax(1).to(torch.uint8).cpu()

    train()
    if not save_memory:
        # As train.py does after its first step.
        keep_freed_memory()
    train_seconds = median_seconds(train, config.steps, precision.device)
    net = ready_to_predict(net, precision)
    return {
        "parameters": sum(level.parameters for level in levels),
        "gflop": 2 * sum(level.multiply_adds for level in levels) / 1e9,
        "train": train_seconds / config.batch_size,
        "predict": median_seconds(predict, config.steps, precision.device) / config.batch_size,
        "peak": peak_bytes(precision.device),
        "precision": str(precision),
    }


HEADER = ["network", "M parameters", "GFLOP", "train, ms a picture", "predict, ms a picture", "peak, GiB"]


def main(config: Config) -> None:
    rows = []
    for member in MEMBERS:
        cost = in_child(measure_member, config, member)
        train, predict = (f"{1000 * cost[name]:.0f}" for name in ("train", "predict"))
        size, gflop = f"{cost['parameters'] / 1e6:.2f}", f"{cost['gflop']:.0f}"
        rows.append([member, size, gflop, train, predict, f"{cost['peak'] / 2**30:.2f}"])
        print(" | ".join(rows[-1]), flush=True)
    machine = describe_machine(choose_device(config.device))
    intro = f"""`python benchmarks/networks.py`: {config.size}×{config.size}, batch {config.batch_size}, two
classes, {cost["precision"]}; {machine}. GFLOP: to predict one picture. Peak: of the whole process."""
    report("What the networks cost", f"{intro}\n\n{markdown(HEADER, rows)}", config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
