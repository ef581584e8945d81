"""Helpers of the script tests: small VOC folders, tiny networks, scripts started as a user starts them."""

import ast
import inspect
import io
import os
import runpy
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

import predict
import train
from nets.config import NetworkConfig
from nets.unet import build
from unet import Unet
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.images.palette import voc_palette
from utils.images.reading import read_mask
from utils.images.writing import write_image, write_mask
from utils.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from utils.voc.demo import CLASS_NAMES, draw_sample
from utils.voc.folder import VocFolder

ROOT = Path(__file__).parents[1]
# Real data that a checkout need not have: tests that use it are skipped without it.
SHARED = ROOT.parent / "shared"
SCRIPTS = sorted(
    path.name for path in ROOT.glob("*.py") if "run_script(main, Config" in path.read_text("utf-8")
)


def run(script: str, *arguments: object, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess:
    """A script in a process of its own, started in the folder `cwd`."""
    return start([str(ROOT / script), *map(str, arguments)], cwd, stdin)


def start(python_arguments: Sequence[str], cwd: Path, stdin: str = "") -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *python_arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, input=stdin, capture_output=True, encoding="utf-8"
    )


def run_here(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: object) -> int:
    """Exit status of a script run in this process, its command line and its `__main__` part included."""
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    except SystemExit as end:
        return end.code or 0
    return 0


def flags_of_settings(settings: type) -> dict[str, str]:
    """The comment of every field of a dataclass of settings, of its base and of those in it, by its flag."""
    found = flags_of_settings(settings.__base__) if is_dataclass(settings.__base__) else {}
    source = inspect.getsource(settings)
    lines, hints = source.splitlines(), get_type_hints(settings)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {
        token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT
    }
    for node in ast.parse(source).body[0].body:
        if isinstance(node, ast.AnnAssign) and is_dataclass(hints[node.target.id]):
            found |= flags_of_settings(hints[node.target.id])
        elif isinstance(node, ast.AnnAssign):
            own = [comments[line] for line in range(node.lineno, node.end_lineno + 1) if line in comments]
            above = node.lineno - 1
            if not own and lines[above - 1].lstrip().startswith("#"):
                own = [comments[above]]
            found[f"--{node.target.id.replace('_', '-')}"] = " ".join(own)
            if "Suppress" in ast.unparse(node.annotation):
                del found[f"--{node.target.id.replace('_', '-')}"]
    return found


def make_voc(
    root: Path, count: int = 3, size: int | Sequence[tuple[int, int]] = 48, val: int = 1, named: bool = True
) -> VocFolder:
    """A VOC folder of pictures cells_0, cells_1, …, the last `val` of them for validation.

    size: side of all pictures, or the (height, width) of each. named: with a class_names.txt.
    """
    folder = VocFolder(root)
    names = [f"cells_{index}" for index in range(count)]
    for index, name in enumerate(names):
        height, width = (size, size) if isinstance(size, int) else size[index]
        image, mask = draw_sample(index, max(height, width))
        write_image(folder.images_dir / f"{name}.png", image[:height, :width])
        write_mask(folder.mask_path(name), mask[:height, :width])
    if named:
        write_lines(folder.class_names_path, CLASS_NAMES)
    folder.write_split("train", names[: count - val])
    folder.write_split("val", names[count - val :])
    return VocFolder(root)


def recode(folder: VocFolder, codes: dict[int, int]) -> None:
    """Give classes other values in all masks."""
    table = np.arange(256, dtype=np.uint8)
    for old, new in codes.items():
        table[old] = new
    for path in folder.masks_dir.glob("*.png"):
        write_mask(path, table[read_mask(path)])


def cut_off(path: Path) -> None:
    """Keep the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def save_as(path: Path, array: np.ndarray, image_format: str | None = None) -> None:
    """Write an array as it is, in a format of one's choice, whatever the ending of the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, image_format)


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files below a folder and their content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def tiny(folder: VocFolder, save_dir: Path, **settings: Any) -> train.Config:
    """Settings of a training that takes a moment; the run folder is save_dir/run."""
    small = {"base_channels": 4, "depth": 2, "epochs": 2, "batch_size": 2, "num_workers": 0}
    machine = {"device": "cpu", "precision": "fp32"}
    return with_settings(
        train.Config(voc_root=folder.root, save_dir=save_dir, run_name="run"),
        **{**small, **machine, **settings},
    )


def with_settings(config: train.Config, **settings: Any) -> train.Config:
    """Other settings of a training, those of its network among them."""
    names = {field.name for field in fields(NetworkConfig)}
    network = {name: value for name, value in settings.items() if name in names}
    others = {name: value for name, value in settings.items() if name not in names}
    return replace(config, network=replace(config.network, **network), **others)


def save_untrained(path: Path, class_names: Sequence[str] = CLASS_NAMES, **changes: Any) -> Path:
    """A checkpoint of a tiny network with random weights that finds every class in a picture of cells."""
    network = NetworkConfig(len(class_names), 3, base_channels=4, depth=2)
    content = {
        "class_names": list(class_names),
        "palette": voc_palette(len(class_names)).tolist(),
        "normalisation": {"mean": [0.3] * 3, "std": [0.2] * 3},
        "input_shape": (48, 64),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(200):
        torch.manual_seed(seed)
        save_checkpoint(path, Checkpoint(build(network).state_dict(), network, **{**content, **changes}))
        found = np.bincount(Unet(path, "cpu", "fp32").predict(draw_sample(0, 48)[0]).ravel(), minlength=256)
        if min(found[: len(class_names)]) > 50:
            return path
    raise AssertionError("no seed gives a network that finds every class")


def favour(weights: Path, path: Path, **bias: float) -> Path:
    """A copy of a checkpoint whose network finds a class, given by name (with a negative bias: does not)."""
    checkpoint = load_checkpoint(weights)
    last_bias = [
        value for value in checkpoint.model.values() if value.shape == (len(checkpoint.class_names),)
    ][-1]
    for name, value in bias.items():
        last_bias[checkpoint.class_names.index(name)] += value
    save_checkpoint(path, checkpoint)
    return path


@contextmanager
def refused(code: str, subject: object = None) -> Iterator[pytest.ExceptionInfo[UserError]]:
    """What runs inside has to raise the UserError of this code, about this subject if one is given."""
    with pytest.raises(UserError) as caught:
        yield caught
    assert caught.value.code == code
    assert subject is None or caught.value.subject == str(subject)


def predict_config(**settings: Any) -> predict.Config:
    """Settings of predict.py by the names of their flags, whatever group they are in."""
    config = predict.Config()
    for name, value in settings.items():
        if hasattr(config, name):
            setattr(config, name, value)
            continue
        group = next(key for key, part in vars(config).items() if is_dataclass(part) and hasattr(part, name))
        setattr(config, group, replace(getattr(config, group), **{name: value}))
    return config
