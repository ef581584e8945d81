"""Masks that are no index masks: what is found, what is proposed, and that it helps."""

import numpy as np
import pytest
from doctor_folder import (
    CLASS_NAMES,
    MASK,
    add,
    check,
    command,
    draw_objects,
    find_fault,
    flags_of,
    make_folder,
    noise,
    obey,
)
from PIL import Image
from scripts import save_as, snapshot

from utils.core.files import write_lines
from utils.doctor.mask_map import parse_map
from utils.images.palette import voc_palette
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.voc.colors import load_table
from utils.voc.folder import VocFolder

COLORS = ["0 0 0", "128 0 0", "0 128 0"]


@pytest.fixture
def folder(tmp_path, without_drawing):
    """Three good pairs, a, b and c."""
    return make_folder(tmp_path / "voc")


@pytest.mark.parametrize("ending", [".bmp", ".tif", ".PNG", ".gif"])
def test_masks_that_are_no_png(folder, ending):
    folder.mask_path("a").unlink()
    save_as(folder.masks_dir / f"a{ending}", MASK)
    error = find_fault(folder)
    assert (error.code, error.remedy) == ("mask-not-png", command(folder, "--fix"))
    obey(folder, error.remedy)
    assert np.array_equal(read_mask(folder.mask_path("a")), MASK)


@pytest.mark.parametrize("mapping", ["0:0,255:1", "0:1,255:0"])
def test_every_command_reads_a_jpeg_among_masks_in_black_and_white(folder, mapping):
    drawing = np.kron(MASK > 0, np.full((8, 8), 255, np.uint8))
    for name in "abc":
        write_image(folder.images_dir / f"{name}.png", noise(name, 24, 32))
        save_as(folder.mask_path(name), drawing)
    folder.mask_path("b").unlink()
    save_as(folder.masks_dir / "b.jpg", drawing, "JPEG")
    proposed = find_fault(folder).remedy
    # What is typed by heart leads to the same command.
    error = find_fault(folder, map=mapping)
    assert error.remedy.endswith(command(folder, f"--map {mapping} --nearest 60"))
    lines = [line for line in proposed.splitlines() if f"--map {mapping}" in line]
    assert lines
    obey(folder, lines[-1][lines[-1].index("python ") :].partition("   ")[0])
    for name in "abc":
        expected = np.array([*parse_map(mapping)[[0, 255]]])[(drawing > 0).astype(int)]
        np.testing.assert_array_equal(read_mask(folder.mask_path(name)), expected)


def test_jpegs_and_colors_that_the_chosen_reading_cannot_take_have_a_remedy(folder):
    save_as(folder.masks_dir / "b.jpg", np.kron(MASK > 0, np.full((8, 8), 255, np.uint8)), "JPEG")
    folder.mask_path("b").unlink()
    write_image(folder.images_dir / "b.png", noise("b", 24, 32))
    write_lines(folder.class_names_path, CLASS_NAMES[:2])
    assert find_fault(folder, instances=True).remedy == "export it as PNG from the program that drew it"
    (folder.masks_dir / "b.jpg").unlink()
    add(folder, "b", None)
    save_as(folder.mask_path("b"), voc_palette()[MASK])
    write_lines(folder.class_names_path, CLASS_NAMES)
    assert find_fault(folder, map="0:0,1:1").remedy == "export it in the coding of the other masks"


def test_a_map_that_leaves_only_background_is_to_be_corrected(folder):
    error = find_fault(folder, map="1:0,2:0")
    assert (error.code, error.subject) == ("mask-no-class", "--map 1:0,2:0")
    assert error.remedy == "correct the map; it starts from the original masks"


def test_size_that_nothing_explains(folder):
    write_mask(folder.mask_path("b"), MASK.T)
    error = find_fault(folder, fix=True)
    assert (error.code, error.subject) == ("mask-size", str(folder.mask_path("b")))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_size_that_the_exif_orientation_explains(folder, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    add(folder, "turned", None)
    raw = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    raw.save(folder.images_dir / "turned.png", exif=exif)
    # What is drawn on the unturned picture: its own pixels.
    write_mask(folder.mask_path("turned"), np.asarray(raw) % 3)
    error = find_fault(folder)
    assert (error.code, error.remedy) == ("mask-turned", command(folder, "--fix"))
    obey(folder, error.remedy)
    assert np.array_equal(
        read_mask(folder.mask_path("turned")), read_image(folder.images_dir / "turned.png") % 3
    )


@pytest.mark.parametrize("alpha", [False, True])
def test_masks_in_colors(folder, alpha):
    for name in "abc":
        rgb = voc_palette()[MASK]
        save_as(folder.mask_path(name), np.dstack([rgb, np.full((3, 4), 255, np.uint8)]) if alpha else rgb)
    error = find_fault(folder)
    assert [fault.code for fault in error.faults] == ["mask-colors"] * 3
    assert "0 0 0 (50.00%), 128 0 0 (33.33%), 0 128 0 (16.67%)" in error.found
    # A built-in table with other classes than class_names.txt is no help.
    assert error.remedy.startswith(command(folder, "--colors", "colors.txt") + "   after writing colors.txt")
    folder.class_names_path.unlink()
    error = find_fault(folder)
    assert error.remedy == "   or   ".join(command(folder, "--colors", name) for name in ("voc", "msrc2"))
    obey(folder, error.remedy)
    assert np.array_equal(read_mask(folder.mask_path("c")), MASK)
    assert folder.read_class_names() == load_table("voc").class_names


def test_masks_in_colors_of_no_known_table(folder):
    save_as(folder.mask_path("a"), np.array([[1, 2, 3], [0, 0, 0]], np.uint8)[(MASK > 0).astype(int)])
    error = find_fault(folder)
    assert error.remedy.startswith(command(folder, "--colors", "colors.txt") + "   after writing colors.txt")
    assert error.remedy.endswith("0 0 0 (50.00%), 1 2 3 (50.00%)")


def test_palettes_of_voc_colors_give_no_other_class(folder, tmp_path):
    folder.class_names_path.unlink()
    for name, order in (("a", (0, 1, 2)), ("b", (0, 2, 1)), ("c", (0, 1, 2))):
        folder.mask_path(name).unlink()
        image = Image.fromarray(MASK, "P")
        image.putpalette(voc_palette()[list(order)].ravel().tolist())
        image.save(folder.mask_path(name))
    error = find_fault(folder)
    assert error.code == "palettes-differ"
    own = error.remedy.split("for no other class than these, ")[1]
    table = tmp_path / "colors.txt"
    write_lines(table, [f"{color} {name}" for color, name in zip(COLORS, CLASS_NAMES, strict=True)])
    assert all(color in own for color in COLORS)
    check(folder, **{**flags_of(folder, own.split("   after")[0]), "colors": str(table)})
    assert folder.read_class_names() == CLASS_NAMES
    for name, expected in (("a", MASK), ("b", np.array([0, 2, 1])[MASK])):
        assert np.array_equal(read_mask(folder.mask_path(name)), expected)


def test_own_table_and_the_nearest_color(folder, tmp_path):
    table = tmp_path / "my colors.txt"
    write_lines(table, ["0 0 0 background", "255 0 0 cell", "0 0 255 nucleus", "255 255 255 void"])
    rgb = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[MASK]
    save_as(folder.mask_path("a"), rgb)
    rgb[0, 0], rgb[0, 1] = (250, 3, 0), (9, 9, 9)
    save_as(folder.mask_path("b"), rgb)
    error = find_fault(folder, colors=str(table))
    assert error.code == "mask-color-unknown"
    assert "9 9 9 (8.33%), 250 3 0 (8.33%)" in error.found
    assert "--nearest 16" in error.remedy
    check(folder, colors=str(table), nearest=16)
    expected = MASK.copy()
    expected[0, 0] = 1
    assert np.array_equal(read_mask(folder.mask_path("b")), expected)
    assert np.array_equal(read_mask(folder.mask_path("a")), MASK)
    assert "nearest 16" in (folder.root / "mask_map.json").read_text("utf-8")


def test_table_that_contradicts_the_class_names(folder):
    save_as(folder.mask_path("a"), voc_palette()[MASK])
    error = find_fault(folder, colors="voc")
    assert (error.code, error.subject) == ("class-names-table", str(folder.class_names_path))


def test_gray_levels_in_three_channels(folder):
    save_as(folder.mask_path("a"), np.dstack([MASK] * 3))
    error = find_fault(folder)
    assert (error.code, error.remedy) == ("mask-colors", command(folder, "--fix"))
    obey(folder, error.remedy)
    assert np.array_equal(read_mask(folder.mask_path("a")), MASK)


def test_black_and_white_in_three_channels(folder):
    for name in "abc":
        save_as(folder.mask_path(name), np.dstack([(MASK > 0) * np.uint8(255)] * 3))
    error = find_fault(folder)
    assert error.code == "masks-black-white"
    obey(folder, error.remedy)
    assert np.array_equal(read_mask(folder.mask_path("a")), MASK > 0)


@pytest.mark.parametrize("values", [MASK.astype(np.uint16), MASK.astype(np.uint16) * 257])
def test_masks_of_16_bits_that_fit_8(folder, values):
    save_as(folder.mask_path("a"), values)
    error = find_fault(folder)
    assert (error.code, error.remedy) == ("mask-16-bit", command(folder, "--fix"))
    obey(folder, error.remedy)
    assert np.array_equal(read_mask(folder.mask_path("a")), MASK)


@pytest.mark.parametrize("counts", [(300, 280, 320), (9, 12, 7)], ids=["16 bits", "8 bits"])
def test_masks_of_object_numbers(folder, counts):
    folder.class_names_path.unlink()
    numbers = {name: draw_objects(count) for name, count in zip("abc", counts, strict=True)}
    for name, values in numbers.items():
        write_image(folder.image_path(name), noise(name, *values.shape))
        save_as(folder.mask_path(name), values if max(counts) > 255 else values.astype(np.uint8))
    error = find_fault(folder)
    assert error.code == "mask-objects"
    obey(folder, error.remedy)
    for name, values in numbers.items():
        assert np.array_equal(read_mask(folder.mask_path(name)), values > 0)
        objects = folder.read_objects(name, values.shape)
        # Each number is one object, as before, and 255 is none.
        assert len(np.unique(objects)) == len(np.unique(values)) == len(np.unique(objects * 1000.0 + values))
        assert 255 not in objects
    before = snapshot(folder.root)
    check(folder, instances=True)
    assert snapshot(folder.root) == before
    check(VocFolder(folder.root))


def test_classes_of_one_part_each_are_no_object_numbers(folder):
    """As many in every picture, as organs are: classes."""
    folder.class_names_path.unlink()
    for name in "abc":
        values = np.roll(draw_objects(6).astype(np.uint8), ord(name) % 3, axis=1)
        write_image(folder.image_path(name), noise(name, *values.shape))
        write_mask(folder.mask_path(name), values)
    check(folder)
    assert np.array_equal(np.unique(read_mask(folder.mask_path("a"))), np.arange(7))


def test_objects_that_are_there_already_are_not_replaced(folder):
    folder.class_names_path.unlink()
    for name, count in zip("abc", (9, 12, 7), strict=True):
        write_image(folder.image_path(name), noise(name, *draw_objects(count).shape))
        write_mask(folder.mask_path(name), draw_objects(count))
    write_mask(folder.objects_path("b"), draw_objects(11))
    assert find_fault(folder, instances=True).code == "objects-differ"


@pytest.mark.parametrize(
    ("settings", "code"), [({}, "instances-classes"), ({"map": "0:0"}, "instances-and-map")]
)
def test_instances_give_one_class(folder, settings, code):
    assert find_fault(folder, instances=True, **settings).code == code


def test_16_bit_codes_by_map(folder):
    for name in "abc":
        save_as(folder.mask_path(name), MASK.astype(np.uint16) * 1000)
    check(folder, map="0:0,1000:1,2000:2")
    assert np.array_equal(read_mask(folder.mask_path("a")), MASK)


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("smooth", [True, False])
def test_many_values_of_16_bits_are_not_to_be_named(folder, names, smooth):
    """A depth map, smooth or in steps."""
    if not names:
        folder.class_names_path.unlink()
    for number, name in enumerate("abc"):
        depth = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint16) * 37 + 400 + number
        save_as(folder.mask_path(name), depth if smooth else np.kron(depth[::5, ::5], np.ones((5, 5), "u2")))
        write_image(folder.image_path(name), noise(name, 40, 60))
    error = find_fault(folder)
    assert "--instances" in error.remedy
    assert "class_names.txt" not in error.remedy
    assert "--map" not in error.remedy


def test_values_beyond_the_class_names_in_many_masks(folder):
    for name in "bc":
        write_mask(folder.mask_path(name), MASK * 2)
    error = find_fault(folder)
    paths = [str(folder.mask_path(name)) for name in "bc"]
    assert [(fault.code, fault.subject) for fault in error.faults] == [("mask-value", path) for path in paths]


def test_gray_masks_with_alpha(folder):
    with Image.fromarray(np.dstack([MASK, np.full_like(MASK, 255)]), "LA") as image:
        image.save(folder.mask_path("b"))
    error = find_fault(folder)
    assert error.code == "mask-alpha"
    check(folder, fix=True)
    np.testing.assert_array_equal(read_mask(folder.mask_path("b")), MASK)


def test_photograph_in_the_place_of_a_mask(folder):
    photograph = np.random.default_rng(0).integers(0, 60, (40, 60)).astype(np.uint8)
    write_image(folder.image_path("a"), noise("a", 40, 60))
    for picture in (photograph, np.dstack([photograph, photograph[::-1], photograph]), photograph + 100):
        for names in (CLASS_NAMES, None):
            save_as(folder.mask_path("a"), picture)
            folder.class_names_path.unlink(missing_ok=True)
            if names:
                write_lines(folder.class_names_path, names)
            error = find_fault(folder)
            assert (error.code, error.subject) == ("mask-photograph", str(folder.mask_path("a")))
            assert "--map" not in error.remedy


def test_map_to_the_nearest_value():
    table = parse_map("0:0,100:1,200:2", 50)
    # Of two that are equally near the larger one.
    assert table[[0, 49, 50, 51, 149, 150, 200, 250]].tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    assert table[251] == -1
    assert parse_map("200:2,100:1,0:0", 50).tolist() == table.tolist()
    assert parse_map("0:0,*:1")[[0, 1, 255, 65535]].tolist() == [0, 1, 1, 1]
    assert parse_map("5:1")[[0, 5, 255, 256]].tolist() == [0, 1, 255, -1]


def test_nearest_without_anything_to_be_near_to(folder):
    assert find_fault(folder, nearest=5).code == "nearest-alone"
    assert find_fault(folder, nearest=-1, map="0:0").code == "setting-range"
