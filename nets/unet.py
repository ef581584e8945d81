"""The U-Net (Ronneberger, Fischer, Brox 2015): encoder, decoder, 1×1 convolution to classes.

An encoder publishes the widths and strides of its maps (`nets.encoder.Encoder`), and the decoder derives its
own widths from them. A new backbone is therefore one function and one row in `nets.backbones.BACKBONES`.
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

    def __init__(self, in_channels: int, widths: Sequence[int], norm: str, dropout: float, padding: int):
        levels = [DoubleConv(a, b, b, norm, padding) for a, b in pairwise((in_channels, *widths))]
        super().__init__(levels, widths)
        self.pool = MaxPool()
        self.dropout = nn.Dropout(dropout)

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
    tensor, so tiles differ slightly from the whole picture). channels: (deep, skip, mid, out); skip 0:
    nothing to join. fit: how maps of different size are made to fit, `none` (they agree), `pad` the enlarged
    map, or `crop` the encoder's (the paper's unpadded convolutions).
    """

    def __init__(self, channels: tuple[int, int, int, int], norm: str, upsampling: str, skip: str, fit: str):
        super().__init__()
        deep, skip_channels, mid, out = channels
        self.skip, self.fit = skip, fit
        up_channels = skip_channels if skip == "add" and skip_channels else out
        if upsampling == "aligned":
            up_channels = deep
        if upsampling == "transposed":
            self.up: nn.Module = UpConv2d(deep, up_channels)
        elif upsampling == "bilinear":
            enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            self.up = nn.Sequential(nn.Conv2d(deep, up_channels, 1), enlarge)
        else:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        joined = up_channels + skip_channels if skip == "concat" else up_channels
        self.conv = DoubleConv(joined, mid, out, norm, padding=0 if fit == "crop" else 1)

    def forward(self, deep: Tensor, skip: Tensor | None) -> Tensor:
        deep = self.up(deep)
        if skip is None:
            return self.conv(deep)
        if self.fit == "pad":
            deep = pad_like(deep, skip)
        elif self.fit == "crop":
            skip = crop_centre(skip, deep.shape[-2], deep.shape[-1])
        return self.conv(skip, deep) if self.skip == "concat" else self.conv(skip + deep)


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
    """The expanding path, from the deepest map up. steps: channels (deep, skip, mid, out) of each."""

    def __init__(
        self, steps: Sequence[tuple[int, int, int, int]], norm: str, upsampling: str, skip: str, fit: str
    ):
        super().__init__()
        self.steps = nn.ModuleList(UpBlock(channels, norm, upsampling, skip, fit) for channels in steps)
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
    pixels that unpadded convolutions take off each side (92 in the paper), 0 for padding="same".

    side_heads: number of coarser maps of the decoder that have a 1×1 convolution to classes, too. In
    training, the output is then a list: the logits, and those at 1/2, 1/4, … of the picture's size (rounded
    up), for `utils.training.losses.deep_loss`.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        num_classes: int,
        pad_picture: bool = True,
        margin: int = 0,
        side_heads: int = 0,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = nn.Conv2d(decoder.out_channels[-1], num_classes, 1)
        coarser = decoder.out_channels[-2::-1][:side_heads]
        self.side_heads = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for channels in coarser)
        self.stride = encoder.reductions[-1]
        self.pad_picture, self.margin = pad_picture, margin
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
                least = 2 * self.margin + 1
                raise ValueError(
                    f"a picture of {height}×{width} is too small for unpadded convolutions: "
                    f"at least {least}×{least}"
                )
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
    plain, valid = config.backbone == "plain", config.padding == "valid"
    encoder, outs = plain_encoder(config) if plain else other_encoder(config)
    steps = decoder_steps(encoder.out_channels, outs, halve=plain and config.upsampling == "aligned")
    fit = "crop" if valid else "none" if config.pad_picture else "pad"
    decoder = Decoder(steps, config.norm, config.upsampling, config.skip, fit)
    margin = 6 * (1 << config.depth) - 4 if valid else 0
    side_heads = 3 if config.deep_supervision else 0
    net = UNet(encoder, decoder, config.num_classes, config.pad_picture, margin, side_heads)
    for part in (encoder, decoder, net.head, net.side_heads):
        # Other encoders have drawn their weights.
        if part is not encoder or plain:
            init_weights(part)
    return net


def plain_encoder(config: NetworkConfig) -> tuple[Encoder, list[int]]:
    """The paper's encoder, and the widths that the decoder's steps end with."""
    aligned = config.upsampling == "aligned"
    widths = [config.base_channels << level for level in range(config.depth + 1)]
    if aligned:
        widths[-1] //= 2
    padding = 0 if config.padding == "valid" else 1
    encoder = PlainEncoder(config.in_channels, widths, config.norm, config.dropout, padding)
    # With aligned upsampling the network is Pytorch-UNet's bilinear one, whose steps end at the next width.
    return encoder, [*widths[-3::-1], widths[0]] if aligned else widths[-2::-1]


def other_encoder(config: NetworkConfig) -> tuple[Encoder, list[int]]:
    """An encoder of `nets.backbones`, and the widths that the decoder's steps end with.

    Beside an encoder that knows much already a light decoder does: a third of the operations of
    unet-pytorch's, which `aligned` stands for.
    """
    aligned = config.upsampling == "aligned"
    encoder = BACKBONES[config.backbone].make(config.in_channels, aligned)
    steps = encoder.reductions[-1].bit_length() - 1
    if aligned:
        return encoder, [max(512 >> step, 64) for step in range(steps)]
    return encoder, [max(min(256, encoder.out_channels[-1] // 2) >> step, 8) for step in range(steps)]


def decoder_steps(
    encoder_channels: Sequence[int], outs: Sequence[int], halve: bool
) -> list[tuple[int, int, int, int]]:
    """Channels (deep, skip, mid, out) of each step, from the encoder's widths and the steps' own."""
    steps, deep = [], encoder_channels[-1]
    skips = [*encoder_channels[-2::-1], 0]
    for skip, out in zip(skips, outs, strict=False):
        steps.append((deep, skip, (deep + skip) // 2 if halve else out, out))
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
