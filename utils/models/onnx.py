"""Networks as ONNX files: written with all that a predictor must know, run by ONNX Runtime."""

import importlib
import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from types import ModuleType
from typing import Annotated

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from nets.config import NetworkConfig
from utils.core.console import UserError, note
from utils.core.files import replacing
from utils.images.normalisation import FULL_SCALE, Normalisation
from utils.models.checkpoint import Checkpoint, parse_description
from utils.models.torch_file import first_line

OPSET = 18
EXPORT = "python predict.py --mode export_onnx"
# Fields of a checkpoint that the file holds beside stride and margin.
METADATA = [f.name for f in fields(Checkpoint) if f.name not in ("model", "training", "trained_on")]
LATER = {"threshold": None}  # fields that files of earlier releases lack
# Pixels: to what the sides of a picture are padded, and how much context it loses.
GEOMETRY = {"stride": Annotated[int, Meta(ge=1, le=4096)], "margin": Annotated[int, Meta(ge=0, le=65536)]}
INPUT_TYPES = {"tensor(uint8)": torch.uint8, "tensor(uint16)": torch.uint16}


class PictureToLogits(nn.Module):
    """Picture values (N, C, H, W) → logits (N, K, H, W) float32, or with `argmax` classes (N, H, W) uint8.

    threshold: of two classes, the probability from which on a pixel is of class 1.
    """

    def __init__(self, net: nn.Module, normalisation: Normalisation, argmax: bool, threshold: float | None):
        super().__init__()
        self.net, self.normalisation, self.argmax = net, normalisation, argmax
        self.log_odds = None if threshold is None else math.log(threshold) - math.log1p(-threshold)

    def forward(self, picture: Tensor) -> Tensor:
        logits = self.net(self.normalisation(picture))
        if not self.argmax:
            return logits
        if self.log_odds is None:
            return logits.argmax(1).to(torch.uint8)
        return (logits[:, 1] - logits[:, 0] >= self.log_odds).to(torch.uint8)


def export_onnx(path: Path, net: nn.Module, checkpoint: Checkpoint, argmax: bool = False) -> None:
    """Write a network on the CPU (with its `stride` and `margin`) as an ONNX file for any batch and size.

    Input `picture` (batch, C, height, width): uint8 RGB or gray; uint16, mapped from `range_16bit` by
    `utils.images.normalisation.stretch`, where the network was trained on 16-bit pictures. Output: `logits`,
    or `classes` if argmax. Metadata: the fields of `checkpoint`, stride and margin as JSON. Raises UserError
    where onnxscript is missing or the file cannot be written.
    """
    optional_package("onnxscript")
    normalisation = Normalisation(**checkpoint.normalisation)
    module = PictureToLogits(net, normalisation, argmax, checkpoint.threshold).eval()
    # A size that the stride divides needs no padding, and the exporter would leave the padding out for good.
    height, width = (steps * net.stride + rest + 2 * net.margin for steps, rest in ((3, 5), (4, 3)))
    dtype = torch.uint16 if normalisation.range_16bit else torch.uint8
    example = torch.zeros(2, checkpoint.network.in_channels, height, width, dtype=dtype)
    dynamic = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    exported = torch.export.export(module, (example,), dynamic_shapes=(dynamic,))
    names = {"input_names": ["picture"], "output_names": ["classes" if argmax else "logits"]}
    program = torch.onnx.export(exported, opset_version=OPSET, dynamo=True, verbose=False, **names)
    name_axes(program.model.graph)
    described = {name: getattr(checkpoint, name) for name in METADATA}
    described |= {"network": asdict(checkpoint.network), "stride": net.stride, "margin": net.margin}
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in described.items()}
    program.model.metadata_props.update(texts)
    with replacing(path) as temporary:
        program.save(temporary, external_data=False)


def name_axes(graph) -> None:
    """Call the axes of picture and result batch, height and width instead of by the exporter's symbols."""
    (picture,), (result,) = graph.inputs, graph.outputs
    for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
        symbol = str(picture.shape[axis])
        picture.shape[axis] = name
        for i, size in enumerate(result.shape):
            if symbol in str(size):
                result.shape[i] = str(size).replace(symbol, name)


class OnnxNetwork(nn.Module):
    """An ONNX file of `export_onnx` as a network: picture values in 0…1 → logits (N, K, H, W) float32.

    checkpoint: what the file says of itself. Its normalisation leaves values in 0…1, because the graph
    normalises. 8-bit pictures for a network of 16 bits fit exactly. 16-bit ones are rounded to 8 bits for a
    network of 8 bits. Logits made of an exported argmax are 100 for the class and 0 for the others, so that
    its certainty is 1.
    """

    def __init__(self, path: Path, device: torch.device):
        """Raises UserError for a file that is missing, damaged, or not written by `export_onnx`."""
        super().__init__()
        self.session = open_session(path, device)
        self.checkpoint, self.stride, self.margin = read_metadata(self.session, path)
        on_card = "CUDAExecutionProvider" in self.session.get_providers()
        self.device = device if on_card else torch.device("cpu")
        if device != self.device:
            reason = f"this ONNX Runtime does not know {device}"
            note(f"{path} runs on the CPU: {reason} (for CUDA: pip install onnxruntime-gpu)")
        self.dtype = INPUT_TYPES[self.session.get_inputs()[0].type]
        self.num_classes = self.checkpoint.network.num_classes
        self.gives_classes = self.session.get_outputs()[0].name == "classes"
        if self.gives_classes:
            note(f"{path} gives classes without probabilities (--argmax). Their certainty reads 1")

    def extra_repr(self) -> str:
        """Names, axes and types of what goes in and comes out."""
        ends = (*self.session.get_inputs(), *self.session.get_outputs())
        return " → ".join(f"{end.name} ({', '.join(map(str, end.shape))}) {end.type[7:-1]}" for end in ends)

    def forward(self, batch: Tensor) -> Tensor:
        # To whole numbers on the CPU, because not every device has uint16.
        values = (batch * FULL_SCALE[self.dtype]).round().cpu().to(self.dtype)
        (result,) = self.session.run(None, {"picture": np.ascontiguousarray(values.numpy())})
        result = torch.from_numpy(result).to(batch.device)
        if self.gives_classes:
            return 100.0 * F.one_hot(result.long(), self.num_classes).movedim(-1, 1)
        return result


def read_metadata(session, path: Path) -> tuple[Checkpoint, int, int]:
    """Checkpoint (no weights), stride and margin of a file of `export_onnx`. Raises UserError for others."""
    content = session.get_modelmeta().custom_metadata_map
    if missing := [name for name in METADATA if name not in content and name not in LATER]:
        found, remedy = f"an ONNX file whose metadata lack {', '.join(missing)}", f"export it: {EXPORT}"
        raise UserError("onnx-metadata", path, found, "a file of this repository", remedy)
    try:
        known = {name: json.loads(content[name]) for name in (*METADATA, *GEOMETRY) if name in content}
        values = {"trained_on": [], **LATER, **known}
        stride, margin = (msgspec.convert(values.pop(name), limits) for name, limits in GEOMETRY.items())
    except (KeyError, ValueError, RecursionError) as error:
        found, remedy = f"metadata that cannot be read ({first_line(error)})", f"export it: {EXPORT}"
        raise UserError("onnx-metadata", path, found, "a file of this repository", remedy) from None
    network = parse_description(values, path)
    checkpoint = Checkpoint(**{"model": {}, **values, "network": network})
    check_ends(session, network, path)
    channels = checkpoint.network.in_channels
    checkpoint.normalisation |= {"mean": [0.0] * channels, "std": [1.0] * channels}
    return checkpoint, stride, margin


def check_ends(session, network: NetworkConfig, path: Path) -> None:
    """Raises UserError unless the graph takes pictures of the network's channels and gives its classes."""
    try:
        (picture,), (result,) = session.get_inputs(), session.get_outputs()
        of_pictures = (picture.name, len(picture.shape), picture.shape[1]) == (
            "picture",
            4,
            network.in_channels,
        )
        logits = result.name == "logits" and len(result.shape) == 4 and result.shape[1] == network.num_classes
        classes = result.name == "classes" and len(result.shape) == 3
        fits = of_pictures and picture.type in INPUT_TYPES and (logits or classes)
    except (ValueError, IndexError):
        fits = False
    if not fits:
        found, remedy = "a graph that does not fit its metadata", f"export it: {EXPORT}"
        raise UserError("onnx-metadata", path, found, "a file of this repository", remedy)


def open_session(path: Path, device: torch.device):
    """A session with as many threads as PyTorch has, on CUDA if this build of ONNX Runtime has it."""
    runtime = optional_package("onnxruntime")
    remedy = f"check the path, or export it: {EXPORT}"
    if not path.is_file():
        raise UserError("onnx-missing", path, "no such file", "an ONNX file", remedy)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    providers: list = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    try:
        # From bytes, because the file functions of native libraries fail at non-ASCII paths on Windows.
        return runtime.InferenceSession(path.read_bytes(), options, providers=providers)
    except Exception as error:
        # ONNX Runtime's own exceptions have no common base.
        found = f"a file that ONNX Runtime cannot load ({first_line(error)})"
        raise UserError("onnx-damaged", path, found, "an ONNX file", remedy) from error


def optional_package(name: str) -> ModuleType:
    """A package that only ONNX needs. Raises UserError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        found, remedy = f"it cannot be imported ({error})", "pip install onnxscript onnxruntime"
        raise UserError("package-missing", name, found, "the packages of ONNX files", remedy) from None
