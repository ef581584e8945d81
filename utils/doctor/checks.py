"""Checks of what an examination found: the values of the masks, and pictures that stand out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from utils.core.console import UserError
from utils.doctor.examination import Examination, PairReport
from utils.doctor.faults import Fault, fault_of
from utils.doctor.repair import MaskRepair
from utils.images.palette import IGNORE_INDEX
from utils.voc.classes import check_classes, looks_like_0_255, resolve_class_names


def check_values(
    examination: Examination, class_names: Sequence[str] | None, repair: MaskRepair
) -> list[Fault]:
    """Faults of the mask values. class_names: None where there is no class_names.txt."""
    folder, counts = repair.folder, examination.counts
    names = class_names or resolve_class_names(folder, counts)
    records = [report.record for report in examination.reports]
    beyond = set(range(len(names), IGNORE_INDEX))
    black_white = looks_like_0_255(counts)
    suspects = [records] if black_white else [[one] for one in records if beyond & one.values.keys()]
    faults = []
    for some in suspects:
        try:
            check_classes(folder, some, names)
        except UserError as error:
            faults.append(fault_of(error))
    if class_names is None and not faults and not examination.faults:
        faults += _check_gaps(counts, repair)
    if repair.settings.map is not None:
        subject = f"--map {repair.settings.map}"
        remedy = "correct the map, which always starts from the original masks"
        faults = [
            replace(fault, path=subject, found=f"it would give {fault.path} {fault.found}", remedy=remedy)
            for fault in faults
        ]
    if records and not counts[:IGNORE_INDEX].any():
        found, expected = "nothing but 255 (ignored) in all masks", "pixels of classes to learn from"
        faults.append(Fault("mask-no-class", folder.masks_dir, found, expected, "export the masks again"))
    return faults + _check_single_values(examination, repair, black_white)


def _check_gaps(counts: np.ndarray, repair: MaskRepair) -> list[Fault]:
    """Gray levels, or gaps between the values of masks without class names.

    counts: (256,) pixels of each value.
    """
    values, masks_dir = np.flatnonzero(counts[:IGNORE_INDEX]).tolist(), repair.folder.masks_dir
    if len(values) > 64:
        found = f"{len(values)} different values and no class_names.txt: gray levels, or numbers of objects"
        drawing, numbers = repair.command(map="0:0,255:1", nearest=127), repair.command(map="0:0,*:1")
        remedy = (
            f"{drawing}   (a drawing in black and white), or {numbers}   (numbers of objects of one class)"
        )
        return [Fault("mask-gray-levels", masks_dir, found, "class indices 0, 1, 2, …", remedy)]
    if values == list(range(len(values))):
        return []
    mapping = ",".join(f"{value}:{index}" for index, value in enumerate(values))
    listed = f"{', '.join(map(str, values[:12]))}{', …' * (len(values) > 12)}"
    expected = "class indices 0, 1, 2, … without gaps, or a class_names.txt that names every index"
    white = f"255 means 'ignore'; where it is a class, add ,255:{len(values)}; "
    hint = white * bool(counts[IGNORE_INDEX]) + "or write class_names.txt"
    remedy = f"{repair.command(map=mapping)}   ({hint})"
    return [Fault("mask-gaps", masks_dir, f"the values {listed} and no class_names.txt", expected, remedy)]


def _check_single_values(examination: Examination, repair: MaskRepair, black_white: bool) -> list[Fault]:
    """Warnings: masks that hold one value alone, and masks in 0 and 255 beside masks with classes."""
    codes = {0: "mask-background", IGNORE_INDEX: "mask-ignored"}
    faults = []
    for record in (report.record for report in examination.reports):
        path, values = repair.folder.mask_path(record.name), set(record.values)
        if len(values) == 1:
            faults.append(Fault(codes.get(values.pop(), "mask-one-class"), path))
        elif values == {0, IGNORE_INDEX} and not black_white:
            remedy = "255 means 'ignore': where white is a class, draw it in the index of that class"
            faults.append(Fault("mask-0-255", path, f"{record.values[255]} pixels of 255", remedy=remedy))
    return faults


def check_pictures(reports: Sequence[PairReport]) -> list[Fault]:
    """Warnings: pictures that are copies of others; gray among color; 8 among 16 bits."""
    first: dict[str, PairReport] = {}
    faults = []
    for report in reports:
        other = first.setdefault(report.digest, report)
        if other is not report:
            found, remedy = f"the same pixels as {other.picture.name}", "remove one of each"
            faults.append(Fault("picture-copy", report.picture, found, remedy=remedy))
    colors = ["picture-gray" if report.record.gray else "picture-color" for report in reports]
    depths = [f"picture-{report.record.bits}-bit" for report in reports]
    for codes in (colors, depths):
        common = Counter(codes).most_common(1)[0][0] if codes else ""
        remedy = "train on one kind, unless prediction will meet both"
        faults += [
            Fault(code, report.picture, remedy=remedy)
            for code, report in zip(codes, reports, strict=True)
            if code != common
        ]
    return faults
