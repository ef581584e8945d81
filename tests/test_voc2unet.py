"""voc2unet.py: the check of a VOC folder, the mending of its masks, the split files."""

import re
import shlex

import numpy as np
import pytest
import tyro
from doctor_folder import check, command
from scripts import cut_off, save_as, snapshot

import train
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.doctor import originals
from utils.images.reading import read_mask
from utils.images.writing import write_image, write_mask
from utils.voc.folder import VocFolder
from voc2unet import Config, main

SPLITS = ("train", "val", "trainval", "test")


pytestmark = pytest.mark.usefixtures("without_drawing")


def write_pair(folder, name, values=(0, 1), size=(6, 8)):
    """A picture, another one for each name, and a mask whose columns take these values in turn."""
    seed = list(name.encode())
    write_image(
        folder.images_dir / f"{name}.png", np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    )
    write_mask(folder.mask_path(name), np.tile(np.resize(np.array(values, np.uint8), size[1]), (size[0], 1)))


def make_pairs(root, count=6, values=(0, 1)):
    folder = VocFolder(root)
    for index in range(1, count + 1):
        write_pair(folder, f"slice_{index}", values)
    return VocFolder(root)


def read_splits(folder):
    """The lists as they are in the files; test.txt may be empty."""
    return {split: (folder.splits_dir / f"{split}.txt").read_text("utf-8").split() for split in SPLITS}


def read_masks(folder):
    return {path.name: read_mask(path) for path in sorted(folder.masks_dir.glob("*.png"))}


def without_statistics(files):
    """Without dataset.json, which tells the times of files."""
    return {path: content for path, content in files.items() if not path.endswith("dataset.json")}


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
    check(folder, val_percent=val, test_percent=test, split=kind)
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
    check(folder, split="contiguous")
    assert (folder.splits_dir / "trainval.txt").read_bytes() == b"slice_1\nslice_2\n"


@pytest.mark.parametrize(("val", "test"), [(-1, 0), (0, -5), (50, 50), (100, 0)])
def test_percentages_that_leave_nothing_to_train_on(tmp_path, val, test):
    folder = make_pairs(tmp_path)
    with pytest.raises(UserError, match=f"--val-percent {val} and --test-percent {test}"):
        check(folder, val_percent=val, test_percent=test)
    assert not folder.splits_dir.exists()


def test_seed_decides_the_random_split(tmp_path):
    splits = []
    for run, seed in enumerate([0, 0, 1]):
        folder = make_pairs(tmp_path / str(run), 20)
        check(folder, seed=seed)
        splits.append(read_splits(folder))
    assert splits[0] == splits[1] != splits[2]


def test_contiguous_split_follows_the_numbers_in_names(tmp_path):
    folder = make_pairs(tmp_path, 12)
    check(folder, split="contiguous", val_percent=17, test_percent=9)
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


def test_existing_split_with_a_name_that_has_no_pair(tmp_path):
    folder = make_pairs(tmp_path)
    folder.write_split("train", ["slice_1", "slice_77"])
    folder.write_split("val", ["slice_2"])
    with pytest.raises(UserError, match="slice_77") as caught:
        check(folder)
    assert caught.value.subject == str(folder.splits_dir / "train.txt")


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
    proposed = re.search(r"next: (.*)", capsys.readouterr().out)[1]
    python, script, *flags = shlex.split(command)
    assert (python, script, flags[:2]) == ("python", "train.py", ["--voc-root", str(folder.root)])
    proposed = tyro.cli(train.Config, args=flags)
    assert (proposed.input_shape, proposed.network.in_channels, proposed.batch_size) == ((32, 32), 1, 2)


def test_masks_in_0_and_255_are_told_with_the_command_that_mends_them(tmp_path):
    folder = make_pairs(tmp_path / "two words", values=[0, 0, 0, 255])
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match="masks drawn in black and white") as caught:
        check(folder)
    assert snapshot(tmp_path) == before
    assert "0 (216 pixels) and 255 (72 pixels)" in caught.value.found
    command = shlex.split(caught.value.remedy.split("   (")[0])
    assert command == ["python", "voc2unet.py", "--voc-root", str(folder.root), "--map", "0:0,255:1"]
    assert "--map 0:1,255:0" in caught.value.remedy


@pytest.mark.parametrize(
    ("values", "mapping"),
    [
        ([0, 3, 7], "0:0,3:1,7:2"),
        ([1, 2], "1:0,2:1"),
        ([0, 38, 75, 113], "0:0,38:1,75:2,113:3"),
        ([0, 2], "0:0,2:1"),
    ],
)
def test_values_with_gaps_are_told_with_the_map_that_closes_them(tmp_path, values, mapping):
    folder = make_pairs(tmp_path, values=values)
    with pytest.raises(UserError, match=", ".join(map(str, values))) as caught:
        check(folder)
    assert f"--map {mapping} " in caught.value.remedy
    assert not folder.splits_dir.exists()
    check(folder, map=mapping)
    for mask in read_masks(folder).values():
        assert np.array_equal(mask[0], np.resize(np.arange(len(values)), 8))


@pytest.mark.parametrize(
    "flags", ["--test-percent 25.0 --split contiguous --folds 2 --seed 3", '--group "^slice_[12]|."']
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
    ("wish", "words"),
    [({"group": "^patient"}, "no match in the name"), ({"folds": 99}, "99 folds of 6 groups")],
)
def test_a_split_that_cannot_be_is_told_before_masks_are_mended(tmp_path, wish, words):
    folder = make_pairs(tmp_path, values=(0, 255))
    before = snapshot(folder.root)
    with pytest.raises(UserError, match=words):
        check(folder, map="0:0,255:1", **wish)
    assert snapshot(folder.root) == before


def test_255_beside_other_gray_levels_is_pointed_out(tmp_path):
    folder = make_pairs(tmp_path, values=[0, 128, 255])
    with pytest.raises(UserError) as caught:
        check(folder)
    assert "--map 0:0,128:1" in caught.value.remedy
    assert "255:2" in caught.value.remedy


def test_named_classes_may_have_gaps_in_their_values(tmp_path):
    folder = make_pairs(tmp_path, values=[0, 2])
    write_lines(folder.class_names_path, ["background", "rare", "common"])
    check(folder)
    assert read_splits(folder)["train"]


def test_value_beyond_the_named_classes(tmp_path):
    folder = make_pairs(tmp_path)
    write_pair(folder, "slice_4", [0, 1, 5, 9])
    write_lines(folder.class_names_path, ["background", "cell"])
    with pytest.raises(UserError, match=r"value 5 \(12 pixels\), 9 \(12 pixels\)") as caught:
        check(folder)
    assert caught.value.subject == str(folder.mask_path("slice_4"))
    assert not folder.splits_dir.exists()


def test_masks_with_background_only_are_a_warning(tmp_path, capsys):
    folder = make_pairs(tmp_path, 5)
    for name in ("slice_2", "slice_3"):
        write_pair(folder, name, [0])
    check(folder)
    assert "warning: 2 masks hold background only, such as slice_2.png" in capsys.readouterr().err
    assert len(read_splits(folder)["trainval"]) == 5


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


def test_pair_added_after_mending_is_mended_too(tmp_path):
    folder = make_pairs(tmp_path, 2, values=[0, 255])
    check(folder, map="0:0,255:1")
    write_pair(folder, "slice_9", [0, 255])
    check(VocFolder(tmp_path), map="0:0,255:1", overwrite=True)
    assert {int(mask.max()) for mask in read_masks(folder).values()} == {1}
    assert "slice_9" in read_splits(folder)["trainval"]


@pytest.mark.parametrize("written", range(4))
def test_interrupted_mending_is_completed_by_running_again(tmp_path, monkeypatch, written):
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
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match="OLD:NEW with numbers 0 … 255"):
        check(folder, map=text)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("text", ["0:1,0:2", "0:0,255:1,255:2"])
def test_map_that_gives_a_value_two_classes(tmp_path, text):
    folder = make_pairs(tmp_path, values=[0, 255])
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match="twice"):
        check(folder, map=text)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("mapping", "found"),
    [
        ("255:7", "value 7 (24 pixels)"),
        ("0:255,255:0", "only the values 0 (144 pixels) and 255 (144 pixels)"),
    ],
)
def test_map_whose_result_would_be_faulty_writes_nothing(tmp_path, mapping, found):
    folder = make_pairs(tmp_path, values=[0, 255])
    write_lines(folder.class_names_path, ["background", "cell"])
    before = snapshot(tmp_path)
    with pytest.raises(UserError) as caught:
        check(folder, map=mapping)
    assert snapshot(tmp_path) == before
    assert caught.value.subject == f"--map {mapping}"
    assert found in caught.value.found


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


def test_all_faults_are_listed_and_nothing_is_written(tmp_path):
    folder = make_faulty(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match="7 faults of 5 kinds in 9 pairs") as caught:
        check(folder)
    assert snapshot(tmp_path) == before
    message = str(caught.value)
    for name, found in {
        "slice_1": "a mask of 5×8",
        "slice_2": "a mask of RGB colors",
        "slice_3": "a JPEG",
        "slice_4": "16-bit values",
        "slice_5": "an empty file",
        "slice_6": "truncated mask",
    }.items():
        assert re.search(f"{name}.png: .*{found}", message), name
    assert re.search("JPEGImages.slice_7.png: .*truncated picture", message)
    assert "slice_8" not in message


def test_mending_leaves_only_the_faults_that_it_cannot_mend(tmp_path):
    folder = make_faulty(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match="5 faults of 3 kinds in 9 pairs") as caught:
        check(folder, map="0:1,1:0")
    assert snapshot(tmp_path) == before
    assert not re.search("slice_[248]", str(caught.value))


def test_mask_without_a_picture(tmp_path):
    folder = make_pairs(tmp_path)
    folder.mask_path("slice_1").rename(folder.mask_path("slice_1_mask"))
    with pytest.raises(UserError, match=r"did you mean slice_1\?") as caught:
        check(folder)
    assert caught.value.subject == str(folder.mask_path("slice_1_mask"))


def test_picture_without_a_mask_is_left_out(tmp_path, capsys):
    folder = make_pairs(tmp_path, 4)
    folder.mask_path("slice_3").unlink()
    check(folder)
    assert "warning: 1 picture without a mask is left out, such as slice_3.png" in capsys.readouterr().err
    assert sorted(read_splits(folder)["trainval"]) == ["slice_1", "slice_2", "slice_4"]


def test_mask_that_is_no_png(tmp_path):
    folder = make_pairs(tmp_path, 2)
    folder.mask_path("slice_1").unlink()
    save_as(folder.masks_dir / "slice_1.bmp", np.zeros((6, 8), np.uint8))
    with pytest.raises(UserError, match=r"a mask in a \.bmp file"):
        check(folder)


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


@pytest.mark.parametrize("missing", ["", "JPEGImages", "SegmentationClass"])
def test_missing_folder(tmp_path, missing):
    root = tmp_path / "voc"
    make_pairs(root)
    (root / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="no such folder") as caught:
        main(Config(voc_root=root))
    assert caught.value.subject == str(root / missing)


def test_folder_without_pairs(tmp_path):
    folder = make_pairs(tmp_path, 1)
    folder.mask_path("slice_1").unlink()
    with pytest.raises(UserError, match="no pair of picture and mask"):
        check(folder)


def test_splits_that_cannot_be_written(tmp_path):
    folder = make_pairs(tmp_path)
    (tmp_path / "ImageSets").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(UserError, match="it cannot be written"):
        check(folder)


def test_originals_that_cannot_be_kept(tmp_path):
    folder = make_pairs(tmp_path, values=[0, 255])
    (tmp_path / "SegmentationClass.orig").write_text("a file in the way", encoding="utf-8")
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match="it cannot be written"):
        check(folder, map="0:0,255:1")
    assert snapshot(tmp_path) == before


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
    (folder.splits_dir / "test.txt").write_text("slice_1\n", encoding="utf-16")
    with pytest.raises(UserError, match="text that is not UTF-8"):
        check(folder, folds=2)


def test_a_class_name_that_comes_twice(tmp_path):
    folder = make_pairs(tmp_path / "voc", 4)
    write_lines(folder.class_names_path, ["background", "cell", "cell"])
    with pytest.raises(UserError, match="the name cell twice"):
        check(folder)
