"""Which mask belongs to which picture: near misses, strays, two of a name."""

import os
from pathlib import Path

import numpy as np
import pytest
from doctor_folder import GRAY, MASK, add, check, command, find_fault, make_folder, obey
from PIL import Image
from scripts import cut_off, save_as, snapshot

from utils.core.files import write_lines
from utils.core.locks import take_lock
from utils.images.palette import voc_palette
from utils.images.reading import read_mask
from utils.images.writing import write_image, write_mask
from utils.voc.folder import VocFolder


@pytest.fixture
def folder(tmp_path, without_drawing):
    """Three good pairs, a, b and c."""
    return make_folder(tmp_path / "voc")


def test_a_good_folder_has_no_find_fault(folder, capsys):
    check(folder)
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("x.png", "x_mask.png"),
        ("x.png", "x_GT.bmp"),
        ("x.JPG", "x_label.tif"),
        ("image_001.png", "label_001.png"),
        ("img-7.png", "seg-7.png"),
        ("IMG 3.PNG", "img 3.png"),
        ("图 1.v2.png", "图 1.v2_mask.png"),
        ("sky_sat.jpg", "sky_mask.png"),
        ("x.png", "x_ground truth.png"),
    ],
)
def test_near_misses_of_names_are_proposed_and_repaired(folder, picture, mask):
    stem = picture.rsplit(".", 1)[0]
    add(folder, stem, None, picture.removeprefix(stem))
    save_as(folder.masks_dir / mask, MASK)
    error = find_fault(folder)
    assert error.subject == str(folder.masks_dir / mask)
    assert (error.code, error.remedy.split("   ")[0]) == ("mask-name", command(folder, "--fix"))
    obey(folder, error.remedy)
    assert np.array_equal(read_mask(folder.mask_path(stem)), MASK)
    kept = folder.root / "SegmentationClass.orig"
    assert [path.name for path in kept.iterdir()] == [mask]
    assert sorted(path.name for path in folder.masks_dir.iterdir()) == sorted(
        f"{n}.png" for n in ["a", "b", "c", stem]
    )
    once = snapshot(folder.root)
    check(VocFolder(folder.root), fix=True)
    check(VocFolder(folder.root))
    assert snapshot(folder.root) == once


def test_only_masks_that_fix_can_assign_are_proposed(folder):
    add(folder, "x", None)
    for name in ("x_GT.bmp", "a_old.png"):
        save_as(folder.masks_dir / name, MASK)
    strays = {Path(fault.subject).name: fault.code for fault in find_fault(folder).faults}
    assert strays == {"a_old.png": "mask-without-picture", "x_GT.bmp": "mask-name"}


def test_faults_inside_a_mask_of_another_name_are_found_at_once(folder):
    add(folder, "x", None)
    save_as(folder.masks_dir / "x_GT.bmp", voc_palette()[MASK])
    assert {fault.code for fault in find_fault(folder).faults} == {"mask-name", "mask-colors"}
    check(VocFolder(folder.root), colors=str(write_own_table(folder.root.parent)))
    assert np.array_equal(read_mask(folder.mask_path("x")), MASK)


def write_own_table(place):
    write_lines(place / "table.txt", ["0 0 0 background", "128 0 0 cell", "0 128 0 nucleus"])
    return place / "table.txt"


def test_two_masks_that_may_be_meant_are_not_guessed(folder):
    add(folder, "x", None)
    for name in ("x_mask", "x_label"):
        write_mask(folder.mask_path(name), MASK)
    error = find_fault(folder, fix=True)
    assert [fault.code for fault in error.faults] == ["mask-without-picture"] * 2


def test_faults_of_all_kinds_at_once(folder):
    save_as(folder.mask_path("a"), voc_palette()[MASK])
    write_mask(folder.mask_path("b"), MASK * 3)
    write_image(folder.images_dir / "c.bmp", GRAY)
    write_mask(folder.mask_path("stray"), MASK)
    error = find_fault(folder)
    assert (error.code, error.subject) == ("folder-faults", str(folder.root))
    assert sorted(fault.code for fault in error.faults) == [
        "mask-colors",
        "mask-value",
        "mask-without-picture",
        "picture-name-twice",
    ]
    # Headings, files and remedies of each group.
    assert str(error).count("\n  to do:    ") == 5


def test_files_that_cannot_be_read(folder):
    cut_off(folder.images_dir / "a.png")
    folder.mask_path("a").write_bytes(b"no picture")
    (folder.images_dir / "b.png").unlink()
    # A TIFF whose directory lies behind its end.
    (folder.images_dir / "b.tif").write_bytes(b"II*\0\xff\xff\0\0")
    error = find_fault(folder, fix=True)
    assert error.subject == str(folder.images_dir / "a.png")
    assert len(error.faults) == 3


def test_names_that_end_in_a_blank(folder):
    folder.image_path("b").rename(folder.images_dir / "b .png")
    folder.mask_path("b").rename(folder.masks_dir / "b .png")
    assert find_fault(folder).code == "name-blank"


def test_masks_of_one_value(folder, capsys):
    add(folder, "d", np.zeros((3, 4), np.uint8))
    add(folder, "e", np.ones((3, 4), np.uint8))
    add(folder, "f", np.full((3, 4), 255, np.uint8))
    check(folder)
    warnings = capsys.readouterr().err
    assert "such as d.png\n" in warnings
    assert "such as e.png\n" in warnings
    assert "such as f.png\n" in warnings


def test_copies_under_another_name(folder, capsys):
    # The same pixels in another file format.
    picture = np.asarray(Image.open(folder.images_dir / "a.png"))
    add(folder, "copy")
    (folder.images_dir / "copy.png").unlink()
    save_as(folder.images_dir / "copy.bmp", picture)
    folder.write_split("train", ["a", "b"])
    folder.write_split("val", ["c", "copy"])
    check(folder)
    warnings = capsys.readouterr().err
    assert "such as copy.bmp (the same pixels as a.png)" in warnings
    assert "in train and in val, such as a and copy" in warnings
    for seed in range(6):
        check(VocFolder(folder.root), overwrite=True, seed=seed, val_percent=50)
        train = folder.read_split("train")
        assert ("a" in train) == ("copy" in train)
    assert "in train and in val" not in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("name", ["b\nc", "b\x1b[2J", os.fsdecode(b"b\xcd\xff")], ids=ascii)
def test_names_that_lists_cannot_hold(folder, name):
    (folder.images_dir / "b.png").rename(folder.images_dir / f"{name}.png")
    folder.mask_path("b").rename(folder.mask_path(name))
    error = find_fault(folder)
    assert error.code == "name-unprintable"
    assert ascii(name) in error.found


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("name", ["CON", "com1.x", "A", "b?"])
def test_names_that_other_systems_cannot_hold(folder, capsys, name):
    add(folder, name, MASK)
    check(folder)
    assert "another system cannot hold" in capsys.readouterr().err


def test_another_repair_of_the_folder_is_waited_for(folder):
    lock, before = take_lock(folder.root, ""), snapshot(folder.root)
    assert find_fault(folder).code == "folder-in-use"
    assert snapshot(folder.root) == before
    lock.release()
    check(folder)
    assert not (folder.root / ".lock").exists()
