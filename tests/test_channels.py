"""Pictures of 2 to 16 channels as they are: checked, trained, resumed, scored, predicted, exported."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from scripts import predict_config, refused, tiny

import augment
import get_miou
import predict
import train
import voc2unet
from unet import Unet
from utils.core.files import write_lines
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.models.checkpoint import load_checkpoint
from utils.voc.folder import VocFolder

SIZE, COUNT = 48, 6


def draw(index, channels, dtype=np.uint8):
    """A picture (H, W, C) of noise, with a disc that is seen in the last channel alone, and its mask."""
    rng = np.random.default_rng(index)
    y, x = np.mgrid[:SIZE, :SIZE]
    middle = rng.integers(14, SIZE - 14, 2)
    mask = np.uint8((y - middle[0]) ** 2 + (x - middle[1]) ** 2 < 100)
    picture = rng.integers(20, 120, (SIZE, SIZE, channels))
    picture[..., -1] += 130 * mask
    # The first channel of 16 bits is many times as bright as the others.
    scale = np.array([200, *[4] * (channels - 1)]) if dtype == np.uint16 else 1
    return (picture * scale).astype(dtype), mask


def make_folder(root, channels, dtype=np.uint8, imagej=False):
    folder = VocFolder(root)
    folder.images_dir.mkdir(parents=True)
    for index in range(COUNT):
        picture, mask = draw(index, channels, dtype)
        path = folder.images_dir / f"p{index}.tif"
        if imagej:
            tifffile.imwrite(path, np.moveaxis(picture, 2, 0), imagej=True, metadata={"axes": "CYX"})
        else:
            write_image(path, picture)
        write_mask(folder.mask_path(f"p{index}"), mask)
    write_lines(folder.class_names_path, ["background", "disc"])
    return VocFolder(root)


def train_on(folder, tmp_path, **settings):
    voc2unet.main(voc2unet.Config(voc_root=folder.root))
    train.main(tiny(folder, tmp_path, **{"epochs": 25, "lr": 0.02, "input_shape": (48, 48), **settings}))
    return tmp_path / "run" / "best.pth"


@pytest.mark.parametrize(("channels", "dtype", "imagej"), [(2, np.uint16, True), (5, np.uint8, False)])
def test_a_class_that_one_channel_shows_is_learnt(channels, dtype, imagej, tmp_path, small_is_large):
    folder = make_folder(tmp_path / "voc", channels, dtype, imagej)
    best = train_on(folder, tmp_path, augmentation="strong,erase=0,cubic=1,elastic=0,scale=0.1")
    checkpoint = load_checkpoint(best)
    assert checkpoint.network.in_channels == channels
    assert len(checkpoint.normalisation["mean"]) == channels
    assert checkpoint.scores["miou"] > 0.8
    if dtype == np.uint16:
        (first, _), (_, last) = checkpoint.normalisation["range_16bit"]
        assert first > last
    content = json.loads((folder.root / "dataset.json").read_text("utf-8"))
    assert list(content["channels"]) == [f"{channels} channels"]
    assert read_image(tmp_path / "run" / "train_batch.png").ndim == 3

    get_miou.main(get_miou.Config([best], folder.root, output=tmp_path / "scores", device="cpu"))
    picture, mask = draw(100, channels, dtype)
    path = tmp_path / "in" / "new.tif"
    write_image(path, picture)
    settings = {"model_path": [best], "input": path.parent, "device": "cpu"}
    settings |= {"objects": True, "save_labelme": True}
    results = predict_config(mode="dir_predict", output=tmp_path / "out", **settings)
    # A large picture, whose objects need it whole, then one that goes band by band.
    predict.main(results)
    predict.main(
        replace(
            results,
            output=tmp_path / "bands",
            results=replace(results.results, objects=False, save_labelme=False),
        )
    )
    found = read_mask(tmp_path / "out" / "new_mask.tif")
    assert (found == mask).mean() > 0.97
    np.testing.assert_array_equal(read_mask(tmp_path / "bands" / "new_mask.tif"), found)
    with Image.open(tmp_path / "out" / "labelme" / "new.png") as image:
        assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))
    annotation = json.loads((tmp_path / "out" / "labelme" / "new.json").read_text("utf-8"))
    assert annotation["imagePath"] == "new.png"
    assert f"mean_intensity_{channels}" in (tmp_path / "out" / "objects.csv").read_text("utf-8")


def test_a_run_of_channels_is_resumed_exported_and_fine_tuned(tmp_path, capsys):
    folder = make_folder(tmp_path / "voc", 4)
    best = train_on(folder, tmp_path, epochs=1)
    config = tiny(folder, tmp_path, epochs=2, resume=tmp_path / "run" / "last.pth")
    train.main(config)
    exported = predict_config(mode="export_onnx", model_path=[best], output=tmp_path / "a.onnx", repeats=1)
    predict.main(exported)
    capsys.readouterr()
    predict.main(replace(exported, input=folder.image_path("p0"), overwrite=True))
    assert "100.0000% of the pixels equal" in capsys.readouterr().out
    predict.main(predict_config(mode="fps", model_path=[best], device="cpu", repeats=1))

    other = make_folder(tmp_path / "other", 3)
    voc2unet.main(voc2unet.Config(voc_root=other.root))
    train.main(tiny(other, tmp_path, epochs=1, run_name="tuned", model_path=best))
    tuned = load_checkpoint(tmp_path / "tuned" / "best.pth")
    assert (tuned.network.in_channels, len(tuned.normalisation["mean"])) == (3, 3)


def test_pictures_of_other_channels_are_refused(tmp_path):
    folder = make_folder(tmp_path / "voc", 4)
    best = train_on(folder, tmp_path, epochs=1)
    with refused("picture-channels", "--in-channels 3"):
        train.main(tiny(folder, tmp_path, run_name="rgb", in_channels=3))
    unet = Unet(best, "cpu")
    for picture in (np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)):
        with refused("picture-channels"):
            unet.predict(picture)
    with refused("picture-channels", tmp_path / "a.mp4"):
        predict.main(predict_config(mode="video", model_path=[best], input=tmp_path / "a.mp4"))
    odd = folder.image_path("p1")
    write_image(odd, draw(1, 3)[0])
    folder.write_split("train", ["p0", "p1"])
    with refused("picture-channels", odd):
        voc2unet.main(voc2unet.Config(voc_root=folder.root))
    with refused("picture-channels", odd):
        train.main(tiny(folder, tmp_path, run_name="odd"))


def test_augmented_copies_keep_their_channels(tmp_path):
    folder = make_folder(tmp_path / "voc", 5, np.uint16)
    voc2unet.main(voc2unet.Config(voc_root=folder.root))
    settings = {"copies": 1, "augmentation": "none,flip=1"}
    augment.main(augment.Config(folder.root, tmp_path / "more", **settings))
    name = folder.read_split("train")[0]
    copy = read_image(tmp_path / "more" / "JPEGImages" / f"{name}_aug1.tif")
    original = read_image(folder.image_path(name))
    flips = [original[::down, ::across] for down in (1, -1) for across in (1, -1)]
    # What lies beyond the 0.1 and 99.9 percentile is clipped.
    assert min(np.mean(np.abs(copy - each.astype(float)) > 400) for each in flips) < 0.01


@pytest.mark.parametrize("script", ["voc2unet", "train", "get_miou", "predict"])
def test_pages_that_are_not_read_are_told(script, tmp_path, capsys):
    folder = make_folder(tmp_path / "voc", 3)
    best = train_on(folder, tmp_path, epochs=1)
    pages = np.stack([draw(index, 1)[0][..., 0] for index in range(5)])
    tifffile.imwrite(folder.image_path("p0"), pages, photometric="minisblack")
    folder.write_split("val", ["p0"])
    capsys.readouterr()
    if script == "voc2unet":
        voc2unet.main(voc2unet.Config(voc_root=folder.root))
    elif script == "train":
        train.main(tiny(folder, tmp_path, epochs=1, run_name="again"))
    elif script == "get_miou":
        get_miou.main(get_miou.Config([best], folder.root, output=tmp_path / "scores", device="cpu"))
    else:
        settings = {"model_path": [best], "input": folder.image_path("p0"), "device": "cpu"}
        predict.main(predict_config(output=tmp_path / "out", **settings))
    told = capsys.readouterr().err
    assert "5 pages" in told and "--format stack" in told and "p0.tif" in told
