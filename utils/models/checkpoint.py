"""The checkpoint: one self-describing file that holds numbers and plain text only, never pickled objects."""

import re
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from nets.config import NetworkConfig
from utils.core.console import UserError
from utils.core.files import replacing
from utils.models.schema import NotFinite, check_description, check_weights, content_digest
from utils.models.torch_file import first_line, load_weights_only

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
    """Write so that a crash at any instant leaves the old or the new file, whole. Raises UserError.

    The file holds a digest of all its other content.
    """
    # `asdict` would deep-copy every tensor.
    content = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
    content = {"format": FORMAT, "version": VERSION, **content, "network": asdict(checkpoint.network)}
    content["digest"] = content_digest(content)
    with replacing(path) as temporary, temporary.open("wb") as file:
        output = ErrorKeeper(file)
        try:
            torch.save(content, output)
        except RuntimeError as error:
            # What PyTorch makes of a full disk when it closes its zip file.
            raise output.error or error from None


class ErrorKeeper:
    """A file that remembers its first error, because PyTorch raises another one in its place."""

    def __init__(self, file: BinaryIO):
        self.file, self.error = file, None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self.file.flush()


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of ours onto the CPU without executing anything in it. Raises UserError."""
    return parse_checkpoint(load_weights_only(path), path)


def parse_checkpoint(content: Any, path: str | Path) -> Checkpoint:
    """A loaded file as a checkpoint of ours. Raises UserError for another format or version, or damage."""
    if not is_own_format(content):
        keys = f" with the keys {reprlib.repr(list(content))}" if isinstance(content, dict) else ""
        found = f"a {type(content).__name__} of an unknown format{keys}"
        expected = "a checkpoint of train.py, or weights of unet-pytorch or Pytorch-UNet"
        remedy = "pass --model-path logs/<run>/best.pth"
        raise UserError("checkpoint-format", path, found, expected, remedy)
    version = content.get("version")
    if type(version) is not int or version != VERSION:
        remedy = "use the release that wrote it, or update this one"
        raise UserError("checkpoint-version", path, f"version {version}", f"version {VERSION}", remedy)
    names, values = [f.name for f in fields(Checkpoint)], {"trained_on": [], "threshold": None, **content}
    if missing := [name for name in names if name not in values]:
        found, remedy = f"a checkpoint without {', '.join(missing)}", "train again or use a backup"
        raise UserError("checkpoint-incomplete", path, found, "all fields of the format", remedy)
    check_digest(content, path)
    network = parse_description(values, path)
    with content_errors(path):
        check_weights(values["model"])
        if not isinstance(values["training"], dict | None):
            raise ValueError("a state of the training that is no dictionary")
    return Checkpoint(**{**{name: values[name] for name in names}, "network": network})


def check_digest(content: dict[str, Any], path: str | Path) -> None:
    """Raises UserError for a file that was changed after it was written, or takes more memory than disk."""
    given = content.get("digest")  # none in the files of earlier releases
    rest = {name: value for name, value in content.items() if name != "digest"}
    with content_errors(path):
        digest = content_digest(rest, max_bytes=Path(path).stat().st_size)
    if given not in (None, digest):
        found = "content that is not what was written (its digest differs)"
        remedy = 'copy the file again; if you changed it on purpose, remove "digest" from it'
        raise UserError("checkpoint-altered", path, found, "an unchanged checkpoint", remedy)


def parse_description(values: dict[str, Any], path: str | Path) -> NetworkConfig:
    """The network of a file, once all that the file says of itself is checked. Raises UserError."""
    settings, known = values["network"], {f.name for f in fields(NetworkConfig)}
    if isinstance(settings, dict) and (unknown := [str(name) for name in settings if name not in known]):
        found = f"unknown settings of its network: {', '.join(unknown)[:200]}"
        remedy = "update this repository to the release that wrote it"
        raise UserError("network-settings", path, found, ", ".join(sorted(known)), remedy)
    with content_errors(path):
        check_description(values)
    return NetworkConfig(**settings)


@contextmanager
def content_errors(path: str | Path) -> Iterator[None]:
    """ValueErrors of the schema as UserErrors about a file."""
    try:
        yield
    except NotFinite as error:
        remedy = (
            "use an earlier checkpoint, or train again, with a lower --lr and --precision fp32 if need be"
        )
        raise UserError("weights-not-finite", path, str(error), "finite weights", remedy) from None
    except ValueError as error:
        remedy = "use an unchanged copy of the file, or train again"
        expected = "what train.py writes"
        raise UserError("checkpoint-content", path, first_line(error), expected, remedy) from None


def is_own_format(content: Any) -> bool:
    return isinstance(content, dict) and content.get("format") == FORMAT


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
