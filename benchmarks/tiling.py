"""Time and memory of predict.py by size; tiles against the whole picture: python benchmarks/tiling.py"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import psutil
import tifffile
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from nets.config import NetworkConfig
from nets.unet import build
from unet import Unet
from utils.core.console import run_script
from utils.core.device import Precision
from utils.models.checkpoint import Checkpoint
from utils.training.losses import criterion
from utils.voc.demo import draw_sample

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
    steps: int = 150  # training steps of networks that are not untrained


def cells(count: int = 8) -> list[np.ndarray]:
    """Different pictures of cells, (TILE, TILE, 3) uint8."""
    return [
        np.repeat(draw_sample(seed, TILE)[0].reshape(TILE, TILE, -1)[..., :1], 3, axis=2)
        for seed in range(count)
    ]


def make_picture(path: Path, side: int) -> None:
    """A tiled, deflated RGB TIFF; never whole in memory."""
    pictures, rng = cells(), np.random.default_rng(0)
    tiles: Iterator[np.ndarray] = (
        pictures[rng.integers(len(pictures))] for _ in range((-(-side // TILE)) ** 2)
    )
    shape = {"shape": (side, side, 3), "dtype": np.uint8, "tile": (TILE, TILE)}
    tifffile.imwrite(path, tiles, **shape, compression="zlib", photometric="rgb")


def measure(config: Config, folder: Path, side: int) -> tuple[float, float]:
    """Seconds and peak MiB of predict.py, its start included."""
    make_picture(folder / f"{side}.tif", side)
    arguments = [
        "--model-path",
        config.model_path,
        "--device",
        config.device,
        "--input",
        folder / f"{side}.tif",
    ]
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


def learn(net: nn.Module, steps: int) -> None:
    """Train `steps` steps on crops (2, 3, 256, 256). With 0, its batch norms see some crops."""
    pictures, masks = zip(*(draw_sample(seed, TILE) for seed in range(8)), strict=True)
    images = (
        torch.from_numpy(np.stack(pictures).reshape(8, TILE, TILE, -1)[..., :1])
        .movedim(3, 1)
        .expand(-1, 3, -1, -1)
    )
    targets, optimizer = torch.from_numpy(np.stack(masks)), torch.optim.AdamW(net.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(0)
    net.train()
    for _ in range(max(steps, 20)):
        picks = torch.randint(8, (2,), generator=generator)
        top, left = torch.randint(TILE - 256, (2,), generator=generator).tolist()
        window = (..., slice(top, top + 256), slice(left, left + 256))
        with torch.set_grad_enabled(steps > 0):
            loss = criterion(net((images[picks][window].float() / 255 - 0.5) / 0.25), targets[picks][window])
        if steps:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def difference(arguments: dict, steps: int, side: int = 1024) -> tuple[float, float, float]:
    """Tiles of 512 against the whole picture, of a network after `steps` steps of training.

    Largest and mean difference of probabilities, share of pixels of another class.
    """
    torch.manual_seed(0)
    network = NetworkConfig(3, 3, **arguments)
    net = build(network)
    learn(net, steps)
    picture = np.concatenate([np.concatenate(cells(2), axis=1), np.concatenate(cells(4)[2:], axis=1)])[
        :side, :side
    ]
    values = {"mean": [0.5] * 3, "std": [0.25] * 3}
    description = Checkpoint({}, network, ["a", "b", "c"], [[0] * 3] * 3, values, (256, 256))
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
        print(
            "\n| network | largest difference | mean | pixels of another class |\n| --- | --- | --- | --- |"
        )
        for name, steps in product(MEMBERS, (0, config.steps)):
            largest, mean, changed = difference(MEMBERS[name], steps)
            print(f"| {name}, {steps} steps | {largest:.1e} | {mean:.1e} | {changed:.3%} |", flush=True)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
