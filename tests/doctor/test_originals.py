"""Repaired masks and their originals: nothing is lost, whatever the instant of an interruption."""

import json

import numpy as np
import pytest
from doctor_folder import MASK, add, check, command, draw_objects, find_fault, make_folder, noise, obey
from scripts import save_as, snapshot

from utils.core.files import write_lines
from utils.doctor import originals
from utils.doctor.repair import RepairSettings, prepare_repair
from utils.images.reading import read_mask
from utils.images.writing import write_image, write_mask
from utils.voc.folder import VocFolder


@pytest.fixture
def folder(tmp_path, without_drawing):
    """Three good pairs, a, b and c."""
    return make_folder(tmp_path / "voc")


def test_mask_redrawn_after_repair_is_not_lost(folder):
    for name in "abc":
        write_mask(folder.mask_path(name), MASK * 100)
    settings = {"map": "0:0,100:1,200:2"}
    check(folder, **settings)
    redrawn = np.roll(MASK, 1)
    write_mask(folder.mask_path("b"), redrawn)
    error = find_fault(folder, **settings)
    assert error.subject == str(folder.mask_path("b"))
    assert error.code == "mask-changed"
    (folder.root / "SegmentationClass.orig" / "b.png").unlink()
    check(folder, **settings)
    assert np.array_equal(read_mask(folder.mask_path("b")), redrawn)


def test_fix_does_not_undo_a_map(folder):
    for name in "abc":
        write_mask(folder.mask_path(name), 2 - MASK)
    check(folder, map="0:2,2:0")
    add(folder, "d", None)
    save_as(folder.masks_dir / "d.bmp", MASK)
    check(VocFolder(folder.root), fix=True)
    for name in "abcd":
        assert np.array_equal(read_mask(folder.mask_path(name)), MASK)


@pytest.mark.parametrize("stop_at", range(9))
def test_interrupted_fix_is_completed_by_running_again(folder, monkeypatch, stop_at):
    """Stops before the n-th of all operations on files."""
    for name in "abc":
        folder.mask_path(name).unlink()
        save_as(folder.masks_dir / f"{name}_GT.bmp", np.dstack([MASK] * 3))
    before = snapshot(folder.masks_dir)
    calls = []

    def counted(function):
        def call(*arguments, **options):
            calls.append(function)
            if len(calls) > stop_at:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("write_mask", "write_lines"):
            patch.setattr(originals, name, counted(getattr(originals, name)))
        patch.setattr(originals.shutil, "copyfile", counted(originals.shutil.copyfile))
        patch.setattr(originals.Path, "unlink", counted(originals.Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            check(folder, fix=True)
    check(VocFolder(folder.root), fix=True)
    for name in "abc":
        assert np.array_equal(read_mask(folder.mask_path(name)), MASK)
    assert sorted(path.name for path in folder.masks_dir.iterdir()) == ["a.png", "b.png", "c.png"]
    assert snapshot(folder.root / "SegmentationClass.orig") == before
    check(VocFolder(folder.root))


def test_interrupted_map_of_other_names_is_completed_by_running_again(folder, monkeypatch):
    folder.mask_path("a").rename(folder.masks_dir / "a_mask.png")
    written = originals.write_mask

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(originals, "write_mask", stop)
    with pytest.raises(KeyboardInterrupt):
        check(folder, map="0:0,1:2,2:1")
    monkeypatch.setattr(originals, "write_mask", written)
    check(folder, map="0:0,1:2,2:1")
    swapped = np.array([0, 2, 1], np.uint8)[MASK]
    for name in "abc":
        np.testing.assert_array_equal(read_mask(folder.mask_path(name)), swapped)
    assert sorted(path.name for path in folder.masks_dir.iterdir()) == ["a.png", "b.png", "c.png"]


def test_mask_map_says_what_was_done(folder):
    save_as(folder.mask_path("a"), MASK.astype(np.uint16))
    check(folder, fix=True)
    content = json.loads((folder.root / "mask_map.json").read_text("utf-8"))
    assert content["command"] == command(folder, "--fix")
    assert list(content["masks"]) == ["a"]
    assert content["masks"]["a"]["steps"] == ["16 → 8 bits"]
    assert not (folder.root / "SegmentationClass.orig" / "b.png").exists()


def test_nothing_to_mend(folder, capsys):
    check(folder, fix=True)
    assert "repaired nothing" in capsys.readouterr().out
    assert not (folder.root / "SegmentationClass.orig").exists()


def test_damaged_mask_map(folder):
    (folder.root / "mask_map.json").write_text("{", encoding="utf-8")
    error = find_fault(folder, fix=True)
    assert error.subject == str(folder.root / "mask_map.json")


def test_commands_keep_what_was_given(tmp_path):
    folder = VocFolder(tmp_path / "two words", doctor_flags="--seed 3")
    repair = prepare_repair(folder, RepairSettings(map="0:0,*:1"))
    command = f'python voc2unet.py --voc-root "{folder.root}" --seed 3 --map "0:0,*:1"'
    assert repair.command() == command
    assert repair.command(nearest=3) == f"{command} --nearest 3"
    assert prepare_repair(folder, RepairSettings()).command(fix=True).endswith(" --fix")


@pytest.mark.parametrize("written", range(4))
def test_interrupted_instances_are_completed_by_running_again(folder, monkeypatch, written):
    folder.class_names_path.unlink()
    numbers = {name: draw_objects(count) for name, count in zip("abc", (9, 300, 7), strict=True)}
    for name, values in numbers.items():
        write_image(folder.image_path(name), noise(name, *values.shape))
        save_as(folder.mask_path(name), values)
    write, calls = originals.write_mask, []

    def stop_after_some(path, mask):
        calls.append(path)
        if len(calls) > written:
            raise KeyboardInterrupt
        write(path, mask)

    with monkeypatch.context() as patch:
        patch.setattr(originals, "write_mask", stop_after_some)
        try:
            check(folder, instances=True)
        except KeyboardInterrupt:
            assert written < 3
    check(VocFolder(folder.root), instances=True)
    for name, values in numbers.items():
        assert np.array_equal(read_mask(folder.mask_path(name)), values > 0)
        assert np.array_equal(folder.read_objects(name, values.shape) > 0, values > 0)


def test_new_masks_in_colors_take_the_table_of_the_others(folder, tmp_path):
    table = tmp_path / "colors.txt"
    write_lines(table, ["0 0 0 background", "9 9 200 cell", "200 9 9 nucleus"])
    colors = np.array([[0, 0, 0], [9, 9, 200], [200, 9, 9]], np.uint8)
    for name in "abc":
        save_as(folder.mask_path(name), colors[MASK])
    check(folder, colors=str(table))
    add(folder, "d", None)
    save_as(folder.mask_path("d"), colors[MASK])
    error = find_fault(folder)
    assert (error.code, error.remedy) == ("mask-colors", command(folder, "--colors", str(table)))
    obey(folder, error.remedy)
    for name in "abcd":
        assert np.array_equal(read_mask(folder.mask_path(name)), MASK)


def test_new_mask_that_holds_class_indices_already(folder):
    """An earlier map swapped two values, so that a new mask may be coded either way."""
    check(folder, map="1:2,2:1")
    add(folder, "d")
    assert find_fault(VocFolder(folder.root)).code == "mask-not-mapped"
    check(VocFolder(folder.root), fix=True)
    check(VocFolder(folder.root))
    assert np.array_equal(read_mask(folder.mask_path("d")), MASK)
