"""The faults of a VOC folder: one dataclass with a stable code, their headings, and how they are reported."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.core.console import UserError, counted, warn
from utils.voc.folder import VocFolder

HEADINGS = {
    "mask-16-bit": "masks of 16 bits",
    "mask-alpha": "masks with an alpha channel",
    "mask-changed": "masks changed since their repair",
    "mask-color-unknown": "masks with colors outside the table",
    "mask-colors": "masks in RGB colors",
    "mask-gaps": "masks with gaps in their values",
    "mask-gray-levels": "masks with gray levels",
    "mask-jpeg": "masks in JPEG files",
    "mask-name": "masks with names like those of pictures",
    "mask-name-twice": "masks with the name of another",
    "mask-no-class": "masks without a class",
    "mask-not-png": "masks that are no PNG",
    "mask-size": "masks of another size than their picture",
    "mask-turned": "masks of pictures that EXIF turns",
    "mask-unmapped": "masks with values outside the map",
    "mask-value": "masks with values beyond the classes",
    "mask-without-picture": "masks without a picture",
    "masks-black-white": "masks in black and white",
    "name-blank": "names with a blank at an end",
    "no-pairs": "folders without pairs",
    "picture-name-twice": "pictures with the name of another",
}
# Those that do not stop.
WARNINGS = {
    "mask-0-255": "masks hold 0 and 255 only, beside masks with classes",
    "mask-background": "masks hold background only",
    "mask-ignored": "masks hold nothing but 255 (ignored)",
    "mask-one-class": "masks are all one class",
    "picture-16-bit": "pictures have 16 bits, unlike the others",
    "picture-8-bit": "pictures have 8 bits, unlike the others",
    "picture-color": "pictures are in color, unlike the others",
    "picture-copy": "pictures are the same as another",
    "picture-gray": "pictures are gray, unlike the others",
    "picture-without-mask": "pictures without a mask are left out",
}
UNREADABLE = "files that cannot be read"  # the codes of utils/images/reading.py


@dataclass(frozen=True)
class Fault:
    """One fault, with the fields of a `UserError`."""

    code: str
    path: Path | str
    found: str = ""
    expected: str = ""
    remedy: str = ""


class FolderFaultsError(UserError):
    """The faults that stop, as one message. Its code is theirs if of one kind, else folder-faults."""

    def __init__(self, faults: Sequence[Fault], *fields: object):
        super().__init__(*fields)
        self.faults = faults


def fault_of(error: UserError) -> Fault:
    return Fault(error.code, error.subject, error.found, error.expected, error.remedy)


def report_faults(folder: VocFolder, faults: Sequence[Fault], pairs: int) -> None:
    """Print the warnings, one line per group. Raises FolderFaultsError with all other faults."""
    warnings, groups = defaultdict(list), defaultdict(list)
    for fault in faults:
        if fault.code in WARNINGS:
            warnings[WARNINGS[fault.code]].append(fault)
        else:
            groups[HEADINGS.get(fault.code, UNREADABLE)].append(fault)
    for heading, group in warnings.items():
        one = group[0]
        details = f" ({one.found})" * bool(one.found) + f"; {one.remedy}" * bool(one.remedy)
        warn(f"{heading}: {len(group)}, such as {Path(one.path).name}{details}")
    stopping = [fault for group in groups.values() for fault in group]
    if len(groups) == 1:
        one, *others = stopping
        more = f"; the same in {len(others)} more, such as {Path(others[0].path).name}" if others else ""
        found = one.found + more
        raise FolderFaultsError(stopping, one.code, one.path, found, one.expected, one.remedy)
    if groups:
        listed = "\n\n".join(_list_group(heading, group) for heading, group in groups.items())
        raise FolderFaultsError(
            stopping,
            "folder-faults",
            folder.root,
            f"{len(stopping)} faults of {len(groups)} kinds in {counted(pairs, 'pair')} (listed below)",
            "pictures and masks that can be read, belong together and hold class indices",
            f"correct these and run this again; nothing was written\n\n{listed}",
        )


def _list_group(heading: str, group: Sequence[Fault]) -> str:
    files = "\n".join(f"  {fault.path}: {fault.found}" for fault in group[:3])
    more = f"\n  … and {len(group) - 3} more" if len(group) > 3 else ""
    expected, remedy = group[0].expected, group[0].remedy
    return f"{heading}: {len(group)}\n{files}{more}\n  expected: {expected}\n  to do:    {remedy}"
