"""A training as a process of its own, and what its folder says of it. No screen is needed."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from gui.scripts import (
    ENVIRONMENT,
    ScriptError,
    read_failure,
    request_end,
    script_command,
    shown_command,
    split_words,
    unexplained,
)
from utils.core.console import UserError
from utils.core.files import read_record, replacing
from utils.core.locks import is_taken

if TYPE_CHECKING:
    from utils.training.history import Row

RECORD, LOG = "process.json", "train.log"
ASKED = "note: the window asked it to end\n"
MARK = "$ "  # begins the line of the log that says which command follows
ELSEWHERE = "--run-name", "--save-dir", "--resume", "--folds", "--learning-curve", "--overfit"
MOST_RUNS = 200
RECENT = 5  # epochs by which the time left is estimated
Phase = Literal["running", "stopped", "finished", "failed", "unknown"]


@dataclass(frozen=True)
class TrainingSettings:
    """What the window asks for; everything else is chosen by train.py.

    amount: minutes, or passes over the pictures; flags: further flags, as they are typed.
    """

    voc_root: Path
    amount: float = 20
    in_minutes: bool = True
    backbone: str = "plain"
    model_path: Path | None = None
    flags: str = ""
    needed: str = ""  # flags that the check found necessary

    def arguments(self) -> list[str]:
        """Raises UserError for further flags that are unclear, or would lead to other folders."""
        further = split_words(self.flags)
        if elsewhere := [word for word in further if word.split("=")[0] in ELSEWHERE]:
            expected, remedy = "flags of one run in one folder", "use a terminal for these, or leave them out"
            raise UserError("settings-conflict", "further flags", elsewhere[0], expected, remedy)
        length = "--max-minutes" if self.in_minutes else "--epochs"
        words = ["--voc-root", str(self.voc_root), length, f"{self.amount:g}", "--backbone", self.backbone]
        words += ["--model-path", str(self.model_path)] if self.model_path else []
        return words + split_words(self.needed) + further


@dataclass(frozen=True)
class RunState:
    """A run as its folder shows it.

    rows: epochs so far; done: share of the run, 0 … 1, or None; seconds_left: None if unknown; ours: started
    by a window, which can stop it; checkpoint: best.pth, once there; changed: times at which the pictures of
    the run were written, by name; log: what it printed, in all its parts.
    """

    folder: Path
    phase: Phase
    rows: "list[Row]"
    done: float | None
    seconds_left: float | None
    failure: ScriptError | None
    ours: bool
    can_resume: bool
    checkpoint: Path | None
    changed: dict[str, float]
    log: str

    @property
    def is_ending(self) -> bool:
        """Whether it still runs after a window has asked it to end."""
        return self.phase == "running" and ASKED in last_part(self.log)

    @property
    def best(self) -> "Row | None":
        """The epoch of the highest mIoU, if any was validated."""
        return max((row for row in self.rows if row.miou == row.miou), key=lambda row: row.miou, default=None)


class TrainingRun:
    """One run folder. The process goes on when this object and its program end."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.process: subprocess.Popen | None = None

    @classmethod
    def start(cls, settings: TrainingSettings, save_dir: Path, name: str = "") -> "TrainingRun":
        """Raises UserError for a name that is taken or no name of a folder, and as `settings.arguments`."""
        name = name.strip() or datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        if Path(name).name != name or not name.strip("."):
            raise UserError("run-name", name, "a path", "a name of a folder", "choose another name")
        run, arguments = cls(save_dir / name), settings.arguments()
        try:
            run.folder.mkdir(parents=True)
        except FileExistsError:
            if not run._was_refused():
                remedy = "choose another name, or resume that run"
                raise UserError(
                    "run-exists", run.folder, "a folder of this name", "a new name", remedy
                ) from None
        except OSError as error:
            found, expected = f"it cannot be written ({error.strerror})", "a writable folder"
            raise UserError("file-not-writable", run.folder, found, expected, "start elsewhere") from None
        run._begin([*arguments, "--save-dir", save_dir, "--run-name", name])
        return run

    def _was_refused(self) -> bool:
        """Whether the folder holds only what a window wrote for a training that did not begin."""
        return self.folder.is_dir() and {path.name for path in self.folder.iterdir()} == {LOG, RECORD}

    def resume(self) -> None:
        """Go on after the last step that was saved, with the settings that the run had."""
        self._begin(["--resume", self.folder])

    def _begin(self, arguments: Sequence[object]) -> None:
        if self.find_process() or is_taken(self.folder):
            expected, remedy = "a run that has ended", "wait until it has ended"
            raise UserError("folder-in-use", self.folder, "it is running", expected, remedy)
        apart = {"start_new_session": True}
        if os.name == "nt":
            # A console without a window, through which it can be asked to end.
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        with (self.folder / LOG).open("ab") as log:
            log.write(f"{MARK}{shown_command('train.py', arguments)}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                script_command("train.py", arguments),
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **apart,
            )
        started = psutil.Process(self.process.pid).create_time()
        with replacing(self.folder / RECORD) as temporary:
            record = {"pid": self.process.pid, "started": started}
            temporary.write_text(json.dumps(record), encoding="utf-8")

    def find_process(self) -> psutil.Process | None:
        """The process that a window began for this folder, if it still runs. Another may have its number."""
        if self.process:
            self.process.poll()
        record = read_record(self.folder / RECORD)
        try:
            process = psutil.Process(record["pid"])
            same = abs(process.create_time() - record["started"]) < 1
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (KeyError, psutil.Error):
            return None

    def stop(self) -> bool:
        """Ask it to finish its step and save; asked twice, it ends at once. False if it has ended."""
        process = self.find_process()
        if process:
            with (self.folder / LOG).open("a", encoding="utf-8") as log:
                log.write(ASKED)
            request_end(process.pid)
        return process is not None

    def read_log(self) -> str:
        path = self.folder / LOG
        return path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n") if path.is_file() else ""

    def read(self) -> RunState:
        """Raises UserError for files that are damaged."""
        from utils.training.history import read_history

        ours = self.find_process() is not None
        rows = read_history(self.folder / "history.csv")
        log = self.read_log()
        running = ours or is_taken(self.folder)
        phase, failure = ("running", None) if running else judge_end(last_part(log))
        done, left = estimate(read_record(self.folder / "config.json"), rows)
        if phase == "unknown" and done is not None and left == 0:
            phase = "finished"
        pictures = [self.folder / name for name in ("val_epoch.png", "train_batch.png")]
        best = self.folder / "best.pth"
        return RunState(
            self.folder,
            phase,
            rows,
            1.0 if phase == "finished" else done,
            left if running else None,
            failure,
            ours,
            not running and phase != "finished" and (self.folder / "last.pth").is_file(),
            best if best.is_file() else None,
            {path.name: path.stat().st_mtime for path in pictures if path.is_file()},
            log,
        )


def last_part(log: str) -> str:
    """What a run printed since it was started or resumed last."""
    return log.rpartition(f"\n{MARK}")[2].removeprefix(MARK)


def judge_end(output: str) -> tuple[Phase, ScriptError | None]:
    """How a training ended, from what it printed last. `unknown` for runs without a log."""
    if failure := read_failure("train.py", output):
        return "failed", failure
    if "\nbest mIoU" in output:
        return "finished", None
    if ASKED in output or "note: saved in epoch" in output or "note: interrupted" in output:
        return "stopped", None
    if not output:
        return "unknown", None
    return "failed", unexplained("train.py", "the process is gone, and said nothing", output)


def estimate(config: dict, rows: "Sequence[Row]") -> tuple[float | None, float | None]:
    """Share of the run that is done, and seconds left, from its settings and its epochs so far."""
    spent = sum(row.seconds for row in rows)
    if minutes := config.get("max_minutes"):
        return min(spent / (60 * minutes), 1.0), max(60 * minutes - spent, 0.0)
    if not rows or not config.get("epochs"):
        return None, None
    recent = rows[-RECENT:]
    left = max(config["epochs"] - rows[-1].epoch, 0)
    return rows[-1].epoch / config["epochs"], left * sum(row.seconds for row in recent) / len(recent)


def list_runs(save_dir: Path) -> list[TrainingRun]:
    """Runs of any origin, the latest first."""
    names = ("history.csv", LOG, "config.json")
    if not save_dir.is_dir():
        return []
    touched = {}
    for folder in save_dir.iterdir():
        times = [path.stat().st_mtime for name in names if (path := folder / name).is_file()]
        if times:
            touched[folder] = max(times)
    return [TrainingRun(folder) for folder in sorted(touched, key=touched.get, reverse=True)[:MOST_RUNS]]
