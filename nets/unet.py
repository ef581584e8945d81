"""The U-Net (Ronneberger, Fischer, Brox 2015): encoder, decoder, 1×1 convolution to classes.

The decoder derives its widths from those that an encoder publishes (`nets.encoder.Encoder`).
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from nets.backbones import BACKBONES
from nets.config import NetworkConfig
from nets.encoder import Encoder, run_level
from nets.layers import JoinedConv2d, MaxPool, UpConv2d

Step = tuple[int, int, int, int]  # channels of a step of the decoder: (deep, skip, mid, out); skip 0: no map


class DoubleConv(nn.Sequential):
    """(3×3 convolution, norm, ReLU) twice. With padding 0 it takes 2 pixels off each side.

    Several maps are joined along their channels; in_channels counts all of them.
    """

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, norm: str, padding: int = 1):
        layers: list[nn.Module] = []
        for a, b in ((in_channels, mid_channels), (mid_channels, out_channels)):
            # A norm that follows takes off any constant, so the bias would be a dead parameter.
            convolution = nn.Conv2d if layers else JoinedConv2d
            layers += [convolution(a, b, 3, padding=padding, bias=norm == "none")]
            layers += [make_norm(norm, b), nn.ReLU(inplace=True)]
        super().__init__(*layers)

    def forward(self, *maps: Tensor) -> Tensor:
        first, *others = self
        x = first(*maps)
        for layer in others:
            x = layer(x)
        return x


def make_norm(norm: str, channels: int) -> nn.Module:
    """`group` takes statistics of single pictures, for batches of one or two."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(math.gcd(8, channels), channels) if norm == "group" else nn.Identity()


class PlainEncoder(Encoder):
    """The contracting path: a double convolution at each level, 2×2 max-pooling between levels."""

    def __init__(self, config: NetworkConfig):
        widths = [config.base_channels << level for level in range(config.depth + 1)]
        if config.upsampling == "aligned":
            widths[-1] //= 2
        padding = 0 if config.padding == "valid" else 1
        channels = pairwise((config.in_channels, *widths))
        super().__init__([DoubleConv(a, b, b, config.norm, padding) for a, b in channels], widths)
        self.pool = MaxPool()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for level in self.levels:
            x = self.pool(maps[-1]) if maps else x
            maps.append(run_level(level, x, recompute=self.recompute))
        maps[-1] = self.dropout(maps[-1])
        return maps


class UpBlock(nn.Module):
    """One step of the expanding path: enlarge the map by 2, join the encoder's map, double convolution.

    upsampling: `transposed` (2×2 up-convolution, as in the paper); `bilinear` after a 1×1 convolution to the
    width of the skip, which commutes with the interpolation and is four times cheaper before it; `aligned`,
    bilinear at full width with align_corners=True, as in other repositories (it depends on the size of the
    tensor, so tiles differ slightly from the whole picture). Maps of different size are made to fit: the
    enlarged one is padded, or the encoder's cropped after unpadded convolutions.
    """

    def __init__(self, channels: Step, config: NetworkConfig):
        super().__init__()
        deep, skip_channels, mid, out = channels
        self.add, self.crop = config.skip == "add", config.padding == "valid"
        self.pad = not config.pad_picture
        up_channels = skip_channels if self.add and skip_channels else out
        if config.upsampling == "transposed":
            self.up: nn.Module = UpConv2d(deep, up_channels)
        elif config.upsampling == "bilinear":
            enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            self.up = nn.Sequential(nn.Conv2d(deep, up_channels, 1), enlarge)
        else:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            up_channels = deep
        joined = up_channels if self.add else up_channels + skip_channels
        self.conv = DoubleConv(joined, mid, out, config.norm, padding=0 if self.crop else 1)

    def forward(self, deep: Tensor, skip: Tensor | None) -> Tensor:
        deep = self.up(deep)
        if skip is None:
            return self.conv(deep)
        if self.crop:
            skip = crop_centre(skip, deep.shape[-2], deep.shape[-1])
        elif self.pad:
            deep = pad_like(deep, skip)
        return self.conv(skip + deep) if self.add else self.conv(skip, deep)


def pad_like(x: Tensor, like: Tensor) -> Tensor:
    """Zero-pad (N, C, H, W) to the size of `like`: ⌊d/2⌋ rows before, the rest after, as in Pytorch-UNet."""
    rows, columns = like.shape[-2] - x.shape[-2], like.shape[-1] - x.shape[-1]
    return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def to_multiple(length: int, stride: int) -> int:
    """What `length` lacks to a multiple of `stride`, in a form that torch.export understands."""
    return (length + stride - 1) // stride * stride - length


def crop_centre(x: Tensor, height: int, width: int) -> Tensor:
    """The middle (…, height, width) of (…, H, W)."""
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]


class Decoder(nn.Module):
    """The expanding path, from the deepest map up."""

    def __init__(self, steps: Sequence[Step], config: NetworkConfig):
        super().__init__()
        self.steps = nn.ModuleList(UpBlock(channels, config) for channels in steps)
        self.out_channels = tuple(out for *_, out in steps)
        self.recompute = False

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The output of every step, the finest last."""
        x, outputs = maps[-1], []
        # A step beyond the finest map (of an encoder that starts at half size) has nothing to join.
        skips = [*maps[-2::-1], *[None] * (len(self.steps) - len(maps) + 1)]
        for step, skip in zip(self.steps, skips, strict=True):
            x = run_level(step, x, skip, recompute=self.recompute)
            outputs.append(x)
        return outputs


class UNet(nn.Module):
    """Normalised picture (N, C, H, W) float32 → logits (N, num_classes, H − 2·margin, W − 2·margin).

    Any H and W: the picture is padded at its right and lower edge until the strides divide it, and the logits
    are cropped. With pad_picture off, the decoder's maps are padded instead (as in Pytorch-UNet). margin:
    pixels that unpadded convolutions take off each side (92 in the paper), 0 for padding="same". With deep
    supervision, the output in training is a list: the logits, and those of up to three coarser maps at 1/2,
    1/4, 1/8 of the picture's size (rounded up), for `utils.training.losses.deep_loss`.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, config: NetworkConfig):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.stride = encoder.reductions[-1]
        self.pad_picture = config.pad_picture
        self.margin = 6 * self.stride - 4 if config.padding == "valid" else 0
        self.head = nn.Conv2d(decoder.out_channels[-1], config.num_classes, 1)
        coarser = decoder.out_channels[-2::-1][:3] if config.deep_supervision else ()
        self.side_heads = nn.ModuleList(nn.Conv2d(width, config.num_classes, 1) for width in coarser)
        self.encoder_frozen = False

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        height, width = image.shape[-2] - 2 * self.margin, image.shape[-1] - 2 * self.margin
        *coarser, finest = self.decoder(self.encoder(self.pad(image)))
        logits = self.head(finest)[..., :height, :width]
        if not self.training or not self.side_heads:
            return logits
        sides = [head(x) for head, x in zip(self.side_heads, reversed(coarser), strict=False)]
        return [logits, *(x[..., : -(-height >> k), : -(-width >> k)] for k, x in enumerate(sides, 1))]

    def pad(self, image: Tensor) -> Tensor:
        """Add rows and columns after the last until levels halve evenly. Raises ValueError for too few."""
        height, width = image.shape[-2:]
        if self.margin:
            if min(height, width) <= 2 * self.margin:
                found, least = f"{height}×{width} is too small for unpadded convolutions", 2 * self.margin + 1
                raise ValueError(f"{found}; at least {least}×{least}")
            # Every output size is 4 more than a multiple of the stride. The paper mirrors at borders.
            rows, columns = ((4 - side + 2 * self.margin) % self.stride for side in (height, width))
            return F.pad(image, (0, columns, 0, rows), mode="reflect")
        if self.pad_picture:
            rows, columns = to_multiple(height, self.stride), to_multiple(width, self.stride)
        else:
            rows, columns = max(self.stride - height, 0), max(self.stride - width, 0)
        return F.pad(image, (0, columns, 0, rows), mode="replicate")

    def freeze_encoder(self, frozen: bool) -> None:
        """Hold the encoder's parameters and batch-norm statistics still, also after `.train()`."""
        self.encoder_frozen = frozen
        self.encoder.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "UNet":
        super().train(mode)
        if self.encoder_frozen:
            self.encoder.eval()
        return self

    def save_memory(self) -> None:
        """Keep only the maps between levels; the others are computed again in the backward pass."""
        self.encoder.recompute = self.decoder.recompute = True
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                # Running statistics are updated twice per step then; (1 − m')² = 1 − m keeps their pace.
                module.momentum = 1 - (1 - module.momentum) ** 0.5


def build(config: NetworkConfig) -> UNet:
    """A U-Net with fresh weights. Raises ValueError for settings that make no network.

    The paper's network: NetworkConfig(2, 1, base_channels=64, norm="none", padding="valid").
    """
    config.check()
    plain = config.backbone == "plain"
    aligned = config.upsampling == "aligned"
    encoder = PlainEncoder(config) if plain else BACKBONES[config.backbone].make(config.in_channels, aligned)
    decoder = Decoder(decoder_steps(encoder, plain, aligned), config)
    net = UNet(encoder, decoder, config)
    for part in (encoder, decoder, net.head, net.side_heads):
        # Other encoders have drawn their weights.
        if part is not encoder or plain:
            init_weights(part)
    return net


def decoder_steps(encoder: Encoder, plain: bool, aligned: bool) -> list[Step]:
    """Channels of each step of the decoder, from the widths of the encoder.

    `aligned` stands for other repositories: with the plain encoder for Pytorch-UNet's bilinear network, whose
    steps end at the next width, with others for unet-pytorch. Beside an encoder that knows much already a
    lighter decoder does, with a third of the operations of unet-pytorch's.
    """
    *finer, deep = encoder.out_channels
    if plain:
        outs = [*finer[-2::-1], finer[0]] if aligned else finer[::-1]
    else:
        widest, least = (512, 64) if aligned else (min(256, deep // 2), 8)
        outs = [max(widest >> step, least) for step in range(encoder.reductions[-1].bit_length() - 1)]
    steps = []
    for skip, out in zip((*finer[::-1], 0), outs, strict=False):
        steps.append((deep, skip, (deep + skip) // 2 if plain and aligned else out, out))
        deep = out
    return steps


def init_weights(module: nn.Module) -> None:
    """Draw weights with standard deviation sqrt(2 / N), N the incoming nodes of a neuron (section 3)."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            # A 2×2 up-convolution of stride 2 gives each output one tap of each input channel.
            taps = 1 if isinstance(part, nn.ConvTranspose2d) else part.weight[0, 0].numel()
            nn.init.normal_(part.weight, std=(2 / (part.in_channels * taps)) ** 0.5)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


if __name__ == "__main__":
    import sys

    import torch
    import tyro

    from nets.summary import Config, print_summary

    description = "A table of levels: shapes, parameters, multiply-adds, memory of a training step."
    config = tyro.cli(Config, description=description, config=(tyro.conf.OmitArgPrefixes,))
    try:
        with torch.device("meta"):
            net = build(config.network)
        print_summary(net, config.input_shape, config.batch_size)
    except ValueError as error:
        sys.exit(f"{error}: choose other values (python -m nets.unet --help lists them)")
