"""Importing data sets that are known by their folders."""

import numpy as np
import pytest
from PIL import Image
from refusal import refused
from scripts import save_as

from import_dataset import Config, main
from utils.core.files import write_lines
from utils.images.masks import read_objects
from utils.images.reading import read_mask
from utils.importing.layouts import CITYSCAPES
from utils.voc.folder import VocFolder

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
INDICES = np.kron(np.arange(20).reshape(4, 5), np.ones((10, 10), int)).astype(np.uint8)


def convert(tmp_path, **settings):
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc", **settings))
    return VocFolder(tmp_path / "voc")


def dot(row, column, value=255):
    mask = np.zeros((40, 50), np.uint8)
    mask[row : row + 3, column : column + 3] = value
    return mask


@pytest.mark.parametrize(
    "layout", ["{name}/images/{name}.png {name}/masks/{n}.png", "images/{name}.png masks/{name}/{n}.png"]
)
def test_one_file_per_object(tmp_path, layout):
    picture, mask = layout.split()
    for name in ("a", "b"):
        save_as(tmp_path / "in" / picture.format(name=name), PICTURE)
        for number in range(3 if name == "a" else 300):
            path = tmp_path / "in" / mask.format(name=name, n=f"{number:03d}")
            save_as(path, dot(number // 12, number % 12 * 4))
    folder = convert(tmp_path, instances=True)
    assert folder.read_class_names() == ["background", "object"]
    expected = dot(0, 0) // 255 + dot(0, 4) // 255 * 2 + dot(0, 8) // 255 * 3
    np.testing.assert_array_equal(read_objects(folder.objects_path("a")), expected)
    np.testing.assert_array_equal(read_mask(folder.mask_path("a")), expected > 0)
    # Rows overlap: of 300 objects all but 255, which means ignored, are numbers.
    assert len(np.unique(read_objects(folder.objects_path("b")))) == 301


def test_masks_of_another_size_than_the_picture(tmp_path):
    for name in ("a", "b"):
        save_as(tmp_path / "in" / name / "images" / f"{name}.png", PICTURE)
        save_as(tmp_path / "in" / name / "masks" / "1.png", dot(0, 0)[1:])
    errors = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert {error.code for error in errors} == {"mask-size"}


def test_cityscapes(tmp_path):
    ids = np.array([0, 7, 8, 11, 33, 24, 26, 4, 255, 23], np.uint8)[INDICES // 2]
    numbered = np.where(ids == 26, 26001, ids.astype(np.uint16)).astype(np.uint16)
    numbered[ids == 24] = 24003
    for split in ("train", "val", "test"):
        stem = f"{split}/town/town_{split}_000019"
        save_as(tmp_path / "in" / "leftImg8bit" / f"{stem}_leftImg8bit.png", PICTURE)
        save_as(tmp_path / "in" / "gtFine" / f"{stem}_gtFine_labelIds.png", ids)
        save_as(tmp_path / "in" / "gtFine" / f"{stem}_gtFine_instanceIds.png", numbered)
        save_as(tmp_path / "in" / "gtFine" / f"{stem}_gtFine_color.png", PICTURE)
    folder = convert(tmp_path, instances=True)
    assert folder.read_class_names() == list(CITYSCAPES.values())
    assert folder.read_class_names()[18] == "bicycle"
    assert folder.read_split("train") == ["town_train_000019"]
    assert folder.read_split("val") == ["town_val_000019"]
    assert sorted(folder.images) == ["town_train_000019", "town_val_000019"]
    train_ids = np.array([255, 0, 1, 2, 18, 11, 13, 255, 255, 10], np.uint8)[INDICES // 2]
    np.testing.assert_array_equal(read_mask(folder.mask_path("town_val_000019")), train_ids)
    objects = read_objects(folder.objects_path("town_val_000019"))
    np.testing.assert_array_equal(objects, (ids == 24) * 1 + (ids == 26) * 2)


def test_camvid(tmp_path):
    colors = np.array([[128, 128, 128], [64, 0, 64], [64, 128, 192], [0, 0, 0]], np.uint8)
    save_as(tmp_path / "in" / "701_StillsRaw_full" / "x.png", PICTURE)
    save_as(tmp_path / "in" / "LabeledApproved_full" / "x_L.png", colors[INDICES // 5])
    folder = convert(tmp_path, instances=True)
    assert not folder.objects_dir.exists()
    expected = np.array([0, 1, 8, 255], np.uint8)[INDICES // 5]
    np.testing.assert_array_equal(read_mask(folder.mask_path("x")), expected)
    assert folder.read_class_names()[8] == "car"


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_masks_of_cvat(tmp_path, mode):
    root, colors = tmp_path / "in", np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255]], np.uint8)
    write_lines(
        root / "labelmap.txt",
        ["# label:color_rgb:parts:actions", "background:0,0,0::", "细胞:51,221,255::", "b:250,50,83::"],
    )
    values = INDICES % 3
    for name in ("x", "y", "gone"):
        if name != "gone":
            save_as(root / "JPEGImages" / f"{name}.jpg", PICTURE)
        path = root / "SegmentationClass" / f"{name}.png"
        save_as(path, colors[values])
        if mode == "P":
            image = Image.fromarray(values)
            image.putpalette(colors.ravel().tolist())
            image.save(path)
        save_as(root / "SegmentationObject" / f"{name}.png", colors[values])
    write_lines(root / "ImageSets" / "Segmentation" / "train.txt", ["x", "gone"])
    write_lines(root / "ImageSets" / "Segmentation" / "val.txt", ["y"])
    folder = convert(tmp_path, instances=True)
    assert folder.read_class_names() == ["background", "细胞", "b"]
    np.testing.assert_array_equal(read_mask(folder.mask_path("x")), np.array([0, 2, 1], np.uint8)[values])
    assert len(np.unique(read_objects(folder.objects_path("x")))) == 3
    assert (folder.read_split("train"), folder.read_split("val")) == (["x"], ["y"])
    save_as(root / "SegmentationClass" / "x.png", np.full((40, 50, 3), 9, np.uint8))
    (error,) = refused(tmp_path, main, Config(input=root, voc_root=tmp_path / "other"))
    assert error.code == "mask-color"


def test_layout_of_ade(tmp_path):
    """Split folders of pictures and masks: official splits and the names of objectInfo150.txt."""
    for split in ("training", "validation"):
        save_as(tmp_path / "in" / "images" / split / f"ADE_{split}_1.jpg", PICTURE)
        save_as(tmp_path / "in" / "annotations" / split / f"ADE_{split}_1.png", INDICES % 3)
    write_lines(tmp_path / "in" / "objectInfo150.txt", ["Idx\tName", "1\twall", "2\tbuilding, edifice"])
    folder = convert(tmp_path)
    assert folder.read_class_names() == ["background", "wall", "building"]
    assert (folder.read_split("train"), folder.read_split("val")) == (
        ["ADE_training_1"],
        ["ADE_validation_1"],
    )
    np.testing.assert_array_equal(read_mask(folder.mask_path("ADE_training_1")), INDICES % 3)


def test_segnet_camvid(tmp_path):
    for split in ("train", "val"):
        save_as(tmp_path / "in" / split / f"{split}_1.png", PICTURE)
        save_as(tmp_path / "in" / f"{split}annot" / f"{split}_1.png", INDICES % 3)
    folder = convert(tmp_path)
    assert (folder.read_split("train"), folder.read_split("val")) == (["train_1"], ["val_1"])


def test_semantic_masks_of_roboflow(tmp_path):
    for split in ("train", "valid", "test"):
        save_as(tmp_path / "in" / split / f"{split}.rf.1a.jpg", PICTURE)
        save_as(tmp_path / "in" / split / f"{split}.rf.1a_mask.png", INDICES % 3)
        write_lines(
            tmp_path / "in" / split / "_classes.csv", ["Pixel Value, Class", "0, background", "1, a", "2, b"]
        )
    folder = convert(tmp_path)
    assert folder.read_class_names() == ["background", "a", "b"]
    assert (folder.read_split("val"), folder.read_split("test")) == (["valid.rf.1a"], ["test.rf.1a"])
    np.testing.assert_array_equal(read_mask(folder.mask_path("train.rf.1a")), INDICES % 3)


def test_pairs_whose_classes_have_another_order_do_not_mix(tmp_path):
    for name, classes in {"one": "ab", "two": "ba"}.items():
        save_as(tmp_path / name / f"{name}.jpg", PICTURE)
        save_as(tmp_path / name / f"{name}_mask.png", INDICES % 3)
        rows = [f"{value}, {label}" for value, label in enumerate(["background", *classes])]
        write_lines(tmp_path / name / "_classes.csv", ["Pixel Value, Class", *rows])
    main(Config(input=tmp_path / "one", voc_root=tmp_path / "voc"))
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "two", voc_root=tmp_path / "voc"))
    assert (error.code, error.subject) == ("class-order", str(tmp_path / "two" / "_classes.csv"))
