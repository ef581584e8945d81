"""Checks of what an examination found: the values of the masks, and pictures that stand out."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from utils.core.console import UserError
from utils.doctor.examination import Examination, PairReport
from utils.doctor.faults import warning
from utils.doctor.repair import MaskRepair
from utils.images.arrays import check_channels
from utils.images.palette import IGNORE_INDEX
from utils.voc.classes import check_classes, looks_like_0_255, resolve_class_names
from utils.voc.names import list_some


def check_values(
    examination: Examination, class_names: Sequence[str] | None, repair: MaskRepair
) -> list[UserError]:
    """Faults of the mask values. class_names: None where there is no class_names.txt."""
    folder, counts = repair.folder, examination.counts
    names = class_names or resolve_class_names(folder, counts)
    records = [report.record for report in examination.reports]
    black_white, beyond = looks_like_0_255(counts), set(range(len(names), IGNORE_INDEX))
    suspects = [records] if black_white else [[one] for one in records if beyond & one.values.keys()]
    faults = []
    for some in suspects:
        try:
            check_classes(folder, some, names)
        except UserError as error:
            faults.append(error)
    if class_names is None and not faults and not examination.faults:
        faults += _check_gaps(counts, repair)
    if repair.settings.map is not None:
        subject, remedy = f"--map {repair.settings.map}", "correct the map; it starts from the original masks"
        faults = [
            UserError(one.code, subject, f"it would give {one.subject} {one.found}", one.expected, remedy)
            for one in faults
        ]
    if records and not counts[:IGNORE_INDEX].any():
        found, expected = "nothing but 255 (ignored) in all masks", "pixels of classes to learn from"
        faults.append(UserError("mask-no-class", folder.masks_dir, found, expected, "export the masks again"))
    return faults + _check_single_values(examination, repair, black_white)


def _check_gaps(counts: np.ndarray, repair: MaskRepair) -> list[UserError]:
    """Gray levels, or gaps between the values of masks without class names. counts: (256,) pixels."""
    values, masks_dir = np.flatnonzero(counts[:IGNORE_INDEX]).tolist(), repair.folder.masks_dir
    if len(values) > 64:
        found = f"{len(values)} different values and no class_names.txt: gray levels, or numbers of objects"
        drawing, numbers = repair.command(map="0:0,255:1", nearest=127), repair.command(map="0:0,*:1")
        remedy = f"{drawing}   (black and white drawings), or {numbers}   (numbers of objects of one class)"
        return [UserError("mask-gray-levels", masks_dir, found, "class indices 0, 1, 2, …", remedy)]
    if values == list(range(len(values))):
        return []
    mapping = ",".join(f"{value}:{index}" for index, value in enumerate(values))
    found = f"the values {list_some(values)} and no class_names.txt"
    expected = "class indices 0, 1, 2, … without gaps, or a class_names.txt that names every index"
    white = f"255 means 'ignore'; where it is a class, add ,255:{len(values)}; "
    remedy = f"{repair.command(map=mapping)}   ({white * bool(counts[IGNORE_INDEX])}or write class_names.txt)"
    return [UserError("mask-gaps", masks_dir, found, expected, remedy)]


def _check_single_values(examination: Examination, repair: MaskRepair, black_white: bool) -> list[UserError]:
    """Warnings: masks that hold one value alone, and masks in 0 and 255 beside masks with classes."""
    codes = {0: "mask-background", IGNORE_INDEX: "mask-ignored"}
    remedy = "255 means 'ignore': where white is a class, draw it in the index of that class"
    faults = []
    for record in (report.record for report in examination.reports):
        path, values = repair.folder.mask_path(record.name), set(record.values)
        if len(values) == 1:
            faults.append(warning(codes.get(values.pop(), "mask-one-class"), path))
        elif values == {0, IGNORE_INDEX} and not black_white:
            faults.append(warning("mask-0-255", path, f"{record.values[255]} pixels of 255", remedy))
    return faults


def check_pictures(reports: Sequence[PairReport]) -> list[UserError]:
    """Pictures of other channels than most. Warnings: copies of others; gray among color; 8 among 16 bits."""
    first: dict[str, PairReport] = {}
    faults = []
    for report in reports:
        other = first.setdefault(report.digest, report)
        if other is not report:
            found = f"the same pixels as {other.picture.name}"
            faults.append(warning("picture-copy", report.picture, found, "remove one of each"))
    usual = Counter(report.record.channels for report in reports).most_common(1)
    for report in reports:
        try:
            check_channels(report.picture, report.record.channels, usual[0][0], "most of the pictures")
        except UserError as error:
            faults.append(error)
    colors = ["picture-gray" if report.record.gray else "picture-color" for report in reports]
    depths = [f"picture-{report.record.bits}-bit" for report in reports]
    for codes in (colors, depths):
        common = max(codes, key=Counter(codes).get, default="")
        remedy = "train on one kind, unless prediction will meet both"
        pairs = zip(codes, reports, strict=True)
        faults += [warning(code, report.picture, "", remedy) for code, report in pairs if code != common]
    return faults
