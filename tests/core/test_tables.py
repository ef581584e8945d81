"""CSV tables: what spreadsheet programs open, rows that are added, tables that are joined."""

import csv

import pytest

from utils.core.console import UserError
from utils.core.tables import append_row, join_tables, read_table, write_table


def test_tables_open_in_spreadsheets(tmp_path):
    path = tmp_path / "图片" / "a.csv"
    write_table(path, [{"picture": "细胞, 一.png", "share": 1 / 3, "number": 7}])
    append_row(path, {"picture": "b.png", "share": 0.5, "number": 8})
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    rows = [["picture", "share", "number"], ["细胞, 一.png", "0.333333", "7"], ["b.png", "0.5", "8"]]
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == rows
    join_tables(tmp_path / "all.csv", [path, path])
    assert [list(row.values()) for row in read_table(tmp_path / "all.csv")] == rows[1:] * 2
    with pytest.raises(UserError) as caught:
        append_row(path, {"picture": "c.png"})
    assert (caught.value.code, caught.value.subject) == ("table-columns", str(path))


def test_table_that_cannot_be_written_to(tmp_path, monkeypatch):
    write_table(tmp_path / "a.csv", [{"picture": "a.png"}])
    opened = type(tmp_path).open

    def locked(path, mode="r", **arguments):
        if mode == "a":
            raise PermissionError(13, "Permission denied")
        return opened(path, mode, **arguments)

    monkeypatch.setattr(type(tmp_path), "open", locked)
    with pytest.raises(UserError) as caught:
        append_row(tmp_path / "a.csv", {"picture": "b.png"})
    assert (caught.value.code, caught.value.subject) == ("table-locked", str(tmp_path / "a.csv"))
    assert [row["picture"] for row in read_table(tmp_path / "a.csv")] == ["a.png"]


def test_names_that_are_formulas_stay_text(tmp_path):
    path, names = (
        tmp_path / "a.csv",
        ["=cmd()", "+1+1", "-a", "@x", "'=b", "-1.5", "3e-7", "plain", "'quoted'"],
    )
    for name in names:
        append_row(path, {"picture": name, "=class": -0.5})
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    assert header[1] == "'=class"
    assert [row[0] for row in rows] == ["'=cmd()", "'+1+1", "'-a", "'@x", "''=b", *names[5:]]
    assert {row[1] for row in rows} == {"-0.5"}
    found = read_table(path)
    assert [row["picture"] for row in found] == names
    assert {row["=class"] for row in found} == {"-0.5"}
