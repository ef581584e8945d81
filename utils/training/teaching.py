"""Learning from pictures without annotation: the averaged weights teach the network in training.

They label the pixels of a crop of which they are sure (Sohn et al. 2020, FixMatch), and the network has to
find these in a stronger view of it (Yang et al. 2023, UniMatch), with a part of another crop pasted in (Yun
et al. 2019, CutMix; French et al. 2020 for segmentation). An average of the weights makes the better teacher
(Tarvainen and Valpola 2017).
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor, nn
from torchvision.transforms.functional import center_crop

from utils.core.console import counted
from utils.core.device import Precision
from utils.images.normalisation import to_device
from utils.images.palette import IGNORE_INDEX
from utils.training.losses import Loss, criterion, deep_loss
from utils.training.mixed import CUT_SHARE, choose_rectangle
from utils.training.parts import kept_statistics, process_count
from utils.training.unlabelled import Crop, TaughtDataset, Views, collate_views

START = 0.3  # share of the run that is over when teaching begins: before, the teacher knows too little
LEAST = 0.4  # mIoU of a teacher: one that knows less is wrong where it is sure, and teaches its mistakes
RAMP = 0.1  # share of the run over which its weight then rises to 1 (Laine and Aila 2017)
CONFIDENCE = 0.9  # probability from which on the teacher is sure of a pixel (0.95 in FixMatch and UniMatch)
PATIENCE = 0.15  # share of the run, at full weight, without a score above the first one, after which it ends

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=10**12)]


class Student(Protocol):
    """What `teach` needs of `Trainer`."""

    net: nn.Module
    average: nn.Module  # its `module` is the teacher
    forward: Callable[[Tensor], Any]
    normalise: Callable[[Tensor], Tensor]
    precision: Precision
    scaler: torch.amp.GradScaler
    accumulate: int


@dataclass
class Teaching:
    """Whether pictures without annotation teach, which the scores of validation decide.

    before: mIoU when teaching began; began: share of the run that was over; risen: the same, when mIoU was
    last higher than before or the weight became 1; steps: taught; sure: sum over them of the shares of sure
    pixels.
    """

    before: Share | None = None
    began: Share = 0.0
    risen: Annotated[float, Meta(ge=0)] = 0.0
    ended: bool = False
    steps: Count = 0
    sure: Annotated[float, Meta(ge=0)] = 0.0  # a tensor while a run adds to it, so that no step waits

    @property
    def is_on(self) -> bool:
        return self.before is not None and not self.ended

    def weight(self, progress: float) -> float:
        """Of what is taught, beside what is annotated; progress: share of the run that is over, 0 … 1."""
        return min(max((progress - self.began) / RAMP, 0.0), 1.0) if self.is_on else 0.0

    def awaits_score(self, progress: float) -> bool:
        """Whether teaching is to begin, or perhaps to end, as soon as the network has been validated."""
        due = START if self.before is None else self.risen + PATIENCE
        return not self.ended and due <= progress < 1

    def judge(self, miou: float, progress: float) -> bool:
        """Begin, go on or end, by the mIoU of the validation pictures. Says so. Returns whether it begins."""
        miou = 0.0 if math.isnan(miou) else miou
        begins = self.before is None and self.awaits_score(progress)
        if begins and miou < LEAST:
            self.before, self.ended, begins = miou, True, False
            low = f"mIoU {miou:.2%} is too low to teach; it takes {LEAST:.0%}"
            print(f"pictures without annotation  off: {low}")
        elif begins:
            self.before, self.began, self.risen = miou, progress, progress + RAMP
            print(f"pictures without annotation  on: they teach from now on, at mIoU {miou:.2%}")
        elif self.is_on and miou > self.before:
            self.risen = max(self.risen, progress)
        elif self.is_on and self.awaits_score(progress):
            self.ended = True
            found = f"mIoU {miou:.2%}, for {PATIENCE:.0%} of the run not above the {self.before:.2%}"
            print(f"pictures without annotation  off: {found} from before they taught")
        return begins

    def add(self, sure: Tensor) -> None:
        """Count a step that was taught."""
        self.steps, self.sure = self.steps + 1, self.sure + sure

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(replace(self, sure=float(self.sure)))

    def describe(self) -> str:
        """What came of it, in words."""
        if not self.steps:
            if self.ended:
                return f"have not taught: mIoU was {self.before:.2%}"
            return "have not taught: the run was too short"
        until = ", then no more" if self.ended else ""
        share = f"{self.sure / self.steps:.0%} of their pixels"
        return f"taught in {counted(self.steps, 'step')}{until}; the teacher was sure of {share}"


def teach(student: Student, views: Views, weight: float) -> Tensor:
    """Add the gradients of crops without annotation, times `weight`. Returns the share of sure pixels.

    Batch norm goes by the statistics of these crops alone, and its running ones stay: they are those of the
    annotated pictures in their ordinary view, as in a run without this.
    """
    layout = student.precision.memory_format
    weak, strong, known = (to_device(part, student.precision.device) for part in views)
    parts = min(student.accumulate, len(weak))
    labelled = [label(student, *pair) for pair in zip(weak.chunk(parts), known.chunk(parts), strict=True)]
    target = torch.cat([labels for labels, _ in labelled])
    strong, target = exchange_parts(student.normalise(strong), target)
    # What torch.compile made would be compiled once more, for a batch norm without momentum.
    forward = student.forward if process_count() > 1 else student.net
    for images, labels in zip(strong.chunk(parts), target.chunk(parts), strict=True):
        with kept_statistics(student.net), student.precision.autocast():
            outputs = forward(images.contiguous(memory_format=layout))
        outputs = [outputs] if isinstance(outputs, Tensor) else outputs
        labels = center_crop(labels, list(outputs[0].shape[-2:]))
        # The mean over all pixels: a teacher who is sure of a few of them weighs no more for it.
        share = (labels != IGNORE_INDEX).float().mean() * (len(labels) / len(target))
        loss = deep_loss(partial(criterion, loss=Loss(dice=0)), outputs, labels)
        student.scaler.scale(loss * share * weight).backward()
    return torch.stack([sure for _, sure in labelled]).mean()


@torch.no_grad()
def label(student: Student, weak: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Classes (N, H, W) uint8, 255: unsure, of pictures (N, C, H, W), and the share of sure pixels.

    known: classes that stay, (N, H, W) uint8, 255: none.
    """
    images = student.normalise(weak).contiguous(memory_format=student.precision.memory_format)
    with student.precision.autocast():
        logits = student.average.module.eval()(images)
    certainty, found = logits.float().softmax(1).max(1)
    is_sure, target = certainty >= CONFIDENCE, known.clone()
    # Unpadded convolutions say nothing of the margin.
    top, left = ((known.shape[axis] - found.shape[axis]) // 2 for axis in (1, 2))
    inner = target[:, top : top + found.shape[1], left : left + found.shape[2]]
    found = torch.where(is_sure, found, IGNORE_INDEX).to(torch.uint8)
    inner.copy_(torch.where(inner == IGNORE_INDEX, found, inner))
    return target, is_sure.float().mean()


def label_crops(
    student: Student, dataset: TaughtDataset, divisor: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Four crops (h, w, C) with what the teacher says of them, then their stronger views with the same."""
    crops = [Crop(number, divisor) for number in range(4)]
    weak, strong, known = collate_views([dataset.unlabelled[crop] for crop in crops])
    on_device = (to_device(part, student.precision.device) for part in (weak, known))
    labels = label(student, *on_device)[0].cpu().numpy()
    images = torch.cat([weak, strong]).permute(0, 2, 3, 1).numpy()
    return list(zip(images, [*labels, *labels], strict=True))


def exchange_parts(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """In half of the calls a rectangle of each picture, and of its target, becomes that of the one before.

    images (N, C, H, W), targets (N, H, W). The rectangle depends on PyTorch's random numbers.
    """
    if torch.rand(()) >= CUT_SHARE or len(images) < 2:
        return images, targets
    rng = np.random.default_rng(int(torch.randint(1 << 62, ())))
    where = torch.from_numpy(choose_rectangle(images.shape[-2:], rng)).to(images.device)
    return torch.where(where, images.roll(1, 0), images), torch.where(where, targets.roll(1, 0), targets)
