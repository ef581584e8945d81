"""Files of a result beside the mask: montage, legend, objects, cutouts, maps, annotations."""

import io

import numpy as np
import pytest
from cells import GRAY, RGB, expected_mask, folder_of
from PIL import Image
from scipy import ndimage
from scripts import ROOT, refused, run_here, snapshot

from unet import Unet
from utils.core.tables import read_table
from utils.images.palette import voc_palette
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image
from utils.labelme.writing import least_iou
from utils.voc.demo import draw_sample


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
    with refused("result-exists", tmp_path / "out" / "labelme" / "a.png"):
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
