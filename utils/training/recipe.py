"""The recipe of train.py and voc2unet.py: crop, batch, fit and class weights, chosen from the data."""

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
    channels: int,
    shares: Mapping[str, float],
    objects: Sequence[tuple[float, float]],
) -> list[Proposal]:
    """Settings for pictures of these sizes (height, width) and channels, 1 if all are gray.

    shares: of the pixels, by class name, of the classes that have any. objects: for each class with objects,
    pixels of the median object and of one that 95 % do not exceed.
    """
    fit = propose_fit(sizes, objects)
    (height, width), batch = plan_crops(sizes, letterboxed=bool(fit.needed))
    crops = len(sizes) if fit.needed else count_crops(sizes, height * width)
    steps = f"{counted(-(-crops // batch), 'step')} of {batch * height * width / 1e6:.2g} M pixels"
    batches = Proposal(f"--batch-size {batch}", f"about {counted(crops, 'crop')} per epoch: {steps}")
    colors = {1: "all pictures are gray", 3: "there are pictures in color"}
    reason = colors.get(channels, f"pictures of {channels} channels")
    return [fit, batches, Proposal(f"--in-channels {channels}", reason), propose_class_weights(shares)]


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
    found, balanced = f"class {rarest} has {shares[rarest]:.2%} of the pixels", "--class-weights balanced"
    if shares[rarest] < 0.2 / len(shares):
        return Proposal(balanced, f"{found}: too few for equal weights", balanced)
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
    return (height, width), plan_batch(step, height * width, count_crops(sizes, height * width))


def count_crops(sizes: Sequence[tuple[int, int]], crop: int) -> int:
    """Crops of `crop` pixels per epoch: they show about every pixel once, and every picture."""
    return max(round(sum(height * width for height, width in sizes) / crop), len(sizes))


def plan_batch(step: float, crop: int, crops: int) -> int:
    """Crops of `crop` pixels in a step of about `step`: fewer if `crops`, an epoch, make under 8 steps."""
    return max(min(round(step / crop), crops // 8, 16), min(2, crops))
