"""The table of encoders from other networks. A new backbone is one function and one row in `BACKBONES`.

torchvision takes two seconds to import, so only networks that are built on it import it. The names of this
table are listed by `--help`, which must not wait for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nets.encoder import Encoder

# What torchvision's ImageNet weights were trained with, on values 0…1 in RGB order.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def vgg(in_channels: int, aligned: bool, batch_norm: bool = False) -> Encoder:
    from nets.torchvision_encoders import vgg16

    return vgg16(in_channels, batch_norm)


def resnet50(in_channels: int, aligned: bool) -> Encoder:
    from nets.torchvision_encoders import resnet50

    return resnet50(in_channels, unpadded_pool=aligned)


@dataclass(frozen=True)
class Backbone:
    """make: (in_channels, aligned) → encoder with fresh weights; aligned: in unet-pytorch's layout.

    imagenet: torchvision's name of its ImageNet weights; None: there are none.
    """

    make: Callable[[int, bool], Encoder]
    imagenet: str | None = None


BACKBONES = {
    "vgg": Backbone(vgg, "VGG16_Weights.IMAGENET1K_V1"),
    "vgg_bn": Backbone(partial(vgg, batch_norm=True), "VGG16_BN_Weights.IMAGENET1K_V1"),
    "resnet50": Backbone(resnet50, "ResNet50_Weights.IMAGENET1K_V2"),
}
