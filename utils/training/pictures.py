"""Pictures of a run for people: the first batch, the curves, and what the network predicts."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from utils.images.plots import draw_samples
from utils.training.data import Data
from utils.training.run_folder import Run
from utils.training.samples import SegmentationDataset


def draw_batch(path: Path, dataset: SegmentationDataset, keys: Sequence[int]) -> None:
    titles = ["augmented crops, with their masks"]
    draw_samples(path, tiles_of_samples(dataset, keys), min(4, len(keys)), titles)


def tiles_of_samples(
    dataset: SegmentationDataset, keys: Sequence[int]
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Crops (h, w, C) with their masks, then their border weights, if any, as gray values (h, w)."""
    samples = [[part.numpy() for part in dataset[key]] for key in keys]
    tiles = [(image.transpose(1, 2, 0), mask) for image, mask, *_ in samples]
    borders = [weights[0] for _, _, *weights in samples if weights]
    return tiles + [(np.uint8(border * (255 / max(border.max(), 1))), None) for border in borders]


class RunPictures:
    """Curves, and validation pictures with truth and prediction. `seconds`: time to draw them once."""

    def __init__(self, run: Run, predict: Callable[[np.ndarray], np.ndarray], data: Data):
        self.run, self.predict, self.data = run, predict, data
        self.seconds, self.drawn = 0.0, time.perf_counter()

    def draw(self) -> None:
        """loss.png, miou.png and val_epoch.png."""
        start = time.perf_counter()
        self.run.history.draw()
        rows = []
        for name in self.data.val[:4]:
            image, mask = self.data.read_pair(name)
            rows += [(image, None), (image, mask), (image, self.predict(image))]
        titles = ("picture", "truth", "prediction")
        draw_samples(self.run.folder / "val_epoch.png", rows, columns=3, titles=titles)
        self.drawn = time.perf_counter()
        self.seconds = self.drawn - start

    def draw_if_due(self) -> None:
        """Every 15 seconds, and for no more than a thirtieth of the time."""
        if time.perf_counter() - self.drawn > max(15, 30 * self.seconds):
            self.draw()
