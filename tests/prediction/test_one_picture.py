"""predict.py on one picture: kinds of pictures, counts, names that are asked for, settings."""

import io
import re

import numpy as np
import pytest
from cells import GRAY, RGB, counts_in, expected_mask, folder_of, shares_in
from PIL import Image
from scripts import favour, refused, save_untrained, snapshot

from predict import Config, main
from utils.images.palette import voc_palette
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image
from utils.inference.results import print_shares


def test_picture_comes_with_its_index_mask(predict, weights, tmp_path, capsys):
    path = folder_of(tmp_path, cells=RGB) / "cells.png"
    predict(input=path)
    assert sorted(snapshot(tmp_path / "out")) == ["cells.png", "cells_mask.png"]
    with Image.open(tmp_path / "out" / "cells_mask.png") as mask:
        assert mask.mode == "P"
        assert mask.getpalette() == voc_palette().ravel().tolist()
        assert np.array_equal(np.asarray(mask), expected_mask(weights, path))
    output = capsys.readouterr().out
    assert f"{path} → {tmp_path / 'out' / 'cells.png'}, {tmp_path / 'out' / 'cells_mask.png'}" in output
    assert "background, cell, nucleus" in output


@pytest.mark.parametrize("mix_type", ["blend", "mask", "cutout"])
def test_mix_types(predict, weights, tmp_path, mix_type):
    path = folder_of(tmp_path, cells=RGB) / "cells.png"
    predict(input=path, mix_type=mix_type)
    result = read_image(tmp_path / "out" / "cells.png").astype(int)
    mask = expected_mask(weights, path)
    found, colours = mask > 0, voc_palette()[mask].astype(int)
    assert found.any()
    assert not found.all()
    if mix_type == "mask":
        assert np.array_equal(result, colours)
    elif mix_type == "cutout":
        assert np.array_equal(result, RGB * found[..., None])
    else:
        assert np.array_equal(result[~found], RGB[~found])
        assert np.abs(result - (RGB + colours) / 2)[found].max() <= 0.5


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("gray.png", Image.fromarray(GRAY)),
        ("gray.jpg", Image.fromarray(GRAY)),
        ("rgba.png", Image.fromarray(np.dstack([RGB, GRAY]))),
        ("palette.gif", Image.fromarray(RGB).convert("P")),
        ("one bit.tif", Image.fromarray(GRAY > 80)),
        ("cmyk.jpg", Image.fromarray(RGB).convert("CMYK")),
        ("16 bit.png", Image.fromarray(GRAY.astype(np.uint16) * 200)),
        ("16 bit.tif", Image.fromarray(GRAY.astype(np.uint16) * 200)),
        ("odd.bmp", Image.fromarray(RGB[:37, :53])),
        ("one pixel.png", Image.fromarray(RGB[:1, :1])),
        ("一列 像素.png", Image.fromarray(RGB[:, :1])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_kinds_of_pictures(predict, weights, tmp_path, name, picture):
    path = tmp_path / "图片 集" / name
    path.parent.mkdir()
    picture.save(path)
    predict(input=path, output=tmp_path / "结果 一", count=True)
    mask = read_mask(tmp_path / "结果 一" / f"{path.stem}_mask.png")
    assert mask.shape == picture.size[::-1]
    assert np.array_equal(mask, expected_mask(weights, path))
    assert read_image(tmp_path / "结果 一" / f"{path.stem}.png").shape == (*mask.shape, 3)


def test_photo_taken_with_a_turned_camera_is_turned_upright(predict, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "photo.jpg", exif=exif)
    predict(input=tmp_path / "photo.jpg")
    assert read_mask(tmp_path / "out" / "photo_mask.png").shape == (64, 48)


def test_counts_are_those_of_the_mask(predict, weights, tmp_path, capsys):
    path = folder_of(tmp_path, cells=RGB) / "cells.png"
    predict(input=path, count=True)
    counts = counts_in(capsys.readouterr().out)
    pixels = np.bincount(expected_mask(weights, path).ravel(), minlength=3)
    assert counts == {
        name: (count, pytest.approx(100 * count / RGB[..., 0].size, abs=0.005))
        for name, count in zip(["background", "cell", "nucleus"], pixels, strict=True)
    }


def test_shares_are_printed_always_and_pixels_on_request(predict, weights, tmp_path, capsys):
    path = folder_of(tmp_path, cells=RGB) / "cells.png"
    predict(input=path)
    output = capsys.readouterr().out
    assert "pixels" not in output
    shares = np.bincount(expected_mask(weights, path).ravel(), minlength=3) / RGB[..., 0].size * 100
    assert list(shares_in(output)) == ["background", "cell", "nucleus"]
    assert list(shares_in(output).values()) == pytest.approx(shares, abs=0.005)


def test_of_many_classes_the_largest_are_named(capsys):
    names, counts = [f"c{index}" for index in range(12)], np.zeros(256, np.int64)
    counts[:12] = np.arange(12) * 100
    print_shares(names, counts, table=False)
    shares = shares_in(capsys.readouterr().out)
    assert list(shares) == [*names[4:], "others"]
    assert sum(shares.values()) == pytest.approx(100, abs=0.1)
    assert shares["others"] == pytest.approx(600 / 66, abs=0.01)


def test_one_class_everywhere_is_reported(predict, weights, tmp_path, capsys):
    path = folder_of(tmp_path, cells=RGB) / "cells.png"
    predict(input=path, model_path=favour(weights, tmp_path / "cell.pth", cell=1e6))
    warning = capsys.readouterr().err
    assert "warning: only one class was found in this picture (cell)" in warning
    assert "0/255" in warning
    predict(input=path, overwrite=True)
    assert "only one class" not in capsys.readouterr().err


def test_names_are_asked_for_until_the_input_ends(predict, tmp_path, monkeypatch, capsys):
    folder = folder_of(tmp_path, first=RGB, second=GRAY)
    lines = [tmp_path / "nowhere.png", "", folder / "first.png", folder, f'"{folder / "second.png"}"  ']
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    predict()
    output = capsys.readouterr().out
    assert output.count("Input image filename:") == len(lines) + 1
    assert re.search(r"error: .*nowhere.png\n  found:    no such file", output)
    assert output.count("Try again.") == 2
    assert sorted(snapshot(tmp_path / "out")) == [
        "first.png",
        "first_mask.png",
        "second.png",
        "second_mask.png",
    ]


def test_picture_that_is_not_there(predict, tmp_path):
    with refused("file-missing", tmp_path / "nowhere.png"):
        predict(input=tmp_path / "nowhere.png")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", ["predict", "dir_predict", "video"])
@pytest.mark.parametrize("output", ["x.tif", "x.PNG", "x.mp4", "in/a.png", "notes"])
def test_folders_of_results_are_not_called_like_files(weights, tmp_path, mode, output):
    folder = folder_of(tmp_path, a=RGB)
    (tmp_path / "notes").write_text("mine")
    before = snapshot(tmp_path)
    with refused("output-is-file"):
        main(Config(mode=mode, model_path=[weights], input=folder, output=tmp_path / output))
    assert snapshot(tmp_path) == before


def test_a_folder_with_a_dot_in_its_name_takes_results(predict, tmp_path):
    path, output = folder_of(tmp_path, cells=RGB) / "cells.png", tmp_path / "x.tif"
    output.mkdir()
    predict(input=path, output=output)
    predict(input=path, output=tmp_path / "v1.2")
    assert (output / "cells.png").is_file() and (tmp_path / "v1.2" / "cells.png").is_file()


@pytest.mark.parametrize("mode", ["predict", "dir_predict"])
@pytest.mark.parametrize("output", ["in", "in/../in"])
def test_results_never_go_among_the_pictures(predict, tmp_path, mode, output):
    folder = folder_of(tmp_path, a=RGB, b=GRAY, b_mask=GRAY)
    write_image(folder / "b.tif", GRAY)
    before = snapshot(tmp_path)
    source = folder if mode == "dir_predict" else folder / "b.tif"
    with refused("output-among-pictures"):
        predict(mode=mode, input=source, output=tmp_path / output)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("mode", ["predict", "dir_predict"])
def test_output_that_cannot_be_written(predict, tmp_path, mode):
    folder = folder_of(tmp_path, a=RGB)
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    source = folder if mode == "dir_predict" else folder / "a.png"
    with refused("file-not-writable"):
        predict(mode=mode, input=source, output=tmp_path / "file" / "out")


@pytest.mark.parametrize("mode", ["predict", "dir_predict"])
@pytest.mark.parametrize("standing", ["a.png", "a_mask.png"])
def test_results_that_exist_are_kept_unless_told(predict, weights, tmp_path, mode, standing):
    folder = folder_of(tmp_path, a=RGB)
    source = folder if mode == "dir_predict" else folder / "a.png"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / standing).write_text("corrected by hand", encoding="utf-8")
    before = snapshot(tmp_path)
    with refused("result-exists", tmp_path / "out" / standing):
        predict(mode=mode, input=source)
    assert snapshot(tmp_path) == before
    predict(mode=mode, input=source, overwrite=True)
    assert np.array_equal(
        read_mask(tmp_path / "out" / "a_mask.png"), expected_mask(weights, folder / "a.png")
    )


def test_a_folder_in_place_of_a_picture(tmp_path):
    model = save_untrained(tmp_path / "model.pth")
    with refused("picture-is-folder", tmp_path):
        main(Config(model_path=model, input=tmp_path, output=tmp_path / "out", device="cpu"))


@pytest.mark.parametrize("shape", [(1, 1), (10, 70_000), (70_000, 10)])
def test_pictures_of_extreme_shape(predict, tmp_path, shape):
    write_image(tmp_path / "in" / "a.png", np.resize(GRAY, shape))
    predict(input=tmp_path / "in" / "a.png")
    assert read_mask(tmp_path / "out" / "a_mask.png").shape == shape


@pytest.mark.parametrize(
    ("settings", "code", "flag"),
    [
        ({"object_classes": ("cell", "cel"), "objects": True}, "class-unknown", "--object-classes"),
        ({"opening": -1}, "setting-range", "--opening"),
        ({"min_area": -5}, "setting-range", "--min-area"),
        ({"pixel_size": "5 miles", "objects": True}, "pixel-size", "--pixel-size"),
    ],
)
@pytest.mark.parametrize("mode", ["predict", "dir_predict"])
def test_wrong_settings_are_refused_before_anything_is_written(predict, tmp_path, mode, settings, code, flag):
    folder = folder_of(tmp_path, a=RGB)
    with refused(code, flag):
        predict(mode=mode, input=folder if mode == "dir_predict" else folder / "a.png", **settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "flag", "wanted"),
    [
        ({"stride": 5}, "--stride", "--mode video"),
        ({"show": True}, "--show", "--mode video"),
        ({"argmax": True}, "--argmax", "--mode export_onnx"),
        ({"skip_existing": True}, "--skip-existing", "--mode dir_predict"),
        ({"mode": "dir_predict", "repeats": 3}, "--repeats", "--mode fps or --mode export_onnx"),
        ({"mode": "export_onnx", "compile": True}, "--compile", "--mode dir_predict"),
        ({"mode": "fps", "fill_holes": True}, "--fill-holes", "--mode predict or --mode dir_predict"),
        ({"mode": "fps", "count": True}, "--count", "--mode predict or --mode dir_predict"),
        ({"mode": "fps", "save_proba": True}, "--save-proba", "--mode predict or --mode dir_predict"),
        ({"mode": "export_onnx", "tta": True}, "--tta", "--mode predict"),
        ({"mode": "export_onnx", "close_gaps": "cell"}, "--close-gaps", "--mode predict"),
        ({"mode": "video", "close_gaps": "cell"}, "--close-gaps", "--mode predict"),
        ({"pixel_size": "0.5um"}, "--pixel-size", "--objects or --mode dir_predict"),
        ({"mode": "dir_predict", "map_bits": 16}, "--map-bits", "--save-proba or --save-uncertainty"),
        ({"mode": "video", "object_classes": ("cell",)}, "--object-classes", "--min-area"),
    ],
    ids=str,
)
def test_settings_without_effect_are_rejected(predict, tmp_path, settings, flag, wanted):
    with refused("flag-without-effect", flag) as caught:
        predict(input=folder_of(tmp_path, a=RGB), **settings)
    assert wanted in caught.value.expected
    assert not (tmp_path / "out").exists()
