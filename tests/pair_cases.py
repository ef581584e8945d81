"""Builders of the catalogue's folders of pictures and masks in `input`, which import_dataset.py pairs."""

from collections.abc import Callable, Mapping

import numpy as np
from catalogue_runs import OK
from doctor_folder import MASK, noise
from PIL import Image
from scripts import cut_off, save_as

from utils.core.files import write_lines
from utils.images.writing import write_image, write_mask
from utils.voc.folder import VocFolder

Builder = Callable[[VocFolder], object]
Files = Mapping[str, np.ndarray]
A = noise("a")


def put(files: Files) -> Builder:
    """Files in `input`, in the format of their ending."""

    def build(folder: VocFolder) -> None:
        for name, array in files.items():
            save_as(folder.root.parent / "input" / name, array)

    return build


def put_and(files: Files, more: Callable[[VocFolder], object]) -> Builder:
    def build(folder: VocFolder) -> None:
        put(files)(folder)
        more(folder)

    return build


def write(name: str, content: bytes) -> Builder:
    return lambda folder: (folder.root.parent / "input" / name).write_bytes(content)


def pairs(name: str, build: Builder, code: str, **yields: np.ndarray) -> tuple:
    """A row: its name, what builds it, the code of import_dataset.py and the masks that it yields."""
    return name, build, {"import_dataset": code}, yields or None, None, ("input",), VocFolder


def named(picture: str, mask: str, **yields: np.ndarray) -> tuple:
    """A row in which these two files are a pair."""
    return pairs(f"{picture} and {mask}", put({picture: A, mask: MASK}), OK, **yields)


def add_page(folder: VocFolder) -> None:
    """The mask becomes a TIFF of two pages."""
    place = folder.root.parent / "input"
    (place / "a_mask.png").unlink()
    Image.fromarray(MASK).save(place / "a_mask.tif", save_all=True, append_images=[Image.fromarray(2 - MASK)])


CUT = put_and({"a.png": A, "a_mask.tif": MASK}, lambda f: cut_off(f.root.parent / "input" / "a_mask.tif"))
PAIR = {"a.png": A, "a_mask.png": MASK}
PAIR_CASES = [
    named("a.png", "a_segmentation.png", a=MASK),
    named("a.png", "a-mask.png", a=MASK),
    named("a.png", "mask_a.bmp", a=MASK),
    named("a.jpg", "a.jpg_mask.png", a=MASK),
    named("IMG_7.png", "img_7_GT.tif", IMG_7=MASK),
    named("images/x.png", "annotations/x.png", x=MASK),
    named("train/x.png", "trainannot/x.png", x=MASK),
    named("train/x.png", "train_masks/x_mask.png", x=MASK),
    pairs(
        "one name in two folders",
        put({f"{place}/1{end}.png": m for place in ("p", "q") for end, m in (("", A), ("_seg", MASK))}),
        OK,
        p_1=MASK,
        q_1=MASK,
    ),
    pairs("a drawing beside the mask", put({**PAIR, "a_color.png": A}), "remark", a=MASK),
    pairs("a picture without a mask to import", put({**PAIR, "b.png": A}), "picture-without-mask", a=MASK),
    pairs("a mask without a picture to import", put({**PAIR, "b_mask.png": MASK}), "remark", a=MASK),
    pairs("two masks of a picture", put({**PAIR, "a_label.png": MASK}), "name-twice"),
    pairs("two pictures of a mask", put({**PAIR, "a.bmp": A}), "name-twice"),
    pairs("pictures alone", put({"a.png": A, "b.png": A}), "no-pairs"),
    pairs("DICOM beside masks", put_and({"a_mask.png": MASK}, write("a.dcm", bytes(200))), "no-pairs"),
    pairs("NumPy files beside pairs", put_and(PAIR, write("b.npy", b"\x93NUMPY")), "remark", a=MASK),
    pairs("mask of another shape", put({"a.png": A, "a_mask.png": MASK.T}), "mask-size"),
    pairs(
        "mask that ends early",
        put_and(PAIR, lambda f: cut_off(f.root.parent / "input/a_mask.png")),
        "picture-format",
    ),
    pairs("mask of two pages to import", put_and(PAIR, add_page), "mask-pages"),
    pairs("picture that is empty", put_and({"a_mask.png": MASK}, write("a.png", b"")), "file-empty"),
    pairs(
        "names in another class file", put_and(PAIR, write("data.yaml", b"names: [x, y]")), "remark", a=MASK
    ),
    pairs("class file of another form", put_and(PAIR, write("labelmap.txt", b"x 1 2 3")), "class-file"),
    pairs(
        "another picture of that name is there",
        put_and(PAIR, lambda f: write_image(f.images_dir / "a.png", noise("b"))),
        "content-differs",
    ),
    pairs(
        "the pair is there",
        put_and(PAIR, lambda f: [write_image(f.images_dir / "a.png", A), write_mask(f.mask_path("a"), MASK)]),
        OK,
        a=MASK,
    ),
    pairs(
        "other class names are there",
        put_and(
            {**PAIR, "b.png": noise("b"), "b_mask.png": MASK},
            lambda f: [
                write_lines(f.root.parent / "input" / "class_names.txt", ["background", "x", "y"]),
                write_lines(f.class_names_path, ["background", "y", "x"]),
            ],
        ),
        "content-differs",
    ),
]
