"""One network of an ensemble: from the values of a picture to logits."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from utils.images.arrays import to_channels
from utils.images.letterbox import letterbox_bands, undo_letterbox
from utils.images.normalisation import Normalisation, stretch, to_device, to_tensor
from utils.inference.averaging import dihedral_logits, mean_logits
from utils.models.weights import LoadedModel

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
        if self.checkpoint.fit == "letterbox":
            # Tiles are cut from the enlarged logits of the whole picture.
            values = 16 * self.checkpoint.network.num_classes
            self.geometry = replace(self.geometry, stride=1, reach=0, exact=True, values_per_pixel=values)

    @property
    def in_channels(self) -> int:
        return self.checkpoint.network.in_channels

    def read_batch(self, images: Tensor) -> Reader:
        """What reads tiles of pictures (N, 1 or 3, H, W) uint8 or uint16, as this network takes them."""
        if images.shape[1] != self.in_channels:
            arrays = [
                to_channels(image.movedim(0, 2).numpy(force=True), self.in_channels) for image in images
            ]
            images = torch.from_numpy(np.stack(arrays)).movedim(3, 1)
        images = to_device(images, self.precision.device)
        return lambda rows, columns: images[..., rows, columns]

    def read_picture(self, read_rows: Callable[[int, int], np.ndarray]) -> Reader:
        """What reads tiles of a picture; read_rows(top, bottom): its rows (h, W[, 3]) uint8 or uint16."""

        def read(rows: slice, columns: slice) -> Tensor:
            values = stretch(read_rows(rows.start, rows.stop)[:, columns], self.normalisation.range_16bit)
            tensor = to_tensor(np.ascontiguousarray(to_channels(values, self.in_channels)))
            return to_device(tensor.unsqueeze(0), self.precision.device)

        return read

    def predict_tiles(self, size: tuple[int, int], read: Reader) -> Reader:
        """What gives the logits of tiles of a picture (height, width).

        A letterboxed network sees the picture once, shrunk while it is read. Its tiles are cut from what it
        saw, enlarged.
        """
        if self.checkpoint.fit != "letterbox":
            return lambda rows, columns: self.logits(read(rows, columns))
        boxed = letterbox_bands(
            lambda top, bottom: read(slice(top, bottom), slice(None)), size, self.checkpoint.input_shape
        )
        return partial(undo_letterbox, self.logits(boxed), size)

    def logits(self, images: Tensor) -> Tensor:
        """Pictures (N, C, H, W) on the device, cut and scaled, uint8 or uint16 → (N, K, H, W) float32."""
        self.net.eval()
        batch = self.normalisation(images)
        if self.tta:
            return mean_logits(dihedral_logits(batch, self._forward, self.net.stride))
        return self._forward(batch)

    def _forward(self, batch: Tensor) -> Tensor:
        if self.net.margin:
            batch = mirror(batch, self.net.margin)
        with self.precision.autocast():
            network = self.compiled or self.net
            return network(batch.contiguous(memory_format=self.precision.memory_format)).float()


def mirror(images: Tensor, margin: int) -> Tensor:
    """Pictures (N, C, H, W) with `margin` mirrored pixels added on each side, however small they are."""
    rows, columns = (reflected(size, margin).to(images.device) for size in images.shape[-2:])
    return images[..., rows[:, None], columns]


def reflected(size: int, margin: int) -> Tensor:
    """Index of the source pixel of each of size + 2·margin pixels: … 2 1 0 1 2 …, the edge not repeated."""
    index = torch.arange(-margin, size + margin) % max(2 * (size - 1), 1)
    return torch.minimum(index, 2 * (size - 1) - index) if size > 1 else torch.zeros_like(index)
