"""How the rows of the catalogue are run: the scripts in this process, and the command that one proposes."""

import contextlib
import io
import os
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np
import tyro
from catalogue_row import OK, Row
from scripts import save_untrained, snapshot

from utils.core.console import UserError
from utils.doctor.faults import WARNINGS
from utils.images.reading import read_mask
from utils.training.data import load_data
from utils.voc.folder import VocFolder

MESSAGES = Path(__file__).with_name("messages.txt")
# What a user types; {} is the place of the run. train.py ends after its checks.
COMMANDS = {
    "voc2unet": "--voc-root {}/voc",
    "train": "",
    "get_miou": "--model-path {}/model.pth --voc-root {}/voc --split trainval --output {}/miou --device cpu",
    "import_dataset": "--images {}/input --voc-root {}/voc",
    "json_to_dataset": "--input {}/input --voc-root {}/voc",
}


@dataclass(frozen=True)
class Outcome:
    """code: of the error, else of the remarks, else ok; text: with normalised paths; command: proposed."""

    code: str
    text: str
    command: str = field(default="", compare=False)


@contextlib.contextmanager
def working_in(place: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(before)


def run(script: str, arguments: Sequence[str], place: Path) -> Outcome:
    """A script in this process. An error leaves every file as it was."""
    before, text = snapshot(place), io.StringIO()
    drawing = mock.patch.multiple("voc2unet", draw_statistics=mock.DEFAULT, draw_contact_sheet=mock.DEFAULT)
    quiet = contextlib.redirect_stdout(io.StringIO())
    silent = warnings.catch_warnings(action="ignore")
    with working_in(place), drawing, quiet, contextlib.redirect_stderr(text), silent:
        try:
            if script == "train":
                load_data(VocFolder(place / "voc"))
            else:
                module = import_module(script)
                module.main(tyro.cli(module.Config, args=arguments))
        except UserError as error:
            assert snapshot(place) == before
            return Outcome(error.code, normalise(str(error), place), first_command(script, str(error)))
    # What a random network finds depends on the machine.
    remarks = "" if script == "get_miou" else normalise(text.getvalue(), place)
    return Outcome(find_codes(remarks), remarks)


def find_codes(remarks: str) -> str:
    """The codes of remarks on standard error: `remark` for one that has none."""
    codes = {}
    for line in re.findall(r"^(?:warning|note): (.*)", remarks, re.MULTILINE):
        codes[next((code for code, words in WARNINGS.items() if line.startswith(words)), "remark")] = None
    return ", ".join(codes) or OK


def first_command(script: str, message: str) -> str:
    """The first command of a script in a message: to the end of its line or three blanks."""
    found = re.search(rf"python {script}\.py .*?(?=   |\n|$)", message)
    return found[0] if found and "…" not in found[0] else ""


def normalise(text: str, place: Path) -> str:
    """Paths as ROOT/… and PLACE/…; numbers of JPEG's smeared values, which depend on the decoder, as N."""
    for path, word in ((place / "voc", "ROOT"), (place / "model.pth", "MODEL"), (place, "PLACE")):
        text = text.replace(str(path), word)
    text = re.sub(r"(?:ROOT|PLACE)\S*", lambda path: path[0].replace(os.sep, "/"), text)
    return re.sub(r"\(\d+ (different|gray|colours)", r"(N \1", text).strip()


def run_row(row: Row, place: Path, model: bytes) -> dict[str, Outcome]:
    """Script → outcome, each in a folder of its own. What the first one proposes is followed and compared."""
    outcomes = {}
    for script in row.said:
        here = place / script
        folder = row.base(here / "voc")
        row.build(folder)
        (here / "model.pth").write_bytes(model)
        before = snapshot(here)
        outcomes[script] = run(script, [word.format(here) for word in COMMANDS[script].split()], here)
        if len(outcomes) == 1:
            follow(row, script, outcomes[script], here)
            compare(row, before, here)
    return outcomes


def follow(row: Row, script: str, outcome: Outcome, place: Path) -> None:
    """Do what the message of a refusal says."""
    # Several faults have to be mended together.
    if {*outcome.code.split(", ")} <= {*WARNINGS, OK, "remark", "folder-faults"}:
        return
    assert bool(outcome.command) == (row.yields is not None), outcome.text
    if row.yields is not None:
        if row.user:
            row.user(VocFolder(place / "voc"))
        again = run(script, shlex.split(outcome.command)[2:], place)
        assert not again.command, again.text


def compare(row: Row, before: Mapping[str, bytes], place: Path) -> None:
    """The masks are those of the row, what must not change has not, and no mask is lost."""
    after = snapshot(place)
    for path, content in before.items():
        if path.startswith(tuple(row.unchanged)):
            assert after[path] == content, f"{path} has changed"
        if path.startswith("voc/SegmentationClass/"):
            # In place, in SegmentationClass.orig or in set_aside.
            assert content in after.values(), f"{path} is lost"
    if not row.yields:
        masks = [path for path in {*before, *after} if path.startswith("voc/SegmentationClass")]
        assert {path: before.get(path) for path in masks} == {path: after.get(path) for path in masks}
        return
    found = {path.stem: read_mask(path) for path in (place / "voc" / "SegmentationClass").glob("*.png")}
    assert found.keys() == row.yields.keys()
    for name, mask in row.yields.items():
        np.testing.assert_array_equal(found[name], mask, f"mask {name}")


def run_all(rows: Sequence[Row], place: Path) -> dict[str, dict[str, Outcome]]:
    """Row → script → outcome."""
    model = save_untrained(place / "model.pth").read_bytes()
    return {row.name: run_row(row, place / str(number), model) for number, row in enumerate(rows)}


def format_messages(outcomes: Mapping[str, Mapping[str, Outcome]]) -> str:
    """All messages; scripts with the same one share an entry."""
    entries = []
    for name, by_script in outcomes.items():
        for outcome in dict.fromkeys(by_script.values()):
            scripts = ", ".join(script for script, other in by_script.items() if other == outcome)
            if outcome.text:
                entries.append(f"=== {name} · {scripts} · {outcome.code}\n{outcome.text}")
    return "\n\n".join(entries) + "\n"
