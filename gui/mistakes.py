"""Chinese for users' mistakes and what scripts print, found by the English text, which stays in the core.

`mistakes.json` has templates: `{} mask|s in {}` → `{1} 中的 {0} 个掩码`. `|s` may be there or not.
`{1:zh}` is a value that is looked up as well. All others, such as names and numbers, stay as they are.
"""

import json
import re
from collections.abc import Iterator
from functools import cache, cached_property, lru_cache
from pathlib import Path

CATALOGUE = Path(__file__).with_suffix(".json")
PLACE = re.compile(r"\{(\d+)(:zh)?\}")
# What stands before a phrase in the output of a script.
LABELS = {
    "error": "错误",
    "warning": "警告",
    "note": "提示",
    "found": "发现",
    "expected": "应为",
    "to do": "办法",
}
LABELLED = re.compile(rf"(\s*)({'|'.join(LABELS)}):(\s+)(.*)")
RECORD = re.compile(r"\$ |epoch +\d|[│╭╰]")  # a command; a line of a table, or of a library's frame
NAMES = re.compile(r"\S+(, \S+)*|--[\w-]+( [^\s-]\S*)*")  # members of a list; a flag and its values
LONGEST, MOST_CLAUSES = 1000, 12  # characters and marks of a line; longer ones are no phrases of ours
CJK = "[\u3000-\u9fff\uff00-\uffef]"


class Template:
    """An English phrase with places for values, and its Chinese."""

    def __init__(self, english: str, chinese: str):
        self.english, self.chinese = english, chinese
        parts = re.split(r"\{\}|\|e?s", english)
        self.anchor = max(parts, key=len)  # is in every text that fits
        self.letters = sum(map(len, parts))

    @cached_property
    def pattern(self) -> re.Pattern:
        phrases = {int(place[1]) for place in PLACE.finditer(self.chinese) if place[2]}
        # `{} in {}` would fit half of all sentences, if names had blanks there.
        weak = len(re.findall("[a-z]", self.english)) < 10 and not re.match("[a-z]|{}, [a-z]", self.english)
        weak = weak or self.english.startswith("{} {} ")
        words, *rest = re.split(r"\{\}", self.english)
        pattern = re.escape(words)
        for number, after in enumerate(rest):
            # A number, as in `{} mask|s`; a word, as in `{}:255`; the beginning, without a name before it;
            # the end, within a clause; anything.
            if re.match(r" [\w ]+\|", after) and not pattern.endswith(r"(.*?)\ "):
                pattern += r"(\d+)"
            elif number in phrases:
                pattern += "(.*?)"
            elif (weak and (after or not phrases)) or re.match(r"×|:\S", after) or pattern.endswith("×"):
                pattern += r"(\S*?)"
            elif not pattern:
                pattern = "((?:(?!: ).)*?)"
            else:
                pattern += "(.*?)" if after or number < len(rest) - 1 else "((?:(?!; |   ).)*)"
            pattern += re.escape(after)
        return re.compile(re.sub(r"\\\|(e?s)", r"(?:\1)?", pattern))

    def fill(self, text: str) -> tuple[str, bool] | None:
        """The Chinese, and whether that of every value is known that needs it; None where it does not fit."""
        if self.anchor not in text or not (found := self.pattern.fullmatch(text)):
            return None
        filled, known, end = "", True, 0
        for place in PLACE.finditer(self.chinese):
            value = found[int(place[1]) + 1]
            filled += self.chinese[end : place.start()]
            end = place.end()
            if place[2]:
                chinese, good = look_up(value.strip())
                value, known = value.replace(value.strip(), chinese), known and good
                if re.match(CJK, value) and re.search(f"{CJK} $", filled):
                    filled = filled[:-1]
                end += bool(re.search(f"{CJK}$", value) and re.match(f" {CJK}", self.chinese[end:]))
            filled += value
        return filled + self.chinese[end:], known


@cache
def templates() -> tuple[dict[str, str], list[Template]]:
    """Phrases without places, and the others, those with the most letters of their own first."""
    table = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    exact = {english: chinese for english, chinese in table.items() if not re.search(r"\{\}|\|", english)}
    others = [Template(*row) for row in table.items() if row[0] not in exact]
    return exact, sorted(others, key=lambda one: -one.letters)


def translate(text: str) -> str:
    """The Chinese of each line that is known; others stay as they are."""
    return "\n".join(map(_translate_line, text.split("\n")))


@lru_cache(4096)
def _translate_line(line: str) -> str:
    if len(line) > LONGEST or RECORD.match(line):
        return line
    if found := LABELLED.fullmatch(line):
        indent, label, _, rest = found.groups()
        return f"{indent}{LABELS[label]}：{_translate_line(rest)}"
    text = line.strip()
    if not text:
        return line
    # A second remedy stands below the first one.
    indent = line[: line.index(text)].replace(" " * 12, " " * 8)
    return indent + look_up(text)[0] + line[len(line.rstrip()) :]


@lru_cache(4096)
def look_up(text: str) -> tuple[str, bool]:
    """The Chinese of a phrase, and whether all of it is known: as a whole, or in parts. A word is a name."""
    exact, others = templates()
    if text in exact or " " not in text:
        return exact.get(text, text), True
    rest = None
    for one in others:
        if found := one.fill(text):
            if found[1]:
                return found
            rest = rest or found[0]
    for found in _divided(text):
        if found:
            return found, True
    if NAMES.fullmatch(text):
        return text, True
    for place in [one.start() for one in re.finditer(": ", text)][::-1]:
        # A remark, and a name.
        if not rest and (found := _join("", [text[:place]])):
            rest = f"{found}：{text[place + 2 :]}"
    return rest or text, False


def _divided(text: str) -> Iterator[str | None]:
    """The text in parts: what is meant by a command, a name before, clauses, a remark, members of a list."""
    if len(re.findall("[:;] ", text)) > MOST_CLAUSES:
        return
    if meant := re.fullmatch(r"(.*?)   \((.*)\)", text):
        yield _join(translate(meant[1]) + "   （", [meant[2]], "", "）")
    for place in re.finditer(": ", text):
        yield _join(translate(text[: place.start()]) + "：", [text[place.end() :]])
    for place in re.finditer("; ", text):
        yield _join("", [text[: place.start()], text[place.end() :]], "；")
    if remark := re.fullmatch(r"(.*?) \(((?:[^()]|\([^()]*\))*)\)", text):
        yield _join(translate(remark[1]) + "（", [remark[2]], "", "）")
    for mark, chinese in ((", or ", "，或"), (", ", "，"), (" and ", "，且")):
        # Not within brackets.
        parts = re.split(rf"{mark}(?![^()]*\))", text)
        if len(parts) > 1:
            yield _join("", parts, chinese)


def _join(before: str, parts: list[str], between: str = "", after: str = "") -> str | None:
    """None unless all parts are known, and one at least is more than a name."""
    found = [look_up(part) for part in parts]
    chinese = [one for one, _ in found]
    if chinese == parts or not all(known for _, known in found):
        return None
    joined = between.join(chinese)
    # As between Chinese and Latin letters elsewhere.
    return before + re.sub(r"(?<=，[或且])(?=[!-~])", " ", joined) + after
