"""From picture values to network input: one scaling, stored in the checkpoint, used alike in training and prediction."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# The full range of each integer type becomes 0…1; float pictures are taken to be in 0…1 already.
FULL_SCALE = {torch.uint8: 255.0, torch.uint16: 65535.0}


@dataclass(frozen=True)
class Normalisation:
    """(value / full scale − mean) / std for each channel. mean, std: one number a channel, in units of the full scale.

    A 16-bit picture is divided by 65535; because mean and std are those of the training pictures, cameras that use only
    a part of the 16 bits still fill the network's input range.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_dict(self) -> dict[str, list[float]]:
        return {"mean": list(self.mean), "std": list(self.std)}

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8, uint16 or float32 → (N, C, H, W) float32, on the same device and in the same layout."""
        scale = FULL_SCALE.get(images.dtype, 1.0)
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        return (images.float() - mean * scale) / (std * scale)


def to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, C) uint8 or uint16 array → (C, H, W) tensor of the same type, without a copy (channels-last strides)."""
    return torch.from_numpy(image).permute(2, 0, 1)


def measure_normalisation(images: Iterable[np.ndarray]) -> Normalisation:
    """Mean and standard deviation of each channel over all pixels of pictures (H, W, C), uint8 or uint16; streams."""
    count, total, squares = 0, 0.0, 0.0
    for image in images:
        values = image.reshape(-1, image.shape[2]).astype(np.float64) / np.iinfo(image.dtype).max
        count += len(values)
        total = total + values.sum(0)
        squares = squares + (values**2).sum(0)
    mean = total / count
    # Constant pictures have no spread to divide by; one gray step of 8 bits is the least that means anything.
    std = np.sqrt(np.maximum(squares / count - mean**2, (1 / 255) ** 2))
    return Normalisation(tuple(mean.tolist()), tuple(std.tolist()))
