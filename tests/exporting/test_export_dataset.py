"""Exporting to COCO and YOLO; what comes back by import_dataset.py, and what foreign readers see."""

import json

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from scipy.ndimage import gaussian_filter
from scripts import refused, save_as, snapshot

import import_dataset
from export_dataset import Config, main
from utils.core.files import write_lines
from utils.exporting.objects import find_objects, to_polygon
from utils.images.masks import read_objects, write_objects
from utils.images.reading import read_mask
from utils.images.rle import decode
from utils.images.writing import write_image, write_mask
from utils.voc.folder import VocFolder

NAMES = ["bg", "cell", "细胞核"]
RNG = np.random.default_rng(0)


def draw_mask(seed, ignored=True):
    """Round regions of two classes with holes, one in the other, and a border that is ignored."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(60, 80)), 3)
    mask = np.digitize(noise, np.quantile(noise, [0.6, 0.85])).astype(np.uint8)
    if ignored:
        mask[:4] = 255
    return mask


def make_folder(root, ignored=True):
    folder = VocFolder(root)
    for number, name in enumerate(("a", "b", "图 3")):
        write_image(folder.images_dir / f"{name}.png", RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        write_mask(folder.mask_path(name), draw_mask(number, ignored))
    write_lines(folder.class_names_path, NAMES)
    folder.write_split("train", ["a", "b"])
    folder.write_split("val", ["图 3"])
    return VocFolder(root)


def test_coco_and_back_is_exact(tmp_path):
    folder = make_folder(tmp_path / "voc")
    numbers = np.where(read_mask(folder.mask_path("a")) == 1, np.arange(80) // 8 + 1, 0).astype(np.uint8)
    write_objects(folder.objects_path("a"), numbers)
    main(Config(voc_root=folder.root, output=tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "instances_train.json",
        "instances_val.json",
    ]
    before = snapshot(tmp_path / "out")
    with refused("output-exists", tmp_path / "out" / "instances_train.json"):
        main(Config(voc_root=folder.root, output=tmp_path / "out"))
    assert snapshot(tmp_path / "out") == before
    back = import_dataset.Config(
        input=tmp_path / "out", images=folder.images_dir, voc_root=tmp_path / "back", instances=True
    )
    import_dataset.main(back)
    found = VocFolder(tmp_path / "back")
    assert found.read_class_names() == NAMES
    for name in ("a", "b", "图 3"):
        np.testing.assert_array_equal(read_mask(found.mask_path(name)), read_mask(folder.mask_path(name)))
    for split in ("train", "val"):
        assert found.read_split(split) == folder.read_split(split)
    # The objects are the same but for their numbers.
    pairs = np.unique(np.stack([numbers, read_objects(found.objects_path("a"))])[:, numbers > 0], axis=1)
    assert pairs.shape[1] == len(np.unique(numbers)) - 1 == len(np.unique(pairs[1]))


def test_coco_as_pycocotools_reads_it(tmp_path):
    folder = make_folder(tmp_path / "voc")
    main(Config(voc_root=folder.root, output=tmp_path / "out"))
    foreign = COCO(str(tmp_path / "out" / "instances_val.json"))
    assert [one["name"] for one in foreign.loadCats(foreign.getCatIds())] == NAMES[1:]
    (image,) = foreign.loadImgs(foreign.getImgIds())
    assert (image["file_name"], image["height"], image["width"]) == ("图 3.png", 60, 80)
    mask = np.zeros((60, 80), np.uint8)
    for one in foreign.loadAnns(foreign.getAnnIds(iscrowd=False)):
        pixels = foreign.annToMask(one).astype(bool)
        assert one["area"] == pixels.sum()
        left, top, width, height = one["bbox"]
        assert pixels[top : top + height, left : left + width].sum() == one["area"]
        mask[pixels] = one["category_id"]
    expected = draw_mask(2)
    np.testing.assert_array_equal(mask, np.where(expected == 255, 0, expected))
    crowds = foreign.loadAnns(foreign.getAnnIds(iscrowd=True))
    assert {one["category_id"] for one in crowds} == {1, 2}
    np.testing.assert_array_equal(foreign.annToMask(crowds[0]) > 0, expected == 255)


def test_yolo_and_back_within_the_tolerance(tmp_path, capsys):
    """Every class keeps an IoU of 0.98: objects have 0.99, and neighbours may overlap."""
    folder = make_folder(tmp_path / "voc")
    main(Config(voc_root=folder.root, output=tmp_path / "out", format="yolo"))
    assert "3 masks with ignored pixels" in capsys.readouterr().err
    listed = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text(encoding="utf-8"))
    assert listed.pop("background") == "bg"
    assert listed == {"train": "images/train", "val": "images/val", "names": {0: "cell", 1: "细胞核"}}
    import_dataset.main(import_dataset.Config(input=tmp_path / "out", voc_root=tmp_path / "back"))
    found = VocFolder(tmp_path / "back")
    assert found.read_class_names() == NAMES
    for name in ("a", "b", "图 3"):
        mask, back = read_mask(folder.mask_path(name)), read_mask(found.mask_path(name))
        for value in (1, 2):
            assert ((mask == value) & (back == value)).sum() >= 0.98 * (
                (mask == value) | (back == value)
            ).sum()
    with refused("output-exists", tmp_path / "out"):
        main(Config(voc_root=folder.root, output=tmp_path / "out", format="yolo"))


def test_yolo_as_opencv_paints_it(tmp_path):
    """Ultralytics paints polygons by cv2.fillPoly, which adds up to a pixel at the edges."""
    mask = np.zeros((60, 80), np.uint8)
    mask[10:40, 20:60] = 1
    mask[20:30, 30:50] = 0
    (found,) = find_objects(mask, None)
    painted = np.zeros((60, 80), np.uint8)
    cv2.fillPoly(painted, [to_polygon(found).astype(np.int32)], 1)
    assert painted[22:28, 33:47].max() == 0
    grown = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    assert (painted[mask == 1] == 1).all()
    assert not painted[grown == 0].any()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 4), st.floats(0.2, 0.8))
def test_every_object_keeps_its_pixels(seed, blur, share):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(40, 50)), blur)
    mask = (noise > np.quantile(noise, share)).astype(np.uint8)
    whole = np.zeros_like(mask)
    for found in find_objects(mask, None):
        pixels = found.full(mask.shape)
        whole += pixels
        painted, (top, bottom, left, right) = decode([to_polygon(found).ravel().tolist()], mask.shape)
        both = (painted & pixels[top:bottom, left:right]).sum()
        assert both >= 0.99 * (painted.sum() + pixels.sum() - both)
    np.testing.assert_array_equal(whole, mask)


def test_objects_of_one_number_stay_together():
    mask = np.zeros((20, 30), np.uint8)
    mask[2:5, 2:5] = mask[2:5, 10:13] = 1
    mask[10:15, 3:9] = 2
    objects = np.where(mask == 1, 7, 0)
    first, second = find_objects(mask, objects)
    np.testing.assert_array_equal(first.full(mask.shape), mask == 1)
    np.testing.assert_array_equal(second.full(mask.shape), mask == 2)
    painted, (top, bottom, left, right) = decode([to_polygon(first).ravel().tolist()], mask.shape)
    np.testing.assert_array_equal(painted, (mask == 1)[top:bottom, left:right])


def test_predicted_masks(tmp_path):
    folder = make_folder(tmp_path / "voc")
    save_as(tmp_path / "img_out" / "a.png", np.zeros((60, 80, 3), np.uint8))  # the overlay
    write_mask(tmp_path / "img_out" / "a_mask.png", draw_mask(9, ignored=False))
    main(Config(voc_root=folder.root, masks=tmp_path / "img_out", output=tmp_path / "out"))
    content = json.loads((tmp_path / "out" / "instances_all.json").read_text(encoding="utf-8"))
    assert [one["file_name"] for one in content["images"]] == ["a.png"]
    foreign = COCO(str(tmp_path / "out" / "instances_all.json"))
    mask = sum(foreign.annToMask(one) * one["category_id"] for one in foreign.loadAnns(foreign.getAnnIds()))
    np.testing.assert_array_equal(mask, draw_mask(9, ignored=False))


def test_predicted_masks_of_other_pictures(tmp_path):
    folder = make_folder(tmp_path / "voc")
    save_as(tmp_path / "new" / "n.jpg", np.zeros((60, 80, 3), np.uint8))
    write_mask(tmp_path / "img_out" / "n_mask.png", draw_mask(9))
    settings = {"images": tmp_path / "new", "masks": tmp_path / "img_out", "format": "yolo"}
    main(Config(voc_root=folder.root, output=tmp_path / "out", **settings))
    assert (tmp_path / "out" / "images" / "all" / "n.jpg").is_file()
    assert (tmp_path / "out" / "labels" / "all" / "n.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_faults_are_named(tmp_path, kind):
    folder = make_folder(tmp_path / "voc")
    write_mask(folder.mask_path("b"), np.full((60, 80), 7, np.uint8))
    with refused("mask-value", folder.mask_path("b")):
        main(Config(voc_root=folder.root, format=kind, output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    with refused("no-pairs", tmp_path / "empty"):
        main(Config(voc_root=folder.root, masks=tmp_path / "empty", format=kind, output=tmp_path / "out"))


def test_predicted_masks_without_class_names_say_so(tmp_path, capsys):
    folder = make_folder(tmp_path / "voc")
    settings = {"images": folder.images_dir, "masks": folder.masks_dir, "output": tmp_path / "out"}
    main(Config(voc_root=tmp_path / "none", **settings))
    said = " ".join(capsys.readouterr().err.split())
    assert "classes are called class_1, class_2. For names, pass the --voc-root" in said
    assert "class 0" not in said
