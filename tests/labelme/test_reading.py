"""Every way a labelme file may be written, and its picture found."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from labelme_content import (
    HEIGHT,
    SQUARE,
    WIDTH,
    as_base64,
    labelme_content,
    picture_bytes,
    png_bytes,
    shape_entry,
    write_json,
)
from PIL import Image

from utils.core.console import UserError
from utils.labelme.painting import rasterise
from utils.labelme.reading import read_annotation

TILTED = [[20, 5], [35, 15], [25, 30], [10, 20]]


def test_reads_what_a_shape_says(tmp_path):
    bitmap = np.random.default_rng(1).random((14, 20)) < 0.5
    encoded = as_base64(png_bytes(bitmap.astype(np.uint8)))
    content = labelme_content(
        shape_entry("  cell\t", group_id=3, flags={"blurred": True}),
        shape_entry("nucleus", [[7, 9], [26, 22]], "mask", mask=encoded),
    )
    annotation = read_annotation(write_json(tmp_path / "a.json", content))
    first, second = annotation.shapes
    assert (first.label, first.shape_type, first.group_id) == ("cell", "polygon", 3)
    assert first.points.tolist() == SQUARE
    np.testing.assert_array_equal(second.mask, bitmap)
    assert annotation.image.shape == (HEIGHT, WIDTH, 3)
    assert (annotation.picture, annotation.suffix, annotation.remarks) == (picture_bytes(), ".png", {})


@pytest.mark.parametrize("shape", [{"label": "cell", "points": SQUARE}, shape_entry(shape_type=None)])
def test_old_versions_without_shape_type_mean_polygons(tmp_path, shape):
    old = {"version": "3.0.0", "lineColor": [0, 255, 0, 128], "fillColor": None, "imagePath": "a.png"}
    content = {**old, "shapes": [shape], "imageData": as_base64(picture_bytes())}
    (parsed,) = read_annotation(write_json(tmp_path / "a.json", content)).shapes
    assert parsed.shape_type == "polygon"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_encodings(tmp_path, encoding):
    path = write_json(tmp_path / "a.json", labelme_content(shape_entry("土石混合体")), encoding)
    assert [shape.label for shape in read_annotation(path).shapes] == ["土石混合体"]


@pytest.mark.parametrize("image_data", [{"imageData": None}, {"imageData": ""}, {}])
def test_windows_separators_in_image_path(tmp_path, image_data):
    content = {"shapes": [shape_entry()], "imagePath": "..\\图片 1\\a b.png", **image_data}
    path = write_json(tmp_path / "json" / "a.json", content)
    (tmp_path / "图片 1").mkdir()
    (tmp_path / "图片 1" / "a b.png").write_bytes(picture_bytes())
    annotation = read_annotation(path)
    assert annotation.picture == picture_bytes()
    assert list(annotation.remarks) == ["the picture lies outside the folder of the file"]


@pytest.mark.parametrize(
    ("image_path", "beside"),
    [("renamed.jpg", "a.png"), ("a.json", "a.TIF"), (None, "a.jpeg"), ("C:\\data\\scan 7.png", "scan 7.png")],
)
def test_picture_under_another_name_is_found_with_a_remark(tmp_path, image_path, beside):
    content = labelme_content(shape_entry(), imagePath=image_path, imageData=None)
    kind = {".png": "PNG", ".tif": "TIFF", ".jpeg": "JPEG"}[Path(beside).suffix.lower()]
    (tmp_path / beside).write_bytes(picture_bytes(kind))
    annotation = read_annotation(write_json(tmp_path / "a.json", content))
    assert annotation.picture == picture_bytes(kind)
    (remark,) = annotation.remarks.values()
    assert all(name in remark for name in (repr(image_path), beside))


def test_other_size_in_the_file_is_a_remark_with_both_sizes(tmp_path):
    content = labelme_content(shape_entry(), imageHeight=480, imageWidth=640)
    annotation = read_annotation(write_json(tmp_path / "a.json", content))
    assert annotation.image.shape[:2] == (HEIGHT, WIDTH)
    (remark,) = annotation.remarks.values()
    assert all(size in remark for size in ("480×640", "40×60"))


XANYLABELING_SHAPE = {
    "label": "cell",
    "score": None,
    "group_id": None,
    "description": "",
    "difficult": False,
    "flags": {},
    "attributes": {},
    "kie_linking": [],
}


@pytest.mark.parametrize(
    ("entry", "shape_type", "points"),
    [
        ({"shape_type": "rectangle", "points": SQUARE}, "rectangle", [SQUARE[0], SQUARE[2]]),
        ({"shape_type": "rectangle", "points": SQUARE[::2]}, "rectangle", SQUARE[::2]),
        ({"shape_type": "rectangle", "points": TILTED}, "oriented_rectangle", TILTED),
        ({"shape_type": "rotation", "points": TILTED, "direction": 0.5}, "oriented_rectangle", TILTED),
        ({"shape_type": "quadrilateral", "points": TILTED}, "oriented_rectangle", TILTED),
    ],
)
def test_dialect_of_xanylabeling(tmp_path, entry, shape_type, points):
    """Fields as X-AnyLabeling 2.4 and 3 write them; heights and widths of -1 stand for unknown ones."""
    more = {"version": "3.2.1", "checked": False, "description": "", "imageHeight": -1, "imageWidth": -1}
    content = labelme_content(XANYLABELING_SHAPE | entry, **more)
    annotation = read_annotation(write_json(tmp_path / "a.json", content))
    (shape,) = annotation.shapes
    assert (shape.label, shape.shape_type, shape.points.tolist()) == ("cell", shape_type, points)
    assert annotation.remarks == {}
    mask = rasterise([shape], (HEIGHT, WIDTH), {"cell": 1})
    # labelme's rectangle is the polygon of its corners, the rim included.
    polygon = points if len(points) == 4 else SQUARE
    expected = cv2.fillPoly(np.zeros((HEIGHT, WIDTH), np.uint8), [np.array(polygon)], 1)
    assert (mask != expected).mean() < 0.01


def test_faulty_shapes_are_left_out_when_asked(tmp_path):
    content = labelme_content(shape_entry(points=SQUARE[:2]), shape_entry("nucleus"), {"points": SQUARE})
    path, skipped = write_json(tmp_path / "a.json", content), []
    assert [shape.label for shape in read_annotation(path, skipped).shapes] == ["nucleus"]
    subjects = [f"{path}, shape 1 (cell)", f"{path}, shape 3"]
    assert [(one.code, one.subject) for one in skipped] == list(
        zip(["point-count", "label-missing"], subjects, strict=True)
    )


def test_picture_of_another_file_beside_that_of_the_own_name(tmp_path):
    """The shapes may belong to either: a.json names b.png, and a.png is there as well."""
    content = labelme_content(shape_entry(), imagePath="b.png", imageData=None)
    path = write_json(tmp_path / "a.json", content)
    (tmp_path / "b.png").write_bytes(picture_bytes())
    assert read_annotation(path).picture == picture_bytes()
    (tmp_path / "a.png").write_bytes(picture_bytes(size=(HEIGHT, WIDTH + 1)))
    with pytest.raises(UserError) as caught:
        read_annotation(path)
    assert (caught.value.code, caught.value.subject) == ("labelme-two-pictures", str(path))
    (tmp_path / "a.png").write_bytes(picture_bytes())  # a copy leaves no doubt
    assert read_annotation(path).remarks == {}


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_turned_embedded_picture_is_annotated_as_stored(tmp_path, orientation, mode):
    """labelme shows embedded pictures without heed of their EXIF orientation."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.open(io.BytesIO(picture_bytes())).convert(mode).save(file, "JPEG", exif=exif)
    content = labelme_content(shape_entry(), image=file.getvalue())
    annotation = read_annotation(write_json(tmp_path / "a.json", content))
    np.testing.assert_array_equal(annotation.image, np.array(Image.open(file)))
    assert (annotation.picture, annotation.suffix, len(annotation.remarks)) == (None, ".png", 1)


def bad_shape(**entry: object) -> dict:
    return labelme_content(shape_entry(**entry))


# Content, the error's code, and the end of its subject.
SMALL_MASK = as_base64(png_bytes(np.ones((3, 8), np.uint8)))
BAD_CONTENT = {
    "a list": ([1, 2], "json-kind", ".json"),
    "no shapes": ({"images": [], "annotations": []}, "json-kind", ".json"),
    "shapes null": (labelme_content(shapes=None), "json-kind", ".json"),
    "two-point polygon": (bad_shape(points=SQUARE[:2]), "point-count", "shape 1 (cell)"),
    "no points": (bad_shape(points=None), "point-count", "shape 1 (cell)"),
    "unknown type": (bad_shape(shape_type="cuboid"), "shape-type", "shape 1 (cell)"),
    "circle": (bad_shape(points=SQUARE[:3], shape_type="circle"), "point-count", "shape 1 (cell)"),
    "rectangle": (bad_shape(points=SQUARE[:3], shape_type="rectangle"), "point-count", "shape 1 (cell)"),
    "line": (bad_shape(shape_type="line"), "point-count", "shape 1 (cell)"),
    "point": (bad_shape(shape_type="point"), "point-count", "shape 1 (cell)"),
    "rotation": (bad_shape(points=SQUARE[:2], shape_type="rotation"), "point-count", "shape 1 (cell)"),
    "oriented": (bad_shape(points=SQUARE[:3], shape_type="oriented_rectangle"), "point-count", "(cell)"),
    "triples": (bad_shape(points=[[1, 2, 3]] * 3), "point-form", "(cell)"),
    "ragged": (bad_shape(points=[[1, 2], [3], [4, 5]]), "point-form", "(cell)"),
    "words": (bad_shape(points=[["a", "b"]] * 3), "point-form", "(cell)"),
    "NaN": (bad_shape(points=[[1, 2], [float("nan"), 3], [4, 5]]), "point-range", "(cell)"),
    "far off": (bad_shape(points=[[1, 2], [1e12, 3]], shape_type="circle"), "point-range", "(cell)"),
    "no label": (labelme_content({"points": SQUARE}), "label-missing", "shape 1"),
    "blank label": (labelme_content(shape_entry(), shape_entry("  ")), "label-missing", "shape 2"),
    "shape no object": (labelme_content("cell"), "label-missing", "shape 1"),
    "mask size": (
        bad_shape(points=[[5, 5], [9, 9]], shape_type="mask", mask=SMALL_MASK),
        "shape-mask-size",
        "(cell)",
    ),
    "mask missing": (bad_shape(points=[[5, 5], [9, 9]], shape_type="mask"), "base64-broken", "(cell), mask"),
    "base64": (labelme_content(shape_entry(), imageData="abcde"), "base64-broken", "imageData"),
    "imageData no text": (labelme_content(shape_entry(), imageData=[1]), "base64-broken", "imageData"),
    "no picture": (labelme_content(shape_entry(), image=b"hello, world"), "picture-format", "imageData"),
    "cut off": (
        labelme_content(shape_entry(), image=picture_bytes("JPEG")[:500]),
        "picture-damaged",
        "imageData",
    ),
    "not found": (labelme_content(shape_entry(), imageData=None), "labelme-picture-missing", ".json"),
}


@pytest.mark.parametrize("case", BAD_CONTENT)
def test_bad_file_is_refused(tmp_path, case):
    content, code, subject = BAD_CONTENT[case]
    path = write_json(tmp_path / "bad.json", content)
    with pytest.raises(UserError) as caught:
        read_annotation(path)
    assert caught.value.code == code
    assert caught.value.subject.startswith(str(path))
    assert caught.value.subject.endswith(subject)


@pytest.mark.parametrize("data", [b"", b'{"shapes": [', b"\xff\xfe\x00", b"[" * 100_000])
def test_bytes_that_are_no_json(tmp_path, data):
    (tmp_path / "bad.json").write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_annotation(tmp_path / "bad.json")
    assert (caught.value.code, caught.value.subject) == ("json-malformed", str(tmp_path / "bad.json"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_file_without_permission(tmp_path):
    path = write_json(tmp_path / "a.json", labelme_content(shape_entry()))
    path.chmod(0)
    with pytest.raises(UserError) as caught:
        read_annotation(path)
    assert caught.value.code == "json-unreadable"


def test_large_file_of_another_kind_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.labelme.reading.LARGE_FILE", 100)
    monkeypatch.setattr("utils.labelme.reading.json.loads", lambda text: pytest.fail("parsed"))
    path = write_json(tmp_path / "coco.json", {"annotations": [{"id": number} for number in range(99)]})
    with pytest.raises(UserError) as caught:
        read_annotation(path)
    assert caught.value.code == "json-kind"


def test_file_beyond_the_memory(tmp_path, monkeypatch):
    def refuse(text):
        raise MemoryError

    monkeypatch.setattr("utils.labelme.reading.json.loads", refuse)
    with pytest.raises(UserError) as caught:
        read_annotation(write_json(tmp_path / "a.json", labelme_content(shape_entry())))
    assert (caught.value.code, caught.value.subject) == ("json-memory", str(tmp_path / "a.json"))
