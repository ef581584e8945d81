"""Every text of the window has both languages, and changes while it is shown."""

import ast
import string
from pathlib import Path

import pytest
from PyQt5 import sip
from PyQt5.QtCore import QLocale
from PyQt5.QtWidgets import QDialogButtonBox, QLabel, QWidget

from gui import translation
from gui.texts import CHINESE
from gui.translation import error_sentence, keep_text, language, on_language, set_language, tr
from utils.core.console import UserError

FOLDER = Path(__file__).parents[2] / "gui"
TREES = [
    ast.parse(path.read_text(encoding="utf-8"))
    for path in [*FOLDER.glob("*.py"), FOLDER.parent / "ui.py"]
    if path.name != "texts.py" and path.exists()
]


def spoken_texts() -> set[str]:
    """Texts that the code passes to `tr`, `keep_text` or `button` as they are."""
    calls = [node for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.Call)]
    texts = set()
    for call in calls:
        place = {"tr": 0, "keep_text": 1, "button": 0}.get(getattr(call.func, "id", None))
        if place is not None and len(call.args) > place and isinstance(call.args[place], ast.Constant):
            texts.add(call.args[place].value)
    return texts


def test_every_text_of_the_code_has_chinese():
    assert not spoken_texts() - set(CHINESE)


def test_every_text_of_the_table_is_used():
    nodes = [node for tree in TREES for node in ast.walk(tree)]
    literals = {node.value for node in nodes if isinstance(node, ast.Constant)}
    assert not set(CHINESE) - literals


def test_no_text_stands_twice_in_the_table():
    table = ast.parse((FOLDER / "texts.py").read_text(encoding="utf-8"))
    keys = [key.value for node in ast.walk(table) if isinstance(node, ast.Dict) for key in node.keys if key]
    assert len(keys) == len(set(keys)) == len(CHINESE)


@pytest.mark.parametrize("text", CHINESE)
def test_both_languages_take_the_same_values(text):
    def names(pattern):
        return sorted(name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None)

    assert names(text) == names(CHINESE[text])
    assert CHINESE[text].strip()


@pytest.fixture
def texts(monkeypatch):
    monkeypatch.setitem(CHINESE, "Quit", "退出")


def test_texts_change_with_the_language_until_their_widget_is_gone(texts):
    label, gone, seen = QLabel(), QLabel(), []
    keep_text(label.setText, "Quit")
    on_language(gone, lambda: seen.append(language()))
    assert label.text() == "Quit"
    set_language("zh")
    assert label.text() == "退出"
    sip.delete(gone)
    set_language("en")
    assert label.text() == "Quit"
    assert seen == ["en", "zh"]


def test_values_are_put_in_and_unknown_texts_stay_as_they_are():
    assert tr("{a} of {b}", a=1, b="{c}") == "1 of {c}"
    set_language("zh")
    assert tr("no such text {}") == "no such text {}"


def test_buttons_of_qt_change_too(application):
    box = QDialogButtonBox(QDialogButtonBox.Cancel)
    set_language("zh")
    application.processEvents()
    assert box.button(QDialogButtonBox.Cancel).text() == "取消"
    set_language("en")
    application.processEvents()
    assert "Cancel" in box.button(QDialogButtonBox.Cancel).text()


@pytest.mark.parametrize(("system", "expected"), [("zh_CN", "zh"), ("zh_TW", "zh"), ("de_DE", "en")])
def test_the_language_of_the_system_is_followed(monkeypatch, system, expected):
    monkeypatch.setattr(translation.QLocale, "system", staticmethod(lambda: QLocale(system)))
    set_language("system")
    assert language() == expected


@pytest.mark.parametrize(
    ("remedy", "shown"),
    [
        ("check the path", "Check the path"),
        ("python voc2unet.py --voc-root x", "python voc2unet.py --voc-root x"),
        ("docs/data.md shows it", "docs/data.md shows it"),
        ("--lr 0.1", "--lr 0.1"),
    ],
)
def test_an_error_is_a_sentence_in_which_commands_and_paths_stay(remedy, shown):
    error = UserError("x", "a.png", "no picture.\nmore", "a picture", f"{remedy}.")
    assert error_sentence(error) == f"a.png: no picture. {shown}."


def test_an_unknown_language_is_refused(texts):
    keep_text(QWidget().setWindowTitle, "Quit")
    with pytest.raises(ValueError, match="fr"):
        set_language("fr")
    assert language() == "en"
