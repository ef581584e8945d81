"""Importing COCO's JSON; pycocotools' own reader agrees."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pycocotools import mask as codec
from pycocotools.coco import COCO
from refusal import refused
from scripts import save_as, snapshot

from import_dataset import Config, main
from utils.core.console import UserError
from utils.images.reading import read_mask
from utils.images.rle import decode, encode
from utils.voc.folder import VocFolder

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
CATEGORIES = [
    {"id": 7, "name": "cell", "supercategory": "thing"},
    {"id": 3, "name": "细胞核", "supercategory": "thing"},
]
POLYGON = [[5.5, 4.25, 30.0, 6.5, 24.25, 33.0, 8.0, 30.5]]
TWO_RINGS = [[40, 2, 48, 2, 48, 9, 40, 9], [40, 20, 48, 20, 44, 30]]


def disc(x, y, radius, shape=(40, 50)):
    rows, columns = np.indices(shape)
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


RING = disc(15, 18, 6) & ~disc(15, 18, 3)


def annotation(number, image, category, segmentation, **more):
    entry = {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation}
    return {"iscrowd": 0, "bbox": [30, 30, 8, 6], **entry, **more}


def write_coco(path, images, annotations, categories=CATEGORIES):
    listed = [{"id": number, "file_name": name, "height": 40, "width": 50} for number, name in images.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "info": {},
        "licenses": [],
        "images": listed,
        "annotations": annotations,
        "categories": categories,
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def uncompressed(mask):
    runs, flat = [], mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs}


def make_coco(root):
    """The layout of COCO 2017: two splits, every form of region, a crowd, a box, an empty picture."""
    for split, names in {"train2017": ["a.jpg", "b.jpg"], "val2017": ["a.jpg"]}.items():
        for name in names:
            save_as(root / split / name, PICTURE)
    train = [
        annotation(1, 10, 3, encode(RING)),
        annotation(2, 10, 7, POLYGON),
        annotation(3, 10, 7, TWO_RINGS),
        annotation(4, 10, 7, uncompressed(disc(40, 35, 9)), iscrowd=1),
        annotation(5, 10, 7, []),
        *(annotation(number, 11, 7, POLYGON) for number in range(6, 20)),
    ]
    write_coco(root / "annotations" / "instances_train2017.json", {10: "a.jpg", 11: "b.jpg"}, train)
    write_coco(root / "annotations" / "instances_val2017.json", {5: "a.jpg"}, [annotation(1, 5, 7, POLYGON)])
    (root / "annotations" / "captions_val2017.json").write_text(
        json.dumps({"images": [], "annotations": [{"id": 1, "caption": "a"}]}), encoding="utf-8"
    )


def masks_of_pycocotools(path, number):
    foreign = COCO(str(path))
    return {
        one["id"]: foreign.annToMask(one).astype(bool)
        for one in foreign.loadAnns(foreign.getAnnIds([number]))
        if one["segmentation"]
    }


def test_masks_are_those_of_pycocotools(tmp_path, capsys):
    make_coco(tmp_path / "in")
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc", instances=True))
    folder = VocFolder(tmp_path / "voc")
    assert folder.read_class_names() == ["background", "cell", "细胞核"]
    assert sorted(folder.images) == ["b", "train2017_a", "val2017_a"]
    found = masks_of_pycocotools(tmp_path / "in" / "annotations" / "instances_train2017.json", 10)
    expected = np.zeros((40, 50), np.uint8)
    expected[30:36, 30:38] = 255
    expected[found[4]] = 255
    # The small ring lies in the large polygon and stays visible, although it comes first in the file.
    expected[found[2] | found[3]] = 1
    expected[found[1]] = 2
    np.testing.assert_array_equal(read_mask(folder.mask_path("train2017_a")), expected)
    objects = read_mask(folder.objects_path("train2017_a"))
    np.testing.assert_array_equal(np.unique(objects), [0, 1, 2, 3])
    np.testing.assert_array_equal(objects == 3, RING)
    assert (folder.read_split("train"), folder.read_split("val")) == (["train2017_a", "b"], ["val2017_a"])
    output = capsys.readouterr()
    assert "1 × crowd" in output.err
    assert "1 × box" in output.err
    before = snapshot(tmp_path / "voc")
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc", instances=True))
    assert snapshot(tmp_path / "voc") == before


def test_masks_that_cvat_calls_crowds_are_objects(tmp_path, capsys):
    save_as(tmp_path / "in" / "a.jpg", PICTURE)
    masks = [
        annotation(1, 1, 7, uncompressed(RING), iscrowd=1),
        annotation(2, 1, 7, encode(disc(40, 35, 5)), ignore=1),
    ]
    write_coco(tmp_path / "in" / "a.json", {1: "a.jpg", 2: "gone.jpg"}, masks)
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    mask = read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png")
    np.testing.assert_array_equal(mask == 1, RING)
    np.testing.assert_array_equal(mask == 255, disc(40, 35, 5))
    output = capsys.readouterr().err
    assert "1 × mask with iscrowd=1" in output
    assert "gone.jpg" in output


def test_one_file_with_its_pictures_elsewhere(tmp_path):
    make_coco(tmp_path / "in")
    path = tmp_path / "in" / "annotations" / "instances_train2017.json"
    settings = {"input": path, "voc_root": tmp_path / "voc"}
    (error,) = refused(tmp_path, main, Config(**settings))
    assert error.code == "no-pictures"
    main(Config(**settings, images=tmp_path / "in" / "train2017"))
    folder = VocFolder(tmp_path / "voc")
    assert sorted(folder.images) == ["a", "b"]
    # Training pictures alone are no split.
    assert not folder.splits_dir.exists()


def test_layout_of_roboflow(tmp_path):
    categories = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 1, "name": "cell", "supercategory": "cells"},
    ]
    for split in ("train", "valid", "test"):
        save_as(tmp_path / "in" / split / f"x_{split}.jpg", PICTURE)
        path = tmp_path / "in" / split / "_annotations.coco.json"
        write_coco(path, {0: f"x_{split}.jpg"}, [annotation(0, 0, 1, POLYGON)], categories)
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    folder = VocFolder(tmp_path / "voc")
    assert folder.read_class_names() == ["background", "cell"]
    for split, other in {"train": "train", "val": "valid", "test": "test"}.items():
        assert folder.read_split(split) == [f"x_{other}"]


def test_names_of_pictures_are_no_split(tmp_path):
    names = ["train_1.jpg", "val_image.jpg", "test_image.jpg"]
    for name in names:
        save_as(tmp_path / "in" / "images" / name, PICTURE)
    write_coco(tmp_path / "in" / "all.json", dict(enumerate(names)), [annotation(0, 0, 3, POLYGON)])
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert not VocFolder(tmp_path / "voc").splits_dir.exists()


def test_classes_are_joined_by_name(tmp_path):
    """A second data set with its classes in another order, and one more, into the same folder."""
    for name, categories in {
        "one": CATEGORIES,
        "two": [{"id": 1, "name": "new"}, {"id": 2, "name": "细胞核"}],
    }.items():
        save_as(tmp_path / name / f"{name}.png", PICTURE)
        numbers = [one["id"] for one in categories]
        drawn = [annotation(1, 1, numbers[0], POLYGON), annotation(2, 1, numbers[1], encode(RING))]
        write_coco(tmp_path / name / "x.json", {1: f"{name}.png"}, drawn, categories)
        main(Config(input=tmp_path / name, voc_root=tmp_path / "voc"))
    folder = VocFolder(tmp_path / "voc")
    assert folder.read_class_names() == ["background", "cell", "细胞核", "new"]
    one, two = read_mask(folder.mask_path("one")), read_mask(folder.mask_path("two"))
    np.testing.assert_array_equal(two, np.array([0, 3, 2], np.uint8)[one])


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda c: c["annotations"][0].update(segmentation=[]), "regions-missing"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4]]), "region"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5, "x"]]), "region"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5, float("nan")]]), "region"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [40, 50], "counts": [9]}), "region"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [40, 51], "counts": [2040]}), "region"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [40, 50], "counts": "~~~~"}), "region"),
        (lambda c: c["annotations"][0].update(category_id=99), "coco-entry"),
        (lambda c: c["categories"].append(3.5), "coco-entry"),
        (lambda c: c["categories"][0].update(name=" "), "class-name-empty"),
        (lambda c: c["images"][0].update(height=float("inf")), "coco-entry"),
        (lambda c: c["images"][0].pop("file_name"), "coco-entry"),
        (lambda c: c["images"][0].update(height=41), "picture-size"),
        (lambda c: c["images"][0].update(file_name="other.jpg"), "no-pictures"),
    ],
)
def test_faults_are_named(tmp_path, spoil, code):
    save_as(tmp_path / "in" / "a.jpg", PICTURE)
    path = tmp_path / "in" / "a.json"
    write_coco(path, {1: "a.jpg"}, [annotation(1, 1, 7, POLYGON)])
    content = json.loads(path.read_text(encoding="utf-8"))
    spoil(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert error.code == code


def test_pictures_of_a_type_that_is_not_read_are_told(tmp_path, capsys):
    save_as(tmp_path / "in" / "images" / "a.jpg", PICTURE)
    (tmp_path / "in" / "images" / "b.psd").write_bytes(b"8BPS")
    listed = [annotation(1, 1, 7, POLYGON), annotation(2, 2, 7, POLYGON)]
    write_coco(tmp_path / "in" / "a.json", {1: "a.jpg", 2: "b.psd"}, listed)
    main(
        Config(input=tmp_path / "in" / "a.json", images=tmp_path / "in" / "images", voc_root=tmp_path / "voc")
    )
    error = capsys.readouterr().err
    assert "1 file not found, such as b.psd" in error
    assert "1 drawing or document file, such as b.psd (export them as PNG)" in error


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_annotations_of_a_picture_before_its_exif_turn(tmp_path, orientation):
    """Programs that ignore EXIF state the size of the stored pixels. The mask is turned as the picture is."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "in").mkdir()
    Image.fromarray(PICTURE).save(tmp_path / "in" / "a.png", exif=exif)
    write_coco(tmp_path / "in" / "a.json", {1: "a.png"}, [annotation(1, 1, 7, encode(RING))])
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc", instances=True))
    stored = Image.fromarray(RING.astype(np.uint8))
    stored.getexif()[0x0112] = orientation
    expected = np.array(ImageOps.exif_transpose(stored))
    assert expected.shape == (50, 40)
    for part in ("SegmentationClass", "SegmentationObject"):
        np.testing.assert_array_equal(read_mask(tmp_path / "voc" / part / "a.png"), expected)


COORDINATES = st.lists(st.tuples(st.floats(-30, 90), st.floats(-30, 90)), min_size=3, max_size=8)


@settings(max_examples=200, deadline=None)
@given(st.lists(COORDINATES, min_size=1, max_size=3))
def test_polygons_are_painted_as_pycocotools_does(polygons):
    rings = [[value for point in points for value in point] for points in polygons]
    pixels, (top, bottom, left, right) = decode(rings, (40, 50))
    mask = np.zeros((40, 50), np.uint8)
    mask[top:bottom, left:right] = pixels
    np.testing.assert_array_equal(mask, codec.decode(codec.merge(codec.frPyObjects(rings, 40, 50))))


def test_missing_package_is_named_with_its_command(tmp_path, monkeypatch):
    save_as(tmp_path / "in" / "a.jpg", PICTURE)
    write_coco(tmp_path / "in" / "a.json", {1: "a.jpg"}, [annotation(1, 1, 7, POLYGON)])
    monkeypatch.setitem(__import__("sys").modules, "pycocotools.mask", None)
    with pytest.raises(UserError) as caught:
        main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert (caught.value.code, caught.value.remedy) == ("package-missing", "pip install pycocotools")
