"""What the values and colors of all masks together mean, and the command that turns them into class indices.

A command is proposed only where it keeps every class that was drawn and makes no class of smooth edges.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from utils.core.console import UserError
from utils.doctor.drawings import judge_drawing, map_areas
from utils.doctor.evidence import (
    EDGE_PIXELS,
    SOLID,
    Evidence,
    Levels,
    is_black,
    is_white,
    look_numbered,
    pool,
)
from utils.doctor.mask_map import named_values, parse_map
from utils.doctor.originals import read_mask_map
from utils.doctor.repair import EXPECTED, INDICES, CodedMaskError, MaskRepair
from utils.images.palette import IGNORE_INDEX
from utils.voc.class_files import LABELMAP, read_labelmap
from utils.voc.classes import looks_mixed, read_settings
from utils.voc.colors import (
    BLACK_WHITE,
    BUILT_IN,
    WHITE,
    color_shares,
    color_text,
    farthest,
    find_mixtures,
    keeps_to_colors,
    main_colors,
    unpack,
)
from utils.voc.names import list_some

MOST_CLASSES = 64  # of masks without class names
MAP_ENTRIES = 24  # more classes than this are named in class_names.txt rather than renumbered
# What is said of more values of 16 bits than that.
NO_CLASSES = "so many values look like numbers of objects or a depth map: --instances of voc2unet.py if each "
NO_CLASSES += "number is one object, else export class indices 0, 1, 2, …"
SMOOTH_COLORS = 8  # more colors than this beside those of areas are smooth edges
RARE = 0.005  # share of the pixels up to which one or two mixtures of drawn colors are smooth edges
GRAY_STEP = 64  # values below 255 that reach this far are gray levels, so that 255 is one of them


def judge_values(masks: Sequence[Evidence], repair: MaskRepair) -> list[UserError]:
    """Faults of the values of masks, read without --map, --colors and --instances: one for all or none."""
    names, masks_dir = repair.class_names, repair.folder.masks_dir
    levels = pool(masks)
    values = [value for value in levels.values if value != IGNORE_INDEX]
    if not masks or levels.values == [0, IGNORE_INDEX]:
        return []
    if looks_mixed([mask.pixels.keys() for mask in masks], repair.folder):
        return [_mixed(masks, repair)]
    known = max(values, default=0) < len(names or values)
    if names is None:
        known = known and len(values) <= MOST_CLASSES
    numbered = look_numbered(list(masks))
    if known and (names or not numbered):
        return []
    if numbered:
        found = f"numbers of objects: up to {max(values)} in one mask, each one connected part"
        remedy = f"{repair.command(instances=True)}   (one class, and SegmentationObject keeps the numbers"
        remedy += "; where the values are classes, write class_names.txt)"
        return [UserError("mask-objects", masks_dir, found, INDICES, remedy)]
    if smooth := judge_drawing(levels, repair):
        return [smooth]
    if names is not None and len(values := _drawn_values(levels)) != len(names):
        # Each mask is a fault of its own: see check_classes.
        return []
    return [_close_gaps(levels, repair)]


def _drawn_values(levels: Levels) -> list[int]:
    """Without 255 where it may mean 'ignore', beside class indices."""
    below = [value for value in levels.values if value < IGNORE_INDEX]
    is_class = max(below, default=0) >= GRAY_STEP
    return [value for value in levels.values if value != IGNORE_INDEX or is_class]


def _mixed(masks: Sequence[Evidence], repair: MaskRepair) -> UserError:
    """Masks in 0 and 255 beside masks in class indices."""
    white = [
        mask for mask in masks if mask.pixels.keys() <= {0, IGNORE_INDEX} and IGNORE_INDEX in mask.pixels
    ]
    top = max(value for mask in masks for value in mask.pixels if value != IGNORE_INDEX)
    names = repair.class_names or [f"class {index}" for index in range(top + 1)]
    found = f"0 and 255 only in {len(white)} of {len(masks)} masks, class indices in the others"
    expected = "one coding in all masks, because 255 is ignored"
    ignored = "--map 255:255 where white means 'ignore'"
    if len(names) == 2:
        remedy = f"{repair.command(map='0:0,255:1')}   (white becomes {names[1]}), or {ignored}"
    else:
        listed = ", ".join(f"255:{index} for {name}" for index, name in enumerate(names[1:6], 1))
        remedy = f"say with --map which class white is ({listed}), or {ignored}"
    return UserError("masks-mixed", white[0].path, found, expected, remedy)


def _close_gaps(levels: Levels, repair: MaskRepair) -> UserError:
    """Values that are no class indices. They are renumbered where this loses none."""
    names, masks_dir, every = repair.class_names, repair.folder.masks_dir, levels.values
    values, largest = _drawn_values(levels), max(value for value in every if value != IGNORE_INDEX)
    write = f"write {repair.folder.class_names_path}, a name for each of 0 … {largest}"
    found = f"the values {list_some(every)}" + " and no class_names.txt" * (names is None)
    expected = "class indices 0, 1, 2, … without gaps, or a class_names.txt that names every index"
    if len(every) == 1:
        found, remedy = (
            f"the value {every[0]} alone in all masks",
            "export the masks again, with the background",
        )
        return UserError("mask-one-value", masks_dir, found, "a background and at least one class", remedy)
    if levels.edges:
        found += f": {list_some(levels.edges, 6)} are smooth edges"
        remedy = "export the masks again without smooth edges"
        if largest > IGNORE_INDEX and len(values) > MAP_ENTRIES:
            remedy = NO_CLASSES
        elif len(values) <= MAP_ENTRIES:
            remedy += f"; if every value is a class, {write}"
        elif 2 <= len(levels.areas) <= MAP_ENTRIES:
            mapping, nearest = map_areas(levels, levels.areas)
            areas = list_some(levels.areas, 6)
            remedy += f"; if the classes are {areas} and no other: --map {mapping} --nearest {nearest}"
        if len(levels.areas) < 3 and is_black(levels.values[0]) and is_white(levels.values[-1]):
            remedy += "; if white is one class and all gray its edge: --map 0:0,255:1 --nearest 127"
        return UserError("mask-gray-levels", masks_dir, found, INDICES, remedy)
    if len(values) > MAP_ENTRIES:
        remedy = f"--instances of voc2unet.py if the values number objects, else {write}"
        remedy = NO_CLASSES if largest > IGNORE_INDEX else remedy
        return UserError("mask-gaps", masks_dir, found, expected, remedy)
    mapping = ",".join(f"{value}:{index}" for index, value in enumerate(values))
    command = repair.command(map=mapping)
    if names:
        named = ", ".join(f"{value} {name}" for value, name in zip(values, names, strict=True))
        return UserError("mask-gaps", masks_dir, found, f"0 … {len(names) - 1}", f"{command}   ({named}?)")
    if IGNORE_INDEX in every and IGNORE_INDEX not in values:
        remedy = (
            f"{write}; or --map {mapping} if 255 means 'ignore', --map {mapping},255:{len(values)} if not"
        )
        return UserError("mask-gaps", masks_dir, found, expected, remedy)
    hint = "255 becomes a class: leave it out if it means 'ignore'; " * (IGNORE_INDEX in values)
    hint += f"{values[0]} becomes the background; " * (values[0] > 0)
    return UserError("mask-gaps", masks_dir, found, expected, f"{command}   ({hint}or {write})")


def judge_unmapped(masks: Sequence[Evidence], repair: MaskRepair) -> list[UserError]:
    """Faults of masks that came after the others had been mapped, and are still coded as these were.

    --fix says that they are not.
    """
    settings, known = read_settings(repair.folder), read_mask_map(repair.folder)
    mapping = settings.get("map")
    if repair.settings.fix or not (mapping or settings.get("instances")):
        return []
    named = named_values(mapping) if mapping else set()
    table = parse_map(mapping, settings.get("nearest", 0)) if mapping else None
    # A mask with a value that only the map gives holds class indices already.
    given = set(table[sorted(named)].tolist()) - named if table is not None else set()
    remedy = f"{repair.command(**settings)}   (if they hold class indices already: --fix)"
    faults = []
    for mask in masks:
        values = mask.pixels.keys()
        changed = max(values) > 1 if table is None else any(table[value] != value for value in values)
        if mask.path.stem not in known and changed and not values & given:
            found = f"the values {list_some(sorted(values))}, which the earlier masks had before their repair"
            faults.append(UserError("mask-not-mapped", mask.path, found, "the repair of the others", remedy))
    return faults


def find_beyond(masks: Sequence[Evidence], repair: MaskRepair) -> list[Evidence]:
    """Masks with a value that is no class: all masks without class names."""
    classes = {*range(len(repair.class_names or ())), IGNORE_INDEX}
    return [mask for mask in masks if mask.pixels.keys() - classes]


def judge_photographs(masks: Sequence[Evidence]) -> list[UserError]:
    """A fault for each mask that is a photograph."""
    remedy = "put the mask there: a picture has been saved in its place"
    return [
        UserError("mask-photograph", mask.path, f"a picture of {len(mask.pixels)} values", EXPECTED, remedy)
        for mask in masks
        if mask.photograph
    ]


def judge_colors(errors: Sequence[CodedMaskError], repair: MaskRepair) -> None:
    """Give errors of colors the commands whose table has every color, or the table to write."""
    colors: Counter = Counter()
    for error in errors:
        colors.update(error.counts)
    shown, settings = color_shares(dict(colors.most_common()), colors.total()), read_settings(repair.folder)
    # The table by which the other masks were read before.
    tables = [settings["colors"]] if "colors" in settings else fitting_tables(colors, repair)
    nearest, purpose = (
        repair.settings.nearest or settings.get("nearest", 0),
        f"for each of the colors {shown}",
    )
    drawn, edges = split_edges([error.evidence for error in errors], colors)
    if not tables and drawn and edges:
        # Smooth edges: a line for each of their colors would make classes of them.
        others = [one for one, _ in colors.most_common() if one not in edges]
        nearest = max(nearest, farthest(edges, others))
        what = "drawn areas" + " and rare colors" * (len(others) > len(drawn))
        purpose = f"per class ({what}: {list_some([color_text(color) for color in others], 8)}"
        purpose += f"; smooth edges: {list_some([color_text(color) for color in edges], 4)})"
    remedy = repair.color_command(tables, purpose, nearest)
    for error in errors:
        error.remedy = remedy


def split_edges(masks: Sequence[Evidence], colors: Counter) -> tuple[list[int], list[int]]:
    """The packed colors of drawn areas among `colors`, which count the pixels of all masks; those of edges.

    A few colors are those of edges if they are mixtures of drawn ones, and rare or some. Many always are.
    """
    drawn = find_areas(masks, colors)
    rest = [one for one, _ in colors.most_common() if one not in drawn]
    if len(rest) > SMOOTH_COLORS:
        return drawn, rest
    inner = sum((Counter(mask.inner) for mask in masks), Counter())
    edges = [one for one in find_mixtures(rest, drawn) if inner[one] < SOLID * colors[one]]
    rare = sum(colors[one] for one in edges) <= RARE * colors.total()
    return drawn, edges if rare or len(edges) >= 3 else []


def find_areas(masks: Sequence[Evidence], colors: Counter) -> list[int]:
    """The packed colors of drawn areas among `colors`, which count the pixels of all masks."""
    inner = sum((Counter(mask.inner) for mask in masks), Counter())
    return [
        one for one, count in colors.most_common() if count >= EDGE_PIXELS and inner[one] >= SOLID * count
    ]


def fitting_tables(colors: Sequence[int], repair: MaskRepair) -> list[str]:
    """CVAT's labelmap.txt, or the built-in tables, with all of the packed colors and the folder's classes."""
    names, own = repair.class_names, repair.folder.root / LABELMAP
    if own.is_file() and set(colors) <= set(read_labelmap(own).packed.tolist()):
        return [str(own)]
    tables = {name: table for name, table in BUILT_IN.items() if table.may_name(names)}
    fitting = [name for name, table in tables.items() if set(colors) <= set(table.packed.tolist())]
    return [BLACK_WHITE] if BLACK_WHITE in fitting else fitting


def judge_smeared(errors: Sequence[CodedMaskError], others: Sequence[Evidence], repair: MaskRepair) -> int:
    """Give errors of JPEGs the command that takes the nearest value or color, if all masks allow it.

    Returns the --nearest that the map of the other masks needs to read these too.
    """
    counts: Counter = Counter()
    for error in errors:
        counts.update(error.counts)
    chosen, usual = repair.settings, repair.settings.nearest
    if not counts:
        return usual
    pooled = dict(counts.most_common())
    colors, export = main_colors(pooled), "export it as PNG from the program that drew it"
    gray = all(len(set(unpack(color))) == 1 for color in counts)
    levels = sorted(unpack(color)[0] for color in colors)
    values = [255 if level > 247 else level * (level > 8) for level in levels]
    if gray:
        mapping = ",".join(f"{value}:{index}" for index, value in enumerate(values))
        command = repair.command(map=chosen.map or mapping, nearest=60)
        fits = len(values) > 1 and {value for mask in others for value in mask.pixels} <= {*values}
        fits = fits and (not chosen.map or {*values} <= named_values(chosen.map)) and not chosen.colors
    else:
        known = [name for name, table in BUILT_IN.items() if table.class_names == repair.class_names]
        purpose = f"per class (most frequent: {', '.join(map(color_text, colors))})"
        tables = [chosen.colors] if chosen.colors else known
        command, fits = repair.color_command(tables, purpose, nearest=60), not chosen.map
    fits, drawn = fits and not chosen.instances, False
    for error in errors:
        error.remedy = export
        if not keeps_to_colors(error.counts, colors):
            error.code, error.remedy = "mask-photograph", "put the mask there: a picture is in its place"
        elif fits:
            drawn, error.remedy = True, f"{export}, or take the nearest value or color: {command}"
    return max(usual, 60) if drawn and gray else usual


def judge_palettes(
    palettes: dict[Path, dict[int, int]], masks: Sequence[Evidence], repair: MaskRepair
) -> list[UserError]:
    """A fault if the palettes of masks differ, or make black another value than 0.

    palettes: of masks that have one, value → packed color. A white drawing without one counts as well.
    """
    colored = dict(palettes)
    for mask in masks:
        if (
            mask.path not in colored
            and IGNORE_INDEX in mask.pixels
            and mask.pixels.keys() <= {0, IGNORE_INDEX}
        ):
            colored[mask.path] = {value: WHITE * (value > 0) for value in mask.pixels}
    if not palettes:
        return []
    first: dict[tuple[str, int], tuple[int, Path]] = {}
    for path, palette in colored.items():
        for value, color in palette.items():
            for key, meaning in ((("value", value), color), (("color", color), value)):
                other, where = first.setdefault(key, (meaning, path))
                if other != meaning:
                    return [_palettes_differ(key, (where, other), (path, meaning), colored, repair)]
    black = first.get(("color", 0), (0, None))[0]
    if black and ("value", 0) in first:
        found = f"palettes in which black is {black}, and 0 is the color {color_text(first['value', 0][0])}"
        return [_palette_fault("palette-order", next(iter(palettes)), found, colored, repair)]
    return []


def _palettes_differ(
    key: tuple[str, int], one: tuple[Path, int], other: tuple[Path, int], colored: dict, repair: MaskRepair
) -> UserError:
    if key[0] == "value":
        meanings = [f"the color {color_text(color)} in {path.name}" for path, color in (one, other)]
        found = f"palettes that differ: {key[1]} is {' and '.join(meanings)}"
    else:
        meanings = [f"{value} in {path.name}" for path, value in (one, other)]
        found = f"palettes that differ: the color {color_text(key[1])} is {' and '.join(meanings)}"
    return _palette_fault("palettes-differ", other[0], found, colored, repair)


def _palette_fault(code: str, path: Path, found: str, colored: dict, repair: MaskRepair) -> UserError:
    colors = sorted({color for palette in colored.values() for color in palette.values()})
    values = sorted({value for palette in colored.values() for value in palette})
    purpose = f"for each of the colors {', '.join(map(color_text, colors[:MAP_ENTRIES]))}"
    tables = fitting_tables(colors, repair)
    remedy = f"{repair.color_command(tables, purpose, 0)}   (the colors count)"
    # A table of many classes would name those that nobody drew.
    if repair.class_names is None and {*tables} & BUILT_IN.keys() - {BLACK_WHITE}:
        remedy += f"; for no other class than these, {repair.color_command([], purpose, 0)}"
    if IGNORE_INDEX not in values:
        mapping = ",".join(f"{value}:{value}" for value in values)
        remedy += f"; or --map {mapping} (the values count, whatever their colors)"
    return UserError(code, path, found, "one palette in all masks, black the value 0", remedy)
