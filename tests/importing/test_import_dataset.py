"""import_dataset.py as users start it."""

import json
from typing import get_args, get_type_hints

import numpy as np
import pytest
import tifffile
from refusal import refused
from scripts import run, save_as

from import_dataset import Config, main
from utils.images.reading import read_mask
from utils.importing.formats import FORMATS
from utils.voc.folder import VocFolder

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
MASK = RNG.integers(0, 3, (12, 16), dtype=np.uint8)


@pytest.mark.parametrize(
    ("settings", "subject"),
    [
        ({}, "--input"),
        ({"format": "stack"}, "--input"),
        ({"format": "sbd"}, "--input"),
        ({"input": "gone"}, "gone"),
        ({"images": "gone"}, "gone"),
        ({"format": "stack", "images": "gone.tif"}, "gone.tif"),
        ({"format": "sbd", "sbd": "gone"}, "gone"),
    ],
)
def test_settings_that_lead_nowhere(tmp_path, settings, subject):
    paths = {key: tmp_path / value if key != "format" else value for key, value in settings.items()}
    (error,) = refused(tmp_path, main, Config(voc_root=tmp_path / "voc", **paths))
    flag = subject.startswith("--")
    assert error.subject == (subject if flag else str(tmp_path / subject))
    assert (error.code == "flag-missing") == flag


def test_from_the_command_line(tmp_path):
    save_as(tmp_path / "my data" / "图 1.bmp", PICTURE)
    save_as(tmp_path / "my data" / "图 1_GT.bmp", MASK)
    result = run("import_dataset.py", "--images", "my data", "--voc-root", "my voc", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == 'next: python voc2unet.py --voc-root "my voc"'
    result = run("import_dataset.py", "--images", "my voc", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr


def test_table_and_flag_name_the_same_formats():
    assert get_args(get_type_hints(Config)["format"]) == ("auto", *FORMATS)


def make_labelme(root):
    save_as(root / "a.png", PICTURE)
    shape = {"label": "cell", "points": [[2, 2], [9, 2], [9, 9]], "shape_type": "polygon"}
    content = {"imagePath": "a.png", "imageData": None, "shapes": [shape]}
    (root / "a.json").write_text(json.dumps(content), encoding="utf-8")


def make_stacks(root):
    root.mkdir()
    for name in ("train-volume", "train-labels"):
        tifffile.imwrite(root / f"{name}.tif", np.stack([MASK, MASK]), photometric="minisblack")


def make_stacks_of_one_name(root):
    root.mkdir()
    for name in ("x", "x_labels"):
        tifffile.imwrite(root / f"{name}.tif", np.stack([MASK, MASK]), photometric="minisblack")


def make_channels(root):
    save_as(root / "a_mask.png", MASK)
    axes = {"imagej": True, "metadata": {"axes": "CYX"}}
    tifffile.imwrite(root / "a.tif", np.stack([MASK, MASK]), photometric="minisblack", **axes)


def make_pair_folders(root):
    save_as(root / "pictures" / "a.png", PICTURE)
    save_as(root / "my masks" / "a.png", MASK)


def make_one_folder(root):
    save_as(root / "a.png", PICTURE)
    save_as(root / "a_mask.png", MASK)


@pytest.mark.parametrize(
    ("make", "name", "pairs"),
    [
        (make_labelme, "labelme", ["a"]),
        (make_stacks, "stack", ["train-volume_000", "train-volume_001"]),
        (make_stacks_of_one_name, "stack", ["x_000", "x_001"]),
        (make_channels, "pairs", ["a"]),
        (make_pair_folders, "pairs", ["a"]),
        (make_one_folder, "pairs", ["a"]),
    ],
)
def test_formats_are_recognised(tmp_path, make, name, pairs, capsys):
    make(tmp_path / "in")
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert f"{FORMATS[name].title} (" in capsys.readouterr().out.splitlines()[0]
    folder = VocFolder(tmp_path / "voc")
    assert sorted(folder.images) == pairs
    assert all(folder.mask_path(pair).is_file() for pair in pairs)


@pytest.mark.parametrize(
    "name", ["a_cp_masks", "Count Masks of a", "Mask of a", "a.labels", "a_instances", "gt_a", "a-segm"]
)
def test_masks_under_the_names_of_programs(tmp_path, name):
    """Cellpose, ImageJ, StarDist."""
    save_as(tmp_path / "in" / "a.png", PICTURE)
    save_as(tmp_path / "in" / f"{name}.png", MASK)
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    np.testing.assert_array_equal(read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png"), MASK)


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("sbd", "pairs")])
def test_a_format_that_is_not_there(tmp_path, name):
    save_as(tmp_path / "in" / "a.png", PICTURE)
    settings = {"input": tmp_path / "in", "format": name, "voc_root": tmp_path / "voc"}
    (error,) = refused(tmp_path, main, Config(**settings))
    assert error.code == ("labelme-files-missing" if name == "labelme" else "input-unknown")
    if name not in ("stack", "pairs"):
        (error,) = refused(tmp_path, main, Config(**settings, masks=tmp_path / "in"))
        assert error.code == "flag-without-effect"


def test_input_with_a_folder_of_masks(tmp_path):
    save_as(tmp_path / "in" / "a.png", PICTURE)
    save_as(tmp_path / "drawn" / "a.png", MASK)
    main(Config(input=tmp_path / "in", masks=tmp_path / "drawn", voc_root=tmp_path / "voc"))
    np.testing.assert_array_equal(read_mask(tmp_path / "voc" / "SegmentationClass" / "a.png"), MASK)


def test_archives_are_to_be_unpacked(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK")
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "a.zip", voc_root=tmp_path / "voc"))
    assert error.code == "input-unknown"
    assert "unpack" in error.remedy


def test_unknown_and_ambiguous_folders(tmp_path):
    save_as(tmp_path / "in" / "a.png", PICTURE)
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert (error.code, error.subject) == ("input-unknown", str(tmp_path / "in"))
    make_labelme(tmp_path / "in")
    for folder in ("JPEGImages", "SegmentationClass"):
        (tmp_path / "in" / folder).mkdir()
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert error.code == "input-ambiguous"
    assert "--format labelme or --format voc" in error.remedy
    main(Config(input=tmp_path / "in", format="labelme", voc_root=tmp_path / "voc"))
    assert VocFolder(tmp_path / "voc").read_class_names() == ["_background_", "cell"]
