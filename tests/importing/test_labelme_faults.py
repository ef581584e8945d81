"""json_to_dataset.py: what is refused, and that nothing is written or overwritten then."""

import numpy as np
import pytest
from labelme_content import (
    HEIGHT,
    SQUARE,
    WIDTH,
    box,
    labelme_content,
    picture_bytes,
    png_bytes,
    shape_entry,
    write_json,
)
from refusal import codes_and_paths, refused
from scripts import run, snapshot

from json_to_dataset import Config, main
from utils.core.console import UserError
from utils.images.reading import read_mask
from utils.importing.labelme_record import RECORD_NAME
from utils.labelme.annotation import IGNORE_LABEL
from utils.voc.folder import VocFolder


def settings(tmp_path, **changes) -> Config:
    return Config(**{"input": tmp_path / "in", "voc_root": tmp_path / "voc", **changes})


def refuse(*arguments):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("content", "code", "place"),
    [
        ({"images": []}, "json-kind", ""),
        (labelme_content(shape_entry(points=SQUARE[:2])), "point-count", ", shape 1 (cell)"),
        (labelme_content(shape_entry(), imageData=None), "labelme-picture-missing", ""),
    ],
)
def test_bad_file_is_reported_and_nothing_is_written(tmp_path, content, code, place):
    path = write_json(tmp_path / "in" / "bad.json", content)
    for name in ("a good", "good"):
        write_json(tmp_path / "in" / f"{name}.json", labelme_content(shape_entry()))
    errors = refused(tmp_path, main, settings(tmp_path))
    assert codes_and_paths(errors) == [(code, f"{path}{place}")]
    assert not (tmp_path / "voc").exists()


def test_all_faulty_files_are_reported_together_with_exit_status_2(tmp_path):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry(points=SQUARE[:2])))
    write_json(tmp_path / "in" / "b.json", labelme_content(shape_entry()))
    write_json(tmp_path / "in" / "c.json", {})
    result = run("json_to_dataset.py", "--input", "in", "--voc-root", "voc", cwd=tmp_path)
    assert result.returncode == 2
    assert "a.json, shape 1 (cell)" in result.stderr
    assert "c.json" in result.stderr
    assert "b.json" not in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "voc").exists()


def test_missing_folder_has_exit_status_2(tmp_path):
    result = run("json_to_dataset.py", "--input", "nowhere", "--voc-root", "voc", cwd=tmp_path)
    assert result.returncode == 2
    assert "nowhere\n  found:" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "voc").exists()


def test_folder_without_json(tmp_path):
    (tmp_path / "a.png").write_bytes(picture_bytes())
    (tmp_path / "._a.json").write_bytes(b"\0")
    errors = refused(tmp_path, main, settings(tmp_path, input=tmp_path))
    assert codes_and_paths(errors) == [("labelme-files-missing", str(tmp_path))]


def test_two_files_of_one_name(tmp_path):
    for name in ("a.json", "a .json"):
        write_json(tmp_path / "in" / name, labelme_content(shape_entry()))
    errors = refused(tmp_path, main, settings(tmp_path))
    assert codes_and_paths(errors) == [("labelme-name-twice", str(tmp_path / "in"))]


# Class names


def test_no_class_at_all(tmp_path):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry(IGNORE_LABEL)))
    (error,) = refused(tmp_path, main, settings(tmp_path))
    assert error.code == "classes-missing"
    assert not (tmp_path / "voc").exists()


@pytest.mark.parametrize(("count", "passes"), [(254, True), (255, False)])
def test_at_most_255_classes_with_the_background(tmp_path, count, passes):
    shapes = [shape_entry(f"class {index}") for index in range(count)]
    write_json(tmp_path / "in" / "a.json", labelme_content(*shapes))
    if passes:
        main(settings(tmp_path))
        assert read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png").max() == 254
        return
    (error,) = refused(tmp_path, main, settings(tmp_path))
    assert error.code == "class-count"
    assert not (tmp_path / "voc").exists()


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("nucleus\n", "label-unlisted"),
        ("cell\ncell\n", "class-name-twice"),
        ("nucleus\ncell\n", "class-order"),
    ],
)
def test_labels_file_that_does_not_fit(tmp_path, lines, code):
    labels = tmp_path / "labels.txt"
    labels.write_text(lines, encoding="utf-8")
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "class_names.txt").write_text("_background_\ncell\nnucleus\n", encoding="utf-8")
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry("cell")))
    errors = refused(tmp_path, main, settings(tmp_path, labels=labels))
    assert codes_and_paths(errors) == [(code, str(labels))]


def test_masks_without_class_names_are_left_alone(tmp_path):
    masks = tmp_path / "voc" / "SegmentationClass"
    masks.mkdir(parents=True)
    (masks / "old.png").write_bytes(png_bytes(np.ones((4, 4), np.uint8)))
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    errors = refused(tmp_path, main, settings(tmp_path))
    assert codes_and_paths(errors) == [("class-names-missing", str(masks))]


# Existing files


def test_other_mask_or_picture_of_the_same_name_is_kept(tmp_path):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    main(settings(tmp_path))
    (tmp_path / "voc" / RECORD_NAME).unlink()
    points, image = [[0, 0], [9, 0], [9, 9]], picture_bytes(size=(HEIGHT, WIDTH + 1))
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry(points=points), image=image))
    write_json(tmp_path / "in" / "b.json", labelme_content(shape_entry("new")))
    errors = refused(tmp_path, main, settings(tmp_path))
    places = ("JPEGImages", "SegmentationClass")
    expected = [("content-differs", str(tmp_path / "voc" / place / "a.png")) for place in places]
    assert codes_and_paths(errors) == expected


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_unreadable_mask_of_the_same_name_is_kept(tmp_path, content):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    main(settings(tmp_path))
    mask = tmp_path / "voc" / "SegmentationClass" / "a.png"
    mask.write_bytes(content)
    errors = refused(tmp_path, main, settings(tmp_path))
    assert codes_and_paths(errors) == [("content-differs", str(mask))]


def test_other_object_mask_is_kept(tmp_path):
    config = settings(tmp_path, instances=True)
    write_json(tmp_path / "in" / "a.json", labelme_content(box("cell", 0, 3), box("cell", 5, 8)))
    main(config)
    (tmp_path / "voc" / RECORD_NAME).unlink()
    write_json(tmp_path / "in" / "a.json", labelme_content(box("cell", 0, 3, 1), box("cell", 5, 8, 1)))
    errors = refused(tmp_path, main, config)
    objects = tmp_path / "voc" / "SegmentationObject" / "a.png"
    assert codes_and_paths(errors) == [("content-differs", str(objects))]


def test_many_objects(tmp_path):
    shapes = [box("cell", number % 40, number % 40) for number in range(300)]
    write_json(tmp_path / "in" / "a.json", labelme_content(*shapes))
    for _ in range(2):
        main(settings(tmp_path, instances=True))
        assert VocFolder(tmp_path / "voc").read_objects("a", (HEIGHT, WIDTH)).max() == 301


def test_too_many_objects(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.labelme.painting.MAX_OBJECTS", 2)
    path = write_json(tmp_path / "in" / "a.json", labelme_content(*[box("cell", 0, 3)] * 3))
    config = settings(tmp_path, instances=True)
    assert codes_and_paths(refused(tmp_path, main, config)) == [("object-count", str(path))]
    assert not (tmp_path / "voc").exists()


def test_picture_of_another_size_beside_its_file(tmp_path):
    write_json(tmp_path / "in" / "a.json", labelme_content(box("cell", 0, 9)))
    beside = tmp_path / "in" / "a.jpg"
    beside.write_bytes(picture_bytes("JPEG"))
    config = settings(tmp_path, layout="paddleseg")
    main(config)
    assert not (tmp_path / "in" / "a.png").exists()
    beside.write_bytes(picture_bytes("JPEG", (HEIGHT, WIDTH + 1)))
    assert codes_and_paths(refused(tmp_path, main, config)) == [("content-differs", str(beside))]


# Interruptions and targets that cannot be written


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    monkeypatch.setattr("pathlib.Path.replace", refuse)
    (error,) = refused(tmp_path, main, settings(tmp_path))
    assert "No space left on device" in error.found
    assert not (tmp_path / "voc").exists()


@pytest.mark.parametrize("step", ["labelme_files.rasterise", "labelme_update.write_lines"])
def test_interruption_leaves_nothing(tmp_path, monkeypatch, step):
    def interrupt(*arguments):
        assert any((tmp_path / "voc").rglob("*.png"))
        raise KeyboardInterrupt

    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    monkeypatch.setattr(f"utils.importing.{step}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        main(settings(tmp_path))
    assert not (tmp_path / "voc").exists()


def test_remains_of_a_killed_run_are_removed(tmp_path, monkeypatch):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *arguments, **options: None)
        patch.setattr("utils.importing.transfer.Staging.move", refuse)
        with pytest.raises(OSError, match="No space"):
            main(settings(tmp_path))
    assert len(snapshot(tmp_path / "voc")) == 4  # class names, the record, a picture and a mask that wait
    main(settings(tmp_path))
    assert sorted(snapshot(tmp_path / "voc")) == [
        "JPEGImages/a.png",
        "SegmentationClass/a.png",
        "class_names.txt",
        RECORD_NAME,
    ]


@pytest.mark.parametrize("obstacle", ["voc", "voc/JPEGImages"])
def test_target_that_cannot_be_written(tmp_path, obstacle):
    (tmp_path / obstacle).parent.mkdir(exist_ok=True)
    (tmp_path / obstacle).write_text("a file where the folder should be", encoding="utf-8")
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    with pytest.raises(UserError) as caught:
        main(settings(tmp_path))
    assert str(tmp_path / obstacle) in caught.value.subject
    assert not (tmp_path / "voc" / ".importing").exists()
