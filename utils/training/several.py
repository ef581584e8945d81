"""Runs in a row: fold after fold, the learning curve, and pictures that are learned by heart."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.console import UserError, counted, quoted
from utils.core.processes import this_process
from utils.core.tables import write_table
from utils.images.plots import lettering, save_for_print
from utils.scoring.confusion import Scores
from utils.training.by_heart import overfit
from utils.training.engine import Trainer
from utils.training.learning_curve import fit_curve
from utils.training.recipe import EPOCHS
from utils.training.run_folder import Run
from utils.voc.folder import VocFolder

SHARES = (4, 4, 2, 2, 1, 1)  # parts of the pictures that the runs of a learning curve see: 1/4 … 1/1
FEWEST = 4  # pictures of a learning curve

Split = tuple[list[str], list[str]]  # names to train and to validate on, in place of the split files


@dataclass(frozen=True)
class Outcome:
    """What a run gave. scores: of its best.pth; losses: of the training, by epoch."""

    folder: Path
    scores: Scores
    losses: list[float]
    steps: int

    @classmethod
    def of_run(cls, run: Run, scores: Scores | None, trainer: Trainer) -> "Outcome":
        """scores: of the last epoch."""
        losses = [row.train_loss for row in run.history.rows]
        return cls(run.folder, run.kept_scores or scores, losses, int(trainer.average.n_averaged))


# (settings of one run, its pictures) → what it gave. The settings are those of train.py.
TrainOnce = Callable[[Any, Split | None], Outcome]


def train_as_asked(config: Any, train_once: TrainOnce) -> None:
    """One run, or those of --folds, --learning-curve or --overfit. Raises UserError for two of these."""
    drivers = {"folds": train_folds, "learning_curve": draw_learning_curve, "overfit": overfit}
    chosen = [name for name in drivers if getattr(config, name)]
    if not chosen:
        train_once(config, None)
        return
    alone = ("fold", "resume", "unlabelled") if "overfit" in chosen else ("fold", "resume")
    others = [name for name in alone if getattr(config, name) is not None]
    if len(chosen + others) > 1:
        found = " with ".join(f"--{name.replace('_', '-')}" for name in chosen + others)
        raise UserError("settings-conflict", "settings", found, "one of them", "leave the others out")
    if this_process()[1] > 1:
        found, expected = f"--{chosen[0].replace('_', '-')} in several processes", "one process"
        raise UserError("settings-conflict", "settings", found, expected, "start it without torchrun")
    name = config.run_name or datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    drivers[chosen[0]](replace(config, run_name=name), train_once)


def train_folds(config: Any, train_once: TrainOnce) -> None:
    """Train on every fold; runs of the same name that were interrupted go on, finished ones stay.

    Raises UserError if the folder has no folds, or another number of them.
    """
    folder, wanted = VocFolder(config.voc_root), config.folds
    found = len(list(folder.splits_dir.glob("fold*_train.txt")))
    if found != wanted:
        remedy = f"write them: {folder.doctor(f'--folds {wanted}' + ' --overwrite' * bool(found))}"
        there = f"{found} folds" if found else "no folds"
        raise UserError("folds-differ", folder.splits_dir, there, f"{wanted} folds", remedy)
    paths = []
    for fold in range(wanted):
        run = replace(config, folds=None, fold=fold, run_name=f"{config.run_name}_fold{fold}")
        last = config.save_dir / run.run_name / "last.pth"
        print(f"\n== fold {fold}, {fold + 1} of {wanted} ==")
        train_once(replace(run, resume=last) if last.is_file() else run, None)
        paths.append(config.save_dir / run.run_name / "best.pth")
    weights = " ".join(map(quoted, paths))
    print("\nall folds are trained. Score each on its held-out part, and predict with all of them:")
    print(f"  python get_miou.py --voc-root {quoted(config.voc_root)} --model-path {weights}")
    print(f"  python predict.py --model-path {weights} --input PICTURE")


def draw_learning_curve(config: Any, train_once: TrainOnce) -> None:
    """Short runs on parts of the pictures, the curve with its band, and what twice as many would bring."""
    folder = VocFolder(config.voc_root)
    names, val = folder.read_split("train"), folder.read_split("val")
    if len(names) < FEWEST:
        expected, remedy = f"{FEWEST} or more", "label more pictures first"
        raise UserError(
            "learning-curve-few", f"{folder.root}, train", counted(len(names), "picture"), expected, remedy
        )
    output, rows = config.save_dir / f"{config.run_name}_curve", []
    for number, part in enumerate(draw_parts(names, config.seed)):
        print(f"\n== run {number + 1} of {len(SHARES)}: {len(part)} of {len(names)} pictures ==")
        name, seed = f"{config.run_name}_curve_{len(part)}_{number}", config.seed + number
        # As many steps with few pictures as with all of them, whatever else the machine does.
        epochs = max((config.epochs or EPOCHS) * SHARES[number] // max(SHARES), 1)
        run = replace(config, learning_curve=False, run_name=name, seed=seed, epochs=epochs)
        outcome = train_once(run, (part, val))
        rows.append({"pictures": len(part), "seed": seed, "miou": outcome.scores.miou, "run": outcome.folder})
        write_table(output / "learning_curve.csv", rows)
    curve = fit_curve([row["pictures"] for row in rows], [row["miou"] for row in rows])
    with lettering(output):
        save_for_print(curve.figure(), output / "learning_curve")
    print(f"\n{curve.sentence()}")
    print(f"curve    {output}: learning_curve.png, .svg and .csv")


def draw_parts(names: Sequence[str], seed: int) -> Iterator[list[str]]:
    """The pictures of each run: parts of one size do not overlap where that can be."""
    order = np.random.default_rng(seed).permutation(len(names))
    for number, share in enumerate(SHARES):
        size, turn = max(round(len(names) / share), 1), number % 2
        chosen = np.roll(order, -turn * size)[:size]
        yield [names[index] for index in sorted(chosen)]
