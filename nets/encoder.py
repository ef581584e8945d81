"""What every encoder is: levels that return feature maps from fine to deep."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Encoder(nn.Module):
    """Levels, one after the other: (N, C, H, W) → their outputs, each at half the size of the one before.

    out_channels: width of each map; reductions: pixels of the picture per value of each map, along one side;
    recompute: see `run_level`.
    """

    def __init__(self, levels: Sequence[nn.Module], out_channels: Sequence[int], first_reduction: int = 1):
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.out_channels = tuple(out_channels)
        self.reductions = tuple(first_reduction << level for level in range(len(levels)))
        self.recompute = False

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for level in self.levels:
            x = run_level(level, x, recompute=self.recompute)
            maps.append(x)
        return maps


def run_level(level: nn.Module, *maps: Tensor | None, recompute: bool) -> Tensor:
    """The output of a level. With `recompute`, the backward pass computes its inner maps again.

    Less memory for more time: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost.
    """
    return checkpoint(level, *maps, use_reentrant=False) if recompute else level(*maps)
