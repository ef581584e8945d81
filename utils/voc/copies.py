"""Pictures that are copies of each other: the same pixels, or the same look in another file type or size."""

from collections import Counter
from collections.abc import Sequence

import cv2
import imagehash
import numpy as np
from PIL import Image

from utils.core.console import warn
from utils.voc.drawing import connect

SIDE = 16  # of the perceptual hash, which has SIDE² bits
# Copies that were compressed, halved or brightened differ by at most 12 bits, neighbouring slices of electron
# microscopy by 60 or more, different photographs by 38 or more (docs/data.md).
BITS_APART = 16


def look_of(image: np.ndarray) -> bytes:
    """Perceptual hash of a picture (H, W[, C]) uint8 or uint16: alike for copies; empty without contrast.

    The signs of the low frequencies of its brightness (imagehash.phash). Of colors that is their luminance,
    which JPEG keeps best.
    """
    channels = image if image.ndim == 2 else np.ascontiguousarray(image[..., :3])
    # Four times what the hash resolves; imagehash alone takes long for large pictures.
    size = min(image.shape[1], 256), min(image.shape[0], 256)
    gray = cv2.resize(channels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    if gray.ndim == 3:
        gray = cv2.cvtColor(gray, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else gray.mean(axis=2)
    low, high = float(gray.min()), float(gray.max())
    # Blank pictures, which differ by noise alone, would all look the same.
    if high - low < 4:
        return b""
    levels = ((gray - low) * (255 / (high - low))).astype(np.uint8)
    return np.packbits(imagehash.phash(Image.fromarray(levels), SIDE).hash).tobytes()


def alike_pairs(looks: Sequence[bytes]) -> list[tuple[int, int]]:
    """Pairs of indices, smaller first, whose pictures look the same."""
    seen = [index for index, look in enumerate(looks) if look]
    words = np.frombuffer(b"".join(looks), np.uint64).reshape(len(seen), SIDE * SIDE // 64)
    pairs = []
    for place, index in enumerate(seen):
        apart = np.bitwise_count(words[place + 1 :] ^ words[place]).sum(axis=1, dtype=int)
        pairs += [(index, seen[place + 1 + other]) for other in np.flatnonzero(apart <= BITS_APART)]
    return pairs


def copy_keys(names: Sequence[str], digests: Sequence[str], looks: Sequence[bytes]) -> dict[str, str]:
    """Name → key, the same for copies, directly or by others. digests: of the pixels; looks: by `look_of`.

    Pictures that only their neighbours resemble, as in a film, are no copies if most are of that kind: they
    would leave nothing to validate on. Warns of them.
    """
    first = {digest: index for index, digest in reversed([*enumerate(digests)])}
    same = [(index, first[digest]) for index, digest in enumerate(digests)]
    alike = [(one, other) for one, other in alike_pairs(looks) if digests[one] != digests[other]]
    groups = connect(len(names), same + alike)
    largest, size = Counter(groups).most_common(1)[0]
    links = sum(groups[one] == largest for one, _ in same + alike) - size
    if size > len(names) / 2 and links < size * (size - 1) / 4:
        what = f"{size} of {len(names)} pictures look like their neighbours, as in a film"
        warn(f"{what}: a random split makes scores too good; --split contiguous keeps neighbours together")
        groups = connect(len(names), same)
    elif alike:
        number, (one, other) = len({index for pair in alike for index in pair}), alike[0]
        such = f"{number} pictures look the same as another, such as {names[one]} and {names[other]}"
        warn(f"{such} (one picture in two file types or sizes?)")
    return {name: str(group) for name, group in zip(names, groups, strict=True)}
