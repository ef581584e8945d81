"""A run: its folder, which it locks, and the checkpoints, log and pictures that it writes."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from utils.core.console import UserError, note, quoted, warn
from utils.core.files import remove_unfinished, replacing
from utils.core.locks import Lock, take_lock
from utils.core.signals import stop_requested
from utils.images.plots import draw_samples
from utils.models.checkpoint import Checkpoint, save_checkpoint
from utils.scoring.confusion import ClassScores, Scores
from utils.training.data import Data
from utils.training.engine import Trainer
from utils.training.history import History, Row, read_history
from utils.training.keeping import margin, pack
from utils.training.provenance import describe_environment
from utils.training.watching import Stopped, refuse_infinite_weights

SETTLED = 0.01  # mIoU: scores that differ by less are alike, see `Run.is_kept`
WAIT = 20  # times as long as the last saving took, until the next: it takes a twentieth of the time at most


@dataclass
class Run:
    """A run folder and what is known of the run so far."""

    folder: Path
    checkpoint: Checkpoint  # describes the network; its weights and scores are those of the last epoch
    history: History
    lock: Lock  # of the folder, until `close`
    done: int = 0  # epochs, those of earlier parts included
    best: float = math.nan  # highest mIoU
    best_groups: ClassScores | None = None  # its counts (G, K) of groups of pictures
    kept: int | None = None  # epoch of best.pth; None: it is of an older release's part of the run
    kept_scores: Scores | None = None  # those of best.pth, likewise
    unsaved: Checkpoint | None = None  # what shall be best.pth
    failure: UserError | None = None  # why the last checkpoint could not be written
    saved: int = 0  # epochs in last.pth
    saved_at: float = -math.inf  # `time.perf_counter`
    saving: float = 0.0  # seconds that it took

    def __post_init__(self) -> None:
        self.board = SummaryWriter(str(self.folder))
        self.saved = self.done

    @property
    def reserve(self) -> float:
        """Seconds that saving takes, if there is something that was not saved yet."""
        return self.saving if self.done > self.saved else 0.0

    def is_kept(self, scores: Scores) -> bool:
        """Whether best.pth shall have these weights: if no earlier epoch was better beyond doubt.

        Few pictures tell epochs apart by chance, and later ones are better as a rule. Where a class separates
        others, its gaps go on closing while mIoU has long settled.
        """
        if math.isnan(self.best):
            return True
        settled = 0.0 if self.checkpoint.settings.get("separator") is None else SETTLED
        return scores.miou > self.best - max(settled, margin(scores.groups, self.best_groups))

    def record(self, row: Row, scores: Scores | None, trainer: Trainer) -> None:
        """Write the history, the TensorBoard events and, if due, the checkpoints of an epoch; print its line.

        scores: None after an epoch without validation. Raises UserError for weights that are not finite and
        would be kept or saved, before anything is written.
        """
        kept = scores is not None and self.is_kept(scores)
        due = bool(self.failure) or time.perf_counter() - self.saved_at >= WAIT * self.saving
        if kept or due:
            refuse_infinite_weights(trainer)
        if kept:
            self.kept, self.kept_scores = row.epoch, scores
        if scores is not None and (math.isnan(self.best) or scores.miou > self.best):
            self.best, self.best_groups = scores.miou, scores.groups
        # First, so that no crash leaves a checkpoint whose epoch the table lacks.
        self.history.add(row)
        self.done = row.epoch
        self._prepare(row, trainer, kept)
        if due:
            self.save(trainer)
        events = {"loss/training": row.train_loss, "learning rate": row.lr}
        measured = 34 * " "
        if scores:
            events |= {"loss/validation": row.val_loss, "mIoU": row.miou}
            measured = f"val_loss {row.val_loss:.4f}  mIoU {row.miou:7.2%}{' *' if kept else '  '}"
        self._log(events, row.epoch)
        print(f"epoch {row.epoch:4d}  loss {row.train_loss:.4f}  {measured}  {row.seconds:5.1f} s")

    def _log(self, events: dict[str, float], epoch: int) -> None:
        try:
            for name, value in events.items():
                self.board.add_scalar(name, value, epoch)
        except OSError as error:
            warn(f"{self.folder}: TensorBoard's events of epoch {epoch} are lost ({error})")

    def _prepare(self, row: Row, trainer: Trainer, kept: bool) -> None:
        """The metadata of the checkpoints of an epoch; if it is kept, a copy of its weights."""
        self.checkpoint.scores = {"epoch": row.epoch, "miou": row.miou, "val_loss": row.val_loss}
        if kept:
            weights = trainer.average.module.state_dict()
            # The weights go on changing, and a GPU's memory is for the training.
            model = {name: value.to("cpu", copy=True) for name, value in weights.items()}
            self.unsaved = replace(self.checkpoint, model=model, training=None)

    def save(self, trainer: Trainer) -> None:
        """The checkpoints. A full disk does not end the run: the next epoch tries again."""
        start = time.perf_counter()
        try:
            self.save_last(trainer, {"losses": None})
            self.failure = None
        except UserError as error:
            self.failure = error
            warn(f"{error.subject}: {error.found}; the run goes on, and the next epoch tries again")
        self.saved_at = time.perf_counter()
        self.saving = self.saved_at - start

    def save_rest(self, trainer: Trainer) -> None:
        """After the last epoch. Raises UserError for weights that are not finite."""
        if self.done > self.saved and not self.failure:
            refuse_infinite_weights(trainer)
            self.save(trainer)

    def save_last(self, trainer: Trainer, changes: dict[str, object]) -> None:
        """last.pth: the state of the trainer, with `changes`, after `done` epochs and the steps since.

        First best.pth, weights and metadata only, if it waits for that: last.pth never claims a best.pth that
        was not written.
        """
        if self.unsaved:
            save_checkpoint(self.folder / "best.pth", self.unsaved)
            self.unsaved = None
        # The rows too: history.csv may be of another epoch than this file after a crash, or locked.
        rows = [astuple(row) for row in self.history.rows]
        matrix = None if self.kept_scores is None else self.kept_scores.matrix.tolist()
        groups = None if self.best_groups is None else pack(self.best_groups)
        progress = {"epoch": self.done, "best": self.best, "best_matrix": matrix, "history": rows}
        progress |= {"best_groups": groups, "kept": self.kept}
        self.checkpoint.model = trainer.average.module.state_dict()
        self.checkpoint.training = {**progress, **trainer.state(), **changes}
        save_checkpoint(self.folder / "last.pth", self.checkpoint)
        self.saved = self.done

    def close(self) -> None:
        self.board.close()
        self.lock.release()


def start_run(folder: Path, checkpoint: Checkpoint, data: Data) -> Run:
    """Make a run folder with its config.json. Raises UserError if it holds an epoch of a run already."""
    lock = take_lock(folder, "choose another --run-name, or wait until that run has ended")
    try:
        refuse_overwrite(folder)
        remove_unfinished(folder)
        write_config(folder, {**checkpoint.settings, "environment": [describe_environment(data)]})
    except BaseException:
        lock.release()
        raise
    return Run(folder, checkpoint, History(folder / "history.csv"), lock)


def refuse_overwrite(folder: Path) -> None:
    """Raises UserError if a new run in this folder would overwrite weights of an earlier one."""
    if (folder / "last.pth").exists():
        remedy = f"choose another --run-name, or resume that run: --resume {quoted(folder)}"
        raise UserError("run-exists", folder, "a run of this name", "a new name", remedy)
    # A run that was killed in the save of its first epoch has a best.pth, which is made again.
    best = folder / "best.pth"
    if best.exists() and len(read_history(folder / "history.csv")) != 1:
        remedy = f"choose another --run-name, or start from these weights: --model-path {quoted(best)}"
        raise UserError("run-exists", folder, "a best.pth without its last.pth", "a new name", remedy)


def free_folder(folder: Path) -> Path:
    """The folder itself, or beside it one with a number: two runs may start in the same second."""
    for number in range(1, 1000):
        free = folder if number == 1 else folder.with_name(f"{folder.name}_{number}")
        try:
            free.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            found = f"it cannot be written ({error.strerror or error})"
            expected = "a writable folder with free space"
            raise UserError(
                "file-not-writable", folder, found, expected, "choose another --save-dir"
            ) from None
        return free
    return folder


def write_config(folder: Path, settings: dict[str, object]) -> None:
    with replacing(folder / "config.json") as temporary:
        temporary.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")


@contextmanager
def saving_when_stopped(run: Run, trainer: Trainer) -> Iterator[None]:
    """After Ctrl-C or SIGTERM the step is finished and saved, and the program ends; see `watch`.

    Closes the run. Raises UserError in the end if its last epoch could not be saved.
    """
    resume, saved = f"resume with --resume {quoted(run.folder)}", False
    try:
        with stop_requested("finishing this step, then saving") as stop:
            trainer.stop = stop
            try:
                yield
            except Stopped:
                refuse_infinite_weights(trainer)
                run.save_last(trainer, {})
                saved = True
                note(f"saved in epoch {run.done + 1}, after step {len(trainer.losses)}; {resume}")
                stop.exit()
    except (KeyboardInterrupt, SystemExit):
        if not saved:
            note(f"interrupted; nothing from epoch {run.saved + 1} on was saved; {resume}")
        raise
    finally:
        run.close()
    if run.failure:
        raise run.failure


class RunPictures:
    """Curves, and validation pictures with truth and prediction. `seconds`: time to draw them once."""

    def __init__(self, run: Run, predict: Callable[[np.ndarray], np.ndarray], data: Data):
        self.run, self.predict, self.data = run, predict, data
        self.seconds, self.drawn = 0.0, time.perf_counter()

    def draw(self) -> None:
        """loss.png, miou.png and val_epoch.png. A warning where they cannot be written."""
        start = time.perf_counter()
        self._try(self._draw)
        self.drawn = time.perf_counter()
        self.seconds = self.drawn - start

    def draw_taught(self, make: Callable[[], list[tuple[np.ndarray, np.ndarray]]]) -> None:
        """taught_batch.png: crops without annotation, see `utils.training.teaching.label_crops`."""
        titles = ["what is taught of crops without annotation; below, their stronger views"]
        self._try(lambda: draw_samples(self.run.folder / "taught_batch.png", make(), 4, titles))

    def _try(self, draw: Callable[[], None]) -> None:
        try:
            draw()
        except UserError as error:
            if error.code != "file-not-writable":
                raise
            warn(f"{error.subject}: {error.found}; it was not drawn")

    def _draw(self) -> None:
        self.run.history.draw()
        rows = []
        for name in self.data.val[:4]:
            image, mask = self.data.read_pair(name)
            rows += [(image, None), (image, mask), (image, self.predict(image))]
        titles = ("picture", "truth", "prediction")
        draw_samples(self.run.folder / "val_epoch.png", rows, columns=3, titles=titles)

    def draw_if_due(self) -> None:
        """Every 15 seconds, and for no more than a thirtieth of the time."""
        if time.perf_counter() - self.drawn > max(15, 30 * self.seconds):
            self.draw()
