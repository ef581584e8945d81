"""Seconds and peak memory of predict.py by size, and how far tiles are from the whole picture: python benchmarks/tiling.py"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import tifffile
import torch
import tyro

sys.path.insert(0, str(Path(__file__).parents[1]))

from nets.unet import build
from unet import Unet
from utils.checkpoint import Checkpoint
from utils.demo import draw_sample
from utils.engine import Precision

ROOT = Path(__file__).parents[1]
TILE = 512
MEMBERS = {
    "plain (exact)": {"base_channels": 16},
    "plain, aligned upsampling": {"base_channels": 16, "upsampling": "aligned"},
    "plain, group norm": {"base_channels": 16, "norm": "group"},
    "resnet50": {"backbone": "resnet50"},
}


@dataclass
class Config:
    """Settings of the benchmark."""

    sizes: tuple[int, ...] = (2000, 8000, 20000)  # sides of the pictures; none: leave this table out
    model_path: Path = ROOT / "model_data" / "unet_demo.pth"  # network that predicts them
    device: str = "cpu"  # cpu, cuda
    differences: bool = True  # tiles against the whole picture


def cells(count: int = 8) -> list[np.ndarray]:
    """Different pictures of cells, (TILE, TILE, 3) uint8."""
    return [np.repeat(draw_sample(seed, TILE)[0].reshape(TILE, TILE, -1)[..., :1], 3, axis=2) for seed in range(count)]


def make_picture(path: Path, side: int) -> None:
    """A tiled, deflated RGB TIFF; never whole in memory."""
    pictures, rng = cells(), np.random.default_rng(0)
    tiles: Iterator[np.ndarray] = (pictures[rng.integers(len(pictures))] for _ in range((-(-side // TILE)) ** 2))
    shape = {"shape": (side, side, 3), "dtype": np.uint8, "tile": (TILE, TILE)}
    tifffile.imwrite(path, tiles, **shape, compression="zlib", photometric="rgb")


def measure(config: Config, folder: Path, side: int) -> tuple[float, float]:
    """Seconds and peak MiB of predict.py, its start included."""
    make_picture(folder / f"{side}.tif", side)
    arguments = ["--model-path", config.model_path, "--device", config.device, "--input", folder / f"{side}.tif"]
    command = [sys.executable, ROOT / "predict.py", *arguments, "--output", folder / "out"]
    start, peak = time.perf_counter(), 0
    process = psutil.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    if process.wait():
        sys.exit("predict.py failed")
    return time.perf_counter() - start, peak / 2**20


def difference(arguments: dict, side: int = 1024) -> tuple[float, float, float]:
    """Largest and mean difference of probabilities and share of pixels of another class, tiles of 512 against the whole.

    Of an untrained network whose batch norms have seen the picture's values.
    """
    torch.manual_seed(0)
    net = build(3, **arguments).train()
    picture = np.concatenate([np.concatenate(cells(2), axis=1), np.concatenate(cells(4)[2:], axis=1)])[:side, :side]
    crops = torch.from_numpy(picture[:256, :512].reshape(256, 2, 256, 3)).permute(1, 3, 0, 2).float() / 255
    with torch.no_grad():
        for _ in range(20):
            net((crops - 0.5) / 0.25)
    values = {"mean": [0.5] * 3, "std": [0.25] * 3}
    description = Checkpoint({}, {"in_channels": 3, **arguments}, ["a", "b", "c"], [[0] * 3] * 3, values, (256, 256))
    unet = Unet.from_network(net, description, Precision(torch.device("cpu"), None))
    unet.tile_size = 512
    tiles = unet.predict_proba(picture)
    unet.tile_size = side
    whole = unet.predict_proba(picture)
    distance = np.abs(tiles - whole)
    return float(distance.max()), float(distance.mean()), float((tiles.argmax(0) != whole.argmax(0)).mean())


def main(config: Config) -> None:
    if config.sizes:
        print(f"{config.model_path.name} on {config.device}, {torch.get_num_threads()} threads\n")
        print("| picture | seconds | peak, MiB |\n| --- | --- | --- |")
    for side in config.sizes:
        with tempfile.TemporaryDirectory() as folder:
            seconds, peak = measure(config, Path(folder), side)
        print(f"| {side}×{side} | {seconds:.1f} | {peak:.0f} |", flush=True)
    if config.differences:
        print("\n| network | largest difference | mean | pixels of another class |\n| --- | --- | --- | --- |")
        for name, arguments in MEMBERS.items():
            largest, mean, changed = difference(arguments)
            print(f"| {name} | {largest:.1e} | {mean:.1e} | {changed:.3%} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
