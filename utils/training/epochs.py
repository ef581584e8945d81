"""All epochs of a run: train, validate, record."""

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from utils.core.console import note, progress
from utils.scoring.confusion import Scores
from utils.training.batches import EpochBatches
from utils.training.engine import Criterion, Epoch, Trainer, evaluate, train_one_epoch
from utils.training.history import Row
from utils.training.launch import Follower
from utils.training.run_folder import RunPictures
from utils.training.samples import Loader
from utils.training.teaching import label_crops
from utils.training.watching import until_stopped, watch

HALF = 0.5  # share of a run after which classes that were never found are sought


class Predictor(Protocol):
    """What validation needs of `Unet`."""

    device: torch.device
    num_classes: int
    class_names: list[str]

    def follow(self, net: nn.Module) -> None: ...
    def logits(self, images: Tensor) -> Tensor: ...


def train_and_validate(
    trainer: Trainer,
    loaders: tuple[Loader, Loader],
    loss_of: Criterion,
    unet: Predictor,
    compiled: bool,
    pictures: RunPictures | Follower,
) -> tuple[Scores | None, list[Epoch]]:
    """All epochs of the schedule, recorded in the run. Returns the scores after the last one, if any."""
    (train_loader, val_loader), schedule, run = loaders, trainer.schedule, pictures.run
    epochs, compiled_for, scores = [], None, None
    unet.follow(trainer.average.module)
    for epoch in schedule.epochs(run.done):
        begin_epoch(trainer, train_loader.batch_sampler, epoch)
        kind_of_steps = schedule.phase(epoch), trainer.divisor
        if compiled and kind_of_steps != compiled_for:
            compiled_for = kind_of_steps
            compile_network(trainer, train_loader, loss_of)
        train_loader.batch_sampler.taught = trainer.teaching is not None and trainer.teaching.is_on
        in_time = schedule.in_time(watch(trainer, train_loader))
        shown = progress(in_time, f"epoch {epoch + 1}", "batch", len(train_loader.batch_sampler))
        trained = train_one_epoch(trainer, shown, loss_of, trainer.began)
        unet.follow(trainer.average.module)
        val_loss, scores = math.nan, None
        if is_scored(trainer, epoch):
            val_batches = until_stopped(trainer, val_loader)
            val_loss, scores = evaluate(unet.logits, val_batches, loss_of, unet.num_classes, unet.device)
            if schedule.done(epoch + 1) >= HALF and not schedule.is_over(epoch):
                shows = train_loader.batch_sampler.shows
                trainer.sought = seek_classes(scores, shows, trainer.sought, unet.class_names)
            if trainer.teaching and trainer.teaching.judge(scores.miou, trainer.progress):
                pictures.draw_taught(partial(label_crops, trainer, train_loader.dataset, trainer.divisor))
        run.record(make_row(epoch, trainer, trained, val_loss, scores), scores, trainer)
        trainer.losses = []  # no step of the next epoch was taken yet
        epochs.append(trained)
        pictures.draw_if_due()
        reserve = time.perf_counter() - trainer.started - trained.seconds + pictures.seconds + run.reserve
        if scores and schedule.closes(epoch, reserve):
            break
    run.save_rest(trainer)
    if trainer.teaching:
        print(f"pictures without annotation  {trainer.teaching.describe()}")
    return scores, epochs


def is_scored(trainer: Trainer, epoch: int) -> bool:
    """Whether this epoch is validated. Also the one after which pictures without annotation shall teach."""
    waits = trainer.teaching is not None and trainer.teaching.awaits_score(trainer.progress)
    return trainer.schedule.validates(epoch) or waits


def begin_epoch(trainer: Trainer, batches: EpochBatches, epoch: int) -> None:
    """Set the trainer and its batches to an epoch, or to the rest of one in which the run was stopped."""
    schedule = trainer.schedule
    if not (trainer.losses and trainer.divisor):
        trainer.begin(schedule.steps_before(epoch), schedule.divisor(epoch))
    trainer.started = time.perf_counter()
    trainer.freeze_encoder(schedule.phase(epoch).frozen)
    batches.epoch, batches.divisor, batches.first = epoch, trainer.divisor, len(trainer.losses)
    batches.batch_size, batches.sought = schedule.batch_size(epoch, trainer.divisor), trainer.sought
    batches.taught = False  # nothing of what is compiled is taught


def compile_network(trainer: Trainer, loader: Loader, loss_of: Criterion) -> None:
    """For the sizes of the batches to come. Says how long it took."""
    sizes = {len(keys) for keys in loader.batch_sampler}
    print(f"compiled in {trainer.compile(sizes, next(iter(loader)), loss_of):.0f} s")


def make_row(epoch: int, trainer: Trainer, trained: Epoch, val_loss: float, scores: Scores | None) -> Row:
    """The row of the history of epoch 0, 1, …"""
    lr, miou = trainer.optimizer.param_groups[-1]["lr"], scores.miou if scores else math.nan
    speed = trained.crops / trained.seconds
    return Row(epoch + 1, lr, trained.loss, val_loss, miou, trainer.seconds, speed)


def seek_classes(
    scores: Scores, shows: Mapping[int, Sequence[int]], before: Sequence[int], class_names: Sequence[str]
) -> tuple[int, ...]:
    """Classes of which validation found no pixel, although training pictures show them. Says which are new.

    before: those of the validation before.
    """
    unfound = np.flatnonzero((scores.hits == 0) & (scores.truth > 0))
    sought = tuple(index for index in unfound.tolist() if len(shows.get(index, ())))
    if new := [class_names[index] for index in sought if index not in before]:
        note(f"no pixel of {', '.join(new)} was found yet: more of the crops show it from now on")
    return sought
