"""get_miou.py: scores against a count of one's own from the masks that it writes."""

import contextlib
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scripts import cut_off, favour, make_voc, recode, save_untrained, snapshot

from get_miou import Config, main
from unet import Unet
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.core.tables import read_table
from utils.images.reading import read_mask
from utils.images.writing import write_mask
from utils.models.checkpoint import load_checkpoint, save_checkpoint
from utils.voc.demo import CLASS_NAMES
from utils.voc.folder import VocFolder

PLOTS = ["iou.png", "precision.png", "recall.png", "confusion_matrix.png"]


@dataclass
class Scored:
    """A run on two pictures, a part of the truth unknown. before: the data set before it."""

    folder: VocFolder
    output: Path
    printed: str
    before: dict[str, bytes]


@pytest.fixture(scope="module")
def scored(weights, tmp_path_factory) -> Scored:
    root = tmp_path_factory.mktemp("scored")
    folder = make_voc(root / "voc", size=[(48, 48), (37, 53), (64, 40)], val=2)
    mask = read_mask(folder.mask_path("cells_1"))
    mask[:6] = 255
    write_mask(folder.mask_path("cells_1"), mask)
    before, printed = snapshot(folder.root), io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(Config([weights], folder.root, output=root / "out", device="cpu", precision="fp32"))
    return Scored(folder, root / "out", printed.getvalue(), before)


def read_csv(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def counted_by_hand(folder, output, names, classes=3):
    """Confusion matrix of the written masks."""
    truth = np.concatenate([read_mask(folder.mask_path(name)).ravel() for name in names])
    found = np.concatenate([read_mask(output / "masks" / f"{name}.png").ravel() for name in names])
    return np.array([[np.sum((truth == t) & (found == p)) for p in range(classes)] for t in range(classes)])


def scores_by_hand(matrix):
    """IoU, Dice, precision and recall of every class; all classes must be in truth and prediction."""
    rows = []
    for index in range(len(matrix)):
        hit, truth, found = matrix[index, index], matrix[index].sum(), matrix[:, index].sum()
        rows.append([hit / (truth + found - hit), 2 * hit / (truth + found), hit / found, hit / truth])
    return np.array(rows)


def test_tables_equal_a_count_by_hand(scored):
    matrix = counted_by_hand(scored.folder, scored.output, ["cells_1", "cells_2"])
    assert matrix.sum() == 31 * 53 + 64 * 40
    header, *rows = read_csv(scored.output / "confusion_matrix.csv")
    assert header[1:] == [row[0] for row in rows] == list(CLASS_NAMES)
    assert np.array_equal([list(map(int, row[1:])) for row in rows], matrix)
    header, *rows = read_csv(scored.output / "metrics.csv")
    assert header[:5] == ["class", "iou", "dice", "precision", "recall"]
    assert [row[0] for row in rows] == [*CLASS_NAMES, "mean"]
    per_class = scores_by_hand(matrix)
    values = [list(map(float, row[1:5])) for row in rows]
    assert np.allclose(values, [*per_class, per_class.mean(0)], atol=1e-6)
    overall = {row["score"]: row for row in read_table(scored.output / "scores.csv") if row["class"] == "all"}
    pooled = {"accuracy": np.trace(matrix) / matrix.sum()}
    pooled["fwiou"] = (matrix.sum(1) / matrix.sum()) @ per_class[:, 0]
    for score, value in pooled.items():
        assert float(overall[score]["pooled"]) == pytest.approx(value, abs=1e-6)
        assert float(overall[score]["low"]) <= value <= float(overall[score]["high"])


def test_pictures_have_their_own_scores(scored):
    rows = read_table(scored.output / "pictures.csv")
    assert [row["picture"] for row in rows] == ["cells_1", "cells_2"]
    assert [int(row["ignored_px"]) for row in rows] == [6 * 53, 0]
    for row in rows:
        iou = scores_by_hand(counted_by_hand(scored.folder, scored.output, [row["picture"]]))[:, 0]
        assert [float(row[f"iou {name}"]) for name in CLASS_NAMES] == pytest.approx(iou, abs=1e-6)
        assert float(row["iou"]) == pytest.approx(iou.mean(), abs=1e-6)


def test_ignored_pixels_and_few_pictures_are_stated(scored):
    assert (
        f"Left out: 318 pixels ({318 / (37 * 53 + 64 * 40):.2%}) marked 255 in 1 picture." in scored.printed
    )
    assert "Only 2 pictures" in scored.printed


def test_printed_table_is_the_same_in_percent(scored):
    for row in read_table(scored.output / "metrics.csv"):
        line = re.search(rf"^{row['class']} +(\S+) +\S+ … \S+ +(.*)$", scored.printed, re.MULTILINE)
        printed = [float(value) for value in (line[1], *line[2].split())]
        keys = ("iou", "dice", "precision", "recall", "specificity")
        assert printed == pytest.approx([100 * float(row[key]) for key in keys], abs=0.00501)


def test_masks_are_those_of_the_predictor(scored, weights):
    unet = Unet(weights, "cpu", "fp32")
    assert sorted(path.name for path in (scored.output / "masks").iterdir()) == ["cells_1.png", "cells_2.png"]
    for name in ("cells_1", "cells_2"):
        with Image.open(scored.output / "masks" / f"{name}.png") as mask:
            assert mask.mode == "P"
            assert np.array_equal(np.asarray(mask), unet.predict(scored.folder.image_path(name)))


def test_plots_are_pictures(scored):
    for name in PLOTS:
        with Image.open(scored.output / name) as plot:
            pixels = np.asarray(plot.convert("L"))
        assert min(pixels.shape) > 100
        assert pixels.min() < 100 < pixels.max()


def test_data_set_is_only_read(scored):
    assert snapshot(scored.folder.root) == scored.before


@pytest.mark.parametrize(("split", "names"), [("train", ["cells_0"]), ("test", ["cells_0", "cells_2"])])
def test_another_split(score, folder, tmp_path, capsys, split, names):
    folder.write_split("test", ["cells_2", "cells_0"])
    score(split=split)
    assert sorted(path.stem for path in (tmp_path / "out" / "masks").iterdir()) == names
    assert f"split {split}: {len(names)} picture" in capsys.readouterr().out
    matrix = [list(map(int, row[1:])) for row in read_csv(tmp_path / "out" / "confusion_matrix.csv")[1:]]
    assert np.array_equal(matrix, counted_by_hand(folder, tmp_path / "out", names))


def test_class_that_is_nowhere_is_left_out(score, weights, folder, tmp_path, capsys):
    recode(folder, {2: 1})
    score(model_path=favour(weights, tmp_path / "two.pth", nucleus=-1e6))
    matrix = counted_by_hand(folder, tmp_path / "out", ["cells_1", "cells_2"])
    assert matrix[2].sum() == matrix[:, 2].sum() == 0
    rows = {name: values[:4] for name, *values in read_csv(tmp_path / "out" / "metrics.csv")}
    assert rows["nucleus"] == ["", "", "", ""]
    mean = scores_by_hand(matrix[:2, :2]).mean(0)
    assert list(map(float, rows["mean"])) == pytest.approx(mean.tolist(), abs=1e-6)
    output, warning = capsys.readouterr()
    assert re.search(r"^nucleus +– +– +– +– +– +100.00$", output, re.MULTILINE)
    assert "nucleus" not in warning


def test_class_that_is_never_found_is_reported(score, weights, tmp_path, capsys):
    score(report=True, model_path=favour(weights, tmp_path / "blind.pth", nucleus=-1e6))
    output, warning = capsys.readouterr()
    assert re.search(r"^nucleus +0\.00 +0\.00 … 0\.00 +0\.00 +– +0\.00", output, re.MULTILINE)
    assert "warning: no pixel of nucleus was found: nucleus is" in warning
    assert "--class-weights balanced" in warning
    assert "no pixel of nucleus was found" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_one_class_everywhere_is_reported(score, weights, tmp_path, capsys):
    score(model_path=favour(weights, tmp_path / "cell.pth", cell=1e6))
    assert "warning: every pixel was predicted as cell" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_in_chinese(score, folder, tmp_path):
    names = ["背景", "细胞", "细胞 核"]
    write_lines(folder.class_names_path, names)
    score(
        report=True,
        model_path=save_untrained(tmp_path / "模型" / "best.pth", names),
        output=tmp_path / "结果 一",
    )
    assert [row[0] for row in read_csv(tmp_path / "结果 一" / "metrics.csv")[1:4]] == names
    assert read_csv(tmp_path / "结果 一" / "confusion_matrix.csv")[0][1:] == names
    assert all((tmp_path / "结果 一" / name).is_file() for name in PLOTS)


def test_folder_is_by_default_the_one_of_the_training(score, folder, tmp_path, capsys):
    path = save_untrained(tmp_path / "best.pth", settings={"voc_root": str(folder.root)})
    score(model_path=path, voc_root=None)
    assert f"data     {folder.root}, split val: 2 pictures" in capsys.readouterr().out


@pytest.mark.parametrize("settings", [{}, {"voc_root": "gone/VOC2007"}])
def test_no_folder_to_score_on(score, tmp_path, settings):
    with pytest.raises(UserError) as caught:
        score(model_path=save_untrained(tmp_path / "best.pth", settings=settings), voc_root=None)
    assert caught.value.code == "voc-root-missing"


@pytest.mark.parametrize(
    "names",
    [["background", "cell"], ["background", "nucleus", "cell"], ["background", "cell", "nucleus", "more"]],
)
def test_other_classes_than_those_of_the_model(score, weights, folder, tmp_path, names):
    recode(folder, {2: 1})
    write_lines(folder.class_names_path, names)
    with pytest.raises(UserError) as caught:
        score()
    assert (caught.value.code, caught.value.subject) == ("class-names-differ", str(folder.class_names_path))
    assert ", ".join(names) in caught.value.found
    assert str(weights) in caught.value.expected
    assert "background, cell, nucleus" in caught.value.expected
    assert not (tmp_path / "out").exists()


def test_folder_without_class_names(score, folder, tmp_path):
    folder.class_names_path.unlink()
    score()
    assert [row[0] for row in read_csv(tmp_path / "out" / "metrics.csv")[1:4]] == list(CLASS_NAMES)


def value_beyond_the_classes(folder):
    recode(folder, {2: 5})


def black_and_white(folder):
    recode(folder, {1: 255, 2: 255})


def no_mask(folder):
    folder.mask_path("cells_2").unlink()


def no_picture(folder):
    folder.image_path("cells_2").unlink()


def truncated_picture(folder):
    cut_off(folder.image_path("cells_2"))


def wrong_size(folder):
    write_mask(folder.mask_path("cells_2"), np.zeros((40, 64), np.uint8))


def empty_split(folder):
    folder.write_split("val", [])


def no_split(folder):
    (folder.splits_dir / "val.txt").unlink()


FAULTS = {
    value_beyond_the_classes: "mask-value",
    black_and_white: "masks-black-white",
    no_mask: "mask-missing",
    no_picture: "picture-missing",
    truncated_picture: "picture-damaged",
    wrong_size: "mask-size",
    empty_split: "split-empty",
    no_split: "file-missing",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("named", [True, False])
def test_faulty_data_are_reported_before_anything_is_written(score, folder, tmp_path, spoil, named):
    spoil(folder)
    if not named:
        folder.class_names_path.unlink()
    with pytest.raises(UserError) as caught:
        score()
    assert caught.value.code == FAULTS[spoil]
    assert not (tmp_path / "out").exists()


def test_test_split_that_was_never_drawn(score, folder):
    folder.write_split("test", [])
    with pytest.raises(UserError) as caught:
        score(split="test")
    assert caught.value.code == "split-empty"
    assert "--test-percent" in caught.value.remedy


@pytest.mark.parametrize("locked", ["metrics.csv", "confusion_matrix.csv", "iou.png", "masks"])
def test_output_that_cannot_be_written(score, tmp_path, locked):
    obstacle = tmp_path / "out" / locked
    obstacle.parent.mkdir()
    obstacle.write_text("a file in the way", encoding="utf-8") if locked == "masks" else obstacle.mkdir()
    with pytest.raises(UserError) as caught:
        score(report=True)
    assert caught.value.code == "file-not-writable"


def test_folds_are_scored_on_their_held_out_parts_and_pooled(score, weights, folder, tmp_path, capsys):
    parts = {0: ["cells_1"], 1: ["cells_2", "cells_0"]}
    paths = []
    for fold, names in parts.items():
        folder.write_split(f"fold{fold}_val", names)
        checkpoint = load_checkpoint(favour(weights, tmp_path / f"{fold}.pth", cell=1e6 * fold))
        checkpoint.settings = {"fold": fold, "voc_root": str(folder.root)}
        save_checkpoint(tmp_path / f"fold{fold}.pth", checkpoint)
        paths.append(tmp_path / f"fold{fold}.pth")
    score(model_path=paths)
    output = capsys.readouterr().out
    assert "each fold on its own held-out part: 3 pictures" in output
    assert [line.split()[1] for line in output.splitlines() if line.startswith("fold ")] == ["0", "1"]
    for fold, names in parts.items():
        unet = Unet(paths[fold], "cpu", "fp32")
        for name in names:
            mask = read_mask(tmp_path / "out" / "masks" / f"{name}.png")
            assert np.array_equal(mask, unet.predict(folder.image_path(name)))
    score(model_path=paths, split="val")
    assert "split val: 2 pictures" in capsys.readouterr().out
