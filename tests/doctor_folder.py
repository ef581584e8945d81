"""Helpers of the tests of voc2unet.py: small VOC folders, the script run in this process, its faults."""

import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import tyro
from scripts import snapshot

import voc2unet
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.doctor.repair import RepairSettings
from utils.images.writing import write_image, write_mask
from utils.voc.folder import VocFolder
from utils.voc.splits import SplitSettings

MASK = np.array([[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 2, 2]], np.uint8)
GRAY = MASK * np.uint8(40)
SPLITS = ("train", "val", "trainval", "test")
CLASS_NAMES = ["background", "cell", "nucleus"]


def noise(name: str, *shape: int) -> np.ndarray:
    """A picture (H, W[, 3]) uint8, another one for each name."""
    return np.random.default_rng(list(name.encode())).integers(0, 256, shape or MASK.shape, np.uint8)


def add(folder: VocFolder, name: str, mask: np.ndarray | None = MASK, ending: str = ".png") -> None:
    write_image(folder.images_dir / f"{name}{ending}", noise(name))
    if mask is not None:
        write_mask(folder.mask_path(name), mask)


def make_folder(root: Path, names: Sequence[str] = "abc") -> VocFolder:
    """Good pairs of 3×4 pixels, in three classes by name."""
    folder = VocFolder(root)
    for name in names:
        add(folder, name)
    write_lines(folder.class_names_path, CLASS_NAMES)
    return VocFolder(root)


def settings_of(root: Path, **settings: object) -> voc2unet.Config:
    """Settings of voc2unet.py by the names of their flags."""
    groups = ({field.name for field in fields(kind)} for kind in (SplitSettings, RepairSettings))
    splits, repair = ({name: settings.pop(name) for name in names & settings.keys()} for names in groups)
    return voc2unet.Config(root, SplitSettings(**splits), RepairSettings(**repair), **settings)


def check(folder: VocFolder, **settings: object) -> None:
    voc2unet.main(settings_of(folder.root, **settings))


def find_fault(folder: VocFolder, **settings: object) -> UserError:
    """The error of a check that leaves everything as it was."""
    before = snapshot(folder.root)
    with pytest.raises(UserError) as caught:
        check(VocFolder(folder.root), **settings)
    assert snapshot(folder.root) == before
    return caught.value


def command(folder: VocFolder, *flags: str) -> str:
    return " ".join([f"python voc2unet.py --voc-root {folder.root}", *flags])


def obey(folder: VocFolder, remedy: str) -> None:
    """Do what the first command in a message says."""
    check(VocFolder(folder.root), **flags_of(folder, remedy))


def flags_of(folder: VocFolder, remedy: str) -> dict[str, object]:
    """The settings that the first command in a message gives."""
    words = shlex.split(remedy.split("   (")[0].split("   or   ")[0])
    assert words[:4] == ["python", "voc2unet.py", "--voc-root", str(folder.root)]
    config = tyro.cli(voc2unet.Config, args=words[2:])
    changed = {one.name: getattr(config.repair, one.name) for one in fields(RepairSettings)}
    return {name: value for name, value in changed.items() if value != getattr(RepairSettings(), name)}


def draw_objects(count: int) -> np.ndarray:
    """Squares of 4×4 pixels in a grid (100, 100), numbered from 1: uint16."""
    tiles = np.zeros(400, np.uint16)
    tiles[:count] = np.arange(1, count + 1)
    inside = np.pad(np.ones((4, 4), np.uint16), ((0, 1), (0, 1)))
    return np.kron(tiles.reshape(20, 20), inside)


def write_pair(
    folder: VocFolder, name: str, values: Sequence[int] = (0, 1), size: tuple[int, int] = (6, 8)
) -> None:
    """A picture, another one for each name, and a mask whose columns take these values in turn."""
    write_image(folder.images_dir / f"{name}.png", noise(name, *size))
    write_mask(folder.mask_path(name), np.tile(np.resize(np.array(values, np.uint8), size[1]), (size[0], 1)))


def make_pairs(root: Path, count: int = 6, values: Sequence[int] = (0, 1)) -> VocFolder:
    """Pairs slice_1, slice_2, … without class names."""
    folder = VocFolder(root)
    for index in range(1, count + 1):
        write_pair(folder, f"slice_{index}", values)
    return VocFolder(root)


def read_splits(folder: VocFolder) -> dict[str, list[str]]:
    """The lists as they are in the files; test.txt may be empty."""
    return {split: (folder.splits_dir / f"{split}.txt").read_text("utf-8").split() for split in SPLITS}


def without_statistics(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without dataset.json, which holds the times of files."""
    return {path: content for path, content in files.items() if not path.endswith("dataset.json")}
