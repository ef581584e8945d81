"""train.py as a process of its own, so that people go on annotating, and what came of it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.annotating.state import State, Workplace
from utils.core.console import UserError
from utils.core.files import replacing

TAIL = 12  # lines of the log that are shown where a run failed
# mIoU of the proposals from which on a network knows the shapes; small crops find them for one that does not.
# It lies between cells and membranes (0.7 after a round) and photographs of 21 classes (0.1 to 0.4).
KNOWN = 0.5


@dataclass
class Training:
    """A running train.py, its run folder and its log. digests: of the labelme files that it knows."""

    process: subprocess.Popen
    folder: Path
    log: Path
    number: int
    digests: dict[str, str]

    def is_running(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """End it. What it learnt since the last round is lost, nothing else."""
        if self.is_running():
            self.process.terminate()
            self.process.wait()


def start_training(
    script: Path, place: Workplace, state: State, minutes: float, device: str, flags: Sequence[str]
) -> Training:
    """Train on the saved pictures, from the weights of the round before if there are any."""
    number = len(state.rounds) + 1
    folder = place.runs / f"round_{number:03d}"
    # Of a round that did not end. It is not resumed: what is saved may be other pictures now.
    shutil.rmtree(folder, ignore_errors=True)
    place.runs.mkdir(parents=True, exist_ok=True)
    warm = ["--model-path", str(place.weights.resolve())] if place.weights.is_file() else []
    if warm and (state.scored is None or state.scored >= KNOWN):
        warm += ["--coarse", "0"]  # in small crops it would forget the fine shapes
    where = ["--voc-root", place.voc.root.resolve(), "--save-dir", place.runs.resolve()]
    settings = ["--run-name", folder.name, "--max-minutes", f"{minutes:.3f}", "--device", device]
    command = [sys.executable, str(script), *map(str, where), *settings, *warm, *flags]
    log = folder.with_suffix(".log")
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
    with log.open("w", encoding="utf-8") as output:
        # A session of its own: Ctrl-C is for the circle, which ends the training itself.
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    return Training(process, folder, log, number, {name: one.digest for name, one in state.saved.items()})


def adopt_weights(place: Workplace, training: Training) -> None:
    """Keep the weights of a run that has ended, and only the newest run. Raises UserError if it failed."""
    best = training.folder / "best.pth"
    if training.process.wait() or not best.is_file():
        lines = training.log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-TAIL:]
        found = f"exit status {training.process.returncode}: " + "\n".join(["…", *lines])
        expected, remedy = "a training that ends well", f"see {training.log}; then run the same command again"
        raise UserError("training-failed", "train.py", found, expected, remedy)
    with replacing(place.weights) as temporary:
        shutil.copyfile(best, temporary)
    for earlier in place.runs.iterdir():
        if earlier.stem != training.folder.name:
            if earlier.is_dir():
                shutil.rmtree(earlier, ignore_errors=True)
            else:
                earlier.unlink(missing_ok=True)
