"""train.py: pictures of 12 and 16 bits and of floats keep their range from training to prediction."""

import numpy as np
import pytest
import tifffile
import torch
from scripts import make_voc, save_untrained, tiny

import import_dataset
import train
from train import main
from unet import Unet
from utils.core.console import UserError
from utils.images.reading import read_image
from utils.images.writing import write_image
from utils.models.checkpoint import load_checkpoint
from utils.models.weights import build_network
from utils.training.start import load_start, read_start
from utils.voc.demo import draw_sample
from utils.voc.folder import VocFolder


def test_twelve_bit_pictures_fill_the_range_in_training_and_prediction(tmp_path):
    folder = make_voc(tmp_path / "voc", 3)
    for path in folder.images.values():
        write_image(path, read_image(path).astype(np.uint16) * 16)
    run_dir = tmp_path / "run"
    main(tiny(folder, tmp_path, epochs=1))
    low, high = load_checkpoint(run_dir / "best.pth").normalisation["range_16bit"]
    assert 0 <= low < 1000 and 2000 < high < 4096
    unet = Unet(run_dir / "best.pth", device="cpu", precision="fp32")
    image = np.linspace(0, 4095, 48 * 48).astype(np.uint16).reshape(48, 48)
    seen = []
    unet.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    unet.predict(image)
    spread = unet.normalisation.std[0] * (seen[-1].max() - seen[-1].min()).item()
    assert spread == pytest.approx(1.0, abs=0.02)


def import_floats(root, images, masks):
    """A VOC folder of a stack: the last page validates."""
    root.mkdir()
    tifffile.imwrite(root / "cells.tif", images, photometric="minisblack")
    tifffile.imwrite(root / "labels.tif", masks, photometric="minisblack")
    settings = {"images": root / "cells.tif", "masks": root / "labels.tif", "voc_root": root}
    import_dataset.main(import_dataset.Config(format="stack", **settings))
    folder = VocFolder(root)
    names = sorted(folder.images)
    folder.write_split("train", names[:-1])
    folder.write_split("val", names[-1:])
    return folder


def percentiles_of(normalisation):
    """What the network sees as black and white, and one 16-bit step, both in the numbers of the stack."""
    low, high = normalisation["range_float"]
    step = (high - low) / 65535
    return [low + code * step for code in normalisation["range_16bit"]], step


def test_pictures_of_floats_are_scaled_by_the_training_in_training_and_prediction(tmp_path):
    pages = [draw_sample(seed, 48) for seed in range(3)]
    images, masks = (
        np.stack([image for image, _ in pages]).astype(np.float32) * 0.01 - 0.3,
        [m for _, m in pages],
    )
    # A validation picture four times as bright, with a hole and a number out of all proportion.
    images[2] *= 4
    images[2, 0, :2] = np.nan, 1e6
    folder = import_floats(tmp_path / "voc", images, np.stack(masks))
    main(tiny(folder, tmp_path / "logs", epochs=2, lr=1e-2))
    unet = Unet(tmp_path / "logs" / "run" / "best.pth", "cpu")
    found, step = percentiles_of(unet.normalisation.to_dict())
    expected = np.percentile(images[:2], (0.1, 99.9), method="inverted_cdf")
    assert np.abs(found - expected).max() <= step
    assert step < (expected[1] - expected[0]) / 800
    seen = []
    unet.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    unet.predict(images[0])
    seen.clear()
    path = tmp_path / "raw.tif"
    for name, raw in zip(sorted(folder.images), images, strict=True):
        probabilities = [unet.predict_proba(folder.image_path(name)), unet.predict_proba(raw)]
        for dtype in (np.float32, np.float64):
            tifffile.imwrite(path, raw.astype(dtype), photometric="minisblack")
            probabilities.append(unet.predict_proba(path))
        assert all(np.array_equal(one, probabilities[0]) for one in probabilities)
        assert all(torch.equal(one, seen[0]) for one in seen)
        seen.clear()
    assert unet.detect_image(path).size == (48, 48)
    with pytest.raises(UserError, match=r"floating-point values between -0\.84 and 1e"):
        Unet("model_data/unet_demo.pth", "cpu").predict(path)


def test_fine_tuning_on_floats_of_another_scale_measures_them(tmp_path):
    images, mask = np.linspace(0, 1, 3 * 48 * 48, dtype=np.float32).reshape(3, 48, 48), draw_sample(0, 48)[1]
    start = save_untrained(
        tmp_path / "start.pth",
        normalisation={
            "mean": [0.5] * 3,
            "std": [0.2] * 3,
            "range_16bit": [7, 60000],
            "range_float": [0.0, 1.0],
        },
    )
    for factor, kept in ((1, True), (50, False)):
        folder = import_floats(tmp_path / f"voc {factor}", images * factor, np.stack([mask] * 3))
        config = tiny(folder, tmp_path, model_path=start)
        data = train.read_data(config)
        begin = read_start(config.model_path, None)
        network = train.resolve_network(config, data, begin).network
        net = build_network(network)
        normalisation = load_start(net, begin, data, network.backbone, network.in_channels, True).to_dict()
        assert normalisation["range_float"] == [0, factor]
        assert (normalisation["range_16bit"] == [7, 60000]) == kept
        if not kept:
            found, step = percentiles_of(normalisation)
            assert found == pytest.approx(
                np.percentile(images[:2] * factor, (0.1, 99.9), method="inverted_cdf"), abs=step
            )
