"""The classes of labelme files: their order, labels merged into one class, labels that look alike."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.core.console import UserError
from utils.core.files import read_lines
from utils.images.palette import IGNORE_INDEX
from utils.importing.labelme_record import LabelmeRecord
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL
from utils.voc.names import list_some

SPECIAL = BACKGROUND_LABEL, IGNORE_LABEL
BACKGROUND_WORDS = {"bg": "background", "背景": "background"}


@dataclass(frozen=True)
class Classes:
    """names: background first. counts: shapes per class, merged labels in their class.

    origin: where the order comes from. alike, merged: label → class. others: pairs that other files made, and
    the labelme file of each, if it was one. write: class_names.txt is to be written.
    """

    names: list[str]
    origin: str
    counts: Counter[str]
    alike: dict[str, str]
    merged: dict[str, str]
    others: dict[str, Path | None]
    write: bool


def choose_class_names(
    existing: Sequence[str] | None,
    labels: Path | None,
    used: Sequence[str],
    record: LabelmeRecord,
    pinned: bool,
) -> tuple[list[str], str]:
    """Class names, background first, and where their order comes from. used: labels by first appearance.

    existing: class names of the VOC folder, which keep their order. pinned: masks stay that other files made,
    so every class keeps its number. Otherwise, classes that came from labels go with them. New names follow.
    Raises UserError for a file `labels` that orders them otherwise, and for too few or too many classes.
    """
    listed = [label for label in used if label not in SPECIAL]
    origin = "first appearance over the files sorted by name"
    if labels:
        listed, origin = read_labels(labels, listed), f"the lines of {labels}"
    names = [BACKGROUND_LABEL, *listed]
    if existing:
        loose = set() if pinned else set(record.from_labels)
        fixed = [existing[0], *(name for name in existing[1:] if name not in loose)]
        if labels and any(one != other for one, other in zip(fixed[1:], listed, strict=False)):
            found = f"the order {', '.join(listed)}"
            expected = f"{', '.join(fixed[1:])}, as existing masks have it"
            remedy = "leave out --labels, or choose another --voc-root"
            raise UserError("class-order", labels, found, expected, remedy)
        kept = fixed if labels else [name for name in existing if name in fixed or name in listed]
        names = list(dict.fromkeys([*kept, *listed]))
        added = [name for name in names if name not in existing]
        dropped = [name for name in existing if name not in names]
        origin = f"class_names.txt as it stood; added: {list_some(added) or 'nothing'}"
        origin += f"; removed, because no label uses it: {list_some(dropped)}" * bool(dropped)
    subject = "labels of the shapes"
    if len(names) < 2:
        found = f"no class besides {BACKGROUND_LABEL} and {IGNORE_LABEL}"
        raise UserError("classes-missing", subject, found, "at least one", "label the objects in labelme")
    if len(names) > IGNORE_INDEX:
        found = f"{len(names)} classes with the background, from {names[1]!r} to {names[-1]!r}"
        remedy = "merge labels; number objects of one class by labelme's group_id, not in the label"
        raise UserError("class-count", subject, found, f"at most {IGNORE_INDEX} in masks of 8 bits", remedy)
    return names, origin


def read_labels(path: Path, used: Sequence[str]) -> list[str]:
    """Class names from a text file, without labelme's special ones. Raises UserError if it lacks a label."""
    lines = map(str.strip, read_lines(path, "check the path given by --labels"))
    names = [line for line in lines if line and line not in SPECIAL]
    twice = ", ".join(name for name, count in Counter(names).items() if count > 1)
    if twice:
        remedy = "remove the repetition"
        raise UserError("class-name-twice", path, f"more than once: {twice}", "each class name once", remedy)
    unlisted = ", ".join(label for label in used if label not in names and label not in SPECIAL)
    if unlisted:
        remedy = "add them to the file, or correct them in labelme"
        raise UserError("label-unlisted", path, f"missing: {unlisted}", "every label of the shapes", remedy)
    return names


def merge_labels(merged: Mapping[str, str], texts: Sequence[str], used: Sequence[str]) -> dict[str, str]:
    """Label → class: those merged before, and each OLD:NEW of --merge. OLD:OLD takes a label out again.

    Raises UserError for another form, and for a label that no shape has.
    """
    for text in texts:
        old, _, new = (part.strip() for part in text.rpartition(":"))
        if not old or not new:
            expected = "OLD:NEW, a label and the class that it becomes"
            raise UserError("merge-form", f"--merge {text}", "another form", expected, "correct it")
        if old not in used and old not in merged:
            found, expected = f"no shape is labelled {old}", f"one of: {list_some(sorted(used))}"
            raise UserError("merge-label", f"--merge {text}", found, expected, "correct the label")
        merged = merge_into(merged, old, new)
    return dict(merged)


def merge_into(merged: Mapping[str, str], old: str, new: str) -> dict[str, str]:
    """`merged` with one more label → class. What was merged into `old` follows it."""
    others = {one: new if other == old else other for one, other in merged.items() if one not in (old, new)}
    return others if old == new else {**others, old: new}


def follow_renamed_classes(record: LabelmeRecord, existing: Sequence[str] | None) -> None:
    """Merge labels into the names that class_names.txt has in their places since it was edited by hand."""
    if not existing or len(existing) != len(record.classes):
        return
    for old, new in zip(record.classes[1:], existing[1:], strict=True):
        if old not in existing and new not in record.classes:
            record.merged = merge_into(record.merged, old, new)
            record.from_labels = [new if name == old else name for name in record.from_labels]


def find_alike(names: Sequence[str], counts: Mapping[str, int]) -> dict[str, str]:
    """Label → the class of nearly its name: letter case, full-width letters, blanks, - and _ aside.

    names: class names, background first. counts: shapes of each label; only labels with shapes are returned.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys([*SPECIAL, *names[1:]]):
        groups[_bare(name)].append(name)
    if names[0] not in SPECIAL:
        groups[_bare(names[0])].insert(0, BACKGROUND_LABEL)
    alike = {}
    for group in groups.values():
        # A class without shapes has masks that stay as they are.
        target = max(group, key=lambda name: (name in SPECIAL, not counts.get(name), counts.get(name, 0)))
        alike |= {name: target for name in group if name not in (target, *SPECIAL) and counts.get(name)}
    return alike


def _bare(name: str) -> str:
    bare = re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name).casefold()) or name
    return BACKGROUND_WORDS.get(bare, bare)
