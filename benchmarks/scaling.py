"""Time of a step of training, and of the exchange of its gradients, in one process or several.

python benchmarks/scaling.py
torchrun --standalone --nproc_per_node=2 benchmarks/scaling.py
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from measuring import describe_machine, markdown, report, synchronise

from nets.config import NetworkConfig
from nets.unet import build
from utils.core.console import run_script
from utils.core.device import choose_device, choose_precision
from utils.core.processes import device_of_process, from_first, joined_processes, this_process
from utils.training.engine import Trainer, make_optimizer, parameter_groups
from utils.training.losses import Loss, make_criterion
from utils.training.parts import add_up
from utils.training.schedule import Phase, Schedule


@dataclass
class Config:
    """Settings of the benchmark."""

    output: Path | None = None  # Markdown file to write; None: print only
    device: str = "auto"  # auto, cpu, cuda
    precision: str = "auto"  # auto, fp32, bf16, fp16
    norm: str = "group"  # batch, group, none
    size: int = 256  # height and width of the crops
    batch_size: int = 4  # crops per step, of all processes together
    accumulate: int = 1  # parts of a step
    repeats: int = 10  # steps of each timing
    quick: bool = False  # one small step: does it run?


def fastest_seconds(call: Callable[[], object], repeats: int, device: torch.device) -> tuple[float, float]:
    """By the clock and of a processor, each of its fastest of `repeats` calls, after one that does not count.

    Other programs may use the machine in the rest.
    """
    seconds = []
    for _ in range(repeats + 1):
        start, used = time.perf_counter(), time.process_time()
        call()
        synchronise(device)
        seconds.append((time.perf_counter() - start, time.process_time() - used))
    walls, processor = zip(*seconds[1:], strict=True)
    return min(walls), min(processor)


def main(config: Config) -> None:
    device = choose_device(device_of_process(config.device))
    with joined_processes(device):
        measure(config, device)


def measure(config: Config, device: torch.device) -> None:
    if config.quick:
        config.size, config.batch_size, config.repeats = 64, 2, 1
    torch.manual_seed(0)
    _, processes = this_process()
    precision = from_first(lambda: choose_precision(config.precision, torch.device(device.type)))
    net = build(NetworkConfig(2, 3, norm=config.norm)).to(device, memory_format=precision.memory_format)
    optimizer = make_optimizer("adamw", parameter_groups(net, 1.0), 1e-3, 1e-2, 0.9, device)
    schedule = Schedule([Phase(1, config.batch_size, 1e-3)], 1000)
    trainer = Trainer(
        net, optimizer, schedule, lambda x: x.float() / 255, precision, accumulate=config.accumulate
    )
    net.train()
    share = max(config.batch_size // processes, 1)
    images = torch.randint(0, 256, (share, 3, config.size, config.size), dtype=torch.uint8)
    masks = (images[:, 0] > 128).to(torch.uint8)
    criterion = make_criterion(Loss(), None, device)
    seconds, processor = fastest_seconds(
        lambda: trainer.step(0, (images, masks), criterion), config.repeats, device
    )
    count = sum(weight.numel() for weight in net.parameters())
    gradients = torch.zeros(count, device=device)
    exchange, _ = fastest_seconds(lambda: add_up(gradients), config.repeats, device)
    crops = share * processes
    row = [
        f"{processes} × {precision}, parts {config.accumulate}",
        str(crops),
        f"{4 * count / 1e6:.1f} MB",
        f"{seconds:.2f} s",
        f"{processor:.2f} s",
        f"{1000 * exchange:.1f} ms" if processes > 1 else "–",
    ]
    header = [
        "processes",
        "crops per step",
        "gradients",
        "step",
        "processor time each",
        "their exchange alone",
    ]
    if not this_process()[0]:
        text = f"{describe_machine(device)}\n\n{markdown(header, [row])}"
        report("Training in several processes", text, config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
