"""Checks of what an examination found: the values of the masks, and pictures that stand out."""

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np

from utils.core.console import UserError, counted
from utils.doctor.coding import (
    MAP_ENTRIES,
    NO_CLASSES,
    find_beyond,
    judge_colors,
    judge_palettes,
    judge_photographs,
    judge_smeared,
    judge_unmapped,
    judge_values,
)
from utils.doctor.evidence import look_alike, look_numbered
from utils.doctor.examination import Examination, PairReport
from utils.doctor.faults import warning
from utils.doctor.repair import CodedMaskError, MaskRepair
from utils.images.arrays import check_channels
from utils.images.palette import IGNORE_INDEX
from utils.voc.classes import check_classes, looks_like_0_255, resolve_class_names
from utils.voc.names import list_some
from utils.voc.survey import PairRecord

MAP_REMEDY = "correct the map; it starts from the original masks"
OBJECTS_REMEDY = "if they do, --instances makes them one class; if not, write class_names.txt"
TURN_REMEDY = (
    "look at contact_sheet.png; where a mask lies wrong, it was drawn on the picture as it is stored: remove "
    "the orientation from the picture (exiftool -Orientation= FILE)"
)


def check_values(
    examination: Examination, class_names: Sequence[str] | None, repair: MaskRepair
) -> list[UserError]:
    """Faults of the coding of the masks, those of the examination included.

    class_names: None where there is no class_names.txt. Faults that another one's command mends are left out.
    """
    reports, counts, photographs = examination.reports, examination.counts, set()
    repair = _judge_jpegs(examination, repair)
    if repair.from_originals:
        coding = _check_result(examination, class_names, repair)
        faults = examination.faults + examination.forms + coding
    else:
        coding, others = _judge(examination, repair)
        photographs = {fault.subject for fault in others if fault.code == "mask-photograph"}
        if not coding:
            coding = _check_indices(examination, class_names, repair, photographs)
        mended = any("python voc2unet.py" in fault.remedy for fault in coding)
        faults = others + coding + ([] if mended else examination.forms)
    if reports and not coding and not counts[1:IGNORE_INDEX].any() and not counts[0] * counts[IGNORE_INDEX]:
        found = (
            "nothing but 255 (ignored) in all masks" if counts[IGNORE_INDEX] else "background in all masks"
        )
        expected = "pixels of classes to learn from"
        subject, remedy = repair.folder.masks_dir, "export the masks again"
        if repair.settings.map is not None:
            subject, remedy = f"--map {repair.settings.map}", MAP_REMEDY
            found = f"it would give {found}"
        faults.append(UserError("mask-no-class", subject, found, expected, remedy))
    # What stops says what to do with a mask. A remark on its values would say something else.
    told = {fault.subject for fault in coding}
    remarks = _check_single_values(examination, repair, photographs)
    return faults + [remark for remark in remarks if remark.subject not in told]


def _list_coded(examination: Examination, code: str) -> list[CodedMaskError]:
    return [e for e in examination.faults if isinstance(e, CodedMaskError) and e.code == code]


def _judge_jpegs(examination: Examination, repair: MaskRepair) -> MaskRepair:
    """Say what to do with masks in JPEG files. The repair whose commands read these too."""
    plain = [report.evidence for report in examination.reports if report.evidence]
    nearest = judge_smeared(_list_coded(examination, "mask-jpeg"), plain, repair)
    if _list_coded(examination, "mask-colors"):
        return repair
    return replace(repair, settings=replace(repair.settings, nearest=nearest))


def _judge(examination: Examination, repair: MaskRepair) -> tuple[list[UserError], list[UserError]]:
    """Faults of the coding, and the other faults of the examination that they do not explain."""
    plain = [report.evidence for report in examination.reports if report.evidence]
    coded = [error for error in examination.faults if isinstance(error, CodedMaskError)]
    others = [error for error in examination.faults if not isinstance(error, CodedMaskError)]
    by_code = {code: _list_coded(examination, code) for code in ("mask-colors", "mask-16-bit")}
    deep, colored = by_code["mask-16-bit"], [e for e in by_code["mask-colors"] if not e.evidence.photograph]
    smeared = [error for error in coded if error.code not in by_code]
    judge_colors(colored, repair)
    masks = plain + [error.evidence for error in deep]
    photographs = judge_photographs(find_beyond(masks + [e.evidence for e in by_code["mask-colors"]], repair))
    pictures = {fault.subject for fault in photographs}
    masks = [mask for mask in masks if str(mask.path) not in pictures]
    palettes = {
        report.evidence.path: report.palette
        for report in examination.reports
        if report.palette and report.evidence
    }
    coding = judge_palettes(palettes, masks, repair) or judge_unmapped(masks, repair)
    coding = coding or judge_values(masks, repair)
    left = [] if coding else [error for error in deep if error.subject not in pictures]
    many = len({value for error in left for value in error.evidence.pixels}) > MAP_ENTRIES
    for error in left:
        values = sorted(error.evidence.pixels)
        which = f"say with --map of voc2unet.py which class each of the values {list_some(values, 6)} is"
        such = f"{which}, such as {values[-1]}:1 (255: ignore; * stands for all others)"
        error.remedy = NO_CLASSES if many else such
    return coding, others + photographs + smeared + colored + left


def _check_indices(
    examination: Examination,
    class_names: Sequence[str] | None,
    repair: MaskRepair,
    without: Container[str] = (),
) -> list[UserError]:
    """Masks in black and white, and a fault for each mask with a value that is no class.

    without: paths of masks that are left out.
    """
    records = _list_records(examination, repair, without)
    counts = sum((one.counts for one in records), np.zeros(256, np.int64))
    names = class_names or resolve_class_names(repair.folder, counts)
    beyond = set(range(len(names), IGNORE_INDEX))
    suspects = [[one] for one in records if beyond & one.values.keys()]
    faults = []
    for some in [records] if looks_like_0_255(counts) else suspects:
        try:
            check_classes(repair.folder, some, names, repair.settings.nearest)
        except UserError as error:
            faults.append(error)
    return faults


def _list_records(examination: Examination, repair: MaskRepair, without: Container[str]) -> list[PairRecord]:
    """without: paths of masks that are left out."""
    records = (report.record for report in examination.reports)
    return [one for one in records if str(repair.folder.mask_path(one.name)) not in without]


def _check_result(
    examination: Examination, class_names: Sequence[str] | None, repair: MaskRepair
) -> list[UserError]:
    """What would be wrong with the masks that --map, --colors or --instances gives."""
    faults, values = (
        _check_indices(examination, class_names, repair),
        np.flatnonzero(examination.counts[:255]),
    )
    if class_names is None and not faults and values.tolist() != list(range(len(values))):
        found, expected = f"the values {list_some(values.tolist())}", "class indices 0, 1, 2, … without gaps"
        faults.append(UserError("mask-gaps", "masks of", found, expected, ""))
    if repair.settings.map is None:
        return faults
    subject = f"--map {repair.settings.map}"
    return [
        UserError(one.code, subject, f"it would give {one.subject} {one.found}", one.expected, MAP_REMEDY)
        for one in faults
    ]


def _check_single_values(
    examination: Examination, repair: MaskRepair, photographs: Container[str]
) -> list[UserError]:
    """Warnings: masks of one value, masks in 0 and 255 beside masks with classes, perhaps numbers of objects.

    photographs: paths of masks that are none, and are left out.
    """
    records = _list_records(examination, repair, photographs)
    black_white = {value for one in records for value in one.values} == {0, IGNORE_INDEX}
    # Where others have strokes of classes, a picture may have some of the background only.
    strokes = any(one.is_strokes and len(one.values) > 2 for one in records)
    codes = {0: "mask-background", IGNORE_INDEX: "mask-ignored"}
    remedy = "255 means 'ignore': where white is a class, draw it in the index of that class"
    faults = []
    for record in records:
        path, values = repair.folder.mask_path(record.name), set(record.values)
        if len(values) == 1:
            faults.append(warning(codes.get(values.pop(), "mask-one-class"), path))
        elif values == {0, IGNORE_INDEX} and not black_white and not (strokes and record.is_strokes):
            faults.append(
                warning("mask-0-255", path, f"{counted(record.values[255], 'pixel')} of 255", remedy)
            )
    coded = [report.evidence for report in examination.reports if report.evidence]
    coded += [error.evidence for error in examination.faults if error.code == "mask-16-bit"]
    coded = [mask for mask in coded if str(mask.path) not in photographs]
    perhaps = look_numbered(coded, least=2) or look_alike(coded)
    if repair.class_names is None and perhaps and not look_numbered(coded):
        some = [mask.path for mask in coded if mask.drawn > 1]
        faults += [warning("masks-perhaps-objects", path, "", OBJECTS_REMEDY) for path in some]
    for report in examination.reports:
        if report.repaired.fit.doubtful:
            faults.append(warning("mask-turn-unknown", report.picture, "", TURN_REMEDY))
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
