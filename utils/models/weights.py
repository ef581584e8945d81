"""Weight files as networks: checkpoints of ours, weights of other repositories, ONNX files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nets.backbones import BACKBONES, IMAGENET_MEAN, IMAGENET_STD
from nets.config import NetworkConfig
from nets.foreign import ForeignWeights, recognise
from nets.geometry import Geometry, measure_geometry
from nets.inference import fold_batch_norm, fuse_relu
from nets.probe import Probe
from nets.unet import UNet, build
from utils.core.console import UserError, note, warn
from utils.core.device import Precision
from utils.images.arrays import is_photo
from utils.images.normalisation import Normalisation
from utils.images.palette import numbered_classes, voc_palette
from utils.models.checkpoint import (
    Checkpoint,
    content_errors,
    imagenet_weights,
    is_own_format,
    parse_checkpoint,
)
from utils.models.onnx import OnnxNetwork
from utils.models.schema import check_weights
from utils.models.torch_file import load_weights_only


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to predict."""

    net: nn.Module
    checkpoint: Checkpoint  # what its file says of it
    precision: Precision  # what it computes in
    geometry: Geometry  # what is needed to predict by tiles


def open_model(path: Path, precision: Precision) -> LoadedModel:
    """A checkpoint, weights of another repository or an ONNX file, on the CPU. Raises UserError."""
    if path.suffix.lower() == ".onnx":
        net = OnnxNetwork(path, precision.device)
        # An ONNX file cannot be looked into, but says what network it was.
        with torch.device("meta"):
            geometry = measure_geometry(build_from(net.checkpoint, path).eval())
        return LoadedModel(net, net.checkpoint, Precision(net.device, None), geometry)
    checkpoint = read_model(path)
    with torch.device("meta"):
        net = build_from(checkpoint, path)
    net.to_empty(device="cpu")
    net.load_state_dict(checkpoint.model)
    return LoadedModel(ready_to_predict(net, precision), checkpoint, precision, measure_geometry(net))


def build_network(config: NetworkConfig) -> UNet:
    """A network with new weights. Raises UserError for settings that make none."""
    try:
        return build(config)
    except ValueError as error:
        expected, remedy = "a network that exists", "choose other values"
        raise UserError("network-settings", "network", str(error), expected, remedy) from None


def make_probe(net: UNet, num_classes: int) -> Probe:
    """A head on the coarser maps of a network, for so many classes; it is not fitted yet."""
    return Probe(net, num_classes)


def list_misfits(own: dict[str, Tensor], given: dict[str, Tensor], at_most: int = 10) -> str:
    """The `given` weights that do not fit a network's `own`, the first of each kind; "" if all fit."""
    shapes = [k for k in own if k in given and own[k].shape != given[k].shape]
    kinds = {
        "missing": [k for k in own if k not in given],
        "unexpected": [k for k in given if k not in own],
        "other shape": [f"{k} {tuple(given[k].shape)} for {tuple(own[k].shape)}" for k in shapes],
    }
    lines = []
    for kind, keys in kinds.items():
        if keys:
            lines += [f"{kind} ({len(keys)} in all):", *(f"    {key}" for key in keys[:at_most])]
        if len(keys) > at_most:
            lines.append("    …")
    return "\n".join(lines)


def build_from(checkpoint: Checkpoint, path: Path) -> UNet:
    """The network that a checkpoint describes, with fresh weights. Raises UserError if it describes none."""
    try:
        return build(checkpoint.network)
    except ValueError as error:
        found, remedy = f"settings that make no network: {error}", "use an unchanged copy of the file"
        raise UserError("network-settings", path, found, "the settings of a network", remedy) from None


def ready_to_predict(net: nn.Module, precision: Precision) -> nn.Module:
    """The network itself, changed: norms and ReLUs in their convolutions, weights rounded once."""
    return fuse_relu(fold_batch_norm(net)).to(precision.dtype or torch.float32)


def read_model(path: Path) -> Checkpoint:
    """A checkpoint of ours, or weights of another repository as one. Raises UserError.

    Its weights are those of its network: no memory is taken for a network before they were compared.
    """
    content = load_weights_only(path)
    foreign = recognise(content) if isinstance(content, dict) and not is_own_format(content) else None
    if foreign is None:
        checkpoint = parse_checkpoint(content, path)
    else:
        with content_errors(path):
            check_weights(foreign.model)
        checkpoint = adopt_foreign(foreign, path)
    with torch.device("meta"):
        net = build_from(checkpoint, path)
    if table := list_misfits(net.state_dict(), checkpoint.model):
        found = f"weights that do not fit the network ({checkpoint.network})"
        remedy = f"use an unchanged copy of the file\n{table}"
        raise UserError("weights-misfit", path, found, "a weight for every layer, and no others", remedy)
    return checkpoint


def adopt_foreign(foreign: ForeignWeights, path: Path) -> Checkpoint:
    """Weights of another repository as a checkpoint, with notes of what was assumed."""
    count, channels = foreign.network.num_classes, foreign.network.in_channels
    note(f"{path}: weights of {foreign.origin}, {count} classes, which are called class_0 and so on")
    note("pictures are predicted in their own size; scale them as for the training of these weights")
    if foreign.mask_values not in (None, list(range(count))):
        note(f"the values {foreign.mask_values} of its masks are 0 to {count - 1} here, in that order")
    return Checkpoint(
        model=foreign.model,
        network=foreign.network,
        class_names=numbered_classes(count),
        palette=voc_palette(count).tolist(),
        normalisation={"mean": [0.0] * channels, "std": [1.0] * channels},
        input_shape=(512, 512),
    )


def resolve_network_settings(wanted: NetworkConfig, start: NetworkConfig, path: Path) -> NetworkConfig:
    """The settings of the weights at `path`, with a note of those that differ from the `wanted` ones.

    The number of classes stays as wanted, and so do channels that are neither gray nor RGB. Deep supervision
    may be added to weights trained without it.
    Raises UserError for another backbone.
    """
    if start.backbone != wanted.backbone:
        found, expected = f"weights of the backbone {start.backbone}", f"those of {wanted.backbone}"
        remedy = f"train with --backbone {start.backbone}, or without --model-path"
        raise UserError("backbone-differs", path, found, expected, remedy)
    deep_supervision = wanted.deep_supervision or start.deep_supervision
    photos = is_photo(start.in_channels) and is_photo(wanted.in_channels)
    channels = start.in_channels if photos else wanted.in_channels
    same = {"num_classes": wanted.num_classes, "in_channels": channels}
    found = replace(start, **same, deep_supervision=deep_supervision)
    differing = [
        f"{name} {value} instead of {getattr(wanted, name)}"
        for name, value in vars(found).items()
        if name != "deep_supervision" and value != getattr(wanted, name)
    ]
    if differing:
        note(f"the network is that of {path}: {', '.join(differing)}")
    return found


def load_matching(net: UNet, start: Checkpoint, path: Path, class_names: Sequence[str]) -> None:
    """Load every weight of the same name and shape, those of the classes by name, and report the others."""
    own = net.state_dict()
    given = start.model | match_classes(own, start, class_names)
    fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    net.load_state_dict(fitting, strict=False)
    print(f"weights  from {path}")
    if table := list_misfits(own, given):
        count, wanted = start.network.num_classes, net.head.out_channels
        classes = f"it has {count} classes, the data have {wanted}: " if count != wanted else ""
        warn(f"{classes}these layers start afresh, or are not used\n{table}")


def match_classes(own: dict[str, Tensor], start: Checkpoint, class_names: Sequence[str]) -> dict[str, Tensor]:
    """The heads of `start` with a row for each of `class_names`; new classes keep the row of `own`.

    Class 0 is the background whatever it is called. Classes that are only numbered are taken by their place:
    then the result is empty.
    """
    before, names = start.class_names, list(class_names)
    if before == names or numbered_classes(len(before)) == before or numbered_classes(len(names)) == names:
        return {}
    rows = {names.index(name): place for place, name in enumerate(before) if name in names}
    if 0 not in rows and 0 not in rows.values():
        rows[0] = 0
    heads = {}
    for key in own.keys() & start.model.keys():
        if key.startswith(("head.", "side_heads.")) and own[key].shape[1:] == start.model[key].shape[1:]:
            heads[key] = own[key].clone()
            heads[key][list(rows)] = start.model[key][list(rows.values())]
    new = [name for place, name in enumerate(names) if place not in rows]
    gone = [name for place, name in enumerate(before) if place not in rows.values()]
    kept = ", ".join(names[place] for place in sorted(rows))
    others = f"; start afresh: {', '.join(new)}" * bool(new) + f"; left out: {', '.join(gone)}" * bool(gone)
    note(f"classes are matched by name: {kept}{others}")
    return heads


def has_imagenet_weights(backbone: str) -> bool:
    return backbone in BACKBONES and BACKBONES[backbone].imagenet is not None


def load_pretrained(net: UNet, backbone: str, in_channels: int) -> Normalisation | None:
    """Load ImageNet weights into the encoder. Returns the normalisation that they need. Raises UserError.

    None for channels that are neither gray nor RGB: they have no mean of ImageNet's.
    """
    from nets.torchvision_encoders import weights_url

    url = weights_url(BACKBONES[backbone].imagenet)
    try:
        net.encoder.load_state_dict(net.encoder.rename(imagenet_weights(url)))
    except RuntimeError as error:
        path, found = Path("model_data") / url.rsplit("/", 1)[1], f"weights that do not fit {backbone}"
        raise UserError("weights-misfit", path, found, url, "download the file again") from error
    if in_channels == 1:
        # The first convolution was summed over RGB, so gray is normalised like the mean of the three.
        return Normalisation((sum(IMAGENET_MEAN) / 3,), (sum(IMAGENET_STD) / 3,))
    return Normalisation(IMAGENET_MEAN, IMAGENET_STD) if in_channels == 3 else None


def is_of_imagenet(normalisation: Normalisation) -> bool:
    """Whether its numbers are those of ImageNet, and say nothing of the pictures of the training."""
    return normalisation.mean[0] in (IMAGENET_MEAN[0], sum(IMAGENET_MEAN) / 3)
