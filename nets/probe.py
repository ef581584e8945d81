"""Classes read off the maps of a trained U-Net, by a linear map of their values alone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nets.unet import UNet

FINER = 2  # levels that are left out: single pixels tell little, and a quarter of the size is quicker


class Probe(nn.Module):
    """Normalised picture (N, C, H, W) float32 → logits (N, num_classes, H, W).

    Linear in the values of all coarser maps over a pixel (Alain and Bengio 2016, linear probes; Hariharan et
    al. 2015, hypercolumns): what few annotated pixels can tell without changing the maps. It predicts where a
    `UNet` does. That network pads its convolutions, and halves the size more than FINER times.
    """

    def __init__(self, net: UNet, num_classes: int):
        super().__init__()
        self.net, self.encoder, self.stride, self.margin = net, net.encoder, net.stride, net.margin
        channels = [*net.encoder.out_channels[FINER:], *net.decoder.out_channels[:-FINER]]
        self.head = nn.Conv2d(sum(channels), num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        maps = self._maps(image)
        kernels = self.head.weight.split([x.shape[1] for x in maps], dim=1)
        # Of the enlarged maps the products would be the same, and slower.
        products = [F.conv2d(x, kernel.to(x.dtype)) for x, kernel in zip(maps, kernels, strict=True)]
        size = maps[0].shape[-2:]
        logits = sum(F.interpolate(x, size, mode="bilinear") for x in products)
        logits = F.interpolate(logits, scale_factor=float(1 << FINER), mode="bilinear")
        return logits[..., :height, :width] + self.head.bias.view(-1, 1, 1)

    @torch.no_grad()
    def values(self, image: Tensor, square: int) -> Tensor:
        """(N, V, h, w) float32: what the head sees of squares of so many pixels, a multiple of 4."""
        size = [length // square for length in image.shape[-2:]]
        maps = [x.float() for x in self._maps(image)]
        finest = maps[0].shape[-2:]
        enlarged = [F.interpolate(x, finest, mode="bilinear") for x in maps]
        return torch.cat([F.adaptive_avg_pool2d(x, size) for x in enlarged], dim=1)

    def _maps(self, image: Tensor) -> list[Tensor]:
        """Of the encoder from fine to deep, then of the decoder from deep to fine."""
        maps = self.encoder(self.net.pad(image))
        return [*maps[FINER:], *self.net.decoder(maps)[:-FINER]]
