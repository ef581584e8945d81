"""Reading masks that are no index masks yet, and turning them into such as far as the settings allow."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge
from PIL import Image

from utils.core.console import UserError
from utils.doctor.mask_map import NO_CLASS, parse_map
from utils.images.reading import read_image, read_mask
from utils.voc.colors import BUILT_IN, ColorTable, color_shares, count_colors, load_table, main_colors, unpack
from utils.voc.folder import VocFolder, check_size
from utils.voc.names import list_some

EXPECTED = "an 8-bit PNG with one channel or a palette, whose pixel values are the class indices"
# What brings a picture upright whose EXIF orientation (EXIF 2.3, tag 0x0112) swaps height and width.
_TURN = Image.Transpose
TURNS = {5: _TURN.TRANSPOSE, 6: _TURN.ROTATE_270, 7: _TURN.TRANSVERSE, 8: _TURN.ROTATE_90}


@dataclass(frozen=True)
class RepairSettings:
    """Repair of the masks; SegmentationClass.orig keeps the originals, mask_map.json what was done."""

    # repair what leaves no choice: names, file types, bit depth, EXIF; included in --map and --colors
    fix: bool = False
    map: str | None = None  # mask values: OLD:NEW,…, such as 0:0,255:1; * stands for all others
    colors: str | None = None  # colors to classes: voc, msrc2, camvid, or a text file of lines R G B NAME
    # how far a value or color may be from the nearest one that --map or --colors names
    nearest: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture and its mask: the file in SegmentationClass or, if it was repaired before, its original."""

    name: str
    picture: Path
    mask: Path


class ColoredMaskError(UserError):
    """A mask in RGB colors without a table. counts: its most frequent colors, packed, and their pixels."""

    def __init__(self, path: Path, found: str, counts: dict[int, int]):
        super().__init__("mask-colors", path, found, EXPECTED, "")
        self.counts = counts


@dataclass(frozen=True)
class MaskRepair:
    """Reads masks. With nothing allowed in the settings, `read` raises for all that is no index mask."""

    folder: VocFolder
    settings: RepairSettings
    values: np.ndarray | None = field(repr=False)  # (65536,) int32 from --map
    table: ColorTable | None = field(repr=False)  # from --colors

    @property
    def active(self) -> bool:
        return self.settings.fix or self.from_originals

    @property
    def from_originals(self) -> bool:
        """A map or a color table always starts from the original masks."""
        return self.values is not None or self.table is not None

    def command(self, **changes: object) -> str:
        """The command that repairs as now, with other settings changed or added."""
        settings = replace(self.settings, **changes)
        if settings.map or settings.colors:
            settings = replace(settings, fix=False)
        return self.folder.doctor(changed_flags(settings))

    def color_command(self, tables: Sequence[str], purpose: str, nearest: int) -> str:
        """Commands with one of these tables, or with one yet to write. purpose: what its lines are for."""
        if tables:
            return "   or   ".join(self.command(colors=name, nearest=nearest) for name in tables)
        order = ", in the order of class_names.txt," if self.folder.class_names_path.is_file() else ""
        command = self.command(colors="colors.txt", nearest=nearest)
        return f"{command}   after writing colors.txt, one line R G B NAME{order} {purpose}"

    def read(self, pair: Pair, size: tuple[int, int] | None) -> tuple[np.ndarray, list[str]]:
        """The mask (H, W) uint8 of a pair and what was done to it. Raises UserError.

        size: (height, width) of the upright picture, None if that cannot be read.
        """
        steps = [f"file {pair.mask.name} → {pair.name}.png"] if pair.mask.name != f"{pair.name}.png" else []
        codes, plain = self._read_codes(pair.mask)
        if codes.ndim == 2 and codes.dtype == np.uint8 and not plain:
            self._require_fix("mask-alpha", pair.mask, "a gray mask with an alpha channel")
            steps.append("stored as plain gray")
        if codes.ndim == 3:
            codes = self._classify_colors(pair.mask, codes, steps)
        if codes.dtype == np.uint16 and self.values is None:
            codes = self._reduce_to_8_bits(pair.mask, codes, steps)
        if self.values is not None:
            codes = self._map_values(pair.mask, codes, steps)
        if size and codes.shape != size:
            codes = self._turn(pair, codes, size, steps)
        # Where the name differs too, that is a fault of the name.
        if steps and pair.mask.stem == pair.name:
            found = f"a mask in a {pair.mask.suffix} file"
            self._require_fix("mask-not-png", pair.mask, found, f"{pair.name}.png")
        return codes, steps

    def _require_fix(self, code: str, path: Path, found: str, expected: str = EXPECTED) -> None:
        """Raises UserError, whose remedy is --fix, unless repairs are allowed."""
        if not self.active:
            raise UserError(code, path, found, expected, self.command(fix=True))

    def _read_codes(self, path: Path) -> tuple[np.ndarray, bool]:
        """(H, W) uint8 or uint16, or (H, W, 3) uint8, as in the file, and whether `read_mask` reads it.

        Raises UserError, also for a JPEG unless the settings say how to undo its compression.
        """
        try:
            return read_mask(path), True
        except UserError as error:
            try:
                codes = read_image(path)
            except UserError:
                raise error from None
            if codes.ndim == 3 and codes.shape[2] in (2, 4):
                # An extra sample of a TIFF that is not called alpha.
                codes = codes[..., 0] if codes.shape[2] == 2 else codes[..., :3]
            if codes.ndim == 3 and codes.shape[2] != 3:
                raise error from None
        if codes.ndim == 3 and codes.dtype == np.uint16:
            codes = (codes >> 8).astype(np.uint8)
        chosen = self.values is not None or (self.table is not None and codes.ndim == 3)
        with path.open("rb") as file:
            if file.read(2) != b"\xff\xd8" or (self.settings.nearest and chosen):
                return codes, False
        colored = codes.ndim == 3 and bool((codes != codes[..., :1]).any())
        counts = count_colors(codes if colored else np.dstack([codes] * 3)[..., :3])
        what = f"{len(counts)} different {'colors' if colored else 'gray values'}"
        found = f"a JPEG ({what}: its compression smears class indices)"
        command = self._smeared_command(main_colors(counts), colored)
        remedy = (
            f"export it as PNG from the program that drew it, or take the nearest value or color: {command}"
        )
        raise UserError("mask-jpeg", path, found, EXPECTED, remedy)

    def _smeared_command(self, colors: Sequence[int], colored: bool) -> str:
        """The command for a smeared mask whose most frequent colors, packed, are these, or all gray."""
        if colored:
            names, chosen = self.folder.read_class_names(), self.settings.colors
            known = [name for name, table in BUILT_IN.items() if table.class_names == names]
            listed = ", ".join(" ".join(map(str, unpack(color))) for color in colors)
            purpose = f"per class (most frequent in this mask: {listed})"
            return self.color_command([chosen] if chosen else known, purpose, nearest=60)
        levels = sorted(unpack(gray)[0] for gray in colors)
        values = [255 if level > 247 else level * (level > 8) for level in levels]
        mapping = ",".join(f"{value}:{index}" for index, value in enumerate(values))
        return self.command(
            map=self.settings.map or (mapping if len(values) > 1 else "0:0,255:1"), nearest=60
        )

    def _classify_colors(self, path: Path, rgb: np.ndarray, steps: list[str]) -> np.ndarray:
        nearest = self.settings.nearest
        if self.table:
            mask, unknown = self.table.to_indices(rgb, nearest)
            if unknown:
                far = max(float(self.table.distances(color).min()) for color in unknown)
                found = f"colors that are not in {self.table.name}: {color_shares(unknown, mask.size)}"
                command = f"{self.command(nearest=int(np.ceil(far)))}   (the largest distance in this mask)"
                remedy = f"add them to the table, or take the nearest color: {command}"
                raise UserError("mask-color-unknown", path, found, EXPECTED, remedy)
            how = f", nearest {nearest}" * bool(nearest)
            steps.append(f"colors → class indices by {self.table.name}{how}")
            return mask
        gray = bool((rgb == rgb[..., :1]).all())
        if gray and self.active:
            steps.append("three equal channels → one")
            return np.ascontiguousarray(rgb[..., 0])
        counts = count_colors(rgb)
        found = f"a mask of RGB colors: {color_shares(counts, rgb[..., 0].size)}"
        if not gray:
            raise ColoredMaskError(path, found, dict(list(counts.items())[:1000]))
        black_white = {"map": "0:0,255:1"} if set(counts) <= {0, 0xFFFFFF} else {"fix": True}
        raise UserError("mask-colors", path, found, EXPECTED, self.command(**black_white))

    def _reduce_to_8_bits(self, path: Path, codes: np.ndarray, steps: list[str]) -> np.ndarray:
        values = np.unique(codes)
        scaled = values[-1] > 255 and not (values % 257).any()
        fits = values[-1] <= 255 or scaled
        if fits and self.active:
            steps.append("16 → 8 bits" + ", divided by 257" * bool(scaled))
            return (codes // 257 if scaled else codes).astype(np.uint8)
        found, remedy = f"{len(values)} different 16-bit values, up to {values[-1]}", self.command(fix=True)
        if not fits:
            hint = f"{self.command(map='0:0,*:1')}   (numbers of objects become one class)"
            remedy = f"choose a class for each value (OLD:NEW; * for all others): {hint}"
        raise UserError("mask-16-bit", path, found, EXPECTED, remedy)

    def _map_values(self, path: Path, codes: np.ndarray, steps: list[str]) -> np.ndarray:
        present, nearest = np.unique(codes), self.settings.nearest
        new = self.values[present]
        missing = present[new == NO_CLASS].tolist()
        if missing:
            found = f"values for which --map {self.settings.map} has no class: {list_some(missing)}"
            remedy = "name them in the map (* for all others)" + ", or raise --nearest" * bool(nearest)
            raise UserError("mask-unmapped", path, found, EXPECTED, remedy)
        if (new != present).any():
            listed = [f"{a} → {b}" for a, b in zip(present, new, strict=True) if a != b or not nearest]
            steps.append(list_some(listed))
        return self.values[codes].astype(np.uint8)

    def _turn(self, pair: Pair, mask: np.ndarray, size: tuple[int, int], steps: list[str]) -> np.ndarray:
        """The mask of a picture that EXIF turns, if only this explains the sizes. Raises UserError."""
        turn = None
        if mask.shape == size[::-1]:
            # A picture that is too large for Pillow is left as it is.
            with suppress(Image.DecompressionBombError), Image.open(pair.picture) as picture:
                turn = TURNS.get(picture.getexif().get(0x0112))
        if turn is None:
            check_size(pair.mask, mask, pair.picture.name, size)
        found = (
            f"a mask of {mask.shape[0]}×{mask.shape[1]} (height×width), as its picture before EXIF turns it"
        )
        expected = f"the size of {pair.picture.name} upright: {size[0]}×{size[1]}"
        self._require_fix("mask-turned", pair.mask, found, expected)
        steps.append("turned as the EXIF orientation of its picture says")
        return np.array(Image.fromarray(mask).transpose(turn))


def prepare_repair(folder: VocFolder, settings: RepairSettings) -> MaskRepair:
    """Parse the map and read the color table. Raises UserError."""
    if settings.nearest and not (settings.map or settings.colors):
        found, expected = "neither --map nor --colors", "a map or a table of values or colors to be near to"
        raise UserError("nearest-alone", f"--nearest {settings.nearest}", found, expected, "add one of them")
    values = parse_map(settings.map, settings.nearest) if settings.map is not None else None
    table = load_table(settings.colors) if settings.colors is not None else None
    return MaskRepair(folder, settings, values, table)


def changed_flags(settings: object) -> str:
    """The flags, as they are typed, of all settings in a dataclass that differ from their defaults."""
    words = []
    for one in fields(settings):
        value, default = getattr(settings, one.name), None if one.default is MISSING else one.default
        if value != default:
            # Patterns such as * and ^ mean something to some shells, on Windows too.
            plain = re.fullmatch(r"[\w.,:/\\+=-]+", str(value))
            words.append(f"--{one.name.replace('_', '-')}")
            words += [] if value is True else [str(value) if plain else f'"{value}"']
    return " ".join(words)
