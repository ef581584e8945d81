"""The predictor: a checkpoint, or a network in training, turned into a function from pictures to masks."""

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from nets.foreign import recognise
from nets.unet import build
from utils.checkpoint import (
    Checkpoint,
    is_own_format,
    load_weights_only,
    misfits,
    newest_checkpoint,
    parse_checkpoint,
    table_of_misfits,
)
from utils.console import UserError, note
from utils.engine import Precision, choose_device, choose_precision
from utils.images import image_to_array, read_image, to_channels, to_uint8_rgb
from utils.letterbox import letterbox, undo_letterbox
from utils.normalise import Normalisation, stretch, to_tensor
from utils.onnx_model import OnnxNetwork
from utils.palette import blend, colorize, cutout, voc_palette

Picture = str | Path | Image.Image | np.ndarray
MIX_TYPES = ("blend", "mask", "cutout")


class Unet:
    """Pictures in, masks out. The only path of inference: training's validation, get_miou.py and predict.py use it.

    net: the network; class_names, num_classes, in_channels, input_shape, palette, normalisation: as in the checkpoint.
    """

    def __init__(
        self, model_path: str | Path | None = None, device: str = "auto", precision: str = "auto", **overrides
    ):
        """Load a checkpoint (None: the newest logs/*/best.pth, else the newest weights in model_data/).

        Weights of unet-pytorch and Pytorch-UNet load as they are; an ONNX file of `--mode export_onnx` runs through ONNX
        Runtime, in float32, with its own normalisation. precision: auto, fp32, bf16 or fp16. overrides: fields
        of the checkpoint to replace: class_names, palette, normalisation, input_shape. Raises UserError for a checkpoint
        that is missing, damaged or of an unknown format.
        """
        self.model_path = Path(model_path) if model_path else newest_checkpoint()
        net, checkpoint, choice = open_model(self.model_path, choose_precision(precision, choose_device(device)))
        for name, value in overrides.items():
            if name not in ("class_names", "palette", "normalisation", "input_shape"):
                raise TypeError(f"Unet() has no argument {name!r}")
            setattr(checkpoint, name, value)
        if len(checkpoint.class_names) != checkpoint.network["num_classes"]:
            raise UserError(
                self.model_path,
                f"a network of {checkpoint.network['num_classes']} classes",
                f"{len(checkpoint.class_names)} classes: {', '.join(checkpoint.class_names)}",
                "give as many class names as the network has classes, the background first",
            )
        self._adopt(net, checkpoint, choice)

    @classmethod
    def from_network(cls, net: nn.Module, checkpoint: Checkpoint, precision: Precision) -> "Unet":
        """Predict with a live network, such as one in training; `checkpoint` describes it (its weights are not used)."""
        unet = cls.__new__(cls)
        unet.model_path = None
        unet._adopt(net, checkpoint, precision)
        return unet

    def _adopt(self, net: nn.Module, checkpoint: Checkpoint, precision: Precision) -> None:
        self.precision, self.device = precision, precision.device
        self.net = net.to(self.device, memory_format=torch.channels_last).eval()
        self.class_names = list(checkpoint.class_names)
        self.num_classes = len(self.class_names)
        self.network = checkpoint.network
        self.in_channels = checkpoint.network["in_channels"]
        self.backbone = checkpoint.network.get("backbone", "plain")
        self.input_shape, self.fit = tuple(checkpoint.input_shape), checkpoint.fit
        self.palette = voc_palette()
        self.palette[: len(checkpoint.palette)] = checkpoint.palette
        self.normalisation = Normalisation(**checkpoint.normalisation)
        self.settings, self.scores = checkpoint.settings, checkpoint.scores

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
        """(N, C, H, W) uint8 or uint16 on any device → (N, num_classes, H, W) float32 on this predictor's device."""
        self.net.eval()
        picture = images.shape[-2:]
        images = images.to(self.device, non_blocking=True)
        if self.fit == "letterbox":
            images = letterbox(images, self.input_shape)
        batch = self.normalisation(images)
        with self.precision.autocast():
            logits = self._overlap_tiles(batch) if self.net.margin else self._forward(batch)
        return undo_letterbox(logits, picture) if self.fit == "letterbox" else logits

    def _forward(self, batch: Tensor) -> Tensor:
        return self.net(batch.contiguous(memory_format=torch.channels_last)).float()

    def _overlap_tiles(self, batch: Tensor) -> Tensor:
        """The paper's overlap-tile strategy (figure 2): tiles of 572 pixels give 388 each, missing context is mirrored.

        Of the 388, the last 4 overlap with the next tile, so that tiles begin at multiples of the strides and agree with
        the picture as a whole.
        """
        height, width = batch.shape[-2:]
        step, context = 384, 2 * self.net.margin + 4
        mirrored = mirror(batch, self.net.margin)
        rows = []
        for y in range(0, height, step):
            band = mirrored[..., y : y + step + context, :]
            tiles = [self._forward(band[..., x : x + step + context])[..., :step, :step] for x in range(0, width, step)]
            rows.append(torch.cat(tiles, dim=-1))
        return torch.cat(rows, dim=-2)

    def predict(self, image: Picture) -> np.ndarray:
        """Class indices (H, W) uint8. An image is a path, a PIL picture or an array (H, W) or (H, W, 3), uint8 or uint16."""
        return self._picture_logits(image).argmax(0).to(torch.uint8).cpu().numpy()

    def predict_proba(self, image: Picture) -> np.ndarray:
        """Probabilities (num_classes, H, W) float32 that sum to 1 over the classes."""
        return self._picture_logits(image).softmax(0).cpu().numpy()

    def predict_with_certainty(self, image: Picture) -> tuple[np.ndarray, np.ndarray]:
        """Class indices and their certainty, both (H, W) uint8; certainty: 255 times the largest probability, rounded."""
        largest, mask = self._picture_logits(image).softmax(0).max(0)
        return mask.to(torch.uint8).cpu().numpy(), (largest * 255).round().to(torch.uint8).cpu().numpy()

    def detect_image(self, image: Picture, mix_type: str = "blend") -> Image.Image:
        """The picture with its classes laid over it (`blend`), the classes in colours (`mask`), or cut out (`cutout`)."""
        array = as_array(image)
        return Image.fromarray(self.render(array, self.predict(array), mix_type))

    def render(self, image: np.ndarray, mask: np.ndarray, mix_type: str) -> np.ndarray:
        """(H, W, 3) uint8 of a picture and its mask in one of MIX_TYPES. Raises ValueError for another."""
        if mix_type == "mask":
            return colorize(mask, self.palette)
        if mix_type == "cutout":
            return cutout(to_uint8_rgb(image), mask)
        if mix_type == "blend":
            return blend(to_uint8_rgb(image), mask, self.palette)
        raise ValueError(f"mix_type is {mix_type!r}; there are: {', '.join(MIX_TYPES)}")

    def get_fps(self, image: Picture, repeats: int = 20) -> float:
        """Pictures a second, one at a time, from a picture in memory to its mask in memory."""
        return repeats / sum(self.time_predictions(image, repeats))

    def time_predictions(self, image: Picture, repeats: int, warm_up: int = 3) -> list[float]:
        """Seconds of each of `repeats` predictions, after `warm_up` that do not count."""
        array, seconds = as_array(image), []
        for _ in range(warm_up + repeats):
            start = time.perf_counter()
            self.predict(array)
            seconds.append(time.perf_counter() - start)
        return seconds[warm_up:]

    def _picture_logits(self, image: Picture) -> Tensor:
        array = stretch(as_array(image), self.normalisation.range_16bit)
        array = np.ascontiguousarray(to_channels(array, self.in_channels))
        return self.logits(to_tensor(array).unsqueeze(0))[0]


def mirror(images: Tensor, margin: int) -> Tensor:
    """Pictures (N, C, H, W) with `margin` mirrored pixels added on each side, however small they are."""
    rows, columns = (reflected(size, margin).to(images.device) for size in images.shape[-2:])
    return images[..., rows[:, None], columns]


def reflected(size: int, margin: int) -> Tensor:
    """Index of the source pixel of each of size + 2·margin pixels: … 2 1 0 1 2 … without repeating the edge."""
    index = torch.arange(-margin, size + margin) % max(2 * (size - 1), 1)
    return torch.minimum(index, 2 * (size - 1) - index) if size > 1 else torch.zeros_like(index)


def as_array(image: Picture) -> np.ndarray:
    """A path, PIL picture or array as (H, W) or (H, W, 3), uint8 or uint16. Raises ValueError for any other array."""
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, Image.Image):
        return image_to_array(ImageOps.exif_transpose(image))
    gray_or_rgb = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if not gray_or_rgb or image.dtype not in (np.uint8, np.uint16) or not image.size:
        raise ValueError(f"array of shape {image.shape}, {image.dtype}; expected (H, W) or (H, W, 3), uint8 or uint16")
    return image


def open_model(path: Path, precision: Precision) -> tuple[nn.Module, Checkpoint, Precision]:
    """A network with its weights, what its file says of it, and what it computes in. Raises UserError."""
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
    return net, checkpoint, precision


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
