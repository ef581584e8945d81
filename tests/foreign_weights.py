"""Weights as other repositories save them, made up."""

import torch

from nets.config import NetworkConfig
from nets.unet import build


def small_pytorch_unet(transposed: bool = True, classes: int = 2) -> dict[str, torch.Tensor]:
    """A Pytorch-UNet checkpoint with 2 channels at the first level."""
    arguments = {
        "base_channels": 2,
        "upsampling": "transposed" if transposed else "aligned",
        "pad_picture": False,
    }
    torch.manual_seed(0)
    own = build(NetworkConfig(classes, 3, **arguments)).state_dict()

    def rename(key: str) -> str:
        if key.startswith("head."):
            return key.replace("head", "outc.conv")
        _, part, level, *rest = key.split(".")
        if part == "levels":
            prefix = "inc.double_conv" if level == "0" else f"down{level}.maxpool_conv.1.double_conv"
        else:
            prefix = f"up{int(level) + 1}" + (".conv.double_conv" if rest.pop(0) == "conv" else ".up")
        return ".".join([prefix, *rest])

    return {rename(key): value for key, value in own.items()}
