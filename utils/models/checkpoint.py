"""The checkpoint: one self-describing file that holds numbers and plain text only, never pickled objects."""

import pickle
import re
import reprlib
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nets.config import NetworkConfig
from utils.core.console import UserError
from utils.core.files import replacing

FORMAT = "unet-segmentation"
VERSION = 1


@dataclass
class Checkpoint:
    """All that is needed to rebuild a network and feed it as in training.

    network: plain values in the file, where settings that it lacks have their defaults; normalisation: see
    `utils.images.normalisation.Normalisation`; palette: one [r, g, b] per class; fit: how pictures are fitted
    to the network ("crop": native resolution); scores: on the validation split; settings: the run's
    configuration; training: optimizer, step and epoch, in last.pth only; trained_on: names of the training
    pictures in settings["voc_root"], none in the files of earlier releases; threshold: of two classes, the
    probability from which a pixel is of class 1, or None for one half (`get_miou.py --store-threshold`).
    """

    model: dict[str, Tensor] = field(repr=False)
    network: NetworkConfig
    class_names: list[str]
    palette: list[list[int]] = field(repr=False)
    normalisation: dict[str, Any]
    input_shape: tuple[int, int]
    fit: str = "crop"
    scores: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    training: dict[str, Any] | None = field(default=None, repr=False)
    trained_on: list[str] = field(default_factory=list, repr=False)
    threshold: float | None = None


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write so that a crash at any instant leaves the old or the new file, whole. Raises UserError."""
    # `asdict` would deep-copy every tensor.
    content = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
    content["network"] = asdict(checkpoint.network)
    # To an open file, because a full disk is a RuntimeError where PyTorch opens the file itself.
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save({"format": FORMAT, "version": VERSION, **content}, file)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of ours onto the CPU without executing anything in it. Raises UserError."""
    return parse_checkpoint(load_weights_only(path), path)


def parse_checkpoint(content: Any, path: str | Path) -> Checkpoint:
    """A loaded file as a checkpoint of ours. Raises UserError for another format or version."""
    if not is_own_format(content):
        keys = f" with the keys {reprlib.repr(list(content))}" if isinstance(content, dict) else ""
        found = f"a {type(content).__name__} of an unknown format{keys}"
        expected = "a checkpoint of train.py, or weights of unet-pytorch or Pytorch-UNet"
        remedy = "pass --model-path logs/<run>/best.pth"
        raise UserError("checkpoint-format", path, found, expected, remedy)
    if (version := content.get("version")) != VERSION:
        remedy = "use the release that wrote it, or update this one"
        raise UserError("checkpoint-version", path, f"version {version}", f"version {VERSION}", remedy)
    names, content = [f.name for f in fields(Checkpoint)], {"trained_on": [], "threshold": None, **content}
    if missing := [name for name in names if name not in content]:
        found, remedy = f"a checkpoint without {', '.join(missing)}", "train again or use a backup"
        raise UserError("checkpoint-incomplete", path, found, "all fields of the format", remedy)
    values = {name: content[name] for name in names}
    return Checkpoint(**{**values, "network": parse_network(content["network"], path)})


def parse_network(settings: dict[str, Any], path: str | Path) -> NetworkConfig:
    """The settings of a network from a file, or their defaults. Raises UserError for unknown ones."""
    known = {f.name for f in fields(NetworkConfig)}
    if unknown := [name for name in settings if name not in known]:
        found = f"unknown settings of its network: {', '.join(unknown)}"
        remedy = "update this repository to the release that wrote it"
        raise UserError("network-settings", path, found, ", ".join(sorted(known)), remedy)
    return NetworkConfig(**settings)


def is_own_format(content: Any) -> bool:
    return isinstance(content, dict) and content.get("format") == FORMAT


def load_weights_only(path: str | Path) -> Any:
    """`torch.load` restricted to tensors and plain containers. Raises UserError for anything else."""
    path, expected = Path(path), "a PyTorch checkpoint"
    remedy = "check the path; copy or download the file again"
    if not path.is_file():
        train_first = "check the path, or train first: python train.py"
        raise UserError("checkpoint-missing", path, "no such file", expected, train_first)
    start = b""
    try:
        with path.open("rb") as file:
            start = file.read(8)
        if start.startswith((b"PK", pickle.PROTO)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch.save writes pickles of protocol 2; only those can be called damaged.
        if "Unsupported operand" in str(error) and start[:2] in (b"PK", b"\x80\2"):
            found = "a damaged file (its pickle cannot be read)"
            raise UserError("checkpoint-damaged", path, found, expected, remedy) from None
        found = (
            "a pickle of more than tensors and plain values; it could run any program, so it was not loaded"
        )
        remedy = "save the weights again where they were made, with torch.save(net.state_dict(), PATH)"
        expected = "a checkpoint of tensors and plain values"
        raise UserError("checkpoint-unsafe", path, found, expected, remedy) from None
    except Exception as error:
        # For damaged files torch.load raises a dozen types, from struct.error to AssertionError.
        found = f"a damaged or truncated file ({first_line(error)})"
        raise UserError("checkpoint-damaged", path, found, expected, remedy) from error
    if not start:
        raise UserError("checkpoint-empty", path, "an empty file (zero bytes)", expected, remedy)
    found = f"a file that is no checkpoint (it begins with {start!r})"
    raise UserError("not-a-checkpoint", path, found, expected, remedy)


def first_line(error: Exception) -> str:
    """Of its message, 120 characters at most; its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def imagenet_weights(url: str, folder: Path = Path("model_data")) -> dict[str, Tensor]:
    """ImageNet weights from `folder`, downloaded first if they are not there. Raises UserError."""
    path = folder / url.rsplit("/", 1)[1]
    if not path.is_file():
        print(f"downloading {url} to {path}")
        with replacing(path) as temporary:
            try:
                # torchvision's names end in the first digits of what the file hashes to.
                torch.hub.download_url_to_file(url, str(temporary), hash_prefix=path.stem.rsplit("-", 1)[1])
            except (OSError, HTTPException, RuntimeError) as error:
                found = f"no such file, and it cannot be downloaded ({error})"
                remedy = f"download {url} elsewhere and put it there, or train with --no-pretrained"
                raise UserError("imagenet-download", path, found, "ImageNet weights", remedy) from None
    return load_weights_only(path)


def newest_checkpoint(logs: Path = Path("logs"), model_data: Path = Path("model_data")) -> Path:
    """The newest logs/*/best.pth, else the newest weights in model_data/. Raises UserError without any."""
    shipped = (*model_data.glob("*.pth"), *model_data.glob("*.pt"))
    # ImageNet weights, whose names end in eight digits of their hash, are no segmentation networks.
    shipped = [path for path in shipped if not re.search(r"-[0-9a-f]{8}$", path.stem)]
    found = list(logs.glob("*/best.pth")) or shipped
    if not found:
        absent = "no trained weights there, nor in model_data/"
        remedy = "train first: python train.py"
        raise UserError("weights-missing", f"{logs}/*/best.pth", absent, "weights", remedy)
    return max(found, key=lambda path: path.stat().st_mtime)


def config_to_dict(config: Any) -> dict[str, Any]:
    """A settings dataclass as plain values for JSON and checkpoints: paths as text, nested settings flat."""
    content: dict[str, Any] = {}
    for name, value in vars(config).items():
        plain = str(value) if isinstance(value, Path) else value
        content |= config_to_dict(value) if is_dataclass(value) else {name: plain}
    return content
