"""The catalogue of faulty data: each row builds a case and states what the scripts say, and what mends it.

python tests/catalogue.py --write writes tests/messages.txt, in which the wording of all messages is reviewed.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import cases as c
from catalogue_forms import ALPHAS, FITS, MASK_PAGES, PHOTOGRAPHS
from catalogue_masks import LEVELS, NUMBERS, PALETTES
from catalogue_row import AS_IS, OK, Row, masks, says
from catalogue_runs import MESSAGES, format_messages, run_all
from doctor_folder import MASK, add
from labelme_cases import LABELME_CASES
from pair_cases import PAIR_CASES
from picture_files import CONTIGUOUS, axes
from scripts import cut_off, recode, save_as

from utils.images.palette import voc_palette

RGB, BROKEN_TIFF = voc_palette()[MASK], b"II*\0\xff\xff\0\0"
ALPHA = np.full(MASK.shape, 255, np.uint8)
BINARY = (MASK > 0).astype(np.uint8)
FOLDERS = [
    Row("good", lambda folder: None, says(OK)),
    Row(
        "root missing",
        c.remove_folder("."),
        says("voc-folder-missing", "data-folder-missing", "voc-root-missing"),
    ),
    Row(
        "pictures missing",
        c.remove_folder("JPEGImages"),
        says("voc-folder-missing", "picture-folder-missing"),
    ),
    Row("masks missing", c.remove_folder("SegmentationClass"), says("voc-folder-missing", "mask-missing")),
    Row("no pairs", c.remove_all_masks, says("no-pairs", "mask-missing")),
]
NAMES = [
    Row("mask without a picture", c.add_stray_mask, says("mask-without-picture", OK)),
    Row(
        "mask name with affix",
        lambda f: c.rename_mask(f, "b_GT.bmp"),
        says("mask-name", "mask-missing"),
        masks(),
    ),
    Row(
        "mask in a BMP file",
        lambda f: c.rename_mask(f, "b.bmp"),
        says("mask-not-png", "mask-missing"),
        masks(),
    ),
    Row("mask missing", lambda f: f.mask_path("b").unlink(), says("split-name", "mask-missing")),
    Row(
        "picture missing",
        lambda f: f.image_path("b").unlink(),
        says("mask-without-picture", "picture-missing"),
    ),
    Row("two masks of one name", lambda f: save_as(f.masks_dir / "b.tif", MASK), says("mask-name-twice", OK)),
    Row("two pictures of one name", lambda f: add(f, "b", None, ".BMP"), says("picture-name-twice")),
    Row("DICOM picture", c.rename_picture("b.dcm"), says("file-unread", "picture-missing")),
    Row("NIfTI picture", c.rename_picture("b.nii.gz"), says("file-unread", "picture-missing")),
    Row(
        "Photoshop pictures alone",
        lambda f: [c.rename_picture(f"{name}.psd", name)(f) for name in "abcd"],
        says("file-unread", "picture-missing"),
    ),
    Row("NumPy mask", lambda f: c.rename_mask_file(f, "b.npy"), says("file-unread", "mask-missing")),
    Row(
        "camera raw beside pictures",
        lambda f: (f.images_dir / "e.cr2").write_bytes(b"II"),
        says("file-left-out", OK),
    ),
    Row("pictures in a subfolder", c.move_picture_below, says("file-unread", "picture-missing")),
    Row("name with a blank at its end", c.end_name_in_blank, says("name-blank", "picture-missing")),
]
SIZES = [
    Row("mask of another size", c.save_mask(MASK.T), says("mask-size")),
    Row(
        "picture turned by EXIF", c.turn_by_exif, says("mask-turned", "mask-size"), masks(np.rot90(MASK, -1))
    ),
]
CODING = [
    Row("RGB", c.save_mask(RGB), says("mask-colors", "mask-channels"), masks(), c.write_colors),
    Row(
        "RGBA",
        c.save_mask(np.dstack([RGB, ALPHA])),
        says("mask-colors", "mask-channels"),
        masks(),
        c.write_colors,
    ),
    Row("gray in RGB", c.save_mask(np.dstack([MASK] * 3)), says("mask-colors", "mask-channels"), masks()),
    Row(
        "gray with alpha", c.save_mask(np.dstack([MASK, ALPHA])), says("mask-alpha", "mask-channels"), masks()
    ),
    Row(
        "JPEG", c.draw_jpeg_masks, says("mask-jpeg"), masks(*[np.kron(BINARY, np.ones((8, 8), np.uint8))] * 2)
    ),
    Row(
        "JPEG among masks in black and white",
        c.draw_jpeg_among_black_white,
        says("folder-faults", "mask-missing"),
    ),
    Row("16 bits", c.save_mask(MASK.astype(np.uint16)), says("mask-16-bit", "mask-channels"), masks()),
    Row(
        "black and white",
        lambda f: recode(f, {1: 255, 2: 255}),
        says("masks-black-white"),
        masks(BINARY, BINARY),
    ),
    Row(
        "gaps",
        lambda f: c.use_without_names(f, {1: 38, 2: 75}),
        says("mask-gaps", "remark", "mask-value"),
        masks(),
    ),
    Row(
        "gaps and 255",
        lambda f: c.use_without_names(f, {1: 128, 2: 255}),
        says("mask-gaps", "remark", "mask-value"),
        masks(),
    ),
    Row("value beyond the classes", c.save_mask(MASK * 2), says("mask-value")),
    Row(
        "ignored everywhere",
        lambda f: recode(f, {0: 255, 1: 255, 2: 255}),
        says("mask-no-class", "mask-no-class", OK),
    ),
]
DAMAGED = [
    Row("truncated picture", c.truncate_picture, says("picture-damaged")),
    Row(
        "no picture", lambda f: c.replace_picture(f, ".png", b"a picture, they said"), says("picture-format")
    ),
    Row(
        "TIFF without directory", lambda f: c.replace_picture(f, ".tif", BROKEN_TIFF), says("picture-format")
    ),
    Row("truncated mask", lambda f: cut_off(f.mask_path("b")), says("mask-damaged")),
    Row("empty mask", lambda f: f.mask_path("b").write_bytes(b""), says("file-empty")),
]
CLASSES = [
    Row("names in nnU-Net's dataset.json", c.name_by("dataset.json", c.NNUNET), says(OK)),
    Row("names in Roboflow's _classes.csv", c.name_by("_classes.csv", c.ROBOFLOW), says(OK)),
    Row("names in data.yaml", c.name_by("data.yaml", "names: [cell, nucleus]"), says(OK)),
    Row("colors of CVAT's labelmap.txt", c.export_from_cvat, says("mask-colors", "mask-channels"), masks()),
    Row("labelmap.txt of another form", c.name_by("labelmap.txt", "cell 1 2 3"), says("class-file", OK)),
    Row("class name twice", c.name_classes("background", "cell", "cell"), says("class-name-twice")),
    Row("class name empty", c.name_classes("background", "", "cell"), says("class-name-empty")),
    Row("one class name", c.name_classes("background"), says("class-names-few")),
    Row("escape in a class name", c.name_classes("back", "\x1b[2J"), says("class-name-unprintable")),
    Row(
        "other class names",
        c.name_classes("background", "nucleus", "cell"),
        says(OK, OK, "class-names-differ"),
    ),
]
SPLITS = [
    Row("split empty", c.write_split("val", b"\n \r\n"), says("split-empty", "split-empty", OK), AS_IS),
    Row(
        "split missing",
        lambda f: (f.splits_dir / "val.txt").unlink(),
        says("file-missing", "file-missing", OK),
        AS_IS,
    ),
    Row("split in UTF-16", c.write_split("val", "c\n".encode("utf-16")), says(OK)),
    Row("split with endings", c.write_split("val", b"c.png\nimages/d.jpg masks/d.png\n"), says(OK)),
    Row(
        "split in Latin-1",
        c.write_split("val", "naïve\n".encode("latin-1")),
        says("file-not-utf-8", "file-not-utf-8", OK),
    ),
    Row("split with strange names", c.write_split("trainval", b"x\nc\ny\n"), {"get_miou": "picture-missing"}),
    Row("name twice in a split", c.write_split("val", b"c\nd\nc\n"), says("remark", "remark", OK)),
    Row("picture in train and test", c.write_split("test", b"b\n"), says("remark", OK)),
    Row("copy in another file type", c.copy_as_jpeg, says("remark", OK)),
    Row(
        "split with a strange name",
        c.write_split("val", b"c\nnowhere\n"),
        says("split-name", "picture-missing", OK),
    ),
    Row("picture in train and val", c.write_split("val", b"b\nc\n"), says("remark", "remark", OK)),
]
# Several faults, and what deserves a look.
REMARKS = [
    Row("several kinds", c.spoil_in_many_ways, says("folder-faults", "picture-name-twice")),
    Row("picture without a mask", lambda f: add(f, "e", None), says("picture-without-mask", OK)),
    Row("one class", c.fill_mask(2), says("mask-one-class", OK)),
    Row("background only", c.fill_mask(0), says("mask-background", OK)),
    Row("nothing but 255", c.fill_mask(255), says("mask-ignored", "remark", OK)),
    Row("a mask in 0 and 255, three classes", c.save_mask(BINARY * np.uint8(255)), says("masks-mixed")),
    Row("copy in train and val", c.copy_into_val, says("picture-copy, remark", OK)),
    Row("gray and color", c.save_picture(c.noise("b", 3, 4, 3)), says("picture-color", OK)),
    Row("two bit depths", c.save_picture(c.noise("b").astype(np.uint16) * 257), says("picture-16-bit", OK)),
]
FIVE = c.noise("b", 3, 4, 5)
TWO, NONE = FIVE[..., :2], {"photometric": "minisblack"}
PAGES, PLANES = np.moveaxis(FIVE, 2, 0).copy(), {"photometric": "minisblack", "planarconfig": "separate"}
CYX, ZYX = ({**axes(names), "imagej": True} for names in ("CYX", "ZYX"))
# Pages and channels of TIFFs.
CHANNELS = [
    Row("pages of no name", c.save_tiff(PAGES, "b", **NONE), says("picture-pages", "remark", OK)),
    Row("slices", c.save_tiff(PAGES, "b", **ZYX), says("picture-pages", "remark", OK)),
    Row("five channels in pages", c.save_tiff(PAGES, **CYX), says(OK, OK, "picture-channels")),
    Row("five channels in planes", c.save_tiff(PAGES, **PLANES), says(OK, OK, "picture-channels")),
    Row("two samples", c.save_tiff(TWO, **CONTIGUOUS), says(OK, OK, "picture-channels")),
    Row("one picture of two samples", c.save_tiff(TWO, "b", **CONTIGUOUS), says("picture-channels")),
    Row("one picture of four channels", c.save_tiff(PAGES[:4], "b", **CYX), says("picture-channels")),
    Row("twenty channels", c.save_tiff(np.tile(PAGES, (4, 1, 1)), **PLANES), says("picture-channels")),
    Row("channels of floats", c.save_tiff(PAGES.astype(np.float32), **CYX), says("tiff-form")),
    Row("gray with alpha in a TIFF", c.save_tiff(TWO, "b", **CONTIGUOUS, extrasamples=[2]), says(OK)),
]
LABELME = [Row(*case) for case in LABELME_CASES]
PAIRS = [Row(*case) for case in PAIR_CASES]
# One list for each subject, so that rows are easily found and added.
ROWS = [
    *FOLDERS,
    *NAMES,
    *SIZES,
    *CODING,
    *NUMBERS,
    *PALETTES,
    *LEVELS,
    *PHOTOGRAPHS,
    *ALPHAS,
    *FITS,
    *MASK_PAGES,
    *DAMAGED,
    *CLASSES,
    *SPLITS,
    *REMARKS,
    *CHANNELS,
    *LABELME,
    *PAIRS,
]


if __name__ == "__main__" and "--write" in sys.argv:
    with tempfile.TemporaryDirectory() as directory:
        messages = format_messages(run_all(ROWS, Path(directory)))
    MESSAGES.write_text(messages, encoding="utf-8", newline="\n")
