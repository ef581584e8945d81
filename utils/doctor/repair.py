"""Reading masks that are no index masks yet, turning them into such as far as allowed, and writing the result."""

import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
from PIL import Image

from utils.core.console import UserError, counted, progress, quoted
from utils.core.files import read_record, remove, replacing, write_lines
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_mask
from utils.voc.colors import BUILT_IN, ColorTable, colour_counts, in_words, load_table, main_colours, unpack
from utils.voc.folder import VocFolder

EXPECTED = "an 8-bit PNG with one channel or a palette, whose pixel values are the class indices"
NO_CLASS = -1
# What brings a picture of this EXIF orientation upright (EXIF 2.3, tag 0x0112), for those that swap height and width.
TURNS = {
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture and its mask: the file in SegmentationClass or, where it was mended before, its original."""

    name: str
    picture: Path
    mask: Path


@dataclass(frozen=True, slots=True)
class MendedMask:
    """What is done to a mask, the digest of the pixels that come out, and the size of its upright picture."""

    steps: tuple[str, ...]
    digest: str
    size: tuple[int, int]


class MaskFault(UserError):
    """A fault of a known kind; colours: packed colours and their pixels, where the fault is about colours."""

    def __init__(
        self,
        kind: str,
        path: Path,
        found: str,
        remedy: str,
        expected: str = EXPECTED,
        colours: dict | None = None,
    ):
        super().__init__("mask", path, found, expected, remedy)
        self.kind, self.colours = kind, colours or {}


@dataclass(frozen=True)
class Mending:
    """What the user allows to be done to masks. With nothing allowed, `read` raises for all that is no index mask.

    fix: changes of form that leave no choice; they are made with --map and --colors too. nearest: how far a value or a
    colour may be from a named one.
    """

    root: Path
    fix: bool = False
    map: str | None = None
    colors: str | None = None
    nearest: int = 0
    values: np.ndarray | None = field(init=False, default=None, repr=False)  # (65536,) int32 from --map
    table: ColorTable | None = field(init=False, default=None, repr=False)  # from --colors

    def __post_init__(self) -> None:
        if self.nearest < 0 or (self.nearest and not (self.map or self.colors)):
            found = f"--nearest {self.nearest}" + (
                "" if self.map or self.colors else " without --map or --colors"
            )
            raise UserError(
                "post-init",
                "mending",
                found,
                "a distance above 0 to what a map or a colour table names",
                "add one",
            )
        object.__setattr__(
            self, "values", parse_map(self.map, self.nearest) if self.map is not None else None
        )
        object.__setattr__(self, "table", load_table(self.colors) if self.colors is not None else None)

    @property
    def active(self) -> bool:
        return self.fix or self.values is not None or self.table is not None

    def command(self, **changes: object) -> str:
        """The command that mends as now, with other flags changed or added."""
        flags = {"map": self.map, "colors": self.colors, "nearest": self.nearest, **changes}
        if flags["map"] or flags["colors"]:
            flags.pop("fix", None)
        # A bare * is a pattern to some shells.
        words = {
            name: f'"{value}"' if "*" in str(value) else quoted(value)
            for name, value in flags.items()
            if value
        }
        parts = [f"--{name}" if word == "True" else f"--{name} {word}" for name, word in words.items()]
        return " ".join(["python voc2unet.py --voc-root", quoted(self.root), *parts])

    def read(self, pair: Pair, size: tuple[int, int] | None) -> tuple[np.ndarray, list[str]]:
        """The mask (H, W) uint8 of a pair and what was done to it. size: of the upright picture. Raises UserError."""
        steps = [f"file {pair.mask.name} → {pair.name}.png"] if pair.mask.name != f"{pair.name}.png" else []
        codes, plain = self._read_codes(pair.mask)
        if codes.ndim == 2 and codes.dtype == np.uint8 and not plain:
            if not self.active:
                found, remedy = "a gray mask with an alpha channel", self.command(fix=True)
                raise MaskFault("masks with an alpha channel", pair.mask, found, remedy)
            steps.append("stored as plain gray")
        if codes.ndim == 3:
            codes = self._from_colours(pair.mask, codes, steps)
        if codes.dtype == np.uint16 and self.values is None:
            codes = self._to_8_bits(pair.mask, codes, steps)
        if self.values is not None:
            codes = self._mapped(pair.mask, codes, steps)
        if size and codes.shape != size:
            codes = self._turned(pair, codes, size, steps)
        # Where the name differs too, that is a fault of the name.
        if steps and not self.active and pair.mask.stem == pair.name:
            found = f"a mask in a {pair.mask.suffix} file"
            raise MaskFault(
                "masks that are no PNG", pair.mask, found, self.command(fix=True), f"{pair.name}.png"
            )
        return codes, steps

    def _read_codes(self, path: Path) -> tuple[np.ndarray, bool]:
        """(H, W) uint8 or uint16, or (H, W, 3) uint8, as they are in the file, and whether `read_mask` reads it.

        Raises UserError for a JPEG.
        """
        try:
            return read_mask(path), True
        except UserError as error:
            try:
                codes = read_image(path)
            except UserError:
                raise error from None
        if codes.ndim == 3 and codes.dtype == np.uint16:
            codes = (codes >> 8).astype(np.uint8)
        chosen = self.values is not None or (self.table is not None and codes.ndim == 3)
        with path.open("rb") as file:
            if file.read(2) != b"\xff\xd8" or (self.nearest and chosen):
                return codes, False
        colours = codes.ndim == 3 and bool((codes != codes[..., :1]).any())
        counts = colour_counts(codes if colours else np.dstack([codes] * 3)[..., :3])
        what = f"{len(counts)} different {'colours' if colours else 'gray values'}"
        command = (self._nearest_colours if colours else self._nearest_values)(main_colours(counts))
        remedy = "export it as PNG from the program that drew it; where that is lost, take the nearest value or colour: "
        found = f"a JPEG ({what}: its compression smears class indices)"
        raise MaskFault("masks in JPEG files", path, found, remedy + command)

    def _nearest_colours(self, colours: Sequence[int]) -> str:
        """The command for a smeared mask in these packed colours: with the table of the folder's classes, if one is known."""
        names = VocFolder(self.root).read_class_names()
        known = (
            [self.colors]
            if self.colors
            else [name for name, table in BUILT_IN.items() if table.class_names == names]
        )
        if known:
            return self.command(colors=known[0], nearest=60)
        order = ", in the order of class_names.txt" if names else ""
        listed = ", ".join(" ".join(map(str, unpack(colour))) for colour in colours)
        return (
            f"{self.command(colors='colours.txt', nearest=60)}   after writing colours.txt, a line R G B NAME a class{order} "
            f"(most frequent in this mask: {listed})"
        )

    def _nearest_values(self, colours: Sequence[int]) -> str:
        values = sorted(
            255 if value > 247 else value * (value > 8) for value in (unpack(gray)[0] for gray in colours)
        )
        found = (
            ",".join(f"{value}:{index}" for index, value in enumerate(values))
            if len(values) > 1
            else "0:0,255:1"
        )
        return self.command(map=self.map or found, nearest=60)

    def _from_colours(self, path: Path, rgb: np.ndarray, steps: list[str]) -> np.ndarray:
        if self.table:
            mask, strange = self.table.to_indices(rgb, self.nearest)
            if strange:
                far = max(float(self.table.distances(colour).min()) for colour in strange)
                found = f"colours that are not in {self.table.name}: {in_words(strange, mask.size)}"
                nearest = f"take the nearest colour ({far:.0f} is the largest distance in this mask)"
                remedy = f"add them to the table, or {nearest}: {self.command(nearest=int(np.ceil(far)))}"
                raise MaskFault("masks with colours outside the table", path, found, remedy)
            tolerance = f", nearest {self.nearest}" * bool(self.nearest)
            steps.append(f"colours → class indices by {self.table.name}{tolerance}")
            return mask
        counts = colour_counts(rgb)
        gray = bool((rgb == rgb[..., :1]).all())
        if gray and self.active:
            steps.append("three equal channels → one")
            return np.ascontiguousarray(rgb[..., 0])
        black_white = {"map": "0:0,255:1"} if set(counts) <= {0, 0xFFFFFF} else {"fix": True}
        found, remedy = (
            f"a mask of RGB colours: {in_words(counts, rgb[..., 0].size)}",
            self.command(**black_white),
        )
        if gray:
            raise MaskFault("masks in RGB colours", path, found, remedy)
        raise MaskFault("masks in RGB colours", path, found, "", colours=counts)

    def _to_8_bits(self, path: Path, codes: np.ndarray, steps: list[str]) -> np.ndarray:
        values = np.unique(codes)
        scaled = values[-1] > 255 and not (values % 257).any()
        if values[-1] <= 255 or scaled:
            if self.active:
                steps.append("16 → 8 bits" + ", divided by 257" * bool(scaled))
                return (codes // 257 if scaled else codes).astype(np.uint8)
            remedy = self.command(fix=True)
        else:
            remedy = (
                f"say which value is which class (OLD:NEW; * for all others): {self.command(map='0:0,*:1')}   (numbers of "
                "objects, as from ImageJ or Cellpose, become one class in this way)"
            )
        found = f"16-bit values: {len(values)} different ones, up to {values[-1]}"
        raise MaskFault("masks of 16 bits", path, found, remedy)

    def _mapped(self, path: Path, codes: np.ndarray, steps: list[str]) -> np.ndarray:
        present = np.unique(codes)
        new = self.values[present]
        missing = present[new == NO_CLASS].tolist()
        if missing:
            left = ", ".join(map(str, missing[:12])) + ", …" * (len(missing) > 12)
            found = f"values that --map {self.map} gives no class: {left}"
            remedy = "name them in the map (* for all others)" + (
                ", or raise --nearest" if self.nearest else ""
            )
            raise MaskFault("masks with values that the map does not name", path, found, remedy)
        if (new != present).any():
            listed = [f"{a} → {b}" for a, b in zip(present, new, strict=True) if a != b or not self.nearest]
            steps.append(", ".join(listed[:12]) + ", …" * (len(listed) > 12))
        return self.values[codes].astype(np.uint8)

    def _turned(self, pair: Pair, mask: np.ndarray, size: tuple[int, int], steps: list[str]) -> np.ndarray:
        """The mask of a picture that its EXIF orientation turns, where only this explains the sizes. Raises UserError."""
        turn = None
        if mask.shape == size[::-1]:
            # A picture that is too large for Pillow is left as it is.
            with suppress(Image.DecompressionBombError), Image.open(pair.picture) as picture:
                turn = TURNS.get(picture.getexif().get(0x0112))
        if turn is not None and self.active:
            steps.append("turned as the EXIF orientation of its picture says")
            return np.array(Image.fromarray(mask).transpose(turn))
        found = f"a mask of {mask.shape[0]}×{mask.shape[1]} (height×width)"
        kind = "masks of another size than their picture"
        remedy = "export the mask in the picture's size; class indices must not be interpolated"
        if turn is not None:
            kind, remedy = "masks of pictures that EXIF turns", self.command(fix=True)
            found += ": the picture before its EXIF orientation turns it upright"
        expected = f"the size of its picture {pair.picture.name}: {size[0]}×{size[1]}"
        raise MaskFault(kind, pair.mask, found, remedy, expected=expected)


def parse_map(text: str, nearest: int = 0) -> np.ndarray:
    """`OLD:NEW,…` as a table (65536,) int32 from old value to new. Raises UserError.

    Values that are not named take the class of the nearest named one, at most `nearest` away and no tie, then that of `*`;
    else those up to 255 stay, or have no class (-1) if `nearest` is given, and those above have none.
    """
    named: dict[str, int] = {}
    for entry in text.split(","):
        match = re.fullmatch(r"\s*(\d+|\*)\s*:\s*(\d+)\s*", entry)
        if not match or int(match[1].replace("*", "0")) > 65535 or int(match[2]) > 255:
            expected = "OLD:NEW with numbers 0 … 255 (OLD up to 65535 in 16-bit masks, * for all others)"
            raise UserError(
                "parse-map", f"--map {text}", f"the entry {entry!r}", expected, "for example --map 0:0,255:1"
            )
        old = match[1] if match[1] == "*" else str(int(match[1]))
        if old in named:
            raise UserError(
                "parse-map",
                f"--map {text}",
                f"the value {old} twice",
                "each OLD once",
                "choose one NEW for it",
            )
        named[old] = int(match[2])
    others = named.pop("*", None)
    table = np.full(65536, NO_CLASS if others is None else others, np.int32)
    if others is None and not nearest:
        table[:256] = np.arange(256)
    old, new = np.array([*map(int, named)], int), np.array([*named.values()], int)
    if nearest and named:
        distance = np.abs(np.arange(65536)[:, None] - old)
        sure = (distance == distance.min(1, keepdims=True)).sum(1) == 1
        near = (distance.min(1) <= nearest) & sure
        table[near] = new[distance.argmin(1)[near]]
    table[old] = new
    return table


def digest(array: np.ndarray) -> str:
    """A name for the pixels of an array, its shape and dtype counted."""
    return blake2b(
        np.ascontiguousarray(array), key=f"{array.shape}{array.dtype}".encode(), digest_size=16
    ).hexdigest()


def originals_dir(folder: VocFolder) -> Path:
    return folder.root / f"{folder.masks_dir.name}.orig"


def read_mask_map(folder: VocFolder) -> dict[str, dict]:
    """What mask_map.json says of each mask, by name; nothing where there is no such file. Raises UserError."""
    return read_record(folder.root / "mask_map.json").get("masks", {})


def mask_in_place(folder: VocFolder, pair: Pair) -> Path:
    return pair.mask if pair.mask.parent == folder.masks_dir else folder.mask_path(pair.name)


def changed_by_hand(folder: VocFolder, pair: Pair, known: dict[str, dict]) -> bool:
    """Whether the mask in place is neither the kept original nor what mending wrote: new work that must not be lost."""
    kept, current = originals_dir(folder) / pair.mask.name, mask_in_place(folder, pair)
    if not kept.is_file() or not current.is_file() or kept.read_bytes() == current.read_bytes():
        return False
    return not _holds(current, known.get(pair.name, {}).get("written", []))


def _holds(path: Path, digests: Sequence[str]) -> bool:
    """Whether the mask in a file is one of those with these digests."""
    try:
        return path.is_file() and digest(read_mask(path)) in digests
    except UserError:
        return False


def write_mended(
    folder: VocFolder, mending: Mending, pairs: Sequence[Pair], plan: Sequence[MendedMask]
) -> None:
    """Write the masks that change, keep their originals in SegmentationClass.orig, and say so in mask_map.json.

    The file says it before it is done: whatever the instant of an interruption, running again completes the work.
    """
    kept_dir, known = originals_dir(folder), read_mask_map(folder)
    changes = [(p, d) for p, d in zip(pairs, plan, strict=True) if d.steps or p.mask.parent == kept_dir]
    if not changes:
        print("mended   nothing: no mask needs it")
        return
    for pair, mask in changes:
        kept = kept_dir / pair.mask.name
        if not kept.exists():
            with replacing(kept) as temporary:
                # Without its attributes: a file that is read-only could not be renamed.
                shutil.copyfile(pair.mask, temporary)
        written = [*known.get(pair.name, {}).get("written", []), mask.digest]
        known[pair.name] = {
            "original": pair.mask.name,
            "steps": mask.steps,
            "written": list(dict.fromkeys(written)),
        }
    content = {"command": mending.command(fix=True), "originals": kept_dir.name, "masks": known}
    write_lines(folder.root / "mask_map.json", [json.dumps(content, ensure_ascii=False, indent=1)])
    rewritten = 0
    for pair, mask in progress(changes, "mending masks", "mask"):
        target, kept = folder.mask_path(pair.name), kept_dir / pair.mask.name
        leftover = folder.masks_dir / pair.mask.name
        if leftover.exists() and leftover != target:
            remove(leftover)
        # Only what differs is written, so that running again leaves even the times of the files.
        if pair.mask == target or not _holds(target, [mask.digest]):
            write_mask(target, mending.read(Pair(pair.name, pair.picture, kept), mask.size)[0])
            rewritten += 1
    renamed = "other names and file types → NAME.png"
    steps = dict.fromkeys(renamed if s.startswith("file ") else s for _, mask in changes for s in mask.steps)
    listed = "; ".join([*steps][:6]) + "; …" * (len(steps) > 6)
    if not rewritten:
        print(
            f"mended   nothing anew: {counted(len(changes), 'mask')} in {folder.masks_dir} held this already"
        )
        return
    print(
        f"mended   {counted(rewritten, 'mask')} in {folder.masks_dir} ({listed or 'as before'}); originals in {kept_dir}"
    )
