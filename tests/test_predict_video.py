"""predict.py --mode video: what the script adds to the segmentation of a video."""

import sys

import numpy as np
import pytest
from scripts import favour, predict_config, run, save_untrained, snapshot
from videos import SHAPE, make_video, read_all

import predict
from unet import Unet
from utils.core.console import UserError


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("weights") / "best.pth")


@pytest.fixture
def predict_video(weights, tmp_path):
    def start(source, **settings):
        fixed = {"model_path": weights, "output": tmp_path / "out", "device": "cpu", "precision": "fp32"}
        predict.main(predict_config(**{"mode": "video", "input": source, **fixed, **settings}))
        return tmp_path / "out"

    return start


def expected_counts(weights, frames):
    unet = Unet(weights, "cpu", "fp32")
    masks = np.stack([unet.predict(np.ascontiguousarray(frame)) for frame in frames])
    return np.bincount(masks.ravel(), minlength=3)


def test_result_and_its_description(predict_video, tmp_path, capsys):
    out = predict_video(make_video(tmp_path / "in" / "片 段.avi"), mix_type="cutout")
    output = capsys.readouterr().out
    assert str(out / "片 段.avi") in output
    assert all(text in output for text in ("12 frames", "64×48", "12.5", "mjpeg"))
    assert read_all(out / "片 段.avi")[0].shape == (12, *SHAPE, 3)


def test_pixels_are_counted_over_all_frames(predict_video, weights, tmp_path, capsys):
    source = make_video(tmp_path / "in" / "clip.avi")
    predict_video(source, count=True)
    output = capsys.readouterr().out
    assert "\nclasses  background " in output
    for pixels in expected_counts(weights, read_all(source)[0]):
        assert f" {pixels} pixels " in output


def test_ensemble_is_the_mean(predict_video, weights, tmp_path, capsys):
    source = make_video(tmp_path / "in" / "clip.avi", number=3)
    other = favour(weights, tmp_path / "other.pth", cell=3.0)
    predict_video(source, model_path=[weights, other], count=True)
    output = capsys.readouterr().out
    for pixels in expected_counts([weights, other], read_all(source)[0]):
        assert f" {pixels} pixels " in output


def test_camera_that_is_not_there(weights, tmp_path):
    done = run("predict.py", "--mode", "video", "--input", "77", "--model-path", weights, cwd=tmp_path)
    assert done.returncode == 2
    assert "error: camera 77\n" in done.stderr
    # Nothing of OpenCV's own complaints.
    assert "obsensor" not in done.stderr
    assert "VIDEOIO" not in done.stderr
    assert not (tmp_path / "img_out").exists()


def test_result_that_is_there_is_kept(predict_video, tmp_path):
    source = make_video(tmp_path / "in" / "clip.avi")
    out = predict_video(source)
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match="--overwrite"):
        predict_video(source, mix_type="mask")
    with pytest.raises(UserError, match="--output"):
        predict_video(source, output=tmp_path / "in", overwrite=True)
    assert snapshot(tmp_path) == before
    predict_video(source, mix_type="mask", overwrite=True)
    assert snapshot(out) != {"clip.avi": before["out/clip.avi"]}


@pytest.mark.parametrize(
    "settings", [{"stride": 0}, {"smoothing": 1.0}, {"smoothing": -0.1}, {"input": None}]
)
def test_settings_that_make_no_sense(predict_video, tmp_path, settings):
    with pytest.raises(UserError) as caught:
        predict_video(
            **{"source": tmp_path / "clip.avi", **settings}
        ) if "input" not in settings else predict_video(None)
    assert caught.value.subject == f"--{next(iter(settings))}"


def test_without_a_display_it_is_said(weights, tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform != "linux":
        pytest.skip("only Linux runs without a display")
    source = make_video(tmp_path / "in" / "clip.avi", number=2)
    done = run(
        "predict.py", "--mode", "video", "--show", "--input", source, "--model-path", weights, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "warning: no window can be opened here" in done.stderr
    assert len(read_all(tmp_path / "img_out" / "clip.avi")[0]) == 2


def test_post_processing_legend_and_montage(predict_video, weights, tmp_path, capsys):
    source = make_video(tmp_path / "in" / "clip.avi", number=3)
    out = predict_video(
        source, mix_type="montage", legend=True, object_classes=("cell",), min_area=10**6, count=True
    )
    output = capsys.readouterr().out
    assert " 1 cell                  0 pixels" in output
    assert read_all(out / "clip.avi")[0].shape[2] > 2 * 64


@pytest.mark.parametrize(
    "name", ["objects", "save_labelme", "cutouts", "save_proba", "save_uncertainty", "skip_existing"]
)
def test_what_is_for_pictures_alone_is_told(predict_video, tmp_path, name):
    with pytest.raises(UserError) as caught:
        predict_video(tmp_path / "a.mp4", **{name: True})
    assert caught.value.code == "flag-without-effect"
    assert caught.value.subject == f"--{name.replace('_', '-')}"
