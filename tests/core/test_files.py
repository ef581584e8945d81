"""Files that are written whole or not at all."""

import pytest

from utils.core.files import replacing


def test_temporary_names_are_those_of_one_file_and_one_process(tmp_path, monkeypatch):
    """Two processes of torchrun may write labels.txt at the same time, and a.json beside a.png; the last one stays."""
    with replacing(tmp_path / "labels.txt") as alone:
        alone.write_text("alone", encoding="utf-8")
    monkeypatch.setenv("RANK", "0")
    with replacing(tmp_path / "labels.txt") as first, replacing(tmp_path / "labels.csv") as beside:
        monkeypatch.setenv("RANK", "1")
        with replacing(tmp_path / "labels.txt") as second:
            assert len({alone, first, beside, second}) == 4
            assert {path.parent for path in (first, beside, second)} == {tmp_path}
            assert all(path.name.startswith(".") for path in (alone, first, beside, second))
            for path, text in ((first, "first"), (beside, "beside"), (second, "second")):
                path.write_text(text, encoding="utf-8")
        assert (tmp_path / "labels.txt").read_text("utf-8") == "second"
    assert (tmp_path / "labels.txt").read_text("utf-8") == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "labels.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_is_interrupted_leaves_the_old_file(tmp_path, error):
    (tmp_path / "a.txt").write_text("old", encoding="utf-8")
    with pytest.raises(error), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise error
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == {"a.txt": "old"}
