"""The U-Net (Ronneberger, Fischer, Brox 2015): an encoder, a decoder that joins its maps, a 1×1 convolution to classes.

An encoder is a module that returns its feature maps from fine to deep, each at half the size of the one before, and
publishes `out_channels`, their widths. The decoder derives its own widths from them, so that a new backbone is one
encoder and one row in `ENCODERS`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def norm_layer(norm: str, channels: int) -> nn.Module:
    """`batch`, `group` (for batches of one or two: statistics of a single picture) or `none`."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(min(8, channels), channels)
    return nn.Identity()


class DoubleConv(nn.Sequential):
    """(3×3 convolution, norm, ReLU) twice; keeps height and width."""

    def __init__(self, in_channels: int, out_channels: int, norm: str):
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            # A norm that follows takes off any constant, so the bias would be a dead parameter.
            layers += [nn.Conv2d(channels, out_channels, 3, padding=1, bias=norm == "none")]
            layers += [norm_layer(norm, out_channels), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class PlainEncoder(nn.Module):
    """The contracting path: a double convolution a level, halved by max-pooling, doubling the width each time."""

    def __init__(self, in_channels: int, base_channels: int, depth: int, norm: str, dropout: float):
        super().__init__()
        self.out_channels = tuple(base_channels << level for level in range(depth + 1))
        widths = (in_channels, *self.out_channels)
        self.levels = nn.ModuleList(DoubleConv(a, b, norm) for a, b in pairwise(widths))
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [self.levels[0](x)]
        for level in self.levels[1:]:
            maps.append(level(self.pool(maps[-1])))
        maps[-1] = self.dropout(maps[-1])
        return maps


class UpBlock(nn.Module):
    """One step of the expanding path: enlarge the deeper map by 2, join the encoder's map, double convolution."""

    def __init__(self, deep_channels: int, skip_channels: int, norm: str, upsampling: str, skip: str):
        super().__init__()
        self.skip = skip
        if upsampling == "transposed":
            self.up: nn.Module = nn.ConvTranspose2d(deep_channels, skip_channels, 2, stride=2)
        else:
            # The 1×1 convolution commutes with the interpolation and is four times cheaper before it.
            # align_corners=False does not depend on the size of the tensor, so tiles agree with the whole picture.
            self.up = nn.Sequential(
                nn.Conv2d(deep_channels, skip_channels, 1),
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            )
        self.conv = DoubleConv(skip_channels * (2 if skip == "concat" else 1), skip_channels, norm)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        deep = self.up(deep)
        return self.conv(torch.cat((skip, deep), dim=1) if self.skip == "concat" else skip + deep)


class Decoder(nn.Module):
    """The expanding path. `encoder_channels`: widths of the encoder's maps, fine to deep."""

    def __init__(self, encoder_channels: Sequence[int], norm: str, upsampling: str, skip: str):
        super().__init__()
        pairs = pairwise(reversed(encoder_channels))
        self.steps = nn.ModuleList(UpBlock(deep, fine, norm, upsampling, skip) for deep, fine in pairs)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for step, skip in zip(self.steps, maps[-2::-1], strict=True):
            x = step(x, skip)
        return x


class UNet(nn.Module):
    """Picture (N, in_channels, H, W) float32, normalised → logits (N, num_classes, H, W), for any H and W."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, num_classes: int):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = nn.Conv2d(encoder.out_channels[0], num_classes, 1)
        self.stride = 1 << (len(encoder.out_channels) - 1)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        maps = self.encoder(pad_to_multiple(image, self.stride))
        return self.head(self.decoder(maps))[..., :height, :width]


def pad_to_multiple(image: Tensor, stride: int) -> Tensor:
    """Repeat the last row and column of (N, C, H, W) until `stride` divides height and width."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % stride, 0, -height % stride), mode="replicate")


def init_weights(net: nn.Module) -> None:
    """Weights of every convolution drawn with standard deviation sqrt(2/N), N the incoming nodes (the paper, section 3)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def build(
    num_classes: int,
    in_channels: int = 3,
    backbone: str = "plain",
    base_channels: int = 32,
    depth: int = 4,
    norm: str = "batch",
    upsampling: str = "transposed",
    skip: str = "concat",
    dropout: float = 0.0,
) -> UNet:
    """A U-Net with fresh weights. num_classes counts the background; base_channels is the width of the first level.

    Raises ValueError, listing what exists, for a name or number that makes no network.
    """
    choices = {"backbone": (backbone, BACKBONES), "norm": (norm, NORMS), "upsampling": (upsampling, UPSAMPLINGS)}
    for name, (value, known) in {**choices, "skip": (skip, SKIPS)}.items():
        if value not in known:
            raise ValueError(f"{name} is {value!r}; there are: {', '.join(known)}")
    for name, number in {
        "num_classes": num_classes,
        "in_channels": in_channels,
        "base_channels": base_channels,
    }.items():
        if number < 1:
            raise ValueError(f"{name} is {number}; it must be 1 or more")
    if not 1 <= depth <= 7:
        raise ValueError(f"depth is {depth}; it must be between 1 and 7")
    encoder = PlainEncoder(in_channels, base_channels, depth, norm, dropout)
    net = UNet(encoder, Decoder(encoder.out_channels, norm, upsampling, skip), num_classes)
    init_weights(net)
    return net


BACKBONES = ("plain",)
NORMS = ("batch", "group", "none")
UPSAMPLINGS = ("transposed", "bilinear")
SKIPS = ("concat", "add")
