"""Peak memory and time of training against batch and size: the plain loop, ours, and ours with --save-memory.

python benchmarks/memory.py --output logs/memory.md
"""

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))
from loops import OurLoop, PlainLoop
from measuring import describe_machine, draw_folder, in_child, markdown, peak_bytes, report

from utils.core.console import run_script
from utils.core.device import choose_device

WAYS = ("plain loop", "ours", "ours, --save-memory")


@dataclass
class Config:
    """Settings of the benchmark."""

    output: Path | None = None  # Markdown file to write; None: print only
    device: str = "auto"  # auto, cpu, cuda
    network: str = "vgg"  # one of NETWORKS in loops.py
    batches: tuple[tuple[int, int], ...] = ((2, 256), (1, 512), (2, 512), (4, 512))  # (crops, side) of a step
    quick: bool = False  # a tiny network on tiny pictures: does it run?


def measure(config: Config, way: str, batch_size: int, size: int) -> tuple[int, int, float]:
    """Peak bytes of a process before and after five training steps, and the median seconds of a step.

    The first step allocates the optimizer's state.
    """
    device = choose_device(config.device)
    with TemporaryDirectory() as directory:
        folder = draw_folder(Path(directory), batch_size, size)
        idle, names = peak_bytes(device), folder.read_split("train")
        make = {"save_memory": True} if way == "ours, --save-memory" else {}
        loop = (PlainLoop if way == "plain loop" else OurLoop)(config.network, folder, size, device, **make)
        seconds = loop.train(5 * names, batch_size)
    return idle, peak_bytes(device), statistics.median(seconds)


def main(config: Config) -> None:
    if config.quick:
        config.network, config.batches = "tiny", ((1, 64),)
    device = choose_device(config.device)
    rows = []
    for batch_size, size in config.batches:
        peaks = [in_child(measure, config, way, batch_size, size) for way in WAYS]
        idle = peaks[0][0]
        cells = [
            f"{peak / 2**30:.2f} ({peak / peaks[0][1]:.2f}×); {seconds:.2g} s" for _, peak, seconds in peaks
        ]
        rows.append([f"{batch_size} × {size}×{size}", *cells])
        print(" | ".join(rows[-1]), flush=True)
    start = f"{idle / 2**30:.2f} of them for Python and PyTorch before the first step (on CUDA: on the card)"
    intro = f"""`python benchmarks/memory.py`: {config.network}, training; GiB at the peak of the process and
seconds per step; {start}. {describe_machine(device)}."""
    report("Memory", f"{intro}\n\n{markdown(['batch', *WAYS], rows)}", config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
