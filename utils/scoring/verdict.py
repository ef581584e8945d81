"""Verdicts on scores that are wrong in a known way."""

from collections.abc import Sequence

from utils.core.console import note, warn
from utils.scoring.confusion import Scores


def warn_about_scores(class_names: Sequence[str], scores: Scores) -> None:
    """Warn if one class was predicted everywhere, or a class of the truth never found."""
    predicted = scores.matrix.sum(0)
    if (predicted > 0).sum() == 1:
        only = class_names[int(predicted.argmax())]
        warn(f"every pixel was predicted as {only}: train longer, or check the masks (python voc2unet.py)")
        return
    for name, recall in zip(class_names, scores.recall, strict=True):
        if recall == 0:
            warn(
                f"class {name} is in the truth but no pixel of it was found: it is too rare, or training "
                "was too short. Train longer, or check the masks (python voc2unet.py)"
            )


def note_found_classes(class_names: Sequence[str], best: Scores, last: Scores, best_epoch: int) -> None:
    """Say which classes the last epoch found and the best one did not, or the other way round."""
    both = list(zip(class_names, best.recall, last.recall, strict=True))
    found = [name for name, before, after in both if before == 0 and after > 0]
    lost = [name for name, before, after in both if before > 0 and after == 0]
    if found:
        what = f"found {', '.join(found)}, which epoch {best_epoch} (best.pth) did not"
        note(f"the last epoch {what}: last.pth has its weights")
    if lost:
        note(f"the last epoch found no pixel of {', '.join(lost)}; epoch {best_epoch} (best.pth) did")
