"""dataset.json: what voc2unet.py found in a VOC folder. It spares training a pass over the files."""

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np

from utils.core.files import write_lines
from utils.voc.folder import VocFolder
from utils.voc.survey import PairRecord, Survey, summarise_pictures

FORMAT = 1


def write_dataset_file(folder: VocFolder, content: Mapping, records: Sequence[PairRecord]) -> None:
    """Write `content` and the records. One line per pair, so that the file stays readable."""
    pairs, pictures = {}, {}
    for one in records:
        values = [f"{value}:{pixels}" for value, pixels in one.values.items()]
        pairs[one.name] = " ".join([f"{one.size[0]}×{one.size[1]}", *values])
        moments = [f"{total}:{squares}" for total, squares in one.moments.tolist()]
        pictures[one.name] = " ".join(["gray" if one.gray else "RGB", str(one.bits), *moments])
    fingerprint = _fingerprint(folder, list(pairs))
    content = {"format": FORMAT, "fingerprint": fingerprint, **content, "pairs": pairs, "pictures": pictures}
    write_lines(folder.root / "dataset.json", [json.dumps(content, ensure_ascii=False, indent=1)])


def read_survey(folder: VocFolder, train: Sequence[str], others: Sequence[str] = ()) -> Survey | None:
    """What `survey_pairs` would find, from dataset.json.

    None where the file is missing, of an earlier version or older than a picture or mask that it lists, and
    for training pictures of 16 bits, whose histograms it does not hold.
    """
    try:
        content = json.loads((folder.root / "dataset.json").read_text(encoding="utf-8"))
        pairs, pictures = content["pairs"], content["pictures"]
        if content["format"] != FORMAT or content["fingerprint"] != _fingerprint(folder, list(pairs)):
            return None
        records = [_parse_record(name, pairs[name], pictures[name]) for name in [*train, *others]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    measured = records[: len(train)]
    if any(record.bits == 16 for record in measured):
        return None
    return Survey(records, summarise_pictures(measured, np.zeros((5, 65536), np.int64)))


def _parse_record(name: str, pair: str, picture: str) -> PairRecord:
    size, *values = pair.split()
    kind, bits, *moments = picture.split()
    height, width = map(int, size.split("×"))
    values = dict(tuple(map(int, value.split(":"))) for value in values)
    moments = np.array([list(map(int, moment.split(":"))) for moment in moments])
    return PairRecord(name, (height, width), values, kind == "gray", int(bits), moments.reshape(4, 2))


def _fingerprint(folder: VocFolder, names: Sequence[str]) -> str:
    """Of the names, sizes and times of the files. Raises OSError or KeyError where one is missing."""
    total = blake2b(digest_size=16)
    for name in names:
        for path in (folder.images[name], folder.mask_path(name)):
            state = path.stat()
            total.update(f"{path.name}|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return total.hexdigest()
