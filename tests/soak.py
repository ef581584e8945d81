"""Long trials, outside the suite: python -m tests.soak kills (or checkpoints, masks, labelme) --count 50.

kills: a training is killed (kill -9) at random instants, resumed, killed again …, and has to end with the
weights, averages, history and best score of one that was never stopped. 50 kills take about 5 minutes.
checkpoints, masks, labelme: files with random bytes changed, cut, doubled or swapped. Each has to be read as
it was written or refused with a message, in bounded memory. 10,000 take 1 to 5 minutes.
"""

import io
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import torch
import tyro

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from runs_compared import compare_runs
from scripts import make_voc, save_untrained, tiny

from train import Config
from train import main as train_py
from utils.core.console import UserError
from utils.images.reading import read_mask
from utils.images.writing import write_mask
from utils.labelme.painting import rasterise
from utils.labelme.reading import read_annotation
from utils.models.checkpoint import load_checkpoint
from utils.models.schema import content_digest

EXTRA_MEMORY = 1 << 30  # bytes that reading a mutated file of some kilobytes may add, at most


def main(
    trial: tyro.conf.Positional[Literal["kills", "checkpoints", "masks", "labelme"]],
    count: int = 10_000,
    seed: int = 0,
) -> None:
    """Run one of the trials; exit status 1 if anything survived that should not have.

    Args:
        trial: what is tried
        count: mutations, or kills (then 50 unless it is given)
        seed: of the random numbers
    """
    with tempfile.TemporaryDirectory() as name:
        folder, rng, began = Path(name), random.Random(seed), time.perf_counter()
        if trial == "kills":
            count = 50 if count == 10_000 else count
            found = try_kills(folder, count, rng)
        else:
            found = try_mutations(folder, READERS[trial], count, rng)
    print(f"{trial}: {count} in {time.perf_counter() - began:.0f} s")
    for outcome, number in found.most_common():
        print(f"  {number:6d}  {outcome}")
    sys.exit(any(outcome.startswith("FAULT") for outcome in found))


def try_kills(folder: Path, count: int, rng: random.Random) -> Counter:
    """Chains of kills; each chain ends when its run does, and is compared with a run that nobody stopped."""
    voc, settings = make_voc(folder / "voc", count=6), {"epochs": 12, "batch_size": 1, "dropout": 0.5}
    began = time.perf_counter()
    assert train(tiny(voc, folder / "whole", **settings)) == 0
    seconds, found, chain = time.perf_counter() - began, Counter(), 0
    while found["kills"] < count:
        logs, chain, done, status = folder / f"chain{chain}", chain + 1, 0, None
        last = logs / "run" / "last.pth"
        while status != 0:
            config = tiny(voc, logs, resume=last.parent if last.exists() else None, **settings)
            status = train(config, rng.uniform(0, 0.7) * seconds)
            if last.exists():
                try:
                    now = load_checkpoint(last).training["epoch"]
                    found["FAULT: epochs lost"] += now < done
                    done = now
                except UserError as error:
                    found[f"FAULT: last.pth after a kill: {error.code}"] += 1
            if status == signal.SIGKILL:
                found["kills"] += 1
                found["kills while a file was written"] += any(last.parent.glob(".*.writing*"))
            elif status:
                found[f"FAULT: exit status {status}"] += 1
                break
            print(f"\r{found['kills']} kills, {chain} chains", end="", file=sys.stderr)
        differing = compare_runs(folder / "whole" / "run", logs / "run")
        found[f"FAULT: other {differing}" if differing else "chains that ended bit-identical"] += 1
    return +found


def train(config: Config, kill_after: float = math.inf) -> int:
    """0 after a whole run, else the number of the signal that ended it.

    In a copy of this process (Linux, macOS), so that Python and PyTorch need not start each time.
    """
    sys.stdout.flush()
    child, began = os.fork(), time.perf_counter()
    if not child:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        try:
            train_py(config)
        except BaseException:  # noqa: BLE001  (of a copy of this process, which must not go on)
            (config.save_dir / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            os._exit(1)
        os._exit(0)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status and os.WIFEXITED(status):
                print((config.save_dir / "error.txt").read_text("utf-8"), file=sys.stderr)
            return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
        if time.perf_counter() - began > kill_after:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to four random changes: a bit or byte, a part cut out, doubled or filled with one value."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not changed:
            break
        place, length = rng.randrange(len(changed)), rng.choice([1, 4, 64, 1024])
        kind = rng.choice(["bit", "byte", "cut", "double", "fill", "end"])
        if kind == "bit":
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == "byte":
            changed[place] = rng.randrange(256)
        elif kind == "cut":
            del changed[place : place + length]
        elif kind == "double":
            changed[place:place] = changed[place : place + length]
        elif kind == "fill":
            changed[place : place + length] = bytes([rng.randrange(256)]) * len(
                changed[place : place + length]
            )
        elif rng.random() < 0.2:
            del changed[place:]
    return bytes(changed)


def try_mutations(
    folder: Path, reader: Callable[[Path], tuple[Path, Callable[[], object]]], count: int, rng: random.Random
) -> Counter:
    """Outcomes of reading mutated files: refusals by code, and faults."""
    path, read = reader(folder)
    original, trace = path.read_bytes(), set(folder.iterdir())
    whole, found, process = read(), Counter(), psutil.Process()
    for number in range(count):
        path.write_bytes(mutate(original, rng))
        before, began = process.memory_info().rss, time.perf_counter()
        try:
            outcome = "read as it was written" if read() == whole else reader.__doc__
        except UserError as error:
            outcome = f"refused: {error.code}"
        except Exception as error:  # noqa: BLE001  (what the trial looks for)
            outcome = f"FAULT: {type(error).__name__}: {str(error)[:100]}"
            (Path.cwd() / f"fault_{number}{path.suffix}").write_bytes(path.read_bytes())
        found[outcome] += 1
        found["FAULT: memory"] += process.memory_info().rss - before > EXTRA_MEMORY
        found["FAULT: more than 10 s"] += time.perf_counter() - began > 10
        found["FAULT: a file was made"] += set(folder.iterdir()) != trace
    return +found


def checkpoints(folder: Path) -> tuple[Path, Callable[[], object]]:
    """FAULT: read with other content"""
    path = save_untrained(folder / "net.pth")

    def read() -> str:
        checkpoint = load_checkpoint(path)
        plain = {name: value for name, value in vars(checkpoint).items() if name != "network"}
        return content_digest(plain) + str(checkpoint.network)

    return path, read


def masks(folder: Path) -> tuple[Path, Callable[[], object]]:
    """read as another mask (a PNG's checksums are left to its decoder)"""
    path = folder / "mask.png"
    write_mask(path, np.random.default_rng(0).integers(0, 3, (40, 50)).astype(np.uint8))
    return path, lambda: read_mask(path).tobytes()


def labelme(folder: Path) -> tuple[Path, Callable[[], object]]:
    """read with other shapes (JSON has no checksum)"""
    from PIL import Image

    Image.fromarray(np.zeros((40, 50), np.uint8)).save(folder / "a.png")
    shapes = [
        {"label": "cell", "points": [[3, 4], [30, 8], [20, 30.5]], "group_id": None, "shape_type": "polygon"},
        {"label": "细胞", "points": [[9, 9], [14, 9]], "group_id": 1, "shape_type": "circle", "flags": {}},
    ]
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": "a.png", "imageData": None}
    text = io.StringIO()
    json.dump({**content, "imageHeight": 40, "imageWidth": 50}, text, ensure_ascii=False)
    path = folder / "a.json"
    path.write_text(text.getvalue(), encoding="utf-8")

    def read() -> bytes:
        annotation = read_annotation(path)
        names = sorted({shape.label for shape in annotation.shapes})
        values = {name: number for number, name in enumerate(names, 1)}
        return (
            rasterise(annotation.shapes, annotation.image.shape[:2], values).tobytes() + str(names).encode()
        )

    return path, read


READERS = {"checkpoints": checkpoints, "masks": masks, "labelme": labelme}


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(main)
