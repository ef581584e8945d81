"""How far a network looks, and how much it holds in memory."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nets.unet import UNet


@dataclass(frozen=True)
class Geometry:
    """What is needed to predict a large picture by tiles.

    stride: tiles begin at multiples of it; reach: a pixel of the logits depends on no input farther away;
    exact: whether it depends on nothing else, such as the size of the input; values_per_pixel: numbers in
    memory at once.
    """

    stride: int
    reach: int
    exact: bool
    values_per_pixel: float


@torch.inference_mode()
def measure_geometry(net: UNet) -> Geometry:
    """Of a network in evaluation mode, from the layers that run on a picture of a few pixels, in their order.

    The reach is summed along all of them: branches beside the longest way (skips, shortcuts) add little.
    """
    left = right = largest = 0
    latest = 1  # pixels of the picture per value of the latest map
    pixels_of: dict[Tensor, int] = {}  # the same of each map; those that were joined or cropped are not in it

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal left, right, largest, latest
        before = pixels_of.get(inputs[0], latest)
        to_left, to_right, latest = extend(module, before)
        left, right = left + to_left, right + to_right
        pixels_of[output] = latest
        largest = max(largest, sum(x.numel() for x in inputs) + output.numel())

    layers = [m for m in net.modules() if not list(m.children())]
    handles = [m.register_forward_hook(look) for m in layers]
    maps: list[Tensor] = []
    handles.append(net.encoder.register_forward_hook(lambda module, inputs, output: maps.extend(output)))
    convolution = next(m for m in layers if isinstance(m, nn.Conv2d))
    # Group norm needs more than one value of the deepest map.
    size = 2 * net.margin + 4 if net.margin else 2 * net.stride
    try:
        net(convolution.weight.new_zeros(1, convolution.in_channels, size, size))
    finally:
        for handle in handles:
            handle.remove()
    size_matters = any(isinstance(m, nn.GroupNorm) or getattr(m, "align_corners", None) for m in layers)
    # Half as much again for what the layers need beside their input and output.
    values = 1.5 * (largest + sum(x.numel() for x in maps)) / size**2 + 3 * net.head.out_channels
    return Geometry(net.stride, max(left + net.margin, right - net.margin), not size_matters, values)


def extend(module: nn.Module, before: int) -> tuple[int, int, int]:
    """Pixels that a layer looks farther to the left and to the right, and pixels per value of its output.

    before: pixels per value of its input.
    """
    if isinstance(module, (nn.Conv2d, nn.MaxPool2d)):
        kernel, stride, padding, dilation = (
            value if isinstance(value, int) else value[0]
            for value in (module.kernel_size, module.stride, module.padding, module.dilation)
        )
        return padding * before, (dilation * (kernel - 1) - padding) * before, before * stride
    if isinstance(module, nn.ConvTranspose2d):
        after = before // module.stride[0]
        return (module.kernel_size[0] - 1) * after, 0, after
    if isinstance(module, nn.Upsample):
        # Value 2i of the larger map lies between i − 1 and i of the smaller, 2i + 1 between i and i + 1.
        after = before // int(module.scale_factor)
        return 2 * after, after, after
    return 0, 0, before
