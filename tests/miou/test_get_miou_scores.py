"""get_miou.py: borders, objects, membranes, thresholds, and the comparison of two predictions."""

import re

import numpy as np
import pytest
from scripts import favour, make_voc, refused, save_untrained, snapshot

from unet import Unet
from utils.core.tables import read_table
from utils.images.reading import read_mask
from utils.images.writing import write_mask
from utils.models.checkpoint import load_checkpoint
from utils.scoring.borders import measure_borders
from utils.voc.demo import CLASS_NAMES


def scores_in(output) -> dict[tuple[str, str], dict[str, str]]:
    return {(row["score"], row["class"]): row for row in read_table(output / "scores.csv")}


def test_borders_are_those_of_the_written_masks(score, folder, tmp_path, capsys):
    score(tolerance=3, pixel_size="0.5um")
    rows, distances = scores_in(tmp_path / "out"), []
    for name in ("cells_1", "cells_2"):
        masks = read_mask(folder.mask_path(name)), read_mask(tmp_path / "out" / "masks" / f"{name}.png")
        distances.append(measure_borders(*masks, 3, 3).hausdorff)
    for place, name in enumerate(CLASS_NAMES):
        mean = np.mean(distances, axis=0)[place]
        assert float(rows["hausdorff95", name]["pooled"]) == pytest.approx(mean, rel=1e-5)
    output = capsys.readouterr().out
    assert "Hausdorff 95 %, um" in output
    assert "contours may be 3 px off" in output
    printed = re.search(r"^cell +\S+ +\S+ +(\S+) +\S+$", output[output.index("Hausdorff") :], re.MULTILINE)
    assert float(printed[1]) == pytest.approx(float(rows["hausdorff95", "cell"]["pooled"]) / 2, abs=0.01)


def test_objects_of_the_named_classes(score, tmp_path, capsys):
    score(object_classes=("nucleus",))
    rows = scores_in(tmp_path / "out")
    assert rows["object_f1", "cell"]["pooled"] == ""
    assert 0 <= float(rows["object_f1", "nucleus"]["pooled"]) <= 1
    assert "Objects: connected parts of nucleus" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"object_classes": ("dog",)}, "class-unknown"),
        ({"membrane": "dog"}, "class-unknown"),
        ({"pixel_size": "5"}, "pixel-size"),
        ({"tolerance": 0}, "setting-range"),
    ],
)
def test_faulty_settings_are_refused_before_anything_is_written(score, tmp_path, settings, code):
    with refused(code):
        score(**settings)
    assert not (tmp_path / "out").exists()


def test_the_two_rand_scores_have_names_of_their_own(score, tmp_path, capsys):
    score(membrane="background")
    rows, output = scores_in(tmp_path / "out"), capsys.readouterr().out
    assert rows["rand_f", "all"]["pooled"] != rows["v_rand", "all"]["pooled"]
    assert re.search(r"^Rand F-score of the mask +\d", output, re.MULTILINE)
    assert re.search(r"^V-Rand \(ISBI 2012\) +\d", output, re.MULTILINE)
    assert "at the best threshold of the probability" in output


def test_no_scores_of_regions_without_a_membrane(score, tmp_path, capsys):
    score()
    assert ("v_rand", "all") not in scores_in(tmp_path / "out")
    assert "Rand" not in capsys.readouterr().out


@pytest.fixture
def two_classes(tmp_path):
    """A folder and a checkpoint of background and cell."""
    folder = make_voc(tmp_path / "two", val=2)
    for path in folder.masks_dir.glob("*.png"):
        write_mask(path, np.minimum(read_mask(path), 1))
    names = ["background", "cell"]
    folder.class_names_path.write_text("\n".join(names), encoding="utf-8")
    return folder, save_untrained(tmp_path / "two.pth", names)


def test_stored_threshold_is_used_by_prediction(score, two_classes, tmp_path, capsys):
    folder, weights = two_classes
    score(model_path=weights, voc_root=folder.root)
    assert load_checkpoint(weights).threshold is None
    curve = read_table(tmp_path / "out" / "thresholds.csv")
    # From a threshold of 0 on all is of class 1.
    best = max(float(row["dice"]) for row in curve if float(row["thresholds"]) > 0)
    assert f"Dice {100 * best:.2f}" in capsys.readouterr().out
    score(model_path=weights, voc_root=folder.root, store_threshold=True)
    threshold = load_checkpoint(weights).threshold
    assert threshold != pytest.approx(0.5, abs=0.01)
    unet = Unet(weights, "cpu", "fp32")
    picture = folder.image_path("cells_2")
    np.testing.assert_array_equal(unet.predict(picture), unet.predict_proba(picture)[1] >= threshold)
    # Scored again, the masks have the Dice that was promised.
    score(model_path=weights, voc_root=folder.root)
    assert f", threshold {threshold:.3f}" in capsys.readouterr().out
    dice = float(scores_in(tmp_path / "out")["dice", "cell"]["pooled"])
    assert dice == pytest.approx(best, abs=2e-3)


def test_a_threshold_is_stored_in_one_checkpoint_only(score, two_classes, tmp_path):
    folder, weights = two_classes
    before = weights.read_bytes()
    with refused("threshold-storage"):
        score(model_path=[weights, weights], voc_root=folder.root, store_threshold=True)
    assert weights.read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_classes_without_probabilities_have_no_threshold(score, two_classes, tmp_path, capsys, monkeypatch):
    """As of an ONNX file of --argmax."""
    folder, weights = two_classes
    monkeypatch.setattr(Unet, "has_probabilities", False)
    score(model_path=weights, voc_root=folder.root, membrane="cell")
    assert "threshold" not in (output := capsys.readouterr().out).lower()
    assert "cell of the mask, thinned" in output
    assert "calibration" not in output
    assert not (tmp_path / "out" / "thresholds.csv").exists()


def test_no_threshold_is_stored_without_the_second_class(score, two_classes, tmp_path, capsys):
    folder, weights = two_classes
    for path in folder.masks_dir.glob("*.png"):
        write_mask(path, np.zeros_like(read_mask(path)))
    score(model_path=weights, voc_root=folder.root, store_threshold=True)
    assert "no threshold is stored: no pixel of the truth is cell" in capsys.readouterr().err
    assert load_checkpoint(weights).threshold is None


def test_closed_gaps_are_stated_beside_the_model(score, capsys):
    score(close_gaps="cell")
    assert re.search(r"^model .*, gaps of cell closed$", capsys.readouterr().out, re.MULTILINE)
    score()
    assert " closed" not in capsys.readouterr().out


def test_three_classes_have_no_threshold(score):
    with refused("threshold-classes", "--store-threshold"):
        score(store_threshold=True)


def test_comparison_with_itself_is_within_noise(score, weights, tmp_path, capsys):
    score(compare=weights)
    rows = read_table(tmp_path / "out" / "comparison.csv")
    assert {row["verdict"] for row in rows} == {"within noise"}
    against = capsys.readouterr().out.split("against")[1]
    assert "mIoU differs by +0.00 points (95 %: 0.00 … 0.00) on 2 pictures: within noise." in against


def test_comparison_with_a_model_of_other_classes(score, folder, tmp_path):
    folder.class_names_path.unlink()
    with refused("class-names-differ", save_untrained(tmp_path / "two.pth", CLASS_NAMES[:2])):
        score(compare=tmp_path / "two.pth")


def test_comparison_on_one_picture_says_that_it_is_one(score, weights, tmp_path, capsys):
    score(compare=favour(weights, tmp_path / "blind.pth", nucleus=-1e6), split="train")
    assert "(95 %: –) on 1 picture: too few pictures, because" in capsys.readouterr().out
    row = read_table(tmp_path / "out" / "comparison.csv")[0]
    assert (row["low"], row["high"]) == ("", "")


@pytest.mark.parametrize("form", ["run", "masks", "output"])
def test_comparison_with_another_prediction(score, weights, tmp_path, form, capsys):
    """A run folder, a folder of masks, and the output of get_miou.py give the same differences."""
    run = tmp_path / "run"
    blind = favour(weights, run / "best.pth", nucleus=-1e6) if run.mkdir() is None else None
    score(model_path=blind, output=tmp_path / "blind")
    capsys.readouterr()
    place = {"run": run, "masks": tmp_path / "blind" / "masks", "output": tmp_path / "blind"}[form]
    score(compare=place, membrane="background")
    assert f"against {place}" in capsys.readouterr().out
    rows = {(row["score"], row["class"]): row for row in read_table(tmp_path / "out" / "comparison.csv")}
    nucleus, both = rows["iou", "nucleus"], scores_in(tmp_path / "out")["iou", "nucleus"]
    assert float(nucleus["other"]) == 0
    assert nucleus["this"] == nucleus["difference"] == both["pooled"]
    assert nucleus["verdict"] == "too few pictures"
    # A mask has no threshold to be chosen.
    assert (("v_rand", "all") in rows) == (form == "run")


def test_the_other_prediction_is_only_read(score, weights, tmp_path):
    score(output=tmp_path / "other")
    before = snapshot(tmp_path / "other")
    score(compare=tmp_path / "other")
    assert snapshot(tmp_path / "other") == before


def spoil_missing(masks):
    (masks / "cells_2.png").unlink()


def spoil_size(masks):
    write_mask(masks / "cells_2.png", np.zeros((5, 5), np.uint8))


def spoil_value(masks):
    write_mask(masks / "cells_2.png", np.full((64, 40), 7, np.uint8))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (spoil_missing, "prediction-missing"),
        (spoil_size, "prediction-size"),
        (spoil_value, "prediction-value"),
    ],
)
def test_faulty_masks_to_compare_with(score, tmp_path, spoil, code):
    score(output=tmp_path / "other")
    spoil(tmp_path / "other" / "masks")
    with refused(code):
        score(compare=tmp_path / "other")
