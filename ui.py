"""A window that segments pictures: open them, look at the result, correct, save."""

import sys
from dataclasses import dataclass
from pathlib import Path

from utils.core.console import run_script


@dataclass
class Config:
    """Settings of the window."""

    model_path: Path | None = None  # checkpoint or ONNX file; None: that of last time, else the newest
    input: Path | None = None  # picture, folder or video to begin with
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps


def main(config: Config) -> None:
    # The window is imported here: the process of the network imports this file, but needs no window.
    from gui.application import run_application

    sys.exit(run_application(config.model_path, config.input, config.device))


if __name__ == "__main__":
    run_script(main, Config, __doc__)
