"""The correction circle with a simulated annotator: how much is corrected until the network is good enough?

python benchmarks/annotating.py --voc-roots VOCdevkit/msrc VOCdevkit/isbi --rounds 8
The annotator has dense masks and makes the whole mask of a picture right. That costs the pixels whose class
he changes: of a proposal those that are wrong; from nothing those that are not class 0, or all of them with
--dense, where class 0 is no background but a class that has to be drawn as well. 255 costs nothing.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copy2
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import recipes
from measuring import choose_folder, describe_machine, markdown, report

import annotate
from unet import Unet
from utils.annotating.corrections import read_proposal
from utils.annotating.state import State, Workplace, read_state
from utils.core.console import run_script
from utils.core.device import choose_device
from utils.core.files import write_lines
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_mask
from utils.labelme.writing import write_labelme
from utils.scoring.confusion import ConfusionMatrix
from utils.voc.folder import VocFolder

# How pictures are chosen, and which of the costs of a course counts. From nothing in random order the
# networks are those of the random circle: only the cost differs.
WAYS = {
    "uncertain, proposals": ("uncertain", "corrected"),
    "random, proposals": ("random", "corrected"),
    "random, from nothing": ("random", "drawn"),
}


@dataclass
class Config:
    """Settings of the benchmark."""

    voc_roots: tuple[Path, ...] = ()  # VOC folders of dense masks, with the splits train and val
    output: Path | None = None  # Markdown file to write; None: print only
    keep: Path | None = None  # folder for the circles, to look at; None: removed at the end
    rounds: int = 8  # of each circle, at most
    pictures: int = 5  # per round
    minutes: float = 0.9  # per round
    full_minutes: float | None = None  # of the training on all pictures; None: as long as all rounds train
    then: tuple[int, ...] = ()  # numbers of corrected pictures on which it is trained as long, from nothing
    enough: float = 0.95  # share of the mIoU on all pictures, at which a circle ends
    seeds: int = 3  # of each circle
    dense: bool = False  # class 0 has to be drawn, too, where the annotation begins from nothing
    flags: str = ""  # of train.py
    device: str = "auto"  # auto, cpu, cuda
    quick: bool = False  # drawn pictures, one round, one seed: does it run?


@dataclass
class Course:
    """After each round of a circle: pictures, score, costs in pixels with proposals and from nothing."""

    pictures: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    corrected: list[int] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    trained: dict[int, float] = field(default_factory=dict)  # number of pictures → score of a long training

    def cost(self, costs: list[int], wanted: float) -> float:
        """Pixels until a score is reached, interpolated between two rounds; NaN if it never is."""
        best = np.maximum.accumulate(self.scores)
        after = int(np.argmax(best >= wanted))
        if best[after] < wanted:
            return np.nan
        if after == 0:
            return costs[0]
        return float(np.interp(wanted, best[after - 1 : after + 1], costs[after - 1 : after + 1]))


def correct(place: Workplace, state: State, dense: VocFolder, whole: bool) -> tuple[int, int]:
    """Save what is right for all pictures that wait. Returns pixels changed, and to draw from nothing."""
    names, changed, drawn = dense.read_class_names(), 0, 0
    for name in state.next:
        truth, picture = read_mask(dense.mask_path(name)), dense.image_path(name)
        proposed = read_proposal(place, state, name, names)
        known = truth != IGNORE_INDEX
        nothing = np.count_nonzero(known if whole else known & (truth != 0))
        drawn += nothing
        changed += nothing if proposed is None else np.count_nonzero(known & (proposed != truth))
        write_labelme(place.labelme(name), picture.name, truth, names)
    return changed, drawn


def score(weights: Path, folder: VocFolder, device: str) -> float:
    """mIoU of the split val."""
    unet, names = Unet(weights, device), folder.read_class_names()
    # The circle's classes are those of labelme: their background has another name, and some may be missing.
    table = np.array([0, *(names.index(name) for name in unet.class_names[1:])], np.uint8)
    matrix = ConfusionMatrix(len(names))
    for name in folder.read_split("val"):
        matrix.update(read_mask(folder.mask_path(name)), table[unet.predict(folder.image_path(name))])
    return matrix.scores().miou


def train_on_corrected(config: Config, dense: VocFolder, state: State, seed: int) -> float:
    """mIoU of the split val after a new training, as long as that on all pictures, on what is corrected."""
    with TemporaryDirectory() as directory:
        folder = VocFolder(Path(directory) / dense.root.name)
        val = state.names("val")
        splits = {"train": [name for name in state.saved if name not in val], "val": val}
        recipes.copy_splits(dense, folder, splits | {"test": dense.read_split("val")})
        write_lines(folder.class_names_path, dense.read_class_names())
        options = recipes.Config(device=config.device, quick=config.quick)
        return recipes.train_ours(options, folder, full_minutes(config), config.flags, seed)[0].miou


def full_minutes(config: Config) -> float:
    """Of a training on all pictures."""
    training = annotate.TRAINING["random"] * config.minutes - annotate.STARTING / 60
    return config.full_minutes or max(config.rounds * training, 0.02)


def go_round(config: Config, dense: VocFolder, root: Path, choice: str, seed: int, wanted: float) -> Course:
    """A circle from no annotation at all until the score is reached, or the rounds are over."""
    place, course = Workplace(root), Course()
    root.mkdir(parents=True)
    for name in dense.read_split("train"):
        copy2(dense.image_path(name), root)
    settings = annotate.Config(root, tuple(dense.read_class_names()[1:]), choice=choice, seed=seed)
    settings.pictures_per_round, settings.minutes_per_round = config.pictures, config.minutes
    settings.without_labelme, settings.train_flags = True, config.flags
    settings.device = config.device
    annotate.main(settings)
    corrected = drawn = 0
    for number in range(config.rounds):
        state = read_state(place)
        if not state.next:
            break
        costs = correct(place, state, dense, config.dense)
        corrected, drawn = corrected + costs[0], drawn + costs[1]
        start = time.perf_counter()
        annotate.main(settings)
        course.seconds.append(time.perf_counter() - start)
        course.pictures.append(len(read_state(place).saved))
        course.scores.append(score(place.weights, dense, config.device))
        course.corrected.append(corrected)
        course.drawn.append(drawn)
        told = f"{corrected} pixels corrected, {drawn} from nothing, {course.seconds[-1]:.0f} s"
        pictures, miou = course.pictures[-1], course.scores[-1]
        print(
            f"{dense.root.name} {choice} {seed} {number + 1}: {pictures}, mIoU {miou:.4f}, {told}", flush=True
        )
        if pictures in config.then and choice == "random":
            course.trained[pictures] = train_on_corrected(config, dense, read_state(place), seed)
            print(f"trained on these {pictures}: mIoU {course.trained[pictures]:.4f}", flush=True)
        if miou >= wanted:
            break
    return course


def compare(config: Config, dense: VocFolder, root: Path) -> list[list[str]]:
    """Rows of the table: the circle with each choice, and annotation from nothing picture by picture."""
    options = recipes.Config(device=config.device, quick=config.quick)
    full = [
        recipes.train_ours(options, dense, full_minutes(config), config.flags, seed)[0].miou
        for seed in range(config.seeds)
    ]
    wanted = config.enough * float(np.mean(full))
    print(f"{dense.root.name}: all pictures {np.mean(full):.4f}, wanted {wanted:.4f}", flush=True)
    courses = {
        choice: [
            go_round(config, dense, root / dense.root.name / f"{choice}_{seed}", choice, seed, wanted)
            for seed in range(config.seeds)
        ]
        for choice in ("uncertain", "random")
    }
    found = {
        way: np.array([one.cost(getattr(one, costs), wanted) for one in courses[choice]])
        for way, (choice, costs) in WAYS.items()
    }
    nothing, rows = found["random, from nothing"], []
    for kind, (choice, _) in WAYS.items():
        each = courses[choice]
        reached = np.isfinite(found[kind])
        both = reached & np.isfinite(nothing)
        pictures = [one.pictures[-1] for one in each]
        ratio = f"{found[kind][both].mean() / nothing[both].mean():.2f}" if both.any() else "–"
        pixels = f"{found[kind][reached].mean() / 1e3:.0f}" if reached.any() else "–"
        seconds = max(max(one.seconds) for one in each)
        best = np.mean([max(one.scores) for one in each])
        row = [f"{np.mean(full):.3f}", f"{best:.3f}", f"{reached.sum()} of {len(each)}"]
        row += [f"{min(pictures)} … {max(pictures)}", pixels, ratio, f"{seconds:.0f}"]
        rows.append([f"{dense.root.name}: {kind}", *row])
    return rows + rows_of_trained(config, dense.root.name, courses["random"], wanted)


def rows_of_trained(config: Config, name: str, courses: Sequence[Course], wanted: float) -> list[list[str]]:
    """Of the random circles: scores of long trainings on what is corrected, and what that has cost."""
    rows = []
    for count in config.then:
        each = [(one, one.pictures.index(count)) for one in courses if count in one.trained]
        if not each:
            continue
        scores = np.array([one.trained[count] for one, _ in each])
        corrected = np.array([one.corrected[at] for one, at in each])
        ratio = corrected.sum() / sum(one.drawn[at] for one, at in each)
        row = ["–", f"{scores.mean():.3f}", f"{np.count_nonzero(scores >= wanted)} of {len(each)}"]
        kind = f"{name}: random, proposals, then {full_minutes(config):g} minutes"
        rows.append([kind, *row, str(count), f"{corrected.mean() / 1e3:.0f}", f"{ratio:.2f}", "–"])
    return rows


def main(config: Config) -> None:
    with TemporaryDirectory() as directory:
        roots, place = config.voc_roots or (None,), config.keep or Path(directory)
        if config.quick:
            config.rounds, config.seeds, config.pictures, config.minutes = 1, 1, 1, 0.01
            config.then = (1,)
            config.flags = "--base-channels 4 --depth 2"
        folders = [choose_folder(root, config.quick, place / "drawn") for root in roots]
        rows = [row for folder in folders for row in compare(config, folder, place)]
    header = ["data and way", "mIoU, all pictures", "highest", "enough", "pictures", "1000 pixels"]
    header += ["of from nothing", "slowest round, s"]
    machine = describe_machine(choose_device(config.device))
    intro = (
        f"`python benchmarks/annotating.py`: {config.pictures} pictures and {config.minutes:g} minutes per "
    )
    intro += f"round, {config.rounds} rounds at most, {config.seeds} seeds; {machine}. Enough is "
    intro += f"{config.enough:.0%} of the mIoU after a training on all pictures. Scores of the split val."
    report("Annotating", f"{intro}\n\n{markdown(header, rows)}", config.output)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
