"""VGG-16 and ResNet-50 as encoders, on torchvision's networks and with room for its ImageNet weights."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import resnet

from nets.encoder import Encoder
from nets.inference import ConvReLU
from nets.layers import MaxPool


class Bottleneck(resnet.Bottleneck):
    """torchvision's block. In prediction its last convolution adds the shortcut and applies the ReLU."""

    relu_follows = ("conv1", "conv2", "conv3")

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(self.conv3, ConvReLU):
            return super().forward(x)
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.conv3(self.conv2(self.conv1(x)), plus=shortcut)


class StageEncoder(Encoder):
    """Stages of a classification network: modules under torchvision's names, for which it has weights."""

    def rename(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights under torchvision's names (`features.0.weight`, `layer1.0.conv1.weight`) → under ours.

        The classifier's are left out. Gray input takes the sum over RGB of the first convolution. Other
        numbers of channels take red, green and blue in turn, scaled to the same sum.
        """
        own, renamed = self.state_dict(), {}
        level_of = {name: i for i, level in enumerate(self.levels) for name, _ in level.named_children()}
        for key, value in weights.items():
            name = key.removeprefix("features.")
            stage = name.split(".")[0]
            # VGG's stages are numbers below `features`; its classifier's are numbers too.
            if stage not in level_of or (key != name) != stage.isdecimal():
                continue
            target = f"levels.{level_of[stage]}.{name}"
            if target in own and own[target].ndim == 4 and own[target].shape[1] != value.shape[1] == 3:
                channels = own[target].shape[1]
                colours = (
                    value.sum(1, keepdim=True) if channels == 1 else value[:, torch.arange(channels) % 3]
                )
                value = colours if channels == 1 else colours * (3 / channels)
            renamed[target] = value
        return renamed


def vgg16(in_channels: int, batch_norm: bool) -> StageEncoder:
    """Configuration D: maps of 64, 128, 256, 512, 512 channels at 1/1 to 1/16, each after a ReLU."""
    # The classifier, nine tenths of its weights, is never allocated.
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
    stages = [nn.Sequential()]
    for name, module in features[:-1].named_children():
        if isinstance(module, nn.MaxPool2d):
            stages.append(nn.Sequential())
            module = MaxPool()
        stages[-1].add_module(name, module)
    return StageEncoder(stages, (64, 128, 256, 512, 512))


def resnet50(in_channels: int, unpadded_pool: bool) -> StageEncoder:
    """Maps of 64, 256, 512, 1024, 2048 channels at 1/2 to 1/32: the stem before its pool, layer1 to layer4.

    unpadded_pool: the stem's pool without padding and with ceil_mode, as unet-pytorch has it.
    """
    net = models.ResNet(Bottleneck, [3, 4, 6, 3])
    if in_channels != 3:
        net.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    pool = net.maxpool
    if unpadded_pool:
        # This is ceil_mode, which ONNX export lacks. Zeros change no maximum of what a ReLU gives.
        pool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, stride=2))
    stages = [
        {"conv1": net.conv1, "bn1": net.bn1, "relu": net.relu},
        {"maxpool": pool, "layer1": net.layer1},
        *({name: getattr(net, name)} for name in ("layer2", "layer3", "layer4")),
    ]
    levels = [nn.Sequential(OrderedDict(stage)) for stage in stages]
    return StageEncoder(levels, (64, 256, 512, 1024, 2048), first_reduction=2)


def weights_url(name: str) -> str:
    """Address of weights that torchvision calls by this name, such as `VGG16_Weights.IMAGENET1K_V1`."""
    return models.get_weight(name).url
