"""Files that are written whole or not at all."""

import pytest

from utils.core.files import replacing


@pytest.mark.parametrize("variable", ["process", "rank"])
def test_temporary_names_are_those_of_one_file_and_one_process(variable, tmp_path, monkeypatch):
    """Two processes may write labels.txt at the same time; the last one stays."""
    with replacing(tmp_path / "labels.txt") as first, replacing(tmp_path / "labels.csv") as beside:
        if variable == "process":
            monkeypatch.setattr("os.getpid", lambda: 7)
        else:
            monkeypatch.setenv("RANK", "1")
        with replacing(tmp_path / "labels.txt") as second:
            assert len({first, beside, second}) == 3
            assert {path.parent for path in (first, beside, second)} == {tmp_path}
            assert all(path.name.startswith(".") for path in (first, beside, second))
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
