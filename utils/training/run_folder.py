"""The run folder: its start, going on with it, and what is written into it after every epoch."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from utils.core.console import UserError, counted, note, quoted
from utils.core.files import read_record, replacing
from utils.images.plots import draw_samples
from utils.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from utils.training.data import Data
from utils.training.engine import Trainer
from utils.training.history import History, Row


def start_run(run_dir: Path, checkpoint: Checkpoint) -> None:
    """Make a run folder with its config.json. Raises UserError if there is a run in it already."""
    if (run_dir / "last.pth").exists():
        raise UserError(
            "start-run",
            run_dir,
            "a run of this name",
            "a new name",
            f"choose another --run-name, or go on with that run: --resume {quoted(run_dir / 'last.pth')}",
        )
    write_config(run_dir, checkpoint.settings)


def write_config(run_dir: Path, settings: dict[str, object]) -> None:
    with replacing(run_dir / "config.json") as temporary:
        temporary.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")


def resume_run(path: Path, checkpoint: Checkpoint, trainer: Trainer, epochs: float) -> tuple[int, float]:
    """Put the trainer where the last.pth at `path` left it; returns the epochs done and the best mIoU so far.

    Says which settings are other ones than before and writes them to config.json, which keeps the old ones as `before`.
    Raises UserError if that run had another network, other classes or another fold, or has done all `epochs`.
    """
    last = load_checkpoint(path)
    there, here = _what_must_agree(last), _what_must_agree(checkpoint)
    differing = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if not last.training or differing:
        remedy = "resume with the settings of that run (config.json beside it), or start from its weights by --model-path"
        found = (
            f"a run with {_listed(there, differing)}" if last.training else "weights without training state"
        )
        expected = (
            f"the last.pth of a run with {_listed(here, differing)}" if differing else "the last.pth of a run"
        )
        raise UserError("resume-run", path, found, expected, remedy)
    done = last.training["epoch"]
    if done >= epochs:
        raise UserError(
            "resume-run",
            path,
            f"a run that has done its {counted(done, 'epoch')}",
            "epochs left to do",
            "raise --epochs",
        )
    trainer.load_state(last.training, last.model)
    # Those of the folder, which stays; what an older release did not know has its default still.
    checkpoint.settings |= {
        name: last.settings[name] for name in ("save_dir", "run_name") if name in last.settings
    }
    now = {name: value for name, value in checkpoint.settings.items() if name != "resume"}
    before = {name: old for name, old in last.settings.items() if name in now and old != now[name]}
    if before:
        changes = "".join(f"\n  {name}: {old} → {now[name]}" for name, old in before.items())
        note(f"from epoch {done + 1} on, other settings than before:{changes}")
    earlier = read_record(path.with_name("config.json")).get("before", {})
    earlier |= {f"epoch {done + 1}": before} if before else {}
    write_config(path.parent, checkpoint.settings | ({"before": earlier} if earlier else {}))
    return done, last.training["best"]


def _what_must_agree(checkpoint: Checkpoint) -> dict[str, object]:
    classes = ", ".join(checkpoint.class_names)
    settings = {"fold": None, "optimizer": "adamw", "fit": "crop", **checkpoint.settings}
    return {
        **asdict(checkpoint.network),
        "classes": classes,
        **{name: settings[name] for name in ("fold", "optimizer", "fit")},
    }


def _listed(values: dict[str, object], names: list[str]) -> str:
    return ", ".join(f"{name} {values.get(name)}" for name in names)


def save_run(
    run_dir: Path, checkpoint: Checkpoint, trainer: Trainer, row: Row, best: float, improved: bool
) -> None:
    """last.pth with the training state; best.pth, weights and metadata only, when the score has improved."""
    checkpoint.model = trainer.average.module.state_dict()
    checkpoint.scores = {"epoch": row.epoch, "miou": row.miou, "val_loss": row.val_loss}
    checkpoint.training = None
    if improved:
        save_checkpoint(run_dir / "best.pth", checkpoint)
    checkpoint.training = {"epoch": row.epoch, "best": best, **trainer.state()}
    save_checkpoint(run_dir / "last.pth", checkpoint)


@contextmanager
def telling_how_to_go_on(run_dir: Path) -> Iterator[None]:
    """Where the training is interrupted (Ctrl-C), say what is kept of it."""
    try:
        yield
    except KeyboardInterrupt:
        last = run_dir / "last.pth"
        if last.exists():
            note(f"kept up to the last whole epoch; to go on: the same command with --resume {quoted(last)}")
        else:
            note("nothing is kept, for no epoch was whole yet")
        raise


def log_to_board(board: SummaryWriter, row: Row) -> None:
    board.add_scalar("loss/training", row.train_loss, row.epoch)
    board.add_scalar("loss/validation", row.val_loss, row.epoch)
    board.add_scalar("mIoU", row.miou, row.epoch)
    board.add_scalar("learning rate", row.lr, row.epoch)


class Pictures:
    """Curves, and the first validation pictures beside their truth and their prediction; `seconds` to draw them once."""

    def __init__(
        self, run_dir: Path, history: History, predict: Callable[[np.ndarray], np.ndarray], data: Data
    ):
        self.run_dir, self.history, self.predict, self.data = run_dir, history, predict, data
        self.seconds, self.drawn = 0.0, time.perf_counter()

    def draw(self) -> None:
        start = time.perf_counter()
        self.history.draw()
        pairs = [self.data.read_pair(name) for name in self.data.val[:4]]
        rows = [
            row
            for image, mask in pairs
            for row in ((image, None), (image, mask), (image, self.predict(image)))
        ]
        draw_samples(
            self.run_dir / "val_epoch.png", rows, columns=3, titles=("picture", "truth", "prediction")
        )
        self.drawn = time.perf_counter()
        self.seconds = self.drawn - start

    def draw_sometimes(self) -> None:
        """Every 15 seconds, and no more than a thirtieth of the time."""
        if time.perf_counter() - self.drawn > max(15, 30 * self.seconds):
            self.draw()
