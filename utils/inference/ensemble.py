"""Several networks that predict together: opened, compiled, and their mean of a picture by tiles."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utils.core.console import UserError
from utils.core.device import choose_device, choose_precision
from utils.images.large import LARGE_PIXELS
from utils.inference.averaging import mean_logits
from utils.inference.member import Member, Reader
from utils.inference.tiling import Grid, make_grid, tile_side, tiled
from utils.models.checkpoint import newest_checkpoint
from utils.models.compiling import compiled_by_size
from utils.models.onnx import OnnxNetwork
from utils.models.weights import open_model

COMPILED_SIZES = 8  # as many versions of one function torch.compile keeps


def open_ensemble(
    paths: Sequence[str | Path | None], device: str, precision: str, tta: bool, overrides: dict[str, Any]
) -> list[Member]:
    """The networks of several files (None: the newest). Raises UserError if their classes differ."""
    members: list[Member] = []
    for path in paths:
        # An ONNX file may run on another device than asked for; then so do the others.
        place = members[0].precision.device if members else choose_device(device)
        path = Path(path) if path else newest_checkpoint()
        model = open_model(path, choose_precision(precision, place))
        checkpoint = model.checkpoint
        for name, value in overrides.items():
            if name not in ("class_names", "palette", "normalisation", "input_shape"):
                raise TypeError(f"Unet() has no argument {name!r}")
            setattr(checkpoint, name, value)
        count, names = checkpoint.network.num_classes, checkpoint.class_names
        if len(names) != count:
            found, expected = f"a network of {count} classes", f"{len(names)} classes: {', '.join(names)}"
            remedy = "give as many class names as the network has classes, the background first"
            raise UserError("class-count", path, found, expected, remedy)
        members.append(Member(model, path, tta))
        expected = members[0].checkpoint.class_names
        if names != expected:
            raise UserError(
                "ensemble-classes",
                path,
                f"classes {', '.join(names)}",
                f"the classes of {members[0].path}: {', '.join(expected)}",
                "average only models that were trained on the same classes",
            )
    return members


def compile_members(members: Sequence[Member], after: int) -> None:
    """Run each network through torch.compile. Raises UserError for an ONNX file."""
    for member in members:
        if isinstance(member.net, OnnxNetwork):
            expected, remedy = "a .pth file to compile", "leave --compile out"
            raise UserError("compile-onnx", member.path, "an ONNX file", expected, remedy)
        limit = max(COMPILED_SIZES // len(members), 1)
        member.compiled = compiled_by_size(member.net, member.precision.device, after, limit)


def plan_tiles(
    members: Sequence[Member], size: tuple[int, int], count: int = 1, side: int | None = None
) -> Grid:
    """Tiles of `count` pictures (height, width) that are predicted at once.

    side: of a tile in pixels; None: by the free memory.
    """
    geometries, precision = [member.geometry for member in members], members[0].precision
    values = max(geometry.values_per_pixel for geometry in geometries) * count
    bytes_per_pixel = values * (precision.dtype or torch.float32).itemsize
    return make_grid(
        size,
        side or tile_side(bytes_per_pixel, precision.device, size[0] * size[1] > LARGE_PIXELS),
        math.lcm(*(geometry.stride for geometry in geometries)),
        max(geometry.reach for geometry in geometries),
        all(geometry.exact for geometry in geometries),
    )


def predict_tiles(
    members: Sequence[Member], grid: Grid, size: tuple[int, int], readers: Sequence[Reader]
) -> Iterator[Iterator[Tensor]]:
    """Logits of the members' mean in bands of pieces, see `tiled`. readers: of each member's input."""
    networks = [member.predict_tiles(size, read) for member, read in zip(members, readers, strict=True)]
    return tiled(grid, lambda rows, columns: mean_logits(logits(rows, columns) for logits in networks))


def find_class(flag: str, name: str, class_names: Sequence[str]) -> int:
    """Index of a class. Raises UserError for a name that is not among them."""
    if name not in class_names:
        known = f"one of the classes of the model: {', '.join(class_names)}"
        raise UserError("class-unknown", flag, repr(name), known, "check the spelling")
    return list(class_names).index(name)
