"""The correction circle as a user runs it: files in, files out; and beside labelme, without a screen."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from circle import correct, train_here
from scripts import make_voc, refused, run_here, snapshot

import annotate
from utils.annotating.state import State, Workplace, read_state
from utils.annotating.training import Training, start_training
from utils.core.tables import read_table

SMALL = "--base-channels 4 --depth 2 --precision fp32 --num-workers 0"


@pytest.fixture
def dense(tmp_path):
    """Masks of nine pictures, which lie alone in tmp_path/pictures."""
    folder = make_voc(tmp_path / "dense", count=9, size=48)
    folder.images_dir.rename(tmp_path / "pictures")
    return folder


def test_a_round_as_processes(tmp_path, dense, monkeypatch, capsys):
    """The first pictures from nothing, a training, then proposals of its network. What is refused is told."""
    place = Workplace(tmp_path / "pictures")
    words = ["--input", place.root, "--without-labelme", "--pictures-per-round", "2", "--device", "cpu"]
    words += ["--minutes-per-round", "0.01", f"--train-flags={SMALL}", "--classes", "cell", "nucleus"]
    before = snapshot(place.root)
    assert run_here(monkeypatch, "annotate.py", *words) == 0
    assert not list(place.root.glob("*.json"))
    first = correct(place, dense)
    assert f"{first[0]}.png, {first[1]}.png" in capsys.readouterr().out
    assert run_here(monkeypatch, "annotate.py", *words) == 0
    state = read_state(place)
    assert len(state.next) == 2 and not {*first} & {*state.next}
    assert all(place.labelme(name).is_file() for name in state.next)
    assert state.rounds[0].pictures == 2 and state.rounds[0].validation is None
    assert {name: data for name, data in snapshot(place.root).items() if name in before} == before
    correct(place, dense)
    capsys.readouterr()
    assert run_here(monkeypatch, "annotate.py", *words, "--train-flags=--no-such-flag 1") == 2
    assert "--no-such-flag" in capsys.readouterr().err
    assert len(read_state(place).rounds) == 1


def test_rounds_until_no_picture_is_left(tmp_path, dense, monkeypatch, capsys):
    monkeypatch.setattr(annotate, "start_training", train_here)
    place = Workplace(tmp_path / "pictures")
    config = annotate.Config(place.root, pictures_per_round=4, minutes_per_round=0.01, without_labelme=True)
    config.device = "cpu"
    annotate.main(config)
    while correct(place, dense):
        annotate.main(config)
    state = read_state(place)
    assert [one.pictures for one in state.rounds] == [4, 8, 9]
    assert [one.validating for one in state.rounds] == [0, 1, 1]
    assert state.rounds[0].proposals is None and 0 <= state.rounds[1].proposals <= 1
    corrected = state.rounds[2].corrected
    assert state.rounds[0].corrected == state.rounds[0].drawn and corrected > state.rounds[1].corrected
    rows = read_table(place.curve.with_suffix(".csv"))
    assert [row["pictures"] for row in rows] == ["4", "8", "9"] and place.curve.is_file()
    assert "no picture is left" in capsys.readouterr().out
    # Only the newest run stays, and nothing is trained again on the same pictures.
    assert [path.name for path in place.runs.iterdir() if path.is_dir()] == ["round_003"]
    annotate.main(config)
    assert read_state(place).rounds == state.rounds
    config.classes = ("nucleus", "cell")
    with refused("class-order", "--classes"):
        annotate.main(config)


def test_beside_labelme_rounds_follow_what_is_saved(tmp_path, dense, monkeypatch, capsys):
    """labelme is a process here that a person closes after the first round."""
    monkeypatch.setattr(annotate, "start_training", train_here)
    monkeypatch.setattr(annotate, "QUIET", 0.0)
    monkeypatch.setattr(annotate, "can_show", lambda: True)
    monkeypatch.setattr(annotate.time, "sleep", lambda _: None)
    place = Workplace(tmp_path / "pictures")
    opened = {}

    def poll():
        """Called once per look: a person saves pictures, spoils one, mends it, and closes labelme."""
        opened["polls"] = opened.get("polls", 0) + 1
        if opened["polls"] == 1:
            opened["first"] = correct(place, dense)
        elif opened["polls"] == 4:
            opened["touched"] = place.labelme(opened["first"][0])
            opened["kept"] = opened["touched"].read_bytes()
            opened["touched"].write_text("{", "utf-8")
        elif opened["polls"] == 6:
            opened["touched"].write_bytes(opened["kept"])
            correct(place, dense)
        return None if opened["polls"] < 8 else 0

    monkeypatch.setattr(annotate, "start_labelme", lambda _: SimpleNamespace(poll=poll))
    config = annotate.Config(place.root, pictures_per_round=3, minutes_per_round=0.01)
    config.device = "cpu"
    annotate.main(config)
    state = read_state(place)
    assert [one.pictures for one in state.rounds] == [3, 6]
    assert "not taken as long as this is so" in capsys.readouterr().err
    assert len(state.next) == 3


@pytest.mark.parametrize("given", ["missing", "empty"])
def test_a_folder_without_pictures_is_refused_and_nothing_is_written(given, tmp_path):
    root = tmp_path / "pictures"
    if given == "empty":
        root.mkdir()
    before = snapshot(tmp_path)
    code = "picture-folder-missing" if given == "missing" else "folder-without-pictures"
    with refused(code, root):
        annotate.main(annotate.Config(root, without_labelme=True))
    with refused("input-missing"):
        annotate.main(annotate.Config())
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("flags", "code"), [("--run-name mine", "settings-conflict"), ('--lr "1', "words-unclear")]
)
def test_flags_of_the_training_that_cannot_work(flags, code, tmp_path, dense):
    before = snapshot(tmp_path)
    with refused(code, "--train-flags"):
        annotate.main(annotate.Config(tmp_path / "pictures", without_labelme=True, train_flags=flags))
    assert snapshot(tmp_path) == before


def test_two_circles_do_not_share_a_folder(tmp_path, dense):
    place = Workplace(tmp_path / "pictures")
    with annotate.locked(place.home), refused("folder-in-use", place.home):
        annotate.main(annotate.Config(place.root, without_labelme=True))


def test_a_training_is_stopped_with_the_circle(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Training(process, tmp_path, tmp_path / "log", 1, {}).stop()
    assert process.poll() not in (None, 0)


@pytest.mark.parametrize(("scored", "whole"), [(0.2, False), (0.7, True), (None, True)])
def test_only_a_network_that_knows_the_shapes_goes_on_with_whole_crops(scored, whole, tmp_path):
    place, script = Workplace(tmp_path), tmp_path / "script.py"
    place.home.mkdir()
    script.write_text("import sys\nprint(*sys.argv[1:])", encoding="utf-8")

    def flags() -> str:
        training = start_training(script, place, State(scored=scored), 0.5, "cpu", [])
        training.process.wait()
        return training.log.read_text(encoding="utf-8")

    assert "--model-path" not in flags() and "--coarse" not in flags()
    place.weights.touch()
    assert "--model-path" in flags()
    assert ("--coarse 0" in flags()) is whole
