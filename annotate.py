"""The correction circle: choose pictures, propose their annotation, train on what you corrected, again."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from unet import Unet
from utils.annotating.choice import Choice, choose
from utils.annotating.corrections import forget, take_saved, withdraw, write_labels
from utils.annotating.curve import draw_curve
from utils.annotating.pool import QUIET, Look, Watcher
from utils.annotating.proposals import describe_saved, look_through, propose
from utils.annotating.state import Round, State, Workplace, read_state
from utils.annotating.training import Training, adopt_weights, start_training
from utils.core.console import UserError, counted, note, quoted, run_script, warn
from utils.core.locks import locked
from utils.core.settings import check_settings
from utils.models.checkpoint import load_checkpoint
from utils.voc.names import list_some

HERE = Path(__file__).parent
# Shares of a round: training, by the choice, and until when candidates are looked at; what is left writes
# the proposals.
TRAINING, LOOKING = {"random": 0.85, "uncertain": 0.75}, 0.9
STARTING = 10.0  # seconds until a process of train.py has read its libraries and its data
OURS = [
    "--voc-root",
    "--save-dir",
    "--run-name",
    "--model-path",
    "--resume",
    "--max-minutes",
    "--device",
    "--seed",
]
OURS += ["--fold", "--folds", "--learning-curve", "--overfit"]
FIRST_LOOK = 20.0  # seconds for the first choice, which has no network


@dataclass
class Config:
    """Settings of the circle. Run again, it goes on where it ended."""

    input: Path | None = None  # folder of your pictures; labelme files lie beside them, the rest in annotate/
    classes: tuple[str, ...] = ()  # names of the classes without the background; none: the labels you draw
    pictures_per_round: Annotated[int, Ge(1)] = 5  # pictures that wait to be corrected
    minutes_per_round: Annotated[float, Gt(0)] = 0.9  # training, looking through the pictures, proposals
    choice: Choice = "random"  # or uncertain: class-balanced uncertainty times diversity, no better so far
    without_labelme: bool = False  # one round on what is saved, then say what is to be corrected next
    train_flags: str = ""  # further flags of train.py: --train-flags="--backbone resnet50"
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    seed: Annotated[int, Ge(0)] = 0  # of the first choice, of random choices and of the training


@dataclass
class Circle:
    """A circle at work."""

    config: Config
    place: Workplace
    state: State
    watcher: Watcher
    command: str
    training: Training | None = None
    labelme: subprocess.Popen | None = None
    refused: dict[str, str] = field(default_factory=dict)  # what was saved when a conversion failed
    began: float = 0.0  # the clock when the round began

    def look(self) -> Look:
        return self.watcher.look(self.state, QUIET if self.labelme else 0.0)

    def take(self, look: Look) -> None:
        self.began = time.perf_counter()
        take_saved(self.place, self.state, look, self.command)

    def rng(self) -> np.random.Generator:
        return np.random.default_rng((self.config.seed, len(self.state.rounds)))


def main(config: Config) -> None:
    check_settings(config)
    if config.input is None:
        command = "python annotate.py --input FOLDER"
        raise UserError("input-missing", "--input", "nothing", "a folder of pictures", command)
    split_flags(config.train_flags)
    place = Workplace(config.input)
    words = f"python annotate.py --input {quoted(config.input)}"
    circle = Circle(config, place, State(), Watcher(place), words)
    circle.look()  # Raises UserError for a folder without pictures, before anything is written.
    with locked(place.home, "go on in the window where it runs, or end it there first"):
        circle.state = read_state(place)
        if config.classes:
            refuse_other_order(place, config.classes)
            write_labels(place, config.classes)
        if config.without_labelme or not can_show():
            run_round(circle)
        else:
            run_beside_labelme(circle)


def split_flags(text: str) -> list[str]:
    """The words of --train-flags. Raises UserError for open quotes, and for flags of ours."""
    try:
        words = shlex.split(text, posix=os.name != "nt")
    except ValueError as error:
        expected, remedy = "words as in a terminal", "close the quotation marks"
        raise UserError("words-unclear", "--train-flags", str(error), expected, remedy) from None
    if ours := [word for word in words if word.split("=")[0].replace("_", "-") in OURS]:
        expected, remedy = "flags that leave place and length of a run alone", "leave it out"
        raise UserError("settings-conflict", "--train-flags", ours[0], expected, remedy)
    return words


def refuse_other_order(place: Workplace, classes: Sequence[str]) -> None:
    """Raises UserError for classes in another order than the masks have them."""
    known = (place.voc.read_class_names() or [])[1:]
    if known != list(classes)[: len(known)]:
        found, expected = f"the order {', '.join(classes)}", f"{', '.join(known)}, as the masks have it"
        remedy = "leave --classes out, or add new names behind the others"
        raise UserError("class-order", "--classes", found, expected, remedy)


def can_show() -> bool:
    """Whether labelme can be opened here. Says why not."""
    if find_spec("labelme") is None:
        note("labelme is not installed (pip install labelme): one round without it")
        return False
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        note("there is no screen: one round without labelme")
        return False
    return True


def run_round(circle: Circle) -> None:
    """One round on what is saved now, and what to correct next."""
    look = circle.look()
    if look.saved:
        circle.take(look)
    if look.saved and not circle.state.is_trained():
        training = begin_round(circle)
        try:
            training.process.wait()
        finally:
            training.stop()
        end_round(circle)
    elif not circle.state.next:
        choose_next(circle, FIRST_LOOK)
    elif look.saved:
        note("nothing was saved since the last round")
    tell_next(circle)


def run_beside_labelme(circle: Circle) -> None:
    """Rounds in the background while labelme is open, and one more after it was closed."""
    look = circle.look()
    if not look.saved and not circle.state.next:
        choose_next(circle, FIRST_LOOK)
    circle.labelme = start_labelme(circle.place)
    tell_next(circle)
    print("labelme is open. Ctrl-C here, or closing labelme, ends the circle; the same command goes on")
    try:
        while circle.labelme.poll() is None or circle.training:
            step(circle)
            time.sleep(0.5)
        circle.labelme = None
        while step(circle) or circle.training:
            time.sleep(0.2)
    finally:
        if circle.training:
            circle.training.stop()
    tell_next(circle)


def step(circle: Circle) -> bool:
    """Begin a round if something new was saved, or end one whose training is over. Returns whether it did."""
    if circle.training:
        if circle.training.is_running():
            return False
        end_round(circle)
        tell_next(circle)
        return True
    look = circle.look()
    if not look.saved or look.saved == circle.refused:
        return False
    try:
        circle.take(look)
    except UserError as error:
        warn(f"not taken as long as this is so:\n{error}")
        circle.refused = look.saved
        return False
    if circle.state.is_trained():
        circle.refused = look.saved
        return False
    begin_round(circle)
    return True


def begin_round(circle: Circle) -> Training:
    """Start the training of the next round on the pictures that were taken."""
    config, state = circle.config, circle.state
    number = len(state.rounds) + 1
    minutes = max(TRAINING[config.choice] * config.minutes_per_round - STARTING / 60, 0.02)
    flags = ["--seed", str(config.seed), *split_flags(config.train_flags)]
    print(f"round {number}: training on {counted(len(state.saved), 'corrected picture')}")
    circle.training = start_training(HERE / "train.py", circle.place, state, minutes, config.device, flags)
    return circle.training


def end_round(circle: Circle) -> None:
    """Take over the weights, choose and propose the next pictures, and note the round."""
    training, circle.training = circle.training, None
    adopt_weights(circle.place, training)
    state, saved = circle.state, circle.state.saved.values()
    left = 60 * LOOKING * circle.config.minutes_per_round - (time.perf_counter() - circle.began)
    choose_next(circle, left)
    miou, validating = load_checkpoint(circle.place.weights).scores["miou"], len(state.names("val"))
    sums = [sum(getattr(one, field) for one in saved) for field in ("corrected", "drawn", "pixels")]
    seconds = time.perf_counter() - circle.began
    scores = miou if validating else None, state.scored
    state.rounds.append(Round(training.number, len(saved), validating, *scores, *sums, seconds))
    state.trained, state.scored = training.digests, None
    state.write(circle.place)
    draw_curve(circle.place.curve, state.rounds)


def choose_next(circle: Circle, seconds: float) -> None:
    """Fill up the pictures that wait to be corrected, and propose their annotation if there is a network.

    What nobody has touched is proposed anew, unless labelme is open, where it may be shown just now.
    """
    config, place, state = circle.config, circle.place, circle.state
    look = circle.look()
    if circle.labelme is None:
        withdraw(place, state, [name for name in look.untouched if name in state.proposals])
        look = circle.look()
        state.next = []
    state.next = [name for name in state.next if name in look.free or name in look.untouched]
    count = config.pictures_per_round - len(state.next)
    pool = {name: look.pictures[name] for name in look.free if name not in state.next}
    if count <= 0 or not pool:
        state.write(place)
        return
    unet = Unet(place.weights, config.device) if place.weights.is_file() else None
    classes, rng = (unet.class_names if unet else []), circle.rng()
    # A random choice has to know of a picture only whether it can be read.
    asked, seconds = (unet, seconds) if config.choice == "uncertain" else (None, 0.0)
    predict = asked and (lambda image, *outputs: asked.bands(asked.open(image), *outputs))
    found = look_through(pool, count, seconds, rng, predict, len(classes))
    known, corrected = describe_saved(place, state, len(classes)) if asked else ([], None)
    for name in choose(found, known, corrected, count, config.choice, rng):
        forget(place, state, name)
        picture, number = pool[name], len(state.rounds) + 1
        if unet is None or propose(place, state, picture, unet.predict(picture), classes, number):
            state.next.append(name)
    state.write(place)


def tell_next(circle: Circle) -> None:
    """What the last round brought, and which pictures to correct now."""
    state, place = circle.state, circle.place
    if state.rounds:
        last = state.rounds[-1]
        score = "–" if last.validation is None else f"{last.validation:.2%}"
        kept = f"mIoU {score} of {counted(last.validating, 'validation picture')}"
        proposals = "" if last.proposals is None else f", of the proposals {last.proposals:.2%}"
        done = f"round {last.number}: {counted(last.pictures, 'picture')}, {last.seconds:.0f} s"
        print(f"{done}; {kept}{proposals}")
        share = f"{last.corrected / max(last.pixels, 1):.1%} of the pixels were corrected"
        print(f"{share}, {last.drawn / max(last.pixels, 1):.1%} are objects; curve: {place.curve}")
    look = circle.look()
    waiting = [name for name in state.next if name not in look.saved]
    if not waiting and (look.free or look.untouched):
        print("all pictures that were asked for are corrected; the next ones are chosen after a training")
        return
    if not waiting:
        print(f"no picture is left to correct; the data set: {place.voc.root}")
        return
    names = [look.pictures[name].name for name in waiting if name in look.pictures]
    proposed = any(name in state.proposals for name in waiting)
    what = "correct these proposals" if proposed else "annotate these pictures"
    print(f"next: {what} and save them: {list_some(names, 20)}")
    if circle.labelme is None:
        print(f"  {labelme_command(place)}\nthen run again: {circle.command}")


def labelme_arguments(place: Workplace) -> list[str]:
    """A picture counts as corrected when it is saved, so labelme must not save by itself.

    The flag can be ticked to save a proposal in which nothing is wrong.
    """
    labels = ["--labels", str(place.labels.resolve())] if place.labels.is_file() else []
    return [str(place.root.resolve()), "--no-auto-save", "--flags", "checked", *labels]


def labelme_command(place: Workplace) -> str:
    return " ".join(["python -m gui.labelme", *map(quoted, labelme_arguments(place))])


def start_labelme(place: Workplace) -> subprocess.Popen:
    """In a session of its own, so that Ctrl-C here does not close it over unsaved work."""
    command = [sys.executable, "-m", "gui.labelme", *labelme_arguments(place)]
    with (place.home / "labelme.log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(
            command, cwd=HERE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


if __name__ == "__main__":
    run_script(main, Config, __doc__)
