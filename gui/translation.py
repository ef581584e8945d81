"""What the window says, in English or Chinese, and changed at once when the language is.

Texts of the window stand in English in the code, and in Chinese in `texts.py`. What the core and the scripts
say is English too; its Chinese is in `mistakes.json`. The program starts in English, without Qt's own texts,
until `set_language` is called.
"""

import os
import re
from collections.abc import Callable

from PyQt5 import sip
from PyQt5.QtCore import QCoreApplication, QLibraryInfo, QLocale, QObject, QTranslator, pyqtSignal

from gui.mistakes import translate
from gui.texts import CHINESE
from utils.core.console import UserError

# Codes of languages, and what each calls itself.
LANGUAGES = {"en": "English", "zh": "中文"}


class _Language(QObject):
    """The language that is shown now."""

    changed = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.code, self.of_qt = "en", None


_language = _Language()


def tr(text: str, **values: object) -> str:
    """The English `text` in the language of the window, with `values` in the places of its {names}."""
    shown = CHINESE.get(text, text) if _language.code == "zh" else text
    return shown.format(**values) if values else shown


def said(text: str) -> str:
    """What the core or a script says, in the language of the window. Names of files stay as they are."""
    # `Path.exists` raises for a long text.
    if _language.code != "zh" or os.path.exists(text):  # noqa: PTH110
        return text
    return CHINESE.get(text) or translate(text)


def error_sentence(error: UserError) -> str:
    """Subject, finding and remedy of a user's mistake, the first line of each."""
    parts = {"subject": error.subject, "found": error.found, "remedy": error.remedy}
    lines = {name: said((text.strip() or "?").splitlines()[0].rstrip(".")) for name, text in parts.items()}
    if re.match(r"(?!python )[a-z]+[ ,;:]", lines["remedy"]):
        # Commands, flags and paths stay as they are.
        lines["remedy"] = lines["remedy"][0].upper() + lines["remedy"][1:]
    return tr("{subject}: {found}. {remedy}.", **lines)


def error_details(error: UserError) -> str:
    """All that is known of a user's mistake, for people and, in English, for a search or a report."""
    english = f"{error.code}\n{error}"
    if _language.code != "zh":
        return english
    chinese = said(f"  found: {error.found}\n  expected: {error.expected}\n  to do: {error.remedy}")
    return f"{said(error.subject)}\n{chinese}\n\n{tr('In English:')}\n{english}"


def language() -> str:
    return _language.code


def system_language() -> str:
    """`zh` where the system speaks Chinese, otherwise `en`."""
    return "zh" if QLocale.system().name().startswith("zh") else "en"


def set_language(code: str) -> None:
    """Show `en`, `zh` or, with `system`, what the system speaks. Texts that were kept change at once."""
    code = system_language() if code == "system" else code
    if code not in LANGUAGES:
        raise ValueError(f"{code} is none of {', '.join(LANGUAGES)}")
    _language.code = code
    _translate_qt(code)
    _language.changed.emit()


def keep_text(show: Callable[[str], object], text: str, **values: object) -> None:
    """Call a widget's method, such as `button.setText`, now and after each change of language."""
    on_language(show.__self__, lambda: show(tr(text, **values)))


def on_language(owner: QObject, show: Callable[[], object]) -> None:
    """Call `show` now and after each change of language, as long as Qt has the object `owner`."""

    def update() -> None:
        if sip.isdeleted(owner):
            _language.changed.disconnect(update)
        else:
            show()

    show()
    _language.changed.connect(update)


def _translate_qt(code: str) -> None:
    """Qt's own texts, such as those on buttons of its dialogs. They stay English where it has no others."""
    application = QCoreApplication.instance()
    if application is None:
        return
    if _language.of_qt:
        application.removeTranslator(_language.of_qt)
        _language.of_qt = None
    if code == "zh":
        translator = QTranslator()
        if translator.load("qtbase_zh_CN", QLibraryInfo.location(QLibraryInfo.TranslationsPath)):
            application.installTranslator(translator)
            _language.of_qt = translator
