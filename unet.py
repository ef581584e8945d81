"""The predictor: a checkpoint, or a network in training, turned into a function from pictures to masks."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from nets.geometry import Geometry, measure_geometry
from nets.unet import UNet
from utils.core.console import UserError, progress
from utils.core.device import Precision, choose_device, choose_precision
from utils.images.arrays import to_channels, to_uint8_rgb
from utils.images.large import LARGE_PIXELS, TiffWindows, open_picture
from utils.images.letterbox import letterbox, letterbox_bands, undo_letterbox
from utils.images.normalisation import Normalisation, floats_to_uint16, stretch, to_device, to_tensor
from utils.images.palette import blend, colorize, cutout, voc_palette
from utils.images.reading import Picture, as_array
from utils.inference.gaps import close_gaps
from utils.inference.maps import certainty, classes, probabilities, probability_of
from utils.inference.tiling import Grid, from_all_sides, make_grid, mean_logits, mirror, tile_side, tiled
from utils.models.checkpoint import Checkpoint, newest_checkpoint
from utils.models.compiling import compiled_by_size
from utils.models.weights import LoadedModel, open_model, ready_to_predict

COMPILED_SIZES = 8  # as many versions of one function torch.compile keeps
MIX_TYPES = ("blend", "mask", "cutout", "montage")


class Unet:
    """Pictures in, masks out. The only path of inference: training's validation, get_miou.py and predict.py use it.

    net: the network, made ready to predict (batch norms folded, weights in its number format); class_names, num_classes,
    in_channels, input_shape, palette, normalisation: as in the checkpoint.
    """

    def __init__(
        self,
        model_path: str | Path | Sequence[str | Path] | None = None,
        device: str = "auto",
        precision: str = "auto",
        tta: bool = False,
        close_gaps: str | None = None,
        **overrides,
    ):
        """Load a checkpoint (None: the newest logs/*/best.pth, else the newest weights in model_data/).

        Several paths make an ensemble: the mean of their probabilities. tta: the mean over flips and turns by 90° too.
        close_gaps: name of a class that separates others, such as a membrane; its gaps are closed (see utils/gaps.py).
        Weights of unet-pytorch and Pytorch-UNet load as they are; an ONNX file of `--mode export_onnx` runs through ONNX
        Runtime, in float32, with its own normalisation. precision: auto, fp32, bf16 or fp16. overrides: fields
        of the checkpoint to replace: class_names, palette, normalisation, input_shape. Raises UserError for a checkpoint
        that is missing, damaged or of an unknown format, and for several that do not agree in their classes.
        """
        model_path, *others = (
            (model_path or [None]) if isinstance(model_path, (list, tuple)) else [model_path]
        )
        self.model_path = Path(model_path) if model_path else newest_checkpoint()
        model = open_model(self.model_path, choose_precision(precision, choose_device(device)))
        checkpoint = model.checkpoint
        for name, value in overrides.items():
            if name not in ("class_names", "palette", "normalisation", "input_shape"):
                raise TypeError(f"Unet() has no argument {name!r}")
            setattr(checkpoint, name, value)
        if len(checkpoint.class_names) != checkpoint.network.num_classes:
            raise UserError(
                "init",
                self.model_path,
                f"a network of {checkpoint.network.num_classes} classes",
                f"{len(checkpoint.class_names)} classes: {', '.join(checkpoint.class_names)}",
                "give as many class names as the network has classes, the background first",
            )
        self._adopt(model)
        self.tta, self.gaps_of = tta, class_index(close_gaps, self.class_names) if close_gaps else None
        for path in others:
            self._join(Unet(path, str(self.device), precision, tta, **overrides))

    @classmethod
    def from_network(cls, net: nn.Module, checkpoint: Checkpoint, precision: Precision) -> "Unet":
        """Predict with a live network; `checkpoint` describes it (its weights are not used)."""
        unet = cls.__new__(cls)
        unet.model_path = None
        unet._adopt(LoadedModel(net, checkpoint, precision, measure_geometry(net.eval())))
        return unet

    def follow(self, net: nn.Module) -> None:
        """From now on predict with a copy of a network in training as it is now, made ready as one from a file is."""
        self.net = ready_to_predict(copy.deepcopy(net), self.precision)

    def _adopt(self, model: LoadedModel) -> None:
        checkpoint, precision = model.checkpoint, model.precision
        self.precision, self.device = precision, precision.device
        # Tiles of a letterboxed network are cut from enlarged logits.
        self.geometry = (
            Geometry(stride=1, reach=0, exact=True, values_per_pixel=16 * checkpoint.network.num_classes)
            if checkpoint.fit == "letterbox"
            else model.geometry
        )
        self.net = model.net.to(self.device, memory_format=precision.memory_format).eval()
        self.class_names = list(checkpoint.class_names)
        self.num_classes = len(self.class_names)
        self.network = checkpoint.network
        self.in_channels = checkpoint.network.in_channels
        self.backbone = checkpoint.network.backbone
        self.input_shape, self.fit = tuple(checkpoint.input_shape), checkpoint.fit
        self.palette = voc_palette()
        self.palette[: len(checkpoint.palette)] = checkpoint.palette
        self.normalisation = Normalisation(**checkpoint.normalisation)
        self.settings, self.scores = checkpoint.settings, checkpoint.scores
        self.tta, self.gaps_of, self.members = False, None, [self]
        self.tile_size: int | None = None  # side of tiles in pixels; None: by the memory that is free
        self.compiled: Callable[[Tensor], Tensor] | None = None

    def compile(self, after: int = 2) -> None:
        """Run the networks through torch.compile: seconds to minutes for a size of picture or tile, faster after that.

        A size is compiled when it has come `after` times, and no more than `COMPILED_SIZES` (of an ensemble together); what
        is left runs as it is. Raises UserError for an ONNX file.
        """
        for member in self.members:
            if not isinstance(member.net, UNet):
                raise UserError(
                    "compile",
                    member.model_path,
                    "an ONNX file",
                    "a .pth file to compile",
                    "leave --compile out",
                )
            limit = max(COMPILED_SIZES // len(self.members), 1)
            member.compiled = compiled_by_size(member.net, self.device, after, limit)

    def _join(self, other: "Unet") -> None:
        """Take another network into the ensemble. Raises UserError if it has other classes."""
        if other.class_names != self.class_names:
            raise UserError(
                "join",
                other.model_path,
                f"classes {', '.join(other.class_names)}",
                f"the classes of {self.model_path}: {', '.join(self.class_names)}",
                "an ensemble needs models that were trained on the same classes: leave one of them out",
            )
        self.members.append(other)

    @property
    def origin(self) -> str:
        """The checkpoints of all members, as shown to people."""
        return " + ".join(str(member.model_path) for member in self.members)

    def describe(self) -> Checkpoint:
        """What a checkpoint says beside its weights."""
        return Checkpoint(
            model={},
            network=self.network,
            class_names=self.class_names,
            palette=self.palette[: self.num_classes].tolist(),
            normalisation=self.normalisation.to_dict(),
            input_shape=self.input_shape,
            fit=self.fit,
            scores=self.scores,
            settings=self.settings,
        )

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8 or uint16 on any device → (N, num_classes, H, W) float32 on this predictor's device.

        Of this network alone; validation uses it. Large pictures go through the same tiles as in `predict`.
        """
        images = to_device(images, self.device)
        if self.fit == "letterbox":
            return undo_letterbox(self._logits(letterbox(images, self.input_shape)), images.shape[-2:])
        grid = self._grid(images.shape[-2:], len(images))
        bands = tiled(
            grid,
            lambda top, bottom: images[..., top:bottom, :],
            lambda band, left, right: self._logits(band[..., left:right]),
        )
        return torch.cat([torch.cat(list(pieces), dim=-1) for pieces in bands], dim=-2)

    def _logits(self, images: Tensor) -> Tensor:
        """Like `logits`, of what is neither cut nor scaled any more."""
        self.net.eval()
        batch = self.normalisation(images)
        sides = from_all_sides(batch, self._forward, self.net.stride) if self.tta else [self._forward(batch)]
        return mean_logits(sides)

    def _forward(self, batch: Tensor) -> Tensor:
        if self.net.margin:
            batch = mirror(batch, self.net.margin)
        with self.precision.autocast():
            network = self.compiled or self.net
            return network(batch.contiguous(memory_format=self.precision.memory_format)).float()

    def _grid(self, size: tuple[int, int], count: int = 1) -> Grid:
        """The tiles of `count` pictures (height, width) that are predicted at once."""
        geometries = [member.geometry for member in self.members]
        bytes_per_value = (self.precision.dtype or torch.float32).itemsize
        values = max(geometry.values_per_pixel for geometry in geometries) * count
        return make_grid(
            size,
            self.tile_size
            or tile_side(values * bytes_per_value, self.device, size[0] * size[1] > LARGE_PIXELS),
            math.lcm(*(geometry.stride for geometry in geometries)),
            max(geometry.reach for geometry in geometries),
            all(geometry.exact for geometry in geometries),
        )

    @torch.inference_mode()
    def bands(
        self, picture: np.ndarray | TiffWindows, *outputs: Callable[[Tensor], Tensor]
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Predict by tiles; yields the rows of the picture in bands from top to bottom, one array (…, h, W) for each output.

        outputs: functions of the logits (num_classes, h, w), such as those of utils/maps.py. A picture that is no array is
        read by windows, and no more than a band is held in memory.
        """
        grid, members = self._grid(picture.shape[:2]), [member._look_at(picture) for member in self.members]

        def read(top: int, bottom: int) -> tuple[slice, Callable[[], np.ndarray]]:
            return slice(top, bottom), cache(lambda: picture[top:bottom])

        def predict(band: tuple[slice, Callable[[], np.ndarray]], left: int, right: int) -> Tensor:
            return mean_logits(logits(*band, slice(left, right)) for logits in members)[0]

        tiles = len(grid.rows) * len(grid.columns)
        with progress((), "predicting", "tile", tiles if tiles > 1 else 0) as bar:
            for pieces in tiled(grid, read, predict):
                arrays, left = [], 0
                for logits in pieces:
                    parts = [output(logits).cpu().numpy() for output in outputs]
                    # Made once a band: small arrays kept among the network's large ones would tear the heap to pieces.
                    arrays = arrays or [np.empty((*p.shape[:-1], picture.shape[1]), p.dtype) for p in parts]
                    for array, part in zip(arrays, parts, strict=True):
                        array[..., left : left + part.shape[-1]] = part
                    left += logits.shape[-1]
                    bar.update()
                yield tuple(arrays)

    def _look_at(
        self, picture: np.ndarray | TiffWindows
    ) -> "Callable[[slice, Callable[[], np.ndarray], slice], Tensor]":
        """Function that gives this network's logits (1, num_classes, h, w) of a tile: its rows, how to read them, its columns.

        A letterboxed network sees the picture once, shrunk while it is read; its tiles are cut from what it saw, enlarged.
        """
        if self.fit != "letterbox":
            return lambda rows, read, columns: self._logits(self._to_input(read()[:, columns]))
        size = picture.shape[:2]
        boxed = letterbox_bands(
            lambda top, bottom: self._to_input(picture[top:bottom]), size, self.input_shape
        )
        logits = self._logits(boxed)
        return lambda rows, read, columns: undo_letterbox(logits, size, rows, columns)

    def adapt(self, picture: np.ndarray, subject: object = "picture") -> np.ndarray:
        """A picture of floats (H, W) as uint16, as those that the network learnt from; any other as it is.

        Raises UserError, which names the `subject`, if it learnt from none.
        """
        if not isinstance(picture, np.ndarray) or picture.dtype.kind != "f":
            return picture
        if self.normalisation.range_float is None:
            raise UserError(
                "adapt",
                subject,
                f"floating-point values between {np.nanmin(picture):g} and {np.nanmax(picture):g}",
                "8 or 16 bits a channel, as the pictures that the network was trained on",
                "export it as those were; networks for floats learn from import_dataset.py --format stack",
            )
        return floats_to_uint16(picture, *self.normalisation.range_float)

    def _to_input(self, image: np.ndarray) -> Tensor:
        array = to_channels(stretch(image, self.normalisation.range_16bit), self.in_channels)
        return to_device(to_tensor(np.ascontiguousarray(array)).unsqueeze(0), self.device)

    def predict_as(self, image: Picture, *outputs: Callable[[Tensor], Tensor]) -> list[np.ndarray]:
        """The picture as each of `outputs` (functions of utils/maps.py) has it, from one prediction: arrays (…, H, W)."""
        known = isinstance(image, (str, Path))
        picture = self.adapt(open_picture(image), image) if known else self.adapt(as_array(image))
        closing = (
            [partial(probability_of, self.gaps_of, 8)]
            if self.gaps_of is not None and classes in outputs
            else []
        )
        arrays, top = [], 0
        for bands in self.bands(picture, *outputs, *closing):
            if not arrays:
                arrays = [np.empty((*band.shape[:-2], *picture.shape[:2]), band.dtype) for band in bands]
            for array, band in zip(arrays, bands, strict=True):
                array[..., top : top + band.shape[-2], :] = band
            top += bands[0].shape[-2]
        if closing:
            place, probability = outputs.index(classes), arrays.pop()
            arrays[place] = close_gaps(arrays[place], probability, self.gaps_of)
        return arrays

    def predict(self, image: Picture) -> np.ndarray:
        """Class indices (H, W) uint8. An image is a path, a PIL picture or an array (H, W) or (H, W, 3), uint8 or uint16.

        Or floats (H, W) for a network that learnt from such; their scale is the checkpoint's.
        """
        return self.predict_as(image, classes)[0]

    def predict_proba(self, image: Picture) -> np.ndarray:
        """Probabilities (num_classes, H, W) float32 that sum to 1 over the classes."""
        return self.predict_as(image, probabilities)[0]

    def predict_with_certainty(self, image: Picture) -> tuple[np.ndarray, np.ndarray]:
        """Class indices and their certainty, both (H, W) uint8; certainty: 255 times the largest probability, rounded."""
        mask, sure = self.predict_as(image, classes, certainty)
        return mask, sure

    def detect_image(self, image: Picture, mix_type: str = "blend") -> Image.Image:
        """The picture with its classes laid over it, or another of MIX_TYPES."""
        array = self.adapt(as_array(image))
        return Image.fromarray(self.render(array, self.predict(array), mix_type))

    def render(self, image: np.ndarray, mask: np.ndarray, mix_type: str) -> np.ndarray:
        """(H, W, 3) uint8 of a picture and its mask in one of MIX_TYPES. Raises ValueError for another.

        `montage` is wider: the picture, 4 white columns, and its blend.
        """
        if mix_type == "mask":
            return colorize(mask, self.palette)
        if mix_type == "cutout":
            return cutout(to_uint8_rgb(image), mask)
        if mix_type == "blend":
            return blend(to_uint8_rgb(image), mask, self.palette)
        if mix_type == "montage":
            gap = np.full((len(mask), 4, 3), 255, np.uint8)
            return np.hstack([to_uint8_rgb(image), gap, blend(to_uint8_rgb(image), mask, self.palette)])
        raise ValueError(f"mix_type is {mix_type!r}; there are: {', '.join(MIX_TYPES)}")

    def get_fps(self, image: Picture, repeats: int = 20) -> float:
        """Pictures a second, one at a time, from a picture in memory to its mask in memory."""
        return repeats / sum(self.time_predictions(image, repeats))

    def time_predictions(self, image: Picture, repeats: int, warm_up: int = 3) -> list[float]:
        """Seconds of each of `repeats` predictions, after `warm_up` that do not count."""
        array, seconds = self.adapt(as_array(image)), []
        for _ in range(warm_up + repeats):
            start = time.perf_counter()
            self.predict(array)
            seconds.append(time.perf_counter() - start)
        return seconds[warm_up:]


def class_index(name: str, class_names: Sequence[str]) -> int:
    """Raises UserError for a name that is not among them."""
    if name not in class_names:
        raise UserError(
            "class-index",
            "--close-gaps",
            name,
            f"one of the classes: {', '.join(class_names)}",
            "choose one of them",
        )
    return list(class_names).index(name)
