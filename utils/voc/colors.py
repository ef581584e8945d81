"""Color-coded ground truth: tables of colors and classes, and RGB masks turned into class indices by them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from utils.core.console import UserError
from utils.core.files import read_lines
from utils.images.palette import IGNORE_INDEX, voc_palette

# Names in a table whose pixels count in no loss and no score.
IGNORED_NAMES = ("void", "ignore", "ignored", "__ignore__", "unlabelled", "unlabeled")
BLACK_WHITE = (
    "black-white"  # the table of drawings in black and white, whose classes have no names of their own
)
WHITE = 0xFFFFFF  # packed
UNKNOWN = 254  # marks a color that is not in the table, so a table has at most 254 classes

VOC_NAMES = """
background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor
"""
# MSRC-v2: the 21 classes of Shotton et al. 2009 (TextonBoost) in the colors of the data set's own ReadMe;
# compared with data/Msrc/createMsrcClassColorTable.m of github.com/aosokin/submodular-relaxation. Horse and
# mountain are too rare to learn, and the ReadMe advises to treat them as void.
MSRC2 = """
128 0 0 building; 0 128 0 grass; 128 128 0 tree; 0 0 128 cow; 0 128 128 sheep; 128 128 128 sky
192 0 0 aeroplane; 64 128 0 water; 192 128 0 face; 64 0 128 car; 192 0 128 bicycle; 64 128 128 flower
192 128 128 sign; 0 64 0 bird
128 64 0 book; 0 192 0 chair; 128 64 128 road; 0 192 128 cat; 128 192 128 dog; 64 64 0 body; 192 64 0 boat
0 0 0 void; 128 0 128 void; 64 0 0 void
"""
# CamVid: the 32 colors of its label_colors.txt (Brostow et al. 2009), grouped into the 11 classes of the
# SegNet tutorial in its order, as camvidPixelLabelIDs of MATLAB's semantic segmentation example does;
# compared with that and with segmentation/README.md of
# github.com/zhouyuan888888/Public-datasets-preprocessing. The colors 255 69 0 and 60 40 222 are the
# tutorial's own (github.com/iArunava/scratchai, DataLoader/color_code.py).
CAMVID = """
128 128 128 sky
128 0 0 building; 0 128 64 building; 64 192 0 building; 64 0 64 building; 192 0 128 building
192 192 128 pole; 0 0 64 pole
128 64 128 road; 128 0 192 road; 192 0 64 road; 255 69 0 road
0 0 192 pavement; 64 192 128 pavement; 128 128 192 pavement; 60 40 222 pavement
128 128 0 tree; 192 192 0 tree
192 128 128 signsymbol; 128 128 64 signsymbol; 0 64 64 signsymbol
64 64 128 fence
64 0 128 car; 64 128 192 car; 192 128 192 car; 192 64 128 car; 128 64 64 car
64 64 0 pedestrian; 192 128 64 pedestrian; 64 0 192 pedestrian; 64 128 64 pedestrian
0 128 192 bicyclist; 192 0 192 bicyclist
0 0 0 void
"""


@dataclass(frozen=True)
class ColorTable:
    """Which color is which class. colors: (C, 3) uint8 RGB; indices: (C,) uint8 classes, 255 ignored."""

    name: str
    class_names: list[str]
    colors: np.ndarray = field(repr=False)
    indices: np.ndarray = field(repr=False)

    @cached_property
    def packed(self) -> np.ndarray:
        return pack(self.colors)

    @cached_property
    def _lookup(self) -> np.ndarray:
        """Class of every 24-bit color, (2²⁴,) uint8: one gather per mask, whatever the number of classes."""
        lookup = np.full(1 << 24, UNKNOWN, np.uint8)
        lookup[self.packed] = self.indices
        return lookup

    def may_name(self, names: list[str] | None) -> bool:
        """Whether the table has these classes: those of class_names.txt, if any."""
        same_number = self.name == BLACK_WHITE and len(names or ()) == len(self.class_names)
        return names in (None, self.class_names) or same_number

    def holds_grays(self, values: np.ndarray) -> bool:
        """Whether a mask (H, W) holds gray levels of the table, not class indices yet."""
        return self.name == BLACK_WHITE and bool((values >= len(self.class_names)).any())

    def to_indices(self, rgb: np.ndarray, nearest: float = 0) -> tuple[np.ndarray, dict[int, int]]:
        """RGB mask (H, W, 3) uint8 → class indices (H, W) uint8, and packed colors without a class → pixels.

        nearest: a color that is not in the table counts as the nearest one, in RGB, at most this far; of some
        that are equally near, as the first one in the table. Pixels without a class are 254.
        """
        packed = pack(rgb)
        mask = self._lookup[packed]
        unknown = mask == UNKNOWN
        if not unknown.any():
            return mask, {}
        colors, where, counts = np.unique(packed[unknown], return_inverse=True, return_counts=True)
        classes = np.array([self._nearest_class(color, nearest) for color in colors], np.uint8)
        mask[unknown] = classes[where]
        left = classes == UNKNOWN
        return mask, dict(zip(colors[left].tolist(), counts[left].tolist(), strict=True))

    def _nearest_class(self, packed: int, nearest: float) -> int:
        distance = self.distances(packed)
        return int(self.indices[distance.argmin()]) if distance.min() <= nearest else UNKNOWN

    def distances(self, packed: int) -> np.ndarray:
        """Euclidean distances in RGB of a packed color to those of the table, (C,) float."""
        return np.sqrt(((self.colors.astype(int) - unpack(packed)) ** 2).sum(1))


def pack(rgb: np.ndarray) -> np.ndarray:
    """(…, 3) uint8 → (…) uint32, R · 65536 + G · 256 + B."""
    wide = rgb.astype(np.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def unpack(packed: int) -> tuple[int, int, int]:
    return int(packed) >> 16, int(packed) >> 8 & 255, int(packed) & 255


def color_text(packed: int) -> str:
    """`128 0 0`."""
    return " ".join(map(str, unpack(packed)))


def count_colors(rgb: np.ndarray) -> dict[int, int]:
    """Packed colors of (H, W, 3) uint8 with their numbers of pixels, the most frequent first."""
    colors, counts = np.unique(pack(rgb), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return dict(zip(colors[order].tolist(), counts[order].tolist(), strict=True))


def main_colors(counts: dict[int, int], at_most: int = 8) -> list[int]:
    """Packed colors of 0.5 % of the pixels or more, most frequent first, each 64 or more from the others."""
    kept: list[int] = []
    for color, count in counts.items():
        near = any(np.linalg.norm(np.subtract(unpack(color), unpack(other))) < 64 for other in kept)
        if count >= 0.005 * sum(counts.values()) and not near and len(kept) < at_most:
            kept.append(color)
    return kept


def farthest(found: Iterable[int], colors: Sequence[int]) -> int:
    """Distance in RGB, rounded up, within which each of the packed colors found has one of `colors`."""
    values = np.array([unpack(color) for color in found])
    apart = [np.linalg.norm(values - np.array(unpack(color)), axis=1) for color in colors]
    return int(np.ceil(np.min(apart, axis=0).max()))


def find_mixtures(found: Iterable[int], colors: Sequence[int], distance: float = 3) -> list[int]:
    """Those of the packed colors found that are between two of `colors`, as at smooth edges."""
    listed = [*found]
    values = np.array([unpack(color) for color in listed], np.float64).reshape(-1, 3)
    ends = [np.array(unpack(color), np.float64) for color in colors]
    apart = np.full(len(values), np.inf)
    for one, other in combinations(ends, 2):
        line = other - one
        share = np.clip((values - one) @ line / (line @ line), 0, 1)
        apart = np.minimum(apart, np.linalg.norm(values - one - share[:, None] * line, axis=1))
    return [color for color, far in zip(listed, apart, strict=True) if far <= distance]


def keeps_to_colors(counts: dict[int, int], colors: list[int], distance: float = 14) -> bool:
    """Whether most pixels are near one of the packed colors, as in a JPEG of a drawing.

    Measured: 80 to 100 % of the pixels of drawings, at qualities 30 to 95, 5 to 49 % of photographs.
    """
    if not colors:
        return False
    found = np.array([unpack(color) for color in counts])
    apart = [np.linalg.norm(found - np.array(unpack(color)), axis=1) for color in colors]
    near = np.min(apart, axis=0) <= distance
    return float(np.array([*counts.values()])[near].sum()) >= 0.65 * sum(counts.values())


def color_shares(counts: dict[int, int], pixels: int, at_most: int = 8) -> str:
    """`0 0 0 (91.20 %), 128 0 0 (8.80 %), … 14 in all`."""
    parts = [f"{color_text(color)} ({count / pixels:.2%})" for color, count in counts.items()]
    return ", ".join(parts[:at_most]) + f", … {len(counts)} in all" * (len(counts) > at_most)


def load_table(choice: str) -> ColorTable:
    """A built-in table (`voc`, `black-white`, …) or a text file of lines `R G B name`. Raises UserError.

    Classes are numbered in the order in which their names first appear; several colors may share a name;
    `void`, `ignore` and `unlabelled` become 255. Empty lines and lines that begin with # are skipped.
    """
    if choice in BUILT_IN:
        return BUILT_IN[choice]
    remedy = f"one line per color, such as 128 0 0 cell; or a built-in table: {', '.join(BUILT_IN)}"
    return _parse(choice, read_lines(Path(choice), remedy))


def _parse(source: str, lines: Iterable[str]) -> ColorTable:
    names, classes = [], {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        *numbers, name = (line.split(maxsplit=3) + [""] * 4)[:4]
        if not name or not all(part.isdecimal() and int(part) < 256 for part in numbers):
            raise _bad_table(source, f"{line.strip()!r} in line {number}", "R G B name, with numbers 0 … 255")
        name, color = name.strip(), tuple(map(int, numbers))
        if name.lower() in IGNORED_NAMES:
            index = IGNORE_INDEX
        else:
            names += [] if name in names else [name]
            index = names.index(name)
        if classes.setdefault(color, index) != index:
            found = f"the color {' '.join(numbers)} for two classes (line {number})"
            raise _bad_table(source, found, "one class per color")
    if not 2 <= len(names) <= UNKNOWN:
        raise _bad_table(source, f"{len(names)} classes", f"2 … {UNKNOWN} classes, the background counted")
    return ColorTable(source, names, *(np.array([*one], np.uint8) for one in (classes, classes.values())))


def _bad_table(source: str, found: str, expected: str) -> UserError:
    return UserError("bad-table", f"--colors {source}", found, expected, "correct the table")


def _voc() -> ColorTable:
    """PASCAL VOC's 21 colors, and the cream border of its objects, which is ignored."""
    colors = np.concatenate([voc_palette(21), [[224, 224, 192]]]).astype(np.uint8)
    return ColorTable("voc", VOC_NAMES.split(), colors, np.array([*range(21), IGNORE_INDEX], np.uint8))


BUILT_IN = {
    BLACK_WHITE: _parse(BLACK_WHITE, ["0 0 0 background", "255 255 255 object"]),
    "voc": _voc(),
    "msrc2": _parse("msrc2", MSRC2.replace(";", "\n").splitlines()),
    "camvid": _parse("camvid", CAMVID.replace(";", "\n").splitlines()),
}
