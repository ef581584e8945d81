"""Importing COCO's panoptic format."""

import json

import numpy as np
import pytest
from refusal import refused
from scripts import save_as

from import_dataset import Config, main
from utils.images.masks import read_objects
from utils.images.reading import read_mask
from utils.voc.folder import VocFolder

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
# 3, 300 and 70,000 need one, two and three of the channels.
NUMBERS = np.repeat([0, 3, 300, 70_000, 300, 9], 5) * np.ones((20, 1), int)
CATEGORIES = [
    {"id": 7, "name": "car", "isthing": 1},
    {"id": 2, "name": "sky", "isthing": 0},
    {"id": 5, "name": "road", "isthing": 0},
]
SEGMENTS = [(3, 2, 0), (300, 7, 0), (70_000, 7, 0), (9, 7, 1)]  # number, category, iscrowd


def make(root, categories=CATEGORIES, segments=SEGMENTS, numbers=NUMBERS, place="panoptic_val2017"):
    """The layout of COCO; the PNG has the name of the picture, which is a PNG too."""
    save_as(root / "val2017" / "a.png", PICTURE)
    save_as(root / "annotations" / place / "a.png", as_colors(numbers))
    listed = [{"id": n, "category_id": one, "iscrowd": crowd, "area": 1} for n, one, crowd in segments]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": listed}],
        "categories": categories,
    }
    path = root / "annotations" / "panoptic_val2017.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return Config(input=root, voc_root=root.parent / "voc", instances=True)


def as_colors(numbers):
    """panopticapi.utils.id2rgb."""
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], 2).astype(np.uint8)


@pytest.mark.parametrize("place", ["panoptic_val2017", "masks"])
@pytest.mark.parametrize("stuff", [True, False])
def test_segments_become_classes_and_objects(tmp_path, stuff, place, capsys):
    """Where nothing is stuff, what is no object is background, not unknown."""
    categories = CATEGORIES if stuff else [one | {"isthing": 1} for one in CATEGORIES]
    main(make(tmp_path / "in", categories, place=place))
    folder = VocFolder(tmp_path / "voc")
    assert folder.read_class_names() == ["background", "car", "sky", "road"]
    expected = np.repeat([255 if stuff else 0, 2, 1, 1, 1, 255], 5) * np.ones((20, 1), int)
    np.testing.assert_array_equal(read_mask(folder.mask_path("a")), expected)
    objects = np.repeat([0, 0, 1, 2, 1, 0] if stuff else [0, 1, 2, 3, 2, 0], 5) * np.ones((20, 1), int)
    np.testing.assert_array_equal(read_objects(folder.objects_path("a")), objects)
    assert (folder.images_dir / "a.png").read_bytes() == (tmp_path / "in" / "val2017" / "a.png").read_bytes()
    output, error = capsys.readouterr()
    assert "COCO panoptic" in output
    assert ("ignored (255)" if stuff else "background") in error


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"segments": SEGMENTS[1:]}, "panoptic-segment"),
        ({"segments": [(3, 99, 0)]}, "coco-entry"),
        ({"numbers": NUMBERS[:10]}, "mask-size"),
    ],
)
def test_faults(tmp_path, change, code):
    config = make(tmp_path / "in", **change)
    (error,) = refused(tmp_path, main, config)
    assert error.code == code


def test_missing_files_are_told(tmp_path):
    config = make(tmp_path / "in")
    (tmp_path / "in" / "annotations" / "panoptic_val2017" / "a.png").unlink()
    (error,) = refused(tmp_path, main, config)
    assert error.code in ("no-pictures", "picture-size")
