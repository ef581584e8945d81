"""Check a VOC folder, repair the coding of its masks on request, describe it, and write its split files."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from utils.core.console import UserError, counted, quoted, run_script
from utils.core.files import write_lines
from utils.core.locks import locked
from utils.core.settings import check_settings
from utils.doctor.checks import check_pictures, check_values
from utils.doctor.examination import Examination, examine
from utils.doctor.faults import WARNINGS, report_faults
from utils.doctor.originals import write_repaired
from utils.doctor.pairing import list_pairs
from utils.doctor.repair import MaskRepair, RepairSettings, changed_flags, prepare_repair
from utils.doctor.sheets import draw_contact_sheet, draw_statistics
from utils.doctor.statistics import Statistics, describe, print_statistics
from utils.training.recipe import Proposal, propose
from utils.voc.classes import resolve_class_names
from utils.voc.copies import copy_keys
from utils.voc.folder import VocFolder
from utils.voc.names import list_some
from utils.voc.splits import SplitSettings, check_percents, plan_splits
from utils.voc.survey import find_asymmetry, write_dataset_file

# What helps when memory runs out, see `run_script`.
REMEDIES = {
    "memory": "close other programs, or cut the largest pictures into smaller ones; several are read at once"
}


@dataclass
class Config:
    """Settings of the check, the repair and the split."""

    voc_root: Path = Path("VOCdevkit/VOC2007")  # VOC folder
    splits: OmitArgPrefixes[SplitSettings] = field(default_factory=SplitSettings)
    repair: OmitArgPrefixes[RepairSettings] = field(default_factory=RepairSettings)


def main(config: Config) -> None:
    """Check everything, then write masks, splits and statistics."""
    check_settings(config)
    check_percents(config.splits)
    # What is examined must be what is repaired. A folder that is not there is not made.
    with locked(config.voc_root) if config.voc_root.is_dir() else nullcontext():
        check_and_write(config)


def check_and_write(config: Config) -> None:
    """Raises UserError, with nothing written, for faulty pairs."""
    # Commands in messages repeat the flags of the split that was asked for.
    folder = VocFolder(config.voc_root, doctor_flags=changed_flags(config.splits))
    repair = prepare_repair(folder, config.repair)
    pairs, faults = list_pairs(folder, repair)
    examination = examine(pairs, repair)
    class_names = find_class_names(repair)
    # Every repair gives masks the names of their pictures.
    examination.forms += [fault for fault in faults if fault.code == "mask-name"]
    faults = [fault for fault in faults if fault.code != "mask-name"]
    faults += check_values(examination, class_names, repair) + check_pictures(examination.reports)
    # Where every picture or mask has a fault, that is the cause.
    if not pairs and all(fault.code in WARNINGS for fault in faults):
        found, expected = "no pair of picture and mask", "pictures and masks of the same names"
        faults.append(UserError("no-pairs", folder.root, found, expected, "put them in"))
    report_faults(folder, faults, len(pairs))
    records = [report.record for report in examination.reports]
    digests, looks = zip(*((report.digest, report.look) for report in examination.reports), strict=True)
    copies = copy_keys([record.name for record in records], digests, looks)
    plan = plan_splits(folder, config.splits, records, copies)

    if repair.active:
        write_repaired(repair, pairs, [report.repaired for report in examination.reports])
    class_names = settle_class_names(repair, class_names, examination)
    plan.write()

    statistics = describe(examination, class_names)
    proposals = propose_settings(plan.members("train"), examination, statistics)
    reasons = {proposal.flags: proposal.reason for proposal in proposals}
    listed = [asdict(proposal) for proposal in {proposal.flags: proposal for proposal in proposals}.values()]
    write_dataset_file(folder, {**asdict(statistics), "proposals": listed}, records)
    print_statistics(folder.root, statistics, reasons)
    draw_statistics(folder, statistics, examination, reasons)
    draw_contact_sheet(folder, examination.reports, class_names)
    needed = "".join(f" {proposal.needed}" for proposal in proposals if proposal.needed)
    print(f"\nnext: python train.py --voc-root {quoted(folder.root)}{needed}")


def find_class_names(repair: MaskRepair) -> list[str] | None:
    """Names from class_names.txt, the file of another program, or the color table. Raises UserError."""
    folder, table = repair.folder, repair.table
    names = repair.class_names
    if repair.settings.instances and len(names or "01") != 2:
        found, expected = list_some(names, 8), "two classes: the background and that of the objects"
        remedy = "keep two lines, or leave out --instances if the values of the masks are classes"
        raise UserError("instances-classes", folder.class_names_path, found, expected, remedy)
    if table and not table.may_name(names):
        expected = f"the classes of {table.name}: {list_some(table.class_names, 8)}"
        remedy = "remove the file, which is then written from the table, or use a table of these classes"
        raise UserError("class-names-table", folder.class_names_path, list_some(names, 8), expected, remedy)
    return names or (table.class_names if table else None)


def settle_class_names(repair: MaskRepair, names: list[str] | None, examination: Examination) -> list[str]:
    """The class names; written if they come from elsewhere than class_names.txt, printed if made up."""
    path = repair.folder.class_names_path
    if names and not path.is_file():
        write_lines(path, names)
        print(f"classes  {counted(len(names), 'name')} written to {path}")
    if names is None:
        names = resolve_class_names(repair.folder, examination.counts)
        print(f"no {path}: the classes are called {', '.join(names)} (one name per line names them)")
    return names


def propose_settings(
    train: Sequence[str], examination: Examination, statistics: Statistics
) -> list[Proposal]:
    """Settings of train.py for the pictures that train."""
    names = set(train)
    records = [report.record for report in examination.reports if report.record.name in names]
    return propose(
        [record.size for record in records],
        1 if all(record.gray for record in records) else max(record.channels for record in records),
        {one.name: one.share for one in statistics.classes if one.pixels},
        [(one.object_median, one.object_large) for one in statistics.classes if one.objects],
        find_asymmetry(records),
    )


if __name__ == "__main__":
    run_script(main, Config, __doc__, REMEDIES)
