"""A run: the weights it starts from, its folder, its resumption, and the log and pictures it writes."""

import csv
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import numpy as np
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from utils.core.console import UserError, counted, note, quoted, warn
from utils.core.files import read_record, replacing
from utils.images.normalisation import Normalisation
from utils.images.plots import draw_curves, draw_samples
from utils.models.checkpoint import Checkpoint, save_checkpoint
from utils.models.weights import has_imagenet_weights, load_matching, load_pretrained, read_model
from utils.scoring.confusion import Scores
from utils.training.data import Data
from utils.training.engine import Trainer
from utils.voc.scaling import widest_range


@dataclass(frozen=True)
class Start:
    """path, weights: checkpoint to fine-tune; last: that of a run to resume, which has its own weights."""

    path: Path | None = None
    weights: Checkpoint | None = None
    last: Checkpoint | None = None

    def trained_on(self, data: Data) -> list[str]:
        """Names of the pictures of this folder that the weights will have seen, in earlier runs, too."""
        before = self.last or self.weights
        same = before and Path(before.settings.get("voc_root", "")).resolve() == data.folder.root.resolve()
        return sorted({*data.train, *(before.trained_on if same else ())})

    def crops(self, crop: tuple[int, int] | None, batch_size: int | None) -> tuple:
        """Crop (height, width) and crops per step as given, or else those of the run to resume, if any."""
        before = self.last.settings if self.last else {}
        known = before.get("input_shape")
        return crop or (tuple(known) if known else None), batch_size or before.get("batch_size")


def read_start(model_path: Path | None, resume: Path | None) -> Start:
    """Read each checkpoint once. Raises UserError if one is missing or damaged."""
    weights = read_model(model_path) if model_path else None
    return Start(model_path, weights, read_model(resume) if resume else None)


def load_start(
    net: nn.Module, start: Start, data: Data, backbone: str, in_channels: int, pretrained: bool
) -> Normalisation:
    """Load the weights into the network. Returns their normalisation; new weights get that of the data.

    A resumed run keeps its normalisation, even if the data have grown since; `resume_run` loads its weights.
    """
    range_16bit, scaling = data.pictures.range_16bit, data.folder.root / "scaling.json"
    # The numbers that became 0 and 65535 when pictures of floats were imported.
    float_range = widest_range(scaling) if scaling.is_file() else None
    if start.weights and not start.last:
        load_matching(net, start.weights, start.path, data.class_names)
    known = start.last or start.weights
    if known and len(known.normalisation["mean"]) == in_channels:
        normalisation = Normalisation(**known.normalisation)
        other_scale = float_range and tuple(normalisation.range_float or ()) != float_range
        if normalisation.range_16bit is None or other_scale:
            normalisation = replace(normalisation, range_16bit=range_16bit)
    else:
        normalisation = data.pictures.normalisation(in_channels)
        if pretrained and not known and has_imagenet_weights(backbone):
            needed = load_pretrained(net, backbone, in_channels)
            normalisation = replace(needed, range_16bit=range_16bit) if needed else normalisation
    return replace(normalisation, range_float=float_range) if float_range else normalisation


@dataclass(frozen=True)
class Row:
    """One epoch. lr: of its last step; losses: means; miou: 0…1; seconds: of training and validation.

    val_loss and miou: NaN, in the file nothing, after an epoch without validation.
    """

    epoch: int
    lr: float
    train_loss: float
    val_loss: float
    miou: float
    seconds: float
    images_per_second: float


class History:
    """history.csv of a run folder, which begins with the rows of an earlier part of the run."""

    def __init__(self, path: Path, rows: Sequence[Row] = ()):
        self.path, self.rows = path, [*rows]

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        try:
            with replacing(self.path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(field.name for field in fields(Row))
                for values in map(astuple, self.rows):
                    writer.writerow(map(format_cell, values))
        except UserError as error:
            # On Windows a spreadsheet program locks the file that it shows: no reason to end a training.
            warn(f"{self.path}: {error.found}; the next epoch writes it again")

    def draw(self) -> None:
        """loss.png and miou.png beside the CSV."""
        curves = {field.name: [getattr(row, field.name) for row in self.rows] for field in fields(Row)}
        losses = {"training": curves["train_loss"], "validation": curves["val_loss"]}
        draw_curves(self.path.with_name("loss.png"), curves["epoch"], losses, "loss")
        scores = {"validation": curves["miou"]}
        draw_curves(self.path.with_name("miou.png"), curves["epoch"], scores, "mIoU", top=1.0)


def format_cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}" if isinstance(value, float) else str(value)


def read_history(path: Path) -> list[Row]:
    """Rows of a history.csv; empty if there is no file. Raises UserError for a damaged one."""
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        return [
            Row(int(row.pop("epoch")), **{k: float(v or math.nan) for k, v in row.items()}) for row in rows
        ]
    except (ValueError, TypeError, KeyError, csv.Error):
        remedy = "move the file away; the run starts a new one"
        raise UserError("history-damaged", path, "a damaged table", "that of train.py", remedy) from None


@dataclass
class Run:
    """A run folder and what is known of the run so far."""

    folder: Path
    checkpoint: Checkpoint  # describes the network; its weights and scores are those of the last epoch
    history: History
    done: int = 0  # epochs of earlier parts of the run
    best: float = math.nan  # highest mIoU
    best_scores: Scores | None = None  # of that epoch; None: it is of an older release's part of the run

    def __post_init__(self) -> None:
        self.board = SummaryWriter(str(self.folder))

    def record(self, row: Row, scores: Scores | None, trainer: Trainer) -> None:
        """Write the history, the checkpoints and the TensorBoard events of an epoch, and print its line.

        scores: None after an epoch without validation.
        """
        improved = scores is not None and (math.isnan(self.best) or row.miou > self.best)
        if improved:
            self.best, self.best_scores = row.miou, scores
        self.history.add(row)
        self._save(row, trainer, improved)
        self.board.add_scalar("loss/training", row.train_loss, row.epoch)
        self.board.add_scalar("learning rate", row.lr, row.epoch)
        measured = 34 * " "
        if scores:
            self.board.add_scalar("loss/validation", row.val_loss, row.epoch)
            self.board.add_scalar("mIoU", row.miou, row.epoch)
            measured = f"val_loss {row.val_loss:.4f}  mIoU {row.miou:7.2%}{' *' if improved else '  '}"
        print(f"epoch {row.epoch:4d}  loss {row.train_loss:.4f}  {measured}  {row.seconds:5.1f} s")

    def _save(self, row: Row, trainer: Trainer, improved: bool) -> None:
        """last.pth with the training state; best.pth, weights and metadata only, if the score improved."""
        checkpoint = self.checkpoint
        checkpoint.model = trainer.average.module.state_dict()
        checkpoint.scores = {"epoch": row.epoch, "miou": row.miou, "val_loss": row.val_loss}
        checkpoint.training = None
        if improved:
            save_checkpoint(self.folder / "best.pth", checkpoint)
        # The rows too: history.csv may be of another epoch than this file after a crash, or locked.
        rows = [astuple(row) for row in self.history.rows]
        matrix = None if self.best_scores is None else self.best_scores.matrix.tolist()
        progress = {"epoch": row.epoch, "best": self.best, "best_matrix": matrix, "history": rows}
        checkpoint.training = {**progress, **trainer.state()}
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
    rows = earlier_rows(path, last)
    trainer.load_state(last.training, last.model)
    # The folder stays. An older release may not have known these settings; then the defaults hold.
    kept = {name: last.settings[name] for name in ("save_dir", "run_name") if name in last.settings}
    checkpoint.settings |= kept
    now = {name: value for name, value in checkpoint.settings.items() if name != "resume"}
    before = {name: old for name, old in last.settings.items() if name in now and old != now[name]}
    earlier = read_record(path.with_name("config.json")).get("before", {})
    if before:
        changes = "".join(f"\n  {name}: {old} → {now[name]}" for name, old in before.items())
        note(f"from epoch {done + 1} on, other settings than before:{changes}")
        earlier[f"epoch {done + 1}"] = before
    write_config(path.parent, checkpoint.settings | ({"before": earlier} if earlier else {}))
    history, matrix = History(path.with_name("history.csv"), rows), last.training.get("best_matrix")
    scores = None if matrix is None else Scores(np.array(matrix, np.int64))
    if trainer.schedule.budget:
        trainer.schedule.budget.deduct(history.seconds)
    return Run(path.parent, checkpoint, history, done, last.training["best"], scores)


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
    before, now = fixed_settings(last), fixed_settings(checkpoint)
    differing = [name for name in now if before[name] != now[name]]
    if differing:
        found, wanted = (", ".join(f"{name} {run[name]}" for name in differing) for run in (before, now))
        remedy = "resume with that run's config.json, or start from its weights with --model-path"
        raise UserError("resume-other-run", path, f"a run with {found}", f"one with {wanted}", remedy)


def fixed_settings(checkpoint: Checkpoint) -> dict[str, object]:
    """What must not change within a run."""
    defaults = {"fold": None, "optimizer": "adamw", "fit": "crop"}
    chosen = {name: checkpoint.settings.get(name, default) for name, default in defaults.items()}
    return {**vars(checkpoint.network), "classes": ", ".join(checkpoint.class_names), **chosen}


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
        hint = f"Saved up to the last finished epoch. Resume with the same flags and --resume {quoted(last)}"
        note(hint if last.exists() else "Nothing saved: no epoch finished.")
        raise


class RunPictures:
    """Curves, and validation pictures with truth and prediction. `seconds`: time to draw them once."""

    def __init__(self, run: Run, predict: Callable[[np.ndarray], np.ndarray], data: Data):
        self.run, self.predict, self.data = run, predict, data
        self.seconds, self.drawn = 0.0, time.perf_counter()

    def draw(self) -> None:
        """loss.png, miou.png and val_epoch.png."""
        start = time.perf_counter()
        self.run.history.draw()
        rows = []
        for name in self.data.val[:4]:
            image, mask = self.data.read_pair(name)
            rows += [(image, None), (image, mask), (image, self.predict(image))]
        titles = ("picture", "truth", "prediction")
        draw_samples(self.run.folder / "val_epoch.png", rows, columns=3, titles=titles)
        self.drawn = time.perf_counter()
        self.seconds = self.drawn - start

    def draw_if_due(self) -> None:
        """Every 15 seconds, and for no more than a thirtieth of the time."""
        if time.perf_counter() - self.drawn > max(15, 30 * self.seconds):
            self.draw()
