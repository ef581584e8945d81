"""The demo weights, a checkpoint of an earlier release, load and give the logits and masks they always gave.

golden.npz was written by an earlier release: logits (every 8th row and column) and mask of one picture.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from scripts import ROOT

from nets.config import NetworkConfig
from unet import Unet
from utils.models.checkpoint import load_checkpoint

DEMO = ROOT / "model_data" / "unet_demo.pth"
GOLDEN = Path(__file__).with_name("golden.npz")


def picture() -> np.ndarray:
    """Disks of different brightness on a checkered gradient, (200, 264) uint8, by whole numbers only."""
    rows, columns = np.mgrid[:200, :264]
    image = 40 + rows // 8 + columns // 16 + 12 * ((rows // 3 + columns // 5) % 2)
    for index in range(24):
        row, column, radius = (37 * index) % 200, (83 * index) % 264, 8 + index % 9
        inside = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        image = np.where(inside, 120 + 5 * index, image)
    return image.astype(np.uint8)


@pytest.fixture(scope="module")
def unet() -> Unet:
    return Unet(DEMO, device="cpu", precision="fp32")


def test_the_file_is_untouched():
    digest = "8bf6350e3acd62795eb3e4824a6269d83fec115eae9e9e2d8dc49826e8848be9"
    assert hashlib.sha256(DEMO.read_bytes()).hexdigest() == digest


def test_settings_that_an_old_checkpoint_lacks_have_their_defaults():
    stored = torch.load(DEMO, weights_only=True)["network"]
    assert isinstance(stored, dict)
    network = load_checkpoint(DEMO).network
    assert set(vars(NetworkConfig())) > set(stored)
    assert vars(network) == {**vars(NetworkConfig()), **stored}


def test_logits_are_those_of_the_release_that_trained_it(unet):
    expected = np.load(GOLDEN)["logits"]
    logits = unet.logits(torch.from_numpy(picture()).expand(1, 3, -1, -1))[0, :, ::8, ::8].numpy()
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_mask_is_that_of_the_release_that_trained_it(unet):
    expected = np.load(GOLDEN)["mask"]
    # Another processor rounds otherwise where two classes are equally likely.
    assert (unet.predict(picture()) != expected).sum() <= 3
