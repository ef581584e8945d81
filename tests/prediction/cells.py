"""Pictures of cells that the tests of predict.py predict, and what is expected of them."""

import re

import numpy as np

from unet import Unet
from utils.images.writing import write_image
from utils.voc.demo import draw_sample

GRAY = draw_sample(0, 64)[0][:48]
RGB = np.stack([GRAY, GRAY // 2, 255 - GRAY], axis=-1)


def expected_mask(weights, path):
    return Unet(weights, "cpu", "fp32").predict(path)


def folder_of(tmp_path, **pictures):
    for name, picture in pictures.items():
        write_image(tmp_path / "in" / f"{name}.png", picture)
    return tmp_path / "in"


def nested(tmp_path, count=5):
    for index in range(count):
        write_image(tmp_path / "in" / f"day {index % 2}" / f"{index}.png", np.roll(RGB, 9 * index, axis=1))
    write_image(tmp_path / "in" / ".hidden" / "no.png", RGB)
    return tmp_path / "in"


def counts_in(output):
    """Pixels and share of every class, as printed."""
    found = re.findall(r"^ +\d+ (\w+) +(\d+) pixels +([\d.]+)%$", output, re.MULTILINE)
    return {name: (int(pixels), float(share)) for name, pixels, share in found}


def shares_in(output):
    """Share of each class in the line that is always printed."""
    (line,) = re.findall(r"^classes  (.*)$", output, re.MULTILINE)
    return {name: float(share) for name, share in re.findall(r"(\w+) ([\d.]+)%", line)}
