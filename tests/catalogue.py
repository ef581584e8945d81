"""The catalogue of faulty VOC folders: each row builds one fault and states what every script makes of it.

python tests/catalogue.py --write writes tests/messages.txt, in which the wording of all messages is reviewed.
"""

import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from doctor_folder import MASK, add, make_folder, noise
from scripts import cut_off, recode, save_as, save_untrained, snapshot

import get_miou
import voc2unet
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.images.palette import voc_palette
from utils.images.writing import write_image, write_mask
from utils.training.data import load_data
from utils.voc.folder import VocFolder

MESSAGES = Path(__file__).with_name("messages.txt")
OK = "ok"


class Row(NamedTuple):
    """spoil: builds the fault in pairs a … d; the other fields: the code of each script's error, or ok."""

    name: str
    spoil: Callable[[VocFolder], object]
    voc2unet: str
    train: str
    get_miou: str


def make_base(root: Path) -> VocFolder:
    """Pairs a … d: a and b to train, c and d to validate."""
    folder = make_folder(root, "abcd")
    splits = {"train": ["a", "b"], "val": ["c", "d"], "trainval": ["a", "b", "c", "d"]}
    for split, names in splits.items():
        folder.write_split(split, names)
    return VocFolder(root)


def replace_picture(folder: VocFolder, ending: str, content: bytes) -> None:
    (folder.images_dir / "b.png").unlink()
    (folder.images_dir / f"b{ending}").write_bytes(content)


def truncate_picture(folder: VocFolder) -> None:
    save_as(folder.images_dir / "b.bmp", noise("b"))
    replace_picture(folder, ".bmp", (folder.images_dir / "b.bmp").read_bytes()[:-5])


def rename_mask(folder: VocFolder, name: str) -> None:
    folder.mask_path("b").unlink()
    save_as(folder.masks_dir / name, MASK)


def turn_by_exif(folder: VocFolder) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise("b")).save(folder.images_dir / "b.png", exif=exif)


def draw_jpeg_mask(folder: VocFolder) -> None:
    write_image(folder.images_dir / "b.png", noise("b", 24, 32))
    save_as(folder.mask_path("b"), np.kron(MASK > 0, np.full((8, 8), 255, np.uint8)), "JPEG")


def number_300_objects(folder: VocFolder) -> None:
    write_image(folder.images_dir / "b.png", noise("b", 15, 20))
    save_as(folder.mask_path("b"), np.arange(300, dtype=np.uint16).reshape(15, 20))


def use_without_names(folder: VocFolder, codes: dict[int, int]) -> None:
    folder.class_names_path.unlink()
    recode(folder, codes)


def draw_gray_levels(folder: VocFolder) -> None:
    folder.class_names_path.unlink()
    for name in "abcd":
        write_image(folder.images_dir / f"{name}.png", noise(name, 10, 10))
        write_mask(folder.mask_path(name), np.linspace(0, 255, 100).astype(np.uint8).reshape(10, 10))


def end_name_in_blank(folder: VocFolder) -> None:
    folder.image_path("b").rename(folder.images_dir / "b .png")
    folder.mask_path("b").rename(folder.masks_dir / "b .png")


def copy_into_val(folder: VocFolder) -> None:
    write_image(folder.images_dir / "d.png", noise("a"))


def remove_all_masks(folder: VocFolder) -> None:
    for name in "abcd":
        folder.mask_path(name).unlink()


def spoil_in_many_ways(folder: VocFolder) -> None:
    add_stray_mask(folder)
    save_as(folder.mask_path("a"), voc_palette()[MASK])
    write_mask(folder.mask_path("b"), MASK * 3)
    write_image(folder.images_dir / "c.bmp", noise("c"))


def add_stray_mask(folder: VocFolder) -> None:
    write_mask(folder.mask_path("stray"), MASK)


def save_picture(array: np.ndarray) -> Callable[[VocFolder], None]:
    return lambda folder: write_image(folder.image_path("b"), array)


def fill_mask(value: int) -> Callable[[VocFolder], None]:
    return lambda folder: write_mask(folder.mask_path("b"), np.full((3, 4), value, np.uint8))


def save_mask(array: np.ndarray, image_format: str | None = None) -> Callable[[VocFolder], None]:
    return lambda folder: save_as(folder.mask_path("b"), array, image_format)


def write_split(split: str, content: bytes) -> Callable[[VocFolder], object]:
    return lambda folder: (folder.splits_dir / f"{split}.txt").write_bytes(content)


def name_classes(*names: str) -> Callable[[VocFolder], object]:
    return lambda folder: write_lines(folder.class_names_path, names)


def remove_folder(part: str) -> Callable[[VocFolder], object]:
    return lambda folder: shutil.rmtree(folder.root / part)


RGB, BROKEN_TIFF = voc_palette()[MASK], b"II*\0\xff\xff\0\0"
ALPHA = np.full(MASK.shape, 255, np.uint8)
ROWS = [
    Row("good", lambda folder: None, OK, OK, OK),
    # Folders
    Row("root missing", remove_folder("."), "voc-folder-missing", "data-folder-missing", "voc-root-missing"),
    Row(
        "pictures missing", remove_folder("JPEGImages"), "voc-folder-missing", *["picture-folder-missing"] * 2
    ),
    Row("masks missing", remove_folder("SegmentationClass"), "voc-folder-missing", *["mask-missing"] * 2),
    Row("no pairs", remove_all_masks, "no-pairs", "mask-missing", "mask-missing"),
    # Names
    Row("mask without a picture", add_stray_mask, "mask-without-picture", OK, OK),
    Row("mask name with affix", lambda f: rename_mask(f, "b_GT.bmp"), "mask-name", *["mask-missing"] * 2),
    Row("mask in a BMP file", lambda f: rename_mask(f, "b.bmp"), "mask-not-png", *["mask-missing"] * 2),
    Row("mask missing", lambda f: f.mask_path("b").unlink(), "split-name", "mask-missing", "mask-missing"),
    Row(
        "picture missing",
        lambda f: f.image_path("b").unlink(),
        "mask-without-picture",
        *["picture-missing"] * 2,
    ),
    Row("two masks of one name", lambda f: save_as(f.masks_dir / "b.tif", MASK), "mask-name-twice", OK, OK),
    Row("two pictures of one name", lambda f: add(f, "b", None, ".BMP"), *["picture-name-twice"] * 3),
    Row("name with a blank at its end", end_name_in_blank, "name-blank", *["picture-missing"] * 2),
    # Sizes
    Row("mask of another size", save_mask(MASK.T), *["mask-size"] * 3),
    Row("picture turned by EXIF", turn_by_exif, "mask-turned", "mask-size", "mask-size"),
    # Coding of masks
    Row("RGB", save_mask(RGB), "mask-colors", *["mask-channels"] * 2),
    Row("RGBA", save_mask(np.dstack([RGB, ALPHA])), "mask-colors", *["mask-channels"] * 2),
    Row("gray in RGB", save_mask(np.dstack([MASK] * 3)), "mask-colors", *["mask-channels"] * 2),
    Row("gray with alpha", save_mask(np.dstack([MASK, ALPHA])), "mask-alpha", *["mask-channels"] * 2),
    Row("JPEG", draw_jpeg_mask, *["mask-jpeg"] * 3),
    Row("16 bits", save_mask(MASK.astype(np.uint16)), "mask-16-bit", *["mask-channels"] * 2),
    Row("300 objects", number_300_objects, "mask-16-bit", *["mask-channels"] * 2),
    Row("black and white", lambda f: recode(f, {1: 255, 2: 255}), *["masks-black-white"] * 3),
    Row("gaps", lambda f: use_without_names(f, {1: 38, 2: 75}), "mask-gaps", OK, "mask-value"),
    Row("gaps and 255", lambda f: use_without_names(f, {1: 128, 2: 255}), "mask-gaps", OK, "mask-value"),
    Row("gray levels", draw_gray_levels, "mask-gray-levels", OK, "mask-value"),
    Row("value beyond the classes", save_mask(MASK * 2), *["mask-value"] * 3),
    Row("ignored everywhere", lambda f: recode(f, {0: 255, 1: 255, 2: 255}), "mask-no-class", OK, OK),
    # Damaged files
    Row("truncated picture", truncate_picture, *["picture-damaged"] * 3),
    Row("no picture", lambda f: replace_picture(f, ".png", b"a picture, they said"), *["picture-format"] * 3),
    Row("TIFF without directory", lambda f: replace_picture(f, ".tif", BROKEN_TIFF), *["picture-format"] * 3),
    Row("truncated mask", lambda f: cut_off(f.mask_path("b")), *["mask-damaged"] * 3),
    Row("empty mask", lambda f: f.mask_path("b").write_bytes(b""), *["file-empty"] * 3),
    # Classes
    Row("class name twice", name_classes("background", "cell", "cell"), *["class-name-twice"] * 3),
    Row("class name empty", name_classes("background", "", "cell"), *["class-name-empty"] * 3),
    Row("one class name", name_classes("background"), *["class-names-few"] * 3),
    Row("other class names", name_classes("background", "nucleus", "cell"), OK, OK, "class-names-differ"),
    # Splits
    Row("split empty", write_split("val", b"\n \r\n"), "split-empty", "split-empty", OK),
    Row("split missing", lambda f: (f.splits_dir / "val.txt").unlink(), "file-missing", "file-missing", OK),
    Row(
        "split in UTF-16", write_split("val", "c\n".encode("utf-16")), "file-not-utf-8", "file-not-utf-8", OK
    ),
    Row(
        "split with a strange name", write_split("val", b"c\nnowhere\n"), "split-name", "picture-missing", OK
    ),
    # Several, and what deserves a look
    Row("several kinds", spoil_in_many_ways, "folder-faults", "picture-name-twice", "picture-name-twice"),
    Row("picture without a mask", lambda f: add(f, "e", None), OK, OK, OK),
    Row("one class", fill_mask(2), OK, OK, OK),
    Row("background only", fill_mask(0), OK, OK, OK),
    Row("nothing but 255", fill_mask(255), OK, OK, OK),
    Row("one mask in black and white", save_mask(MASK.clip(0, 1) * 255), OK, OK, OK),
    Row("copy in train and val", copy_into_val, OK, OK, OK),
    Row("gray and color", save_picture(noise("b", 3, 4, 3)), OK, OK, OK),
    Row("two bit depths", save_picture(noise("b").astype(np.uint16) * 257), OK, OK, OK),
    Row("picture in train and val", write_split("val", b"b\nc\n"), OK, OK, OK),
]
SCRIPTS = Row._fields[2:]


class Outcome(NamedTuple):
    """code: of the error, or ok; text: the error or the warnings, with normalised paths."""

    code: str
    text: str


def run(row: Row, script: str, place: Path, model: Path) -> Outcome:
    """A script on the folder of a row, in this process. An error leaves the folder as it was."""
    folder = make_base(place / "voc")
    row.spoil(folder)
    before, folder, text = snapshot(place), VocFolder(folder.root), io.StringIO()
    starts = {
        "voc2unet": lambda: voc2unet.main(voc2unet.Config(folder.root)),
        "train": lambda: load_data(folder),
        "get_miou": lambda: get_miou.main(
            get_miou.Config([model], folder.root, "trainval", place / "miou", "cpu")
        ),
    }
    drawing = mock.patch.multiple("voc2unet", draw_statistics=mock.DEFAULT, draw_contact_sheet=mock.DEFAULT)
    quiet = contextlib.redirect_stdout(io.StringIO())
    with drawing, quiet, contextlib.redirect_stderr(text), warnings.catch_warnings(action="ignore"):
        try:
            starts[script]()
        except UserError as error:
            assert snapshot(place) == before
            return Outcome(error.code, normalise(str(error), folder.root, model))
    # What a random network finds depends on the machine.
    return Outcome(OK, "" if script == "get_miou" else normalise(text.getvalue(), folder.root, model))


def normalise(text: str, root: Path, model: Path) -> str:
    """Paths as ROOT/… and MODEL; numbers of JPEG's smeared values, which depend on the decoder, as N."""
    for path, word in ((root, "ROOT"), (model, "MODEL")):
        text = text.replace(str(path), word)
    text = re.sub(r"ROOT\S*", lambda path: path[0].replace(os.sep, "/"), text)
    return re.sub(r"\(\d+ (different|gray|colours)", r"(N \1", text).strip()


def run_all(place: Path) -> dict[str, dict[str, Outcome]]:
    """Row → script → outcome."""
    model = save_untrained(place / "model.pth")
    return {
        row.name: {script: run(row, script, place / f"{number}_{script}", model) for script in SCRIPTS}
        for number, row in enumerate(ROWS)
    }


def format_messages(outcomes: dict[str, dict[str, Outcome]]) -> str:
    """All messages; scripts with the same one share an entry."""
    entries = []
    for name, by_script in outcomes.items():
        for outcome in dict.fromkeys(by_script.values()):
            scripts = ", ".join(script for script in SCRIPTS if by_script[script] == outcome)
            if outcome.text:
                entries.append(f"=== {name} · {scripts} · {outcome.code}\n{outcome.text}")
    return "\n\n".join(entries) + "\n"


if __name__ == "__main__" and "--write" in sys.argv:
    with tempfile.TemporaryDirectory() as directory:
        messages = format_messages(run_all(Path(directory)))
    MESSAGES.write_text(messages, encoding="utf-8", newline="\n")
