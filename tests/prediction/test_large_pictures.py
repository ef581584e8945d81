"""Large pictures go band by band into their files, and give what small ones give."""

import os

import numpy as np
import pytest
import tifffile
from cells import RGB, folder_of
from scripts import favour, refused, save_untrained, snapshot, start

from unet import Unet
from utils.images.large import TiffWindows
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image


@pytest.mark.parametrize("side", [40, 64])
@pytest.mark.parametrize("mix_type", ["blend", "mask", "cutout"])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_large_pictures_give_what_small_ones_give(
    predict, tmp_path, monkeypatch, small_is_large, side, mix_type, kind
):
    path = tmp_path / "in" / f"a.{kind}"
    write_image(path, RGB[:40, :side])
    settings = {"input": path, "mix_type": mix_type, "save_proba": True, "save_uncertainty": True}
    predict(output=tmp_path / "large", **settings)
    monkeypatch.setattr("utils.inference.results.LARGE_PIXELS", 10**6)
    monkeypatch.setattr("utils.inference.results.PNG_PIXELS", 10**6)
    predict(output=tmp_path / "small", **settings)
    small = snapshot(tmp_path / "small")
    assert len(small) == 6
    ending = ".png" if side == 40 else ".tif"
    assert {name.replace(".png", ending) for name in small} == set(snapshot(tmp_path / "large"))
    for name in small:
        read = read_mask if "mask" in name else read_image
        result = read(tmp_path / "large" / name.replace(".png", ending))
        np.testing.assert_array_equal(result, read(tmp_path / "small" / name))


@pytest.mark.parametrize("mixed", [False, True], ids=["alone", "beside one that sees tiles"])
def test_large_pictures_are_letterboxed_while_they_are_read(
    predict, weights, tmp_path, monkeypatch, small_is_large, mixed
):
    monkeypatch.setattr("utils.images.letterbox.BAND_PIXELS", 300)
    model = [save_untrained(tmp_path / "boxed.pth", fit="letterbox"), *[weights] * mixed]
    path = tmp_path / "in" / "a.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, np.tile(RGB, (3, 1, 1)), tile=(16, 16), compression="zlib", photometric="rgb")
    read, rows = TiffWindows.__getitem__, []
    monkeypatch.setattr(TiffWindows, "__getitem__", lambda self, part: rows.append(part) or read(self, part))
    predict(input=path, model_path=model)
    assert 0 < max(part.stop - part.start for part in rows) <= 24 + 8
    expected = Unet(model, "cpu", "fp32").predict(read_image(path))
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "a_mask.tif"), expected)


def test_large_pictures_of_16_bits_are_shown_alike_in_all_bands(predict, tmp_path, small_is_large):
    gray = np.linspace(1000, 3000, 40 * 48).reshape(48, 40).astype(np.uint16)
    write_image(tmp_path / "in" / "a.png", gray)
    model = favour(save_untrained(tmp_path / "b.pth"), tmp_path / "c.pth", cell=1e6)
    predict(input=tmp_path / "in" / "a.png", mix_type="cutout", model_path=model)
    shown = read_image(tmp_path / "out" / "a.png")[..., 0].astype(int)
    assert shown[-1, -1] - shown[0, 0] > 200
    assert (np.diff(shown.ravel()) >= 0).all()


def test_a_large_result_that_exists_is_kept(predict, tmp_path, small_is_large):
    path = folder_of(tmp_path, a=RGB) / "a.png"
    predict(input=path)
    before = snapshot(tmp_path / "out")
    with refused("result-exists", tmp_path / "out" / "a.tif"):
        predict(input=path)
    assert snapshot(tmp_path / "out") == before
    predict(input=path, overwrite=True)


@pytest.mark.parametrize("settings", [{"legend": True}, {"closing": 1}])
def test_huge_results_of_the_whole_picture_are_tiffs_too(predict, tmp_path, small_is_large, settings):
    path = folder_of(tmp_path, a=RGB) / "a.png"
    predict(input=path, **settings)
    assert {"a.tif", "a_mask.tif"} == set(snapshot(tmp_path / "out"))
    assert read_mask(tmp_path / "out" / "a_mask.tif").shape == RGB.shape[:2]


@pytest.mark.parametrize("tile", [18, -1], ids=["in a row of four tiles", "in the last tile"])
def test_a_file_that_is_cut_off_leaves_no_half_results(predict, tmp_path, small_is_large, tile):
    path = tmp_path / "in" / "a.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, np.tile(RGB, (3, 1, 1)), tile=(16, 16), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(path) as file:
        place = file.pages.first.dataoffsets[tile]
    path.write_bytes(path.read_bytes()[: place + 5])
    with refused("picture-damaged", path):
        predict(input=path)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.skipif(os.name == "nt", reason="limits of file sizes are POSIX")
def test_a_disk_that_fills_up_leaves_no_half_files(weights, tmp_path):
    path = folder_of(tmp_path, a=np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)) / "a.png"
    program = (
        "import resource, predict; from utils.core.console import run_script\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "run_script(predict.main, predict.Config, '')"
    )
    arguments = [
        "--model-path",
        str(weights),
        "--input",
        str(path),
        "--output",
        str(tmp_path / "out"),
        "--device",
        "cpu",
    ]
    result = start(["-c", program, *arguments], tmp_path)
    assert result.returncode == 2, result.stderr
    assert "it cannot be written" in result.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_results_of_an_earlier_run_are_refused_before_the_work(predict, tmp_path, small_is_large):
    """Those of a huge picture are TIFFs."""
    folder = folder_of(tmp_path, a=RGB[:20, :20], b=RGB)
    predict(input=folder / "b.png")
    assert (tmp_path / "out" / "b_mask.tif").exists()
    before = snapshot(tmp_path / "out")
    with refused("result-exists", tmp_path / "out" / "b.tif"):
        predict(mode="dir_predict", input=folder)
    with refused("result-exists", tmp_path / "out" / "b.tif"):
        predict(input=folder / "b.png")
    assert snapshot(tmp_path / "out") == before
    predict(mode="dir_predict", input=folder, overwrite=True)
    assert (tmp_path / "out" / "a_mask.png").exists()


def test_memory_stays_bounded_after_a_small_picture(predict, tmp_path, small_is_large, monkeypatch):
    calls = []
    for name in ("keep_freed_memory", "stop_keeping_memory"):
        monkeypatch.setattr(f"utils.inference.results.{name}", lambda name=name: calls.append(name))
    folder = folder_of(tmp_path, a=RGB[:20, :20], b=RGB, c=RGB[:20, :20])
    predict(mode="dir_predict", input=folder)
    assert calls == ["keep_freed_memory", "stop_keeping_memory", "keep_freed_memory"]
