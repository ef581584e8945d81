"""VGG-16 and ResNet-50 as encoders, on torchvision's networks and with room for its ImageNet weights."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import resnet

from nets.layers import ConvReLU, MaxPool

# What torchvision's ImageNet weights were trained with, on values 0…1 in RGB order.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_WEIGHTS = {
    "vgg": models.VGG16_Weights.IMAGENET1K_V1,
    "vgg_bn": models.VGG16_BN_Weights.IMAGENET1K_V1,
    "resnet50": models.ResNet50_Weights.IMAGENET1K_V2,
}


class Bottleneck(resnet.Bottleneck):
    """torchvision's block, which in prediction adds its shortcut and takes the last ReLU within its last convolution."""

    relu_follows = ("conv1", "conv2", "conv3")

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(self.conv3, ConvReLU):
            return super().forward(x)
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.conv3(self.conv2(self.conv1(x)), plus=shortcut)


class StageEncoder(nn.Module):
    """Stages of a classification network; the output of each is a feature map, each at half the size of the one before.

    stages: modules under the names that they have in torchvision's network, so that its weights find their place.
    """

    def __init__(
        self, stages: list[OrderedDict[str, nn.Module]], out_channels: tuple[int, ...], first_reduction: int
    ):
        super().__init__()
        self.levels = nn.ModuleList(nn.Sequential(stage) for stage in stages)
        self.out_channels = out_channels
        self.reductions = tuple(first_reduction << level for level in range(len(stages)))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return maps

    def rename(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights under torchvision's names (`features.0.weight`, `layer1.0.conv1.weight`) → under this encoder's.

        The classifier's are left out. Gray input (one channel) takes the sum over RGB of the first convolution.
        """
        own, renamed = self.state_dict(), {}
        level_of = {name: index for index, level in enumerate(self.levels) for name in level._modules}
        for key, value in weights.items():
            name = key.removeprefix("features.")
            stage = name.split(".")[0]
            if stage not in level_of or (key != name) != stage.isdecimal():
                continue
            target = f"levels.{level_of[stage]}.{name}"
            if target in own and own[target].ndim == 4 and own[target].shape[1] == 1 and value.shape[1] == 3:
                value = value.sum(1, keepdim=True)
            renamed[target] = value
        return renamed


def vgg16(in_channels: int, batch_norm: bool) -> StageEncoder:
    """Configuration D: maps of 64, 128, 256, 512, 512 channels at 1/1 … 1/16, each after the ReLU before its pool."""
    # The classifier, nine tenths of its weights, is never given memory.
    with torch.device("meta"):
        features = (models.vgg16_bn if batch_norm else models.vgg16)(init_weights=False).features
    if in_channels != 3:
        features[0] = nn.Conv2d(in_channels, 64, 3, padding=1)
    # PyTorch 2.6 does not count a surrounding `with torch.device(…)` as the default device.
    features.to_empty(device=torch.empty(0).device)
    for module in features:
        if isinstance(module, nn.Conv2d):
            # As torchvision draws them.
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    stages: list[OrderedDict[str, nn.Module]] = [OrderedDict()]
    for name, module in features[:-1].named_children():
        if isinstance(module, nn.MaxPool2d):
            stages.append(OrderedDict())
            module = MaxPool()
        stages[-1][name] = module
    return StageEncoder(stages, (64, 128, 256, 512, 512), first_reduction=1)


def resnet50(in_channels: int, unpadded_pool: bool) -> StageEncoder:
    """Maps of 64, 256, 512, 1024, 2048 channels at 1/2 … 1/32: the stem before its pool, then layer1 … layer4.

    unpadded_pool: the stem's pool without padding and with ceil_mode, as unet-pytorch has it.
    """
    net = models.ResNet(Bottleneck, [3, 4, 6, 3])
    if in_channels != 3:
        net.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    # Zeros after the last row change no maximum of values that come out of a ReLU; this is ceil_mode, which ONNX export lacks.
    pool = (
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, stride=2)) if unpadded_pool else net.maxpool
    )
    stages = [
        OrderedDict(conv1=net.conv1, bn1=net.bn1, relu=net.relu),
        OrderedDict(maxpool=pool, layer1=net.layer1),
        *(OrderedDict({name: getattr(net, name)}) for name in ("layer2", "layer3", "layer4")),
    ]
    return StageEncoder(stages, (64, 256, 512, 1024, 2048), first_reduction=2)


# Widths of a decoder beside an encoder that knows much already: a third of the operations of the aligned layout.
LIGHT, VGG_ALIGNED = (256, 128, 64, 32, 16), (512, 256, 128, 64)
# Row: (in_channels, aligned) → encoder, and the widths that the decoder's steps end with. The `aligned` layout is that of
# unet-pytorch, whose weights need it.
ENCODERS = {
    "vgg": lambda in_channels, aligned: (vgg16(in_channels, False), VGG_ALIGNED if aligned else LIGHT[:4]),
    "vgg_bn": lambda in_channels, aligned: (vgg16(in_channels, True), VGG_ALIGNED if aligned else LIGHT[:4]),
    "resnet50": lambda in_channels, aligned: (
        resnet50(in_channels, aligned),
        (*VGG_ALIGNED, 64) if aligned else LIGHT,
    ),
}


def load_imagenet(encoder: StageEncoder, weights: dict[str, Tensor]) -> None:
    """Fill an encoder with torchvision's ImageNet weights. Raises RuntimeError if they belong to another network."""
    with torch.no_grad():
        encoder.load_state_dict(encoder.rename(weights))
