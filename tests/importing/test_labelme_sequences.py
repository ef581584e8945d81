"""Whatever people do between two conversions, in any order: the set becomes that of a fresh conversion."""

import random
from pathlib import Path

import numpy as np
import pytest
from labelme_content import HEIGHT, WIDTH, box, labelme_content, picture_bytes, write_json
from scripts import snapshot

from utils.core.console import UserError
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_mask
from utils.importing.labelme_files import Conversion, convert_labelme
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL
from utils.voc.folder import VocFolder

LABELS = ("cell", "Cell", "nucleus", "stone", BACKGROUND_LABEL, IGNORE_LABEL)


def draw(random: random.Random, path: Path) -> None:
    """A labelme file of a few boxes, now and then with another picture."""
    corners = [random.randrange(30) for _ in range(random.randrange(1, 5))]
    boxes = [box(random.choice(LABELS), low, low + random.randrange(1, 9)) for low in corners]
    size = (HEIGHT, WIDTH + random.choice([0, 0, 1]))
    image = picture_bytes(random.choice(["PNG", "JPEG"]), size)
    write_json(path, labelme_content(*boxes, box("cell", 34, 36), image=image))


def convert(place: Path, edited: dict[str, bytes]) -> Conversion:
    """Only masks that were edited by hand may need the choice of --overwrite."""
    try:
        return convert_labelme(place / "in", VocFolder(place / "voc"))
    except UserError as error:
        faults = getattr(error, "errors", [error])
        assert {fault.code for fault in faults} == {"content-differs"}
        assert {Path(fault.subject).stem for fault in faults} <= edited.keys()
        return convert_labelme(place / "in", VocFolder(place / "voc"), overwrite=True)


def interrupt_after(count: int, patch: pytest.MonkeyPatch) -> None:
    """Ctrl-C when one more file is about to be put in its place."""
    left, replace = iter(range(count)), Path.replace

    def replace_or_stop(path: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return replace(path, target)

    patch.setattr(Path, "replace", replace_or_stop)


def classes_in(folder: VocFolder, name: str) -> np.ndarray:
    """The mask with names for numbers."""
    names = np.array([*folder.read_class_names(), *[""] * 256], object)[:256]
    names[255] = IGNORE_LABEL
    return names[read_mask(folder.mask_path(name))]


def assert_like_fresh(place: Path, result: Conversion, edited: dict[str, bytes], fresh: VocFolder) -> None:
    convert_labelme(place / "in", fresh)
    folder, fresh = VocFolder(place / "voc"), VocFolder(fresh.root)
    names = {path.stem for path in (place / "in").iterdir()}
    assert folder.images.keys() == {path.stem for path in folder.masks_dir.iterdir()} == names
    assert set(folder.read_class_names()) == set(fresh.read_class_names())
    for name in names:
        np.testing.assert_array_equal(read_image(folder.images[name]), read_image(fresh.images[name]))
        if folder.mask_path(name) not in result.edited:
            assert (classes_in(folder, name) == classes_in(fresh, name)).all()
    assert set(folder.read_split_if_any("train")) <= names
    assert set(edited.values()) <= set(snapshot(folder.root).values())


@pytest.mark.parametrize("seed", range(4))
def test_any_sequence(tmp_path, monkeypatch, seed):
    choose, folder, edited = random.Random(seed), VocFolder(tmp_path / "voc"), {}
    for name in "abc":
        draw(choose, tmp_path / "in" / f"{name}.json")
    convert(tmp_path, edited)
    for step in range(8):
        path, mask = tmp_path / "in" / f"{choose.choice('abcd')}.json", folder.mask_path(choose.choice("abc"))
        match choose.choice(["draw", "draw", "remove", "edit", "split", "interrupt"]):
            case "draw":
                draw(choose, path)
            case "remove" if len(list(path.parent.iterdir())) > 1:
                path.unlink(missing_ok=True)
            case "edit" if mask.is_file():
                write_mask(mask, read_mask(mask) * 0 + 1)
                edited[mask.stem] = mask.read_bytes()
            case "split":
                folder.write_split("train", sorted(path.stem for path in folder.masks_dir.iterdir()))
            case "interrupt":
                draw(choose, path)
                with monkeypatch.context() as patch:
                    interrupt_after(choose.randrange(12), patch)
                    with pytest.raises((KeyboardInterrupt, UserError)):
                        convert_labelme(tmp_path / "in", folder)
                        raise KeyboardInterrupt  # There were fewer files to write.
        result = convert(tmp_path, edited)
        assert_like_fresh(tmp_path, result, edited, VocFolder(tmp_path / f"fresh_{step}"))
        before = snapshot(folder.root)
        convert_labelme(tmp_path / "in", VocFolder(folder.root))
        assert snapshot(folder.root) == before
