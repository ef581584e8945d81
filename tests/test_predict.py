"""predict.py: a picture, names that are asked for, a folder, the speed test."""

import io
import os
import re
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from scipy import ndimage
from scripts import ROOT, cut_off, favour, predict_config, run_here, save_as, save_untrained, snapshot, start

from predict import Config, main
from unet import Unet
from utils.core.console import UserError
from utils.core.tables import read_table
from utils.images.large import TiffWindows
from utils.images.palette import voc_palette
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image
from utils.inference.tiling import make_grid
from utils.labelme.writing import least_iou
from utils.voc.demo import draw_sample

GRAY = draw_sample(0, 64)[0][:48]
RGB = np.stack([GRAY, GRAY // 2, 255 - GRAY], axis=-1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("weights") / "best.pth")


@pytest.fixture
def predict(weights, tmp_path):
    """predict.py with a tiny network, writing to tmp_path/out."""

    def run(**settings):
        fixed = {"model_path": weights, "output": tmp_path / "out", "device": "cpu", "precision": "fp32"}
        main(predict_config(**{**fixed, **settings}))

    return run


def expected_mask(weights, path):
    return Unet(weights, "cpu", "fp32").predict(path)


def folder_of(tmp_path, **pictures):
    for name, picture in pictures.items():
        write_image(tmp_path / "in" / f"{name}.png", picture)
    return tmp_path / "in"


def counts_in(output):
    """Pixels and share of every class, as printed."""
    found = re.findall(r"^ +\d+ (\w+) +(\d+) pixels +([\d.]+)%$", output, re.MULTILINE)
    return {name: (int(pixels), float(share)) for name, pixels, share in found}


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


def test_counts_are_printed_on_request_only(predict, tmp_path, capsys):
    predict(input=folder_of(tmp_path, cells=RGB) / "cells.png")
    assert "pixels" not in capsys.readouterr().out


def test_one_class_everywhere_is_told(predict, weights, tmp_path, capsys):
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
    assert re.search(r"error: .*nowhere.png\n  found:    no such picture", output)
    assert output.count("Try again.") == 2
    assert sorted(snapshot(tmp_path / "out")) == [
        "first.png",
        "first_mask.png",
        "second.png",
        "second_mask.png",
    ]


def test_picture_that_is_not_there(predict, tmp_path):
    with pytest.raises(UserError, match="no such picture"):
        predict(input=tmp_path / "nowhere.png")
    assert not (tmp_path / "out").exists()


def test_folder_with_faulty_files(predict, weights, tmp_path, capsys):
    folder = folder_of(tmp_path, a=RGB, b=GRAY, c=RGB, d=GRAY[:30, :31])
    cut_off(folder / "b.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "words.tif").write_bytes(b"these are words")
    (folder / "notes.txt").write_text("not a picture at all", encoding="utf-8")
    predict(mode="dir_predict", input=folder)
    names = ["a.png", "a_mask.png", "c.png", "c_mask.png", "d.png", "d_mask.png", "order.csv", "summary.csv"]
    assert sorted(snapshot(tmp_path / "out")) == names
    for name in "acd":
        assert np.array_equal(
            read_mask(tmp_path / "out" / f"{name}_mask.png"), expected_mask(weights, folder / f"{name}.png")
        )
    output, warning = capsys.readouterr()
    assert f"3 of 6 pictures → {tmp_path / 'out'}" in output
    assert "warning: left out: 3 pictures" in warning
    for name in ("b.png", "empty.jpg", "words.tif"):
        assert str(folder / name) in warning
    assert "notes.txt" not in warning


def test_counts_of_a_folder_are_summed(predict, weights, tmp_path, capsys):
    folder = folder_of(tmp_path, a=RGB, b=GRAY[:30, :31])
    predict(mode="dir_predict", input=folder, count=True)
    counts = counts_in(capsys.readouterr().out)
    masks = [expected_mask(weights, path).ravel() for path in folder.iterdir()]
    assert [pixels for pixels, _ in counts.values()] == np.bincount(
        np.concatenate(masks), minlength=3
    ).tolist()
    assert sum(share for _, share in counts.values()) == pytest.approx(100, abs=0.02)


def test_folder_in_which_one_class_is_found_everywhere(predict, weights, tmp_path, capsys):
    folder = folder_of(tmp_path, a=RGB, b=GRAY)
    predict(
        mode="dir_predict", input=folder, model_path=favour(weights, tmp_path / "cell.pth", background=1e6)
    )
    assert "warning: only one class was found in each of the 2 pictures" in capsys.readouterr().err


def test_folder_in_which_nothing_can_be_read(predict, tmp_path):
    folder = folder_of(tmp_path, a=RGB, b=GRAY)
    for path in folder.iterdir():
        cut_off(path)
    with pytest.raises(UserError, match=r"(?s)none of its 2 pictures.*a\.png.*b\.png"):
        predict(mode="dir_predict", input=folder)


@pytest.mark.parametrize(("content", "found"), [({}, "no picture in this folder"), (None, "no such folder")])
def test_folder_without_pictures(predict, tmp_path, content, found):
    if content is not None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "notes.txt").write_text("no picture", encoding="utf-8")
    with pytest.raises(UserError, match=found):
        predict(mode="dir_predict", input=tmp_path / "in")


def test_folder_mode_of_a_picture(predict, tmp_path):
    picture = folder_of(tmp_path, a=RGB) / "a.png"
    with pytest.raises(UserError, match=r"(?s)a\.png.*found: +a file.*a folder of pictures"):
        predict(mode="dir_predict", input=picture)


def test_folder_mode_without_a_folder(predict):
    with pytest.raises(UserError, match="--input"):
        predict(mode="dir_predict")


@pytest.mark.parametrize("other", ["a.tif", "a_mask.tif"])
def test_picture_whose_result_would_replace_that_of_another(predict, weights, tmp_path, capsys, other):
    folder = folder_of(tmp_path, a=RGB)
    write_image(folder / other, GRAY)
    predict(mode="dir_predict", input=folder)
    assert sorted(snapshot(tmp_path / "out")) == ["a.png", "a_mask.png", "order.csv", "summary.csv"]
    assert np.array_equal(
        read_mask(tmp_path / "out" / "a_mask.png"), expected_mask(weights, folder / "a.png")
    )
    warning = capsys.readouterr().err
    assert "left out: 1 picture\n" in warning
    assert f"{folder / other}\n" in warning


@pytest.mark.parametrize("mode", ["predict", "dir_predict"])
@pytest.mark.parametrize("output", ["in", "in/../in"])
def test_results_never_go_among_the_pictures(predict, tmp_path, mode, output):
    folder = folder_of(tmp_path, a=RGB, b=GRAY, b_mask=GRAY)
    write_image(folder / "b.tif", GRAY)
    before = snapshot(tmp_path)
    source = folder if mode == "dir_predict" else folder / "b.tif"
    with pytest.raises(UserError, match="--output"):
        predict(mode=mode, input=source, output=tmp_path / output)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("mode", ["predict", "dir_predict"])
def test_output_that_cannot_be_written(predict, tmp_path, mode):
    folder = folder_of(tmp_path, a=RGB)
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    source = folder if mode == "dir_predict" else folder / "a.png"
    with pytest.raises(UserError, match="it cannot be written"):
        predict(mode=mode, input=source, output=tmp_path / "file" / "out")


@pytest.mark.parametrize("mode", ["predict", "dir_predict"])
@pytest.mark.parametrize("standing", ["a.png", "a_mask.png"])
def test_results_that_exist_are_kept_unless_told(predict, weights, tmp_path, mode, standing):
    folder = folder_of(tmp_path, a=RGB)
    source = folder if mode == "dir_predict" else folder / "a.png"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / standing).write_text("corrected by hand", encoding="utf-8")
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match=rf"(?s){standing}.*--overwrite"):
        predict(mode=mode, input=source)
    assert snapshot(tmp_path) == before
    predict(mode=mode, input=source, overwrite=True)
    assert np.array_equal(
        read_mask(tmp_path / "out" / "a_mask.png"), expected_mask(weights, folder / "a.png")
    )


def test_montage_shows_the_picture_beside_its_classes(predict, tmp_path):
    path = folder_of(tmp_path, cells=RGB) / "cells.png"
    predict(input=path, mix_type="montage")
    montage = read_image(tmp_path / "out" / "cells.png")
    predict(input=path, overwrite=True)
    assert np.array_equal(montage[:, :64], RGB)
    assert (montage[:, 64:68] == 255).all()
    assert np.array_equal(montage[:, 68:], read_image(tmp_path / "out" / "cells.png"))


def test_legend_stands_beside_the_result(predict, tmp_path):
    path = folder_of(tmp_path, cells=RGB) / "cells.png"
    predict(input=path, legend=True)
    result = read_image(tmp_path / "out" / "cells.png")
    legend = result[:, 64:].reshape(-1, 3)
    predict(input=path, overwrite=True)
    assert np.array_equal(result[:48, :64], read_image(tmp_path / "out" / "cells.png"))
    shown = [(legend == colour).all(axis=1).sum() > 20 for colour in voc_palette(4)]
    assert shown == [False, True, True, False]
    assert (legend[-64:] == 255).all()


def test_objects_are_measured_numbered_and_summed_up(predict, weights, tmp_path):
    path = folder_of(tmp_path, cells=RGB) / "cells.png"
    predict(input=path, objects=True, pixel_size="0.5um", min_area=4)
    mask = read_mask(tmp_path / "out" / "cells_mask.png")
    rows, (summary,) = (read_table(tmp_path / "out" / f"cells_{name}.csv") for name in ("objects", "summary"))
    for index, name in [(1, "cell"), (2, "nucleus")]:
        labels, count = ndimage.label(mask == index, np.ones((3, 3)))
        areas = sorted(np.bincount(labels.ravel())[1:])
        assert sorted(int(row["area_px"]) for row in rows if row["class"] == name) == areas
        assert all(area >= 4 for area in areas)
        assert int(summary[f"{name}_objects"]) == count
        assert float(summary[f"{name}_share"]) == pytest.approx((mask == index).mean(), rel=1e-5)
    assert rows
    assert float(rows[0]["area_um2"]) == float(rows[0]["area_px"]) / 4
    certainty = Unet(weights, "cpu", "fp32").predict_proba(path).max(0).mean()
    assert float(summary["mean_certainty"]) == pytest.approx(certainty, abs=0.003)
    numbered = read_image(tmp_path / "out" / "cells.png")
    predict(input=path, min_area=4, overwrite=True)
    assert (numbered != read_image(tmp_path / "out" / "cells.png")).any(axis=-1).mean() > 0.02


def test_object_classes_are_chosen_by_name(predict, weights, tmp_path):
    path = folder_of(tmp_path, cells=RGB) / "cells.png"
    predict(input=path, objects=True, object_classes=("nucleus",), largest_only=True)
    rows = read_table(tmp_path / "out" / "cells_objects.csv")
    assert [row["class"] for row in rows] == ["nucleus"]
    mask = read_mask(tmp_path / "out" / "cells_mask.png")
    assert (expected_mask(weights, path)[mask == 2] == 2).all()
    assert int(rows[0]["area_px"]) == (mask == 2).sum()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"object_classes": ("cell", "cel"), "objects": True}, "(?s)'cel'.*background, cell, nucleus"),
        ({"opening": -1}, "--opening"),
        ({"min_area": -5}, "--min-area"),
        ({"pixel_size": "5 miles", "objects": True}, "--pixel-size"),
    ],
)
@pytest.mark.parametrize("mode", ["predict", "dir_predict"])
def test_wrong_settings_are_told_before_anything_is_written(predict, tmp_path, mode, settings, message):
    folder = folder_of(tmp_path, a=RGB)
    with pytest.raises(UserError, match=message):
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
        ({"mode": "video", "object_classes": ("cell",)}, "--object-classes", "--min-area"),
    ],
    ids=str,
)
def test_settings_without_effect_are_rejected(predict, tmp_path, settings, flag, wanted):
    with pytest.raises(UserError) as caught:
        predict(input=folder_of(tmp_path, a=RGB), **settings)
    assert (caught.value.code, caught.value.subject) == ("flag-without-effect", flag)
    assert wanted in caught.value.expected
    assert not (tmp_path / "out").exists()


def test_pixel_size_alone_gives_areas_of_a_folder(predict, tmp_path):
    predict(mode="dir_predict", input=folder_of(tmp_path, a=RGB), pixel_size="0.5um")
    (row,) = read_table(tmp_path / "out" / "summary.csv")
    assert float(row["cell_area_um2"]) == int(row["cell_area_px"]) / 4 > 0


def test_cutouts_are_transparent_around_their_class(predict, weights, tmp_path):
    path = folder_of(tmp_path, cells=RGB) / "cells.png"
    predict(input=path, cutouts=True)
    mask = expected_mask(weights, path)
    for index, name in [(1, "cell"), (2, "nucleus")]:
        with Image.open(tmp_path / "out" / f"cells_cutout_{index}_{name}.png") as image:
            assert image.mode == "RGBA"
            pixels = np.asarray(image)
        assert np.array_equal(pixels[..., 3], np.where(mask == index, 255, 0))
        assert np.array_equal(pixels[mask == index, :3], RGB[mask == index])


def test_labelme_file_of_a_prediction_converts_back_to_its_mask(predict, tmp_path, monkeypatch):
    folder = tmp_path / "图片 集"
    image = draw_sample(4, 256)[0]
    write_image(folder / "细胞.png", image)
    predict(input=folder / "细胞.png", model_path=ROOT / "model_data" / "unet_demo.pth", save_labelme=True)
    place = tmp_path / "out" / "labelme"
    assert sorted(snapshot(place)) == ["labels.txt", "细胞.json", "细胞.png"]
    assert (place / "细胞.png").read_bytes() == (folder / "细胞.png").read_bytes()
    command = ["--input", place, "--labels", place / "labels.txt", "--voc-root", tmp_path / "voc"]
    assert run_here(monkeypatch, "json_to_dataset.py", *command) == 0
    mask = read_mask(tmp_path / "out" / "细胞_mask.png")
    assert set(np.unique(mask)) == {0, 1, 2}
    assert least_iou(mask, read_mask(tmp_path / "voc" / "SegmentationClass" / "细胞.png")) >= 0.99


def test_picture_beside_a_labelme_file_is_no_other_one(predict, tmp_path):
    path = folder_of(tmp_path, a=RGB) / "a.png"
    write_image(tmp_path / "out" / "labelme" / "a.png", GRAY)
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match=r"(?s)labelme.a\.png.*--overwrite"):
        predict(input=path, save_labelme=True)
    assert snapshot(tmp_path) == before


def test_labelme_shows_a_turned_photo_as_it_was_predicted(predict, tmp_path, monkeypatch):
    label_file = pytest.importorskip("labelme._label_file")
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "in").mkdir()
    Image.fromarray(RGB).save(tmp_path / "in" / "photo.jpg", exif=exif)
    predict(input=tmp_path / "in" / "photo.jpg", save_labelme=True)
    place = tmp_path / "out" / "labelme"
    # labelme refuses a picture whose size is not that of the file.
    content = label_file.read_label_file(str(place / "photo.json"))
    with Image.open(io.BytesIO(content.image_data)) as shown:
        assert shown.size == (48, 64)
    command = ["--input", place, "--labels", place / "labels.txt", "--voc-root", tmp_path / "voc"]
    assert run_here(monkeypatch, "json_to_dataset.py", *command) == 0
    mask = read_mask(tmp_path / "out" / "photo_mask.png")
    assert mask.shape == (64, 48)
    assert least_iou(mask, read_mask(tmp_path / "voc" / "SegmentationClass" / "photo.png")) >= 0.99


def test_folder_is_listed_from_the_least_to_the_most_certain(predict, weights, tmp_path):
    folder = folder_of(tmp_path, a=RGB, b=GRAY, c=255 - RGB, d=RGB[::-1] // 2)
    predict(mode="dir_predict", input=folder, objects=True)
    rows = read_table(tmp_path / "out" / "order.csv")
    unet = Unet(weights, "cpu", "fp32")
    certainty = {path.name: unet.predict_proba(path).max(0).mean() for path in folder.iterdir()}
    assert [row["picture"] for row in rows] == sorted(certainty, key=certainty.get)
    for row in rows:
        assert float(row["mean_certainty"]) == pytest.approx(certainty[row["picture"]], abs=0.003)
    summary = {row["picture"]: row for row in read_table(tmp_path / "out" / "summary.csv")}
    joined = read_table(tmp_path / "out" / "objects.csv")
    for name in certainty:
        objects = read_table(tmp_path / "out" / f"{name[0]}_objects.csv")
        assert [row for row in joined if row["picture"] == name] == objects
        counted = sum(int(value) for column, value in summary[name].items() if column.endswith("_objects"))
        assert counted == len(objects)
    predict(mode="dir_predict", input=folder, objects=True, overwrite=True)
    assert len(read_table(tmp_path / "out" / "summary.csv")) == 4


def test_tables_of_another_folder_are_kept(predict, tmp_path):
    predict(mode="dir_predict", input=folder_of(tmp_path, a=RGB))
    (tmp_path / "in" / "a.png").rename(tmp_path / "in" / "b.png")
    before = snapshot(tmp_path / "out")
    with pytest.raises(UserError, match=r"summary\.csv"):
        predict(mode="dir_predict", input=tmp_path / "in")
    assert snapshot(tmp_path / "out") == before


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
    with pytest.raises(UserError, match="--repeats"):
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
    ("make", "found"),
    [
        (missing, "no such file"),
        (empty, "zero bytes"),
        (truncated, "damaged or truncated"),
        (words, "no checkpoint"),
        (picture, "no checkpoint"),
        (foreign, "format"),
        (list_of_tensors, "format"),
        (malicious, "it was not loaded"),
        (malicious_in_the_old_format, "it was not loaded"),
    ],
)
def test_checkpoint_that_is_none(predict, tmp_path, make, found):
    path = tmp_path / "weights.pth"
    make(path)
    source = folder_of(tmp_path, a=RGB) / "a.png"
    with pytest.raises(UserError) as caught:
        predict(model_path=path, input=source)
    assert caught.value.subject == str(path)
    assert found in caught.value.found
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "out").exists()


def test_without_a_path_the_newest_weights_are_taken(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = Config(input=folder_of(tmp_path, a=RGB) / "a.png", device="cpu", overwrite=True)
    with pytest.raises(UserError, match="no trained weights"):
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


def test_a_folder_for_a_picture_is_told_the_mode(tmp_path):
    model = save_untrained(tmp_path / "model.pth")
    with pytest.raises(UserError, match="--mode dir_predict"):
        main(Config(model_path=model, input=tmp_path, output=tmp_path / "out", device="cpu"))


@pytest.fixture
def small_is_large(monkeypatch):
    """Pictures above 1,000 pixels go band by band, above 2,000 into TIFFs."""
    for module in ("images.large", "inference.ensemble", "inference.rendering", "inference.results"):
        monkeypatch.setattr(f"utils.{module}.LARGE_PIXELS", 1000)
    monkeypatch.setattr("utils.inference.results.PNG_PIXELS", 2000)

    def make_small_grid(size, side, stride, reach, exact):
        return make_grid(size, 24, 4, 0, exact=True)

    monkeypatch.setattr("utils.inference.ensemble.make_grid", make_small_grid)


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
    predict(input=tmp_path / "in" / "a.png", mix_type="cutout", model_path=favour(
        save_untrained(tmp_path / "b.pth"), tmp_path / "c.pth", cell=1e6))  # fmt: skip
    shown = read_image(tmp_path / "out" / "a.png")[..., 0].astype(int)
    assert shown[-1, -1] - shown[0, 0] > 200
    assert (np.diff(shown.ravel()) >= 0).all()


def test_a_large_result_that_exists_is_kept(predict, tmp_path, small_is_large):
    path = folder_of(tmp_path, a=RGB) / "a.png"
    predict(input=path)
    before = snapshot(tmp_path / "out")
    with pytest.raises(UserError, match="overwrite"):
        predict(input=path)
    assert snapshot(tmp_path / "out") == before
    predict(input=path, overwrite=True)


@pytest.mark.parametrize("bits", [8, 16])
def test_maps_are_written_as_pictures(predict, weights, tmp_path, bits):
    path = folder_of(tmp_path, a=RGB) / "a.png"
    predict(input=path, save_proba=True, save_uncertainty=True, map_bits=bits)
    expected = Unet(weights, "cpu", "fp32").predict_proba(path)
    for index, name in enumerate(["background", "cell", "nucleus"]):
        found = read_image(tmp_path / "out" / f"a_proba_{index}_{name}.png")
        assert found.dtype == (np.uint8 if bits == 8 else np.uint16)
        np.testing.assert_allclose(found / (2**bits - 1), expected[index], atol=0.51 / (2**bits - 1))
    uncertain = -(expected * np.log(expected)).sum(0) / np.log(3)
    found = read_image(tmp_path / "out" / "a_uncertainty.png")
    np.testing.assert_allclose(found / (2**bits - 1), uncertain, atol=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (10, 70_000), (70_000, 10)])
def test_pictures_of_extreme_shape(predict, tmp_path, shape):
    write_image(tmp_path / "in" / "a.png", np.resize(GRAY, shape))
    predict(input=tmp_path / "in" / "a.png")
    assert read_mask(tmp_path / "out" / "a_mask.png").shape == shape


@pytest.mark.parametrize("tile", [18, -1], ids=["in a row of four tiles", "in the last tile"])
def test_a_file_that_is_cut_off_leaves_no_half_results(predict, tmp_path, small_is_large, tile):
    path = tmp_path / "in" / "a.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, np.tile(RGB, (3, 1, 1)), tile=(16, 16), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(path) as file:
        place = file.pages.first.dataoffsets[tile]
    path.write_bytes(path.read_bytes()[: place + 5])
    with pytest.raises(UserError, match=r"(?s)a\.tif.*a damaged or truncated picture"):
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


def test_several_models_and_all_sides_from_the_command_line(weights, tmp_path, monkeypatch, capsys):
    path = folder_of(tmp_path, a=RGB) / "a.png"
    other = favour(weights, tmp_path / "other.pth", cell=0.5)
    models = ["--model-path", weights, other]
    assert run_here(monkeypatch, "predict.py", *models, "--tta", "--input", path, "--output", tmp_path / "out",
                    "--device", "cpu", "--precision", "fp32") == 0  # fmt: skip
    assert f"model    {weights} + {other}" in capsys.readouterr().out
    expected = Unet([weights, other], "cpu", "fp32", tta=True).predict(path)
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "a_mask.png"), expected)


def nested(tmp_path, count=5):
    for index in range(count):
        write_image(tmp_path / "in" / f"day {index % 2}" / f"{index}.png", np.roll(RGB, 9 * index, axis=1))
    write_image(tmp_path / "in" / ".hidden" / "no.png", RGB)
    return tmp_path / "in"


def test_subfolders_keep_their_structure(predict, weights, tmp_path):
    folder = nested(tmp_path)
    write_image(folder / "day 0" / "1.png", GRAY)
    output = folder / "out"
    for _ in range(2):
        predict(mode="dir_predict", input=folder, output=output, overwrite=True)
        masks = sorted(name for name in snapshot(output) if name.endswith("_mask.png"))
        assert masks == [f"day {d}/{n}_mask.png" for d, n in [(0, 0), (0, 1), (0, 2), (0, 4), (1, 1), (1, 3)]]
    for name in masks:
        source = folder / name.replace("_mask", "")
        assert np.array_equal(read_mask(output / name), expected_mask(weights, source))


def test_resuming_does_only_what_is_missing(predict, tmp_path, capsys):
    folder = nested(tmp_path)
    predict(mode="dir_predict", input=folder)
    before = snapshot(tmp_path / "out")
    (tmp_path / "out" / "day 1" / "3_mask.png").unlink()
    with pytest.raises(UserError, match="--overwrite"):
        predict(mode="dir_predict", input=folder)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*_mask.png")}
    capsys.readouterr()
    predict(mode="dir_predict", input=folder, skip_existing=True)
    assert "1 of 5 pictures" in capsys.readouterr().out
    assert snapshot(tmp_path / "out").keys() == before.keys()
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert len((tmp_path / "out" / "order.csv").read_text("utf-8").splitlines()) == 1 + 5
    predict(mode="dir_predict", input=folder, skip_existing=True)
    assert "0 of 5 pictures" in capsys.readouterr().out


def predict_in_two(script, tmp_path, *arguments):
    """A script that runs predict.py's main, started by torchrun."""
    launch = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        str(script),
        "--mode",
        "dir_predict",
    ]
    done = start([*launch, "--device", "cpu", "--precision", "fp32", *map(str, arguments)], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done


def test_processes_share_a_folder(weights, predict, tmp_path):
    folder, shared = nested(tmp_path), tmp_path / "shared"
    cut_off(folder / "day 1" / "3.png")
    arguments = ["--input", folder, "--output", shared, "--model-path", weights]
    done = predict_in_two(ROOT / "predict.py", tmp_path, *arguments)
    assert "shared by 2 processes: 2, 2 pictures" in done.stdout or "3, 1" in done.stdout
    assert done.stdout.count("4 of 5 pictures") == 1
    assert done.stderr.count("left out: 1 picture\n") == 1
    predict(mode="dir_predict", input=folder)
    alone, together = snapshot(tmp_path / "out"), snapshot(shared)
    assert alone.keys() == together.keys()
    assert all(
        alone[name] == together[name] for name in alone if name.endswith(".png") or name == "order.csv"
    )


def test_processes_that_resume_share_one_list(weights, predict, tmp_path):
    """Though one of them looks later at what is done, none is left out and none done twice."""
    folder, out = nested(tmp_path, 6), tmp_path / "out"
    predict(mode="dir_predict", input=folder, objects=True)
    before = snapshot(out)
    for name in ("day 0/0", "day 0/2", "day 1/3", "day 1/5"):
        (out / f"{name}_mask.png").unlink()
    late = tmp_path / "late.py"
    late.write_text(
        "import os, time, predict\n"
        "from utils.core.console import run_script\n"
        "look = predict.ResultWriter.is_done\n"
        "late = lambda *of: (time.sleep(0.2 * int(os.environ['RANK'])), look(*of))[1]\n"
        "predict.ResultWriter.is_done = late\n"
        "if __name__ == '__main__':\n"
        "    run_script(predict.main, predict.Config, '')\n",
        encoding="utf-8",
    )
    done = predict_in_two(
        late, tmp_path, "--input", folder, "--output", out, "--model-path", weights, "--objects", "--resume"
    )
    assert "4 of 6 pictures" in done.stdout
    assert "shared by 2 processes: 2, 2 pictures" in done.stdout
    after = snapshot(out)
    assert all(after[name] == before[name] for name in before if name != "summary.csv")
    assert after.keys() == before.keys()
    # Four were done again; each picture has one row.
    rows = [row["picture"] for row in read_table(out / "summary.csv")]
    assert sorted(rows) == sorted(row["picture"] for row in read_table(out / "order.csv")) and len(rows) == 6


def test_a_single_picture_is_not_resumed_but_kept(predict, tmp_path):
    path = folder_of(tmp_path, a=RGB) / "a.png"
    predict(input=path)
    with pytest.raises(UserError, match="--overwrite"):
        predict(input=path)
    with pytest.raises(UserError) as caught:
        predict(input=path, skip_existing=True)
    assert (caught.value.code, caught.value.subject) == ("flag-without-effect", "--skip-existing")


def test_resuming_keeps_polygons_that_were_corrected_by_hand(predict, tmp_path):
    folder = folder_of(tmp_path, a=RGB, b=GRAY)
    predict(mode="dir_predict", input=folder, save_labelme=True)
    corrected = tmp_path / "out" / "labelme" / "a.json"
    corrected.write_text(corrected.read_text("utf-8").replace('"cell"', '"nucleus"') + "\n", encoding="utf-8")
    before = corrected.read_bytes()
    predict(mode="dir_predict", input=folder, save_labelme=True, save_uncertainty=True, skip_existing=True)
    assert (tmp_path / "out" / "a_uncertainty.png").exists()
    assert corrected.read_bytes() == before


def test_results_that_look_like_parts_of_the_summary_are_kept(predict, tmp_path):
    folder = tmp_path / "in"
    write_image(folder / "summary.1.png", RGB)
    predict(mode="dir_predict", input=folder, objects=True)
    assert (tmp_path / "out" / "summary.1_objects.csv").exists()


def test_a_picture_of_floats_in_a_folder_is_left_out_by_name(predict, tmp_path, capsys, small_is_large):
    folder = folder_of(tmp_path, a=RGB)
    tifffile.imwrite(folder / "b.tif", np.ones((50, 50), np.float32), photometric="minisblack")
    predict(mode="dir_predict", input=folder)
    assert f"{folder / 'b.tif'}\n  found:    floating-point values" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [{"legend": True}, {"closing": 1}])
def test_huge_results_of_the_whole_picture_are_tiffs_too(predict, tmp_path, small_is_large, settings):
    path = folder_of(tmp_path, a=RGB) / "a.png"
    predict(input=path, **settings)
    assert {"a.tif", "a_mask.tif"} == set(snapshot(tmp_path / "out"))
    assert read_mask(tmp_path / "out" / "a_mask.tif").shape == RGB.shape[:2]


def test_a_picture_whose_result_would_replace_the_copy_of_another(predict, tmp_path, capsys):
    folder = folder_of(tmp_path, a=RGB)
    write_image(folder / "labelme" / "a.png", GRAY)
    predict(mode="dir_predict", input=folder, save_labelme=True)
    assert "has the same name and would share its result a.png" in capsys.readouterr().err
    assert (tmp_path / "out" / "labelme" / "a.png").read_bytes() == (folder / "a.png").read_bytes()


def test_a_copy_of_another_picture_stops_a_folder_before_it_begins(predict, tmp_path):
    folder = folder_of(tmp_path, a=RGB, b=GRAY)
    write_image(tmp_path / "out" / "labelme" / "b.png", RGB)
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match=r"labelme.b\.png"):
        predict(mode="dir_predict", input=folder, save_labelme=True)
    assert snapshot(tmp_path) == before


def test_overwriting_renews_the_list_of_labels(predict, tmp_path):
    folder, labels = folder_of(tmp_path, a=RGB), tmp_path / "out" / "labelme" / "labels.txt"
    predict(mode="dir_predict", input=folder, save_labelme=True)
    wanted = labels.read_text(encoding="utf-8")
    labels.write_text("__ignore__\n_background_\nother\n", encoding="utf-8")
    predict(mode="dir_predict", input=folder, save_labelme=True, overwrite=True)
    assert labels.read_text(encoding="utf-8") == wanted


def test_deleted_pictures_of_windows_are_passed_over(predict, tmp_path, capsys):
    folder = folder_of(tmp_path, a=RGB)
    write_image(folder / "$RECYCLE.BIN" / "b.png", GRAY)
    predict(mode="dir_predict", input=folder)
    assert "1 of 1 pictures" in capsys.readouterr().out


def test_no_path_after_the_flag_is_the_newest_model(predict, weights, tmp_path, monkeypatch):
    (tmp_path / "model_data").mkdir()
    (tmp_path / "model_data" / "own.pth").write_bytes(weights.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert Unet([], "cpu", "fp32").model_path.name == "own.pth"
