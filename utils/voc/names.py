"""The one rule for names: which mask name belongs to which picture name, their order, lists of them."""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import PureWindowsPath

from utils.images.reading import IMAGE_SUFFIXES

# What programs and people add to the name of a picture for its mask, or to that of a picture that has one.
AFFIX = (
    "(?:masks?|gt|labels?|labelids|labeltrainids|seg(?:mentation)?|anno(?:tation)?s?|truth|ground[-_ ]?truth|"
    "target|trimap|colou?rs?|images?|img|pictures?|pic|sat|raw)"
)
AFFIXES = re.compile(rf"^(?:{AFFIX}[-_. ]+)+|(?:[-_. ]+{AFFIX})+$")


def list_some(items: Sequence, at_most: int = 12) -> str:
    """`a, b, c`, or the first of many, which `, …` ends."""
    return ", ".join(map(str, items[:at_most])) + ", …" * (len(items) > at_most)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """A sort key that puts slice_9 before slice_10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def core_name(name: str) -> str:
    """A name in lower case without affixes: `x` for `x_GT`, `7` for `img-7`."""
    return AFFIXES.sub("", name.lower())


def match_names(pictures: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
    """Mask name → picture name where both have the same core name, and no third name has it."""
    by_core: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, names in enumerate((pictures, masks)):
        for name in names:
            by_core[core_name(name)][side].append(name)
    return {labels[0]: images[0] for images, labels in by_core.values() if len(images) == len(labels) == 1}


def drop_ending(name: str) -> str:
    """`a.b` for `a.b.PNG`: a name without the ending of a picture file."""
    return (
        name[: -len(ending)] if (ending := PureWindowsPath(name).suffix).lower() in IMAGE_SUFFIXES else name
    )


def name_in_list(line: str, names: Collection[str]) -> str:
    """Which of the names a line of a list means: `a`, `a.png`, `images/a.png masks/a.png`; else the line."""
    words = (line, re.split(r"[\s,]", line)[0])
    # PureWindowsPath knows both slashes.
    spellings = [form for word in words for last in [PureWindowsPath(word).name] for form in (word, last)]
    found = (form for spelling in spellings for form in (spelling, drop_ending(spelling)) if form in names)
    return next(found, line)
