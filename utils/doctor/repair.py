"""Reading masks that are no index masks yet, and turning them into such as far as the settings allow."""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge

from utils.core.console import UserError, quoted
from utils.doctor.edges import settle_edges
from utils.doctor.evidence import Evidence, gather
from utils.doctor.fitting import Fit, fit_mask
from utils.doctor.mask_map import NO_CLASS, named_levels, named_values, parse_map
from utils.images.masks import MaskFile, number_objects, read_mask_file
from utils.images.palette import IGNORE_INDEX, voc_palette
from utils.voc.class_files import find_class_file, load_color_table, read_mask_classes
from utils.voc.colors import ColorTable, color_shares, count_colors, pack
from utils.voc.folder import VocFolder
from utils.voc.names import list_some

EXPECTED = "an 8-bit PNG with one channel or a palette, whose pixel values are the class indices"
INDICES = "class indices 0, 1, 2, …"
PHOTO_COLORS = 64  # more of them under an alpha channel are a cut-out picture


@dataclass(frozen=True)
class RepairSettings:
    """Repair of the masks; SegmentationClass.orig keeps the originals, mask_map.json what was done."""

    # repair what leaves no choice: names, file types, bit depth, EXIF; included in the others
    fix: bool = False
    map: str | None = None  # mask values: OLD:NEW,…, such as 0:0,255:1; * stands for all others
    # colors to classes: voc, msrc2, camvid, black-white, or a text file of lines R G B NAME
    colors: str | None = None
    # how far a value or color may be from the nearest one that --map or --colors names
    nearest: Annotated[int, Ge(0)] = 0
    instances: bool = False  # values are numbers of objects: one class, and SegmentationObject
    resize: bool = False  # masks smaller or larger than their pictures: fit them by nearest neighbour


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture and its mask: the file in SegmentationClass or, if it was repaired before, its original."""

    name: str
    picture: Path
    mask: Path


class CodedMaskError(UserError):
    """A mask whose coding the folder as a whole explains: colors, JPEG or 16 bits.

    Its remedy here is for masks that are read as the settings say; without these, another one comes later.

    counts: packed colors and their pixels, the most frequent first; none for 16 bits.
    """

    def __init__(self, code: str, found: str, evidence: Evidence, counts: dict[int, int]):
        super().__init__(code, evidence.path, found, EXPECTED, "export it in the coding of the other masks")
        self.evidence, self.counts = evidence, counts


@dataclass
class MaskReading:
    """A mask in class indices, or as near to them as the settings bring it.

    mask: (H, W) uint8; objects: (H, W) uint8 or uint16, their numbers; palette: value → packed color of its
    own palette; faults: of the form, which every repair mends; fit: how it was brought to its picture.
    """

    mask: np.ndarray = field(repr=False)
    steps: list[str]
    faults: list[UserError]
    palette: dict[int, int]
    evidence: Evidence | None = None
    objects: np.ndarray | None = field(default=None, repr=False)
    fit: Fit = field(default_factory=Fit)


@dataclass(frozen=True)
class MaskRepair:
    """Reads masks. With nothing allowed in the settings, faults of their form are listed."""

    folder: VocFolder
    settings: RepairSettings
    values: np.ndarray | None = field(repr=False)  # (65536,) int32 from --map
    table: ColorTable | None = field(repr=False)  # from --colors
    class_names: list[str] | None = None  # in class_names.txt or the file of another program
    usual_lean: float = 0.0  # see `fit_mask`

    @property
    def active(self) -> bool:
        return self.settings.fix or self.settings.resize or self.from_originals

    @property
    def from_originals(self) -> bool:
        """A map, a color table and numbers of objects always start from the original masks."""
        return self.values is not None or self.table is not None or self.settings.instances

    def command(self, **changes: object) -> str:
        """The command that repairs as now, with other settings changed or added."""
        settings = replace(self.settings, **changes)
        if settings.map or settings.colors or settings.instances or settings.resize:
            settings = replace(settings, fix=False)
        if not (settings.map or settings.colors):
            settings = replace(settings, nearest=0)
        return self.folder.doctor(changed_flags(settings))

    def color_command(self, tables: Sequence[str], purpose: str, nearest: int) -> str:
        """Commands with one of these tables, or with one yet to write. purpose: what its lines are for."""
        if tables:
            return "   or   ".join(self.command(colors=name, nearest=nearest) for name in tables)
        order = ", in the order of class_names.txt," if self.folder.class_names_path.is_file() else ""
        command = self.command(colors="colors.txt", nearest=nearest)
        return f"{command}   after writing colors.txt, one line R G B NAME{order} {purpose}"

    def read(
        self,
        pair: Pair,
        size: tuple[int, int] | None,
        picture: np.ndarray | None = None,
        fit: Fit | None = None,
    ) -> MaskReading:
        """The mask of a pair and what was done to it. Raises UserError.

        size: (height, width) of the upright picture, None if that cannot be read; picture: its pixels, which
        show which way a mask lies; fit: what an earlier reading found about that.
        """
        file = read_mask_file(pair.mask)
        reading = MaskReading(file.values, [], [], {})
        if pair.mask.name != f"{pair.name}.png":
            reading.steps.append(f"file {pair.mask.name} → {pair.name}.png")
            # Where the name differs too, that is a fault of the name.
            if pair.mask.stem == pair.name:
                kind = f"a mask in a {pair.mask.suffix} file"
                self._note_form(reading, "mask-not-png", pair.mask, kind, f"{pair.name}.png")
        values = self._drop_alpha(file, pair.mask, reading)
        self._check_smeared(file, values, pair.mask)
        values = self._classify_colors(file, values, pair.mask, reading)
        if values.dtype == np.uint16:
            values = self._reduce_to_8_bits(values, pair.mask, reading)
        reading.mask = self._code(values, pair.mask, reading)
        if size:
            reading.fit = fit or fit_mask(pair.picture, picture, size, reading.mask, self.usual_lean)
            self._fit(pair, size, reading)
        return reading

    def _note_form(
        self, reading: MaskReading, code: str, path: Path, found: str, expected: str = EXPECTED, **fix: bool
    ) -> None:
        """Note a fault that --fix mends, or the setting given, unless repairs are allowed."""
        if not self.active or (fix and not getattr(self.settings, *fix)):
            remedy = self.command(**(fix or {"fix": True}))
            reading.faults.append(UserError(code, path, found, expected, remedy))

    def _drop_alpha(self, file: MaskFile, path: Path, reading: MaskReading) -> np.ndarray:
        """The values without their alpha channel, or that channel where it is the mask."""
        values = file.values
        if file.alpha is not None:
            hidden = file.alpha == 0
            shown = values.copy()
            shown[hidden] = 0
            number = len(np.unique(pack(shown) if shown.ndim == 3 else shown))
            if 1 < number <= PHOTO_COLORS:
                values = shown
                reading.steps.append("transparent → 0")
            else:
                values = file.alpha
                reading.steps.append("alpha channel → mask")
        if file.has_alpha and values.ndim == 2:
            what = (
                "a mask in the alpha channel" if values is file.alpha else "a gray mask with an alpha channel"
            )
            self._note_form(reading, "mask-alpha", path, what)
            if file.alpha is None:
                reading.steps.append("stored as plain gray")
        return values

    def _check_smeared(self, file: MaskFile, values: np.ndarray, path: Path) -> None:
        """Raises CodedMaskError for a JPEG, unless the settings say how to undo its compression."""
        chosen = self.values is not None or (self.table is not None and values.ndim == 3)
        if not file.jpeg or (self.settings.nearest and chosen):
            return
        colored = values.ndim == 3 and bool((values != values[..., :1]).any())
        counts = count_colors(values if values.ndim == 3 else np.dstack([values] * 3))
        what = f"{len(counts)} different {'colors' if colored else 'gray values'}"
        found = f"a JPEG ({what}: its compression smears class indices)"
        raise CodedMaskError("mask-jpeg", found, Evidence(path, {}, {}, {}), counts)

    def _classify_colors(
        self, file: MaskFile, values: np.ndarray, path: Path, reading: MaskReading
    ) -> np.ndarray:
        """(H, W) class indices or values; colors without a table, those of a palette aside, are an error."""
        if file.palette is not None and file.plain:
            used = np.unique(values).tolist()
            reading.palette = {value: int(pack(file.palette[value])) for value in used}
        if self.table and (values.ndim == 3 or self._counts_colors(values, reading.palette)):
            rgb = file.palette[values] if reading.palette else values
            rgb = rgb if rgb.ndim == 3 else np.dstack([rgb] * 3)
            return self._look_up(rgb, path, reading)
        if reading.palette and self.values is not None:
            # A map is about values, whatever their colors, so other colors than VOC's would only mislead.
            reading.steps.append("its own palette → that of VOC")
        if values.ndim == 2:
            return values
        counts = count_colors(values)
        found = f"a mask of RGB colors: {color_shares(counts, values[..., 0].size)}"
        if (values != values[..., :1]).any():
            evidence = gather(path, pack(values), count_parts=False)
            raise CodedMaskError("mask-colors", found, evidence, dict(list(counts.items())[:1000]))
        self._note_form(reading, "mask-colors", path, found)
        reading.steps.append("three equal channels → one")
        return np.ascontiguousarray(values[..., 0])

    def _counts_colors(self, values: np.ndarray, palette: dict[int, int]) -> bool:
        """Whether the color table is about a mask (H, W): by its palette, or by gray levels.

        Of masks in VOC's palette, as written here, the values count, unless the table has their colors.
        """
        colors = {*palette.values()} - {0}
        standard = all(color == pack(voc_palette()[value]) for value, color in palette.items())
        foreign = standard and not colors & {*self.table.packed.tolist()}
        return (bool(palette) and not foreign) or self.table.holds_grays(values)

    def _look_up(self, rgb: np.ndarray, path: Path, reading: MaskReading) -> np.ndarray:
        nearest = self.settings.nearest
        mask, unknown = self.table.to_indices(rgb, nearest)
        if unknown:
            far = max(float(self.table.distances(color).min()) for color in unknown)
            found = f"colors that are not in {self.table.name}: {color_shares(unknown, mask.size)}"
            command = f"{self.command(nearest=int(np.ceil(far)))}   (the largest distance in this mask)"
            remedy = f"take the nearest color, as at smooth edges: {command}; or add them to the table"
            raise UserError("mask-color-unknown", path, found, EXPECTED, remedy)
        how = f", nearest {nearest}" * bool(nearest)
        reading.steps.append(f"colors → class indices by {self.table.name}{how}")
        return mask

    def _reduce_to_8_bits(self, values: np.ndarray, path: Path, reading: MaskReading) -> np.ndarray:
        """uint8 where the values fit, whole or divided by 257, and the map does not name larger ones."""
        present = np.unique(values)
        scaled = present[-1] > 255 and not (present % 257).any()
        named = self.values is not None and max(named_values(self.settings.map)) > 255
        if self.settings.instances or named or not (present[-1] <= 255 or scaled):
            return values
        self._note_form(
            reading, "mask-16-bit", path, f"{len(present)} different 16-bit values, up to {present[-1]}"
        )
        reading.steps.append("16 → 8 bits" + ", divided by 257" * bool(scaled))
        return (values // 257 if scaled else values).astype(np.uint8)

    def _code(self, values: np.ndarray, path: Path, reading: MaskReading) -> np.ndarray:
        """Class indices by the map, by numbers of objects, or as they are."""
        if self.values is not None:
            return self._map_values(values, path, reading)
        if self.settings.instances:
            reading.objects = number_objects(values)
            reading.steps.append("numbers of objects → class 1, and SegmentationObject")
            return (values > 0).astype(np.uint8)
        if self.table is None:
            reading.evidence = gather(path, values, self._may_be_numbers(values))
        if values.dtype == np.uint16:
            found = f"{len(np.unique(values))} different 16-bit values, up to {values.max()}"
            raise CodedMaskError("mask-16-bit", found, reading.evidence or Evidence(path, {}, {}, {}), {})
        return values

    def _may_be_numbers(self, values: np.ndarray) -> bool:
        """Whether values may number objects, so that it is worth the time to count connected parts."""
        return int(values.max()) >= len(self.class_names or "01")

    def _map_values(self, values: np.ndarray, path: Path, reading: MaskReading) -> np.ndarray:
        present, nearest = np.unique(values), self.settings.nearest
        new = self.values[present]
        missing = present[new == NO_CLASS].tolist()
        if missing:
            found = f"values for which --map {self.settings.map} has no class: {list_some(missing)}"
            remedy = "name them in the map (* for all others)" + ", or raise --nearest" * bool(nearest)
            raise UserError("mask-unmapped", path, found, EXPECTED, remedy)
        if (new != present).any():
            listed = [f"{a} → {b}" for a, b in zip(present, new, strict=True) if a != b or not nearest]
            reading.steps.append(list_some(listed))
        if not nearest:
            return self.values[values].astype(np.uint8)
        settled, lost = settle_edges(values, named_levels(self.settings.map), nearest)
        mask = self.values[settled].astype(np.uint8)
        mask[lost] = IGNORE_INDEX
        reading.steps += ["smooth edges → the areas beside them"] * bool((settled != values).any())
        reading.steps += ["thin parts between the gray levels of areas → 255"] * bool(lost.any())
        return mask

    def _fit(self, pair: Pair, size: tuple[int, int], reading: MaskReading) -> None:
        """Turn and resize the mask as `reading.fit` says. Raises UserError where it cannot fit."""
        fit, shape = reading.fit, reading.mask.shape
        if fit.turn is not None:
            found = f"a mask of {shape[0]}×{shape[1]} (height×width), {fit.evidence}"
            expected = f"a mask that lies as {pair.picture.name} does upright: {size[0]}×{size[1]}"
            self._note_form(reading, "mask-turned", pair.mask, found, expected)
            reading.steps.append("turned as the EXIF orientation of its picture says")
        if fit.resize:
            found = f"a mask of {shape[0]}×{shape[1]} (height×width), in the shape of its picture"
            expected = f"the size of its picture {pair.picture.name}: {size[0]}×{size[1]}"
            self._note_form(reading, "mask-size", pair.mask, found, expected, resize=True)
            reading.steps.append("fitted to the picture by nearest neighbour")
        reading.mask = fit.apply(pair, reading.mask, size)
        if reading.objects is not None:
            reading.objects = fit.apply(pair, reading.objects, size)


def prepare_repair(folder: VocFolder, settings: RepairSettings) -> MaskRepair:
    """Parse the map and read the color table. Raises UserError."""
    if settings.nearest and not (settings.map or settings.colors):
        found, expected = "neither --map nor --colors", "a map or a table of values or colors to be near to"
        raise UserError("nearest-alone", f"--nearest {settings.nearest}", found, expected, "add one of them")
    if settings.instances and (settings.map is not None or settings.colors is not None):
        found, expected = "--map or --colors too", "one way to read the values"
        raise UserError("instances-and-map", "--instances", found, expected, "leave one of them out")
    values = parse_map(settings.map, settings.nearest) if settings.map is not None else None
    table = load_color_table(settings.colors) if settings.colors is not None else None
    beside = find_class_file([folder.root])
    names = folder.read_class_names() or (read_mask_classes(beside) if beside else None)
    return MaskRepair(folder, settings, values, table, names)


def changed_flags(settings: object) -> str:
    """The flags, as they are typed, of all settings in a dataclass that differ from their defaults."""
    words = []
    for one in fields(settings):
        value, default = getattr(settings, one.name), None if one.default is MISSING else one.default
        if value != default:
            words.append(f"--{one.name.replace('_', '-')}")
            words += [] if value is True else [quoted(value)]
    return " ".join(words)
