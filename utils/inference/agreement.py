"""How much the networks of an ensemble agree on a picture: an estimate of its score without the truth."""

from itertools import combinations

import numpy as np

from utils.scoring.confusion import ConfusionMatrix


class Agreement:
    """Mean IoU between the masks of every two members, counted band after band."""

    def __init__(self, members: int, num_classes: int):
        self.matrices = {pair: ConfusionMatrix(num_classes) for pair in combinations(range(members), 2)}

    def update(self, masks: np.ndarray) -> None:
        """masks: (members, h, W) uint8, see `utils.inference.maps.member_classes`."""
        for (first, second), matrix in self.matrices.items():
            matrix.update(masks[first], masks[second])

    @property
    def expected_iou(self) -> float:
        """0…1: mean over the pairs of the mIoU of one mask against the other."""
        return float(np.mean([matrix.scores().miou for matrix in self.matrices.values()]))
