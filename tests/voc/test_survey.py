"""The one pass over the pairs: what it records and measures, and the faults that stop it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scripts import save_as

from utils.core.console import UserError
from utils.images.arrays import is_gray, to_channels
from utils.images.normalisation import stretch, to_tensor
from utils.images.reading import read_image
from utils.images.writing import write_image, write_mask
from utils.voc.folder import VocFolder
from utils.voc.survey import PictureStatistics, survey_pairs

GRAY = np.zeros((6, 8), np.uint8)


@pytest.fixture
def folder(tmp_path) -> VocFolder:
    return VocFolder(tmp_path / "数据 集")


def add(folder: VocFolder, name: str, mask: object, ending: str = ".png") -> None:
    mask = np.array(mask, np.uint8)
    write_image(folder.images_dir / f"{name}{ending}", np.zeros(mask.shape, np.uint8))
    write_mask(folder.mask_path(name), mask)


def measure(folder: VocFolder, *images: np.ndarray) -> PictureStatistics:
    names = [str(index) for index in range(len(images))]
    for name, image in zip(names, images, strict=True):
        save_as(folder.images_dir / f"{name}.png", image)
        write_mask(folder.mask_path(name), np.zeros(image.shape[:2], np.uint8))
    return survey_pairs(VocFolder(folder.root), names).pictures


def measure_plainly(images: list[np.ndarray], channels: int, limits: tuple[int, int] | None) -> np.ndarray:
    """Mean and deviation, (2, channels), from all values at once."""
    pictures = [to_channels(stretch(image, limits), channels) for image in images]
    values = [picture.reshape(-1, channels) / np.iinfo(picture.dtype).max for picture in pictures]
    return np.stack([np.concatenate(values).mean(0), np.concatenate(values).std(0)])


def noise(*shape: int, dtype: type = np.uint8, top: int = 200) -> np.ndarray:
    return np.random.default_rng(shape).integers(0, top, shape).astype(dtype)


def test_a_pair_is_recorded(folder):
    add(folder, "a", [[0, 1, 1], [255, 1, 0]])
    (record,) = survey_pairs(folder, ["a"]).records
    assert (record.name, record.size, record.values) == ("a", (2, 3), {0: 2, 1: 3, 255: 1})
    assert (record.gray, record.bits) == (True, 8)
    assert record.counts.nonzero()[0].tolist() == [0, 1, 255]


def test_records_come_in_the_order_of_the_names(folder):
    for name in "abcd":
        add(folder, name, GRAY)
    survey = survey_pairs(folder, ["c", "a"], ["d", "b"])
    assert [record.name for record in survey.records] == ["c", "a", "d", "b"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "images",
    [
        [noise(9, 7), noise(10, 8)],
        [noise(9, 7, 3), noise(10, 8, 3)],
        [noise(9, 7, 3), noise(10, 8), np.dstack([noise(5, 6)] * 3)],
        [noise(90, 70, dtype=np.uint16, top=4096), noise(60, 80, dtype=np.uint16, top=3000)],
        [noise(90, 70, dtype=np.uint16, top=4096), noise(9, 7, 3)],
    ],
    ids=["gray", "colour", "mixed", "16 bits", "16 and 8 bits"],
)
def test_normalisation_is_that_of_all_pixels(folder, images, channels):
    measured = measure(folder, *images)
    normalisation = measured.normalisation(channels)
    expected = measure_plainly(images, channels, measured.range_16bit)
    np.testing.assert_allclose([normalisation.mean, normalisation.std], expected, rtol=1e-9)
    assert normalisation.range_16bit == measured.range_16bit
    assert measured.channels == (1 if all(map(is_gray, images)) else 3)


def test_colours_of_16_bits(folder):
    image = noise(40, 50, 3, dtype=np.uint16, top=65536)
    write_image(folder.images_dir / "a.png", image)
    write_mask(folder.mask_path("a"), np.zeros((40, 50), np.uint8))
    measured = survey_pairs(folder, ["a"]).pictures
    assert measured.range_16bit == tuple(np.quantile(image, (0.001, 0.999), method="inverted_cdf"))
    expected = measure_plainly([image], 3, measured.range_16bit)
    np.testing.assert_allclose(measured.normalisation(3).mean, expected[0], rtol=1e-9)
    np.testing.assert_allclose(measured.normalisation(3).std, expected[1], rtol=1e-9)
    # The luminance is stretched as such; only clipped channels make a difference.
    expected = measure_plainly([image], 1, measured.range_16bit)
    np.testing.assert_allclose(measured.normalisation(1).mean, expected[0], rtol=1e-3)


def test_validation_pictures_are_not_measured(folder):
    for name, value in {"a": 10, "b": 200}.items():
        save_as(folder.images_dir / f"{name}.png", np.full((4, 5), value, np.uint8))
        write_mask(folder.mask_path(name), np.zeros((4, 5), np.uint8))
    save_as(folder.images_dir / "c.png", noise(4, 5, 3))
    save_as(folder.images_dir / "d.png", noise(4, 5, dtype=np.uint16))
    for name in "cd":
        write_mask(folder.mask_path(name), np.zeros((4, 5), np.uint8))
    measured = survey_pairs(folder, ["a"], ["b", "c", "d"]).pictures
    assert measured.normalisation(1).mean == pytest.approx([10 / 255])
    assert (measured.channels, measured.range_16bit) == (1, None)


def test_standardised_pictures_have_mean_0_and_deviation_1(folder):
    images = [noise(9, 7, 3), noise(10, 8, 3)]
    normalise = measure(folder, *images).normalisation(3)
    standardised = torch.cat([normalise(to_tensor(image)[None]).flatten(2) for image in images], dim=2)
    np.testing.assert_allclose(standardised.mean(dim=(0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(standardised.std(dim=(0, 2), correction=0), 1, atol=1e-5)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_constant_pictures_do_not_divide_by_zero(folder, value):
    picture = np.full((5, 5), value, np.uint8)
    normalise = measure(folder, picture).normalisation(1)
    assert normalise.std == pytest.approx([1 / 255])
    np.testing.assert_allclose(normalise(to_tensor(picture[..., None])[None]), 0, atol=1e-4)


def test_the_range_of_16_bit_pictures_leaves_out_a_thousandth_on_each_side(folder):
    values = np.repeat(np.arange(1000, 2000, dtype=np.uint16), 10).reshape(100, 100)
    values[0, 0], values[-1, -1] = 0, 65535
    assert measure(folder, values, GRAY).range_16bit == (1000, 1998)
    assert measure(folder, GRAY).range_16bit is None


def test_large_pictures_are_counted_to_the_last_pixel(folder, monkeypatch):
    monkeypatch.setattr("utils.voc.survey.BAND", 16)
    image = noise(33, 21, 3)
    measured = measure(folder, image).normalisation(1)
    np.testing.assert_allclose(measured.mean, measure_plainly([image], 1, None)[0], rtol=1e-9)


def test_a_missing_mask_is_a_user_error(folder):
    write_image(folder.images_dir / "a.tif", GRAY)
    with pytest.raises(UserError) as error:
        survey_pairs(folder, ["a"])
    assert (error.value.code, error.value.subject) == ("mask-missing", str(folder.mask_path("a")))


def test_a_mask_of_another_size_is_a_user_error(folder):
    add(folder, "a", GRAY)
    write_mask(folder.mask_path("a"), GRAY.T)
    with pytest.raises(UserError) as error:
        survey_pairs(folder, ["a"])
    assert (error.value.code, error.value.subject) == ("mask-size", str(folder.mask_path("a")))
    assert "8×6" in error.value.found
    assert "6×8" in error.value.expected


def test_a_turned_photo_fits_a_mask_drawn_upright(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    folder.images_dir.mkdir(parents=True)
    Image.fromarray(GRAY).save(folder.images_dir / "photo.jpg", exif=exif)
    write_mask(folder.mask_path("photo"), GRAY.T)
    assert survey_pairs(folder, ["photo"]).records[0].size == (8, 6)


@pytest.mark.parametrize("part", ["images_dir", "masks_dir"])
def test_the_first_fault_in_the_order_of_the_names_is_raised(folder, part):
    for name in "abcd":
        add(folder, name, GRAY)
    for name in "bd":
        (getattr(folder, part) / f"{name}.png").write_bytes(b"")
    with pytest.raises(UserError) as error:
        survey_pairs(folder, ["c"], ["d", "b"])
    assert error.value.subject == str(getattr(folder, part) / "d.png")


@pytest.mark.parametrize("code", ["picture-missing", "mask-missing"])
def test_all_names_without_a_file_are_told_together(folder, code):
    for name in "abc":
        add(folder, name, GRAY)
        if code == "mask-missing":
            folder.mask_path(name).unlink()
    names = ["x", "a", "y"] if code == "picture-missing" else ["b", "c"]
    with pytest.raises(UserError) as error:
        survey_pairs(VocFolder(folder.root), names[:1], names[1:])
    missing = [name for name in names if name != "a"]
    assert error.value.code == code
    assert Path(error.value.subject).stem == missing[0]
    assert ", ".join(missing) in error.value.found


def test_real_pictures(shared):
    folder = VocFolder(shared / "msrc")
    names = folder.read_split("train")[:40]
    images = [read_image(folder.image_path(name)) for name in names]
    pictures = survey_pairs(folder, names).pictures
    for channels in (1, 3):
        measured = pictures.normalisation(channels)
        expected = measure_plainly(images, channels, None)
        np.testing.assert_allclose([measured.mean, measured.std], expected, rtol=1e-9)
