"""What the core and the scripts say has Chinese in the window, and what is not known stays English."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phrases import all_templates
from phrases_listed import LEFT_OUT, SAME

from gui.banner import Banner
from gui.mistakes import CATALOGUE, PLACE, translate
from gui.run_view import Words
from gui.scripts import read_failure
from gui.texts import CHINESE
from gui.translation import error_sentence, said, set_language
from utils.core.console import UserError

MESSAGES = Path(__file__).parents[1] / "messages.txt"
TABLE = json.loads(CATALOGUE.read_text(encoding="utf-8"))
# Words of other programs and of people, which nobody here translates.
FOREIGN = "Scale when converting", "Invalid base64-encoded", "R G B NAME", "tifffile.imwrite"
FOREIGN += ("rectangle oriented_rectangle circle",)


@pytest.fixture(scope="module")
def templates():
    return all_templates()


def test_every_phrase_has_chinese(templates):
    known = {*TABLE, *CHINESE}
    missing = {one: place for one, place in templates.items() if one.replace("{:zh}", "{}") not in known}
    assert len(templates) > 1000
    assert not missing


def test_every_phrase_of_the_catalogue_is_said_and_stands_in_order(templates):
    assert not TABLE.keys() - {one.replace("{:zh}", "{}") for one in templates}
    pairs = json.loads(CATALOGUE.read_text(encoding="utf-8"), object_pairs_hook=list)
    assert [english for english, _ in pairs] == sorted(TABLE)


def test_what_is_left_out_is_there():
    root = Path(__file__).parents[2]
    assert [name for name in LEFT_OUT if not (root / name).exists()] == []
    assert not TABLE.keys() & {*SAME}


def test_both_languages_take_the_same_values(templates):
    wrong = {}
    for template in templates.keys() - CHINESE.keys():
        chinese = TABLE[template.replace("{:zh}", "{}")]
        places = re.findall(r"\{(?::zh)?\}", template)
        phrases = {number for number, place in enumerate(places) if place == "{:zh}"}
        found = [(int(place[1]), bool(place[2])) for place in PLACE.finditer(chinese)]
        if sorted(number for number, _ in found) != [*range(len(places))]:
            wrong[template] = chinese
        if phrases - {number for number, is_phrase in found if is_phrase}:
            wrong[template] = chinese
    assert not wrong


def test_no_phrase_is_taken_for_another():
    wrong = {}
    for english, chinese in TABLE.items():
        values = [str(11 + 7 * number) for number in range(english.count("{}"))]
        text = re.sub(r"\|(e?s)", r"\1", english)
        for value in values:
            text = text.replace("{}", value, 1)
        found = translate(text)
        expected = PLACE.sub(lambda place, values=values: values[int(place[1])], chinese)
        if found.replace(" ", "") != expected.replace(" ", ""):
            wrong[english] = found
    assert not wrong


def test_messages_of_faulty_data_have_no_english_sentence():
    """The messages of all scripts that the window starts, as they are printed."""
    left = []
    for message in MESSAGES.read_text(encoding="utf-8").split("\n=== "):
        head, _, text = message.partition("\n")
        if not re.search(r"train|voc2unet|json_to_dataset|import_dataset", head):
            continue
        for line in translate(text).splitlines():
            bare = re.sub(r"python \S+\.py( [^（；。]*)?|'[^']*'", "", line)
            if re.search(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}", bare) and not any(one in line for one in FOREIGN):
                left.append(line)
    assert not left


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("no such folder", "没有这个文件夹"),
        ("2 pictures and 1 mask whose names do not fit", "2 张图片和 1 个掩码的名称不匹配"),
        ("a DICOM file", "DICOM 文件"),
        ("a camera raw file", "相机 RAW 文件"),
        ("5 slices, of which the first is read; the same in 3 more, such as b c.tif", None),
        ("gray, as in the training of a.pth", "灰度，与 a.pth 训练时相同"),
        ("x.png, or x_000.png, x_001.png, … for x.nii.gz", "x.nii.gz 对应 x.png，或 x_000.png、x_001.png、…"),
        ("warning: masks hold background only: 2, such as b.png", "警告：掩码只有背景：2 个，例如 b.png"),
        ("  to do:    check the path", "  办法：请检查路径"),
        (
            "python voc2unet.py --map 0:0,255:1   (black, 85 % of the pixels, becomes the background and "
            "white cell)",
            "python voc2unet.py --map 0:0,255:1   （黑色（占像素的 85 %）成为背景，白色成为 cell）",
        ),
        ("a.png: an empty file", "a.png：空文件"),
        ("/my data/a b.json, shape 3 (cell body)", "/my data/a b.json，形状 3（cell body）"),
        ("masks hold background only: 2, such as a b.png", "掩码只有背景：2 个，例如 a b.png"),
        ("the values 0, 1, 2: 1 are smooth edges", "数值为 0, 1, 2：1 是平滑的边缘"),
        ("a damaged or truncated picture (it ends too early)", "图片已损坏或不完整（文件过早结束）"),
        ("2 crops of this size, or 4 crops of 128×128", "2 个此尺寸的裁剪，或 4 个 128×128 的裁剪"),
        (
            "--batch-size 2 or auto, --accumulate 4 (same update, more time), --input-shape 64 64",
            "--batch-size 2 或 auto，--accumulate 4（更新相同，时间更长），--input-shape 64 64",
        ),
        ("1 JSON file with images, info, such as a.json", "1 个 JSON 文件，含有 images, info，例如 a.json"),
        ("│ short runs on half and all pictures: would more help? │",) * 2,
        ("no phrase of ours, nor a part of one", "no phrase of ours, nor a part of one"),
        ("/home/me/pictures and masks/no label", "/home/me/pictures and masks/no label"),
        ("", ""),
    ],
)
def test_phrases_are_found_whole_and_in_parts(english, chinese):
    if chinese is None:
        assert translate(english) == "5 个切片，只读取第一个；另有 3 个同样，例如 b c.tif"
    else:
        assert translate(english) == chinese


PARTS = ["a", "no label", "(", ")", ": ", "; ", ", ", " and ", ", or ", "   (", "\n", "{}"]


@settings(max_examples=40)
@given(st.lists(st.sampled_from(PARTS), max_size=15))
def test_no_text_fails(parts):
    text = "".join(parts)
    assert translate(text).count("\n") == text.count("\n")


def test_a_mistake_speaks_the_language_of_the_window_and_changes_with_it(application):
    banner = Banner()
    error = UserError("file-empty", "a.png", "an empty file", "a picture", "copy or export the file again")
    banner.show_error(error)
    assert banner.label.text() == "a.png: an empty file. Copy or export the file again."
    banner.more.setChecked(True)
    set_language("zh")
    assert banner.label.text() == "a.png：空文件。请重新复制或导出该文件。"
    assert banner.more.isChecked()
    details = banner.details.toPlainText()
    assert "应为：图片" in details
    # For a search, and for a report.
    assert f"{error.code}\n{error}" in details
    set_language("en")
    assert banner.details.toPlainText() == f"{error.code}\n{error}"


def test_a_note_changes_with_the_language(application):
    banner = Banner()
    banner.show_note(lambda: said("no such file"))
    set_language("zh")
    assert banner.label.text() == banner.details.toPlainText() == "没有这个文件"


def test_the_failure_of_a_script_is_translated_from_its_lines():
    output = (
        "note: merged labels: a → b (--merge OLD:OLD takes one out again)\n\nerror: /data/x, train\n"
        "  found:    1 picture\n  expected: 4 or more\n  to do:    label more pictures first\n"
    )
    error = read_failure("train.py", output)
    set_language("zh")
    assert error_sentence(error) == "/data/x，train：1 张图片。请先标注更多图片。"


def test_names_of_files_that_are_there_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_language("zh")
    assert said("pictures") == "图片"
    (tmp_path / "pictures").mkdir()
    assert said("pictures") == "pictures"


def test_output_of_a_script_changes_with_the_language(application):
    words = Words("none yet")
    words.show_text("$ python x.py\nwarning: no picture in it\n")
    words.add("epoch    1  loss 0.5\n")
    set_language("zh")
    assert words.toPlainText() == "$ python x.py\n警告：其中没有图片\nepoch    1  loss 0.5\n"
    words.add("note: no such file\n")
    assert words.toPlainText().endswith("loss 0.5\n提示：没有这个文件\n")
    set_language("en")
    assert words.toPlainText().endswith("note: no such file\n")
