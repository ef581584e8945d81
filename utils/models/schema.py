"""What a weight file may say about itself: one schema for checkpoints and ONNX files, and a digest."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn

from nets.config import NetworkConfig
from utils.core.console import has_controls
from utils.images.palette import IGNORE_INDEX, LONGEST_CLASS_NAME

MAX_DEPTH, MAX_VALUES = 16, 5_000_000  # of nested containers; of the values in all of them
NUMBERS = {torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8}

Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_CLASS_NAME)]
Shade = Annotated[int, Meta(ge=0, le=255)]
Side = Annotated[int, Meta(ge=1, le=65536)]
Pair = Annotated[list[int | float], Meta(min_length=2, max_length=2)]
Text = Annotated[str, Meta(max_length=100)]
Size = Annotated[int, Meta(ge=1, le=4096)]
Index = Annotated[int, Meta(ge=0, le=10**6)]
Folder = Annotated[str, Meta(pattern=r"^[^\x00]*$")]


@dataclass
class Scaling:
    """Fields of `utils.images.normalisation.Normalisation`; those with a default are of later releases."""

    mean: list[float]
    std: list[float]
    range_16bit: list[int | Pair] | None = None
    range_float: Pair | None = None


@dataclass
class Network:
    """Types and largest sizes in `NetworkConfig`, whose `check` knows the rest."""

    num_classes: Annotated[int, Meta(ge=1, le=255)]
    in_channels: Annotated[int, Meta(ge=1, le=64)]
    backbone: Text = "plain"
    base_channels: Size = 16
    depth: Annotated[int, Meta(ge=1, le=7)] = 4
    norm: Text = "batch"
    upsampling: Text = "transposed"
    skip: Text = "concat"
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    padding: Text = "same"
    pad_picture: bool = True
    deep_supervision: bool = False


@dataclass
class Settings:
    """Those settings of the run that programs go by later. All others are only shown."""

    voc_root: Folder = ""
    save_dir: Folder = "logs"
    run_name: Folder | None = None
    fold: Index | None = None
    input_shape: tuple[Side, Side] | None = None
    batch_size: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    symmetry: list[str] | None = None
    separator: Index | None = None
    gap_depth: Annotated[float, Meta(gt=0, le=10)] | None = None
    gap_probability: Annotated[float, Meta(ge=0.5, le=0.9)] | None = None


@dataclass
class Description:
    """The fields of a checkpoint but for its weights and the state of its training."""

    network: Network
    class_names: Annotated[list[Name], Meta(min_length=1, max_length=IGNORE_INDEX)]
    palette: list[Annotated[list[Shade], Meta(min_length=3, max_length=3)]]
    normalisation: Scaling
    input_shape: tuple[Side, Side]
    fit: Literal["crop", "letterbox"]
    scores: dict[str, float | None]
    settings: Settings
    trained_on: list[str]
    threshold: Annotated[float, Meta(ge=0, le=1)] | None


def check_description(content: dict[str, Any]) -> None:
    """Raises ValueError, with the place of it, for the first value that no file of ours can hold."""
    known = {f.name for f in fields(Description)}
    found = msgspec.convert({name: content[name] for name in known}, Description)
    check_classes(found)
    check_scaling(found.normalisation, NetworkConfig(**content["network"]).in_channels)


def check_classes(found: Description) -> None:
    """Raises ValueError unless names, colours, threshold and separating class fit the number of classes."""
    names, colors, count = found.class_names, found.palette, found.network.num_classes
    if not len(names) == len(colors) == count:
        raise ValueError(f"{len(names)} class names and {len(colors)} colors for {count} classes")
    if found.threshold is not None and (count != 2 or math.isnan(found.threshold)):
        raise ValueError("a threshold, which only two classes have")
    if len(set(names)) < count or any(map(has_controls, names)):
        raise ValueError("class names that are not printable text, each another one")
    if (found.settings.separator or 0) >= count:
        raise ValueError(f"class {found.settings.separator} of {count} as the one that separates others")


def check_scaling(scaling: Scaling, channels: int) -> None:
    """Raises ValueError for a normalisation that is not one of so many channels, or not finite."""
    if not len(scaling.mean) == len(scaling.std) == channels:
        raise ValueError(f"normalisation of {len(scaling.mean)} channels for {channels}")
    if not all(math.isfinite(m) and 0 < s < math.inf for m, s in zip(scaling.mean, scaling.std, strict=True)):
        raise ValueError("a normalisation whose mean is not finite or whose std is not above 0")
    ranges = scaling.range_16bit or []
    whole = [ranges] if ranges and not isinstance(ranges[0], list) else ranges
    fitting = all(isinstance(pair, list) and len(pair) == 2 for pair in whole)
    if not fitting or len(whole) not in (0, 1, channels):
        raise ValueError("range_16bit is no pair (low, high), nor one for each channel")
    for low, high in filter(None, (*whole, scaling.range_float)):
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(f"a range of values from {low} to {high}")


class NotFinite(ValueError):
    """Weights of a training that diverged."""


def check_weights(model: Any, what: str = "model") -> None:
    """Raises ValueError unless this is a dictionary of finite tensors by names: NotFinite if they are not."""
    if not isinstance(model, dict) or not all(isinstance(name, str) for name in model):
        raise ValueError(f"{what} is no dictionary of tensors")
    for name, tensor in model.items():
        check_tensor(tensor, name)
    if wrong := [name for name, tensor in model.items() if not tensor.isfinite().all()]:
        raise NotFinite(
            f"NaN or infinite numbers in {len(wrong)} of {len(model)} tensors, such as {wrong[0]}"
        )


def check_tensor(tensor: Any, name: str) -> None:
    """Raises ValueError for other tensors than plain arrays of numbers that lie in the file as a whole."""
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    if not plain or tensor.device.type == "meta" or tensor.dtype not in NUMBERS:
        raise ValueError(f"{name} is no array of numbers")
    # A tensor that repeats few numbers would take more memory than its file when it is copied.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} is larger than what is stored of it")


def content_digest(content: Any, max_bytes: float = math.inf) -> str:
    """BLAKE2b of plain values and tensors, in their order.

    Raises ValueError for anything else, for containers that are nested too deeply or hold too many values,
    and for tensors of more than `max_bytes` in all, so that a small file cannot take hours or all memory.
    """
    digest = hashlib.blake2b(digest_size=16)
    for values, (part, value) in enumerate(walk(content)):
        if isinstance(value, Tensor):
            check_tensor(value, "a tensor")
            max_bytes -= value.numel() * value.element_size()
        if values > MAX_VALUES or max_bytes < 0:
            raise ValueError("more values than its size can hold")
        digest.update(part.encode("utf-8", "surrogatepass"))
        if isinstance(value, Tensor):
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def walk(value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """(text that tells it from others, value) of a value and of all that it contains."""
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} containers inside each other")
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}", value
    elif isinstance(value, (dict, list, tuple)):
        yield f"{'dict' if isinstance(value, dict) else type(value).__name__}{len(value)}:", None
        pairs = value.items() if isinstance(value, dict) else ((None, item) for item in value)
        for key, item in pairs:
            if key is not None:
                yield from walk(key, depth + 1)
            yield from walk(item, depth + 1)
    elif value is None or type(value) in (bool, int, float, str):
        yield f"{type(value).__name__}{value!r};", None
    else:
        raise ValueError(f"a value of type {type(value).__name__}")
