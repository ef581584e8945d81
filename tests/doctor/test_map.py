"""Other values for masks (--map): what is proposed, and what it writes."""

import re
from pathlib import Path

import numpy as np
import pytest
from doctor_folder import check, find_fault, make_pairs, read_splits, without_statistics, write_pair
from scripts import cut_off, save_as, snapshot

from utils.core.files import write_lines
from utils.doctor import originals
from utils.images.reading import read_mask
from utils.images.writing import write_mask
from utils.voc.folder import VocFolder

pytestmark = pytest.mark.usefixtures("without_drawing")


def read_masks(folder):
    return {path.name: read_mask(path) for path in sorted(folder.masks_dir.glob("*.png"))}


@pytest.mark.parametrize(
    ("values", "mapping"),
    [
        ([0, 3, 7], "0:0,3:1,7:2"),
        ([1, 2], "1:0,2:1"),
        ([0, 38, 75, 113], "0:0,38:1,75:2,113:3"),
        ([0, 2], "0:0,2:1"),
    ],
)
def test_values_with_gaps_come_with_the_map_that_closes_them(tmp_path, values, mapping):
    folder = make_pairs(tmp_path, values=values)
    error = find_fault(folder)
    assert error.code == "mask-gaps"
    assert f"--map {mapping} " in error.remedy
    check(folder, map=mapping)
    for mask in read_masks(folder).values():
        assert np.array_equal(mask[0], np.resize(np.arange(len(values)), 8))


def test_255_beside_other_gray_levels_is_pointed_out(tmp_path):
    folder = make_pairs(tmp_path, values=[0, 128, 255])
    error = find_fault(folder)
    assert "--map 0:0,128:1" in error.remedy
    assert "255:2" in error.remedy


def test_map_changes_the_masks_and_keeps_the_originals(tmp_path, capsys):
    folder = make_pairs(tmp_path, values=[0, 255, 255, 0])
    originals, pictures = snapshot(folder.masks_dir), snapshot(folder.images_dir)
    check(folder, map="0:1,255:0")
    assert snapshot(tmp_path / "SegmentationClass.orig") == originals
    assert snapshot(folder.images_dir) == pictures
    for mask in read_masks(folder).values():
        assert np.array_equal(mask[0], np.resize([1, 0, 0, 1], 8))
    assert "0 → 1, 255 → 0" in capsys.readouterr().out
    assert len(read_splits(folder)["trainval"]) == 6


def test_values_that_the_map_does_not_name_stay(tmp_path):
    folder = make_pairs(tmp_path, values=[0, 1, 7, 255])
    check(folder, map=" 7:2 ")
    assert np.array_equal(read_masks(folder)["slice_1.png"][0], np.resize([0, 1, 2, 255], 8))


def test_mapping_twice_is_mapping_once(tmp_path):
    folder = make_pairs(tmp_path, values=[0, 255])
    check(folder, map="0:1,255:0")
    once = snapshot(tmp_path)
    check(folder, map="0:1,255:0")
    assert snapshot(tmp_path) == once


def test_another_map_starts_from_the_originals(tmp_path, capsys):
    folder = make_pairs(tmp_path, values=[0, 128, 255])
    check(folder, map="0:0,128:1,255:1")
    assert re.search(r"^ +1 +class_1 +180 +62\.50% +6$", capsys.readouterr().out, re.MULTILINE)
    check(folder, map="0:2,128:0,255:1")
    assert np.array_equal(read_masks(folder)["slice_1.png"][0], np.resize([2, 0, 1], 8))


def test_pair_added_after_a_repair_is_repaired_too(tmp_path):
    folder = make_pairs(tmp_path, 2, values=[0, 255])
    check(folder, map="0:0,255:1")
    write_pair(folder, "slice_9", [0, 255])
    check(VocFolder(tmp_path), map="0:0,255:1", overwrite=True)
    assert {int(mask.max()) for mask in read_masks(folder).values()} == {1}
    assert "slice_9" in read_splits(folder)["trainval"]


@pytest.mark.parametrize("written", range(4))
def test_interrupted_repair_is_completed_by_running_again(tmp_path, monkeypatch, written):
    whole, broken = (make_pairs(tmp_path / name, 4, values=[0, 255]) for name in ("whole", "broken"))
    check(whole, map="0:1,255:0")
    calls = []

    def stop_after_some(path, mask):
        if len(calls) == written:
            raise KeyboardInterrupt
        calls.append(path)
        write_mask(path, mask)

    with monkeypatch.context() as patch:
        patch.setattr(originals, "write_mask", stop_after_some)
        with pytest.raises(KeyboardInterrupt):
            check(broken, map="0:1,255:0")
    check(broken, map="0:1,255:0")
    broken_files, whole_files = (without_statistics(snapshot(folder.root)) for folder in (broken, whole))
    content = {
        name: files.pop("mask_map.json") for name, files in (("broken", broken_files), ("whole", whole_files))
    }
    assert content["broken"].replace(b"broken", b"whole") == content["whole"]
    assert broken_files == whole_files


@pytest.mark.parametrize(
    "text", ["", "1", "1:2:3", "a:b", "0:256", "70000:0", "-1:0", "0:1,", "0=1", "1.5:1", "0:1 1:0"]
)
def test_map_that_is_none(tmp_path, text):
    folder = make_pairs(tmp_path, values=[0, 255])
    error = find_fault(folder, map=text)
    assert (error.code, error.subject) == ("map-entry", f"--map {text}")


@pytest.mark.parametrize("text", ["0:1,0:2", "0:0,255:1,255:2"])
def test_map_that_gives_a_value_two_classes(tmp_path, text):
    folder = make_pairs(tmp_path, values=[0, 255])
    assert find_fault(folder, map=text).code == "map-twice"


@pytest.mark.parametrize(("mapping", "code"), [("255:7", "mask-value"), ("0:255,255:0", "masks-black-white")])
def test_map_whose_result_would_be_faulty_writes_nothing(tmp_path, mapping, code):
    folder = make_pairs(tmp_path, values=[0, 255])
    write_lines(folder.class_names_path, ["background", "cell"])
    error = find_fault(folder, map=mapping)
    assert (error.code, error.subject) == (code, f"--map {mapping}")


def make_faulty(root):
    folder = make_pairs(root, 9)
    gray = np.zeros((6, 8), np.uint8)
    write_mask(folder.mask_path("slice_1"), gray[:5])
    save_as(folder.mask_path("slice_2"), np.zeros((6, 8, 3), np.uint8))
    save_as(folder.mask_path("slice_3"), gray, "JPEG")
    save_as(folder.mask_path("slice_4"), gray.astype(np.uint16))
    folder.mask_path("slice_5").write_bytes(b"")
    cut_off(folder.mask_path("slice_6"))
    cut_off(folder.images["slice_7"])
    return folder


def list_faults(error):
    return {Path(fault.subject).stem.removeprefix("slice_"): fault.code for fault in error.faults}


def test_all_faults_are_listed_and_nothing_is_written(tmp_path):
    error = find_fault(make_faulty(tmp_path))
    faults = list_faults(error)
    assert [faults[name] for name in "1234"] == ["mask-size", "mask-colors", "mask-jpeg", "mask-16-bit"]
    assert [faults[name] for name in "567"] == ["file-empty", "mask-damaged", "picture-damaged"]
    # Each kind of fault is listed under its code, with the paths.
    assert str(error).count("\n  to do:    ") == 8
    assert all(f"slice_{name}.png: " in str(error) for name in "1234567")


def test_a_repair_leaves_only_the_faults_that_it_cannot_repair(tmp_path):
    assert list_faults(find_fault(make_faulty(tmp_path), map="0:1,1:0")).keys() == set("13567")


def test_originals_that_cannot_be_kept(tmp_path):
    folder = make_pairs(tmp_path, values=[0, 255])
    (tmp_path / "SegmentationClass.orig").write_text("a file in the way", encoding="utf-8")
    assert find_fault(folder, map="0:0,255:1").subject.startswith(str(tmp_path / "SegmentationClass.orig"))
