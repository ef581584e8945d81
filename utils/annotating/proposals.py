"""Looking through the pool with the network, and its masks as labelme files that are corrected."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from utils.annotating.choice import Candidate, describe_look
from utils.annotating.corrections import UNKNOWN
from utils.annotating.state import Proposal, State, Workplace
from utils.core.console import UserError, progress, warn
from utils.core.files import put_in_place
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_mask
from utils.importing.labelme_record import digest_of
from utils.inference import maps
from utils.inference.postprocess import Postprocessing, postprocess
from utils.inference.tiling import Band
from utils.labelme.annotation import BACKGROUND_LABEL
from utils.labelme.painting import rasterise
from utils.labelme.writing import mask_to_shapes, write_shapes

Predict = Callable[..., Iterable[Band]]  # (picture, *functions of the logits), such as `Unet.bands`
MOST = 400  # pictures that one round looks at
SPECKS = Postprocessing(min_area=16)  # each would be a polygon that somebody has to delete
LEAST = 2  # times as many candidates as are chosen, however short the time


def look_through(
    pictures: dict[str, Path],
    count: int,
    seconds: float,
    rng: np.random.Generator,
    predict: Predict | None = None,
    num_classes: int = 0,
) -> list[Candidate]:
    """Candidates among the pictures, in random order, as many as the time allows, but LEAST times `count`.

    predict: with the network; None: there is none yet. Pictures that cannot be read are left out, with a
    warning.
    """
    end, found = time.perf_counter() + seconds, []
    names = [list(pictures)[index] for index in rng.permutation(len(pictures))[:MOST]]
    for name in progress(names, "looking through", "picture"):
        if len(found) >= LEAST * count and time.perf_counter() > end:
            break
        try:
            image = read_image(pictures[name])
            measured = measure(image, predict, num_classes) if predict else ()
        except UserError as error:
            warn(f"left out: {error.subject}: {error.found}")
            continue
        found.append(Candidate(name, describe_look(image), *measured))
    return found


def measure(image: np.ndarray, predict: Predict, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Uncertainty and share of each class, (K,) float64 each; see `Candidate`."""
    unsure, counts = np.zeros(num_classes), np.zeros(num_classes)
    for classes, entropy in predict(image, maps.classes, maps.entropy):
        counts += np.bincount(classes.ravel(), minlength=num_classes)
        unsure += np.bincount(classes.ravel(), entropy.ravel() / 255, num_classes)
    return unsure / counts.sum(), counts / counts.sum()


def describe_saved(place: Workplace, state: State, num_classes: int) -> tuple[list[Candidate], np.ndarray]:
    """The saved pictures as what candidates are compared with, and the pixels (K,) of each class in them."""
    known, total = [], np.zeros(num_classes)
    for name in state.saved:
        image = read_image(place.voc.image_path(name.strip()))
        mask = read_mask(place.voc.mask_path(name.strip()))
        counts = np.bincount(mask[mask != IGNORE_INDEX], minlength=num_classes)[:num_classes]
        known.append(Candidate(name, describe_look(image), None, counts / max(counts.sum(), 1)))
        total += counts
    return known, total


def propose(
    place: Workplace, state: State, picture: Path, mask: np.ndarray, classes: Sequence[str], number: int
) -> bool:
    """Write a predicted mask (H, W) uint8, without its specks, as the labelme file of a picture.

    Returns whether it did: a file that is there was saved while the network was looking, and stays.
    """
    name = picture.stem
    target = place.labelme(name)
    mask = postprocess(mask, range(1, len(classes)), SPECKS)
    shapes = mask_to_shapes(mask, classes)
    index = {BACKGROUND_LABEL: 0, **{label: value for value, label in enumerate(classes) if value}}
    painted = rasterise(shapes, mask.shape, index)
    draft = place.home / "draft.json"
    write_shapes(draft, picture.name, shapes, mask.shape)
    # Before the file itself: a proposal that was not noted would count as somebody's work.
    write_mask(place.proposal(name), painted.clip(0, UNKNOWN))
    state.proposals[name] = Proposal(digest_of(draft), list(classes), number)
    state.write(place)
    if target.exists():
        del state.proposals[name]
        state.write(place)
        draft.unlink()
        return False
    put_in_place(draft, target)
    return True
