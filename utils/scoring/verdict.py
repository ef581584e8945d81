"""Verdicts on results that are wrong in a known way: what, the evidence, and the command that mends it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from utils.core.console import counted, note, quoted, warn
from utils.images.normalisation import Normalisation
from utils.scoring.confusion import ConfusionMatrix, Scores

GAIN = 0.2  # of the IoU of every exchanged class, or of the mIoU of turned masks, to be the cause
DROP = 0.1  # of the mIoU below that of the training, from which on something else must differ
SHIFT = 1.0  # standard deviations between the gray values of the pictures and those of the training
EXPLAINS = ("masks-turned", "classes-exchanged")  # findings that are the cause of low scores
LEARNED = 0.9  # mIoU that a network reaches on a few pictures that it sees over and over
FEW_STEPS = 60  # after which it need not have learned them: those of ISBI take 40
TURNS = ("turned by 90°", "turned by 180°", "turned by 270°")
MIRRORS = ("mirrored left-right", "mirrored top-bottom", "mirrored at a diagonal", "mirrored at a diagonal")


@dataclass(frozen=True)
class Finding:
    """Something wrong. code: its kind, which stays; command: to be pasted into a shell, or nothing."""

    code: str
    what: str
    evidence: str
    advice: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.evidence}\n  to do: {self.advice}" + f"\n  {self.command}" * bool(
            self.command
        )


def report_findings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        warn(str(finding))


def judge_scores(class_names: Sequence[str], scores: Scores, voc_root: object) -> list[Finding]:
    """One class predicted everywhere; classes of the truth that were never found, or exchanged."""
    train = f"python train.py --voc-root {quoted(voc_root)}"
    truth, predicted = scores.truth, scores.predicted
    if (predicted > 0).sum() == 1:
        return [_one_class(class_names, scores, train)]
    if exchange := _find_exchange(class_names, scores, voc_root):
        return [exchange]
    unseen = np.flatnonzero((scores.hits == 0) & (truth > 0))
    return [_never_found(class_names, scores, unseen, train)] if len(unseen) else []


def _never_found(class_names: Sequence[str], scores: Scores, unseen: np.ndarray, train: str) -> Finding:
    texts, truth = [], scores.truth
    for index in sorted(unseen, key=lambda index: -truth[index])[:3]:
        other = int(scores.matrix[index].argmax())
        share, wrong = truth[index] / truth.sum(), scores.matrix[index, other] / truth[index]
        where = f"{wrong:.0%} of it predicted as {class_names[other]}"
        texts.append(f"{class_names[index]} is {share:.2%} of the truth, {where}")
    what = f"no pixel of {', '.join(class_names[index] for index in unseen)} was found"
    advice = "train longer; if that does not help, give rare classes more weight"
    texts += [f"and {len(unseen) - 3} more"] * (len(unseen) > 3)
    command = f"{train} --class-weights balanced"
    return Finding("class-never-predicted", what, "; ".join(texts), advice, command)


def _one_class(class_names: Sequence[str], scores: Scores, train: str) -> Finding:
    only = int(scores.predicted.argmax())
    what = f"every pixel was predicted as {class_names[only]}"
    others = [name for name, pixels in zip(class_names, scores.truth, strict=True) if pixels]
    others = [name for name in others if name != class_names[only]]
    if not others:
        advice = "score pictures that have other classes, or check the masks"
        command = train.replace("train.py", "voc2unet.py")
        return Finding("one-class-truth", what, "the truth has no other class either", advice, command)
    share = 1 - scores.truth[only] / scores.truth.sum()
    evidence = f"{share:.1%} of the truth is {', '.join(others)}"
    advice = "see within a minute whether data and masks can be learned; if so, train longer"
    return Finding("one-class", what, evidence, advice, f"{train} --overfit 2")


def _find_exchange(class_names: Sequence[str], scores: Scores, voc_root: object) -> Finding | None:
    """The finding that other names for some predicted classes make their scores good, if so."""
    order = linear_sum_assignment(scores.matrix, maximize=True)[1]
    better = Scores(scores.matrix[:, order])
    moved = [index for index in np.flatnonzero(order != np.arange(len(order))) if scores.truth[index]]
    # Of each of them, as classes that are merely mistaken for others do not all gain.
    if not moved or not (better.iou[moved] >= scores.iou[moved] + GAIN).all():
        return None
    pairs = ", ".join(f"{class_names[index]} is predicted as {class_names[order[index]]}" for index in moved)
    evidence = f"{pairs}: mIoU {better.miou:.1%} after the exchange, {scores.miou:.1%} as it is"
    advice = "the values of the masks, or the lines of class_names.txt, have another order than in training"
    values = ",".join(f"{index}:{order[index]}" for index in range(len(order)))
    command = f"python voc2unet.py --voc-root {quoted(voc_root)} --map {values}"
    return Finding(
        "classes-exchanged", "truth and prediction have their classes exchanged", evidence, advice, command
    )


def judge_turns(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], num_classes: int, voc_root: object
) -> list[Finding]:
    """Whether masks agree with the predictions after they are turned or mirrored, if they do not as they are.

    pairs: truth and prediction, (H, W) uint8; a few pictures are enough.
    """
    matrices = [ConfusionMatrix(num_classes) for _ in range(8)]
    count = 0
    for truth, prediction in pairs:
        for matrix, view in zip(matrices, _views(truth), strict=True):
            # An oblong mask, turned by 90°, fits no more.
            if view.shape == prediction.shape:
                matrix.update(np.ascontiguousarray(view), prediction)
        count += 1
    # Only views that show the same pixels can be compared.
    whole = [matrix.counts.sum() == matrices[0].counts.sum() for matrix in matrices]
    mious = [matrix.scores().miou if fits else 0.0 for matrix, fits in zip(matrices, whole, strict=True)]
    best = int(np.argmax(mious))
    if not mious[best] >= mious[0] + GAIN:
        return []
    how = ("", *TURNS, *MIRRORS)[best]
    evidence = (
        f"mIoU {mious[best]:.1%} with masks {how}, {mious[0]:.1%} as they are ({counted(count, 'picture')})"
    )
    advice = (
        "where a program ignored the EXIF orientation of pictures, the command turns their masks; "
        "others were turned when they were saved: save them again"
    )
    command = f"python voc2unet.py --voc-root {quoted(voc_root)} --fix"
    return [
        Finding(
            "masks-turned", f"the masks fit the predictions after they are {how}", evidence, advice, command
        )
    ]


def _views(mask: np.ndarray) -> Iterator[np.ndarray]:
    """As it is, three turns, then left-right, top-bottom and both diagonals."""
    yield from (np.rot90(mask, turns) for turns in range(4))
    yield from (mask[:, ::-1], mask[::-1], mask.T, np.rot90(mask, 2).T)


@dataclass(frozen=True)
class Origin:
    """What a checkpoint says of its training. miou: on its validation pictures, or None.

    normalisation: by its training pictures, or None if it has another origin.
    """

    path: object
    miou: float | None
    normalisation: Normalisation | None


def judge_drop(
    origin: Origin, high: float, read_means: Callable[[], np.ndarray], miou: float, voc_root: object
) -> list[Finding]:
    """Whether a score lies far below that of the training, and whether the gray values tell why.

    miou, high: measured, and the upper end of its interval; read_means: gives (C,), means of the channels of
    some pictures in 0…1.
    """
    if origin.miou is None or not max(miou, high) < origin.miou - DROP:
        return []
    what = f"the scores are far below those of the training of {origin.path}"
    evidence = f"mIoU {miou:.1%}, in its validation {origin.miou:.1%}"
    tune = f"python train.py --voc-root {quoted(voc_root)} --model-path {quoted(origin.path)}"
    trained = origin.normalisation
    means = read_means() if trained else np.zeros(0)
    if trained and (abs(means - trained.mean) > SHIFT * np.array(trained.std)).any():
        here, there = (", ".join(f"{255 * x:.0f}" for x in values) for values in (means, trained.mean))
        evidence += f"; the channels have means of {here}, in training {there} of 255"
        advice = (
            "prepare the pictures as those of the training (exposure, bits, order of colors), or train on"
        )
        return [Finding("other-gray-values", what, evidence, advice, tune)]
    advice = (
        "see in the report whether each mask is that of its picture; if so, these are of another kind, "
        "or labelled by other rules: train on with some of them"
    )
    return [Finding("other-data", what, evidence, advice, tune)]


def judge_history(mious: Sequence[float], losses: Sequence[float], voc_root: object) -> list[Finding]:
    """Metrics that did not move over the epochs. mious: NaN where there was no validation."""
    known = [miou for miou in mious if not np.isnan(miou)]
    if len(known) < 3 or max(known) - min(known) > 1e-4 or len(losses) < 3 or losses[-1] < 0.98 * losses[0]:
        return []
    moved = f"mIoU {known[0]:.4f} … {known[-1]:.4f}, loss {losses[0]:.4f} … {losses[-1]:.4f}"
    evidence = f"{moved} in {len(losses)} epochs"
    advice = "see within a minute whether data and masks can be learned; if so, change --lr tenfold"
    command = f"python train.py --voc-root {quoted(voc_root)} --overfit 2"
    return [Finding("metrics-constant", "the scores do not move", evidence, advice, command)]


def judge_overfit(
    miou: float, losses: Sequence[float], steps: int, pictures: Sequence[str], voc_root: object
) -> list[Finding]:
    """Whether a network that saw only these pictures has learned them. losses: of each epoch, in order."""
    if miou >= LEARNED:
        return []
    evidence = f"mIoU {miou:.1%} on {', '.join(pictures)} after {counted(steps, 'step')} on nothing else"
    if steps < FEW_STEPS or losses[-1] < 0.8 * losses[len(losses) // 2]:
        command = f"python train.py --voc-root {quoted(voc_root)} --overfit {len(pictures)} --max-minutes 5"
        what = "it cannot be told yet whether the network learns the pictures by heart"
        return [Finding("overfit-unfinished", what, evidence, "give it more time", command)]
    what = f"the network does not even learn {counted(len(pictures), 'picture')} by heart"
    advice = "the rate may be wrong (--lr), or pixels that look alike have other classes: see train_batch.png"
    command = f"python voc2unet.py --voc-root {quoted(voc_root)}"
    return [Finding("overfit-failed", what, evidence, advice, command)]


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
