"""The recipe of train.py and voc2unet.py: crop, batch, fit and class weights, chosen from the data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from utils.core.console import UserError, counted
from utils.training.augmentation import STRENGTHS, split_augmentation
from utils.voc.orientation import Asymmetry
from utils.voc.structure import Structure

STRIDE = 32  # input sizes are multiples of it: what the deepest of the networks needs
LEARNING_RATES = {"muon": 2e-3, "adamw": 2e-3, "adam": 2e-3, "sgd": 5e-2}
WEIGHT_DECAYS = {"muon": 1e-2, "adamw": 1e-2, "adam": 0.0, "sgd": 1e-4}
LARGE = 512  # larger pictures are not trained on whole
EPOCHS = 50  # of a run, where nothing else is known
LEAST_STEPS = 1000  # of a run that is not told how long it is: few pictures make short epochs
STEPS = 2500  # of a run, as far as the sizes of steps allow: networks learn by steps
SMALL_STEP, LARGE_STEP = 2 * 256 * 256, 4 * 512 * 512  # pixels per step: at least and at most
THIN, WIDE = 6, 30  # pixels: classes below are lost at half the size, those above are seen at a quarter
VALIDATION_SHARE = 0.05  # of the time of a run, at most, but for its end
VALIDATION_COST = 1 / 3  # of a pixel that is validated, relative to one that is trained on
# Shares of a class's variance, see Asymmetry: from these on, mirrored or turned pictures are no pictures of
# their kind. Stacks of 20 slices have 0.004 by chance, photographs with an up 0.07. Traffic keeps to one
# side, and its mirror image still teaches; organs do not.
ASYMMETRIC = {"left_right": 0.05, "top_bottom": 0.01, "turn": 0.01}


@dataclass(frozen=True)
class Proposal:
    """Flags of train.py, and why. needed: those among them that train.py would not choose itself."""

    flags: str
    reason: str
    needed: str = ""


def propose(
    sizes: Sequence[tuple[int, int]],
    channels: int,
    shares: Mapping[str, float],
    objects: Sequence[tuple[float, float]],
    asymmetry: Asymmetry,
) -> list[Proposal]:
    """Settings for pictures of these sizes (height, width) and channels, 1 if all are gray.

    shares: of the pixels, by class name, of the classes that have any. objects: for each class with objects,
    pixels of the median object and of one that 95 % do not exceed. asymmetry: of the training masks.
    """
    fit = propose_fit(sizes, objects)
    (height, width), batch = plan_crops(sizes, letterboxed=bool(fit.needed))
    crops = len(sizes) if fit.needed else count_crops(sizes, height * width)
    steps = f"{counted(-(-crops // batch), 'step')} of {batch * height * width / 1e6:.2g} M pixels"
    batches = Proposal(f"--batch-size {batch}", f"about {counted(crops, 'crop')} per epoch: {steps}")
    colors = {1: "all pictures are gray", 3: "there are pictures in color"}
    reason = colors.get(channels, f"pictures of {channels} channels")
    inputs = Proposal(f"--in-channels {channels}", reason)
    return [fit, batches, inputs, propose_views(asymmetry), propose_class_weights(shares)]


def propose_fit(sizes: Sequence[tuple[int, int]], objects: Sequence[tuple[float, float]]) -> Proposal:
    """Crops or whole pictures, and their size: from the sizes of the pictures and of the objects in them."""
    height, width = (max(sides) for sides in zip(*sizes, strict=True))
    crop, _ = plan_crops(sizes)
    flags = f"--fit crop --input-shape {crop[0]} {crop[1]}"
    if height <= crop[0] and width <= crop[1]:
        return Proposal(flags, "whole pictures fit in a crop: nothing is scaled")
    if max(height, width) <= LARGE:
        return Proposal(flags, f"smaller than the pictures: {len(sizes)} of them teach more in small steps")
    # Diameters of discs of the same area.
    large = max((large for _, large in objects), default=0) ** 0.5 * 1.13
    small = min((median for median, _ in objects), default=0) ** 0.5 * 1.13
    scale = LARGE / max(height, width)
    scaled = f"scaled to {LARGE} the small ones have {small * scale:.0f} of {small:.0f} pixels across"
    if large > LARGE and small * scale > 8:
        reason = f"objects of up to {large:.0f} pixels across do not fit in a crop; {scaled}"
        return Proposal(f"--fit letterbox --input-shape {LARGE} {LARGE}", reason, "--fit letterbox")
    return Proposal(flags, f"pictures of up to {height}×{width}: crops keep objects sharp; {scaled}")


def propose_views(asymmetry: Asymmetry) -> Proposal:
    """The mirroring and turning that the data allow: what training chooses, too."""
    flags = f"--augmentation {fit_augmentation('default', asymmetry)}"
    return Proposal(flags, f"the classes have {describe_asymmetry(asymmetry)}")


def propose_class_weights(shares: Mapping[str, float]) -> Proposal:
    rarest = min(shares, key=shares.get)
    equal, found = "--class-weights none", f"class {rarest} has {shares[rarest]:.2%} of the pixels"
    if shares[rarest] < 0.2 / len(shares):
        # Weighted by their rarity, photographs of 21 classes lost 6 points, see docs/log-of-trials.md.
        return Proposal(equal, f"{found}: if it is never found, try balanced")
    return Proposal(equal, f"{found}: the Dice loss makes up for that")


def find_symmetry(asymmetry: Asymmetry) -> list[str]:
    """Of left_right, top_bottom and turn, what makes pictures of the same kind of the data's pictures."""
    found = [name for name, least in ASYMMETRIC.items() if getattr(asymmetry, name) < least]
    return found if len(found) == len(ASYMMETRIC) else [name for name in found if name != "turn"]


def fit_augmentation(text: str, asymmetry: Asymmetry) -> str:
    """The augmentation without the mirroring and turning that the data forbid. Parts that it names hold."""
    strength, named = split_augmentation(text)
    fixed = ASYMMETRIC.keys() - set(find_symmetry(asymmetry)) - dict(named).keys()
    return ",".join([text, *(f"{name}=0" for name in sorted(fixed) if getattr(STRENGTHS[strength], name))])


def describe_asymmetry(asymmetry: Asymmetry) -> str:
    """What was found, in words, with the share of a class's variance that shows it."""
    sides = {"top_bottom": "an up", "left_right": "a left", "turn": "a direction"}
    shares = {side: getattr(asymmetry, name) for name, side in sides.items()}
    found = [side for name, side in sides.items() if shares[side] >= ASYMMETRIC[name]]
    return " and ".join(f"{side} ({shares[side]:.1%})" for side in found) or "no up and no left"


def plan_crops(
    sizes: Sequence[tuple[int, int]],
    crop: tuple[int, int] | None = None,
    batch_size: int | None = None,
    letterboxed: bool = False,
    epochs: int | None = None,
    pixels: float | None = None,
    width: float = 0.0,
) -> tuple[tuple[int, int], int]:
    """Crop (height, width) and crops per step, to train on pictures of these sizes. Given ones stay.

    pixels: that the run will see; None: all of them in each of the `epochs`. Networks learn by steps: a
    short run makes many small ones, a long run steps as large as pay off. letterboxed: whole pictures,
    scaled to the crop. width: typical one of the classes; of wide ones small steps show too few.
    """
    crop = crop or ((LARGE, LARGE) if letterboxed else None)
    pixels = pixels or (epochs or EPOCHS) * (
        crop[0] * crop[1] * len(sizes) if letterboxed else count_pixels(sizes)
    )
    step = min(max(pixels / STEPS, SMALL_STEP * (1 + (width >= WIDE))), LARGE_STEP)
    side = LARGE // 2 if step <= LARGE_STEP / 2 else LARGE
    height, width = crop or (min(-(-length // STRIDE) * STRIDE, side) for length in common_sides(sizes))
    crops = len(sizes) if letterboxed else count_crops(sizes, height * width)
    return (height, width), batch_size or plan_batch(step, height * width, crops)


def choose_epochs(crops: int, batch_size: int) -> int:
    """Passes over the training pictures of a run. crops: of an epoch."""
    return max(EPOCHS, -(-LEAST_STEPS // -(-crops // batch_size)))


def choose_optimizer(backbone: str, fine_tunes: bool, known: str | None = None) -> str:
    """Muon learns faster from scratch, and what it made itself, see docs/log-of-trials.md.

    known: the optimizer that made the weights to fine-tune, if they are ours.
    """
    return "muon" if backbone == "plain" and (known == "muon" or not fine_tunes) else "adamw"


def choose_coarse(structures: Mapping[int, Structure], width: float, strokes: bool = False) -> float:
    """Share of a run against the clock in which crops are small, see `plan_sizes`. width: the typical one.

    strokes: whether the structures are those of strokes, which grow to twice the width of a thin class.
    """
    thin = np.mean([one.width < (2 * THIN if strokes else THIN) for one in structures.values()])
    if thin > 0.25 or any(one.separates for one in structures.values()):
        return 0.0
    return 0.6 if width >= WIDE else 0.5


def choose_depth(width: float) -> int:
    """Of the plain network, by the typical width of classes: a wide one is told by what lies around it."""
    return 5 if width >= WIDE else 4


def plan_sizes(coarse: float, width: float, crop: tuple[int, int], stride: int) -> list[tuple[float, int]]:
    """(share of the run, divisor of the crops' size) of `Schedule`. width: typical one of the classes.

    In a quarter of the size or half of it a network sees more of a picture and takes many more steps.
    """
    quarter = width >= WIDE and min(crop) >= 4 * stride
    sizes = [(0.4 * coarse, 4)] if coarse and quarter else []
    return [*sizes, (coarse, 2)] if coarse and min(crop) >= 2 * stride else []


def check_letterbox(size: tuple[int, int], stride: int) -> None:
    """Raises UserError if pictures scaled to `size` are too small for a network of this stride."""
    if min(size) < 2 * stride:
        expected = f"{2 * stride}×{2 * stride} or more for this network"
        remedy = "enlarge it, or choose a smaller --depth"
        raise UserError("input-too-small", "--input-shape", f"{size[0]}×{size[1]}", expected, remedy)


def common_sides(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Height and width that pictures with nine tenths of all pixels reach: upright among wide ones, both."""
    weights = [height * width for height, width in sizes]
    sides = (
        np.quantile(lengths, 0.1, weights=weights, method="inverted_cdf")
        for lengths in zip(*sizes, strict=True)
    )
    height, width = map(int, sides)
    return height, width


def count_pixels(sizes: Sequence[tuple[int, int]]) -> int:
    return sum(height * width for height, width in sizes)


def validation_interval(train_pixels: int, val_pixels: int) -> int:
    """Epochs from one validation to the next."""
    share = VALIDATION_COST * val_pixels / train_pixels
    return max(round(share / VALIDATION_SHARE), 1)


def count_crops(sizes: Sequence[tuple[int, int]], crop: int) -> int:
    """Crops of `crop` pixels per epoch: they show about every pixel once, and every picture."""
    return max(round(count_pixels(sizes) / crop), len(sizes))


def plan_batch(step: float, crop: int, crops: int) -> int:
    """Crops of `crop` pixels in a step of about `step`: fewer if `crops`, an epoch, make under 8 steps."""
    return max(min(round(step / crop), crops // 8, 16), min(2, crops))
