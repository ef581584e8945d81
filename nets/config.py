"""The settings of a network, stated once for the flags of scripts, `nets.unet.build` and checkpoints."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from nets.backbones import BACKBONES


@dataclass(frozen=True)
class NetworkConfig:
    """Settings of the network."""

    num_classes: int | None = None  # classes, the background counted; None: those of the data
    in_channels: int | None = None  # 3: RGB, 1: gray; None: those of the data, 1 if all pictures are gray
    backbone: Literal[("plain", *BACKBONES)] = "plain"  # encoder; plain: the U-Net's own
    base_channels: int = 16  # plain: width of the first level, doubled at every level; 64 in the paper
    depth: int = 4  # plain: number of times the resolution is halved
    norm: Literal["batch", "group", "none"] = "batch"  # normalisation; group for batches of 1 or 2 pictures
    upsampling: Literal["transposed", "bilinear", "aligned"] = "transposed"  # aligned: other repositories
    skip: Literal["concat", "add"] = "concat"  # how encoder maps join the decoder; add: as in FCN
    dropout: float = 0.0  # plain: share of values dropped at the end of the contracting path
    padding: Literal["same", "valid"] = "same"  # valid: the paper's unpadded convolutions, plain only
    pad_picture: bool = True  # off: the maps of the decoder are padded instead, as in Pytorch-UNet
    deep_supervision: bool = False  # the decoder's coarser maps are scored against the masks, too

    def describe(self) -> str:
        levels = f" of depth {self.depth}" if self.backbone == "plain" else ""
        return f"{self.backbone} U-Net{levels}"

    def check(self) -> None:
        """Raises ValueError, listing what exists, for settings that make no network."""
        for field in fields(self):
            choices = ("plain", *BACKBONES) if field.name == "backbone" else get_args(field.type)
            value = getattr(self, field.name)
            if isinstance(value, str) and value not in choices:
                raise ValueError(f"{field.name} is {value!r}; there are: {', '.join(choices)}")
        for name in ("num_classes", "in_channels", "base_channels"):
            value = getattr(self, name)
            if value is None or value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")
        if not 1 <= self.depth <= 7:
            raise ValueError(f"depth is {self.depth}; it must be between 1 and 7")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be at least 0 and less than 1")
        if self.padding == "valid" and self.backbone != "plain":
            raise ValueError('padding="valid" is for the plain backbone')
        if self.deep_supervision and (self.padding == "valid" or not self.pad_picture):
            raise ValueError('deep supervision needs maps that halve evenly: padding="same", pad_picture on')
