"""Weights of other U-Net repositories, recognised by their keys and renamed to ours."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nets.config import NetworkConfig

VGG_POOLS = (4, 9, 16, 23)
Rules = dict[str, str | Callable[[re.Match], str]]


@dataclass(frozen=True)
class ForeignWeights:
    """origin: the repository; network: its settings; model: state dict under our names, float32.

    mask_values: Pytorch-UNet's pixel value of each class, where stored. Both repositories feed RGB / 255.
    """

    origin: str
    network: NetworkConfig
    model: dict[str, Tensor] = field(repr=False)
    mask_values: list | None = None


def recognise(content: dict[str, Any]) -> ForeignWeights | None:
    """The weights of unet-pytorch or Pytorch-UNet in a loaded file, or None.

    Also found inside {"state_dict": …} or {"model": …}, behind `module.` (DataParallel) or `_orig_mod.`
    (torch.compile), and in half precision.
    """
    weights, rest = unwrap(content)
    if "up_concat4.conv1.weight" in weights:
        return read_unet_pytorch(weights)
    if "inc.double_conv.0.weight" in weights:
        return read_pytorch_unet(weights, rest.get("mask_values"))
    return None


def unwrap(content: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a checkpoint as float32 under bare keys, and the entries that are no tensors."""
    for name in ("state_dict", "model_state_dict", "model"):
        inner = content.get(name)
        if isinstance(inner, dict) and any(isinstance(value, Tensor) for value in inner.values()):
            rest = {k: v for k, v in content.items() if k != name and not isinstance(v, Tensor)}
            content = rest | inner
    weights, rest = {}, {}
    for key, value in content.items():
        bare = re.sub(r"^((module|_orig_mod)\.)+", "", key) if isinstance(key, str) else key
        if isinstance(value, Tensor):
            weights[bare] = value.float() if value.is_floating_point() else value
        else:
            rest[bare] = value
    return weights, rest


def rename_all(weights: dict[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Rewrite the beginnings of keys: regular expressions → what stands there under our names."""
    renamed = {}
    for key, value in weights.items():
        for pattern, replacement in rules.items():
            key = re.sub(f"^{pattern}", replacement, key)
        renamed[key] = value
    return renamed


def count_classes(weights: dict[str, Tensor], head: str) -> int:
    """Of the last convolution; 2 where it was left out of the file, and will be reported as missing."""
    return len(weights[head]) if head in weights else 2


def read_unet_pytorch(weights: dict[str, Tensor]) -> ForeignWeights:
    """bubbliiiing/unet-pytorch: `vgg.features.*` or `resnet.*`, `up_concat4…1`, `up_conv`, `final`."""

    def vgg_level(match: re.Match) -> str:
        index = int(match[1])
        return f"encoder.levels.{sum(index >= pool for pool in VGG_POOLS)}.{index}."

    rules = {
        r"vgg\.features\.(\d+)\.": vgg_level,
        r"resnet\.(conv1|bn1)\.": r"encoder.levels.0.\1.",
        r"resnet\.layer(\d)\.": r"encoder.levels.\1.layer\1.",
        r"up_concat(\d)\.conv1\.": lambda match: f"decoder.steps.{4 - int(match[1])}.conv.0.",
        r"up_concat(\d)\.conv2\.": lambda match: f"decoder.steps.{4 - int(match[1])}.conv.3.",
        r"up_conv\.1\.": "decoder.steps.4.conv.0.",
        r"up_conv\.3\.": "decoder.steps.4.conv.3.",
        r"final\.": "head.",
    }
    # ImageNet classifiers that some releases keep beside the network take no part in it.
    unused = "vgg.classifier", "vgg.avgpool", "resnet.fc"
    weights = {key: value for key, value in weights.items() if not key.startswith(unused)}
    backbone = "resnet50" if "resnet.conv1.weight" in weights else "vgg"
    classes = count_classes(weights, "final.weight")
    network = NetworkConfig(classes, 3, backbone=backbone, norm="none", upsampling="aligned")
    return ForeignWeights(f"unet-pytorch ({backbone})", network, rename_all(weights, rules))


def read_pytorch_unet(weights: dict[str, Tensor], mask_values: list | None) -> ForeignWeights:
    """milesial/Pytorch-UNet: `inc`, `down1` … `down4`, `up1` … `up4`, `outc`; bilinear or transposed."""
    rules = {
        r"inc\.double_conv\.": "encoder.levels.0.",
        r"down(\d)\.maxpool_conv\.1\.double_conv\.": r"encoder.levels.\1.",
        r"up(\d)\.up\.": lambda match: f"decoder.steps.{int(match[1]) - 1}.up.",
        r"up(\d)\.conv\.double_conv\.": lambda match: f"decoder.steps.{int(match[1]) - 1}.conv.",
        r"outc\.conv\.": "head.",
    }
    classes = count_classes(weights, "outc.conv.weight")
    if classes == 1:
        # One class is told from the rest by a sigmoid there: the soft-max over its logit and 0.
        head = {key: value for key, value in weights.items() if key.startswith("outc.")}
        weights |= {key: torch.cat((torch.zeros_like(value), value)) for key, value in head.items()}
        classes = 2
    first = weights["inc.double_conv.0.weight"]
    transposed = "up1.up.weight" in weights
    # Of all keys, so that a level of which some are missing is still one.
    levels = [int(match[1]) for key in weights if (match := re.match(r"down(\d)\.", key))]
    settings = {"depth": max(levels, default=4), "upsampling": "transposed" if transposed else "aligned"}
    base_channels, in_channels = first.shape[:2]
    network = NetworkConfig(classes, in_channels, base_channels=base_channels, pad_picture=False, **settings)
    origin = f"Pytorch-UNet ({'transposed' if transposed else 'bilinear'})"
    return ForeignWeights(origin, network, rename_all(weights, rules), mask_values)
