"""Validation mIoU of train.py's defaults in some minutes, on several data sets, with several seeds.

python benchmarks/recipes.py --voc-roots VOCdevkit/isbi VOCdevkit/msrc --minutes 6 --trials=";--lr 4e-3"
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))
import accuracy
from loops import missing
from measuring import choose_folder, describe_machine, markdown, report

from utils.core.console import note, run_script
from utils.core.device import choose_device
from utils.images.reading import read_image, read_mask
from utils.scoring.confusion import ConfusionMatrix
from utils.voc.folder import VocFolder

SMP = "segmentation-models-pytorch"


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
    smp: bool = True  # also segmentation-models-pytorch's Unet with ResNet-34, if it is installed
    device: str = "auto"  # auto, cpu, cuda
    quick: bool = False  # drawn pictures, one epoch, one seed: does it run?


def train_ours(config: Config, folder: VocFolder, minutes: float, flags: str, seed: int) -> float:
    """mIoU of the validation pictures, as a user predicts them, after train.py with these flags."""
    ours = accuracy.Config(
        voc_root=folder.root, train_flags=f"--seed {seed} {flags}", device=config.device, quick=config.quick
    )
    with TemporaryDirectory() as logs:
        run, unet = accuracy.train_ours(ours, minutes, Path(logs))
        accuracy.score(run, accuracy.predictor(unet, folder), folder, unet.num_classes, None)
    return run.miou


def train_smp(config: Config, folder: VocFolder, minutes: float, seed: int) -> float:
    """mIoU after a loop as its manual has it: ResNet-34 from scratch, 8 crops of 256×256, AdamW 1e-3."""
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
    matrix = ConfusionMatrix(classes)
    with torch.inference_mode():
        for image, mask in (read_pair(folder, name) for name in folder.read_split("val")):
            padding = [(0, -length % 32) for length in image.shape[:2]]
            padded = to_float(np.pad(image, [*padding, (0, 0)], mode="symmetric"))
            logits = net(padded[None].to(device))[0, :, : mask.shape[0], : mask.shape[1]]
            matrix.update(mask, logits.argmax(0).byte().cpu().numpy())
    return matrix.scores().miou


def read_pair(folder: VocFolder, name: str) -> tuple[np.ndarray, np.ndarray]:
    image = read_image(folder.image_path(name))
    return np.dstack([image] * 3) if image.ndim == 2 else image, read_mask(folder.mask_path(name))


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
    """A row for each trial: mean and range over the seeds, and p of a paired t-test against the first."""
    seeds, scores = range(config.seeds), {}
    for flags in config.trials.split(";"):
        label = flags.strip() or "defaults"
        scores[label] = [train_ours(config, folder, minutes, flags, seed) for seed in seeds]
        print(folder.root.name, minutes, label, scores[label], flush=True)
    reason = missing("smp", "resnet50", choose_device(config.device))
    if config.smp and not reason:
        scores[SMP] = [train_smp(config, folder, minutes, seed) for seed in seeds]
    elif config.smp:
        note(f"{SMP}: left out, {reason}")
    first = next(iter(scores.values()))
    rows = []
    for label, values in scores.items():
        p = stats.ttest_rel(values, first).pvalue if len(values) > 2 and values is not first else None
        spread = f"{min(values):.3f} … {max(values):.3f}"
        test = "–" if p is None else f"{p:.3f}"
        rows.append([folder.root.name, f"{minutes:g}", label, f"{np.mean(values):.3f}", spread, test])
    return rows


def main(config: Config) -> None:
    with TemporaryDirectory() as directory:
        roots = config.voc_roots or (None,)
        folders = [choose_folder(root, config.quick, Path(directory)) for root in roots]
        if config.quick:
            config.seeds, config.minutes = 1, (0.05,)
            config.trials = "--base-channels 4 --depth 2"
        rows = [
            row
            for folder in folders
            for minutes in config.minutes
            for row in compare(config, folder, minutes)
        ]
    table = markdown(["data", "minutes", "train.py", "mIoU, mean", "range", "p"], rows)
    machine = describe_machine(choose_device(config.device))
    intro = (
        f"`python benchmarks/recipes.py`: {config.seeds} seeds; {machine}. Scores of the validation pictures."
    )
    report("Recipes", f"{intro}\n\n{table}", config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
