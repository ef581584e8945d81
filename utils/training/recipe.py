"""The recipe: crop and batch, chosen from the data."""

from collections.abc import Sequence

STRIDE = 32  # input sizes are multiples of it: what the deepest of the networks needs
LARGE = 512  # larger pictures are not trained on whole
STEPS = 40  # that an epoch of native crops is cut into, as far as the sizes of steps allow
SMALL_STEP, LARGE_STEP = 2 * 256 * 256, 4 * 512 * 512  # pixels of a step: at least and at most


def plan_crops(
    sizes: Sequence[tuple[int, int]], crop: tuple[int, int] | None = None, letterboxed: bool = False
) -> tuple[tuple[int, int], int]:
    """Crops (height, width; those that are given, if any) and their number a step, to train on pictures of these sizes.

    Networks learn by steps: few pictures are cut into many small ones, many pictures give steps as large as
    pay off. letterboxed: whole pictures, scaled to the crop.
    """
    if letterboxed:
        height, width = crop or (LARGE, LARGE)
        return (height, width), plan_batch(LARGE_STEP, height * width, len(sizes))
    pixels = sum(height * width for height, width in sizes)
    step = min(max(pixels / STEPS, SMALL_STEP), LARGE_STEP)
    side = LARGE // 2 if step <= LARGE_STEP / 2 else LARGE
    height, width = crop or (
        min(-(-max(sides) // STRIDE) * STRIDE, side) for sides in zip(*sizes, strict=True)
    )
    crops = max(round(pixels / (height * width)), len(sizes))
    return (height, width), plan_batch(step, height * width, crops)


def plan_batch(step: float, crop: int, crops: int) -> int:
    """Crops of `crop` pixels in a step of about `step`, if `crops` of them are an epoch of 8 steps then; else 2 or 1."""
    return max(min(round(step / crop), crops // 8, 16), min(2, crops))
