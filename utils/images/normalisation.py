"""From picture values to network input: one scaling for training and prediction, stored in the checkpoint."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

# The full range of each integer type becomes 0…1; float pictures are taken to be in 0…1 already.
FULL_SCALE = {torch.uint8: 255.0, torch.uint16: 65535.0}

Range = tuple[int, int] | tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Normalisation:
    """(value / full scale − mean) / std. mean, std: one number per channel, in units of the full scale.

    range_16bit: (low, high) values that `stretch` maps to the full scale of 16-bit pictures, or one such pair
    for each channel; None: none.
    range_float: the values that became 0 and 65535 when float pictures were imported, and do in prediction;
    wide of what is trained on; None: there were none.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    range_16bit: Range | None = None
    range_float: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, list[float] | list[int] | None]:
        return {name: value and list(value) for name, value in asdict(self).items()}

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8, uint16 or float32 → (N, C, H, W) float32, same device and layout."""
        scale = FULL_SCALE.get(images.dtype, 1.0)
        units = torch.tensor([self.mean, self.std]).view(2, 1, -1, 1, 1) * scale
        mean, std = to_device(units, images.device).unbind()
        return (images.float() - mean) / std


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Pictures, masks and weights on the device; on CUDA without waiting for work in progress.

    Apple's GPU would read such a copy after its source was freed (pytorch/pytorch#189690). Before PyTorch
    2.10 it does not know uint16 (#159076), so 16-bit pictures reach it as float32 in 0…1.
    """
    if device.type == "mps" and x.dtype == torch.uint16:
        x = x.float() / FULL_SCALE[x.dtype]
    return x.to(device, non_blocking=device.type == "cuda")


def to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, C) uint8 or uint16 array → (C, H, W) tensor, same type, not copied (channels-last strides)."""
    return torch.from_numpy(image).permute(2, 0, 1)


def floats_to_uint16(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers low … high → 0 … 65535, rounded; what lies beyond is clipped, what is no number becomes 0."""
    scaled = (np.nan_to_num(values.astype(np.float64), nan=low) - low) / ((high - low) or 1)
    return (np.clip(scaled, 0, 1) * 65535 + 0.5).astype(np.uint16)


def stretch(image: np.ndarray, limits: Sequence | None) -> np.ndarray:
    """A uint16 picture with `limits` mapped to 0 … 65535, clipped; any other as it is. See `range_16bit`."""
    if image.dtype != np.uint16 or limits is None:
        return image
    if np.ndim(limits) == 2:
        return np.dstack([stretch(image[..., i], each) for i, each in enumerate(limits)])
    low, high = limits
    table = np.clip((np.arange(65536) - low) / max(high - low, 1), 0, 1) * 65535
    return np.round(table).astype(np.uint16)[image]


def unstretch(image: np.ndarray, limits: Sequence | None) -> np.ndarray:
    """The way back from `stretch`, but for what was clipped."""
    if image.dtype != np.uint16 or limits is None:
        return image
    low, high = np.array(limits).T
    return np.round(low + image * (np.maximum(high - low, 1) / 65535)).astype(np.uint16)
