"""One or several networks that predict a picture together, tile by tile: opened, compiled, averaged."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from utils.core.console import UserError, counted
from utils.core.device import choose_device, choose_precision
from utils.images.arrays import to_channels
from utils.images.large import LARGE_PIXELS, TiffWindows
from utils.images.letterbox import letterbox_bands, undo_letterbox
from utils.images.normalisation import (
    FULL_SCALE,
    Normalisation,
    floats_to_uint16,
    stretch,
    to_device,
    to_tensor,
)
from utils.inference.tiling import Grid, make_grid, tile_side, tiled
from utils.models.checkpoint import newest_checkpoint
from utils.models.compiling import compiled_by_size
from utils.models.onnx import OnnxNetwork
from utils.models.weights import LoadedModel, open_model

COMPILED_SIZES = 8  # as many versions of one function torch.compile keeps

View = tuple[bool, int]  # whether mirrored left-right, then quarter turns
Reader = Callable[[slice, slice], Tensor]  # (rows, columns) → pictures (N, C, h, w), or logits (N, K, h, w)


class Member:
    """A loaded network that predicts. path: its file, None for a live network; tta: see `Unet`."""

    def __init__(self, model: LoadedModel, path: Path | None = None, tta: bool = False):
        self.path, self.tta, self.precision = path, tta, model.precision
        self.net = model.net.to(self.precision.device, memory_format=self.precision.memory_format).eval()
        self.compiled: Callable[[Tensor], Tensor] | None = None
        self.normalisation = Normalisation(**model.checkpoint.normalisation)
        # The weights are in the network; a second copy of them would only take memory.
        rest = {"model": {}, "training": None, "normalisation": self.normalisation.to_dict()}
        self.checkpoint, self.geometry = replace(model.checkpoint, **rest), model.geometry
        self.in_channels = self.checkpoint.network.in_channels
        if self.checkpoint.fit == "letterbox":
            # Tiles are cut from the enlarged logits of the whole picture.
            values = 16 * self.checkpoint.network.num_classes
            self.geometry = replace(self.geometry, stride=1, reach=0, exact=True, values_per_pixel=values)

    def read_batch(self, images: Tensor) -> Reader:
        """What reads tiles of pictures (N, C, H, W) uint8 or uint16, as this network takes them."""
        if images.shape[1] != self.in_channels:
            arrays = images.movedim(1, 3).numpy(force=True)
            arrays = np.stack([to_channels(array, self.in_channels) for array in arrays])
            images = torch.from_numpy(arrays).movedim(3, 1)
        images = to_device(images, self.precision.device)
        return lambda rows, columns: images[..., rows, columns]

    def read_picture(self, read_rows: Callable[[int, int], np.ndarray]) -> Reader:
        """What reads tiles of a picture; read_rows(top, bottom): (h, W[, C]), uint8, uint16 or floats."""

        def read(rows: slice, columns: slice) -> Tensor:
            values = read_rows(rows.start, rows.stop)[:, columns]
            if values.dtype.kind == "f":
                values = floats_to_uint16(values, *self.normalisation.range_float)
            values = stretch(values, self.normalisation.range_16bit)
            tensor = to_tensor(np.ascontiguousarray(to_channels(values, self.in_channels)))
            return to_device(tensor.unsqueeze(0), self.precision.device)

        return read

    def channel_means(self, picture: np.ndarray | TiffWindows) -> np.ndarray:
        """(C,) means of the channels of a picture in 0…1, as the network takes them before normalising."""
        read = self.read_picture(lambda top, bottom: picture[top:bottom])
        tensor = read(slice(0, picture.shape[0]), slice(0, picture.shape[1]))
        return tensor.float().mean((0, 2, 3)).numpy(force=True) / FULL_SCALE.get(tensor.dtype, 1.0)

    def predict_tiles(self, size: tuple[int, int], read: Reader) -> Reader:
        """What gives the logits of tiles of a picture (height, width).

        A letterboxed network sees the picture once, shrunk while it is read. Tiles are cut from its enlarged
        logits.
        """
        if self.checkpoint.fit != "letterbox":
            return lambda rows, columns: self.logits(read(rows, columns))
        shape = self.checkpoint.input_shape
        boxed = letterbox_bands(lambda top, bottom: read(slice(top, bottom), slice(None)), size, shape)
        return partial(undo_letterbox, self.logits(boxed), size)

    def logits(self, images: Tensor) -> Tensor:
        """Pictures (N, C, H, W) uint8 or uint16 on the device → (N, K, H, W) float32."""
        self.net.eval()
        batch = self.normalisation(images)
        if self.tta:
            views = symmetric_views(self.checkpoint.settings.get("symmetry"))
            return mean_logits(dihedral_logits(batch, self._forward, self.net.stride, views))
        return self._forward(batch)

    def _forward(self, batch: Tensor) -> Tensor:
        if self.net.margin:
            batch = mirror(batch, self.net.margin)
        with self.precision.autocast():
            network = self.compiled or self.net
            return network(batch.contiguous(memory_format=self.precision.memory_format)).float()


def open_ensemble(
    paths: Sequence[str | Path | None], device: str, precision: str, tta: bool, overrides: dict[str, Any]
) -> list[Member]:
    """The networks of several files (None: the newest). Raises UserError if their classes differ."""
    if unknown := set(overrides) - {"class_names", "palette", "normalisation", "input_shape"}:
        raise TypeError(f"Unet() has no argument {unknown.pop()!r}")
    members: list[Member] = []
    for path in paths:
        # An ONNX file may run on another device than asked for; then so do the others.
        place = members[0].precision.device if members else choose_device(device)
        path = Path(path) if path else newest_checkpoint()
        model = open_model(path, choose_precision(precision, place))
        for name, value in overrides.items():
            setattr(model.checkpoint, name, value)
        count, names = model.checkpoint.network.num_classes, model.checkpoint.class_names
        if len(names) != count:
            found = f"{counted(len(names), 'class name')}: {', '.join(names)}"
            remedy = "pass a name for every class, the background first"
            raise UserError("class-count", path, found, f"names of {counted(count, 'class')}", remedy)
        members.append(Member(model, path, tta))
        wanted = members[0].checkpoint.class_names
        if names != wanted:
            found, expected = ", ".join(names), f"those of {members[0].path}: {', '.join(wanted)}"
            raise UserError("ensemble-classes", path, found, expected, "average models of the same classes")
    return members


def shared_threshold(members: Sequence[Member]) -> float | None:
    """The stored threshold of the probability of class 1: the mean of all members; None if one has none."""
    stored = [member.checkpoint.threshold for member in members]
    return None if None in stored else sum(stored) / len(stored)


def compile_members(members: Sequence[Member], after: int) -> None:
    """Run each network through torch.compile. Raises UserError for an ONNX file."""
    for member in members:
        if isinstance(member.net, OnnxNetwork):
            raise UserError("compile-onnx", member.path, "an ONNX file", "a .pth file", "leave --compile out")
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
    members: Sequence[Member],
    grid: Grid,
    size: tuple[int, int],
    readers: Sequence[Reader],
    each: bool = False,
) -> Iterator[Iterator[Tensor]]:
    """Mean logits of the members, in bands of pieces as `tiled` has them. readers: of each one's input.

    each: with the logits of every member behind them, (N, K + M·K, h, w).
    """
    networks = [member.predict_tiles(size, read) for member, read in zip(members, readers, strict=True)]

    def predict(rows: slice, columns: slice) -> Tensor:
        parts = (logits(rows, columns) for logits in networks)
        if not each:
            return mean_logits(parts)
        kept = [part.to(members[0].precision.device) for part in parts]
        return torch.cat([mean_logits(kept), *kept], dim=1)

    return tiled(grid, predict)


def mean_logits(parts: Iterable[Tensor]) -> Tensor:
    """Logits (N, K, H, W) of several predictions → those of the mean of their probabilities.

    A single prediction stays as it is. The result is on the device of the first.
    """
    parts = iter(parts)
    logits, count = next(parts), 1
    total = None
    for other in parts:
        total = (logits.softmax(1) if total is None else total).add_(other.softmax(1).to(logits.device))
        count += 1
    return logits if total is None else (total / count).clamp_min(torch.finfo(total.dtype).tiny).log()


def symmetric_views(symmetry: Sequence[str] | None) -> list[View]:
    """Mirror images and turns that a network trained on pictures of this symmetry knows; None: all eight.

    symmetry: of left_right, top_bottom and turn, which goes with both of the others.
    """
    if symmetry is None or "turn" in symmetry:
        return [(mirrored, turns) for mirrored in (False, True) for turns in range(4)]
    # Top-bottom is left-right after half a turn.
    known = {"left_right": (True, 0), "top_bottom": (True, 2)}
    views = [(False, 0), *(view for name, view in known.items() if name in symmetry)]
    return [*views, (False, 2)] if len(views) == 3 else views


def dihedral_logits(
    batch: Tensor, predict: Callable[[Tensor], Tensor], stride: int, views: Sequence[View]
) -> Iterator[Tensor]:
    """Logits of a float batch (N, C, H, W) seen in each of the views, turned back.

    The lower and right edge are first repeated up to a multiple of the stride, so that a tile and the whole
    picture are pooled alike from every side.
    """
    height, width = batch.shape[-2:]
    batch = F.pad(batch, (0, -width % stride, 0, -height % stride), mode="replicate")
    for flip, turns in views:
        side = torch.rot90(batch.flip(-1) if flip else batch, turns, (-2, -1))
        logits = torch.rot90(predict(side), -turns, (-2, -1))
        yield (logits.flip(-1) if flip else logits)[..., :height, :width]


def mirror(images: Tensor, margin: int) -> Tensor:
    """Pictures (N, C, H, W) with `margin` mirrored pixels added on each side, however small they are."""
    rows, columns = (reflected(size, margin).to(images.device) for size in images.shape[-2:])
    return images[..., rows[:, None], columns]


def reflected(size: int, margin: int) -> Tensor:
    """Index of the source pixel of each of size + 2·margin pixels: … 2 1 0 1 2 …, the edge not repeated."""
    index = torch.arange(-margin, size + margin) % max(2 * (size - 1), 1)
    return torch.minimum(index, 2 * (size - 1) - index) if size > 1 else torch.zeros_like(index)


def find_class(flag: str, name: str, class_names: Sequence[str]) -> int:
    """Index of a class. Raises UserError for a name that is not among them."""
    if name not in class_names:
        known = f"one of the classes of the model: {', '.join(class_names)}"
        raise UserError("class-unknown", flag, repr(name), known, "check the spelling")
    return list(class_names).index(name)
