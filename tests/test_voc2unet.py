"""voc2unet.py: the split files, and what it prints."""

import re
import shlex

import numpy as np
import pytest
import tyro
from doctor_folder import add, check, find_fault, make_pairs, read_splits, without_statistics, write_pair
from scripts import save_as, snapshot

import train
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.voc.demo import draw_sample
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


def test_splits_that_cannot_be_written(tmp_path):
    folder = make_pairs(tmp_path)
    (tmp_path / "ImageSets").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        check(folder)
    assert caught.value.subject.startswith(str(tmp_path / "ImageSets"))


def test_an_earlier_test_split_is_never_trained_on(tmp_path, capsys):
    folder = make_pairs(tmp_path / "voc", 10)
    check(folder, test_percent=20)
    apart = read_splits(folder)["test"]
    assert len(apart) == 2
    capsys.readouterr()
    check(folder)
    assert "in no split" not in capsys.readouterr().out
    check(folder, overwrite=True, seed=5)
    splits = read_splits(folder)
    assert splits["test"] == apart
    assert not set(apart) & set(splits["trainval"]) and len(splits["trainval"]) == 8


def test_a_test_split_in_another_encoding_is_told(tmp_path):
    folder = make_pairs(tmp_path / "voc", 4)
    check(folder)
    (folder.splits_dir / "test.txt").write_text("slice_1\nnaïve\n", encoding="latin-1")
    with pytest.raises(UserError) as caught:
        check(folder, folds=2)
    assert caught.value.subject == str(folder.splits_dir / "test.txt")


def test_groups_and_folds(tmp_path, capsys):
    folder = VocFolder(tmp_path)
    for stack in "pqrs":
        for number in range(3):
            add(folder, f"{stack}_{number}")
    check(folder, group="^[^_]+", folds=3, test_percent=25, split_by="stratified")
    test = set(folder.read_split("test"))
    assert len(test) == 3
    seen = []
    for fold in range(3):
        train, val = (set(folder.read_split(f"fold{fold}_{part}")) for part in ("train", "val"))
        assert not train & val
        assert train | val | test == set(folder.images)
        assert {name[0] for name in train}.isdisjoint(name[0] for name in val)
        seen += val
    assert sorted(seen) == sorted(set(folder.images) - test)
    before = snapshot(folder.splits_dir)
    check(folder, folds=2)
    assert snapshot(folder.splits_dir) == before
    assert "6 fold files" in capsys.readouterr().out
    check(folder, group="^[^_]+", folds=2, overwrite=True)
    assert len(list(folder.splits_dir.glob("fold*"))) == 4


def test_folds_are_checked_before_a_split_is_written(tmp_path):
    folder = make_pairs(tmp_path, 6)
    error = find_fault(folder, test_percent=50, folds=5)
    assert (error.code, error.subject) == ("fold-number", "--folds 5")
    check(folder, test_percent=50, folds=3)
    assert len(read_splits(folder)["test"]) == 3


def test_a_picture_as_png_and_as_jpeg_stays_on_one_side(tmp_path, capsys):
    folder = VocFolder(tmp_path)
    for number in range(6):
        image, mask = draw_sample(number, 64)
        write_image(folder.images_dir / f"cell{number}.png", image)
        write_mask(folder.mask_path(f"cell{number}"), mask)
    for number in range(2):
        save_as(folder.images_dir / f"again{number}.jpg", draw_sample(number, 64)[0], "JPEG")
        write_mask(folder.mask_path(f"again{number}"), draw_sample(number, 64)[1])
    for seed in range(6):
        check(VocFolder(tmp_path), overwrite=True, seed=seed, val_percent=40, folds=3)
        for split in ("train", "fold0_train", "fold1_train", "fold2_train"):
            train = folder.read_split(split)
            assert all((f"cell{number}" in train) == (f"again{number}" in train) for number in range(2))
    folder.write_split("train", ["cell0", "cell2"])
    folder.write_split("val", ["again0", "cell3"])
    capsys.readouterr()
    check(VocFolder(tmp_path))
    warnings = capsys.readouterr().err
    assert "4 pictures look the same as another" in warnings
    assert "in train and in val, such as cell0 and again0" in warnings


@pytest.mark.parametrize(
    ("names", "hinted"),
    [
        (["scan1_001", "scan1_002", "scan2_001", "scan2_002"], True),
        (["a-7-1.v2", "a-7-2.v2", "b-7-1.v2", "b-7-2.v2"], True),
        (["slice_1", "slice_2", "slice_3"], False),
        (["cat", "dog", "cow_1", "cow_2"], False),
    ],
)
def test_names_that_share_a_stem_are_told_of_groups(tmp_path, names, hinted, capsys):
    folder = VocFolder(tmp_path)
    for name in names:
        add(folder, name)
    check(folder)
    command = re.search(r"--group (.*)", capsys.readouterr().err)
    assert bool(command) == hinted
    if command:
        check(folder, group=shlex.split(command[1])[0], overwrite=True, val_percent=50)
        # Both names of one stem.
        assert sorted(folder.read_split("val")) in (names[:2], names[2:])


def test_names_of_the_test_split_that_train_are_told(tmp_path, capsys):
    folder = make_pairs(tmp_path, 4)
    for split, names in {"train": ["slice_1", "slice_2"], "val": ["slice_3"], "test": ["slice_2"]}.items():
        folder.write_split(split, names)
    check(folder)
    assert "1 picture in train and in test, such as slice_2" in capsys.readouterr().err


def test_copies_of_pictures_to_test_on_never_train(tmp_path, capsys):
    folder = make_pairs(tmp_path, 5)
    save_as(folder.images_dir / "copy.bmp", read_image(folder.image_path("slice_1")))
    write_mask(folder.mask_path("copy"), read_mask(folder.mask_path("slice_1")))
    # gone: listed by someone, its pair is not there.
    folder.write_split("test", ["slice_1", "gone"])
    check(VocFolder(tmp_path), folds=2)
    assert "1 pair in no split" in capsys.readouterr().out
    for split in ("trainval", "fold0_train", "fold1_train"):
        assert not {"slice_1", "copy"} & {*folder.read_split(split)}
    assert folder.read_split("test") == ["slice_1", "gone"]


def test_the_earlier_name_of_split_by_is_accepted(tmp_path):
    folder = make_pairs(tmp_path, 4)
    main(tyro.cli(Config, args=["--voc-root", str(tmp_path), "--split", "contiguous"]))
    assert read_splits(folder)["val"] == ["slice_4"]


def test_a_test_split_of_all_pairs_leaves_nothing_to_train_on(tmp_path):
    folder = make_pairs(tmp_path, 2)
    folder.write_split("test", ["slice_1", "slice_2"])
    assert find_fault(folder).code == "split-nothing-left"
