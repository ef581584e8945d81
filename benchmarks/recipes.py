"""Scores of train.py's defaults and of other loops after equal minutes: data sets × budgets × seeds.

python benchmarks/recipes.py --voc-roots VOCdevkit/isbi VOCdevkit/msrc --minutes 6 --trials=";--lr 4e-3"
The pictures of val.txt are scored, and no run sees them: it validates on each sixth picture of train.txt.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copy2
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))
import accuracy
from accuracy import Predict, Run
from loops import missing
from measuring import choose_folder, describe_machine, markdown, report

from nets.config import NetworkConfig
from unet import Unet
from utils.core.console import note, run_script
from utils.core.device import choose_device
from utils.core.files import write_lines
from utils.images.reading import read_image, read_mask
from utils.voc.folder import VocFolder

NAMES = {"plain": "plain loop", "smp": "segmentation-models-pytorch"}


@dataclass
class Config:
    """Settings of the benchmark."""

    voc_roots: tuple[Path, ...] = ()  # VOC folders with the splits train and val
    output: Path | None = None  # Markdown file to write; None: print only
    minutes: tuple[float, ...] = (6,)  # budgets of the runs
    seeds: int = 3  # runs of each kind
    trials: str = (
        ""  # flags of train.py, of several kinds between ";"; the first are compared with the others
    )
    peers: tuple[Literal["plain", "smp"], ...] = ("plain", "smp")  # other loops; smp: if it is installed
    boundary: str = "membrane"  # class between objects; Rand F is reported if the data have it
    device: str = "auto"  # auto, cpu, cuda
    quick: bool = False  # drawn pictures, one epoch, one seed: does it run?


def hold_out(folder: VocFolder, root: Path) -> VocFolder:
    """A copy in which each sixth picture of train.txt validates, and val.txt is the split test."""
    copied, names = VocFolder(root), folder.read_class_names()
    copy_splits(folder, copied, held_out(folder.read_split("train")) | {"test": folder.read_split("val")})
    write_lines(copied.class_names_path, names)
    return copied


def held_out(names: list[str]) -> dict[str, list[str]]:
    """Splits of training pictures: each sixth validates."""
    return {"train": [name for number, name in enumerate(names) if number % 6], "val": names[::6]}


def copy_splits(folder: VocFolder, target: VocFolder, splits: dict[str, list[str]]) -> None:
    """Pictures and masks of these splits, and the splits themselves."""
    for place in (target.images_dir, target.masks_dir):
        place.mkdir(parents=True, exist_ok=True)
    for split, names in splits.items():
        for name in names:
            copy2(folder.image_path(name), target.images_dir)
            copy2(folder.mask_path(name), target.masks_dir)
        target.write_split(split, names)


def train_ours(config: Config, folder: VocFolder, minutes: float, flags: str, seed: int) -> list[Run]:
    """train.py with these flags; with a class between objects once more by `--tta --close-gaps`."""
    ours = accuracy.Config(
        voc_root=folder.root, train_flags=f"--seed {seed} {flags}", device=config.device, quick=config.quick
    )
    label = flags.strip() or "defaults"
    with TemporaryDirectory() as logs:
        _, unet = accuracy.train_ours(ours, minutes, Path(logs))
        runs = [score(config, folder, label, accuracy.predictor(unet, folder))]
        if config.boundary in unet.class_names:
            unet = Unet(unet.model_path, config.device, tta=True, close_gaps=config.boundary)
            label += f", `--tta --close-gaps {config.boundary}`"
            runs.append(score(config, folder, label, accuracy.predictor(unet, folder)))
    return runs


def score(config: Config, folder: VocFolder, label: str, predict: Predict) -> Run:
    """mIoU and Rand F of the pictures of the split test, or of val where there is no test."""
    names, run = folder.read_class_names(), Run(label)
    boundary = names.index(config.boundary) if config.boundary in names else None
    split = "test" if folder.read_split_if_any("test") else "val"
    accuracy.score(run, predict, folder, len(names), boundary, split)
    return run


def train_plain(config: Config, folder: VocFolder, minutes: float, seed: int) -> list[Run]:
    """The plain loop on the plain network, and the weights of its best epoch."""
    plain = accuracy.Config(plain_minutes=0 if config.quick else minutes, seed=seed)
    network = NetworkConfig(num_classes=len(folder.read_class_names()), in_channels=3)
    _, predict = accuracy.train_plain(plain, folder, network, choose_device(config.device))
    return [score(config, folder, NAMES["plain"], predict)]


def train_smp(config: Config, folder: VocFolder, minutes: float, seed: int) -> list[Run]:
    """A loop as its manual has it: ResNet-34 from scratch, 8 crops of 256×256, AdamW 1e-3."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(seed)
    device, rng, start = choose_device(config.device), np.random.default_rng(seed), time.perf_counter()
    classes = len(folder.read_class_names())
    net = smp.Unet("resnet34", encoder_weights=None, in_channels=3, classes=classes).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    pairs = [read_pair(folder, name) for name in folder.read_split("train")]
    for images, masks in draw_crops(pairs, rng):
        optimizer.zero_grad()
        logits = net(images.to(device))
        torch.nn.functional.cross_entropy(logits, masks.to(device), ignore_index=255).backward()
        optimizer.step()
        if config.quick or time.perf_counter() - start > 60 * minutes:
            break
    net.eval()

    @torch.inference_mode()
    def predict(name: str) -> np.ndarray:
        image = read_picture(folder, name)
        height, width = image.shape[:2]
        padding = [(0, -length % 32) for length in (height, width)]
        padded = to_float(np.pad(image, [*padding, (0, 0)], mode="symmetric"))
        logits = net(padded[None].to(device))[0, :, :height, :width]
        return logits.argmax(0).byte().cpu().numpy()

    return [score(config, folder, NAMES["smp"], predict)]


def read_picture(folder: VocFolder, name: str) -> np.ndarray:
    """(H, W, 3)"""
    image = read_image(folder.image_path(name))
    return np.dstack([image] * 3) if image.ndim == 2 else image


def read_pair(folder: VocFolder, name: str) -> tuple[np.ndarray, np.ndarray]:
    return read_picture(folder, name), read_mask(folder.mask_path(name))


def draw_crops(pairs: list, rng: np.random.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of 8 random crops of 256×256, mirrored left-right half of the time."""
    while True:
        batch = []
        for image, mask in (pairs[index] for index in rng.integers(len(pairs), size=8)):
            missing = [(0, max(256 - length, 0)) for length in mask.shape]
            image = np.pad(image, [*missing, (0, 0)])
            mask = np.pad(mask, missing, constant_values=255)
            top, left = (rng.integers(length - 255) for length in mask.shape)
            step = rng.choice((-1, 1))
            part = np.s_[top : top + 256, left : left + 256]
            batch.append((to_float(image[part][:, ::step]), torch.from_numpy(mask[part][:, ::step].copy())))
        images, masks = zip(*batch, strict=True)
        yield torch.stack(images), torch.stack(masks).long()


def to_float(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) → (3, H, W) float32, roughly normalised."""
    scaled = image.astype(np.float32) / np.iinfo(image.dtype).max
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1))) * 4 - 2


def compare(config: Config, folder: VocFolder, minutes: float) -> list[list[str]]:
    """A row for each loop: mean and range over the seeds, and p of a paired t-test against the first."""
    kinds: list[Callable[..., list[Run]]] = [
        partial(train_ours, config, folder, minutes, flags) for flags in config.trials.split(";")
    ]
    for peer in config.peers:
        reason = missing(peer, "resnet50", choose_device(config.device))
        if reason:
            note(f"{NAMES[peer]}: left out, {reason}")
        else:
            kinds.append(partial({"plain": train_plain, "smp": train_smp}[peer], config, folder, minutes))
    rows, first = [], None
    for kind in kinds:
        # One list of runs for each seed, whose places are the ways to predict.
        for runs in zip(*(kind(seed) for seed in range(config.seeds)), strict=True):
            scores = [run.miou for run in runs]
            print(folder.root.name, minutes, runs[0].label, scores, [run.rand_f for run in runs], flush=True)
            p = stats.ttest_rel(scores, first).pvalue if first and len(scores) > 2 else None
            first = first or scores
            rand_f = "–" if runs[0].rand_f is None else spread([run.rand_f for run in runs])
            test = "–" if p is None else f"{p:.3f}"
            rows.append([folder.root.name, f"{minutes:g}", runs[0].label, spread(scores), rand_f, test])
    return rows


def spread(values: list[float]) -> str:
    """The mean, and in brackets the range."""
    return f"{np.mean(values):.3f} ({min(values):.3f} … {max(values):.3f})"


def main(config: Config) -> None:
    with TemporaryDirectory() as directory:
        roots = config.voc_roots or (None,)
        folders = [choose_folder(root, config.quick, Path(directory)) for root in roots]
        folders = [hold_out(one, Path(directory) / "held-out" / one.root.name) for one in folders]
        if config.quick:
            config.seeds, config.minutes = 1, (0.05,)
            config.trials = "--base-channels 4 --depth 2"
        rows = [
            row
            for folder in folders
            for minutes in config.minutes
            for row in compare(config, folder, minutes)
        ]
    table = markdown(["data", "minutes", "loop", "mIoU", "Rand F", "p"], rows)
    machine = describe_machine(choose_device(config.device))
    intro = f"`python benchmarks/recipes.py`: {config.seeds} seeds; {machine}."
    intro += " Means of scores of pictures that no run saw, and in brackets their range."
    report("Recipes", f"{intro}\n\n{table}", config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
