"""Copies of a picture are found in other file types and sizes; different pictures are none."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from scripts import SHARED

from utils.images.reading import read_image
from utils.voc.copies import alike_pairs, copy_keys, look_of
from utils.voc.demo import draw_sample


def as_jpeg(image, quality=60):
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


COPIES = {
    "JPEG": as_jpeg,
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "RGB": lambda image: np.dstack([image] * 3),
    "16 bits": lambda image: image.astype(np.uint16) * 16,
    "brighter": lambda image: (image * 0.8 + 40).astype(np.uint8),
}


@pytest.fixture(scope="module")
def cells():
    return [draw_sample(seed, 128)[0] for seed in range(12)]


@pytest.mark.parametrize("kind", COPIES)
def test_copies_look_the_same_and_others_do_not(cells, kind):
    looks = [look_of(image) for image in [*cells, *map(COPIES[kind], cells)]]
    assert alike_pairs(looks) == [(index, index + len(cells)) for index in range(len(cells))]


def test_strongly_colored_pictures_look_like_their_jpegs():
    images = [np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8) for seed in range(8)]
    looks = [look_of(image) for image in [*images, *(as_jpeg(image, 80) for image in images)]]
    assert alike_pairs(looks) == [(index, index + len(images)) for index in range(len(images))]


def test_blank_pictures_have_no_look():
    rng = np.random.default_rng(0)
    assert look_of(rng.integers(20, 23, (64, 64)).astype(np.uint8)) == b""
    assert alike_pairs([b"", look_of(draw_sample(0, 64)[0]), b""]) == []


def test_keys_join_what_is_the_same_or_looks_the_same(cells, capsys):
    looks = [look_of(image) for image in (cells[0], cells[1], as_jpeg(cells[1]), cells[2], cells[3])]
    keys = copy_keys("abcde", ["1", "2", "3", "1", "4"], looks)
    assert keys["a"] == keys["d"] and keys["b"] == keys["c"]
    assert len(set(keys.values())) == 3
    assert "b and c" in capsys.readouterr().err


def test_a_film_is_not_one_copy(capsys):
    """Each frame resembles the next; the last does not resemble the first."""
    first, last = (draw_sample(seed, 64)[0].astype(float) for seed in range(2))
    looks = [look_of((first + (last - first) * step / 59).astype(np.uint8)) for step in range(60)]
    alike = alike_pairs(looks)
    assert {(step, step + 1) for step in range(59)} <= {*alike} and (0, 59) not in alike
    keys = copy_keys([f"frame{number}" for number in range(60)], [*map(str, range(60))], looks)
    assert len(set(keys.values())) == 60
    assert "--split contiguous" in capsys.readouterr().err


@pytest.mark.skipif(not (SHARED / "isbi" / "images").is_dir(), reason="needs the data of ISBI 2012")
def test_neighbouring_slices_of_electron_microscopy_are_no_copies():
    slices = [read_image(path) for path in sorted((SHARED / "isbi" / "images").iterdir())]
    assert len(slices) > 20
    assert alike_pairs([look_of(image) for image in slices]) == []
