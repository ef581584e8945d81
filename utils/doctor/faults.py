"""The faults of a VOC folder: one dataclass with a stable code, their headings, and how they are reported."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.core.console import UserError, counted, warn
from utils.voc.folder import VocFolder

# Heading of a group of faults: for one, for several.
HEADINGS = {
    "mask-16-bit": ("mask of 16 bits", "masks of 16 bits"),
    "mask-alpha": ("mask with an alpha channel", "masks with an alpha channel"),
    "mask-changed": ("mask changed since its repair", "masks changed since their repair"),
    "mask-color-unknown": ("mask with colors outside the table", "masks with colors outside the table"),
    "mask-colors": ("mask in RGB colors", "masks in RGB colors"),
    "mask-gaps": ("folder of masks with gaps in their values", "folders of masks with gaps in their values"),
    "mask-gray-levels": ("folder of masks with gray levels", "folders of masks with gray levels"),
    "mask-jpeg": ("mask in a JPEG file", "masks in JPEG files"),
    "mask-name": ("mask with a name like that of a picture", "masks with names like those of pictures"),
    "mask-name-twice": ("mask with the name of another", "masks with the name of another"),
    "mask-no-class": ("folder of masks without a class", "folders of masks without a class"),
    "mask-not-png": ("mask that is no PNG", "masks that are no PNG"),
    "mask-size": ("mask of another size than its picture", "masks of another size than their picture"),
    "mask-turned": ("mask of a picture that EXIF turns", "masks of pictures that EXIF turns"),
    "mask-unmapped": ("mask with values outside the map", "masks with values outside the map"),
    "mask-value": ("mask with values beyond the classes", "masks with values beyond the classes"),
    "mask-without-picture": ("mask without a picture", "masks without a picture"),
    "masks-black-white": ("folder of masks in black and white", "folders of masks in black and white"),
    "name-blank": ("name with a blank at an end", "names with a blank at an end"),
    "no-pairs": ("folder without pairs", "folders without pairs"),
    "picture-name-twice": ("picture with the name of another", "pictures with the name of another"),
}
# Those that do not stop.
WARNINGS = {
    "mask-0-255": (
        "mask holds 0 and 255 only, beside masks with classes",
        "masks hold 0 and 255 only, beside masks with classes",
    ),
    "mask-background": ("mask holds background only", "masks hold background only"),
    "mask-ignored": ("mask holds nothing but 255 (ignored)", "masks hold nothing but 255 (ignored)"),
    "mask-one-class": ("mask is all one class", "masks are all one class"),
    "picture-16-bit": ("picture has 16 bits, unlike the others", "pictures have 16 bits, unlike the others"),
    "picture-8-bit": ("picture has 8 bits, unlike the others", "pictures have 8 bits, unlike the others"),
    "picture-color": ("picture is in color, unlike the others", "pictures are in color, unlike the others"),
    "picture-copy": ("picture is the same as another", "pictures are the same as another"),
    "picture-gray": ("picture is gray, unlike the others", "pictures are gray, unlike the others"),
    "picture-without-mask": ("picture without a mask is left out", "pictures without a mask are left out"),
}
UNREADABLE = ("file that cannot be read", "files that cannot be read")  # the codes of utils/images/reading.py


@dataclass(frozen=True)
class Fault:
    """One fault, with the fields of a `UserError`."""

    code: str
    path: Path | str
    found: str = ""
    expected: str = ""
    remedy: str = ""


class FolderFaultsError(UserError):
    """The faults that stop, as one message. Its code is theirs if they are of one kind, else folder-faults."""

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
        warn(f"{_count_group(heading, len(group))}, such as {Path(one.path).name}{details}")
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


def _count_group(heading: tuple[str, str], number: int) -> str:
    return f"{number} {heading[number > 1]}"


def _list_group(heading: tuple[str, str], group: Sequence[Fault]) -> str:
    files = "\n".join(f"  {fault.path}: {fault.found}" for fault in group[:3])
    more = f"\n  … and {len(group) - 3} more" if len(group) > 3 else ""
    title, one = _count_group(heading, len(group)), group[0]
    return f"{title}\n{files}{more}\n  expected: {one.expected}\n  to do:    {one.remedy}"
