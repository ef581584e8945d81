"""Importing YOLO's segmentation text."""

import numpy as np
import pytest
from pycocotools import mask as codec
from refusal import refused
from scripts import save_as

from import_dataset import Config, main
from utils.images.reading import read_mask
from utils.voc.folder import VocFolder

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
LARGE = [0.1, 0.1, 0.9, 0.125, 0.85, 0.9, 0.2, 0.8]
SMALL = [0.4, 0.4, 0.6, 0.4, 0.5, 0.65]
YAML = "path: ../x\ntrain: images/train\nval: images/val\nnc: 2\nnames: {lists}\n"


def line(value, numbers):
    return " ".join(map(str, [value, *numbers]))


def painted(numbers):
    """As pycocotools paints the polygon."""
    polygon = [share * (50, 40)[place % 2] for place, share in enumerate(numbers)]
    return codec.decode(codec.frPyObjects([polygon], 40, 50))[..., 0].astype(bool)


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")


LAYOUTS = {
    "ultralytics": ("images/{split}/{name}.png", "labels/{split}/{name}.txt", ("train", "val")),
    "roboflow": ("{split}/images/{name}.png", "{split}/labels/{name}.txt", ("train", "valid")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lists", ["[cell, 细胞核]", "{0: cell, 1: 细胞核}"])
def test_layouts(tmp_path, layout, lists, capsys):
    picture, text, splits = LAYOUTS[layout]
    for name, split in zip(("a", "b"), splits, strict=True):
        save_as(tmp_path / "in" / picture.format(split=split, name=name), PICTURE)
        lines = [line(1, SMALL), line(0, LARGE)] * (name == "a")
        write(tmp_path / "in" / text.format(split=split, name=name), *lines)
    save_as(tmp_path / "in" / picture.format(split=splits[0], name="alone"), PICTURE)
    write(tmp_path / "in" / "data.yaml", YAML.format(lists=lists))
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc", instances=True))
    folder = VocFolder(tmp_path / "voc")
    assert folder.read_class_names() == ["background", "cell", "细胞核"]
    assert sorted(folder.images) == ["a", "b"]
    assert (folder.read_split("train"), folder.read_split("val")) == (["a"], ["b"])
    expected = np.where(painted(SMALL), 2, painted(LARGE).astype(np.uint8))
    np.testing.assert_array_equal(read_mask(folder.mask_path("a")), expected)
    np.testing.assert_array_equal(read_mask(folder.objects_path("a")), expected)
    assert not read_mask(folder.mask_path("b")).any()
    assert "alone.png" in capsys.readouterr().err


def test_names_of_pictures_are_no_split(tmp_path):
    for name in ("train_1", "val_image", "test_image"):
        save_as(tmp_path / "in" / "images" / f"{name}.png", PICTURE)
        write(tmp_path / "in" / "labels" / f"{name}.txt", line(0, LARGE))
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert not VocFolder(tmp_path / "voc").splits_dir.exists()


def test_boxes_among_polygons_do_not_count(tmp_path):
    save_as(tmp_path / "in" / "a.png", PICTURE)
    write(tmp_path / "in" / "a.txt", line(0, LARGE), line(0, [0.05, 0.05, 0.1, 0.1]))
    write(tmp_path / "in" / "classes.txt", "cell")
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    mask = read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png")
    np.testing.assert_array_equal(mask == 1, painted(LARGE))
    assert (mask[:4, :5] == 255).all()
    assert (mask == 255).sum() == 20


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["no object", line(0, LARGE)], "yolo-line"),
        ([line(0, LARGE), "0 0.1 0.1 0.2 0.2 0.3"], "yolo-line"),
        ([line(0, LARGE), line(0, [10, 10, 20, 10, 20, 20])], "yolo-line"),
        ([line(0, LARGE), "cell 0.1 0.1 0.2 0.2 0.3 0.3"], "yolo-line"),
        ([line(2, LARGE)], "yolo-class"),
        ([line(0, [0.5, 0.5, 0.1, 0.1])], "regions-missing"),
    ],
)
def test_faults_are_named(tmp_path, lines, code):
    save_as(tmp_path / "in" / "images" / "a.png", PICTURE)
    write(tmp_path / "in" / "labels" / "a.txt", *lines)
    write(tmp_path / "in" / "data.yaml", YAML.format(lists="[a, b]"))
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert error.code == code
