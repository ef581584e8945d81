"""How much the networks of an ensemble agree on a picture: an estimate of its score without the truth."""

from itertools import combinations

import numpy as np

from utils.scoring.confusion import ConfusionMatrix


class Agreement:
    """IoU between the masks of every two members, counted band after band."""

    def __init__(self, members: int, num_classes: int):
        self.matrices = {pair: ConfusionMatrix(num_classes) for pair in combinations(range(members), 2)}

    def update(self, masks: np.ndarray) -> None:
        """masks: (members, h, W) uint8, see `utils.inference.maps.member_classes`."""
        for (first, second), matrix in self.matrices.items():
            matrix.update(masks[first], masks[second])

    @property
    def expected_iou(self) -> float:
        """0…1: mean over the pairs of the IoU of their classes, weighted by the area in both masks.

        Without weights a few pixels of a class that one member sees would decide, see docs/scores.md.
        """
        found = [matrix.scores() for matrix in self.matrices.values()]
        areas = [each.truth + each.predicted for each in found]
        pairs = zip(found, areas, strict=True)
        return float(np.mean([np.average(np.nan_to_num(each.iou), weights=area) for each, area in pairs]))
