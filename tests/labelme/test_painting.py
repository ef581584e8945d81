"""Masks painted from shapes: equal to labelme's own for every shape type."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelme_content import HEIGHT, WIDTH, box
from PIL import Image, ImageDraw

from utils.core.console import UserError
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL, Shape
from utils.labelme.painting import fill_circle, number_objects, paint, rasterise
from utils.labelme.reading import read_annotation

CLASS_INDEX = {BACKGROUND_LABEL: 0, "cell": 1, "nucleus": 2, IGNORE_LABEL: 255}
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
    def square(label: str, low: int, high: int) -> Shape:
        return Shape(label, np.array([[low, low], [high, high]], np.float64), "rectangle")

    shapes = [square("cell", 0, 29), square(BACKGROUND_LABEL, 5, 14), square(IGNORE_LABEL, 20, 24)]
    mask = rasterise(shapes, (40, 60), {"cell": 7})
    counts = np.bincount(mask.ravel(), minlength=256)
    assert counts[[0, 7, 255]].tolist() == [2400 - 900 + 100, 900 - 100 - 25, 25]
    assert (mask[5, 5], mask[4, 4], mask[24, 24], mask[25, 25]) == (0, 7, 255, 7)


def test_mask_over_the_border_is_cut_off():
    shape = Shape("cell", np.array([[-3.0, -2.0], [1.0, 1.0]]), "mask", None, np.ones((4, 5), bool))
    mask = rasterise([shape], (10, 10), {"cell": 1})
    assert mask.sum() == mask[:2, :2].sum() == 4


def test_real_file(shapes_to_label, shared):
    path = shared / "labelme" / "apc2016_obj3.json"
    if not path.is_file():
        pytest.skip("needs the annotation that labelme ships")
    annotation = read_annotation(path)
    entries = json.loads(path.read_text(encoding="utf-8"))["shapes"]
    class_index = {entry["label"]: index for index, entry in enumerate(entries, 1)}
    expected, _ = shapes_to_label(annotation.image.shape, entries, class_index)
    mask = rasterise(annotation.shapes, annotation.image.shape[:2], class_index)
    np.testing.assert_array_equal(mask, expected)
    assert set(np.unique(expected)) == {0, 1, 2, 3, 4}


def as_shapes(entries: list[dict]) -> list[Shape]:
    return [
        Shape(one["label"], np.array(one["points"], float), one["shape_type"], one["group_id"])
        for one in entries
    ]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["cell", "nucleus"]), st.sampled_from([None, 0, 7]), st.integers(0, 30)),
        max_size=12,
    )
)
def test_random_objects_equal_labelme(drawn):
    to_label = pytest.importorskip("labelme.utils", exc_type=ImportError).shapes_to_label
    entries = [box(label, low, low + 6, group_id) for label, group_id, low in drawn]
    shapes = as_shapes(entries)
    _, expected = to_label((HEIGHT, WIDTH), entries, CLASS_INDEX)
    np.testing.assert_array_equal(paint(shapes, number_objects("a.json", shapes), (HEIGHT, WIDTH)), expected)


def test_more_objects_than_8_bits_hold():
    """255 means ignored, so no object has this number."""
    shapes = as_shapes([box("cell", number % 40, number % 40) for number in range(300)])
    numbers = number_objects("a.json", shapes)
    assert numbers == [*range(1, 255), *range(256, 302)]
    objects = paint(shapes, numbers, (HEIGHT, WIDTH))
    assert objects.dtype == np.uint16
    assert [objects[place, place] for place in (0, 19, 20, 39)] == [282, 301, 262, 281]


@pytest.mark.parametrize("shape_type", POINTS_OF_TYPE)
def test_values_of_16_bits_are_painted_like_those_of_8(shape_type):
    shapes = [make_shape(shape_type), make_shape("point")]
    wide, narrow = (paint(shapes, values, (HEIGHT, WIDTH)) for values in ([300, 301], [1, 2]))
    assert (wide.dtype, narrow.dtype) == (np.uint16, np.uint8)
    np.testing.assert_array_equal(wide, np.array([0, 300, 301])[narrow])


def test_more_objects_than_16_bits_hold(monkeypatch):
    monkeypatch.setattr("utils.labelme.painting.MAX_OBJECTS", 2)
    with pytest.raises(UserError) as caught:
        number_objects("a.json", as_shapes([box("cell", 0, 3)] * 3))
    assert (caught.value.code, caught.value.subject) == ("object-count", "a.json")


@given(st.floats(-90, 150), st.floats(-90, 130), st.floats(0, 400))
@settings(max_examples=300)
def test_the_short_way_for_huge_circles_paints_what_pillow_does(x, y, radius):
    short, long = (Image.new("L", (WIDTH, HEIGHT)) for _ in range(2))
    fill_circle(ImageDraw.Draw(short), (x, y), radius, 7)
    ImageDraw.Draw(long).circle((x, y), radius, fill=7, outline=7)
    np.testing.assert_array_equal(np.array(short), np.array(long))


def test_circles_that_would_take_pillow_hours(monkeypatch):
    """Those that cover the picture or none of it are not drawn; the others are."""
    drawn = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "circle", lambda *args, **kwargs: drawn.append(args))
    shapes = [
        make_shape("circle", points=points) for points in ([[0, 0], [1e9, 0]], [[1e9, 0], [1e9 + 5, 0]])
    ]
    assert (paint(shapes[:1], [3], (HEIGHT, WIDTH)) == 3).all()
    assert not paint(shapes[1:], [3], (HEIGHT, WIDTH)).any()
    assert not drawn
    paint([make_shape("circle")], [3], (HEIGHT, WIDTH))
    assert len(drawn) == 1
