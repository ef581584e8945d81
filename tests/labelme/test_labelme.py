"""labelme files: masks equal to labelme's own, every way a file may be written, and the converter as users run it."""

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from json_to_dataset import Config, main
from utils.core.console import UserError
from utils.images.reading import read_image, read_mask
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL, Annotation, Shape
from utils.labelme.painting import rasterise, rasterise_objects
from utils.labelme.reading import read_annotation
from utils.voc.folder import VocFolder

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "datasets" / "before"
REAL_FILE = Path(__file__).parents[3] / "shared" / "labelme" / "apc2016_obj3.json"
HEIGHT, WIDTH = 40, 60
CLASS_INDEX = {BACKGROUND_LABEL: 0, "cell": 1, "nucleus": 2, IGNORE_LABEL: 255}
SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]

POINTS_OF_TYPE = {
    "polygon": [[3.2, 4.9], [50.5, 8.1], [41.7, 33.3], [12.0, 37.6], [20.4, 18.8]],
    "rectangle": [[48.6, 31.2], [9.4, 5.5]],
    "oriented_rectangle": [[20.5, 2.5], [52.0, 14.0], [44.5, 36.5], [13.0, 25.0]],
    "circle": [[30.3, 20.6], [41.9, 25.4]],
    "line": [[5.5, 35.5], [55.1, 3.2]],
    "linestrip": [[4.0, 4.0], [30.7, 35.2], [55.5, 6.6]],
    "point": [[30.4, 20.7]],
    "mask": [[7.8, 9.6], [26.9, 22.7]],
}


@pytest.fixture(scope="module")
def shapes_to_label():
    return pytest.importorskip("labelme.utils", exc_type=ImportError).shapes_to_label


def picture_bytes(
    file_format: str = "PNG", size: tuple[int, int] = (HEIGHT, WIDTH), orientation: int = 1
) -> bytes:
    """A picture without symmetry, of (height, width) before any turning."""
    y, x = np.mgrid[: size[0], : size[1]]
    image = Image.fromarray(np.stack([x * 4, y * 4, x + y], axis=-1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    image.save(stream, file_format, **({"exif": exif} if orientation != 1 else {}))
    return stream.getvalue()


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def shape_entry(
    label: str = "cell", points: object = SQUARE, shape_type: str | None = "polygon", **more: object
) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": shape_type, "flags": {}, **more}


def labelme_content(*shapes: dict, image: bytes | None = None, **more: object) -> dict:
    """What labelme 5 writes. image: what to embed; None embeds a PNG of HEIGHT × WIDTH."""
    content = {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "a.png",
        "imageData": as_base64(picture_bytes() if image is None else image),
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
    return {**content, **more}


def write_json(path: Path, content: object, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    return path


def run(*arguments: object) -> subprocess.CompletedProcess:
    """The converter as a user starts it."""
    command = [sys.executable, "json_to_dataset.py", *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", timeout=60
    )


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files
    }


def assert_equal_to_labelme(shapes_to_label, shapes: list[Shape]) -> None:
    entries = [
        {
            "label": s.label,
            "points": s.points.tolist(),
            "shape_type": s.shape_type,
            "group_id": None,
            "mask": s.mask,
        }
        for s in shapes
    ]
    expected, _ = shapes_to_label((HEIGHT, WIDTH, 3), entries, CLASS_INDEX)
    mask = rasterise(shapes, (HEIGHT, WIDTH), CLASS_INDEX)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, expected)


def make_shape(shape_type: str, label: str = "cell", points: object = None) -> Shape:
    points = np.array(POINTS_OF_TYPE[shape_type] if points is None else points, np.float64)
    bitmap = np.random.default_rng(0).random((14, 20)) < 0.5 if shape_type == "mask" else None
    return Shape(label, points, shape_type, None, bitmap)


@pytest.mark.parametrize("shape_type", POINTS_OF_TYPE)
def test_every_shape_type_equals_labelme(shapes_to_label, shape_type):
    shape = make_shape(shape_type)
    assert 20 < (rasterise([shape], (HEIGHT, WIDTH), CLASS_INDEX) == 1).sum() < HEIGHT * WIDTH
    assert_equal_to_labelme(shapes_to_label, [shape])


def test_overlapping_shapes_holes_and_ignored_regions_equal_labelme(shapes_to_label):
    labels = ["cell", "nucleus", BACKGROUND_LABEL, IGNORE_LABEL] * 2
    shapes = [make_shape(kind, label) for kind, label in zip(POINTS_OF_TYPE, labels, strict=True)]
    assert_equal_to_labelme(shapes_to_label, shapes)
    assert_equal_to_labelme(shapes_to_label, shapes[::-1])
    upwards, downwards = (rasterise(order, (HEIGHT, WIDTH), CLASS_INDEX) for order in (shapes, shapes[::-1]))
    assert set(np.unique(upwards)) == {0, 1, 2, 255}
    assert (upwards != downwards).any()


# Off the picture on every side, on whole, half and odd fractions of a pixel.
coordinate = st.one_of(
    st.integers(-20, 80).map(float), st.integers(-40, 160).map(lambda i: i / 2), st.floats(-20, 80, width=32)
)
point = st.tuples(coordinate, coordinate)


@pytest.mark.parametrize(
    ("shape_type", "fewest", "most"),
    [
        ("polygon", 3, 8),
        ("rectangle", 2, 2),
        ("circle", 2, 2),
        ("line", 2, 2),
        ("linestrip", 2, 5),
        ("point", 1, 1),
    ],
)
def test_random_shapes_equal_labelme(shapes_to_label, shape_type, fewest, most):
    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.lists(point, min_size=fewest, max_size=most), st.lists(point, min_size=fewest, max_size=most))
    def check(below, above):
        shapes = [make_shape(shape_type, "cell", below), make_shape(shape_type, "nucleus", above)]
        assert_equal_to_labelme(shapes_to_label, shapes)

    check()


def test_points_are_a_disc_at_every_point(shapes_to_label):
    points = [[8.5, 9.0], [30.2, 20.9], [55.0, 39.0]]
    discs = [make_shape("point", "cell", [xy]) for xy in points]
    np.testing.assert_array_equal(
        rasterise([make_shape("points", "cell", points)], (HEIGHT, WIDTH), CLASS_INDEX),
        rasterise(discs, (HEIGHT, WIDTH), CLASS_INDEX),
    )
    assert_equal_to_labelme(shapes_to_label, discs)


def test_hole_and_ignored_region_have_their_values():
    def box(label: str, low: int, high: int) -> Shape:
        return Shape(label, np.array([[low, low], [high, high]], np.float64), "rectangle")

    mask = rasterise(
        [box("cell", 0, 29), box(BACKGROUND_LABEL, 5, 14), box(IGNORE_LABEL, 20, 24)], (40, 60), {"cell": 7}
    )
    assert np.bincount(mask.ravel(), minlength=256)[[0, 7, 255]].tolist() == [
        2400 - 900 + 100,
        900 - 100 - 25,
        25,
    ]
    assert (mask[5, 5], mask[4, 4], mask[24, 24], mask[25, 25]) == (0, 7, 255, 7)


def test_mask_over_the_border_is_cut_off():
    shape = Shape("cell", np.array([[-3.0, -2.0], [1.0, 1.0]]), "mask", None, np.ones((4, 5), bool))
    mask = rasterise([shape], (10, 10), {"cell": 1})
    assert mask.sum() == mask[:2, :2].sum() == 4


def test_reads_what_a_shape_says(tmp_path):
    bitmap = np.random.default_rng(1).random((14, 20)) < 0.5
    encoded = as_base64(_png(bitmap.astype(np.uint8)))
    content = labelme_content(
        shape_entry("  cell\t", group_id=3, flags={"blurred": True}),
        shape_entry("nucleus", [[7, 9], [26, 22]], "mask", mask=encoded),
    )
    annotation = read_annotation(write_json(tmp_path / "a.json", content))
    first, second = annotation.shapes
    assert (first.label, first.shape_type, first.group_id, first.points.tolist()) == (
        "cell",
        "polygon",
        3,
        SQUARE,
    )
    np.testing.assert_array_equal(second.mask, bitmap)
    assert annotation.image.shape == (HEIGHT, WIDTH, 3)
    assert (annotation.picture, annotation.suffix, annotation.remarks) == (picture_bytes(), ".png", ())


def _png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


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


def test_line_break_in_a_label_makes_no_second_class(tmp_path):
    write_json(tmp_path / "a.json", labelme_content(shape_entry("red\r\nblood\u2028cell\n")))
    main(Config(input=tmp_path, voc_root=tmp_path / "voc"))
    names = (tmp_path / "voc" / "class_names.txt").read_text(encoding="utf-8").splitlines()
    assert names == ["_background_", "red blood cell"]


@pytest.mark.parametrize("image_data", [{"imageData": None}, {"imageData": ""}, {}])
def test_windows_separators_in_image_path(tmp_path, image_data):
    content = {"shapes": [shape_entry()], "imagePath": "..\\图片 1\\a b.png", **image_data}
    path = write_json(tmp_path / "json" / "a.json", content)
    (tmp_path / "图片 1").mkdir()
    (tmp_path / "图片 1" / "a b.png").write_bytes(picture_bytes())
    annotation = read_annotation(path)
    assert annotation.picture == picture_bytes()
    assert annotation.remarks == ()


@pytest.mark.parametrize(
    ("image_path", "there"),
    [("renamed.jpg", "a.png"), ("a.json", "a.TIF"), (None, "a.jpeg"), ("C:\\data\\scan 7.png", "scan 7.png")],
)
def test_picture_under_another_name_is_found_and_said(tmp_path, capsys, image_path, there):
    content = labelme_content(shape_entry(), imagePath=image_path, imageData=None)
    write_json(tmp_path / "in" / "a.json", content)
    kind = {".png": "PNG", ".tif": "TIFF", ".jpeg": "JPEG"}[Path(there).suffix.lower()]
    (tmp_path / "in" / there).write_bytes(picture_bytes(kind))
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1
    assert f"there is no picture {image_path!r} (imagePath); {there} is taken instead" in warnings[0]


def test_other_size_in_the_file_is_a_warning_with_both_sizes(tmp_path, capsys):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry(), imageHeight=480, imageWidth=640))
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png").shape == (HEIGHT, WIDTH)
    assert "480×640 (height×width), but it is 40×60" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file_format", "suffix"),
    [("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "tif"), ("BMP", "bmp"), ("WEBP", "webp"), ("GIF", "png")],
)
def test_picture_is_kept_under_the_right_ending(tmp_path, file_format, suffix):
    """GIF, which may hold several frames, becomes the one picture that was annotated."""
    data = picture_bytes(file_format)
    (tmp_path / "misnamed.jpg").write_bytes(data)
    content = labelme_content(shape_entry(), imagePath="misnamed.jpg", imageData=None)
    annotation = read_annotation(write_json(tmp_path / "a.json", content))
    main(Config(input=tmp_path, voc_root=tmp_path / "voc"))
    (written,) = (tmp_path / "voc" / "JPEGImages").iterdir()
    assert written.name == f"a.{suffix}"
    assert (written.read_bytes() == data) == (file_format != "GIF")
    np.testing.assert_array_equal(read_image(written), annotation.image)


@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_picture_file_is_annotated_upright(tmp_path, orientation):
    """labelme turns picture files upright before showing them."""
    data = picture_bytes("JPEG", (HEIGHT, WIDTH) if orientation == 3 else (WIDTH, HEIGHT), orientation)
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry(), imagePath="a.jpg", imageData=None))
    (tmp_path / "in" / "a.jpg").write_bytes(data)
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert (tmp_path / "voc" / "JPEGImages" / "a.jpg").read_bytes() == data
    mask = read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png")
    assert mask.shape == read_image(tmp_path / "voc" / "JPEGImages" / "a.jpg").shape[:2] == (HEIGHT, WIDTH)
    assert mask[20, 20] == 1


@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_embedded_picture_is_annotated_as_stored(tmp_path, capsys, orientation):
    """labelme shows embedded pictures without heed of their EXIF orientation."""
    data = picture_bytes("JPEG", orientation=orientation)
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry(), image=data))
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    written = read_image(tmp_path / "voc" / "JPEGImages" / "a.png")
    with Image.open(io.BytesIO(data)) as stored:
        np.testing.assert_array_equal(written, np.array(stored))
    assert read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png").shape == (HEIGHT, WIDTH)
    assert "marked as turned (EXIF)" in capsys.readouterr().err


@pytest.mark.skipif(not REAL_FILE.is_file(), reason="needs the annotation that labelme ships")
def test_real_file(shapes_to_label):
    annotation = read_annotation(REAL_FILE)
    entries = json.loads(REAL_FILE.read_text(encoding="utf-8"))["shapes"]
    class_index = {entry["label"]: index for index, entry in enumerate(entries, 1)}
    expected, _ = shapes_to_label(annotation.image.shape, entries, class_index)
    np.testing.assert_array_equal(
        rasterise(annotation.shapes, annotation.image.shape[:2], class_index), expected
    )
    assert set(np.unique(expected)) == {0, 1, 2, 3, 4}


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """The shipped samples, converted into a folder with Chinese characters and blanks in its name."""
    voc_root = tmp_path_factory.mktemp("数据 集") / "VOC 2007"
    return voc_root, run("--input", SAMPLES, "--voc-root", voc_root)


def test_samples_end_to_end(converted):
    voc_root, result = converted
    assert result.returncode == 0, result.stderr
    names = (voc_root / "class_names.txt").read_text(encoding="utf-8").splitlines()
    assert names == ["_background_", "cup", "apple", "orange", "carton", "banana"]
    for name in ("fruit_1", "fruit_2"):
        picture = voc_root / "JPEGImages" / f"{name}.jpg"
        assert picture.read_bytes() == (SAMPLES / f"{name}.jpg").read_bytes()
        assert (
            read_mask(voc_root / "SegmentationClass" / f"{name}.png").shape == read_image(picture).shape[:2]
        )
    first, second = (read_mask(voc_root / "SegmentationClass" / f"fruit_{number}.png") for number in (1, 2))
    assert set(np.unique(first)) == {0, 1, 2, 3, 255}
    assert set(np.unique(second)) == {0, 2, 3, 4, 5, 255}
    # The cup's body, the hole in its handle, the handle, the red apple, the orange, the crumbs.
    assert [first[y, x] for x, y in [(185, 70), (212, 70), (223, 70), (66, 95), (122, 118), (10, 180)]] == [
        *(1, 0, 1, 2, 3, 255)
    ]


def test_samples_end_to_end_output(converted):
    voc_root, result = converted
    lines = result.stdout.splitlines()
    assert "2 labelme files: 4 files written, 0 there already" in lines
    assert "class order: first appearance over the files sorted by name" in lines
    assert lines[-1] == f'next: python voc2unet.py --voc-root "{voc_root}"'
    rows = {line.split()[4]: line.split()[:3] for line in lines if line.strip()[:1].isdigit() and "%" in line}
    masks = np.stack([read_mask(path) for path in sorted((voc_root / "SegmentationClass").iterdir())])
    pixels = np.bincount(masks.ravel(), minlength=256)
    assert rows["orange"] == ["3", "3", str(pixels[3])]
    assert rows["__ignore__"] == ["255", "2", str(pixels[255])]
    assert sum(int(row[2]) for row in rows.values()) == masks.size


def test_twice_is_once(converted):
    voc_root, _ = converted
    before = snapshot(voc_root)
    main(Config(input=SAMPLES, voc_root=voc_root))
    assert len(before) == 5
    assert snapshot(voc_root) == before


def test_chinese_input_folder_labels_and_names(tmp_path):
    write_json(tmp_path / "标注 一" / "图 1.json", labelme_content(shape_entry("土石")), "gb18030")
    main(Config(input=tmp_path / "标注 一", voc_root=tmp_path / "数据"))
    assert (tmp_path / "数据" / "class_names.txt").read_text(encoding="utf-8") == "_background_\n土石\n"
    assert (tmp_path / "数据" / "JPEGImages" / "图 1.png").read_bytes() == picture_bytes()
    assert (read_mask(tmp_path / "数据" / "SegmentationClass" / "图 1.png") == 1).sum() == 21 * 21


def test_existing_class_names_keep_their_order(tmp_path, capsys):
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "class_names.txt").write_text("background\ncell\n", encoding="utf-8")
    boxes = {"nucleus": (10, 30), "cell": (0, 4), BACKGROUND_LABEL: (12, 14), "background": (17, 19)}
    shapes = [
        shape_entry(label, [[low, low], [high, high]], "rectangle") for label, (low, high) in boxes.items()
    ]
    write_json(tmp_path / "in" / "a.json", labelme_content(*shapes))
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    names = (tmp_path / "voc" / "class_names.txt").read_text(encoding="utf-8").splitlines()
    assert names == ["background", "cell", "nucleus"]
    mask = read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png")
    assert (mask[2, 2], mask[20, 20], mask[13, 13], mask[18, 18]) == (1, 2, 0, 0)
    output = capsys.readouterr().out
    assert "added after it: nucleus" in output
    assert ["0", "2", str((mask == 0).sum())] in [line.split()[:3] for line in output.splitlines()]


def test_labels_file_fixes_the_order(tmp_path, capsys):
    labels = tmp_path / "labels.txt"
    labels.write_text("__ignore__\n_background_\nnucleus\nnever used\ncell\n", encoding="utf-8")
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry("cell")))
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc", labels=labels))
    names = (tmp_path / "voc" / "class_names.txt").read_text(encoding="utf-8").splitlines()
    assert names == ["_background_", "nucleus", "never used", "cell"]
    assert read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png").max() == 3
    assert f"class order: the lines of {labels}" in capsys.readouterr().out


def test_empty_list_of_shapes_is_background_with_a_warning(tmp_path, capsys):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    write_json(tmp_path / "in" / "b.json", labelme_content())
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert not read_mask(tmp_path / "voc" / "SegmentationClass" / "b.png").any()
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1
    assert "b.json: an empty list of shapes" in warnings[0]


def test_class_without_pixels_is_pointed_out(tmp_path, capsys):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry("nucleus"), shape_entry("cell")))
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert "class nucleus: 1 shape(s), but no pixel" in capsys.readouterr().err


def test_other_mask_or_picture_of_the_same_name_is_kept(tmp_path):
    config = Config(input=tmp_path / "in", voc_root=tmp_path / "voc")
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    main(config)
    before = snapshot(tmp_path / "voc")
    other = labelme_content(
        shape_entry(points=[[0, 0], [9, 0], [9, 9]]), image=picture_bytes(size=(HEIGHT, WIDTH + 1))
    )
    write_json(tmp_path / "in" / "a.json", other)
    write_json(tmp_path / "in" / "b.json", labelme_content(shape_entry("new")))
    with pytest.raises(UserError) as caught:
        main(config)
    message = str(caught.value)
    assert message.count("nothing is written over") == 2
    assert str(tmp_path / "voc" / "JPEGImages" / "a.png") in message
    assert str(tmp_path / "voc" / "SegmentationClass" / "a.png") in message
    assert snapshot(tmp_path / "voc") == before


def test_missing_half_of_a_pair_is_added(tmp_path):
    config = Config(input=tmp_path / "in", voc_root=tmp_path / "voc")
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    main(config)
    mask_path = tmp_path / "voc" / "SegmentationClass" / "a.png"
    mask_bytes = mask_path.read_bytes()
    mask_path.unlink()
    main(config)
    assert mask_path.read_bytes() == mask_bytes


def test_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    def refuse(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(UserError, match="No space left on device"):
        main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert list(snapshot(tmp_path / "voc")) == []


def test_masks_without_class_names_are_left_alone(tmp_path):
    masks = tmp_path / "voc" / "SegmentationClass"
    masks.mkdir(parents=True)
    (masks / "old.png").write_bytes(_png(np.ones((4, 4), np.uint8)))
    before = snapshot(tmp_path / "voc")
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    with pytest.raises(UserError, match=r"masks, but no class_names\.txt"):
        main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert snapshot(tmp_path / "voc") == before


def bad_shape(**entry: object) -> dict:
    return labelme_content(shape_entry(**entry))


BAD_CONTENT = {
    "a list": ([1, 2], "JSON without a list of shapes"),
    "no shapes": ({"images": [], "annotations": []}, "JSON without a list of shapes"),
    "shapes null": (labelme_content(shapes=None), "JSON without a list of shapes"),
    "two-point polygon": (
        bad_shape(points=SQUARE[:2]),
        "2 point(s)",
        "3 or more points [x, y] for shape type polygon",
    ),
    "no points": (bad_shape(points=None), "0 point(s)"),
    "unknown type": (bad_shape(shape_type="cuboid"), "shape type 'cuboid'", "oriented_rectangle"),
    "circle": (
        bad_shape(points=SQUARE[:3], shape_type="circle"),
        "3 point(s)",
        "2 points [x, y] for shape type circle",
    ),
    "rectangle": (
        bad_shape(shape_type="rectangle"),
        "4 point(s)",
        "2 points [x, y] for shape type rectangle",
    ),
    "line": (bad_shape(shape_type="line"), "4 point(s)", "2 points [x, y] for shape type line"),
    "point": (bad_shape(shape_type="point"), "4 point(s)", "1 points [x, y] for shape type point"),
    "oriented": (bad_shape(points=SQUARE[:3], shape_type="oriented_rectangle"), "3 point(s)", "4 points"),
    "triples": (bad_shape(points=[[1, 2, 3]] * 3), "points that are no pairs of numbers"),
    "ragged": (bad_shape(points=[[1, 2], [3], [4, 5]]), "points that are no pairs of numbers"),
    "words": (bad_shape(points=[["a", "b"]] * 3), "points that are no pairs of numbers"),
    "NaN": (bad_shape(points=[[1, 2], [float("nan"), 3], [4, 5]]), "a coordinate of nan"),
    "far off": (bad_shape(points=[[1, 2], [1e12, 3]], shape_type="circle"), "a coordinate of 1e+12"),
    "no label": (labelme_content({"points": SQUARE}), "shape 1", "no label"),
    "blank label": (labelme_content(shape_entry(), shape_entry("  ")), "shape 2", "no label"),
    "shape no object": (labelme_content("cell"), "shape 1", "no label"),
    "mask size": (
        bad_shape(
            points=[[5, 5], [9, 9]], shape_type="mask", mask=as_base64(_png(np.ones((3, 8), np.uint8)))
        ),
        "a mask of 3×8",
        "the 5×5 between its two points",
    ),
    "mask missing": (bad_shape(points=[[5, 5], [9, 9]], shape_type="mask"), "cell), mask", "broken base64"),
    "base64": (labelme_content(shape_entry(), imageData="abcde"), "imageData", "broken base64"),
    "imageData no text": (labelme_content(shape_entry(), imageData=[1]), "imageData", "broken base64"),
    "no picture": (labelme_content(shape_entry(), image=b"hello, world"), "imageData", "that are no picture"),
    "cut off": (
        labelme_content(shape_entry(), image=picture_bytes("JPEG")[:500]),
        "imageData",
        "truncated picture",
    ),
    "not found": (
        labelme_content(shape_entry(), imageData=None),
        "neither 'a.png' (imagePath) nor bad.jpg",
        "copy",
    ),
}


@pytest.mark.parametrize("case", BAD_CONTENT)
def test_bad_file_is_told_and_nothing_is_written(tmp_path, case):
    content, *fragments = BAD_CONTENT[case]
    path = write_json(tmp_path / "in" / "bad.json", content)
    write_json(tmp_path / "in" / "good.json", labelme_content(shape_entry()))
    with pytest.raises(UserError) as caught:
        main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert all(fragment in message for fragment in fragments), message
    assert not (tmp_path / "voc").exists()


@pytest.mark.parametrize("data", [b"", b'{"shapes": [', b"\xff\xfe\x00", b"[" * 100_000])
def test_bytes_that_are_no_json(tmp_path, data):
    (tmp_path / "bad.json").write_bytes(data)
    with pytest.raises(UserError, match="malformed JSON") as caught:
        main(Config(input=tmp_path, voc_root=tmp_path / "voc"))
    assert caught.value.subject == str(tmp_path / "bad.json")
    assert not (tmp_path / "voc").exists()


def test_all_faulty_files_are_reported_together_with_exit_status_2(tmp_path):
    write_json(tmp_path / "in" / "a.json", bad_shape(points=SQUARE[:2]))
    write_json(tmp_path / "in" / "b.json", labelme_content(shape_entry()))
    write_json(tmp_path / "in" / "c.json", {})
    result = run("--input", tmp_path / "in", "--voc-root", tmp_path / "voc")
    assert result.returncode == 2
    assert "2 faults:" in result.stderr
    assert "a.json, shape 1 (cell)\n  found:    2 point(s)" in result.stderr
    assert "c.json\n  found:    JSON without a list of shapes" in result.stderr
    assert "b.json" not in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "voc").exists()


def test_missing_folder_has_exit_status_2(tmp_path):
    result = run("--input", tmp_path / "nowhere", "--voc-root", tmp_path / "voc")
    assert result.returncode == 2
    assert f"{tmp_path / 'nowhere'}\n  found:    no such folder" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "voc").exists()


def test_folder_without_json(tmp_path):
    (tmp_path / "a.png").write_bytes(picture_bytes())
    (tmp_path / "._a.json").write_bytes(b"\0")
    with pytest.raises(UserError, match=r"no \.json file in this folder"):
        main(Config(input=tmp_path, voc_root=tmp_path / "voc"))


def test_two_files_of_one_name(tmp_path):
    for name in ("a.json", "a .json"):
        write_json(tmp_path / name, labelme_content(shape_entry()))
    with pytest.raises(UserError, match="2 files called a"):
        main(Config(input=tmp_path, voc_root=tmp_path / "voc"))


def test_no_class_at_all(tmp_path):
    write_json(tmp_path / "a.json", labelme_content(shape_entry(IGNORE_LABEL)))
    with pytest.raises(UserError, match="no class besides _background_ and __ignore__"):
        main(Config(input=tmp_path, voc_root=tmp_path / "voc"))
    assert not (tmp_path / "voc").exists()


@pytest.mark.parametrize(("count", "passes"), [(254, True), (255, False)])
def test_at_most_255_classes_with_the_background(tmp_path, count, passes):
    write_json(
        tmp_path / "a.json", labelme_content(*(shape_entry(f"class {index}") for index in range(count)))
    )
    config = Config(input=tmp_path, voc_root=tmp_path / "voc")
    if passes:
        main(config)
        assert read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png").max() == 254
    else:
        with pytest.raises(UserError, match="256 classes with the background"):
            main(config)
        assert not (tmp_path / "voc").exists()


@pytest.mark.parametrize(
    ("lines", "fragment"),
    [
        ("nucleus\n", "labels that it lacks: cell"),
        ("cell\ncell\n", "more than once: cell"),
        ("nucleus\ncell\n", "the order nucleus, cell"),
    ],
)
def test_labels_file_that_does_not_fit(tmp_path, lines, fragment):
    (tmp_path / "labels.txt").write_text(lines, encoding="utf-8")
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "class_names.txt").write_text("_background_\ncell\nnucleus\n", encoding="utf-8")
    before = snapshot(tmp_path / "voc")
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry("cell")))
    with pytest.raises(UserError) as caught:
        main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc", labels=tmp_path / "labels.txt"))
    assert caught.value.subject == str(tmp_path / "labels.txt")
    assert fragment in caught.value.found
    assert snapshot(tmp_path / "voc") == before


@pytest.mark.parametrize("obstacle", ["voc", "voc/JPEGImages"])
def test_target_that_cannot_be_written(tmp_path, obstacle):
    (tmp_path / obstacle).parent.mkdir(exist_ok=True)
    (tmp_path / obstacle).write_text("a file where the folder should be", encoding="utf-8")
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    with pytest.raises(UserError, match="it cannot be written"):
        main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))


# Objects


def box(label: str, low: int, high: int, group_id: object = None) -> dict:
    return shape_entry(label, [[low, low], [high, high]], "rectangle", group_id=group_id)


def test_objects_are_numbered_as_first_drawn(tmp_path):
    shapes = [
        box("cell", 0, 3),
        box("nucleus", 5, 8, group_id=1),
        box("cell", 10, 13, group_id=1),
        box("nucleus", 15, 18, group_id=1),
        box(BACKGROUND_LABEL, 6, 7),
        box("cell", 20, 23),
        box(IGNORE_LABEL, 25, 28),
    ]
    write_json(tmp_path / "in" / "a.json", labelme_content(*shapes))
    config = Config(input=tmp_path / "in", voc_root=tmp_path / "voc", instances=True)
    main(config)
    objects = VocFolder(tmp_path / "voc").read_objects("a", (HEIGHT, WIDTH))
    assert [objects[y, y] for y in (2, 5, 6, 12, 17, 22, 27, 35)] == [1, 2, 0, 3, 2, 4, 255, 0]
    classes = read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png")
    np.testing.assert_array_equal(objects == 0, classes == 0)
    before = snapshot(tmp_path / "voc")
    main(config)
    assert snapshot(tmp_path / "voc") == before


def test_other_name_of_the_background_is_no_object(tmp_path):
    write_json(tmp_path / "in" / "a.json", labelme_content(box("grass", 0, 30), box("cell", 5, 8)))
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "class_names.txt").write_text("grass\ncell\n", encoding="utf-8")
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc", instances=True))
    assert set(np.unique(VocFolder(tmp_path / "voc").read_objects("a", (HEIGHT, WIDTH)))) == {0, 1}


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["cell", "nucleus"]), st.sampled_from([None, 0, 7]), st.integers(0, 30)),
        max_size=12,
    )
)
def test_random_objects_equal_labelme(drawn):
    to_label = pytest.importorskip("labelme.utils", exc_type=ImportError).shapes_to_label
    content = [box(label, low, low + 6, group_id) for label, group_id, low in drawn]
    shapes = [Shape(c["label"], np.array(c["points"], float), "rectangle", c["group_id"]) for c in content]
    annotation = Annotation(
        Path("a.json"), np.zeros((HEIGHT, WIDTH), np.uint8), None, ".png", tuple(shapes), ()
    )
    _, expected = to_label((HEIGHT, WIDTH), content, CLASS_INDEX)
    np.testing.assert_array_equal(rasterise_objects(annotation), expected)


@pytest.mark.parametrize(("count", "passes"), [(254, True), (255, False)])
def test_at_most_254_objects(tmp_path, count, passes):
    write_json(tmp_path / "in" / "a.json", labelme_content(*[box("cell", 0, 3)] * count))
    config = Config(input=tmp_path / "in", voc_root=tmp_path / "voc", instances=True)
    if passes:
        main(config)
        assert VocFolder(tmp_path / "voc").read_objects("a", (HEIGHT, WIDTH)).max() == 254
        return
    with pytest.raises(UserError, match=r"(?s)a\.json\n.*255 objects.*at most 254.*group_id"):
        main(config)
    assert not (tmp_path / "voc").exists()


def test_other_object_mask_is_kept(tmp_path):
    config = Config(input=tmp_path / "in", voc_root=tmp_path / "voc", instances=True)
    write_json(tmp_path / "in" / "a.json", labelme_content(box("cell", 0, 3), box("cell", 5, 8)))
    main(config)
    write_json(tmp_path / "in" / "a.json", labelme_content(box("cell", 0, 3, 1), box("cell", 5, 8, 1)))
    with pytest.raises(
        UserError, match=r"SegmentationObject.a\.png\n  found:    a file of this name with other"
    ):
        main(config)


# PaddleSeg's layout


def test_layout_of_paddleseg_in_place(tmp_path, capsys):
    pictures = {"a": picture_bytes("JPEG"), "b": picture_bytes()}
    for name, ending in (("a", "jpg"), ("b", "png")):
        content = labelme_content(box("细胞", 0, 9), imageData=None, imagePath=f"{name}.{ending}")
        write_json(tmp_path / "in" / f"{name}.json", content)
        (tmp_path / "in" / f"{name}.{ending}").write_bytes(pictures[name])
    write_json(tmp_path / "in" / "c.json", labelme_content(box("nucleus", 0, 9)))
    config = Config(input=tmp_path / "in", voc_root=tmp_path / "voc", layout="paddleseg", instances=True)
    main(config)
    written = sorted(set(snapshot(tmp_path / "in")) - {"a.json", "b.json", "c.json", "a.jpg", "b.png"})
    masks = [f"{part}/{name}.png" for part in ("SegmentationObject", "annotations") for name in "abc"]
    assert written == [*masks[:3], *masks[3:], "c.png", "class_names.txt"]
    assert (tmp_path / "in" / "class_names.txt").read_text(
        encoding="utf-8"
    ) == "_background_\n细胞\nnucleus\n"
    assert (read_mask(tmp_path / "in" / "annotations" / "c.png") == 2).sum() == 100
    output = capsys.readouterr().out
    folders = f"--images {tmp_path / 'in'} --voc-root {tmp_path / 'voc'}"
    assert output.endswith(f"next: python import_dataset.py {folders}\n")
    assert not (tmp_path / "voc").exists()
    before = snapshot(tmp_path / "in")
    main(config)
    assert snapshot(tmp_path / "in") == before


def test_picture_beside_its_file_need_not_equal_the_embedded_one(tmp_path):
    write_json(tmp_path / "in" / "a.json", labelme_content(box("cell", 0, 9)))
    (tmp_path / "in" / "a.jpg").write_bytes(picture_bytes("JPEG"))
    config = Config(input=tmp_path / "in", layout="paddleseg")
    main(config)
    assert not (tmp_path / "in" / "a.png").exists()
    (tmp_path / "in" / "a.jpg").write_bytes(picture_bytes("JPEG", (HEIGHT, WIDTH + 1)))
    with pytest.raises(UserError, match=r"a\.jpg"):
        main(config)


# Large files


def test_large_file_of_another_kind_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.labelme.reading.LARGE_FILE", 100)
    monkeypatch.setattr("utils.labelme.reading.json.loads", lambda text: pytest.fail("parsed"))
    path = write_json(tmp_path / "coco.json", {"annotations": [{"id": number} for number in range(99)]})
    with pytest.raises(UserError, match="JSON without a list of shapes"):
        read_annotation(path)


def test_file_beyond_the_memory(tmp_path, monkeypatch):
    def refuse(text):
        raise MemoryError

    monkeypatch.setattr("utils.labelme.reading.json.loads", refuse)
    with pytest.raises(UserError, match=r"a\.json\n  found:    0 MB of JSON"):
        read_annotation(write_json(tmp_path / "a.json", labelme_content(shape_entry())))
