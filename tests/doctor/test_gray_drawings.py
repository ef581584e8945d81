"""Gray drawings with smooth edges: every area stays a class, and no edge becomes one."""

import re

import cv2
import numpy as np
import pytest
from doctor_folder import check, find_fault, flags_of, make_folder, make_pairs, noise
from PIL import Image, ImageDraw
from scripts import save_as

from utils.core.files import write_lines
from utils.doctor.edges import settle_edges
from utils.doctor.mask_map import nearest_level
from utils.images.reading import read_mask
from utils.images.writing import write_image, write_mask
from utils.voc.folder import VocFolder

pytestmark = pytest.mark.usefixtures("without_drawing")
LEVELS = np.array([0, 128, 255])
SCALE = 8


@pytest.fixture
def folder(tmp_path):
    """Three good pairs, a, b and c."""
    return make_folder(tmp_path / "voc")


def draw(shift: int, height: int = 96, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Discs of 255 on 0, 128 on 0 and 255 on 128, their edges smooth, and the class of most of each pixel."""
    large = np.zeros((SCALE * height, SCALE * width), np.uint8)
    for x, y, radius, value in ((25, 24, 17, 2), (66, 64, 25, 1), (66, 64, 12, 2), (22, 70, 12, 1)):
        cv2.circle(large, (SCALE * x + 3 * shift, SCALE * y - shift), SCALE * radius, value, -1)
    # The shares of 0, 128 and 255 in each pixel.
    tiles = large.reshape(height, SCALE, width, SCALE)
    shares = np.stack([(tiles == value).mean((1, 3)) for value in range(3)], 2)
    # Of two equal shares the larger value.
    return np.ceil(shares @ LEVELS).astype(np.uint8), 2 - shares[..., ::-1].argmax(2)


def save_drawings(folder: VocFolder) -> dict[str, np.ndarray]:
    expected = {}
    for index, path in enumerate(sorted(folder.masks_dir.iterdir())):
        drawing, expected[path.name] = draw(index)
        write_image(folder.image_path(path.stem), noise(path.stem, *drawing.shape))
        save_as(path, drawing)
    return expected


@pytest.mark.parametrize("names", [None, ["background", "cell", "nucleus"]])
def test_three_levels(tmp_path, names):
    folder = make_pairs(tmp_path / "voc", 4)
    expected = save_drawings(folder)
    if names:
        write_lines(folder.class_names_path, names)
    error = find_fault(folder)
    assert error.code == "mask-smooth-edges"
    settings = flags_of(folder, error.remedy)
    assert settings["map"] == "0:0,128:1,255:2"
    check(folder, **settings)
    for name, mask in expected.items():
        np.testing.assert_array_equal(read_mask(folder.masks_dir / name), mask)


def test_fewer_class_names_than_levels(tmp_path):
    folder = make_pairs(tmp_path / "voc", 4)
    expected = save_drawings(folder)
    write_lines(folder.class_names_path, ["background", "cell"])
    error = find_fault(folder)
    assert error.code == "mask-smooth-edges"
    assert error.remedy.startswith(f"write {folder.class_names_path}")
    write_lines(folder.class_names_path, ["background", "cell", "nucleus"])
    check(folder, **flags_of(folder, error.remedy.split("then ")[1]))
    for name, mask in expected.items():
        np.testing.assert_array_equal(read_mask(folder.masks_dir / name), mask)


def test_class_of_thin_lines_is_not_taken_for_an_edge(tmp_path):
    folder = make_pairs(tmp_path / "voc", 4)
    for index, path in enumerate(sorted(folder.masks_dir.iterdir())):
        drawing = draw(index)[0]
        outline = cv2.dilate(drawing, np.ones((3, 3))) > drawing
        write_image(folder.image_path(path.stem), noise(path.stem, *drawing.shape))
        save_as(path, np.where(outline & (drawing == 0), 60, drawing).astype(np.uint8))
    error = find_fault(folder)
    assert error.code == "mask-gray-levels"
    assert "python" not in error.remedy
    # What it advises, if the lines are no class after all, works.
    mapping, nearest = re.search(r"--map (\S+) --nearest (\d+)", error.remedy).groups()
    assert mapping == "0:0,128:1,255:2"
    check(folder, map=mapping, nearest=int(nearest))


def test_lines_of_a_third_value_do_not_become_white(tmp_path):
    folder = make_pairs(tmp_path / "voc", 4)
    for index, path in enumerate(sorted(folder.masks_dir.iterdir())):
        drawing = np.zeros((96, 96), np.uint8)
        cv2.circle(drawing, (48, 52 + index), 30, 255, -1, cv2.LINE_AA)
        for x in range(4, 96, 8):
            cv2.line(drawing, (x, 2), (x + index, 18), 128, 1, cv2.LINE_AA)
        write_image(folder.image_path(path.stem), noise(path.stem, *drawing.shape))
        save_as(path, drawing)
    error = find_fault(folder)
    assert error.code == "mask-gray-levels"
    assert "python" not in error.remedy


def classes(drawing: list[list[int]]) -> list[list[int]]:
    settled, lost = settle_edges(np.array(drawing, np.uint8), LEVELS, 64)
    return np.where(lost, 255, nearest_level(LEVELS)[settled]).tolist()


def test_edge_with_the_value_of_a_third_area():
    assert classes([[0, 0, 128, 255]] * 4) == [[0, 0, 2, 2]] * 4
    assert classes([[255, 127, 0, 0]] * 4) == [[2, 0, 0, 0]] * 4


def test_edges_of_the_middle_area():
    assert classes([[0, 70, 128, 128, 128, 180, 255]] * 5) == [[0, 1, 1, 1, 1, 1, 2]] * 5
    assert classes([[0, 60, 128, 128, 128, 200, 255]] * 5) == [[0, 0, 1, 1, 1, 2, 2]] * 5


def test_thin_part_of_an_area():
    mask = np.zeros((5, 8), np.uint8)
    mask[1:4, :3] = mask[2] = 128
    assert classes(mask.tolist()) == (mask // 128).tolist()


def test_thin_line_without_an_area():
    """A line of 128, or half a line of 255: ignored."""
    assert classes([[0, 0, 0], [128, 128, 128], [0, 0, 0]]) == [[0] * 3, [255] * 3, [0] * 3]


def test_class_indices_are_no_gray_levels():
    mask = np.array([[0, 1, 2]] * 3, np.uint8)
    settled, lost = settle_edges(mask, np.array([0, 1, 2]), 1)
    assert settled.tolist() == mask.tolist()
    assert not lost.any()


def draw_smooth(level: float, scale: int = 4) -> np.ndarray:
    """Two discs (40, 60) uint8 of a level, drawn large and reduced, so that their edges are smooth."""
    large = Image.new("L", (60 * scale, 40 * scale))
    for x, y, radius in ((15, 15, 9), (40, 22, 12)):
        box = [scale * (x - radius), scale * (y - radius), scale * (x + radius), scale * (y + radius)]
        ImageDraw.Draw(large).ellipse(box, fill=255)
    return (np.array(large).reshape(40, scale, 60, scale).mean(axis=(1, 3)) / 255 * level).astype(np.uint8)


@pytest.mark.parametrize(("level", "scale"), [(255, 2), (255, 8), (200, 4)])
@pytest.mark.parametrize("named", [False, True])
def test_smooth_edges_are_no_classes(folder, level, scale, named):
    folder.class_names_path.unlink()
    if named:
        write_lines(folder.class_names_path, ["background", "cell"])
    drawn = draw_smooth(level, scale)
    for name in "abc":
        write_image(folder.image_path(name), noise(name, 40, 60))
        write_mask(folder.mask_path(name), drawn)
    error = find_fault(folder)
    assert error.code == "mask-smooth-edges"
    check(folder, **flags_of(folder, error.remedy))
    np.testing.assert_array_equal(read_mask(folder.mask_path("a")), drawn >= level / 2)
    check(VocFolder(folder.root))


def test_thin_lines_that_a_filter_blurred_have_advice_that_works(folder):
    """Too little is black and white alone to propose it as the first thing."""
    folder.class_names_path.unlink()
    y, x = np.indices((128, 160)) / 2
    for number, name in enumerate("abc"):
        across, down = y - 20 - 8 * np.sin(x / 9 + number), x - 40 - 6 * np.sin(y / 7 + number)
        lines = np.minimum(np.abs(across), np.abs(down)) < 1.2
        image = Image.fromarray(lines.astype(np.uint8) * 255).resize((80, 64), Image.Resampling.BILINEAR)
        write_image(folder.image_path(name), noise(name, 64, 80))
        write_mask(folder.mask_path(name), np.array(image))
    drawn = read_mask(folder.mask_path("c"))
    error = find_fault(folder)
    assert error.code == "mask-gray-levels"
    assert error.remedy.endswith("if white is one class and all gray its edge: --map 0:0,255:1 --nearest 127")
    check(folder, map="0:0,255:1", nearest=127)
    np.testing.assert_array_equal(read_mask(folder.mask_path("c")), drawn >= 128)


def test_one_thin_value_may_be_a_class(folder):
    folder.class_names_path.unlink()
    drawn = draw_smooth(255)
    for name in "abc":
        write_image(folder.image_path(name), noise(name, 40, 60))
        write_mask(folder.mask_path(name), np.where((drawn > 0) & (drawn < 255), 128, drawn))
    error = find_fault(folder)
    assert error.code == "mask-smooth-edges"
    assert "python" not in error.remedy
    assert "0:0,128:1,255:2" in error.remedy
