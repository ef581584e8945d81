"""train.py --unlabelled: pictures without annotation beside the annotated ones."""

import json
import signal

import pytest
import torch
from runs import scores_of, weights_of
from runs_compared import compare_runs
from scripts import make_voc, refused, tiny
from test_train_processes import ROOT, train_in_two

import utils.training.engine
from train import main
from utils.images.reading import read_image
from utils.images.writing import write_image
from utils.models.checkpoint import load_checkpoint
from utils.training import teaching
from utils.training.teaching import START, teach
from utils.voc.demo import draw_sample

EPOCHS = 10


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Six annotated pictures, and a folder of four without annotation."""
    root = tmp_path_factory.mktemp("unlabelled")
    folder = make_voc(root / "voc", count=8, val=2)
    for index in range(4):
        write_image(root / "pool" / f"other_{index}.png", draw_sample(100 + index, 48)[0])
    return folder, root / "pool"


@pytest.fixture(scope="module", autouse=True)
def lenient():
    """Networks of a few steps know little, and teach all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teaching, "LEAST", 0.0)
        yield


def settings_of(pool, **changes):
    return {"unlabelled": pool, "epochs": EPOCHS, "batch_size": 3, "input_shape": (32, 32), **changes}


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory):
    folder, pool = pictures
    logs = tmp_path_factory.mktemp("logs")
    main(tiny(folder, logs, **settings_of(pool)))
    return logs / "run"


def test_pictures_without_annotation_teach_from_a_share_of_the_run_on(pictures, whole, tmp_path):
    folder, pool = pictures
    main(tiny(folder, tmp_path, **settings_of(None)))
    plain, taught = scores_of(tmp_path / "run"), scores_of(whole)
    assert json.loads((whole / "config.json").read_text("utf-8"))["unlabelled"] == str(pool)
    begun = int(START * EPOCHS)
    assert [row[2] for row in plain[:begun]] == [row[2] for row in taught[:begun]]
    assert [row[2] for row in plain[begun + 1 :]] != [row[2] for row in taught[begun + 1 :]]
    state = load_checkpoint(whole / "last.pth").training["teaching"]
    assert state["before"] == pytest.approx(taught[begun - 1][4], abs=1e-5)
    assert state["began"] == pytest.approx(START)
    assert state["steps"] > 0
    # Four crops, and below them their stronger views.
    height, width = read_image(whole / "taught_batch.png").shape[:2]
    assert 0.5 < height / width < 0.55
    # A run without the flag leaves what it left before.
    assert "teaching" not in load_checkpoint(tmp_path / "run" / "last.pth").training


def test_a_run_that_is_stopped_while_it_is_taught_goes_on_as_if_nothing_had_happened(
    pictures, whole, tmp_path, monkeypatch
):
    folder, pool = pictures
    calls = []

    def teach_and_stop(student, views, weight):
        calls.append(weight)
        if len(calls) == 3:
            student.stop.signal = signal.SIGINT
        return teach(student, views, weight)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(utils.training.engine, "teach", teach_and_stop)
        main(tiny(folder, tmp_path, **settings_of(pool)))
    main(tiny(folder, tmp_path, resume=tmp_path / "run", **settings_of(pool)))
    assert not compare_runs(tmp_path / "run", whole)
    states = [load_checkpoint(run / "last.pth").training["teaching"] for run in (tmp_path / "run", whole)]
    assert states[0] == states[1]


def test_two_processes_are_taught_as_well(pictures, tmp_path):
    folder, pool = pictures
    script = tmp_path / "lenient.py"
    lines = "import runpy, sys", f"sys.path.insert(0, {str(ROOT)!r})", "import utils.training.teaching as t"
    run = f"runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')"
    script.write_text("\n".join([*lines, "t.LEAST = 0.0", run]), encoding="utf-8")
    flags = "--unlabelled", pool, "--epochs", str(EPOCHS), "--run-name", "both"
    done = train_in_two(folder, tmp_path, *flags, script=script)
    assert done.returncode == 0, done.stderr
    for line in (
        "pool     4 pictures",
        "pictures without annotation  on:",
        "pictures without annotation  taught",
    ):
        assert done.stdout.count(line) == 1
    run = tmp_path / "logs" / "both"
    assert all(torch.isfinite(value).all() for value in weights_of(run / "last.pth").values())
    assert load_checkpoint(run / "last.pth").training["teaching"]["steps"] > 0


def test_mistakes_are_told_before_a_run_begins(pictures, tmp_path):
    folder, pool = pictures
    with refused("picture-folder-missing", tmp_path / "nowhere"):
        main(tiny(folder, tmp_path, unlabelled=tmp_path / "nowhere"))
    with refused("settings-conflict"):
        main(tiny(folder, tmp_path, unlabelled=pool, overfit=1))
    assert not (tmp_path / "run").exists()
