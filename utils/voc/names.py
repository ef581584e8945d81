"""The one rule for names: which mask name belongs to which picture name, their order, lists of them."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from pathlib import PureWindowsPath
from typing import TypeVar

from utils.images.file_types import IMAGE_SUFFIXES

Item = TypeVar("Item", bound=Hashable)
# What programs and people add to the name of a picture for its mask, …
MASK_WORD = (
    # ImageJ's `Count Masks of x` and Cellpose's `x_cp_masks`.
    "(?:count[-_ ])?masks?[-_ ]of|(?:cp[-_ ])?masks?|instances?|segm|"
    "gt|labels?|labelids|labeltrainids|seg(?:mentation)?s?|anno(?:tation)?s?|truth|ground[-_ ]?truth|"
    "targets?|trimaps?|colou?rs?|instanceids|overlays?|viz"
)
# … or to that of a picture that has one.
PICTURE_WORD = "images?|img|pictures?|pic|sat|raw|leftimg8bit|gtfine|gtcoarse"
AFFIX = f"(?:{MASK_WORD}|{PICTURE_WORD})"
AFFIXES = re.compile(rf"^(?:{AFFIX}[-_. ]+)+|(?:[-_. ]+{AFFIX})+$")
NAMES_MASKS = re.compile(rf"(?:^|[-_. ])(?:{MASK_WORD})(?:$|[-_. ])", re.IGNORECASE)


def list_some(items: Sequence, at_most: int = 12) -> str:
    """`a, b, c`, or the first of many, which `, …` ends."""
    return ", ".join(map(str, items[:at_most])) + ", …" * (len(items) > at_most)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """A sort key that puts slice_9 before slice_10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def names_masks(name: str) -> bool:
    """Whether a word in the name of a file or folder says that it holds masks."""
    return NAMES_MASKS.search(name) is not None


def core_name(name: str) -> str:
    """A name in lower case without affixes: `x` for `x_GT`, `x.jpg_mask` and `X`, `7` for `img-7`."""
    # macOS stores accents apart from their letters.
    return drop_ending(AFFIXES.sub("", unicodedata.normalize("NFC", name).lower().strip())).rstrip()


def match_names(pictures: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
    """Mask name → picture name where both have the same core name, and no third name has it."""
    return match(pictures, masks, [core_name])


def match(
    pictures: Sequence[Item], masks: Sequence[Item], rules: Sequence[Callable[[Item], Hashable]]
) -> dict[Item, Item]:
    """Mask → picture for which a rule gives the same key, and no third item has it; the first rule wins."""
    found: dict[Item, Item] = {}
    for rule in rules:
        by_key: dict[Hashable, tuple[list, list]] = defaultdict(lambda: ([], []))
        taken = {*found, *found.values()}
        for side, items in enumerate((pictures, masks)):
            for item in items:
                if item not in taken:
                    by_key[rule(item)][side].append(item)
        found |= {own[0]: other[0] for other, own in by_key.values() if len(other) == len(own) == 1}
    return found


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
