"""The VOC folder: split files and class names as people write them, and masks that do not fit."""

import numpy as np
import pytest

from utils.core.console import UserError, quoted
from utils.core.files import read_lines, write_lines
from utils.images.writing import write_image, write_mask
from utils.voc.classes import check_classes, looks_like_0_255, resolve_class_names
from utils.voc.folder import VocFolder, is_image, list_images
from utils.voc.survey import survey_pairs

GRAY = np.zeros((6, 8), np.uint8)


@pytest.fixture
def folder(tmp_path) -> VocFolder:
    folder = VocFolder(tmp_path / "数据 集")
    folder.splits_dir.mkdir(parents=True)
    return folder


def add(folder: VocFolder, name: str, mask: object, ending: str = ".png") -> None:
    mask = np.array(mask, np.uint8)
    write_image(folder.images_dir / f"{name}{ending}", np.zeros(mask.shape, np.uint8))
    write_mask(folder.mask_path(name), mask)


def histogram(*masks: object) -> np.ndarray:
    return sum(np.bincount(np.ravel(mask), minlength=256) for mask in masks)


def checked(folder: VocFolder, *names: str) -> list[str]:
    records = survey_pairs(folder, names).records
    class_names = resolve_class_names(folder, sum(record.counts for record in records))
    check_classes(folder, records, class_names)
    return class_names


@pytest.mark.parametrize(
    "content",
    [
        b"a 1\n\xe7\xbb\x86\xe8\x83\x9e\nc\n",
        b"a 1\r\n\xe7\xbb\x86\xe8\x83\x9e\r\nc\r\n",
        b"a 1\r\xe7\xbb\x86\xe8\x83\x9e\rc",
        b"\xef\xbb\xbfa 1\n\xe7\xbb\x86\xe8\x83\x9e\nc",
        b"\xef\xbb\xbf  a 1 \t\r\n\r\n\xe7\xbb\x86\xe8\x83\x9e   \r\n \r\nc\r\n\r\n",
    ],
    ids=["LF", "CRLF", "CR", "BOM", "BOM, CRLF, blanks, empty lines"],
)
def test_split_files_of_any_editor(folder, content):
    (folder.splits_dir / "train.txt").write_bytes(content)
    assert folder.read_split("train") == ["a 1", "细胞", "c"]


@pytest.mark.parametrize(
    "content", [None, b"", b"\n \r\n\t", b"\xef\xbb\xbf"], ids=["missing", "empty", "blank", "BOM"]
)
def test_a_split_without_names_is_a_user_error(folder, content):
    if content is not None:
        (folder.splits_dir / "val.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"val\.txt") as error:
        folder.read_split("val")
    assert "voc2unet.py" in error.value.remedy
    assert str(folder.root) in error.value.remedy


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-16-be"])
def test_text_of_a_chinese_windows_is_read(folder, encoding, capsys):
    bom = "\ufeff" * (encoding == "utf-16-be")
    (folder.splits_dir / "train.txt").write_bytes(f"{bom}a 1\r\n细胞\r\n".encode(encoding))
    folder.class_names_path.write_bytes(f"{bom}背景\n细胞核\n".encode(encoding))
    assert folder.read_split("train") == ["a 1", "细胞"]
    assert folder.read_class_names() == ["背景", "细胞核"]
    assert capsys.readouterr().err.count("GBK") == 2 * (encoding == "gb18030")


@pytest.mark.parametrize(
    ("pictures", "encoding", "read"),
    [("图片", "gb18030", "图片"), ("图片", "utf-8", "图片"), ("ͼƬ", "utf-8", "ͼƬ"), ("p", "gb18030", "ͼƬ")],
)
def test_bytes_that_are_both_utf_8_and_gbk(tmp_path, pictures, encoding, read, capsys):
    """The pictures tell which; without a picture of either name, it is UTF-8."""
    folder = VocFolder(tmp_path)
    for number in range(3):
        write_image(folder.images_dir / f"{pictures}{number}.png", np.zeros((4, 4), np.uint8))
    folder.splits_dir.mkdir(parents=True)
    listed = "".join(f"{'ͼƬ' if pictures == 'ͼƬ' else '图片'}{number}.png\r\n" for number in range(3))
    (folder.splits_dir / "train.txt").write_bytes(listed.encode(encoding))
    assert [name.removesuffix(".png") for name in folder.read_split("train")] == [
        f"{read}{n}" for n in range(3)
    ]
    assert ("GBK" in capsys.readouterr().err) == ((pictures, encoding) == ("图片", "gb18030"))


@pytest.mark.parametrize(
    "data", ["naïve".encode("latin-1"), "Übergänge\nzäh".encode("latin-1"), "a\nb".encode("utf-16-le")]
)
def test_text_of_another_encoding_is_a_user_error(folder, data):
    for path, read in (
        (folder.splits_dir / "train.txt", lambda: folder.read_split("train")),
        (folder.class_names_path, folder.read_class_names),
    ):
        path.write_bytes(data + b"\xff")
        with pytest.raises(UserError) as error:
            read()
        assert (error.value.code, error.value.subject) == ("file-not-utf-8", str(path))


@pytest.mark.parametrize(
    "line",
    ["p0", "p0.png", "p0.PNG", "JPEGImages/p0.png", r"data\images\p0.jpg", "p0.png p0_mask.png", "p0,1"],
)
def test_lines_of_a_list_name_pictures_in_many_ways(tmp_path, line):
    folder = VocFolder(tmp_path)
    for name in ("p0", "p1.v2", "a 1"):
        write_image(folder.images_dir / f"{name}.png", np.zeros((4, 4), np.uint8))
    write_lines(folder.splits_dir / "train.txt", [line, "p1.v2", "a 1", "images/a 1.jpg", "gone.png"])
    assert VocFolder(tmp_path).read_split("train") == ["p0", "p1.v2", "a 1", "gone.png"]


def test_names_listed_twice_count_once(folder, capsys):
    write_lines(folder.splits_dir / "train.txt", ["a 1", "b", "a 1"])
    assert folder.read_split("train") == ["a 1", "b"]
    assert "a 1" in capsys.readouterr().err


def test_a_folder_in_place_of_a_text_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError):
        read_lines(tmp_path, "remedy")


def test_splits_survive_writing_and_reading(folder):
    folder.write_split("test", ["a 1", "细胞"])
    assert folder.read_split("test") == ["a 1", "细胞"]
    assert (folder.splits_dir / "test.txt").read_bytes() == "a 1\n细胞\n".encode()


def test_lines_that_cannot_be_written_are_a_user_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"names\.txt"):
        write_lines(tmp_path / "file" / "names.txt", ["a"])


def test_class_names(folder):
    assert folder.read_class_names() is None
    folder.class_names_path.write_bytes("\ufeffbackground \r\n细胞 1\r\n\r\n".encode())
    assert folder.read_class_names() == ["background", "细胞 1"]


@pytest.mark.parametrize("content", ["", "background\n"])
def test_too_few_class_names_are_a_user_error(folder, content):
    folder.class_names_path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"class_names\.txt"):
        folder.read_class_names()


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["back", "x" * 501], "class-name-unprintable"),
        (["back", "a\x07b"], "class-name-unprintable"),
        (["back", *map(str, range(255))], "class-count"),
    ],
    ids=["long", "bell", "256"],
)
def test_class_names_that_no_weight_file_can_hold_are_refused_before_training(folder, names, code):
    write_lines(folder.class_names_path, names)
    with pytest.raises(UserError) as caught:
        folder.read_class_names()
    assert caught.value.code == code
    write_lines(folder.class_names_path, [name.replace("\x07", "")[:500] for name in names[:255]])
    assert folder.read_class_names()


def test_classes_without_a_file_are_numbered(folder):
    assert resolve_class_names(folder, histogram([0, 3, 255])) == ["class_0", "class_1", "class_2", "class_3"]
    assert resolve_class_names(folder, histogram([0, 0])) == ["class_0", "class_1"]
    assert resolve_class_names(folder, histogram([255])) == ["class_0", "class_1"]


def test_the_file_of_class_names_comes_first(folder):
    folder.class_names_path.write_text("background\ncell\n", encoding="utf-8")
    assert resolve_class_names(folder, histogram([0, 7])) == ["background", "cell"]


def test_pictures_are_found_by_name(folder):
    for file in ("b.JPG", "a.tif", "细 胞.png", "notes.txt", ".hidden.png", "a.b.png"):
        folder.images_dir.mkdir(exist_ok=True)
        (folder.images_dir / file).touch()
    (folder.images_dir / "folder.png").mkdir()
    assert {name: path.name for name, path in folder.images.items()} == {
        "a": "a.tif",
        "a.b": "a.b.png",
        "b": "b.JPG",
        "细 胞": "细 胞.png",
    }
    assert folder.image_path("b") == folder.images_dir / "b.JPG"
    assert folder.mask_path("a.b") == folder.masks_dir / "a.b.png"
    assert [path.name for path in list_images(folder.images_dir)] == sorted(
        ["b.JPG", "a.tif", "a.b.png", "细 胞.png"]
    )
    assert not is_image(folder.images_dir / "folder.png")


def test_a_name_without_picture_is_a_user_error(folder):
    add(folder, "a", [[0, 1]])
    with pytest.raises(UserError, match="missing") as error:
        folder.image_path("missing")
    assert "voc2unet.py" in error.value.remedy


def test_trainval_is_what_train_and_val_list(folder):
    """Official splits come without it, and to draw them anew would lose them."""
    folder.write_split("train", ["b", "c"])
    with pytest.raises(UserError) as error:
        folder.read_split("trainval")
    assert error.value.code == "file-missing" and error.value.subject.endswith("val.txt")
    folder.write_split("val", ["a"])
    assert folder.read_split("trainval") == ["b", "c", "a"]
    folder.write_split("trainval", ["a", "b"])
    assert folder.read_split("trainval") == ["a", "b"]


def test_a_missing_picture_folder_is_a_user_error(folder):
    with pytest.raises(UserError, match="JPEGImages"):
        folder.image_path("a")


def test_two_pictures_of_one_name_are_a_user_error(folder):
    add(folder, "cell", [[0, 1]], ".png")
    add(folder, "cell", [[0, 1]], ".tif")
    with pytest.raises(UserError) as error:
        folder.image_path("cell")
    assert "cell.png and cell.tif" in error.value.found


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 255], True), ([0], False), ([255], False), ([0, 1, 255], False), ([0, 254], False)],
)
def test_black_and_white_masks_are_recognised(values, expected):
    assert looks_like_0_255(histogram(values)) is expected


def test_black_and_white_masks_come_with_both_commands_that_mend_them(folder):
    add(folder, "a", [[0, 255, 255]])
    with pytest.raises(UserError) as error:
        checked(folder, "a")
    assert "0 (1 pixels)" in error.value.found
    assert "255 (2 pixels)" in error.value.found
    for command in ("--map 0:0,255:1", "--map 0:1,255:0"):
        assert command in error.value.remedy
    assert f"--voc-root {quoted(folder.root)}" in error.value.remedy


def test_a_value_without_class_name_is_a_user_error(folder):
    folder.class_names_path.write_text("background\ncell\n", encoding="utf-8")
    add(folder, "good", [[0, 1, 255]])
    add(folder, "bad", [[0, 2, 2], [7, 1, 255]])
    assert checked(folder, "good") == ["background", "cell"]
    with pytest.raises(UserError) as error:
        checked(folder, "good", "bad")
    assert error.value.subject == str(folder.mask_path("bad"))
    assert "2 (2 pixels), 7 (1 pixels)" in error.value.found
    assert "255 (" not in error.value.found
    assert "0 … 1" in error.value.expected
    assert "background, cell" in error.value.expected
    assert "class_names.txt" in error.value.remedy


def test_numbered_classes_fit_their_masks(folder):
    add(folder, "a", [[0, 4, 255]])
    assert checked(folder, "a") == [f"class_{index}" for index in range(5)]


def test_a_misspelt_split_names_those_that_exist(tmp_path):
    folder = VocFolder(tmp_path)
    folder.write_split("train", ["a"])
    folder.write_split("val", ["b"])
    with pytest.raises(UserError) as error:
        folder.read_split("trian")
    assert "one of: train, val" in str(error.value) and "--overwrite" not in str(error.value)


def test_an_empty_line_between_class_names_would_move_the_next_ones_up(tmp_path):
    folder = VocFolder(tmp_path)
    folder.class_names_path.write_text("background\n\ncell\n", encoding="utf-8")
    with pytest.raises(UserError, match="an empty line 2"):
        folder.read_class_names()
    folder.class_names_path.write_text("background\ncell\n\n\n", encoding="utf-8")
    assert folder.read_class_names() == ["background", "cell"]
