"""json_to_dataset.py run again: corrected, new and removed labelme files, and work done by other means."""

import json
import shutil

import numpy as np
import pytest
from labelme_cases import squares
from labelme_content import HEIGHT, WIDTH, box, labelme_content, picture_bytes, shape_entry, write_json
from labelme_sets import assert_mask, convert, draw
from refusal import codes_and_paths, refused
from scripts import ROOT, run, snapshot

import voc2unet
from json_to_dataset import Config, main
from utils.core.files import write_lines
from utils.doctor.repair import RepairSettings
from utils.images.reading import read_mask
from utils.images.writing import write_mask
from utils.importing.labelme_files import convert_labelme
from utils.voc.folder import VocFolder


@pytest.fixture
def folder(tmp_path) -> VocFolder:
    return VocFolder(tmp_path / "voc")


def test_correct_add_and_remove(tmp_path, folder):
    for name in ("changed", "same", "gone"):
        draw(tmp_path, name, box("cell", 0, 9))
    convert(tmp_path)
    for split, names in {"train": ["changed", "gone"], "val": ["same"], "test": ["gone"]}.items():
        folder.write_split(split, names)
    before = snapshot(folder.root)
    draw(tmp_path, "changed", box("cell", 0, 4), box("nucleus", 20, 29))
    draw(tmp_path, "new", box("nucleus", 3, 5))
    (tmp_path / "in" / "gone.json").unlink()
    result = convert(tmp_path)
    assert result.outcomes == {"changed": "updated", "new": "added", "same": "unchanged"}
    assert result.gone == ["gone"]
    assert folder.read_class_names() == ["_background_", "cell", "nucleus"]
    assert_mask(folder, "changed", squares(c1=(0, 4), c2=(20, 29)))
    assert_mask(folder, "new", squares(c2=(3, 5)))
    assert_mask(folder, "same", squares(c1=(0, 9)))
    after = snapshot(folder.root)
    assert sorted(folder.images_dir.iterdir()) == [
        folder.images_dir / f"{name}.png" for name in ("changed", "new", "same")
    ]
    # What left the set is still there, with the lists and class names of that time.
    parts = ["JPEGImages/gone.png", "SegmentationClass/gone.png", "class_names.txt"]
    parts += [f"ImageSets/Segmentation/{split}.txt" for split in ("test", "train")]
    aside = {key.removeprefix("set_aside/1/"): value for key, value in after.items() if "set_aside" in key}
    assert aside == {part: before[part] for part in parts}
    assert {path.stem for path in folder.splits_dir.iterdir()} == {"train", "val"}
    assert (folder.read_split("train"), folder.read_split("val")) == (["changed"], ["same"])
    convert(tmp_path)
    assert snapshot(folder.root) == after


def test_own_files_in_the_place_of_the_samples(tmp_path, without_drawing):
    place, root = tmp_path / "before", tmp_path / "voc"
    shutil.copytree(ROOT / "datasets" / "before", place)
    main(Config(input=place, voc_root=root))
    voc2unet.main(voc2unet.Config(root))
    shutil.rmtree(place)
    for number in range(3):
        draw(tmp_path, f"mine_{number}", box("stone", number, 9), place="before")
    result = run("json_to_dataset.py", "--input", place, "--voc-root", root, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "3 labelme files: 3 added, 0 updated, 0 unchanged; 2 no longer present" in result.stdout
    folder = VocFolder(root)
    assert folder.read_class_names() == ["_background_", "stone"]
    assert sorted(folder.images) == ["mine_0", "mine_1", "mine_2"]
    assert len(list(folder.masks_dir.iterdir())) == 3
    assert not any(path.read_text("utf-8") for path in folder.splits_dir.iterdir())
    assert sorted(path.name for path in (root / "set_aside" / "1" / "JPEGImages").iterdir()) == [
        "fruit_1.jpg",
        "fruit_2.jpg",
    ]
    voc2unet.main(voc2unet.Config(root))
    assert sorted(folder.read_split("trainval")) == ["mine_0", "mine_1", "mine_2"]


def test_files_of_another_folder_stay_with_their_classes(tmp_path, folder):
    draw(tmp_path, "a", box("cell", 0, 9), place="first")
    draw(tmp_path, "b", box("nucleus", 0, 9), place="second")
    convert(tmp_path, "first")
    result = convert(tmp_path, "second")
    assert (result.classes.names, [*result.classes.others]) == (["_background_", "cell", "nucleus"], ["a"])
    draw(tmp_path, "b", box("stone", 0, 9), place="second")
    # The number of the stone follows: a.png stays as it is, and so do the classes before it.
    assert convert(tmp_path, "second").classes.names == ["_background_", "cell", "nucleus", "stone"]
    assert_mask(folder, "a", squares(c1=(0, 9)))
    assert_mask(folder, "b", squares(c3=(0, 9)))


def test_pairs_of_a_folder_that_is_gone_are_told(tmp_path, folder, capsys):
    """The folder may be renamed, or on a disk that is not there today: its pairs stay."""
    draw(tmp_path, "a", box("cell", 0, 9), place="first")
    convert(tmp_path, "first")
    (tmp_path / "first").rename(tmp_path / "second")
    (tmp_path / "second" / "a.json").unlink()
    path = draw(tmp_path, "b", box("nucleus", 0, 9), place="second")
    config = Config(input=path.parent, voc_root=folder.root)
    main(config)
    assert str(tmp_path / "first" / "a.json") in capsys.readouterr().err
    assert folder.read_class_names() == ["_background_", "cell", "nucleus"]
    # As the message says.
    (folder.images_dir / "a.png").unlink()
    folder.mask_path("a").unlink()
    main(config)
    assert capsys.readouterr().err == ""
    assert folder.read_class_names() == ["_background_", "nucleus"]
    assert_mask(folder, "b", squares(c1=(0, 9)))


def test_files_of_one_name_in_two_folders(tmp_path, folder):
    first = draw(tmp_path, "a", box("cell", 0, 9), place="first")
    draw(tmp_path, "a", box("cell", 0, 4), size=(HEIGHT, WIDTH + 1), place="second")
    convert(tmp_path, "first")
    config = Config(input=tmp_path / "second", voc_root=folder.root)
    errors = refused(tmp_path, main, config)
    paths = [folder.images_dir / "a.png", folder.mask_path("a")]
    assert codes_and_paths(errors) == [("content-differs", str(path)) for path in paths]
    assert str(first) in errors[0].found
    # Where the first file is gone, the second takes its place.
    first.rename(first.with_name("b.json"))
    assert convert(tmp_path, "second").outcomes == {"a": "updated"}
    assert read_mask(folder.mask_path("a")).shape == (HEIGHT, WIDTH + 1)


def test_moved_project_knows_its_files(tmp_path):
    for name in "ab":
        draw(tmp_path / "old", name, box("cell", 0, 9))
    convert(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "now")
    (tmp_path / "now" / "in" / "a.json").unlink()
    assert convert(tmp_path / "now").gone == ["a"]


def test_corrected_label_leaves_no_empty_class(tmp_path, folder):
    draw(tmp_path, "a", box("aple", 0, 9), box("pear", 20, 29))
    convert(tmp_path)
    draw(tmp_path, "a", box("apple", 0, 9), box("pear", 20, 29))
    assert convert(tmp_path).classes.names == ["_background_", "pear", "apple"]
    assert_mask(folder, "a", squares(c2=(0, 9), c1=(20, 29)))


def test_class_renamed_in_class_names_keeps_its_number(tmp_path, folder):
    draw(tmp_path, "a", box("cell", 0, 9), box("nucleus", 20, 29))
    convert(tmp_path)
    before = snapshot(folder.masks_dir)
    write_lines(folder.class_names_path, ["_background_", "细胞", "nucleus"])
    for _ in range(2):
        assert convert(tmp_path).classes.names == ["_background_", "细胞", "nucleus"]
        assert snapshot(folder.masks_dir) == before


# Work of other means


def test_mask_edited_by_hand_is_kept_until_its_annotation_changes(tmp_path, folder):
    for name in "ab":
        draw(tmp_path, name, box("cell", 0, 9))
    convert(tmp_path)
    edited = squares(c1=(5, 30))
    write_mask(folder.mask_path("a"), edited)
    result = convert(tmp_path)
    assert (result.edited, result.outcomes["a"]) == ([folder.mask_path("a")], "unchanged")
    assert_mask(folder, "a", edited)
    for name in "ab":
        draw(tmp_path, name, box("cell", 0, 3))
    errors = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=folder.root))
    assert codes_and_paths(errors) == [("content-differs", str(folder.mask_path("a")))]
    assert "--overwrite" in errors[0].remedy
    convert(tmp_path, overwrite=True)
    for name in "ab":
        assert_mask(folder, name, squares(c1=(0, 3)))
    (copy,) = (folder.root / "set_aside").rglob("SegmentationClass/*")
    np.testing.assert_array_equal(read_mask(copy), edited)
    draw(tmp_path, "a", box("cell", 0, 5))
    assert convert(tmp_path).outcomes == {"a": "updated", "b": "unchanged"}


def test_another_picture_under_an_old_name_keeps_a_copy_of_the_old_pair(tmp_path, folder):
    draw(tmp_path, "a", box("cell", 0, 9))
    convert(tmp_path)
    before = snapshot(folder.root)
    content = labelme_content(box("cell", 0, 4), image=picture_bytes("JPEG", (HEIGHT, WIDTH + 1)))
    write_json(tmp_path / "in" / "a.json", content)
    assert convert(tmp_path).outcomes == {"a": "updated"}
    assert [path.name for path in folder.images_dir.iterdir()] == ["a.jpg"]
    assert read_mask(folder.mask_path("a")).shape == (HEIGHT, WIDTH + 1)
    copies = snapshot(folder.root / "set_aside" / "1")
    assert copies == {key: before[key] for key in before if "record" not in key}


def test_picture_that_no_conversion_wrote_never_leaves(tmp_path):
    """Annotated in place: the picture is the user's own, only the mask was made."""
    path = tmp_path / "voc" / "JPEGImages" / "a.json"
    for name in "ab":
        write_json(
            path.with_stem(name), labelme_content(box("cell", 0, 9), imageData=None, imagePath=f"{name}.png")
        )
        path.with_name(f"{name}.png").write_bytes(picture_bytes())
    convert_labelme(path.parent, VocFolder(tmp_path / "voc"))
    path.unlink()
    assert convert_labelme(path.parent, VocFolder(tmp_path / "voc")).gone == ["a"]
    assert path.with_suffix(".png").read_bytes() == picture_bytes()
    assert [mask.name for mask in (tmp_path / "voc" / "SegmentationClass").iterdir()] == ["b.png"]


def test_object_masks_follow_without_the_flag(tmp_path, folder):
    draw(tmp_path, "a", box("cell", 0, 3), box("cell", 10, 13))
    convert(tmp_path, instances=True)
    draw(tmp_path, "a", box("cell", 10, 13), box("cell", 0, 3))
    assert convert(tmp_path).outcomes == {"a": "updated"}
    objects = folder.read_objects("a", (HEIGHT, WIDTH))
    np.testing.assert_array_equal(objects, squares(o1=(10, 13), o2=(0, 3)))


def test_masks_mapped_by_the_doctor(tmp_path, folder, without_drawing):
    """A map starts from the originals, so corrected masks go back to their classes, then through the map."""
    for name in "abc":
        draw(tmp_path, name, box("cell", 0, 9), box("nucleus", 20, 29))
    convert(tmp_path)
    voc2unet.main(voc2unet.Config(folder.root, repair=RepairSettings(map="0:0,1:1,2:1")))
    assert_mask(folder, "a", squares(c1=(0, 9)) + squares(c1=(20, 29)))
    before = snapshot(folder.root)
    result = convert(tmp_path)
    assert set(result.outcomes.values()) == {"unchanged"}
    assert result.repair is None
    assert snapshot(folder.root) == before
    draw(tmp_path, "a", box("nucleus", 0, 4))
    draw(tmp_path, "d", box("nucleus", 5, 9))
    result = convert(tmp_path)
    assert result.outcomes == {"a": "updated", "b": "unchanged", "c": "unchanged", "d": "added"}
    assert result.repair == json.loads((folder.root / "mask_map.json").read_text("utf-8"))["command"]
    voc2unet.main(voc2unet.Config(folder.root, repair=RepairSettings(map="0:0,1:1,2:1")))
    assert_mask(folder, "a", squares(c1=(0, 4)))
    assert_mask(folder, "b", squares(c1=(0, 9)) + squares(c1=(20, 29)))
    assert_mask(folder, "d", squares(c1=(5, 9)))
    (tmp_path / "in" / "a.json").unlink()
    assert convert(tmp_path).gone == ["a"]
    assert not (folder.originals_dir / "a.png").exists()
    # A mask that was edited after the map is somebody's work.
    write_mask(folder.mask_path("b"), squares(c1=(1, 1)))
    draw(tmp_path, "b", box("cell", 0, 2))
    errors = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=folder.root))
    assert codes_and_paths(errors) == [("content-differs", str(folder.mask_path("b")))]


@pytest.mark.parametrize("step", ["LabelmeRecord.write", "remove", "shorten_splits", "Staging.move"])
def test_interruption_is_completed_by_the_same_command(tmp_path, folder, monkeypatch, step):
    for name in "abc":
        draw(tmp_path, name, box("cell", 0, 9))
    convert(tmp_path)
    folder.write_split("train", ["a", "b", "c"])
    draw(tmp_path, "a", box("nucleus", 0, 4))
    draw(tmp_path, "b", box("nucleus", 0, 5))
    (tmp_path / "in" / "c.json").unlink()

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"utils.importing.labelme_update.{step}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            convert(tmp_path)
    convert(tmp_path)
    assert folder.read_class_names() == ["_background_", "nucleus"]
    assert_mask(folder, "a", squares(c1=(0, 4)))
    assert_mask(folder, "b", squares(c1=(0, 5)))
    assert sorted(VocFolder(folder.root).images) == ["a", "b"]
    assert folder.read_split("train") == ["a", "b"]


def test_strokes_leave_the_rest_unlabelled_which_later_conversions_remember(tmp_path):
    line = shape_entry("cell", [[2, 5], [12, 5]], "line")
    point = shape_entry("_background_", [[25, 12]], "point")
    draw(tmp_path, "a", line, point)
    result = convert(tmp_path, unlabelled="ignore", line_width=3)
    expected = np.full((HEIGHT, WIDTH), 255, np.uint8)
    folder = VocFolder(tmp_path / "voc")
    mask = read_mask(folder.mask_path("a"))
    assert mask[5, 7] == 1 and mask[12, 25] == 0
    assert {*np.unique(mask).tolist()} == {0, 1, 255}
    assert (mask[:, 7] == 1).sum() == 3
    assert (mask != expected).sum() == result.pixel_counts[:2].sum() < 60
    assert convert(tmp_path).outcomes == {"a": "unchanged"}
    draw(tmp_path, "b", line, place="outlines")
    convert(tmp_path, "outlines")
    assert 255 not in read_mask(folder.mask_path("b"))
    assert convert(tmp_path, unlabelled="background").outcomes == {"a": "updated"}
    assert 255 not in read_mask(folder.mask_path("a"))
