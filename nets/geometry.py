"""How far a network looks and what it holds in memory, found out by running it on a picture of a few pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nets.unet import UNet


@dataclass(frozen=True)
class Geometry:
    """What is needed to predict a large picture by tiles.

    stride: tiles begin at multiples of it; reach: a pixel of the logits depends on none of the input farther away; exact:
    whether it depends on nothing else, such as the size of the input; values_per_pixel: held at once in a prediction.
    """

    stride: int
    reach: int
    exact: bool
    values_per_pixel: float


@torch.inference_mode()
def measure_geometry(net: UNet) -> Geometry:
    """Of a built network in evaluation mode, from the layers that run, in the order in which they run.

    The reach is summed along all of them: branches beside the longest way (skips, shortcuts) add nothing or little.
    """
    left = right = largest = skips = 0
    latest = 1  # pixels of the picture from one value of the latest map to the next

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal left, right, largest, latest
        # Maps that were joined or cropped in between carry no mark.
        before = after = getattr(inputs[0], "pixels_a_value", latest)
        if isinstance(module, (nn.Conv2d, nn.MaxPool2d)):
            kernel, stride, padding, dilation = (
                value if isinstance(value, int) else value[0]
                for value in (module.kernel_size, module.stride, module.padding, module.dilation)
            )
            left += padding * before
            right += (dilation * (kernel - 1) - padding) * before
            after = before * stride
        elif isinstance(module, nn.ConvTranspose2d):
            after = before // module.stride[0]
            left += (module.kernel_size[0] - 1) * after
        elif isinstance(module, nn.Upsample):
            # Value 2i of the larger map lies between i − 1 and i of the smaller one, value 2i + 1 between i and i + 1.
            after = before // int(module.scale_factor)
            left += 2 * after
            right += after
        output.pixels_a_value = latest = after
        largest = max(largest, sum(x.numel() for x in inputs) + output.numel())

    def look_at_skips(module: nn.Module, inputs: tuple[Tensor, ...], output: list[Tensor]) -> None:
        nonlocal skips
        skips = sum(x.numel() for x in output)

    layers = [m for m in net.modules() if not list(m.children())]
    handles = [m.register_forward_hook(look) for m in layers]
    handles.append(net.encoder.register_forward_hook(look_at_skips))
    convolution = next(m for m in layers if isinstance(m, nn.Conv2d))
    size = 2 * net.margin + 4 if net.margin else net.stride
    try:
        net(convolution.weight.new_zeros(1, convolution.in_channels, size, size))
    finally:
        for handle in handles:
            handle.remove()
    size_matters = any(isinstance(m, nn.GroupNorm) or getattr(m, "align_corners", None) for m in layers)
    # Half as much again for what the layers need beside their input and output.
    values = 1.5 * (largest + skips) / size**2 + 3 * net.head.out_channels
    return Geometry(net.stride, max(left + net.margin, right - net.margin), not size_matters, values)
