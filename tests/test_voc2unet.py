"""voc2unet.py: the split files, and what it prints."""

import re
import shlex

import numpy as np
import pytest
import tyro
from doctor_folder import check, find_fault, make_pairs, read_splits, without_statistics, write_pair
from scripts import save_as, snapshot

import train
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.voc.folder import VocFolder
from voc2unet import Config, main

pytestmark = pytest.mark.usefixtures("without_drawing")


def number(name):
    return int(name.removeprefix("slice_"))


@pytest.mark.parametrize(
    ("count", "val", "test", "sizes"),
    [
        (10, 20, 0, (8, 2, 0)),
        (10, 20, 10, (7, 2, 1)),
        (24, 25, 12.5, (15, 6, 3)),
        (3, 10, 10, (2, 1, 0)),
        (3, 40, 50, (1, 1, 1)),
        (2, 20, 0, (1, 1, 0)),
        (4, 0, 0, (3, 1, 0)),
    ],
)
@pytest.mark.parametrize("kind", ["random", "contiguous"])
def test_fractions_give_disjoint_and_complete_lists(tmp_path, count, val, test, sizes, kind):
    folder = make_pairs(tmp_path, count)
    check(folder, val_percent=val, test_percent=test, split_by=kind)
    splits = read_splits(folder)
    assert tuple(len(splits[split]) for split in ("train", "val", "test")) == sizes
    assert sorted(splits["train"] + splits["val"] + splits["test"]) == sorted(folder.images)
    assert sorted(splits["trainval"]) == sorted(splits["train"] + splits["val"])
    for names in splits.values():
        assert names == sorted(names, key=number)


def test_defaults_keep_a_fifth_for_validation(tmp_path):
    folder = make_pairs(tmp_path, 20)
    check(folder)
    assert [len(names) for names in read_splits(folder).values()] == [16, 4, 20, 0]


def test_split_files_have_one_name_a_line(tmp_path):
    folder = make_pairs(tmp_path, 2)
    check(folder, split_by="contiguous")
    assert (folder.splits_dir / "trainval.txt").read_bytes() == b"slice_1\nslice_2\n"


@pytest.mark.parametrize(("val", "test"), [(-1, 0), (0, -5), (50, 50), (100, 0)])
def test_percentages_that_leave_nothing_to_train_on(tmp_path, val, test):
    folder = make_pairs(tmp_path)
    code = "split-percent" if (val, test) == (50, 50) else "setting-range"
    assert find_fault(folder, val_percent=val, test_percent=test).code == code


def test_seed_decides_the_random_split(tmp_path):
    splits = []
    for run, seed in enumerate([0, 0, 1]):
        folder = make_pairs(tmp_path / str(run), 20)
        check(folder, seed=seed)
        splits.append(read_splits(folder))
    assert splits[0] == splits[1] != splits[2]


def test_contiguous_split_follows_the_numbers_in_names(tmp_path):
    folder = make_pairs(tmp_path, 12)
    check(folder, split_by="contiguous", val_percent=17, test_percent=9)
    splits = read_splits(folder)
    assert splits["train"] == [f"slice_{index}" for index in range(1, 10)]
    assert splits["val"] == ["slice_10", "slice_11"]
    assert splits["test"] == ["slice_12"]


def test_one_pair_is_used_for_both(tmp_path, capsys):
    folder = make_pairs(tmp_path, 1)
    check(folder)
    assert read_splits(folder) == {
        "train": ["slice_1"],
        "val": ["slice_1"],
        "trainval": ["slice_1"],
        "test": [],
    }
    assert "warning: there is one pair only" in capsys.readouterr().err


def test_existing_split_is_kept_unless_overwritten(tmp_path, capsys):
    folder = make_pairs(tmp_path, 5)
    folder.write_split("train", ["slice_4", "slice_2"])
    folder.write_split("val", ["slice_1"])
    before = snapshot(tmp_path)
    check(folder)
    output = capsys.readouterr().out
    assert without_statistics(snapshot(tmp_path)) == before
    assert "train.txt: 2 names" in output
    assert "val.txt: 1 name\n" in output
    assert "2 pairs in no split" in output
    check(folder, overwrite=True)
    assert sorted(read_splits(folder)["trainval"]) == sorted(folder.images)


@pytest.mark.parametrize("val", [None, "", "\n  \n"])
def test_half_a_split_is_an_error_whose_command_mends_it(tmp_path, val):
    folder = make_pairs(tmp_path)
    folder.write_split("train", ["slice_1"])
    if val is not None:
        (folder.splits_dir / "val.txt").write_text(val, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        check(folder)
    assert caught.value.subject == str(folder.splits_dir / "val.txt")
    assert "--overwrite" in caught.value.remedy
    check(folder, overwrite=True)
    assert sorted(read_splits(folder)["trainval"]) == sorted(folder.images)


def test_checking_again_changes_nothing(tmp_path):
    folder = make_pairs(tmp_path)
    check(folder)
    before = snapshot(tmp_path)
    check(folder, seed=5)
    assert snapshot(tmp_path) == before


def test_pixels_of_every_value_are_listed(tmp_path, capsys):
    folder = VocFolder(tmp_path)
    write_pair(folder, "a", [0, 0, 0, 2], (4, 4))
    write_pair(folder, "b", [0, 2, 2, 255], (4, 4))
    write_lines(folder.class_names_path, ["background", "cell", "nucleus"])
    check(folder)
    table = [line.split() for line in capsys.readouterr().out.splitlines() if re.match(r" +\d+ ", line)]
    assert table == [
        ["0", "background", "16", "57.14%", "2"],
        ["1", "cell", "0", "0.00%", "0"],
        ["2", "nucleus", "12", "42.86%", "2"],
        ["255", "(ignored)", "4", "12.50%", "1"],
    ]


def test_classes_without_names_are_numbered(tmp_path, capsys):
    check(make_pairs(tmp_path, values=[0, 1, 2]))
    assert "class_0, class_1, class_2" in capsys.readouterr().out


def test_next_command_can_be_pasted(tmp_path, capsys):
    folder = make_pairs(tmp_path / "我的 数据")
    check(folder)
    words = shlex.split(re.search(r"next: (.*)", capsys.readouterr().out)[1])
    # Training chooses all else by itself.
    assert words == ["python", "train.py", "--voc-root", str(folder.root)]
    assert tyro.cli(train.Config, args=words[2:]).voc_root == folder.root


@pytest.mark.parametrize(
    "flags", ["--test-percent 25.0 --split-by contiguous --folds 2 --seed 3", '--group "^slice_[12]|."']
)
def test_proposed_command_draws_the_split_that_was_asked_for(tmp_path, flags):
    asked, plain = (make_pairs(tmp_path / name, 8, (0, 255)) for name in ("asked", "plain"))
    config = tyro.cli(Config, args=["--voc-root", str(asked.root), *shlex.split(flags)])
    with pytest.raises(UserError) as raised:
        main(config)
    command, mended = raised.value.remedy.split("   ")[0], ["--map", "0:0,255:1"]
    assert shlex.split(command) == shlex.split(f"{asked.doctor()} {flags}") + mended
    main(tyro.cli(Config, args=shlex.split(command)[2:]))
    main(tyro.cli(Config, args=["--voc-root", str(plain.root), *shlex.split(flags), *mended]))
    assert snapshot(asked.splits_dir) == snapshot(plain.splits_dir)


@pytest.mark.parametrize(
    ("wish", "code"), [({"group": "^patient"}, "group-no-match"), ({"folds": 99}, "fold-number")]
)
def test_a_split_that_cannot_be_is_refused_before_masks_are_repaired(tmp_path, wish, code):
    folder = make_pairs(tmp_path, values=(0, 255))
    before = snapshot(folder.root)
    with pytest.raises(UserError) as caught:
        check(folder, map="0:0,255:1", **wish)
    assert caught.value.code == code
    assert snapshot(folder.root) == before


def test_named_classes_may_have_gaps_in_their_values(tmp_path):
    folder = make_pairs(tmp_path, values=[0, 2])
    write_lines(folder.class_names_path, ["background", "rare", "common"])
    check(folder)
    assert read_splits(folder)["train"]


def test_picture_without_a_mask_is_left_out(tmp_path, capsys):
    folder = make_pairs(tmp_path, 4)
    folder.mask_path("slice_3").unlink()
    check(folder)
    assert "such as slice_3.png" in capsys.readouterr().err
    assert sorted(read_splits(folder)["trainval"]) == ["slice_1", "slice_2", "slice_4"]


@pytest.mark.parametrize("leftover", ["Thumbs.db", "desktop.ini", ".DS_Store", "._slice_1.png"])
def test_files_of_the_operating_system_are_passed_over(tmp_path, leftover):
    folder = make_pairs(tmp_path, 4)
    for part in (folder.images_dir, folder.masks_dir):
        (part / leftover).write_bytes(b"\0" * 64)
    check(folder)
    assert len(read_splits(folder)["trainval"]) == 4


def test_black_and_white_png_of_one_bit_is_a_mask_of_two_classes(tmp_path):
    folder = make_pairs(tmp_path, 3)
    for name in folder.images:
        save_as(folder.mask_path(name), np.eye(6, 8) > 0)
    check(folder)
    assert len(read_splits(folder)["trainval"]) == 3
