"""Color tables and the way from RGB masks to class indices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from utils.core.console import UserError
from utils.images.palette import voc_palette
from utils.voc.colors import BUILT_IN, color_shares, count_colors, load_table, pack, unpack


def write_table(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return load_table(str(path))


@pytest.mark.parametrize(
    ("name", "classes", "colors"), [("voc", 21, 22), ("msrc2", 21, 24), ("camvid", 11, 34)]
)
def test_built_in_tables(name, classes, colors):
    table = load_table(name)
    assert len(table.class_names) == len(set(table.class_names)) == classes
    assert len(set(table.packed.tolist())) == len(table.colors) == colors
    assert set(table.indices) == {*range(classes), 255}


@pytest.mark.parametrize(
    ("name", "color", "index"),
    [
        ("voc", (0, 0, 0), 0),
        ("voc", (192, 128, 128), 15),
        ("voc", (224, 224, 192), 255),
        ("msrc2", (0, 0, 0), 255),
        ("msrc2", (128, 0, 128), 255),
        ("msrc2", (64, 0, 0), 255),
        ("msrc2", (128, 0, 0), 0),
        ("msrc2", (192, 64, 0), 20),
        ("camvid", (128, 128, 128), 0),
        ("camvid", (192, 0, 192), 10),
        ("camvid", (0, 0, 0), 255),
        ("camvid", (128, 0, 192), 3),
    ],
)
def test_known_colors(name, color, index):
    mask, strange = load_table(name).to_indices(np.full((2, 3, 3), color, np.uint8))
    assert (mask == index).all()
    assert mask.dtype == np.uint8
    assert strange == {}


def test_names_of_known_classes():
    assert BUILT_IN["voc"].class_names[15] == "person"
    assert BUILT_IN["msrc2"].class_names[-1] == "boat"
    assert BUILT_IN["camvid"].class_names[3] == "road"


@given(arrays(np.uint8, (5, 7), elements=st.integers(0, 20)))
@settings(max_examples=20)
def test_painting_and_reading_back_gives_the_same_mask(mask):
    read, strange = BUILT_IN["voc"].to_indices(voc_palette()[mask])
    assert np.array_equal(read, mask)
    assert not strange


@given(st.integers(0, (1 << 24) - 1))
def test_packing_is_undone(packed):
    assert pack(np.array(unpack(packed), np.uint8)) == packed


@given(arrays(np.uint8, (4, 4, 3)))
def test_pixels_are_in_the_table_or_counted(rgb):
    mask, strange = BUILT_IN["camvid"].to_indices(rgb)
    assert (mask == 254).sum() == sum(strange.values())
    assert sum(count_colors(rgb).values()) == 16


def test_file_of_colors(tmp_path):
    text = "# trees\n0 0 0 background\n\n10 20 30  large tree \n11 21 31 large tree\n255 255 255 Void\n"
    table = write_table(tmp_path / "颜色 1.txt", text, "utf-8-sig")
    assert table.class_names == ["background", "large tree"]
    assert table.indices.tolist() == [0, 1, 1, 255]
    assert table.colors[2].tolist() == [11, 21, 31]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0 0 0 a\n1 2 b\n", "'1 2 b' in line 2"),
        ("0 0 0 a\n1 2 3\n", "'1 2 3' in line 2"),
        ("0 0 256 a\n", "'0 0 256 a' in line 1"),
        ("0 0 -1 a\n", "'0 0 -1 a' in line 1"),
        ("0 0 0 a\n0 0 0 b\n", "the color 0 0 0 for two classes (line 2)"),
        ("0 0 0 a\n", "1 classes"),
        ("", "0 classes"),
        ("\n".join(f"{i % 256} {i // 256} 0 class{i}" for i in range(300)), "300 classes"),
    ],
)
def test_bad_table(tmp_path, text, found):
    with pytest.raises(UserError) as caught:
        write_table(tmp_path / "colors.txt", text)
    assert caught.value.found == found


def test_missing_table(tmp_path):
    with pytest.raises(UserError, match="cityscapes") as caught:
        load_table(str(tmp_path / "cityscapes"))
    assert caught.value.code == "file-missing"
    assert "voc, msrc2, camvid" in caught.value.remedy


def test_nearest_color_within_the_tolerance(tmp_path):
    table = write_table(tmp_path / "t.txt", "0 0 0 a\n100 0 0 b\n")
    rgb = np.array([[[3, 4, 0], [97, 0, 0], [6, 0, 0], [100, 0, 0]]], np.uint8)
    assert table.to_indices(rgb)[1] == {pack(rgb[0, 0]): 1, pack(rgb[0, 1]): 1, pack(rgb[0, 2]): 1}
    mask, strange = table.to_indices(rgb, 5)
    assert mask.tolist() == [[0, 1, 254, 1]]
    assert strange == {pack(rgb[0, 2]): 1}
    assert table.to_indices(rgb, 6)[0].tolist() == [[0, 1, 0, 1]]


def test_color_halfway_between_two_classes_takes_the_first_one(tmp_path):
    table = write_table(tmp_path / "t.txt", "0 0 0 a\n100 0 0 b\n100 100 0 b\n")
    rgb = np.array([[[50, 0, 0], [100, 50, 0]]], np.uint8)
    assert table.to_indices(rgb, 255)[0].tolist() == [[0, 1]]


def test_colors_color_shares():
    assert color_shares({0: 3, 0xFF8000: 1}, 4) == "0 0 0 (75.00%), 255 128 0 (25.00%)"
    assert color_shares(dict.fromkeys(range(9), 1), 9, 2) == "0 0 0 (11.11%), 0 0 1 (11.11%), … 9 in all"
