"""The predictor: from every kind of picture to the mask that the network of a checkpoint gives it."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from predictors import FP32, MEAN, PALETTE, PICTURE, STD, describe, live, loaded
from scripts import refused

from nets.config import NetworkConfig
from nets.unet import build
from unet import Unet
from utils.images.arrays import to_uint8_rgb
from utils.images.palette import blend, cutout, voc_palette
from utils.images.reading import as_array
from utils.images.writing import write_image
from utils.inference.ensemble import mirror, reflected
from utils.inference.maps import certainty, classes, classes_above
from utils.inference.rendering import render
from utils.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("模型 1") / "best.pth"
    save_checkpoint(path, describe())
    return path


@pytest.fixture(scope="module")
def unet(path) -> Unet:
    return Unet(path, device="cpu", precision="fp32")


@torch.no_grad()
def by_hand(checkpoint: Checkpoint, values: np.ndarray) -> np.ndarray:
    """Logits (K, H, W) of a picture (H, W, C) in 0…1, without the predictor."""
    channels = values.shape[2]
    batch = torch.from_numpy((values - MEAN[:channels]) / STD[:channels]).permute(2, 0, 1)[None].float()
    return loaded(checkpoint).eval()(batch)[0].numpy()


def test_predictions_equal_those_by_hand(path, unet):
    logits = by_hand(load_checkpoint(path), PICTURE / 255)
    mask, probabilities = unet.predict(PICTURE), unet.predict_proba(PICTURE)
    assert mask.dtype == np.uint8
    assert probabilities.dtype == np.float32
    assert set(np.unique(mask)) == {0, 1, 2}
    np.testing.assert_array_equal(mask, logits.argmax(0))
    np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum(0), atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)


def test_certainty_is_the_largest_probability(unet):
    ((mask, sure),) = unet.bands(PICTURE, classes, certainty)
    assert sure.dtype == np.uint8
    np.testing.assert_array_equal(mask, unet.predict(PICTURE))
    np.testing.assert_allclose(sure, unet.predict_proba(PICTURE).max(0) * 255, atol=0.51)


def test_a_path_a_pil_image_and_an_array_are_one_picture(unet, tmp_path):
    expected = unet.predict(PICTURE)
    write_image(tmp_path / "图 像.png", PICTURE)
    for image in (
        tmp_path / "图 像.png",
        str(tmp_path / "图 像.png"),
        Image.fromarray(PICTURE),
        PICTURE[::-1][::-1],
    ):
        np.testing.assert_array_equal(unet.predict(image), expected)


def test_a_turned_photo_is_predicted_upright(unet):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Image.fromarray(PICTURE)
    photo.getexif().update(exif)
    np.testing.assert_array_equal(unet.predict(photo), unet.predict(np.rot90(PICTURE, -1)))


@pytest.mark.parametrize(
    ("image", "same"),
    [
        (PICTURE[..., 0], np.repeat(PICTURE[..., :1], 3, axis=2)),
        (Image.fromarray(PICTURE[..., 0]), np.repeat(PICTURE[..., :1], 3, axis=2)),
        (Image.fromarray(np.dstack([PICTURE, PICTURE[..., 0]])), PICTURE),
        (Image.fromarray(PICTURE[..., 0]).convert("LA"), np.repeat(PICTURE[..., :1], 3, axis=2)),
        (Image.fromarray(PICTURE).quantize(9), np.array(Image.fromarray(PICTURE).quantize(9).convert("RGB"))),
    ],
    ids=["gray array", "gray", "RGBA", "gray with alpha", "palette"],
)
def test_pictures_without_three_channels(unet, image, same):
    np.testing.assert_array_equal(unet.predict(image), unet.predict(same))


def test_16_bit_pictures_equal_their_8_bit_version(unet):
    wide = PICTURE.astype(np.uint16) * 257
    np.testing.assert_allclose(unet.predict_proba(wide), unet.predict_proba(PICTURE), atol=1e-5)
    gray = Image.fromarray(wide[..., 0])
    np.testing.assert_allclose(unet.predict_proba(gray), unet.predict_proba(PICTURE[..., 0]), atol=1e-5)


def test_a_gray_network_sees_luminance():
    checkpoint = describe({"in_channels": 1})
    unet = live(checkpoint)
    gray = PICTURE[..., :1]
    np.testing.assert_array_equal(unet.predict(PICTURE[..., 0]), by_hand(checkpoint, gray / 255).argmax(0))
    np.testing.assert_array_equal(unet.predict(np.repeat(gray, 3, axis=2)), unet.predict(PICTURE[..., 0]))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 7), (32, 32), (33, 64), (100, 3)])
@pytest.mark.parametrize("network", [{}, {"norm": "none", "padding": "valid"}], ids=["padded", "unpadded"])
def test_masks_have_the_size_of_their_picture(size, network):
    unet = live(describe(network))
    picture = np.resize(PICTURE, (*size, 3))
    assert unet.predict(picture).shape == size
    probabilities = unet.predict_proba(picture)
    assert probabilities.shape == (3, *size)
    assert np.isfinite(probabilities).all()


@pytest.mark.parametrize("size", range(1, 6))
@pytest.mark.parametrize("margin", [0, 1, 7])
def test_unpadded_networks_get_a_mirrored_margin(size, margin):
    expected = np.pad(np.arange(size), margin, mode="reflect")
    np.testing.assert_array_equal(reflected(size, margin).numpy(), expected)


def test_what_the_checkpoint_says_is_known(unet, path):
    assert unet.class_names == ["background", "cell", "nucleus"]
    assert (unet.num_classes, unet.input_shape) == (3, (32, 32))
    assert unet.model_path == path
    assert unet.scores == {"miou": 0.5}
    np.testing.assert_array_equal(unet.palette[:3], PALETTE)
    np.testing.assert_array_equal(unet.palette[3:], voc_palette()[3:])


@pytest.mark.parametrize(
    "picture", [PICTURE, PICTURE[..., 0].astype(np.uint16) * 100], ids=["RGB", "16-bit gray"]
)
def test_results_as_pictures(unet, picture):
    mask, shown = unet.predict(picture), to_uint8_rgb(picture)
    expected = {
        "blend": blend(shown, mask, unet.palette),
        "mask": unet.palette[mask],
        "cutout": cutout(shown, mask),
    }
    for mix_type, pixels in expected.items():
        result = unet.detect_image(picture, mix_type)
        assert isinstance(result, Image.Image)
        np.testing.assert_array_equal(np.asarray(result), pixels)
    np.testing.assert_array_equal(np.asarray(unet.detect_image(picture)), expected["blend"])
    with pytest.raises(ValueError, match="cutout"):
        render(shown, mask, "collage", unet.palette)


def test_fields_of_the_checkpoint_can_be_replaced(path, unet):
    other = Unet(
        path, "cpu", "fp32", class_names=["a", "b", "c"], normalisation={"mean": [0.0] * 3, "std": [1.0] * 3}
    )
    assert other.class_names == ["a", "b", "c"]
    assert np.abs(other.predict_proba(PICTURE) - unet.predict_proba(PICTURE)).max() > 0.01
    with pytest.raises(TypeError, match="colour"):
        Unet(path, "cpu", colour="red")


def test_class_names_that_do_not_fit_the_network_are_a_user_error(path):
    with refused("class-count", path):
        Unet(path, "cpu", class_names=["background", "cell"])


@pytest.mark.parametrize("fault", ["missing", "unexpected", "other shape"])
def test_weights_that_do_not_fit_are_a_user_error(fault, tmp_path):
    checkpoint = describe()
    name = "stranger" if fault == "unexpected" else "head.weight"
    if fault == "missing":
        del checkpoint.model[name]
    else:
        checkpoint.model[name] = torch.ones(1)
    save_checkpoint(tmp_path / "best.pth", checkpoint)
    with refused("weights-misfit", tmp_path / "best.pth") as caught:
        Unet(tmp_path / "best.pth", "cpu")
    assert fault in caught.value.remedy
    assert name in caught.value.remedy


def test_the_newest_run_is_taken_by_default(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused("weights-missing"):
        Unet(device="cpu")
    for time, name in ((100, "old"), (200, "new")):
        target = tmp_path / "logs" / name / "best.pth"
        save_checkpoint(target, load_checkpoint(path))
        os.utime(target, (time, time))
    assert Unet(device="cpu").model_path == Path("logs/new/best.pth")


def test_missing_files_are_user_errors(unet, tmp_path):
    with refused("checkpoint-missing", tmp_path / "nothing.pth"):
        Unet(tmp_path / "nothing.pth", "cpu")
    with refused("file-missing", tmp_path / "nothing.png"):
        unet.predict(tmp_path / "nothing.png")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float64),
        np.zeros((4, 4), bool),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((4, 4, 17), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
    ids=lambda a: f"{a.shape} {a.dtype}",
)
def test_other_arrays_are_refused(array):
    with pytest.raises(ValueError, match="expected"):
        as_array(array)


def test_a_live_network_is_used_not_copied():
    checkpoint = describe()
    net = loaded(checkpoint)
    unet = Unet.from_network(net, checkpoint, FP32)
    assert unet.model_path is None
    before = unet.predict_proba(PICTURE)
    statistics = {k: v.clone() for k, v in net.state_dict().items()}
    # In training the network is in training mode; predicting must neither use nor move batch statistics.
    net.train()
    np.testing.assert_array_equal(unet.predict_proba(PICTURE), before)
    assert all(torch.equal(value, statistics[key]) for key, value in net.state_dict().items())
    with torch.no_grad():
        net.head.bias[1] += 100
    assert (unet.predict(PICTURE) == 1).all()


def test_batches_and_single_pictures_agree(unet):
    images = torch.from_numpy(np.stack([PICTURE, PICTURE[::-1].copy()])).permute(0, 3, 1, 2)
    together = unet.logits(images)
    assert together.dtype == torch.float32
    assert together.shape == (2, 3, 37, 53)
    for image, logits in zip(images, together, strict=True):
        torch.testing.assert_close(unet.logits(image[None])[0], logits, atol=1e-4, rtol=1e-4)


def test_bfloat16_gives_nearly_the_same_probabilities(path, unet):
    low = Unet(path, "cpu", "bf16")
    assert np.abs(low.predict_proba(PICTURE) - unet.predict_proba(PICTURE)).max() < 0.1
    assert (low.predict(PICTURE) == unet.predict(PICTURE)).mean() > 0.95


def test_predictions_are_timed_one_by_one(unet, monkeypatch):
    calls = []
    monkeypatch.setattr(unet, "predict", calls.append)
    assert len(unet.time_predictions(PICTURE, repeats=4, warm_up=2)) == 4
    assert len(calls) == 6
    assert unet.get_fps(PICTURE, repeats=2) > 0


@pytest.mark.parametrize("size", [(30, 50), (384, 390), (500, 800)])
def test_overlapping_tiles_of_the_papers_network_equal_the_picture_as_a_whole(tmp_path, size):
    network = NetworkConfig(2, 1, base_channels=2, norm="none", padding="valid")
    torch.manual_seed(0)
    net = build(network)
    save_checkpoint(
        tmp_path / "paper.pth",
        Checkpoint(
            model=net.state_dict(),
            network=network,
            class_names=["a", "b"],
            palette=[[0, 0, 0], [128, 0, 0]],
            normalisation={"mean": [0.5], "std": [0.25]},
            input_shape=(64, 64),
        ),
    )
    unet = Unet(tmp_path / "paper.pth", device="cpu", precision="fp32")
    images = torch.randint(
        0, 256, (1, 1, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        whole = net.eval()(mirror(unet.members[0].normalisation(images), net.margin))
    tiled = unet.logits(images)
    assert tiled.shape == (1, 2, *size)
    assert (tiled - whole).abs().max() < 1e-4 * whole.abs().max()


def test_threshold_of_an_ensemble_is_the_mean_if_all_have_one(tmp_path):
    thresholds = {"a": 0.2, "b": 0.6, "c": None}
    paths = {}
    for name, threshold in thresholds.items():
        two = {"class_names": ["background", "cell"], "palette": PALETTE[:2]}
        checkpoint = describe({"num_classes": 2}, threshold=threshold, **two)
        paths[name] = tmp_path / f"{name}.pth"
        save_checkpoint(paths[name], checkpoint)
    assert Unet(paths["a"], "cpu").threshold == 0.2
    assert Unet([paths["a"], paths["b"]], "cpu").threshold == pytest.approx(0.4)
    assert Unet([paths["a"], paths["c"]], "cpu").threshold is None


@pytest.mark.parametrize("threshold", [0.0005, 0.3, 0.5, 0.9])
def test_classes_above_a_threshold(threshold):
    logits = torch.randn(2, 30, 40, generator=torch.Generator().manual_seed(0)) * 3
    expected = logits.double().softmax(0)[1] >= threshold
    np.testing.assert_array_equal(classes_above(threshold, logits), expected)
