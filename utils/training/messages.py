"""What a run says of itself before its first epoch and after its last."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from utils.core.console import counted, quoted
from utils.core.device import Precision
from utils.images.masks import is_partly_annotated
from utils.scoring.confusion import Scores
from utils.scoring.verdict import judge_history, judge_scores, note_found_classes, report_findings
from utils.training.data import Data
from utils.training.engine import Epoch
from utils.training.history import best_row
from utils.training.recipe import describe_asymmetry
from utils.training.run_folder import Run
from utils.training.schedule import Schedule


def print_plan(
    data: Data,
    schedule: Schedule,
    network: str,
    net: nn.Module,
    precision: Precision,
    config: Any,
    folder: Path,
) -> None:
    """What is about to happen, which findings of the data it follows, and the folder of the run.

    config: settings of train.py.
    """
    parameters = sum(p.numel() for p in net.parameters())
    pictures = f"{counted(len(set(data.train)), 'picture')} to train, {len(data.val)} to validate"
    print(f"data     {data.folder.root}: {pictures}; classes: {', '.join(data.class_names)}")
    if min(data.labelled) < 1:
        print(f"labels   {describe_labelled(data)}")
    print(f"network  {network}, {parameters / 1e6:.2f} M parameters, {precision}")
    for phase in schedule.phases:
        height, width = config.input_shape
        print(f"plan     {schedule.describe(phase)} of {height}×{width} per step")
    width = f"the classes are {data.typical_width:.0f} pixels wide, {data.least_width:.0f} at least"
    print(f"crops    {width}: {schedule.describe_sizes()}")
    found = describe_asymmetry(data.asymmetry)
    print(f"views    the classes have {found}: --augmentation {config.augmentation}")
    if config.border_weight:
        print(f"borders  {describe_objects(data)}")
    print(f"run      {folder}")


def describe_objects(data: Data) -> str:
    """What --border-weight keeps apart in the training masks."""
    masks = sorted(set(data.train))
    numbered = sum(data.folder.objects_path(name).is_file() for name in masks)
    where = f"numbered objects in {numbered} of {counted(len(masks), 'mask')} ({data.folder.objects_dir})"
    if numbered == len(masks):
        return where
    which = "in the others" if numbered else "in a mask"
    source = "json_to_dataset.py or import_dataset.py --instances writes numbers, where the data have them"
    return f"{where}: what touches {which} counts as one object of its class; {source}"


def describe_labelled(data: Data) -> str:
    """The shares that are not 255, and what that means for the scores."""
    train, val = (f"{share:.1%}" for share in data.labelled)
    shares = f"{train} of the pixels to train on, {val} of those to validate on; the others are 255"
    if scores_outlines(data):
        return shares
    return f"{shares}. Scores are those of strokes: outline a picture for validation to know the borders, too"


def scores_outlines(data: Data) -> bool:
    """Whether the validation masks say where objects end."""
    return not is_partly_annotated(data.labelled[1], 1)


def print_result(run: Run, scores: Scores | None, data: Data, epochs: Sequence[Epoch]) -> None:
    """Where everything is, what looks wrong, and what to do next. scores: of the last epoch, or none."""
    rows, folder, root = run.history.rows, run.folder, data.folder.root
    best = best_row(rows)
    kept = next((row for row in rows if row.epoch == run.kept), best)
    moved = judge_history([row.miou for row in rows], [row.train_loss for row in rows], root)
    if kept_scores := run.kept_scores or scores:
        moved = judge_scores(data.class_names, kept_scores, root) or moved
        note_found_classes(data.class_names, kept_scores, scores or kept_scores, kept.epoch)
    # Pictures that are learned by heart come many times in an epoch, and `by_heart` judges them.
    report_findings(moved if len(set(data.train)) == len(data.train) else [])
    waited = sum(epoch.waited for epoch in epochs) / max(sum(epoch.seconds for epoch in epochs), 1e-9)
    length = f"{run.history.seconds:.0f} s for {counted(len(rows), 'epoch')}"
    waiting = f"{waited:.1%} of the training waiting for pictures"
    part = "" if scores_outlines(data) else f" on {data.labelled[1]:.1%} of the validation pixels"
    print(f"\nbest mIoU {best.miou:.2%}{part} in epoch {best.epoch}; {length}, {waiting}")
    print(f"checkpoint  {folder / 'best.pth'}")
    if kept is not best:
        why = "later epochs leave fewer gaps, or the pictures to validate on cannot tell them apart"
        print(f"kept        epoch {kept.epoch}, mIoU {kept.miou:.2%}: {why}")
    print(f"pictures    {folder / 'train_batch.png'}, val_epoch.png, loss.png, miou.png")
    print("next        score it, then look at a picture:")
    weights, picture = quoted(folder / "best.pth"), quoted(data.folder.image_path(data.val[0]))
    print(f"  python get_miou.py --model-path {weights} --voc-root {quoted(root)}")
    print(f"  python predict.py --model-path {weights} --input {picture}")
