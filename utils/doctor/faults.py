"""The faults of a VOC folder: some are warnings, the others stop and are reported as one error."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from utils.core.console import UserError, counted, list_faults, warn
from utils.voc.folder import VocFolder

WARNINGS = {
    "file-left-out": "files of other types or in subfolders are left out",
    "mask-0-255": "masks hold 0 and 255 only, beside masks with classes",
    "mask-background": "masks hold background only",
    "mask-ignored": "masks hold nothing but 255 (ignored)",
    "mask-one-class": "masks are all one class",
    "masks-perhaps-objects": "values that may number the objects of a picture, instead of classes",
    "mask-turn-unknown": "pictures turned by EXIF, whose masks may lie either way",
    "name-not-portable": "names that another system cannot hold",
    "picture-16-bit": "pictures have 16 bits, unlike the others",
    "picture-8-bit": "pictures have 8 bits, unlike the others",
    "picture-color": "pictures are in color, unlike the others",
    "picture-copy": "pictures are the same as another",
    "picture-gray": "pictures are gray, unlike the others",
    "picture-pages": "files hold several pictures",
    "picture-without-mask": "pictures without a mask are left out",
}


class FolderFaultsError(UserError):
    """The faults that stop, as one message. Its code is theirs if of one kind, else folder-faults."""

    def __init__(self, faults: Sequence[UserError], *fields: object):
        super().__init__(*fields)
        self.faults = faults


def warning(code: str, path: Path, found: str = "", remedy: str = "") -> UserError:
    """A fault that does not stop. code: one of WARNINGS."""
    return UserError(code, path, found, "", remedy)


def report_faults(folder: VocFolder, faults: Sequence[UserError], pairs: int) -> None:
    """Print the warnings, one line per kind. Raises FolderFaultsError with all other faults."""
    groups = defaultdict(list)
    for fault in faults:
        groups[fault.code].append(fault)
    for code in [code for code in groups if code in WARNINGS]:
        one, *others = groups.pop(code)
        details = f" ({one.found})" * bool(one.found) + f"; {one.remedy}" * bool(one.remedy)
        warn(f"{WARNINGS[code]}: {1 + len(others)}, such as {Path(one.subject).name}{details}")
    stopping = [fault for group in groups.values() for fault in group]
    if len(groups) == 1:
        one, *others = stopping
        more = f"; the same in {len(others)} more, such as {Path(others[0].subject).name}" if others else ""
        fields = (one.code, one.subject, one.found + more, one.expected, one.remedy)
        raise FolderFaultsError(stopping, *fields)
    if groups:
        found = f"{len(stopping)} faults of {len(groups)} kinds in {counted(pairs, 'pair')} (listed below)"
        expected = "pictures and masks that can be read, belong together and hold class indices"
        remedy = f"correct these and run this again; nothing was written\n\n{list_faults(stopping)}"
        raise FolderFaultsError(stopping, "folder-faults", folder.root, found, expected, remedy)
