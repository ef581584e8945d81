"""What is said of drawings in gray values with smooth edges."""

from collections.abc import Sequence

from utils.core.console import UserError
from utils.doctor.evidence import Levels, find_drawing, find_levels, is_black, is_white
from utils.doctor.repair import INDICES, MaskRepair
from utils.images.palette import IGNORE_INDEX
from utils.voc.classes import offer_both
from utils.voc.names import list_some


def judge_drawing(levels: Levels, repair: MaskRepair) -> UserError | None:
    """None for masks that are no drawing with smooth edges, and where that is unsure."""
    if drawing := find_drawing(levels):
        return _smooth_edges(levels, *drawing, repair)
    drawn = find_levels(levels)
    return _smooth_levels(levels, drawn, repair) if drawn else None


def _smooth_edges(levels: Levels, low: int, high: int, edges: Sequence[int], repair: MaskRepair) -> UserError:
    """A drawing of two values with smooth edges, or with a class of thin lines if there is one value more."""
    found = f"{len(levels.values)} values: areas of {low} and {high}, and thin lines between them"
    own = f"--map {low}:0,{edges[0]}:1,{high}:2"
    if black_white := is_black(low) and is_white(high):
        low, high = 0, 255
    half = (high - low) // 2
    mapping = f"{low}:0,{high}:1"
    if len(edges) > 1 and black_white:
        white = sum(pixels for value, pixels in levels.pixels.items() if value > half) / levels.pixels.total()
        commands = (repair.command(map=text, nearest=half) for text in (mapping, f"{low}:1,{high}:0"))
        remedy = offer_both(*commands, white, repair.class_names)
    elif len(edges) > 1:
        remedy = f"{repair.command(map=mapping, nearest=half)}   (every value takes the nearer of the two)"
    else:
        remedy = f"--map {mapping} --nearest {half} if {edges[0]} is a smooth edge; {own} if it is a class"
    return UserError("mask-smooth-edges", repair.folder.masks_dir, found, INDICES, remedy)


def _smooth_levels(levels: Levels, drawn: Sequence[int], repair: MaskRepair) -> UserError:
    """A drawing of three values or more with smooth edges."""
    names, values = repair.class_names, list_some(drawn)
    found = f"{len(levels.values)} values: areas of {values}, and smooth edges between them"
    mapping, nearest = map_areas(levels, drawn)
    command, hint = (
        repair.command(map=mapping, nearest=nearest),
        "each pixel of an edge takes an area beside it",
    )
    if names is not None and len(names) != len(drawn):
        path = repair.folder.class_names_path
        remedy = f"write {path}, a name for each of the values {values}, then {command}   ({hint})"
        return UserError("mask-smooth-edges", repair.folder.masks_dir, found, INDICES, remedy)
    if names:
        hint += f"; {', '.join(f'{value} {name}' for value, name in zip(drawn, names, strict=True))}?"
    hint += "; 255 becomes a class: write 255:255 if it means 'ignore'" * (IGNORE_INDEX in drawn)
    return UserError("mask-smooth-edges", repair.folder.masks_dir, found, INDICES, f"{command}   ({hint})")


def map_areas(levels: Levels, drawn: Sequence[int]) -> tuple[str, int]:
    """The map that makes classes of the values `drawn`, and how near to them all the others are."""
    nearest = max(min(abs(value - one) for one in drawn) for value in levels.values)
    return ",".join(f"{value}:{index}" for index, value in enumerate(drawn)), nearest
