"""Importing the files of CVAT, the VGG Image Annotator and Label Studio."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as codec
from refusal import refused
from scripts import save_as

from import_dataset import Config, main
from utils.images.reading import read_mask
from utils.voc.folder import VocFolder

SAMPLES = Path(__file__).with_name("samples")
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
# What label_studio_sdk.converter.brush.mask2rle made of RING.
BRUSH = [
    *(
        0,
        0,
        31,
        64,
        57,
        27,
        255,
        9,
        155,
        0,
        143,
        255,
        91,
        128,
        97,
        191,
        253,
        78,
        1,
        136,
        255,
        244,
        248,
        6,
        19,
    ),
    *(255, 140, 3, 9, 255, 233, 176, 11, 127, 248, 76, 2, 223, 254, 155, 0, 183, 255, 132, 192, 45, 255, 233),
    *(
        112,
        11,
        127,
        248,
        108,
        2,
        223,
        254,
        151,
        0,
        183,
        255,
        132,
        192,
        45,
        255,
        233,
        176,
        11,
        127,
        248,
        76,
        2,
    ),
    *(223, 254, 155, 0, 194, 127, 241, 128, 97, 63, 253, 62, 1, 136, 255, 245, 56, 6, 27, 255, 214, 224, 17),
    *(255, 240, 195, 240, 0),
]


def disc(x, y, radius):
    rows, columns = np.indices((40, 50))
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def polygon(*numbers):
    return codec.decode(codec.frPyObjects([list(numbers)], 40, 50))[..., 0].astype(bool)


RING = disc(15, 18, 6) & ~disc(15, 18, 3)


def convert(tmp_path, **settings):
    for name in ("a.jpg", "b.jpg"):
        save_as(tmp_path / "in" / "images" / name, PICTURE)
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc", **settings))
    return VocFolder(tmp_path / "voc")


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_cvat_as_datumaro_writes_it(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    shutil.copy(SAMPLES / "cvat_by_datumaro.xml", tmp_path / "in" / "annotations.xml")
    folder = convert(tmp_path, instances=True)
    assert folder.read_class_names() == ["background", "cell", "细胞核"]
    expected = polygon(5.5, 4.25, 30.0, 6.5, 24.25, 33.0, 8.0, 30.5).astype(np.uint8)
    expected[20:30, 30:42] = 1
    expected[RING] = 2
    np.testing.assert_array_equal(read_mask(folder.mask_path("a")), expected)
    assert read_mask(folder.objects_path("a")).max() == 3
    # In b the polygon, with the higher z_order, covers the disc.
    expected = 2 * disc(25, 20, 9).astype(np.uint8)
    expected[10:30, 20:45] = 1
    np.testing.assert_array_equal(read_mask(folder.mask_path("b")), expected)
    assert "1 × polyline" in capsys.readouterr().err


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><job><labels><label><name>cell</name></label></labels></job></meta>
<image id="0" name="images/a.jpg" width="50" height="40" subset="{subset}">{shapes}</image></annotations>
"""


def write_cvat(tmp_path, shapes, subset=""):
    (tmp_path / "in").mkdir()
    content = CVAT.format(shapes=shapes, subset=subset)
    (tmp_path / "in" / "annotations.xml").write_text(content, encoding="utf-8")


def test_cvat_masks_of_a_part_and_turned_shapes(tmp_path):
    shapes = (
        '<mask label="cell" rle="1, 2, 1, 4" left="3" top="5" width="4" height="2" z_order="0"></mask>'
        '<box label="cell" xtl="20" ytl="10" xbr="40" ybr="14" rotation="90" z_order="0"></box>'
        '<ellipse label="cell" cx="12" cy="25" rx="8" ry="2" rotation="90" z_order="0"></ellipse>'
    )
    write_cvat(tmp_path, shapes, subset="Validation")
    folder = convert(tmp_path)
    mask = read_mask(folder.mask_path("a"))
    np.testing.assert_array_equal(mask[5:7, 3:7], [[0, 1, 1, 0], [1, 1, 1, 1]])
    expected = np.zeros((40, 50), bool)
    expected[2:22, 28:32] = True
    np.testing.assert_array_equal(mask[:, 20:] > 0, expected[:, 20:])
    rows, columns = np.nonzero(mask[10:, :20])
    assert (rows.min() + 10, rows.max() + 10, columns.min(), columns.max()) == (17, 32, 10, 13)
    assert folder.read_split("val") == ["a"]


@pytest.mark.parametrize(
    ("shapes", "code"),
    [
        ('<polygon label="cell" points="1,2;3,4" z_order="0"></polygon>', "region"),
        ('<polygon label="cell" points="1,2;3" z_order="0"></polygon>', "region"),
        ('<polygon label="cell" z_order="0"></polygon>', "cvat-entry"),
        ('<polygon label="cell" points="a,b" z_order="0"></polygon>', "cvat-entry"),
        ('<mask label="cell" rle="1, 2" left="3" top="5" width="4" height="2"></mask>', "region"),
        ('<mask label="cell" rle="0, 8" left="49" top="5" width="4" height="2"></mask>', "region"),
        ("<polygon", "cvat-entry"),
        ('</image><track id="0" label="cell"></track><image>', "cvat-video"),
    ],
)
def test_faults_of_cvat(tmp_path, shapes, code):
    write_cvat(tmp_path, shapes)
    save_as(tmp_path / "in" / "a.jpg", PICTURE)
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert error.code == code


def region(attributes, **shape):
    return {"shape_attributes": shape, "region_attributes": attributes}


TRIANGLE = {"name": "polygon", "all_points_x": [2, 20, 4], "all_points_y": [3, 5, 30]}


def write_via_csv(path, entries, first):
    """As exportProjectAsCSV of VIA 2.0 does, whose VIA 1 began the header with #."""

    def quote(value):
        return '"' + json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace('"', '""') + '"'

    lines = [f"{first},file_size,file_attributes,region_count,region_id,{SHAPE},{ATTRIBUTES}"]
    for one in entries:
        regions = one["regions"] or [{"shape_attributes": {}, "region_attributes": {}}]
        start = f'{one["filename"]},{one["size"]},"{{}}",{len(one["regions"])}'
        lines += [
            f"{start},{number},{quote(each['shape_attributes'])},{quote(each['region_attributes'])}"
            for number, each in enumerate(regions)
        ]
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines), encoding="utf-8")


SHAPE, ATTRIBUTES = "region_shape_attributes", "region_attributes"


@pytest.mark.parametrize("project", [False, True, "csv"])
@pytest.mark.parametrize("version", [1, 2])
def test_via(tmp_path, project, version, capsys):
    regions = [
        region({"class": "cell", "note": ""}, **TRIANGLE),
        region({"class": {"nucleus": True}, "note": "x"}, name="rect", x=30, y=10, width=8, height=4),
        region({"class": "cell"}, name="circle", cx=36, cy=30, r=4),
        region({"class": "cell"}, name="ellipse", cx=12, cy=36, rx=6, ry=1.5, theta=0),
        region({"class": "cell"}, name="point", cx=1, cy=1),
    ]
    listed = regions if version == 2 else {str(number): one for number, one in enumerate(regions)}
    entries = {
        "a.jpg123": {"filename": "a.jpg", "size": 123, "regions": listed, "file_attributes": {}},
        "b.jpg123": {"filename": "b.jpg", "size": 123, "regions": type(listed)(), "file_attributes": {}},
    }
    content = {"_via_settings": {}, "_via_img_metadata": entries} if project else entries
    if project == "csv":
        listed = [one | {"regions": regions * (one["filename"] == "a.jpg")} for one in entries.values()]
        write_via_csv(tmp_path / "in" / "via.csv", listed, "#filename" if version == 1 else "filename")
    else:
        write_json(tmp_path / "in" / "via.json", content)
    folder = convert(tmp_path)
    assert folder.read_class_names() == ["background", "cell", "nucleus"]
    mask = read_mask(folder.mask_path("a"))
    np.testing.assert_array_equal(mask[:30, :25] > 0, polygon(2, 3, 20, 5, 4, 30)[:30, :25])
    np.testing.assert_array_equal(np.argwhere(mask == 2)[[0, -1]], [[10, 30], [13, 37]])
    assert 44 <= (mask[26:34, 32:40] == 1).sum() <= 56  # π · 4² = 50.3
    assert not read_mask(folder.mask_path("b")).any()
    error = capsys.readouterr().err
    assert "1 × point" in error
    assert "1 picture without an object" in error


@pytest.mark.parametrize(
    ("regions", "code"),
    [
        ([region({"a": "cell"}, **TRIANGLE), region({"b": "x"}, **TRIANGLE)], "via-attribute"),
        ([region({"class": "cell"}, **TRIANGLE), region({"class": ""}, **TRIANGLE)], "via-class"),
        ([region({"class": "cell"}, name="polygon", all_points_x=[1], all_points_y=[1])], "region"),
        ([region({"class": "cell"}, name="polygon", all_points_x=[1, 2], all_points_y=[1])], "via-entry"),
        ([{"shape_attributes": TRIANGLE}], "via-entry"),
        ([], "classes-missing"),
    ],
)
def test_faults_of_via(tmp_path, regions, code):
    save_as(tmp_path / "in" / "a.jpg", PICTURE)
    write_json(tmp_path / "in" / "via.json", {"a": {"filename": "a.jpg", "size": 1, "regions": regions}})
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert error.code == code


@pytest.mark.parametrize("row", ["a.jpg,1,{},1,0,{},x", "a.jpg,1,{},1", f"a.jpg,1,{'9' * 200_000}"])
def test_faults_of_a_csv_of_via(tmp_path, row):
    save_as(tmp_path / "in" / "a.jpg", PICTURE)
    write_via_csv(tmp_path / "in" / "x" / "via.csv", [], "filename")
    with (tmp_path / "in" / "x" / "via.csv").open("a", encoding="utf-8") as file:
        file.write(f"\n{row}\n")
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert error.code == "via-entry"


def test_objects_of_a_larger_picture_are_told(tmp_path, capsys):
    """VIA states no size of pictures: polygons that leave them betray a resized copy."""
    outside = {"name": "polygon", "all_points_x": [80, 120, 100], "all_points_y": [3, 5, 30]}
    regions = [region({"class": "cell"}, **TRIANGLE), region({"class": "cell"}, **outside)]
    write_json(tmp_path / "in" / "via.json", {"a": {"filename": "a.jpg", "size": 1, "regions": regions}})
    convert(tmp_path)
    error = capsys.readouterr().err
    assert "1 object without a pixel" in error
    assert "1 object beyond the edge" in error


def result(kind, label, number="r", **value):
    names = {kind: [label]} if label else {}
    size = {"original_width": 50, "original_height": 40, "image_rotation": 0}
    return {"id": number, "type": kind, **size, "value": {**value, **names}}


CORNERS = [[10, 10], [40, 10], [40, 60]]  # percent: 5, 4; 20, 4; 20, 24
RESULTS = [
    result("polygonlabels", "cell", "p", points=CORNERS, closed=True),
    result("brushlabels", "细胞核", "q", format="rle", rle=BRUSH),
    result("rectanglelabels", "cell", "r", x=60, y=50, width=20, height=10, rotation=90),
    # One region in two results: shape and label.
    result("ellipse", None, "s", x=80, y=20, radiusX=8, radiusY=10, rotation=0),
    result("labels", "cell", "s", x=80, y=20, radiusX=8, radiusY=10, rotation=0),
    {"id": "t", "type": "choices", "value": {"choices": ["good"]}},
]


@pytest.mark.parametrize(
    "image", ["/data/upload/3/0a1b2c3d-a.jpg", "/data/local-files/?d=x%2Fimages%2Fa.jpg"]
)
def test_label_studio(tmp_path, image, capsys):
    skipped = {
        "was_cancelled": True,
        "result": [result("polygonlabels", "other", points=[[0, 0], [1, 0], [1, 1]])],
    }
    annotations = [skipped, {"result": RESULTS}, {"result": []}]
    tasks = [
        {"id": 1, "data": {"image": image}, "annotations": annotations},
        {"id": 2, "data": {"image": "b.jpg"}, "annotations": [skipped]},
    ]
    write_json(tmp_path / "in" / "project-1.json", tasks)
    check_label_studio(convert(tmp_path, instances=True), capsys.readouterr().err)


def check_label_studio(folder, messages=None):
    assert sorted(folder.images) == ["a"]
    assert folder.read_class_names() == ["background", "cell", "细胞核"]
    mask = read_mask(folder.mask_path("a"))
    np.testing.assert_array_equal(mask == 2, RING)
    np.testing.assert_array_equal(mask[:12, :25] > 0, (polygon(5, 4, 20, 4, 20, 24) | RING)[:12, :25])
    # 30, 20 is the corner about which the rectangle of 10×4 pixels is turned.
    rows, columns = np.nonzero(mask[18:, 22:] == 1)
    assert (rows.min() + 18, rows.max() + 18, columns.min() + 22, columns.max() + 22) == (20, 29, 26, 29)
    assert 44 <= (mask[:14, 34:] == 1).sum() <= 56  # π · 4²
    if messages is not None:
        assert read_mask(folder.objects_path("a")).max() == 4
        assert "1 × task without an annotation" in messages
        assert "1 × further annotation" in messages


def test_label_studio_json_min(tmp_path):
    def flat(one):
        return {**one["value"], "original_width": 50, "original_height": 40}

    shapes = [flat(one) for one in RESULTS if "original_width" in one and one["type"] != "ellipse"]
    task = {"id": 1, "annotation_id": 4, "image": "/data/upload/3/0a1b2c3d-a.jpg", "label": shapes}
    write_json(tmp_path / "in" / "project-1.json", [task])
    check_label_studio(convert(tmp_path))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda one: one["value"].update(rle=BRUSH[:50]), "region"),
        (lambda one: one["value"].update(rle=[1, 2, 3]), "region"),
        (lambda one: one.update(image_rotation=90), "label-studio-turned"),
        (lambda one: one.update(original_width=51), "picture-size"),
        (lambda one: one["value"].pop("brushlabels"), "classes-missing"),
        (lambda one: one.pop("original_height"), "label-studio-entry"),
    ],
)
def test_faults_of_label_studio(tmp_path, spoil, code):
    one = result("brushlabels", "cell", format="rle", rle=BRUSH)
    spoil(one)
    save_as(tmp_path / "in" / "a.jpg", PICTURE)
    tasks = [{"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"result": [one]}]}]
    write_json(tmp_path / "in" / "x.json", tasks)
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert error.code == code
