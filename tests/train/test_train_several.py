"""train.py --folds, --learning-curve and --overfit: which runs are started, and what is said of them."""

import numpy as np
import pytest
from scripts import make_voc, recode, refused, tiny

import get_miou
import train
from utils.core.tables import read_table
from utils.images.writing import write_image
from utils.models.checkpoint import load_checkpoint
from utils.scoring.verdict import Finding


@pytest.fixture(autouse=True)
def by_epochs(monkeypatch):
    """Runs are as long as --epochs says, not as a clock does."""
    monkeypatch.setattr("utils.training.by_heart.MINUTES", None)


@pytest.fixture
def halves(tmp_path):
    """Six pictures, two folds."""
    folder = make_voc(tmp_path / "voc", count=6, val=2)
    names = [f"cells_{index}" for index in range(6)]
    for fold, part in enumerate((names[:3], names[3:])):
        folder.write_split(f"fold{fold}_val", part)
        folder.write_split(f"fold{fold}_train", [name for name in names if name not in part])
    return folder


def test_folds_are_trained_one_after_the_other_and_scored_together(halves, logs, tmp_path, capsys):
    config = tiny(halves, logs, folds=2, epochs=1)
    train.main(config)
    paths = [logs / f"run_fold{fold}" / "best.pth" for fold in range(2)]
    for fold, path in enumerate(paths):
        checkpoint = load_checkpoint(path)
        assert checkpoint.settings["fold"] == fold
        assert set(checkpoint.trained_on).isdisjoint(halves.read_split(f"fold{fold}_val"))
    command = capsys.readouterr().out.split("python get_miou.py ")[-1].splitlines()[0]
    assert command == f"--voc-root {halves.root} --model-path {paths[0]} {paths[1]}"
    get_miou.main(get_miou.Config(paths, halves.root, output=tmp_path / "out", device="cpu"))
    assert "each fold on its own held-out part: 6 pictures" in capsys.readouterr().out
    assert [row["picture"] for row in read_table(tmp_path / "out" / "pictures.csv")] == [
        f"cells_{index}" for index in range(6)
    ]
    kept = [path.with_name(name) for path in paths for name in ("best.pth", "history.csv")]
    before = [path.read_bytes() for path in kept]
    train.main(config)
    assert [path.read_bytes() for path in kept] == before


def test_a_fold_that_was_interrupted_goes_on(halves, logs):
    train.main(tiny(halves, logs, fold=0, epochs=1, run_name="run_fold0"))
    train.main(tiny(halves, logs, folds=2, epochs=2))
    assert len(read_table(logs / "run_fold0" / "history.csv")) == 2


@pytest.mark.parametrize("wanted", [3, 5])
def test_another_number_of_folds(halves, logs, wanted):
    with refused("folds-differ", halves.splits_dir) as caught:
        train.main(tiny(halves, logs, folds=wanted))
    assert f"--folds {wanted} --overwrite" in caught.value.remedy
    assert not logs.exists()


@pytest.mark.parametrize(
    "settings", [{"folds": 2, "overfit": 2}, {"learning_curve": True, "fold": 0}, {"folds": 2, "fold": 1}]
)
def test_one_of_them_at_a_time(halves, logs, settings):
    with refused("settings-conflict"):
        train.main(tiny(halves, logs, **settings))
    assert not logs.exists()


def test_pictures_learned_by_heart_are_the_same_to_train_and_to_validate(folder, logs, capsys):
    # Two levels of gray, one per class, are learned in a moment.
    recode(folder, {2: 1})
    for name in folder.read_split("train"):
        mask = train.load_data(folder).read_pair(name)[1]
        write_image(folder.image_path(name), np.where(mask, 220, 30).astype(np.uint8))
    train.main(tiny(folder, logs, overfit=2, epochs=4, lr=0.02))
    checkpoint = load_checkpoint(logs / "run_overfit" / "best.pth")
    assert checkpoint.trained_on == folder.read_split("train")
    settings = checkpoint.settings
    assert (settings["augmentation"], settings["batch_size"]) == ("none", 2)
    output, warnings = capsys.readouterr()
    assert "learned by heart: mIoU" in output
    assert "too good" not in warnings


def test_pictures_that_cannot_be_learned(folder, logs, capsys, monkeypatch):
    monkeypatch.setattr("utils.scoring.verdict.FEW_STEPS", 1)
    rng = np.random.default_rng(0)
    for name in folder.read_split("train"):
        write_image(folder.image_path(name), rng.integers(0, 255, (48, 48), np.uint8))
    usual = Finding("one-class", "what is said of a usual run", "evidence", "advice")
    monkeypatch.setattr("utils.training.messages.judge_scores", lambda *_: [usual])
    train.main(tiny(folder, logs, overfit=2, lr=1e-6))
    said = capsys.readouterr().err
    assert "warning: the network does not even learn 2 pictures by heart: mIoU" in said
    # Its command would lead astray.
    assert usual.what not in said


def test_the_learning_curve_trains_on_parts_of_the_pictures(tmp_path, logs, capsys):
    folder = make_voc(tmp_path / "voc", count=9)
    train.main(tiny(folder, logs, learning_curve=True, epochs=4))
    rows = read_table(logs / "run_curve" / "learning_curve.csv")
    assert [int(row["pictures"]) for row in rows] == [2, 2, 4, 4, 8, 8]
    seen = [
        load_checkpoint(logs / f"run_curve_{row['pictures']}_{i}" / "best.pth") for i, row in enumerate(rows)
    ]
    assert [one.settings["epochs"] for one in seen] == [4, 4, 2, 2, 1, 1]
    assert not {*seen[0].trained_on} & {*seen[1].trained_on}
    assert {*seen[2].trained_on} | {*seen[3].trained_on} == {*folder.read_split("train")}
    assert (logs / "run_curve" / "learning_curve.png").is_file()
    assert "16 pictures" in capsys.readouterr().out


def test_too_few_pictures_for_a_curve(folder, logs):
    with refused("learning-curve-few"):
        train.main(tiny(folder, logs, learning_curve=True))
    assert not logs.exists()
