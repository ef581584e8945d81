"""voc2unet.py: splits that are refused, groups, folds, copies of pictures."""

import re
import shlex

import pytest
import tyro
from doctor_folder import add, check, find_fault, make_pairs, read_splits
from scripts import save_as, snapshot

from utils.core.console import UserError
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.voc.demo import draw_sample
from utils.voc.folder import VocFolder
from voc2unet import Config, main

pytestmark = pytest.mark.usefixtures("without_drawing")


def test_splits_that_cannot_be_written(tmp_path):
    folder = make_pairs(tmp_path)
    (tmp_path / "ImageSets").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        check(folder)
    assert caught.value.subject.startswith(str(tmp_path / "ImageSets"))


def test_a_remark_on_a_list_is_made_once(tmp_path, capsys):
    folder = make_pairs(tmp_path / "voc", 4)
    folder.splits_dir.mkdir(parents=True)
    names = sorted(folder.images)
    for split, listed in {"train": [*names[:3], names[0]], "val": names[3:]}.items():
        (folder.splits_dir / f"{split}.txt").write_text("\n".join(listed), encoding="utf-8")
    check(folder)
    assert capsys.readouterr().err.count("more than once") == 1


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


def test_a_test_split_of_ones_own_is_drawn_anew_only_on_request(tmp_path):
    folder = make_pairs(tmp_path / "voc", 10)
    folder.write_split("test", ["slice_1", "slice_4", "slice_7"])
    check(folder, test_percent=10)
    splits = read_splits(folder)
    assert splits["test"] == ["slice_1", "slice_4", "slice_7"]
    assert len(splits["trainval"]) == 7 and not set(splits["test"]) & set(splits["trainval"])
    check(folder, test_percent=10, overwrite=True)
    assert len(read_splits(folder)["test"]) == 1


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
