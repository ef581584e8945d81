"""How a mask comes to lie on its picture: turned as EXIF says, resized, or not at all."""

import numpy as np
import pytest
from cases import draw_scene
from PIL import Image
from scripts import refused

from utils.doctor.fitting import fit_mask
from utils.doctor.repair import Pair
from utils.images.reading import read_image


def store(path, picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(path, exif=exif)
    return read_image(path)


@pytest.mark.parametrize("orientation", [3, 4, 6, 8])
@pytest.mark.parametrize("upright", [True, False])
def test_edges_show_which_way_a_mask_lies(tmp_path, orientation, upright):
    """Three scenes side by side, so that one picture is enough to decide."""
    scenes = [[draw_scene(f"{row}{column}") for column in range(3)] for row in range(3)]
    stored, drawn = (np.block([[scene[part] for scene in row] for row in scenes]) for part in (0, 1))
    picture = store(tmp_path / "a.png", stored, orientation)
    # What the program does to the picture is what it would have to do to the mask.
    truth = store(tmp_path / "mask.png", drawn, orientation)
    mask = truth if upright else drawn
    fit = fit_mask(tmp_path / "a.png", picture, picture.shape, mask, usual=0)
    assert (fit.turn is None, fit.doubtful) == (upright, False)
    pair = Pair("a", tmp_path / "a.png", tmp_path / "a.png")
    np.testing.assert_array_equal(fit.apply(pair, mask, truth.shape), truth)


@pytest.mark.parametrize("usual", [-9, 9])
def test_other_pictures_decide_where_one_does_not(tmp_path, usual):
    picture = store(tmp_path / "a.png", np.full((48, 48), 7, np.uint8), 3)
    mask = draw_scene("a")[1]
    assert fit_mask(tmp_path / "a.png", picture, (48, 48), mask, 0).doubtful
    fit = fit_mask(tmp_path / "a.png", picture, (48, 48), mask, usual)
    assert (fit.turn is not None, fit.doubtful) == (usual < 0, False)


def test_turned_and_of_half_the_size(tmp_path):
    stored = np.arange(80 * 120).reshape(80, 120).astype(np.uint8)
    picture = store(tmp_path / "a.png", stored, 6)
    mask = (np.arange(40 * 60).reshape(40, 60) % 5).astype(np.uint8)
    fit = fit_mask(tmp_path / "a.png", picture, picture.shape, mask, 0)
    fitted = fit.apply(Pair("a", tmp_path / "a.png", tmp_path / "a.png"), mask, picture.shape)
    np.testing.assert_array_equal(fitted, np.rot90(mask, -1).repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("shape", [(40, 40), (80, 60), (20, 60)])
def test_another_shape_does_not_fit(tmp_path, shape):
    picture = store(tmp_path / "a.png", np.zeros((80, 120), np.uint8), 1)
    mask = np.zeros(shape, np.uint8)
    fit = fit_mask(tmp_path / "a.png", picture, picture.shape, mask, 0)
    with refused("mask-size", tmp_path / "a.png"):
        fit.apply(Pair("a", tmp_path / "a.png", tmp_path / "a.png"), mask, picture.shape)
