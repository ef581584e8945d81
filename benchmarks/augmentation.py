"""Milliseconds per sample of the joint augmentation and of similar transforms in torchvision v2, on one core.

python benchmarks/augmentation.py
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).parents[1]))
from measuring import markdown, median_seconds

from utils.core.console import run_script
from utils.training.augmentation import STRENGTHS, augment, parse_augmentation
from utils.voc.demo import draw_sample


@dataclass
class Config:
    """Settings of the benchmark."""

    size: int = 512  # height and width of picture and crop
    repeats: int = 30  # timed samples; the median is reported


# The same kinds of transforms on both sides: flips, one affine, elastic, tone, Gaussian noise.
PARTS = "default,turn=0,rotate=10,scale=0.1,elastic=2,noise=0.02,gamma=0"


def torchvision_parts() -> v2.Compose:
    """The kinds of transforms of PARTS, each a pass of its own."""
    parts = parse_augmentation(PARTS)
    scale = (1 / (1 + parts.scale), 1 + parts.scale)
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomAffine(parts.rotate, scale=scale, interpolation=2),
            v2.ElasticTransform(alpha=50.0, sigma=5.0),
            v2.ColorJitter(brightness=parts.brightness, contrast=parts.contrast, saturation=parts.saturation),
            v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.uint8}, scale=True),
            v2.GaussianNoise(sigma=parts.noise),
        ]
    )


def main(config: Config) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    gray, mask = draw_sample(0, config.size)
    pictures = {"gray": gray, "RGB": np.stack([gray] * 3, axis=2)}

    def milliseconds(call: Callable[[np.ndarray], object]) -> list[str]:
        """Of each picture."""
        seconds = (
            median_seconds(partial(call, picture), config.repeats, torch.device("cpu"))
            for picture in pictures.values()
        )
        return [f"{1000 * value:.1f}" for value in seconds]

    rows, rng = [], np.random.default_rng(0)
    for strength, settings in {**STRENGTHS, PARTS: parse_augmentation(PARTS)}.items():
        call = partial(augment, mask=mask, size=mask.shape, settings=settings, rng=rng)
        rows.append([f"ours, {strength}", *milliseconds(call)])
    transform, target = torchvision_parts(), tv_tensors.Mask(torch.from_numpy(mask))

    def transformed(picture: np.ndarray) -> object:
        image = tv_tensors.Image(torch.from_numpy(np.atleast_3d(picture)).permute(2, 0, 1).contiguous())
        return transform(image, target)

    rows.append(["torchvision v2, the kinds of transforms of the row above", *milliseconds(transformed)])
    print(markdown(["augmentation", *(f"{name}, ms" for name in pictures)], rows))


if __name__ == "__main__":
    run_script(main, Config, __doc__)
