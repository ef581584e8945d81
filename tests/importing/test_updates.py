"""Correct, import again, train: what import_dataset.py updates, keeps and asks about."""

import json

import numpy as np
import pytest
from refusal import codes_and_paths, refused
from scripts import run_here, save_as, snapshot

from import_dataset import Config, main
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_mask
from utils.voc.folder import VocFolder

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
BOX = [5, 5, 15, 5, 15, 15, 5, 15]
MOVED = [25, 5, 35, 5, 35, 15, 25, 15]


def write_coco(tmp_path, polygon, category="cell"):
    for name in ("a", "b"):
        if not (tmp_path / "in" / f"{name}.png").exists():
            save_as(tmp_path / "in" / f"{name}.png", PICTURE)
    content = {
        "images": [{"id": number, "file_name": f"{name}.png"} for number, name in enumerate("ab")],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [polygon]},
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [BOX]},
        ],
        "categories": [{"id": 1, "name": category}],
    }
    (tmp_path / "in" / "a.json").write_text(json.dumps(content), encoding="utf-8")


def convert(tmp_path, **settings):
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc", instances=True, **settings))
    return VocFolder(tmp_path / "voc")


def box_of(polygon):
    mask = np.zeros((40, 50), np.uint8)
    mask[polygon[1] : polygon[5], polygon[0] : polygon[2]] = 1
    return mask


def test_corrected_annotations_follow(tmp_path, capsys):
    write_coco(tmp_path, BOX)
    before = snapshot(convert(tmp_path).root)
    write_coco(tmp_path, MOVED)
    folder = convert(tmp_path)
    assert "0 files written, 2 updated, 5 there already" in capsys.readouterr().out
    np.testing.assert_array_equal(read_mask(folder.mask_path("a")), box_of(MOVED))
    np.testing.assert_array_equal(read_mask(folder.objects_path("a")), box_of(MOVED))
    changed = {name for name, content in snapshot(folder.root).items() if content != before[name]}
    assert changed == {"SegmentationClass/a.png", "SegmentationObject/a.png", "import_record.json"}


def test_edited_masks_are_kept_unless_asked(tmp_path):
    write_coco(tmp_path, BOX)
    folder = convert(tmp_path)
    write_mask(folder.mask_path("a"), 1 - box_of(BOX))
    edited = folder.mask_path("a").read_bytes()
    write_coco(tmp_path, MOVED)
    settings = Config(input=tmp_path / "in", voc_root=folder.root, instances=True)
    errors = refused(tmp_path, main, settings)
    assert codes_and_paths(errors) == [("content-differs", str(folder.mask_path("a")))]
    assert "--overwrite" in errors[0].remedy
    convert(tmp_path, overwrite=True)
    np.testing.assert_array_equal(read_mask(folder.mask_path("a")), box_of(MOVED))
    assert (folder.root / "set_aside" / "1" / "SegmentationClass" / "a.png").read_bytes() == edited


@pytest.mark.parametrize("link", [False, True])
def test_another_picture_under_an_old_name(tmp_path, link):
    write_coco(tmp_path, BOX)
    folder = convert(tmp_path, link=link)
    old = read_image(folder.images["a"])
    (tmp_path / "in" / "a.png").unlink()
    save_as(tmp_path / "in" / "a.bmp", 255 - PICTURE)
    folder = convert(tmp_path, link=link)
    assert {name: path.suffix for name, path in folder.images.items()} == {"a": ".bmp", "b": ".png"}
    np.testing.assert_array_equal(read_image(folder.images["a"]), 255 - PICTURE)
    np.testing.assert_array_equal(read_image(folder.root / "set_aside" / "1" / "JPEGImages" / "a.png"), old)


def test_masks_that_the_doctor_repaired_follow_too(tmp_path, monkeypatch, capsys):
    """Import, repair, correct, import: the corrected mask waits for the same repair."""
    for name in ("a", "b"):
        save_as(tmp_path / "in" / f"{name}.png", PICTURE if name == "a" else PICTURE[::-1])
        save_as(tmp_path / "in" / f"{name}_mask.png", box_of(BOX) * 255)
    arguments = ["import_dataset.py", "--input", tmp_path / "in", "--voc-root", tmp_path / "voc"]
    repair = ["voc2unet.py", "--voc-root", tmp_path / "voc", "--map", "0:0,255:1"]
    assert run_here(monkeypatch, *arguments) == 0
    assert run_here(monkeypatch, *repair) == 0
    save_as(tmp_path / "in" / "a_mask.png", box_of(MOVED) * 255)
    assert run_here(monkeypatch, *arguments) == 0
    assert "1 updated" in capsys.readouterr().out
    assert run_here(monkeypatch, *repair) == 0
    folder = VocFolder(tmp_path / "voc")
    np.testing.assert_array_equal(read_mask(folder.mask_path("a")), box_of(MOVED))
    np.testing.assert_array_equal(read_mask(folder.mask_path("b")), box_of(BOX))
    # A mask that was edited after its repair is somebody's work.
    write_mask(folder.mask_path("b"), 1 - box_of(BOX))
    save_as(tmp_path / "in" / "b_mask.png", box_of(MOVED) * 255)
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=folder.root))
    assert codes_and_paths([error]) == [("content-differs", str(folder.mask_path("b")))]


def test_another_data_set_of_the_same_names_replaces_nothing(tmp_path):
    write_coco(tmp_path, BOX)
    folder = convert(tmp_path)
    write_coco(tmp_path, MOVED)
    (tmp_path / "in").rename(tmp_path / "other")
    errors = refused(tmp_path, main, Config(input=tmp_path / "other", voc_root=folder.root))
    assert codes_and_paths(errors) == [("content-differs", str(folder.mask_path("a")))]


def test_jpeg_masks_that_the_doctor_repaired_follow_too(tmp_path, monkeypatch):
    """The repaired mask has another ending than the imported one."""
    large = np.kron(PICTURE, np.ones((8, 8, 1), np.uint8))
    arguments = ["import_dataset.py", "--input", tmp_path / "in", "--voc-root", tmp_path / "voc"]
    repair = ["voc2unet.py", "--voc-root", tmp_path / "voc", "--map", "0:0,255:1", "--nearest", "60"]
    save_as(tmp_path / "in" / "a.png", large)
    for polygon in (BOX, MOVED):
        drawn = np.kron(box_of(polygon), np.ones((8, 8), np.uint8))
        save_as(tmp_path / "in" / "a_mask.jpg", drawn * np.uint8(255), "JPEG")
        assert run_here(monkeypatch, *arguments) == 0
        assert run_here(monkeypatch, *repair) == 0
        np.testing.assert_array_equal(read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png"), drawn)
    assert len(list((tmp_path / "voc" / "SegmentationClass").iterdir())) == 1


def test_a_folder_of_an_earlier_version_is_adopted(tmp_path):
    write_coco(tmp_path, BOX)
    folder = convert(tmp_path)
    (folder.root / "import_record.json").unlink()
    convert(tmp_path)
    write_coco(tmp_path, MOVED)
    convert(tmp_path)
    np.testing.assert_array_equal(read_mask(folder.mask_path("a")), box_of(MOVED))


def test_a_voc_folder_inside_of_the_input_is_not_its_data(tmp_path):
    write_coco(tmp_path, BOX)
    settings = Config(input=tmp_path / "in", voc_root=tmp_path / "in" / "VOCdevkit" / "VOC2007")
    main(settings)
    before = snapshot(tmp_path)
    main(settings)
    assert snapshot(tmp_path) == before


def test_pairs_that_the_source_has_lost_are_named_and_stay(tmp_path, capsys):
    for name in "abcd":
        save_as(tmp_path / "in" / "train" / f"{name}.png", PICTURE)
        save_as(tmp_path / "in" / "train" / f"{name}_mask.png", box_of(BOX))
    config = Config(images=tmp_path / "in", voc_root=tmp_path / "voc")
    main(config)
    folder = VocFolder(config.voc_root)
    folder.write_split("train", ["a", "b"])
    folder.write_split("val", ["c", "d"])
    (tmp_path / "in" / "train" / "b_mask.png").unlink()
    for path in (tmp_path / "in" / "train").glob("d*"):
        path.unlink()
    save_as(tmp_path / "elsewhere" / "e.png", PICTURE)
    save_as(tmp_path / "elsewhere" / "e_mask.png", box_of(BOX))
    main(Config(images=tmp_path / "elsewhere", voc_root=tmp_path / "voc"))
    capsys.readouterr()
    before = snapshot(folder.root)
    main(config)
    said = capsys.readouterr()
    assert "2 pairs (b, d)" in said.err
    # The lists are those of the folder, not of the data set.
    assert "split of the data set" not in said.out
    assert snapshot(folder.root) == before


def test_pictures_that_an_annotation_file_has_lost_are_named(tmp_path, capsys):
    write_coco(tmp_path, BOX)
    folder = convert(tmp_path)
    folder.write_split("train", ["a", "b"])
    content = json.loads((tmp_path / "in" / "a.json").read_text("utf-8"))
    content["images"].pop()
    content["annotations"].pop()
    (tmp_path / "in" / "a.json").write_text(json.dumps(content), encoding="utf-8")
    capsys.readouterr()
    convert(tmp_path)
    said = capsys.readouterr()
    assert "1 pair (b)" in said.err and "split of the data set" not in said.out
    assert folder.mask_path("b").is_file()
