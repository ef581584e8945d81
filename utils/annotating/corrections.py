"""What a person saved becomes a VOC folder with fixed splits, and is compared with what was proposed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from utils.annotating.pool import Look
from utils.annotating.state import Saved, State, Workplace
from utils.core.files import remove, write_lines
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_mask
from utils.importing.labelme_files import convert_labelme
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL
from utils.scoring.confusion import ConfusionMatrix
from utils.voc.folder import VocFolder

UNKNOWN = 254  # a proposed class that no longer exists: every pixel of it has to be corrected


def take_saved(place: Workplace, state: State, look: Look, command: str) -> list[str]:
    """Bring the VOC folder and the state to what is saved now. Returns the pictures that are new or changed.

    command: of the message where something is at fault. Raises UserError as `convert_labelme`, with the state
    as it was.
    """
    labels = place.labels if place.labels.is_file() else None
    result = convert_labelme(place.root, place.voc, labels, command=command, only=look.saved)
    known = {name: state.saved[name].digest for name in state.saved if name in look.saved}
    changed = [name for name, digest in look.saved.items() if known.get(name) != digest]
    state.saved = {name: state.saved[name] for name in known}
    state.next = [name for name in state.next if name not in look.saved]
    if changed:
        score_changed(place, state, {name: look.saved[name] for name in changed}, result.classes.names)
    write_splits(place.voc, state)
    state.write(place)
    return changed


def score_changed(place: Workplace, state: State, changed: Mapping[str, str], classes: Sequence[str]) -> None:
    """Enter pictures with the digests of what is saved: what was corrected, and what the proposals scored."""
    matrix = ConfusionMatrix(len(classes))
    for name, digest in changed.items():
        truth = read_mask(place.voc.mask_path(name.strip()))
        proposed = read_proposal(place, state, name, classes)
        split = state.saved[name].split if name in state.saved else state.choose_split()
        state.saved[name] = count_corrections(truth, proposed, digest, split)
        if proposed is not None:
            known = np.where(proposed == UNKNOWN, IGNORE_INDEX, truth)
            matrix.update(known, proposed.clip(0, len(classes) - 1))
    state.scored = float(matrix.scores().miou) if matrix.scores().truth.sum() else None


def write_splits(folder: VocFolder, state: State) -> None:
    """As long as no picture is kept for validation, train.py looks at those that it trains on."""
    train, val = (list(map(str.strip, state.names(split))) for split in ("train", "val"))
    folder.write_split("train", train)
    folder.write_split("val", val or train)


def count_corrections(truth: np.ndarray, proposed: np.ndarray | None, digest: str, split: str) -> Saved:
    """truth, proposed: (H, W) uint8 class indices. None: the annotation began from an empty picture."""
    known = truth != IGNORE_INDEX
    before = np.zeros_like(truth) if proposed is None else proposed
    corrected, drawn = known & (before != truth), known & (truth != 0)
    counts = [int(np.count_nonzero(part)) for part in (known, corrected, drawn)]
    return Saved(digest, split, proposed is not None, *counts)


def read_proposal(place: Workplace, state: State, name: str, classes: Sequence[str]) -> np.ndarray | None:
    """The mask that was proposed (H, W) uint8, in the indices of `classes`; None without a proposal."""
    path, known = place.proposal(name), state.proposals.get(name)
    if known is None or not path.is_file():
        return None
    table = np.full(256, UNKNOWN, np.uint8)
    table[0] = 0
    for index, label in enumerate(known.classes[1:], 1):
        if label in classes[1:]:
            table[index] = classes.index(label)
    return table[read_mask(path)]


def write_labels(place: Workplace, classes: Sequence[str]) -> None:
    """The classes as labelme offers them, and in the order of the masks."""
    write_lines(place.labels, [IGNORE_LABEL, BACKGROUND_LABEL, *classes])


def withdraw(place: Workplace, state: State, names: Sequence[str]) -> None:
    """Take away proposals that nobody has touched."""
    for name in names:
        remove(place.labelme(name))
        forget(place, state, name)


def forget(place: Workplace, state: State, name: str) -> None:
    state.proposals.pop(name, None)
    path: Path = place.proposal(name)
    if path.is_file():
        remove(path)
