"""Class names that other programs write beside their data."""

import pytest
from scripts import refused

from utils.images.palette import IGNORE_INDEX
from utils.voc.class_files import find_class_file, read_class_file, read_labelmap

LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\n细胞:250,50,83::\nb c:1,2,3::\n"
ADE = "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.15\t9\t7\t1\twall\n2\t0.1\t6\t6\t1\tbuilding, edifice\n"
FILES = {
    "labelmap.txt": (LABELMAP, ["background", "细胞", "b c"]),
    "_classes.csv": (
        "Pixel Value, Class\n0, background\n1, 细胞\n3, other\n",
        ["background", "细胞", "class_2", "other"],
    ),
    "dataset.json": (
        '{"labels": {"background": 0, "细胞": 1, "whole": [1, 2]}}',
        ["background", "细胞", "whole"],
    ),
    "DATASET.json": (
        '{"labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "细胞": [3]}}',
        ["background", "whole", "core", "细胞"],
    ),
    "Dataset.json": ('{"labels": {"0": "background", "1": "细胞"}}', ["background", "细胞"]),
    "data.yaml": ("nc: 2\nnames: [细胞, 'b c']\n", ["细胞", "b c"]),
    "dataset.yaml": ("names:\n  0: 细胞\n  1: 7\n", ["细胞", "7"]),
    "classes.txt": ("细胞\nb c\n", ["细胞", "b c"]),
    "objectInfo150.txt": (ADE, ["background", "wall", "building"]),
}


@pytest.mark.parametrize("name", FILES)
def test_names_by_number(tmp_path, name):
    content, names = FILES[name]
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert read_class_file(path) == names


def test_labelmap_has_colors(tmp_path):
    path = tmp_path / "labelmap.txt"
    path.write_text("ignored:9,9,9::\ncell:250,50,83::\n", encoding="utf-8")
    table = read_labelmap(path)
    assert table.class_names == ["background", "cell"]
    assert table.colors.tolist() == [[0, 0, 0], [9, 9, 9], [250, 50, 83]]
    assert table.indices.tolist() == [0, IGNORE_INDEX, 1]


def test_labelmap_of_datumaro_has_the_colors_of_voc(tmp_path):
    path = tmp_path / "labelmap.txt"
    path.write_text("# label:color_rgb:parts:actions\nbackground:::\ncell:::\nb:::\n", encoding="utf-8")
    assert read_labelmap(path).colors.tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labelmap.txt", "cell 1 2 3"),
        ("_classes.csv", "a;b"),
        ("dataset.json", '{"labels": ["a"]}'),
        ("dataset.json", '{"labels": {"a": "b"}}'),
        ("dataset.json", "{"),
        ("data.yaml", "names: [a"),
        ("data.yaml", "nc: 3"),
        ("data.yaml", "just text"),
        ("data.yaml", "names: {300: a}"),
        ("classes.txt", ""),
    ],
)
def test_other_content_is_refused(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with refused("class-file", tmp_path / name):
        read_class_file(tmp_path / name)


def test_dataset_json_of_our_own_holds_no_names(tmp_path):
    (tmp_path / "dataset.json").write_text('{"pairs": 3}', encoding="utf-8")
    assert find_class_file([tmp_path / "gone", tmp_path]) is None
    (tmp_path / "_classes.csv").write_text(FILES["_classes.csv"][0], encoding="utf-8")
    assert find_class_file([tmp_path / "gone", tmp_path]) == tmp_path / "_classes.csv"
