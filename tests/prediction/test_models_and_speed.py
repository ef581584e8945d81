"""Which weights predict.py takes, which it refuses, and how fast they are."""

import os
import re
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from cells import GRAY, RGB, folder_of
from scripts import cut_off, favour, predict_config, refused, run_here, save_as, save_untrained

from predict import Config, main
from unet import Unet
from utils.core.tables import read_table
from utils.images.reading import read_image, read_mask


def test_speed_is_the_mean_and_the_median_of_single_predictions(predict, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Unet, "time_predictions", lambda self, image, repeats: [0.1, 0.6, 0.2])
    predict(mode="fps", repeats=3)
    assert (
        "48×64, batch 1, 3 times after warm-up: mean 300.0 ms, median 200.0 ms, 3.33 pictures per second"
        in (capsys.readouterr().out)
    )


def test_speed_on_a_picture(predict, weights, tmp_path, capsys):
    predict(mode="fps", input=folder_of(tmp_path, a=RGB[:30]) / "a.png", repeats=2)
    mean, rate = re.search(
        r"30×64, .* 2 times .* mean ([\d.]+) ms, .* ([\d.]+) pict", capsys.readouterr().out
    ).groups()
    assert float(rate) == pytest.approx(1000 / float(mean), rel=0.1)
    seconds = Unet(weights, "cpu", "fp32").time_predictions(RGB, repeats=5)
    assert len(seconds) == 5
    assert statistics.median(seconds) > 0


@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_a_compiled_folder_equals_the_plain_one(predict, tmp_path, capsys):
    source = folder_of(tmp_path, a=RGB, b=RGB[::-1], c=RGB[:, ::-1], d=GRAY)
    predict(mode="dir_predict", input=source)
    predict(mode="dir_predict", input=source, output=tmp_path / "compiled", compile=True)
    assert capsys.readouterr().err.count("compiling for 48×64 pixels") == 1
    for name in ("a_mask.png", "b_mask.png", "c_mask.png", "d_mask.png"):
        assert np.array_equal(read_mask(tmp_path / "compiled" / name), read_mask(tmp_path / "out" / name))


def test_speed_of_no_repeats(predict):
    with refused("setting-range", "--repeats"):
        predict(mode="fps", repeats=0)


class RunsAProgram:
    """Pickled, it would make a folder when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def missing(path):
    pass


def empty(path):
    path.write_bytes(b"")


def truncated(path):
    save_untrained(path)
    cut_off(path)


def words(path):
    path.write_text("weights, they said", encoding="utf-8")


def picture(path):
    save_as(path, RGB, "PNG")


def foreign(path):
    torch.save({"layer.weight": torch.zeros(3)}, path)


def list_of_tensors(path):
    torch.save([torch.zeros(3)], path)


def malicious(path):
    torch.save({"model": RunsAProgram(path.with_name("executed"))}, path)


def malicious_in_the_old_format(path):
    torch.save(
        {"model": RunsAProgram(path.with_name("executed"))}, path, _use_new_zipfile_serialization=False
    )


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (missing, "checkpoint-missing"),
        (empty, "checkpoint-empty"),
        (truncated, "checkpoint-damaged"),
        (words, "not-a-checkpoint"),
        (picture, "not-a-checkpoint"),
        (foreign, "checkpoint-format"),
        (list_of_tensors, "checkpoint-format"),
        (malicious, "checkpoint-unsafe"),
        (malicious_in_the_old_format, "checkpoint-unsafe"),
    ],
)
def test_checkpoint_that_is_none(predict, tmp_path, make, code):
    path = tmp_path / "weights.pth"
    make(path)
    source = folder_of(tmp_path, a=RGB) / "a.png"
    with refused(code, path):
        predict(model_path=path, input=source)
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "out").exists()


def test_without_a_path_the_newest_weights_are_taken(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = Config(input=folder_of(tmp_path, a=RGB) / "a.png", device="cpu", overwrite=True)
    with refused("weights-missing"):
        main(config)
    for age, place in [
        (0, "model_data/unet_demo.pth"),
        (60, "logs/older/best.pth"),
        (30, "logs/newer/best.pth"),
    ]:
        path = Path(place)
        path.parent.mkdir(parents=True)
        path.write_bytes(weights.read_bytes())
        os.utime(path, (1e9 - age, 1e9 - age))
        main(config)
        assert f"model    {path}: " in capsys.readouterr().out


def test_several_models_and_all_sides_from_the_command_line(weights, tmp_path, monkeypatch, capsys):
    path = folder_of(tmp_path, a=RGB) / "a.png"
    other = favour(weights, tmp_path / "other.pth", cell=0.5)
    models = ["--model-path", weights, other, "--device", "cpu", "--precision", "fp32", "--tta"]
    places = ["--input", path, "--output", tmp_path / "out"]
    assert run_here(monkeypatch, "predict.py", *models, *places) == 0
    assert f"model    {weights} + {other}" in capsys.readouterr().out
    expected = Unet([weights, other], "cpu", "fp32", tta=True).predict(path)
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "a_mask.png"), expected)


def test_no_path_after_the_flag_is_the_newest_model(predict, weights, tmp_path, monkeypatch):
    (tmp_path / "model_data").mkdir()
    (tmp_path / "model_data" / "own.pth").write_bytes(weights.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert Unet([], "cpu", "fp32").model_path.name == "own.pth"


def test_each_model_of_an_ensemble_scales_floats_by_its_own_range(tmp_path):
    floats = (RGB[..., 0] / 100 - 1.5).astype(np.float32)
    scale = {"mean": [0.3] * 3, "std": [0.2] * 3, "range_16bit": [0, 65535]}
    ranges = {"narrow": [-1.0, 0.5], "wide": [-20.0, 30.0]}
    paths = [
        save_untrained(tmp_path / f"{name}.pth", normalisation={**scale, "range_float": limits})
        for name, limits in ranges.items()
    ]
    alone = [Unet(path, "cpu", "fp32").predict_proba(floats) for path in paths]
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    for order in (paths, paths[::-1]):
        together = Unet(order, "cpu", "fp32").predict_proba(floats)
        np.testing.assert_allclose(together, sum(alone) / 2, atol=1e-5)
    bare = save_untrained(tmp_path / "bare.pth")
    with refused("floats-unknown"):
        Unet([*paths, bare], "cpu", "fp32").predict(floats)


def test_float_pictures_are_shown_and_measured_in_their_own_values(tmp_path):
    floats = (RGB[..., 0] / 100 - 1.5).astype(np.float32)
    scale = {"mean": [0.3] * 3, "std": [0.2] * 3, "range_16bit": [0, 65535], "range_float": [-2.0, 1.5]}
    weights, path = save_untrained(tmp_path / "a.pth", normalisation=scale), tmp_path / "in" / "a.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, floats)
    settings = {"model_path": [weights], "output": tmp_path / "out", "device": "cpu"}
    main(predict_config(input=path, objects=True, mix_type="montage", **settings))
    shown = read_image(tmp_path / "out" / "a.png")[: floats.shape[0], : floats.shape[1], 0]
    assert np.corrcoef(shown.ravel(), floats.ravel())[0, 1] > 0.8
    rows = read_table(tmp_path / "out" / "a_objects.csv")
    means = [float(row["mean_intensity"]) for row in rows]
    assert means and floats.min() <= min(means) <= max(means) <= floats.max()
