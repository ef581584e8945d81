"""The recipe: crop, batch, fit and class weights, chosen from the data.

Train.py and voc2unet.py both ask here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from utils.core.console import counted

STRIDE = 32  # input sizes are multiples of it: what the deepest of the networks needs
LARGE = 512  # larger pictures are not trained on whole
STEPS = 40  # that an epoch of native crops is cut into, as far as the sizes of steps allow
SMALL_STEP, LARGE_STEP = 2 * 256 * 256, 4 * 512 * 512  # pixels per step: at least and at most


@dataclass(frozen=True)
class Proposal:
    """Flags of train.py, and why. needed: those among them that train.py would not choose itself."""

    flags: str
    reason: str
    needed: str = ""


def propose(
    sizes: Sequence[tuple[int, int]],
    gray: bool,
    shares: Mapping[str, float],
    objects: Sequence[tuple[float, float]],
) -> list[Proposal]:
    """Settings for pictures of these sizes (height, width).

    gray: whether all are. shares: class name → share of the pixels, of the classes that have any. objects:
    for each class with objects, pixels of the median object and of one that 95 % do not exceed.
    """
    fit = propose_fit(sizes, objects)
    letterboxed = bool(fit.needed)
    (height, width), batch = plan_crops(sizes, letterboxed=letterboxed)
    crops = max(round(sum(h * w for h, w in sizes) / (height * width)), len(sizes))
    crops = len(sizes) if letterboxed else crops
    steps = f"{counted(-(-crops // batch), 'step')} of {batch * height * width / 1e6:.2g} M pixels"
    colors = "all pictures are gray" if gray else "there are pictures in color"
    return [
        fit,
        Proposal(f"--batch-size {batch}", f"about {counted(crops, 'crop')} per epoch: {steps}"),
        Proposal(f"--in-channels {1 if gray else 3}", colors),
        propose_class_weights(shares),
    ]


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


def propose_class_weights(shares: Mapping[str, float]) -> Proposal:
    rarest = min(shares, key=shares.get)
    found = f"class {rarest} has {shares[rarest]:.2%} of the pixels"
    if shares[rarest] < 0.2 / len(shares):
        flags = "--class-weights balanced"
        return Proposal(flags, f"{found}: too few for equal weights", flags)
    return Proposal("--class-weights none", f"{found}: the Dice loss makes up for that")


def plan_crops(
    sizes: Sequence[tuple[int, int]], crop: tuple[int, int] | None = None, letterboxed: bool = False
) -> tuple[tuple[int, int], int]:
    """Crop (height, width; the given one, if any) and crops per step, to train on pictures of these sizes.

    Networks learn by steps: few pictures are cut into many small ones, many pictures give steps as large as
    pay off. letterboxed: whole pictures, scaled to the crop.
    """
    if letterboxed:
        height, width = crop or (LARGE, LARGE)
        return (height, width), plan_batch(LARGE_STEP, height * width, len(sizes))
    pixels = sum(height * width for height, width in sizes)
    step = min(max(pixels / STEPS, SMALL_STEP), LARGE_STEP)
    side = LARGE // 2 if step <= LARGE_STEP / 2 else LARGE
    largest = [max(sides) for sides in zip(*sizes, strict=True)]
    height, width = crop or (min(-(-length // STRIDE) * STRIDE, side) for length in largest)
    crops = max(round(pixels / (height * width)), len(sizes))
    return (height, width), plan_batch(step, height * width, crops)


def plan_batch(step: float, crop: int, crops: int) -> int:
    """Crops of `crop` pixels in a step of about `step` pixels, fewer if an epoch would have under 8 steps.

    2 or 1 at least. crops: per epoch.
    """
    return max(min(round(step / crop), crops // 8, 16), min(2, crops))
