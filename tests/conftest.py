"""Shared by all tests: the import path, one thread per process, hypothesis without a clock, VOC folders."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts import SHARED

from utils.core.files import write_lines
from utils.images.writing import write_image, write_mask
from utils.inference.tiling import make_grid
from utils.voc.demo import CLASS_NAMES, draw_sample
from utils.voc.folder import VocFolder

settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"needs {SHARED}")
    return SHARED


@cache
def drawn(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    return draw_sample(seed, size)


@pytest.fixture
def voc_folder(tmp_path) -> Callable[..., VocFolder]:
    """voc_folder(count, val, size): a VOC folder of pictures cells_0, …, the last `val` to validate."""

    def make(count: int = 4, val: int = 1, size: int = 64) -> VocFolder:
        folder = VocFolder(tmp_path / "voc")
        names = [f"cells_{index}" for index in range(count)]
        for index, name in enumerate(names):
            image, mask = drawn(index, size)
            write_image(folder.images_dir / f"{name}.png", image)
            write_mask(folder.mask_path(name), mask)
        write_lines(folder.class_names_path, CLASS_NAMES)
        folder.write_split("train", names[: count - val])
        folder.write_split("val", names[count - val :])
        return folder

    return make


@pytest.fixture
def folder(tmp_path) -> VocFolder:
    """Two pictures to train on and one to validate."""
    from scripts import make_voc

    return make_voc(tmp_path / "voc")


@pytest.fixture
def logs(tmp_path) -> Path:
    return tmp_path / "logs"


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> tuple[VocFolder, Path]:
    """The VOC folder and the run folder of a finished run: mixed sizes, batches of two, three epochs."""
    from scripts import make_voc, tiny

    import train

    root = tmp_path_factory.mktemp("finished")
    sizes = [(48, 48), (37, 53), (64, 40), (37, 53), (37, 53), (64, 40)]
    folder = make_voc(root / "voc", count=6, size=sizes, val=3)
    train.main(tiny(folder, root / "logs", epochs=3, lr=1e-2))
    return folder, root / "logs" / "run"


@pytest.fixture
def without_drawing(monkeypatch):
    """voc2unet.py without its two pictures, which take a second."""
    for name in ("draw_statistics", "draw_contact_sheet"):
        monkeypatch.setattr(f"voc2unet.{name}", lambda *_: None)


@pytest.fixture
def small_is_large(monkeypatch):
    """Pictures above 1,000 pixels go band by band, above 2,000 into TIFFs."""
    for module in ("images.large", "inference.ensemble", "inference.gaps", "inference.results"):
        monkeypatch.setattr(f"utils.{module}.LARGE_PIXELS", 1000)
    monkeypatch.setattr("utils.inference.results.PNG_PIXELS", 2000)

    def make_small_grid(size, side, stride, reach, exact):
        return make_grid(size, 24, 4, 0, exact=True)

    monkeypatch.setattr("utils.inference.ensemble.make_grid", make_small_grid)
