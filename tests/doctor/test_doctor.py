"""The doctor: every fault with its message, and the mending of what can be mended."""

import json
import re
import shlex

import numpy as np
import pytest
from PIL import Image
from scripts import cut_off, save_as, snapshot

import voc2unet
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.doctor import repair as mending
from utils.doctor.repair import Mending, parse_map
from utils.images.palette import voc_palette
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.voc.colors import load_table
from utils.voc.folder import VocFolder
from voc2unet import Config, main

MASK = np.array([[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 2, 2]], np.uint8)
GRAY = MASK * np.uint8(40)


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    """Drawing takes a second; test_statistics.py looks at it."""
    for name in ("draw_statistics", "draw_contact_sheet"):
        monkeypatch.setattr(voc2unet, name, lambda *_: None)


@pytest.fixture
def folder(tmp_path):
    """Three good pairs, a, b and c, of 3×4 pixels; classes by name."""
    folder = VocFolder(tmp_path / "voc")
    for name in "abc":
        add(folder, name)
    write_lines(folder.class_names_path, ["background", "cell", "nucleus"])
    return folder


def add(folder, name, mask=MASK, ending=".png"):
    seed = list(name.encode())
    write_image(
        folder.images_dir / f"{name}{ending}", np.random.default_rng(seed).integers(0, 256, (3, 4), np.uint8)
    )
    if mask is not None:
        write_mask(folder.mask_path(name), mask)


def check(folder, **settings):
    main(Config(voc_root=folder.root, **settings))


def fault(folder, **settings):
    """The error of a check that leaves everything as it was."""
    before = snapshot(folder.root)
    with pytest.raises(UserError) as caught:
        check(folder, **settings)
    assert snapshot(folder.root) == before
    return caught.value


def command(folder, *flags):
    return " ".join(["python voc2unet.py --voc-root", str(folder.root), *flags])


def obey(folder, remedy):
    """Do what the command in a message says."""
    words = shlex.split(remedy.split("   (")[0].split("   or   ")[0])
    assert words[:4] == ["python", "voc2unet.py", "--voc-root", str(folder.root)]
    assert len(words) in (5, 6)
    flags = {words[4].removeprefix("--"): True if len(words) == 5 else words[5]}
    check(VocFolder(folder.root), **flags)


def test_a_good_folder_has_no_fault(folder, capsys):
    check(folder)
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("x.png", "x_mask.png"),
        ("x.png", "x_GT.bmp"),
        ("x.JPG", "x_label.tif"),
        ("image_001.png", "label_001.png"),
        ("img-7.png", "seg-7.png"),
        ("IMG 3.PNG", "img 3.png"),
        ("图 1.v2.png", "图 1.v2_mask.png"),
        ("sky_sat.jpg", "sky_mask.png"),
        ("x.png", "x_ground truth.png"),
    ],
)
def test_near_misses_of_names_are_proposed_and_mended(folder, picture, mask):
    stem = picture.rsplit(".", 1)[0]
    add(folder, stem, None, picture.removeprefix(stem))
    save_as(folder.masks_dir / mask, MASK)
    error = fault(folder)
    assert error.subject == str(folder.masks_dir / mask)
    assert error.found == f"no picture of the same name in JPEGImages (did you mean {stem}?)"
    assert error.remedy == command(folder, "--fix") + f"   (takes it for the mask of {stem})"
    obey(folder, error.remedy)
    assert np.array_equal(read_mask(folder.mask_path(stem)), MASK)
    kept = folder.root / "SegmentationClass.orig"
    assert [path.name for path in kept.iterdir()] == [mask]
    assert sorted(path.name for path in folder.masks_dir.iterdir()) == sorted(
        f"{n}.png" for n in ["a", "b", "c", stem]
    )
    once = snapshot(folder.root)
    check(VocFolder(folder.root), fix=True)
    check(VocFolder(folder.root))
    assert snapshot(folder.root) == once


def test_only_masks_that_fix_can_assign_are_told_so(folder):
    add(folder, "x", None)
    for name in ("x_GT.bmp", "a_old.png"):
        save_as(folder.masks_dir / name, MASK)
    message = str(fault(folder))
    assert "\n1 mask of a name like that of a picture\n" in message
    assert re.search(
        r"\n1 mask without a picture\n.*did you mean a\?\)\n.*\n  to do:    rename or remove it", message
    )


def test_faults_inside_a_mask_of_another_name_are_found_at_once(folder):
    add(folder, "x", None)
    save_as(folder.masks_dir / "x_GT.bmp", voc_palette()[MASK])
    message = str(fault(folder))
    assert "\n1 mask of a name like that of a picture\n" in message
    assert "\n1 mask in RGB colours\n" in message
    check(VocFolder(folder.root), colors=str(write_own_table(folder.root.parent)))
    assert np.array_equal(read_mask(folder.mask_path("x")), MASK)


def write_own_table(place):
    write_lines(place / "table.txt", ["0 0 0 background", "128 0 0 cell", "0 128 0 nucleus"])
    return place / "table.txt"


def test_two_masks_that_may_be_meant_are_not_guessed(folder):
    add(folder, "x", None)
    for name in ("x_mask", "x_label"):
        write_mask(folder.mask_path(name), MASK)
    error = fault(folder, fix=True)
    assert error.found.startswith("no picture of the same name in JPEGImages (did you mean x?)")
    assert "the same in 1 more" in error.found
    assert error.remedy == "rename or remove it"


def test_two_pictures_that_differ_in_their_ending_only(folder):
    write_image(folder.images_dir / "a.bmp", GRAY)
    error = fault(folder)
    assert error.found == "two pictures of one name: a.bmp and a.png"
    assert error.remedy == "rename or remove one of them"


def test_two_masks_of_one_name(folder):
    save_as(folder.masks_dir / "a.tif", MASK)
    assert fault(folder).found == "two masks of one name: a.png and a.tif"


@pytest.mark.parametrize("ending", [".bmp", ".tif", ".PNG", ".gif"])
def test_masks_that_are_no_png(folder, ending):
    folder.mask_path("a").unlink()
    save_as(folder.masks_dir / f"a{ending}", MASK)
    error = fault(folder)
    assert (error.found, error.expected) == (f"a mask in a {ending} file", "a.png")
    assert error.remedy == command(folder, "--fix")
    obey(folder, error.remedy)
    assert np.array_equal(read_mask(folder.mask_path("a")), MASK)


def test_size_that_nothing_explains(folder):
    write_mask(folder.mask_path("b"), MASK.T)
    error = fault(folder, fix=True)
    assert error.found == "a mask of 4×3 (height×width)"
    assert error.expected == "the size of its picture b.png: 3×4"


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_size_that_the_exif_orientation_explains(folder, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    add(folder, "turned", None)
    raw = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    raw.save(folder.images_dir / "turned.png", exif=exif)
    # What is drawn on the unturned picture: its own pixels.
    write_mask(folder.mask_path("turned"), np.asarray(raw) % 3)
    error = fault(folder)
    assert (
        error.found
        == "a mask of 3×4 (height×width): the picture before its EXIF orientation turns it upright"
    )
    assert error.expected == "the size of its picture turned.png: 4×3"
    assert error.remedy == command(folder, "--fix")
    obey(folder, error.remedy)
    assert np.array_equal(
        read_mask(folder.mask_path("turned")), read_image(folder.images_dir / "turned.png") % 3
    )


@pytest.mark.parametrize("alpha", [False, True])
def test_masks_in_colours(folder, alpha):
    for name in "abc":
        rgb = voc_palette()[MASK]
        save_as(folder.mask_path(name), np.dstack([rgb, np.full((3, 4), 255, np.uint8)]) if alpha else rgb)
    error = fault(folder)
    shares = "0 0 0 (50.00%), 128 0 0 (33.33%), 0 128 0 (16.67%)"
    assert error.found == f"a mask of RGB colours: {shares}; the same in 2 more, such as b.png"
    # A built-in table with other classes than class_names.txt is no help.
    assert error.remedy.startswith(
        command(folder, "--colors", "colours.txt") + "   after writing colours.txt"
    )
    folder.class_names_path.unlink()
    error = fault(folder)
    assert error.remedy == "   or   ".join(command(folder, "--colors", name) for name in ("voc", "msrc2"))
    obey(folder, error.remedy)
    assert np.array_equal(read_mask(folder.mask_path("c")), MASK)
    assert folder.read_class_names() == load_table("voc").class_names


def test_masks_in_colours_of_no_known_table(folder):
    save_as(folder.mask_path("a"), np.array([[1, 2, 3], [0, 0, 0]], np.uint8)[(MASK > 0).astype(int)])
    error = fault(folder)
    assert error.remedy.startswith(
        command(folder, "--colors", "colours.txt") + "   after writing colours.txt"
    )
    assert error.remedy.endswith("for each of the colours 0 0 0 (50.00%), 1 2 3 (50.00%)")


def test_own_table_and_the_nearest_colour(folder, tmp_path):
    table = tmp_path / "my colours.txt"
    write_lines(table, ["0 0 0 background", "255 0 0 cell", "0 0 255 nucleus", "255 255 255 void"])
    rgb = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[MASK]
    save_as(folder.mask_path("a"), rgb)
    rgb[0, 0], rgb[0, 1] = (250, 3, 0), (9, 9, 9)
    save_as(folder.mask_path("b"), rgb)
    error = fault(folder, colors=str(table))
    assert error.found == f"colours that are not in {table}: 9 9 9 (8.33%), 250 3 0 (8.33%)"
    assert "16 is the largest distance in this mask" in error.remedy
    check(folder, colors=str(table), nearest=16)
    expected = MASK.copy()
    expected[0, 0] = 1
    assert np.array_equal(read_mask(folder.mask_path("b")), expected)
    assert np.array_equal(read_mask(folder.mask_path("a")), MASK)
    assert "nearest 16" in (folder.root / "mask_map.json").read_text("utf-8")


def test_table_that_contradicts_the_class_names(folder):
    save_as(folder.mask_path("a"), voc_palette()[MASK])
    error = fault(folder, colors="voc")
    assert error.subject == str(folder.class_names_path)
    assert error.expected.startswith("the classes of the table voc, in its order: background, aeroplane")


def test_gray_levels_in_three_channels(folder):
    save_as(folder.mask_path("a"), np.dstack([MASK] * 3))
    error = fault(folder)
    assert error.found.startswith("a mask of RGB colours: 0 0 0 (50.00%), 1 1 1 (33.33%)")
    assert error.remedy == command(folder, "--fix")
    obey(folder, error.remedy)
    assert np.array_equal(read_mask(folder.mask_path("a")), MASK)


def test_black_and_white_in_three_channels(folder):
    for name in "abc":
        save_as(folder.mask_path(name), np.dstack([(MASK > 0) * np.uint8(255)] * 3))
    error = fault(folder)
    assert error.remedy == command(folder, "--map", "0:0,255:1")
    obey(folder, error.remedy)
    assert np.array_equal(read_mask(folder.mask_path("a")), MASK > 0)


def make_jpeg_masks(folder, rgb):
    for name in "abc":
        mask = np.kron(MASK > 0, np.ones((9, 9), np.uint8)) * np.uint8(255)
        save_as(
            folder.images_dir / f"{name}.png",
            np.random.default_rng(ord(name)).integers(0, 256, mask.shape, np.uint8),
        )
        save_as(folder.mask_path(name), np.dstack([mask, 0 * mask, 0 * mask]) // 2 if rgb else mask, "JPEG")


def test_jpeg_masks_in_gray(folder):
    make_jpeg_masks(folder, rgb=False)
    error = fault(folder)
    assert error.found.startswith("a JPEG (")
    assert "different gray values: its compression smears class indices)" in error.found
    assert error.remedy.endswith(command(folder, "--map", "0:0,255:1", "--nearest", "60"))
    check(folder, map="0:0,255:1", nearest=60)
    assert np.array_equal(read_mask(folder.mask_path("a")), np.kron(MASK > 0, np.ones((9, 9))))


def test_jpeg_masks_of_three_gray_levels(folder):
    for name in "abc":
        mask = np.kron(MASK, np.ones((9, 9), np.uint8))
        save_as(
            folder.images_dir / f"{name}.png",
            np.random.default_rng(ord(name)).integers(0, 256, mask.shape, np.uint8),
        )
        save_as(folder.mask_path(name), mask * np.uint8(120) + 10, "JPEG")
    assert fault(folder).remedy.endswith(
        command(folder, "--map", "10:0,130:1,250:2", "--nearest", "60").replace("250", "255")
    )


def test_colour_table_says_nothing_of_a_gray_jpeg(folder, tmp_path):
    make_jpeg_masks(folder, rgb=False)
    write_lines(tmp_path / "table.txt", ["0 0 0 background", "255 0 0 cell", "0 255 0 nucleus"])
    assert "a JPEG" in fault(folder, colors=str(tmp_path / "table.txt"), nearest=60).found


def test_jpeg_masks_in_colours(folder, tmp_path):
    folder.class_names_path.unlink()
    make_jpeg_masks(folder, rgb=True)
    error = fault(folder)
    assert "different colours" in error.found
    assert command(folder, "--colors", "colours.txt", "--nearest", "60") in error.remedy
    assert error.remedy.endswith("a line R G B NAME a class (most frequent in this mask: 126 0 1, 0 1 0)")
    write_lines(folder.class_names_path, load_table("voc").class_names)
    assert fault(folder).remedy.endswith(command(folder, "--colors", "voc", "--nearest", "60"))
    folder.class_names_path.unlink()
    write_lines(tmp_path / "table.txt", ["0 0 0 background", "127 0 0 cell"])
    check(folder, colors=str(tmp_path / "table.txt"), nearest=70)
    # Subsampled colours are smeared over two pixels on either side.
    assert (read_mask(folder.mask_path("a")) == np.kron(MASK > 0, np.ones((9, 9)))).mean() > 0.95


@pytest.mark.parametrize("values", [MASK.astype(np.uint16), MASK.astype(np.uint16) * 257])
def test_masks_of_16_bits_that_fit_8(folder, values):
    save_as(folder.mask_path("a"), values)
    error = fault(folder)
    assert error.found == f"16-bit values: 3 different ones, up to {values.max()}"
    assert error.remedy == command(folder, "--fix")
    obey(folder, error.remedy)
    assert np.array_equal(read_mask(folder.mask_path("a")), MASK)


def test_masks_with_300_labels(folder):
    labels = np.zeros((3, 301), np.uint16)
    labels[1] = np.arange(301)
    for name in "abc":
        save_as(
            folder.images_dir / f"{name}.png",
            np.random.default_rng(ord(name)).integers(0, 256, labels.shape, np.uint8),
        )
        save_as(folder.mask_path(name), labels)
    error = fault(folder, fix=True)
    assert error.found == "16-bit values: 301 different ones, up to 300; the same in 2 more, such as b.png"
    assert command(folder, "--map", '"0:0,*:1"') in error.remedy
    error = fault(folder, map="0:0,1:1")
    assert "gives no class: 256, 257" in error.found
    check(folder, map="0:0,*:1")
    assert np.array_equal(read_mask(folder.mask_path("a")), labels > 0)


def test_16_bit_codes_by_map(folder):
    for name in "abc":
        save_as(folder.mask_path(name), MASK.astype(np.uint16) * 1000)
    check(folder, map="0:0,1000:1,2000:2")
    assert np.array_equal(read_mask(folder.mask_path("a")), MASK)


def test_values_beyond_the_class_names_in_many_masks(folder):
    for name in "bc":
        write_mask(folder.mask_path(name), MASK * 2)
    error = fault(folder)
    assert error.subject == str(folder.mask_path("b"))
    assert error.found == "value 4 (2 pixels) in the mask; the same in 1 more, such as c.png"


def test_masks_of_one_value(folder, capsys):
    add(folder, "d", np.zeros((3, 4), np.uint8))
    add(folder, "e", np.ones((3, 4), np.uint8))
    add(folder, "f", np.full((3, 4), 255, np.uint8))
    check(folder)
    warnings = capsys.readouterr().err
    assert "warning: 1 mask holds background only, such as d.png\n" in warnings
    assert "warning: 1 mask is all one class, such as e.png\n" in warnings
    assert "warning: 1 mask holds nothing but 255 (ignored), such as f.png\n" in warnings


def test_black_and_white_mask_beside_masks_with_classes(folder, capsys):
    add(folder, "d", (MASK > 0) * np.uint8(255))
    check(folder)
    assert (
        "warning: 1 mask holds 0 and 255 only, beside masks with classes, such as d.png (6 pixels of 255); 255 means "
        "'ignore': where white is a class, draw it in the index of that class\n"
    ) in capsys.readouterr().err


def test_copies_under_another_name(folder, capsys):
    # The same pixels in another file format.
    picture = np.asarray(Image.open(folder.images_dir / "a.png"))
    add(folder, "copy")
    (folder.images_dir / "copy.png").unlink()
    save_as(folder.images_dir / "copy.bmp", picture)
    folder.write_split("train", ["a", "b"])
    folder.write_split("val", ["c", "copy"])
    check(folder)
    warnings = capsys.readouterr().err
    assert (
        "warning: 1 picture is the same as another, such as copy.bmp (the same pixels as a.png); " in warnings
    )
    assert (
        "warning: 1 picture in train and in val, such as a and copy: the scores will be too good" in warnings
    )
    for seed in range(6):
        check(VocFolder(folder.root), overwrite=True, seed=seed, val_percent=50)
        train = folder.read_split("train")
        assert ("a" in train) == ("copy" in train)
    assert "in train and in val" not in capsys.readouterr().err


def test_gray_among_colour_and_8_among_16_bits(folder, capsys):
    save_as(folder.images_dir / "a.png", np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8))
    # Three equal channels are gray.
    save_as(folder.images_dir / "b.png", np.dstack([GRAY] * 3))
    save_as(folder.images_dir / "c.png", GRAY.astype(np.uint16) * 257)
    check(folder)
    warnings = capsys.readouterr().err
    remedy = "train on one kind, unless prediction will meet both"
    assert f"warning: 1 picture is in colour, beside 2 that are gray, such as a.png; {remedy}\n" in warnings
    assert (
        f"warning: 1 picture is of 16 bits, beside 2 that are of 8 bits, such as c.png; {remedy}\n"
        in warnings
    )


def test_files_that_cannot_be_read(folder):
    cut_off(folder.images_dir / "a.png")
    folder.mask_path("a").write_bytes(b"no picture")
    (folder.images_dir / "b.png").unlink()
    # A TIFF whose directory lies behind its end.
    (folder.images_dir / "b.tif").write_bytes(b"II*\0\xff\xff\0\0")
    error = fault(folder, fix=True)
    assert error.subject == str(folder.images_dir / "a.png")
    assert "the same in 2 more" in error.found


def test_faults_of_all_kinds_at_once(folder):
    save_as(folder.mask_path("a"), voc_palette()[MASK])
    write_mask(folder.mask_path("b"), MASK * 3)
    write_image(folder.images_dir / "c.bmp", GRAY)
    write_mask(folder.mask_path("stray"), MASK)
    message = str(fault(folder))
    assert "4 faults of 4 kinds in 3 pairs (listed below)" in message
    for kind in (
        "mask in RGB colours",
        "mask with values beyond the classes",
        "picture of the same name",
        "mask without a picture",
    ):
        assert f"\n1 {kind}\n" in message
    assert message.count("\n  to do:    ") == 5


def test_mask_redrawn_after_mending_is_not_lost(folder):
    for name in "abc":
        write_mask(folder.mask_path(name), MASK * 100)
    settings = {"map": "0:0,100:1,200:2"}
    check(folder, **settings)
    redrawn = np.roll(MASK, 1)
    write_mask(folder.mask_path("b"), redrawn)
    error = fault(folder, **settings)
    assert error.subject == str(folder.mask_path("b"))
    assert error.found == "another content than was written"
    (folder.root / "SegmentationClass.orig" / "b.png").unlink()
    check(folder, **settings)
    assert np.array_equal(read_mask(folder.mask_path("b")), redrawn)


def test_fix_does_not_undo_a_map(folder):
    for name in "abc":
        write_mask(folder.mask_path(name), 2 - MASK)
    check(folder, map="0:2,2:0")
    add(folder, "d", None)
    save_as(folder.masks_dir / "d.bmp", MASK)
    check(VocFolder(folder.root), fix=True)
    for name in "abcd":
        assert np.array_equal(read_mask(folder.mask_path(name)), MASK)


@pytest.mark.parametrize("stop_at", range(9))
def test_interrupted_fix_is_completed_by_running_again(folder, monkeypatch, stop_at):
    """Stops before the n-th of all operations on files."""
    for name in "abc":
        folder.mask_path(name).unlink()
        save_as(folder.masks_dir / f"{name}_GT.bmp", np.dstack([MASK] * 3))
    originals = snapshot(folder.masks_dir)
    calls = []

    def counted(function):
        def call(*arguments, **options):
            calls.append(function)
            if len(calls) > stop_at:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("write_mask", "write_lines"):
            patch.setattr(mending, name, counted(getattr(mending, name)))
        patch.setattr(mending.shutil, "copyfile", counted(mending.shutil.copyfile))
        patch.setattr(mending.Path, "unlink", counted(mending.Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            check(folder, fix=True)
    check(VocFolder(folder.root), fix=True)
    for name in "abc":
        assert np.array_equal(read_mask(folder.mask_path(name)), MASK)
    assert sorted(path.name for path in folder.masks_dir.iterdir()) == ["a.png", "b.png", "c.png"]
    assert snapshot(folder.root / "SegmentationClass.orig") == originals
    check(VocFolder(folder.root))


def test_mask_map_says_what_was_done(folder):
    save_as(folder.mask_path("a"), MASK.astype(np.uint16))
    check(folder, fix=True)
    content = json.loads((folder.root / "mask_map.json").read_text("utf-8"))
    assert content["command"] == command(folder, "--fix")
    assert list(content["masks"]) == ["a"]
    assert content["masks"]["a"]["steps"] == ["16 → 8 bits"]
    assert not (folder.root / "SegmentationClass.orig" / "b.png").exists()


def test_nothing_to_mend(folder, capsys):
    check(folder, fix=True)
    assert "mended   nothing" in capsys.readouterr().out
    assert not (folder.root / "SegmentationClass.orig").exists()


def test_damaged_mask_map(folder):
    (folder.root / "mask_map.json").write_text("{", encoding="utf-8")
    assert fault(folder, fix=True).found.startswith("a damaged file (")


@pytest.mark.parametrize("settings", [{"nearest": 5}, {"nearest": -1, "map": "0:0"}])
def test_nearest_without_anything_to_be_near_to(folder, settings):
    assert fault(folder, **settings).subject == "mending"


def test_map_to_the_nearest_value():
    table = parse_map("0:0,100:1,200:2", 50)
    assert table[[0, 49, 50, 51, 149, 151, 200, 250]].tolist() == [0, 0, -1, 1, 1, 2, 2, 2]
    assert table[251] == -1
    assert parse_map("0:0,*:1")[[0, 1, 255, 65535]].tolist() == [0, 1, 1, 1]
    assert parse_map("5:1")[[0, 5, 255, 256]].tolist() == [0, 1, 255, -1]


def test_commands_keep_what_was_given(tmp_path):
    mending = Mending(tmp_path / "two words", map="0:0")
    assert (
        mending.command(nearest=3)
        == f'python voc2unet.py --voc-root "{tmp_path}/two words" --map 0:0 --nearest 3'
    )
    assert Mending(tmp_path).command(fix=True).endswith(" --fix")


def test_groups_and_folds(tmp_path, capsys):
    folder = VocFolder(tmp_path)
    for stack in "pqrs":
        for number in range(3):
            add(folder, f"{stack}_{number}")
    check(folder, group="^[^_]+", folds=3, test_percent=25, split="stratified")
    test = set(folder.read_split("test"))
    assert len(test) == 3
    seen = []
    for fold in range(3):
        train, val = (set(folder.read_split(f"fold{fold}_{part}")) for part in ("train", "val"))
        assert not train & val
        assert train | val | test == set(folder.images)
        assert {name[0] for name in train}.isdisjoint(name[0] for name in val)
        seen += val
    assert sorted(seen) == sorted(set(folder.images) - test)
    before = snapshot(folder.splits_dir)
    check(folder, folds=2)
    assert snapshot(folder.splits_dir) == before
    assert "6 fold files" in capsys.readouterr().out
    check(folder, group="^[^_]+", folds=2, overwrite=True)
    assert len(list(folder.splits_dir.glob("fold*"))) == 4


def test_gray_masks_with_alpha(folder):
    with Image.fromarray(np.dstack([MASK, np.full_like(MASK, 255)]), "LA") as image:
        image.save(folder.mask_path("b"))
    error = fault(folder)
    assert "a gray mask with an alpha channel" in str(error)
    check(folder, fix=True)
    np.testing.assert_array_equal(read_mask(folder.mask_path("b")), MASK)


def test_gray_levels_without_class_names_are_no_classes(folder):
    folder.class_names_path.unlink()
    levels = np.linspace(0, 255, 100).astype(np.uint8).reshape(10, 10)
    for name in "abc":
        write_image(
            folder.image_path(name),
            np.random.default_rng(list(name.encode())).integers(0, 256, (10, 10), np.uint8),
        )
        write_mask(folder.mask_path(name), levels)
    error = fault(folder)
    assert "different values and no class_names.txt: gray levels, or numbers of objects" in str(error)
    assert command(folder, "--map", "0:0,255:1", "--nearest", "127") in str(error)
    check(folder, map="0:0,255:1", nearest=127)
    np.testing.assert_array_equal(read_mask(folder.mask_path("a")), levels > 127)


def test_masks_that_hold_nothing_but_255_stop(folder):
    for name in "abc":
        write_mask(folder.mask_path(name), np.full((3, 4), 255, np.uint8))
    assert "nothing but 255 (ignored) in all masks" in str(fault(folder))


def test_names_that_end_in_a_blank(folder):
    folder.image_path("b").rename(folder.images_dir / "b .png")
    folder.mask_path("b").rename(folder.masks_dir / "b .png")
    assert "the name 'b ', with a blank at an end" in str(fault(VocFolder(folder.root)))


def test_interrupted_map_of_other_names_is_completed_by_running_again(folder, monkeypatch):
    folder.mask_path("a").rename(folder.masks_dir / "a_mask.png")
    written = mending.write_mask

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(mending, "write_mask", stop)
    with pytest.raises(KeyboardInterrupt):
        check(folder, map="0:0,1:2,2:1")
    monkeypatch.setattr(mending, "write_mask", written)
    check(folder, map="0:0,1:2,2:1")
    swapped = np.array([0, 2, 1], np.uint8)[MASK]
    for name in "abc":
        np.testing.assert_array_equal(read_mask(folder.mask_path(name)), swapped)
    assert sorted(path.name for path in folder.masks_dir.iterdir()) == ["a.png", "b.png", "c.png"]
