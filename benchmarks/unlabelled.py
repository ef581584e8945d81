"""A few annotated pictures alone, and with the others of the folder as pictures without annotation.

python benchmarks/unlabelled.py --voc-roots VOCdevkit/msrc --pictures 20 --minutes 20
Each seed draws other pictures of train.txt. Each sixth of these validates, the masks of the others are not
used. The pictures of val.txt are scored, and no run sees them.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import copy2
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import recipes
from measuring import choose_folder, describe_machine, markdown, report

from utils.core.console import run_script
from utils.core.device import choose_device
from utils.core.files import write_lines
from utils.voc.folder import VocFolder


@dataclass
class Config:
    """Settings of the benchmark."""

    voc_roots: tuple[Path, ...] = ()  # VOC folders with the splits train and val
    pictures: int = 20  # annotated ones
    minutes: float = 20.0  # of each run
    seeds: int = 3  # of draws and runs
    flags: str = ""  # of train.py
    boundary: str = "membrane"  # class between objects; Rand F is reported if the data have it
    output: Path | None = None  # Markdown file to write; None: print only
    device: str = "auto"  # auto, cpu, cuda
    quick: bool = False  # drawn pictures, one epoch, one seed: does it run?


def draw_few(full: VocFolder, root: Path, pictures: int, seed: int) -> tuple[VocFolder, Path]:
    """A VOC folder of so many pictures of train.txt, and a folder of the others, without masks."""
    names = np.random.default_rng(seed).permutation(full.read_split("train")).tolist()
    few, pool = VocFolder(root / f"{full.root.name}-{seed}"), root / f"{full.root.name}-{seed}-pool"
    splits = recipes.held_out(names[:pictures]) | {"test": full.read_split("val")}
    recipes.copy_splits(full, few, splits)
    write_lines(few.class_names_path, full.read_class_names())
    pool.mkdir()
    for name in names[pictures:]:
        copy2(full.image_path(name), pool)
    return few, pool


def compare(config: Config, full: VocFolder, root: Path) -> list[list[str]]:
    """A row of means, and in brackets of ranges, for the runs without the other pictures and with them."""
    base = recipes.Config(device=config.device, quick=config.quick, boundary=config.boundary)
    scores: dict[str, list[tuple[float, float | None]]] = {"alone": [], "with the others": []}
    for seed in range(config.seeds):
        few, pool = draw_few(full, root, config.pictures, seed)
        for kind, flags in (("alone", ""), ("with the others", f' --unlabelled "{pool.as_posix()}"')):
            run = recipes.train_ours(base, few, config.minutes, config.flags + flags, seed)[0]
            print(full.root.name, seed, kind, run.miou, run.rand_f, flush=True)
            scores[kind].append((run.miou, run.rand_f))
    rows = []
    for kind, found in scores.items():
        mious, rand_fs = zip(*found, strict=True)
        rand_f = "–" if None in rand_fs else recipes.spread(rand_fs)
        rows.append([full.root.name, str(config.pictures), kind, recipes.spread(mious), rand_f])
    return rows


def main(config: Config) -> None:
    with TemporaryDirectory() as directory:
        root = Path(directory)
        roots = config.voc_roots or (None,)
        folders = [choose_folder(one, config.quick, root) for one in roots]
        if config.quick:
            config.seeds, config.pictures = 1, 2
            folders[0].write_split("train", ["cells_0", "cells_1", "cells_2"])
            config.flags = "--base-channels 4 --depth 2"
        rows = [row for folder in folders for row in compare(config, folder, root)]
    table = markdown(["data", "annotated", "pictures without annotation", "mIoU", "Rand F"], rows)
    machine = describe_machine(choose_device(config.device))
    intro = f"`python benchmarks/unlabelled.py`: {config.minutes:g} minutes, {config.seeds} seeds; {machine}."
    report("Pictures without annotation", f"{intro}\n\n{table}", config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
