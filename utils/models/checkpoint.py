"""The checkpoint: one self-describing file that holds numbers and plain text only, never pickled objects."""

import pickle
import re
import struct
import zipfile
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
# What torch.load raises for damaged files of one format or another, beside UnpicklingError.
DAMAGE_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
)


@dataclass
class Checkpoint:
    """All that is needed to rebuild a network and feed it as in training.

    network: plain values in the file, where settings that it lacks have their defaults; normalisation: see
    `utils.images.normalisation.Normalisation`; palette: one [r, g, b] per class; fit: how pictures are fitted
    to the network ("crop": native resolution); scores: on the validation split; settings: the run's
    configuration; training: optimizer, step and epoch, in last.pth only.
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
        raise UserError(
            "checkpoint-format",
            path,
            f"a PyTorch file of an unknown format ({_describe(content)})",
            "a checkpoint written by train.py, or weights of unet-pytorch or Pytorch-UNet",
            "pass --model-path logs/<run>/best.pth",
        )
    if content.get("version") != VERSION:
        found, remedy = (
            f"checkpoint version {content.get('version')}",
            "use the release that wrote it, or update this one",
        )
        raise UserError("checkpoint-version", path, found, f"version {VERSION}", remedy)
    missing = [f.name for f in fields(Checkpoint) if f.name not in content]
    if missing:
        found, remedy = f"a checkpoint without {', '.join(missing)}", "train again or use a backup"
        raise UserError("checkpoint-incomplete", path, found, "all fields of the format", remedy)
    values = {f.name: content[f.name] for f in fields(Checkpoint)}
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


def misfits(own: dict[str, Tensor], given: dict[str, Tensor]) -> dict[str, list[str]]:
    """Keys of a network's `own` weights that the `given` lack, keys it lacks, and those of another shape."""
    shapes = [k for k in own if k in given and own[k].shape != given[k].shape]
    return {
        "missing": [k for k in own if k not in given],
        "unexpected": [k for k in given if k not in own],
        "other shape": [f"{k} {tuple(given[k].shape)} for {tuple(own[k].shape)}" for k in shapes],
    }


def table_of_misfits(found: dict[str, list[str]], at_most: int = 10) -> str:
    """The first of each kind, and how many there are in all."""
    lines = []
    for kind, keys in found.items():
        if keys:
            lines.append(f"{kind} ({len(keys)} in all):")
            lines += [f"    {key}" for key in keys[:at_most]] + (["    …"] if len(keys) > at_most else [])
    return "\n".join(lines)


def load_weights_only(path: str | Path) -> Any:
    """`torch.load` restricted to tensors and plain containers. Raises UserError for anything else."""
    path = Path(path)
    expected, remedy = "a PyTorch checkpoint", "check the path; copy or download the file again"
    if not path.is_file():
        train_first = "check the path, or train first: python train.py"
        raise UserError("checkpoint-missing", path, "no such file", expected, train_first)
    try:
        with path.open("rb") as file:
            start = file.read(8)
        if not start:
            raise UserError("checkpoint-empty", path, "an empty file (zero bytes)", expected, remedy)
        if not start.startswith((b"PK", pickle.PROTO)):
            found = f"a file that is no checkpoint (it begins with {start!r})"
            raise UserError("not-a-checkpoint", path, found, expected, remedy)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch.save writes pickles of protocol 2; only those can be called damaged.
        if "Unsupported operand" in str(error) and start[:2] in (b"PK", b"\x80\2"):
            found = "a damaged file (its pickle cannot be read)"
            raise UserError("checkpoint-damaged", path, found, expected, remedy) from None
        raise UserError(
            "checkpoint-unsafe",
            path,
            "a pickle that holds more than tensors and plain values; "
            "it could run any program, so it was not loaded",
            "a checkpoint of tensors and plain values",
            "save the weights again where they were made, with torch.save(net.state_dict(), PATH)",
        ) from None
    except DAMAGE_ERRORS as error:
        found = f"a damaged or truncated file ({_first_line(error)})"
        raise UserError("checkpoint-damaged", path, found, expected, remedy) from None


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
                raise UserError(
                    "imagenet-download",
                    path,
                    f"no such file, and it cannot be downloaded ({error})",
                    f"the ImageNet weights {path.name}",
                    f"download {url} elsewhere and put it there, or train from scratch with --no-pretrained",
                ) from None
    return load_weights_only(path)


def newest_checkpoint(logs: Path = Path("logs"), model_data: Path = Path("model_data")) -> Path:
    """The newest logs/*/best.pth, else the newest weights in model_data/. Raises UserError without any."""
    shipped = (*model_data.glob("*.pth"), *model_data.glob("*.pt"))
    # ImageNet weights, whose names end in eight digits of their hash, are no segmentation networks.
    shipped = [path for path in shipped if not re.search(r"-[0-9a-f]{8}$", path.stem)]
    found = list(logs.glob("*/best.pth")) or shipped
    if not found:
        absent = "no trained weights there, nor in model_data/"
        raise UserError(
            "weights-missing", f"{logs}/*/best.pth", absent, "weights", "train first: python train.py"
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def config_to_dict(config: Any) -> dict[str, Any]:
    """A settings dataclass as plain values for JSON and checkpoints: paths as text, nested settings flat."""
    content: dict[str, Any] = {}
    for name, value in vars(config).items():
        if is_dataclass(value):
            content |= config_to_dict(value)
        else:
            content[name] = str(value) if isinstance(value, Path) else value
    return content


def _describe(content: Any) -> str:
    if isinstance(content, dict):
        return f"a dictionary of {len(content)} entries such as {', '.join(map(repr, list(content)[:3]))}"
    return f"a {type(content).__name__}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
