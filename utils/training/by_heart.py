"""Pictures that are learned by heart: can a network with these settings learn such masks at all?"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.files import write_lines
from utils.images.large import open_picture
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_mask
from utils.images.writing import write_image, write_mask
from utils.scoring.verdict import judge_overfit, report_findings
from utils.training.data import Data, load_data
from utils.voc.folder import VocFolder

MINUTES = 1.0  # of training, where --max-minutes says nothing else
WINDOW = (256, 256)  # height, width of what is learned of a picture
LOOKED_AT = 20  # pictures among which those to learn are chosen
REPEATS = 10  # of every picture in an epoch: an epoch costs a validation and two files


def overfit(config: Any, train_once: Any) -> None:
    """Train and validate on windows of the same few pictures, and say whether the network learned them.

    Windows, because a network learns by steps, and those of large pictures are slow. Letterboxed pictures
    stay whole. train_once: see `utils.training.several`.
    """
    folder = VocFolder(config.voc_root)
    names = choose_rich(folder, folder.read_split("train"), config.overfit)
    run = replace(config, overfit=None, augmentation="none", run_name=f"{config.run_name}_overfit")
    run = replace(run, max_minutes=config.max_minutes or MINUTES, batch_size=config.batch_size or 2)
    if config.fit != "letterbox":
        window = config.input_shape or WINDOW
        root = config.save_dir / run.run_name / "pictures"
        cut_windows(load_data(folder, names=(names, names)), window, root)
        run = replace(run, voc_root=root, input_shape=window)
    outcome = train_once(run, (names * REPEATS, names))
    findings = judge_overfit(outcome.scores.miou, outcome.losses, outcome.steps, names, config.voc_root)
    report_findings(findings)
    if not findings:
        shown, steps = ", ".join(names), outcome.steps
        print(f"\nlearned by heart: mIoU {outcome.scores.miou:.1%} on {shown} after {steps} steps.")
        print("So the values of the masks and the settings work. Wrong masks are learned by heart, too:")
        print(f"see in {outcome.folder / 'train_batch.png'} whether each lies on its picture.")


def choose_rich(folder: VocFolder, names: Sequence[str], count: int) -> list[str]:
    """`count` pictures that together show as many classes as possible, of some of all."""
    seen = names[:: max(len(names) // LOOKED_AT, 1)][:LOOKED_AT]
    classes = {name: set(np.unique(read_mask(folder.mask_path(name))).tolist()) for name in seen}
    chosen, known = [], set()
    for _ in range(min(count, len(seen))):
        best = max((name for name in seen if name not in chosen), key=lambda name: len(classes[name] - known))
        chosen.append(best)
        known |= classes[best]
    return chosen


def cut_windows(data: Data, size: tuple[int, int], root: Path) -> None:
    """Write a VOC folder of the richest window (height, width), or less, of every picture to train on."""
    target = VocFolder(root)
    for name in data.train:
        mask = read_mask(data.folder.mask_path(name))
        rows, columns = richest_window(mask, size)
        picture = open_picture(data.folder.image_path(name))[rows][:, columns]
        suffix = ".png" if picture.ndim == 2 or picture.shape[2] == 3 else ".tif"
        write_image(target.images_dir / f"{name}{suffix}", np.ascontiguousarray(picture))
        write_mask(target.mask_path(name), mask[rows, columns])
    write_lines(target.class_names_path, data.class_names)
    for split in ("train", "val"):
        target.write_split(split, data.train)


def richest_window(mask: np.ndarray, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the window of a mask (H, W) uint8 with most classes, and no class most of it."""
    tops, lefts = (
        sorted({*range(0, max(full - side, 0), max(side // 2, 1)), max(full - side, 0)})
        for full, side in zip(mask.shape, size, strict=True)
    )
    windows = [(slice(top, top + size[0]), slice(left, left + size[1])) for top in tops for left in lefts]

    def richness(window: tuple[slice, slice]) -> tuple[int, int]:
        counts = np.bincount(mask[window].ravel(), minlength=256)[:IGNORE_INDEX]
        return np.count_nonzero(counts), int(counts.sum() - counts.max())

    return max(windows, key=richness)
