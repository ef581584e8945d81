"""A run that goes on: what must not have changed, what has, and the state of its training."""

from pathlib import Path
from typing import Any

import numpy as np

from utils.core.console import UserError, note, warn
from utils.core.files import read_record, remove_unfinished
from utils.core.locks import take_lock
from utils.models.checkpoint import Checkpoint, content_errors
from utils.scoring.confusion import Scores
from utils.training.data import Data
from utils.training.engine import Trainer
from utils.training.history import History, Row, read_history
from utils.training.keeping import unpack
from utils.training.provenance import describe_environment
from utils.training.run_folder import Run, write_config
from utils.training.schedule import Schedule
from utils.training.state import check_training

# What decides which crops a step sees: it may change between two epochs, but not within one.
FIXED_WITHIN_AN_EPOCH = ("batch_size", "freeze_batch_size", "freeze_epochs", "input_shape", "seed")


def resume_run(path: Path, last: Checkpoint, checkpoint: Checkpoint, trainer: Trainer, data: Data) -> Run:
    """Put the trainer where `last`, the last.pth at `path`, left it.

    Settings that differ from those before are reported and written to config.json, which keeps the old ones
    as `before`. Raises UserError if that run had another network, other classes or another fold, if its state
    does not fit, or if it is still running.
    """
    refuse_other_run(path, last, checkpoint)
    lock = take_lock(path.parent, "wait until that run has ended")
    try:
        with content_errors(path):
            check_training(last.training, last.model, trainer.net, last.network.num_classes)
            check_steps(last.training, trainer.schedule)
            trainer.load_state(last.training, last.model)
        rows, done = earlier_rows(path, last), last.training["epoch"]
        remove_unfinished(path.parent)
        report_changes(path, last, checkpoint, data)
    except BaseException:
        lock.release()
        raise
    checkpoint.scores, matrix = last.scores, last.training.get("best_matrix")
    scores = None if matrix is None else Scores(np.array(matrix, np.int64))
    kept = unpack(last.training.get("best_groups")), last.training.get("kept"), scores
    history = History(path.with_name("history.csv"), rows)
    if trainer.schedule.budget:
        trainer.schedule.budget.deduct(history.seconds + trainer.spent)
    return Run(path.parent, checkpoint, history, lock, done, last.training["best"], *kept)


def check_steps(training: dict[str, Any], schedule: Schedule) -> None:
    """Raises ValueError for more steps of the epoch under way than it has."""
    losses, divisor = training.get("losses"), training.get("divisor")
    if losses is not None and divisor and len(losses) > schedule.steps_of(training["epoch"], divisor):
        raise ValueError(f"{len(losses)} steps of an epoch that has fewer")


def report_changes(path: Path, last: Checkpoint, checkpoint: Checkpoint, data: Data) -> None:
    """Say which settings and data are others than before, and write config.json anew."""
    # The folder stays. An older release may not have known these settings; then the defaults hold.
    kept = {name: last.settings[name] for name in ("save_dir", "run_name") if name in last.settings}
    checkpoint.settings |= kept
    now = {name: value for name, value in checkpoint.settings.items() if name != "resume"}
    before = {name: old for name, old in last.settings.items() if name in now and old != now[name]}
    record = read_record(path.with_name("config.json"))
    earlier, environments = record.get("before", {}), record.get("environment", [])
    if before:
        first = f"epoch {last.training['epoch'] + 1}"
        changes = "".join(f"\n  {name}: {old} → {now[name]}" for name, old in before.items())
        note(f"from {first} on, other settings than before:{changes}")
        earlier[first] = before
    environment = describe_environment(data)
    if environments and environments[-1]["data"] != environment["data"]:
        warn(f"{data.folder.root}: the pictures, masks or splits are not those that the run began with")
    history = {"before": earlier} if earlier else {}
    settings = {**checkpoint.settings, **history, "environment": [*environments, environment]}
    write_config(path.parent, settings)


def earlier_rows(path: Path, last: Checkpoint) -> list[Row]:
    """Rows up to the epoch of the checkpoint at `path`. It holds them, unless an older release wrote it."""
    kept = [Row(*row) for row in last.training.get("history", ())]
    rows = kept or read_history(path.with_name("history.csv"))
    return [row for row in rows if row.epoch <= last.training["epoch"]]


def refuse_other_run(path: Path, last: Checkpoint, checkpoint: Checkpoint) -> None:
    """Raises UserError if the checkpoint `last` cannot continue with the settings of `checkpoint`."""
    if not last.training:
        remedy = "pass that file, or start from these weights with --model-path"
        found = "weights without training state"
        raise UserError("resume-without-state", path, found, "the last.pth of a run", remedy)
    within = FIXED_WITHIN_AN_EPOCH if last.training.get("losses") is not None else ()
    before, now = fixed_settings(last, within), fixed_settings(checkpoint, within)
    differing = [name for name in now if before[name] != now[name]]
    if differing:
        found, wanted = (", ".join(f"{name} {run[name]}" for name in differing) for run in (before, now))
        remedy = "leave these flags out, or start from its weights with --model-path"
        raise UserError("resume-other-run", path, f"a run with {found}", f"one with {wanted}", remedy)


def fixed_settings(checkpoint: Checkpoint, names: tuple[str, ...] = ()) -> dict[str, object]:
    """What must not change within a run. names: settings beside those."""
    defaults = {"fold": None, "optimizer": "adamw", "fit": "crop", **dict.fromkeys(names)}
    chosen = {name: checkpoint.settings.get(name, default) for name, default in defaults.items()}
    chosen = {name: list(value) if isinstance(value, tuple) else value for name, value in chosen.items()}
    return {**vars(checkpoint.network), "classes": ", ".join(checkpoint.class_names), **chosen}
