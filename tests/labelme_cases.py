"""Builders of the catalogue's labelme folders: files in `input`, beside a VOC folder that may be filled."""

from collections.abc import Callable, Sequence

import numpy as np
from catalogue_runs import OK
from labelme_content import HEIGHT, WIDTH, box, labelme_content, picture_bytes, shape_entry, write_json
from PIL import Image, ImageDraw
from scripts import ROOT

from utils.images.reading import read_mask
from utils.images.writing import write_mask
from utils.importing.labelme_files import convert_labelme
from utils.voc.folder import VocFolder

Builder = Callable[[VocFolder], object]
CORNERS = [[10, 10], [30, 10], [30, 30], [10, 30]]


def squares(**values: tuple[int, int]) -> np.ndarray:
    """A mask of boxes on the diagonal: c1=(0, 9) for class 1 in the rows and columns 0 … 9."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, (low, high) in values.items():
        mask[low : high + 1, low : high + 1] = int(number[1:])
    return mask


def polygon(points: list) -> np.ndarray:
    """A mask as labelme's own painter, Pillow, fills a polygon."""
    image = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(image).polygon([tuple(point) for point in points], fill=1, outline=1)
    return np.array(image)


def draw(name: str, *shapes: object, **more: object) -> Builder:
    """input/NAME.json with these shapes; more: other fields of the file."""
    return lambda folder: write_json(
        folder.root.parent / "input" / f"{name}.json", labelme_content(*shapes, **more)
    )


def put(name: str, content: bytes) -> Builder:
    """A file in `input`."""

    def build(folder: VocFolder) -> None:
        path = folder.root.parent / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return build


def remove(name: str) -> Builder:
    return lambda folder: (folder.root.parent / "input" / name).unlink()


def steps(*builders: Builder) -> Builder:
    """Builders, one after the other."""

    def build(folder: VocFolder) -> None:
        for builder in builders:
            builder(folder)

    return build


def convert(folder: VocFolder) -> None:
    convert_labelme(folder.root.parent / "input", VocFolder(folder.root))


def copy_samples(folder: VocFolder) -> None:
    for path in sorted((ROOT / "datasets" / "before").iterdir()):
        put(path.name, path.read_bytes())(folder)


def remove_samples(folder: VocFolder) -> None:
    for path in (ROOT / "datasets" / "before").iterdir():
        remove(path.name)(folder)


def fill_mask(name: str) -> Builder:
    """What somebody does to a mask by other means."""
    return lambda folder: write_mask(folder.mask_path(name), read_mask(folder.mask_path(name)) * 0 + 1)


def without_record(folder: VocFolder) -> None:
    """As an older release left it."""
    (folder.root / "labelme_record.json").unlink()


def without_names(folder: VocFolder) -> None:
    folder.class_names_path.unlink()
    write_mask(folder.mask_path("old"), squares(c1=(0, 9)))


A, B = draw("a", box("cell", 0, 9)), draw("b", box("cell", 0, 9))
JPEG_ON_ITS_SIDE = picture_bytes("JPEG", orientation=6)
FAULTY = shape_entry(points=[[1, 1], [2, 2]])


def labelme(
    name: str, build: Builder, code: str, unchanged: Sequence[str] = ("input",), **masks: np.ndarray
) -> tuple:
    """The fields of a row. masks: name → mask in the end; none: nothing is written."""
    return name, build, {"json_to_dataset": code}, masks or None, None, unchanged, VocFolder


ONE, TWO = box("cell", 0, 9), box("nucleus", 20, 29)
CELL, BOTH = squares(c1=(0, 9)), squares(c1=(0, 9), c2=(20, 29))
TILTED = [[20, 5], [35, 15], [25, 30], [10, 20]]
DIALECT = {"score": None, "difficult": False, "attributes": {}, "kie_linking": []}
LABELME_CASES = [
    labelme("labelme file", draw("a", ONE, TWO), OK, a=BOTH),
    labelme("no labelme file", put("a.png", picture_bytes()), "labelme-files-missing"),
    labelme("labelme file cut off", steps(A, put("b.json", b'{"shapes": [')), "json-malformed", a=CELL),
    labelme("JSON of another kind", steps(A, put("b.json", b'{"images": []}')), "json-kind", a=CELL),
    labelme("JSON of another kind alone", put("b.json", b'{"images": []}'), "json-kind"),
    labelme("labelme names but for a blank", steps(A, draw("a ", ONE)), "labelme-name-twice"),
    # Shapes
    labelme("polygon of two points", draw("a", ONE, FAULTY), "point-count", a=CELL),
    labelme("all shapes faulty", steps(A, draw("b", *[FAULTY] * 2)), "point-count", a=CELL),
    labelme("shape without a label", draw("a", ONE, {"points": CORNERS}), "label-missing", a=CELL),
    labelme("cuboid", draw("a", shape_entry(shape_type="cuboid")), "shape-type"),
    labelme("coordinate far off", draw("a", shape_entry(points=[[1, 2], [1e9, 3], [4, 4]])), "point-range"),
    labelme("words for coordinates", draw("a", shape_entry(points=[["a", "b"]] * 3)), "point-form"),
    labelme("no shapes", steps(A, draw("b")), "remark", a=CELL, b=CELL * 0),
    labelme(
        "rectangle of four corners",
        draw("a", shape_entry(points=CORNERS, shape_type="rectangle", **DIALECT)),
        OK,
        a=squares(c1=(10, 30)),
    ),
    labelme(
        "rotation and polygon",
        steps(
            draw("a", shape_entry(points=TILTED, shape_type="rotation", direction=0.5, **DIALECT)),
            draw("b", shape_entry(points=TILTED)),
        ),
        OK,
        **dict.fromkeys("ab", polygon(TILTED)),
    ),
    # Pictures
    labelme("labelme picture missing", draw("a", ONE, imageData=None), "labelme-picture-missing"),
    labelme(
        "imagePath names another picture",
        steps(
            draw("a", ONE, imageData=None, imagePath="b.png"),
            put("a.png", picture_bytes(size=(40, 61))),
            put("b.png", picture_bytes()),
        ),
        "labelme-two-pictures",
    ),
    labelme(
        "picture under the own name",
        steps(draw("a", ONE, imageData=None, imagePath="b.png"), put("a.png", picture_bytes())),
        "remark",
        a=CELL,
    ),
    labelme("embedded picture broken", draw("a", ONE, imageData="abcde"), "base64-broken"),
    labelme("embedded picture turned", draw("a", ONE, image=JPEG_ON_ITS_SIDE), "remark", a=CELL),
    labelme("another size stated", draw("a", ONE, imageHeight=480), "remark", a=CELL),
    # Classes
    labelme("no class", draw("a", box("__ignore__", 0, 9)), "classes-missing"),
    labelme("labels alike", draw("a", ONE, box("Ｃell", 20, 29)), "remark", a=BOTH),
    labelme("background by another name", draw("a", ONE, box("Background", 20, 29)), "remark", a=BOTH),
    labelme("class under another", draw("a", TWO, box("cell", 20, 29)), "remark", a=squares(c2=(20, 29))),
    labelme("masks without class names", steps(A, convert, without_names), "class-names-missing"),
    # Run again
    labelme("nothing new", steps(A, convert), OK, ("input", "voc"), a=CELL),
    labelme("another file", steps(A, convert, draw("b", TWO)), OK, a=CELL, b=squares(c2=(20, 29))),
    labelme("file gone", steps(A, B, convert, remove("b.json")), "remark", a=CELL),
    labelme("samples replaced", steps(copy_samples, convert, remove_samples, A), "remark", a=CELL),
    labelme("mask edited", steps(A, convert, fill_mask("a")), "remark", ("voc",), a=CELL * 0 + 1),
    labelme(
        "mask edited and annotation corrected",
        steps(A, convert, fill_mask("a"), draw("a", box("cell", 0, 4))),
        "content-differs",
        a=squares(c1=(0, 4)),
    ),
    labelme(
        "converted by an older release",
        steps(A, convert, without_record, draw("a", box("cell", 0, 4))),
        "content-differs",
        a=squares(c1=(0, 4)),
    ),
]
