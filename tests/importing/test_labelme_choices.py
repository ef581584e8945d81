"""json_to_dataset.py: labels that look alike, and faulty files that are left out."""

import pytest
from labelme_cases import squares
from labelme_content import box, shape_entry
from labelme_sets import assert_mask, convert, draw
from refusal import refused
from scripts import run, run_here, snapshot

from json_to_dataset import Config, main
from utils.core.console import UserError
from utils.importing.labelme_record import read_labelme_record
from utils.voc.folder import VocFolder


@pytest.fixture
def folder(tmp_path) -> VocFolder:
    return VocFolder(tmp_path / "voc")


# Labels that look alike


def test_labels_that_look_alike_are_told_and_merged(tmp_path, folder, monkeypatch, capsys):
    shapes = [box("Cell", 0, 3), box("cell", 5, 8), box("cell", 10, 13), box("ｃell", 15, 18)]
    draw(tmp_path, "a", *shapes, box("background", 6, 7), box("nucleus", 20, 29))
    arguments = ["--input", tmp_path / "in", "--voc-root", folder.root]
    assert run_here(monkeypatch, "json_to_dataset.py", *arguments) == 0
    assert len(folder.read_class_names()) == 6
    offered = capsys.readouterr().err.split("--merge ")[1].split("\n")[0].split()
    assert sorted(offered) == ["Cell:cell", "background:_background_", "ｃell:cell"]
    merged = squares(c1=(0, 3)) + squares(c1=(5, 8)) + squares(c1=(10, 13)) + squares(c1=(15, 18))
    merged += squares(c2=(20, 29))
    merged[6:8, 6:8] = 0
    for flags in (["--merge", *offered], []):
        assert run_here(monkeypatch, "json_to_dataset.py", *arguments, *flags) == 0
        assert folder.read_class_names() == ["_background_", "cell", "nucleus"]
        assert_mask(folder, "a", merged)
    assert "nearly one name" not in capsys.readouterr().err
    result = convert(tmp_path, merge=["Cell:Cell"])
    assert result.classes.names == ["_background_", "cell", "nucleus", "Cell"]


@pytest.mark.parametrize(
    ("text", "code"), [("cell", "merge-form"), (":cell", "merge-form"), ("Cel:cell", "merge-label")]
)
def test_merge_that_fits_nothing(tmp_path, text, code):
    draw(tmp_path, "a", box("cell", 0, 3))
    (error,) = refused(tmp_path, main, Config(tmp_path / "in", tmp_path / "voc", merge=(text,)))
    assert (error.code, error.subject) == (code, f"--merge {text}")


# Faulty shapes and files


def test_faulty_shapes_and_files_are_left_out_when_asked(tmp_path, folder):
    draw(tmp_path, "a", shape_entry(points=[[1, 1], [2, 2]]), box("cell", 0, 9))
    draw(tmp_path, "b", box("cell", 0, 9))
    arguments = ["json_to_dataset.py", "--input", "in", "--voc-root", "voc"]
    assert run(*arguments, cwd=tmp_path).returncode == 2
    assert not folder.root.exists()
    (tmp_path / "in" / "c.json").write_text("{", encoding="utf-8")
    result = run(*arguments, "--skip-faulty", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "a.json, shape 1 (cell): " in result.stderr
    assert "c.json: " in result.stderr
    assert sorted(folder.images) == ["a", "b"]
    assert_mask(folder, "a", squares(c1=(0, 9)))
    # Without its only shape, a picture would teach that nothing is there.
    draw(tmp_path, "d", shape_entry(points=[[1, 1], [2, 2]]))
    # A file that became faulty is not gone: its pair stays as it was.
    (tmp_path / "in" / "b.json").write_text("{", encoding="utf-8")
    before = snapshot(folder.root)
    result = convert(tmp_path, skip_faulty=True)
    assert (result.gone, len(result.skipped)) == ([], 4)
    assert snapshot(folder.root) == before


def test_nothing_but_faulty_files(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "c.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        convert(tmp_path, skip_faulty=True)
    assert caught.value.code == "json-malformed"


def test_damaged_record_is_told(tmp_path, folder):
    draw(tmp_path, "a", box("cell", 0, 9))
    convert(tmp_path)
    (folder.root / "labelme_record.json").write_text('{"other": 1}', encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_labelme_record(folder)
    assert caught.value.code == "record-damaged"
