"""Seconds that a user waits: python train.py (demo) until its first step is done, python predict.py --help.

python benchmarks/start.py --output logs/start.md
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))
from measuring import describe_machine, markdown, report

from utils.core.console import run_script
from utils.core.device import choose_device

ROOT = Path(__file__).parents[1]
# train.py unchanged, in a process that ends when an optimizer has made its first step.
UNTIL_FIRST_STEP = """
import os, runpy, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *_: os._exit(77))
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass
class Config:
    """Settings of the benchmark."""

    output: Path | None = None  # Markdown file to write; None: print only
    repeats: int = 3  # starts of each kind after one that warms the disk and draws the demo set; median
    quick: bool = False  # one start on a small demo network: does it run?


def seconds_of(command: Sequence[str], folder: Path, status: int) -> float:
    """Seconds until the command, started in `folder`, ends. Raises RuntimeError for another exit status."""
    start = time.perf_counter()
    result = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, encoding="utf-8", errors="replace"
    )
    if result.returncode != status:
        raise RuntimeError(f"{command[-1]} ended with status {result.returncode}:\n{result.stderr[-2000:]}")
    return time.perf_counter() - start


def main(config: Config) -> None:
    small = ["--base-channels", "4", "--depth", "2", "--input-shape", "64", "64"] if config.quick else []
    commands = {
        "`python train.py`, to the end of the first step": (
            ["-c", UNTIL_FIRST_STEP, str(ROOT / "train.py"), *small],
            77,
        ),
        "`python predict.py --help`": ([str(ROOT / "predict.py"), "--help"], 0),
    }
    rows = []
    for label, (command, status) in commands.items():
        with TemporaryDirectory() as directory:
            starts = 1 if config.quick else config.repeats + 1
            seconds = [seconds_of(command, Path(directory), status) for _ in range(starts)]
        rows.append([label, f"{statistics.median(seconds[1:] or seconds):.1f}", f"{seconds[0]:.1f}"])
    intro = f"`python benchmarks/start.py`: {describe_machine(choose_device('auto'))}."
    report("Start", f"{intro}\n\n{markdown(['command', 'seconds', 'first time'], rows)}", config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
