"""The predictor: a checkpoint, or a network in training, turned into a function from pictures to masks."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import starmap
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from nets.geometry import measure_geometry
from utils.core.console import UserError, progress
from utils.core.device import Precision
from utils.images.arrays import check_channels, to_uint8_rgb
from utils.images.large import TiffWindows, open_picture
from utils.images.palette import voc_palette
from utils.images.reading import Picture, as_array
from utils.inference.closing import choose_closing
from utils.inference.ensemble import (
    Member,
    compile_members,
    find_class,
    open_ensemble,
    plan_tiles,
    predict_tiles,
    shared_threshold,
)
from utils.inference.gaps import Closing, close_gaps, fits_gaps
from utils.inference.maps import certainty, classes, classes_above, log_odds_of, member_classes, probabilities
from utils.inference.rendering import render
from utils.inference.tiling import Band, Grid, join, to_bands
from utils.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from utils.models.weights import LoadedModel, ready_to_predict


class Unet:
    """Pictures in, masks out. The only path of inference, for validation in training as well as the scripts.

    net: the first network, ready to predict; checkpoint: what its file says of it, without the weights;
    class_names, num_classes, input_shape, settings, scores, backbone: as in the checkpoint; palette: (256, 3)
    uint8; origin: the checkpoints of all networks, as shown to people; threshold: of two classes, the
    probability from which a pixel is of class 1, stored by get_miou.py, or None for the more probable class.
    """

    def __init__(
        self,
        model_path: str | Path | Sequence[str | Path] | None = None,
        device: str = "auto",
        precision: str = "auto",
        tta: bool = False,
        close_gaps: str = "auto",
        **overrides,
    ):
        """Load a checkpoint (None: the newest logs/*/best.pth, else the newest weights in model_data/).

        Several paths make an ensemble: the mean of their probabilities. tta: the mean over flips and turns by
        90° too. close_gaps: name of a class that separates others, such as a membrane; its gaps are closed
        and its dead ends cleared (utils/inference/gaps.py), and it becomes thinner if that separates
        better (`choose_closing`). auto: one that separates others in the training masks, if there is one, as
        thick as it is, in pictures that are not predicted band by band (`fits_gaps`). none: no class.
        Weights of unet-pytorch and Pytorch-UNet load as they are. ONNX files run in ONNX Runtime, float32,
        with their normalisation.
        precision: auto, fp32, bf16, fp16. overrides: class_names, palette, normalisation, input_shape instead
        of the checkpoint's. Raises UserError for a checkpoint that is missing, damaged or of an unknown
        format, and for several of different classes.
        """
        paths = list(model_path) if isinstance(model_path, (list, tuple)) else [model_path]
        self._adopt(open_ensemble(paths or [None], device, precision, tta, overrides))
        self.gaps_in_large = close_gaps != "auto"
        if close_gaps == "auto":
            self.gap_class = self.settings.get("separator")
        elif close_gaps != "none":
            self.gap_class = find_class("--close-gaps", close_gaps, self.class_names)
        if self.gap_class is not None and self.gap_class == self.settings.get("separator"):
            self.closing = Closing.of_settings(self.settings, separates_first=self.gaps_in_large)

    @classmethod
    def from_network(cls, net: nn.Module, checkpoint: Checkpoint, precision: Precision) -> "Unet":
        """Predict with a live network; `checkpoint` describes it (its weights are not used)."""
        unet = cls.__new__(cls)
        unet._adopt([Member(LoadedModel(net, checkpoint, precision, measure_geometry(net.eval())))])
        return unet

    def alone(self) -> list["Unet"]:
        """Each network of an ensemble as a predictor of its own, with the same settings."""
        singles = []
        for member in self.members:
            single = type(self).__new__(type(self))
            single._adopt([member])
            single.gap_class, single.tile_size = self.gap_class, self.tile_size
            single.gaps_in_large, single.closing = self.gaps_in_large, self.closing
            singles.append(single)
        return singles

    def _adopt(self, members: list[Member]) -> None:
        first, checkpoint = members[0], members[0].checkpoint
        self.members, self.model_path, self.checkpoint = members, first.path, checkpoint
        self.precision, self.device = first.precision, first.precision.device
        self.normalisation, self.backbone = first.normalisation, checkpoint.network.backbone
        self.origin = " + ".join(str(member.path) for member in members)
        self.class_names, self.num_classes = list(checkpoint.class_names), len(checkpoint.class_names)
        self.input_shape = tuple(checkpoint.input_shape)
        self.settings, self.scores = checkpoint.settings, checkpoint.scores
        self.palette = voc_palette()
        self.palette[: len(checkpoint.palette)] = checkpoint.palette
        self.threshold = shared_threshold(members)
        self.gap_class: int | None = None
        self.closing = Closing()
        self.gaps_in_large = True  # gaps need the whole picture in memory
        self.tile_size: int | None = None  # side of tiles in pixels; None: by the memory that is free

    def follow(self, net: nn.Module) -> None:
        """Predict with a copy of a network in training as it is now, made ready as one from a file is."""
        self.members[0].net = ready_to_predict(copy.deepcopy(net), self.precision)

    def compile(self, after: int = 2) -> None:
        """Run the networks through torch.compile: seconds to minutes per size, faster after that.

        A size of picture or tile is compiled when it has come `after` times. No more than 8 are (of an
        ensemble together); others run as they are. Raises UserError for an ONNX file.
        """
        compile_members(self.members, after)

    @property
    def net(self) -> nn.Module:
        return self.members[0].net

    @property
    def has_probabilities(self) -> bool:
        """Not if an ONNX file gives classes alone (--argmax)."""
        return not any(getattr(member.net, "gives_classes", False) for member in self.members)

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8 or uint16 → (N, num_classes, H, W) float32 on `device`."""
        size = images.shape[-2:]
        grid = plan_tiles(self.members, size, len(images), self.tile_size)
        readers = [member.read_batch(images) for member in self.members]
        bands = predict_tiles(self.members, grid, size, readers)
        return torch.cat([torch.cat(list(pieces), dim=-1) for pieces in bands], dim=-2)

    @torch.inference_mode()
    def bands(
        self, picture: np.ndarray | TiffWindows, *outputs: Callable[[Tensor], Tensor]
    ) -> Iterator[Band]:
        """Predict by tiles: the picture in bands of rows from top to bottom, one array (…, h, W) per output.

        outputs: functions of the logits (num_classes, h, w), such as those of utils/inference/maps.py. Of a
        picture read by windows no more than a band is in memory. Where gaps are closed, there is one band.
        `member_classes` among them gives the classes of each network, (M, h, W).
        """
        may_close = self.gaps_in_large or fits_gaps(picture.shape)
        gaps = self.gap_class is not None and classes in outputs and may_close
        functions = [self._classes if output is classes else output for output in outputs]
        functions += [partial(log_odds_of, self.gap_class)] * gaps
        each = member_classes in outputs
        functions = [self._behind_mean if f is member_classes else f for f in functions]
        size = picture.shape[:2]
        grid, pieces = self._plan(picture, each)
        if each:
            functions = [f if f == self._behind_mean else partial(self._of_mean, f) for f in functions]
        with progress((), "predicting", "tile", len(grid) if len(grid) > 1 else 0) as bar:
            bands = to_bands(pieces, functions, size[1], bar)
            if not gaps:
                yield from bands
                return
            *arrays, log_odds = join(bands, size[0], axis=-2)
            place = outputs.index(classes)
            arrays[place] = close_gaps(arrays[place], log_odds, self.gap_class, self.closing)
            yield tuple(arrays)

    @torch.inference_mode()
    def tiles(
        self, picture: np.ndarray | TiffWindows, *outputs: Callable[[Tensor], Tensor]
    ) -> Iterator[tuple[int, int, Band]]:
        """`bands`, tile by tile: (top, left, one array (…, h, w) per output). Gaps stay open."""
        functions = [self._classes if output is classes else output for output in outputs]
        top = 0
        for row in self._plan(picture)[1]:
            left = 0
            for logits in row:
                yield top, left, tuple(function(logits[0]).cpu().numpy() for function in functions)
                left += logits.shape[-1]
            top += logits.shape[-2]

    def _plan(
        self, picture: np.ndarray | TiffWindows, each: bool = False
    ) -> tuple[Grid, Iterator[Iterator[Tensor]]]:
        """The tiles of a picture, and their logits in bands of pieces. each: see `predict_tiles`."""
        size = picture.shape[:2]
        grid = plan_tiles(self.members, size, side=self.tile_size)
        # All tiles of a band, and all members, look at the same rows.
        read_rows = lru_cache(maxsize=1)(lambda top, bottom: picture[top:bottom])
        readers = [member.read_picture(read_rows) for member in self.members]
        return grid, predict_tiles(self.members, grid, size, readers, each)

    def _of_mean(self, function: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
        return function(logits[: self.num_classes])

    def _behind_mean(self, logits: Tensor) -> Tensor:
        return member_classes(logits[self.num_classes :].unflatten(0, (-1, self.num_classes)))

    @property
    def _classes(self) -> Callable[[Tensor], Tensor]:
        return classes if self.threshold is None else partial(classes_above, self.threshold)

    def open(self, image: Picture) -> np.ndarray | TiffWindows:
        """A path (a large TIFF by windows), PIL picture or array as (H, W) or (H, W, C), uint8 or uint16.

        Floats (H, W) stay as they are, because each network scales them as in its training. Raises UserError
        if one learnt from none, or from other channels.
        """
        known = isinstance(image, (str, Path))
        picture, subject = open_picture(image) if known else as_array(image), image if known else "picture"
        channels = picture.shape[2] if len(picture.shape) == 3 else 1
        for member in self.members:
            model = member.path or "the network"
            check_channels(subject, channels, member.in_channels, f"in the training of {model}")
            floats = isinstance(picture, np.ndarray) and picture.dtype.kind == "f"
            if floats and member.normalisation.range_float is None:
                found = f"floating-point values between {np.nanmin(picture):g} and {np.nanmax(picture):g}"
                expected = f"8 or 16 bits per channel, as in the training of {model}"
                remedy = "convert it as those pictures were; import_dataset.py --format stack prepares floats"
                raise UserError("floats-unknown", subject, found, expected, remedy)
        return picture

    def predict(self, image: Picture) -> np.ndarray:
        """Class indices (H, W) uint8. image: see `open`."""
        return self._predict_whole(image, classes)

    def predict_proba(self, image: Picture) -> np.ndarray:
        """Probabilities (num_classes, H, W) float32 that sum to 1 over the classes."""
        return self._predict_whole(image, probabilities)

    def predict_with_certainty(self, image: Picture) -> tuple[np.ndarray, np.ndarray]:
        """Class indices (H, W) uint8, and their probabilities times 255, (H, W) uint8."""
        picture = self.open(image)
        return tuple(join(self.bands(picture, classes, certainty), picture.shape[0], axis=-2))

    def _predict_whole(self, image: Picture, output: Callable[[Tensor], Tensor]) -> np.ndarray:
        picture = self.open(image)
        return join(self.bands(picture, output), picture.shape[0], axis=-2)[0]

    def detect_image(self, image: Picture, mix_type: str = "blend") -> Image.Image:
        """The picture with its classes laid over it, or another of MIX_TYPES."""
        picture = self.open(as_array(image))
        return Image.fromarray(render(to_uint8_rgb(picture), self.predict(picture), mix_type, self.palette))

    def get_fps(self, image: Picture, repeats: int = 20) -> float:
        """Pictures per second, one at a time, from a picture in memory to its mask in memory."""
        return repeats / sum(self.time_predictions(image, repeats))

    def time_predictions(self, image: Picture, repeats: int, warm_up: int = 3) -> list[float]:
        """Seconds of each of `repeats` predictions, after `warm_up` that do not count."""
        picture, seconds = self.open(as_array(image)), []
        for _ in range(warm_up + repeats):
            start = time.perf_counter()
            self.predict(picture)
            seconds.append(time.perf_counter() - start)
        return seconds[warm_up:]


def store_closing(path: Path, pairs: Iterable[tuple[Picture, np.ndarray]], device: str) -> None:
    """Write into a checkpoint how the gaps of its separating class are closed best, and say it.

    pairs: pictures and their masks (H, W) uint8, which the network was not trained on; none: nothing is done.
    """
    unet = Unet(path, device, close_gaps="none")
    index = unet.settings["separator"]
    outputs = classes, partial(log_odds_of, index)

    def predict(image: Picture, truth: np.ndarray) -> tuple[np.ndarray, ...]:
        return truth, *join(unet.bands(unet.open(image), *outputs), truth.shape[0], axis=-2)

    if not (predicted := list(starmap(predict, pairs))):
        return
    closing, scores = choose_closing(predicted, index, unet.num_classes)
    found = {"gap_depth": closing.depth, "gap_probability": closing.least}
    checkpoint = load_checkpoint(path)
    save_checkpoint(path, replace(checkpoint, settings=checkpoint.settings | found))
    usual, deep, thin = (f"Rand F {one.rand_f:.3f}, mIoU {one.miou:.3f}" for one in scores)
    print(
        f"gaps     closed from a depth of {closing.depth:g} on: {deep} (from {Closing.depth:g} on: {usual})"
    )
    print(f"gaps     --close-gaps {unet.class_names[index]} makes it thinner, too: {thin}")
