"""Weight files as networks: checkpoints of ours, weights of other repositories, ONNX files."""

from pathlib import Path

import torch
from torch import nn

from nets.fold import fold_batch_norm
from nets.foreign import recognise
from nets.unet import build
from utils.checkpoint import Checkpoint, is_own_format, load_weights_only, misfits, parse_checkpoint, table_of_misfits
from utils.console import UserError, note
from utils.engine import Precision
from utils.onnx_model import OnnxNetwork
from utils.palette import voc_palette


def open_model(path: Path, precision: Precision) -> tuple[nn.Module, Checkpoint, Precision]:
    """A network for prediction with its weights, what its file says of it, and what it computes in. Raises UserError."""
    if path.suffix.lower() == ".onnx":
        net = OnnxNetwork(path, precision.device)
        return net, net.checkpoint, Precision(precision.device, None)
    checkpoint = read_model(path)
    net = build(**checkpoint.network)
    found = misfits(net.state_dict(), checkpoint.model)
    if any(found.values()):
        raise UserError(
            path,
            f"weights that do not fit the network ({checkpoint.network})",
            "a weight for every layer, and no others",
            f"use an unchanged copy of the file\n{table_of_misfits(found)}",
        )
    net.load_state_dict(checkpoint.model)
    return ready_to_predict(net, precision), checkpoint, precision


def ready_to_predict(net: nn.Module, precision: Precision) -> nn.Module:
    """The network itself, changed: batch norms folded, weights rounded once instead of by autocast in each call."""
    return fold_batch_norm(net).to(precision.dtype or torch.float32)


def read_model(path: Path) -> Checkpoint:
    """A checkpoint of ours, or one of another repository with what its format leaves open filled in."""
    content = load_weights_only(path)
    foreign = recognise(content) if isinstance(content, dict) and not is_own_format(content) else None
    if foreign is None:
        return parse_checkpoint(content, path)
    count = foreign.network["num_classes"]
    channels = foreign.network["in_channels"]
    note(
        f"{path}: weights of {foreign.origin}, {count} classes; the file names no classes, so they are called class_0 …"
    )
    if foreign.mask_values is not None and foreign.mask_values != list(range(count)):
        note(
            f"its training masks held the values {foreign.mask_values}; here the masks hold 0 … {count - 1} in that order"
        )
    return Checkpoint(
        model=foreign.model,
        network=foreign.network,
        class_names=[f"class_{index}" for index in range(count)],
        palette=voc_palette(count).tolist(),
        normalisation={"mean": [0.0] * channels, "std": [1.0] * channels},
        input_shape=(512, 512),
    )
