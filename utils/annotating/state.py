"""What a circle of corrections knows: proposals, saved pictures, rounds. One JSON file, written whole."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from utils.core.console import UserError
from utils.core.files import read_record, write_lines
from utils.voc.folder import VocFolder

VALIDATION_EVERY = 5  # each fifth picture that is saved validates, and is never trained on
VALIDATION_MOST = 20  # pictures


@dataclass(frozen=True)
class Workplace:
    """A folder of pictures with labelme files beside them, and our own folder `annotate` in it."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "annotate"

    @property
    def state(self) -> Path:
        return self.home / "state.json"

    @property
    def weights(self) -> Path:
        return self.home / "weights.pth"

    @property
    def labels(self) -> Path:
        return self.home / "labels.txt"

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    @property
    def curve(self) -> Path:
        return self.home / "curve.png"

    @property
    def voc(self) -> VocFolder:
        """As it is now: a VocFolder remembers which pictures it found."""
        return VocFolder(self.home / "voc")

    def labelme(self, name: str) -> Path:
        """The labelme file of a picture, by its name without ending."""
        return self.root / f"{name}.json"

    def proposal(self, name: str) -> Path:
        """The mask that was proposed, with the class indices of the proposal."""
        return self.home / "proposals" / f"{name}.png"


@dataclass
class Proposal:
    """digest: of the labelme file that was written. classes: of the mask that is kept, background first."""

    digest: str
    classes: list[str]
    round: int


@dataclass
class Saved:
    """A picture as a person saved it. digest: of the labelme file.

    pixels: that are not ignored. corrected: those whose class is another than in the proposal, or than the
    background where there was none. drawn: those that are not background, which an annotation from nothing
    would have had to draw.
    """

    digest: str
    split: Literal["train", "val"]
    proposed: bool
    pixels: int
    corrected: int
    drawn: int


@dataclass
class Round:
    """One training and what it was made of.

    validation: mIoU of the pictures that are kept for it, None as long as there are none. proposals: mIoU of
    the proposals against what was saved since the round before, None if there were none. corrected, drawn,
    pixels: sums over all saved pictures. seconds: until the next proposals lay there.
    """

    number: int
    pictures: int
    validating: int
    validation: float | None
    proposals: float | None
    corrected: int
    drawn: int
    pixels: int
    seconds: float


@dataclass
class State:
    """proposals, saved: by the name of the picture without ending. trained: digests of the last round.

    next: the pictures that are to be corrected now, proposed or empty. scored: mIoU of proposals against
    corrections since the last round.
    """

    proposals: dict[str, Proposal] = field(default_factory=dict)
    saved: dict[str, Saved] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    next: list[str] = field(default_factory=list)
    trained: dict[str, str] = field(default_factory=dict)
    scored: float | None = None

    def names(self, split: str) -> list[str]:
        return [name for name, one in self.saved.items() if one.split == split]

    def is_trained(self) -> bool:
        """Whether the last round knew every picture as it is saved now."""
        return self.trained == {name: one.digest for name, one in self.saved.items()}

    def choose_split(self) -> Literal["train", "val"]:
        """Of the next picture that is saved for the first time."""
        place, validating = len(self.saved) + 1, len(self.names("val"))
        return "val" if place % VALIDATION_EVERY == 0 and validating < VALIDATION_MOST else "train"

    def write(self, place: Workplace) -> None:
        write_lines(place.state, [json.dumps(asdict(self), ensure_ascii=False, indent=1)])


def read_state(place: Workplace) -> State:
    """Empty without the file. Raises UserError for a damaged one."""
    try:
        return msgspec.convert(read_record(place.state), State)
    except msgspec.ValidationError as error:
        found, expected = str(error), "the state that annotate.py wrote"
        remedy = "move it away: what you saved stays, and the curve begins anew"
        raise UserError("record-damaged", place.state, found, expected, remedy) from None
