"""The run folder: its start, its resumption, and what is written into it after every epoch."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from utils.core.console import UserError, counted, note, quoted
from utils.core.files import read_record, replacing
from utils.models.checkpoint import Checkpoint, save_checkpoint
from utils.training.engine import Trainer
from utils.training.history import History, Row


@dataclass
class Run:
    """A run folder and what is known of the run so far."""

    folder: Path
    checkpoint: Checkpoint  # describes the network; its weights and scores are those of the last epoch
    history: History
    done: int = 0  # epochs of earlier parts of the run
    best: float = math.nan  # highest mIoU

    def __post_init__(self) -> None:
        self.board = SummaryWriter(str(self.folder))

    def record(self, row: Row, trainer: Trainer) -> None:
        """Write the checkpoints, the history and the TensorBoard events of an epoch, and print its line."""
        improved = math.isnan(self.best) or row.miou > self.best
        self.best = row.miou if improved else self.best
        self._save(row, trainer, improved)
        self.history.add(row)
        self.board.add_scalar("loss/training", row.train_loss, row.epoch)
        self.board.add_scalar("loss/validation", row.val_loss, row.epoch)
        self.board.add_scalar("mIoU", row.miou, row.epoch)
        self.board.add_scalar("learning rate", row.lr, row.epoch)
        print(
            f"epoch {row.epoch:4d}  loss {row.train_loss:.4f}  val_loss {row.val_loss:.4f}  "
            f"mIoU {row.miou:7.2%}{' *' if improved else '  '}  {row.seconds:5.1f} s"
        )

    def _save(self, row: Row, trainer: Trainer, improved: bool) -> None:
        """last.pth with the training state; best.pth, weights and metadata only, if the score improved."""
        checkpoint = self.checkpoint
        checkpoint.model = trainer.average.module.state_dict()
        checkpoint.scores = {"epoch": row.epoch, "miou": row.miou, "val_loss": row.val_loss}
        checkpoint.training = None
        if improved:
            save_checkpoint(self.folder / "best.pth", checkpoint)
        checkpoint.training = {"epoch": row.epoch, "best": self.best, **trainer.state()}
        save_checkpoint(self.folder / "last.pth", checkpoint)


def start_run(folder: Path, checkpoint: Checkpoint) -> Run:
    """Make a run folder with its config.json. Raises UserError if it holds a run already."""
    if (folder / "last.pth").exists():
        remedy = f"choose another --run-name, or resume that run: --resume {quoted(folder / 'last.pth')}"
        raise UserError("run-exists", folder, "a run of this name", "a new name", remedy)
    write_config(folder, checkpoint.settings)
    return Run(folder, checkpoint, History(folder / "history.csv"))


def resume_run(path: Path, last: Checkpoint, checkpoint: Checkpoint, trainer: Trainer, epochs: float) -> Run:
    """Put the trainer where `last`, the last.pth at `path`, left it.

    Settings that differ from those before are reported and written to config.json, which keeps the old ones
    as `before`. Raises UserError if that run had another network, other classes or another fold, or has
    done all `epochs`.
    """
    refuse_other_run(path, last, checkpoint)
    done = last.training["epoch"]
    if done >= epochs:
        found = f"a run that has done its {counted(done, 'epoch')}"
        raise UserError("run-finished", path, found, "epochs left to do", "raise --epochs")
    trainer.load_state(last.training, last.model)
    # The folder stays. An older release may not have known these settings; then the defaults hold.
    kept = {name: last.settings[name] for name in ("save_dir", "run_name") if name in last.settings}
    checkpoint.settings |= kept
    now = {name: value for name, value in checkpoint.settings.items() if name != "resume"}
    before = {name: old for name, old in last.settings.items() if name in now and old != now[name]}
    if before:
        changes = "".join(f"\n  {name}: {old} → {now[name]}" for name, old in before.items())
        note(f"from epoch {done + 1} on, other settings than before:{changes}")
    earlier = read_record(path.with_name("config.json")).get("before", {})
    earlier |= {f"epoch {done + 1}": before} if before else {}
    write_config(path.parent, checkpoint.settings | ({"before": earlier} if earlier else {}))
    history = History(path.with_name("history.csv"), done)
    return Run(path.parent, checkpoint, history, done, last.training["best"])


def refuse_other_run(path: Path, last: Checkpoint, checkpoint: Checkpoint) -> None:
    """Raises UserError if the checkpoint `last` cannot continue with the settings of `checkpoint`."""

    def fixed(checkpoint: Checkpoint) -> dict[str, object]:
        settings = {"fold": None, "optimizer": "adamw", "fit": "crop", **checkpoint.settings}
        chosen = {name: settings[name] for name in ("fold", "optimizer", "fit")}
        return {**vars(checkpoint.network), "classes": ", ".join(checkpoint.class_names), **chosen}

    before, now = fixed(last), fixed(checkpoint)
    differing = [name for name in now if before[name] != now[name]]

    def listed(values: dict[str, object]) -> str:
        return f"a run with {', '.join(f'{name} {values[name]}' for name in differing)}"

    remedy = "resume with the settings in that run's config.json, or start from its weights with --model-path"
    if not last.training:
        found = "weights without training state"
        raise UserError("resume-without-state", path, found, "the last.pth of a run", remedy)
    if differing:
        raise UserError("resume-other-run", path, listed(before), f"the last.pth of {listed(now)}", remedy)


def write_config(folder: Path, settings: dict[str, object]) -> None:
    with replacing(folder / "config.json") as temporary:
        temporary.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")


@contextmanager
def resume_hint_on_interrupt(folder: Path) -> Iterator[None]:
    """When the training is interrupted (Ctrl-C), print what was saved and how to resume."""
    try:
        yield
    except KeyboardInterrupt:
        last = folder / "last.pth"
        if last.exists():
            note(
                f"Saved up to the last finished epoch. Resume with the same flags and --resume {quoted(last)}"
            )
        else:
            note("Nothing saved: no epoch finished.")
        raise
