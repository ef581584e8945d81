"""Scoring a split picture by picture, in the memory of one picture and the counts of all."""

import numpy as np

from utils.images.masks import is_partly_annotated
from utils.images.palette import IGNORE_INDEX
from utils.scoring.borders import measure_borders
from utils.scoring.confusion import ConfusionMatrix
from utils.scoring.objects import label_parts, measure_objects, measure_topology
from utils.scoring.regions import THRESHOLDS, at_best_threshold, best_threshold, measure_regions
from utils.scoring.results import Measures, SplitResults
from utils.scoring.sums import PixelSums, ProbabilitySums, Sums

STEPS = 1000  # of probabilities


class Scorer:
    """Takes truth and prediction of one picture after the other, in any order, and gives the results."""

    def __init__(self, class_names: list[str], measures: Measures):
        self.class_names, self.measures = list(class_names), measures
        self.matrix = np.zeros((len(class_names),) * 2, np.int64)
        self.pictures: dict[str, tuple[int, dict[str, Sums]]] = {}

    def update(
        self, name: str, truth: np.ndarray, prediction: np.ndarray, probability: np.ndarray | None = None
    ) -> None:
        """Count a picture. truth, prediction: (H, W) uint8, the truth 255 where it is ignored.

        probability: (H, W) uint16, 65535 times the probability of `probability_class`, or None where masks
        are scored. Raises ValueError for unequal shapes, indices that are no class, a name that came before.
        """
        if name in self.pictures:
            raise ValueError(f"picture {name} was scored already")
        count, measures = len(self.class_names), self.measures
        matrix = ConfusionMatrix(count)
        matrix.update(truth, prediction)
        counts = matrix.counts.numpy()
        self.matrix += counts
        groups: dict[str, Sums] = {"pixels": PixelSums(counts.diagonal(), counts.sum(1), counts.sum(0))}
        ignored = truth == IGNORE_INDEX
        masked = np.where(ignored, truth, prediction) if ignored.any() else prediction
        groups["borders"] = measure_borders(truth, masked, count, measures.tolerance)
        true, found = (label_parts(mask, measures.membrane) for mask in (truth, prediction))
        groups["objects"] = measure_objects(true, found, count, measures.object_classes)
        if masked is not prediction:
            found = label_parts(masked, measures.membrane)
        groups["topology"] = measure_topology(true, found, count, measures.membrane)
        if measures.membrane is not None:
            regions = self._regions(probability, prediction)
            inside = (truth != measures.membrane) & ~ignored
            groups["regions"] = measure_regions(inside, prediction != measures.membrane, regions)
        if probability is not None and count == 2:
            groups["probabilities"] = count_probabilities(truth, probability)
        self.pictures[name] = int(np.count_nonzero(ignored)), groups

    @property
    def probability_class(self) -> int | None:
        """The class whose probability is wanted beside the mask: the second of two, or the membrane."""
        return 1 if len(self.class_names) == 2 else self.measures.membrane

    def _regions(self, probability: np.ndarray | None, prediction: np.ndarray) -> list[np.ndarray]:
        """Regions (H, W) bool at each threshold of their probability, or those of the mask."""
        if probability is None:
            return [prediction != self.measures.membrane]
        share = probability.astype(np.float32) / 65535
        if self.probability_class == self.measures.membrane:
            share = 1 - share
        return [share > threshold for threshold in THRESHOLDS]

    def results(self) -> SplitResults:
        """Of all pictures so far, by name. Raises ValueError without any."""
        if not self.pictures:
            raise ValueError("no picture was scored")
        names, measures = sorted(self.pictures), dict(vars(self.measures))
        each = [self.pictures[name][1] for name in names]
        groups = {key: type(group).stack([one[key] for one in each]) for key, group in each[0].items()}
        if "regions" in groups:
            rand, info = best_threshold(groups["regions"].pooled())
            if groups["regions"].info.shape[1] > 1:
                best = {"v_rand_threshold": THRESHOLDS[rand], "v_info_threshold": THRESHOLDS[info]}
                measures |= {key: float(threshold) for key, threshold in best.items()}
            groups["regions"] = at_best_threshold(groups["regions"], rand, info)
        ignored = np.array([self.pictures[name][0] for name in names])
        if is_partly_annotated(labelled := int(self.matrix.sum()), labelled + int(ignored.sum())):
            # Edges of strokes are no borders, and strokes no objects.
            groups = {key: group for key, group in groups.items() if key in ("pixels", "probabilities")}
        return SplitResults(
            self.class_names, names, ignored, self.matrix.copy(), measures=Measures(**measures), **groups
        )


def count_probabilities(truth: np.ndarray, probability: np.ndarray) -> ProbabilitySums:
    """Pixels by class of the truth and probability; see `Scorer.update`."""
    step = (probability.astype(np.uint32) * STEPS + 32767) // 65535
    counted = truth != IGNORE_INDEX
    place = truth[counted] * np.int64(STEPS + 1) + step[counted]
    return ProbabilitySums(np.bincount(place, minlength=2 * (STEPS + 1)).reshape(2, STEPS + 1))
