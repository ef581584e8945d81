"""Pretrained encoders and freezing, as train.py uses them."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from scripts import make_voc, tiny, with_settings

import train
import utils.training.epochs
from nets.backbones import BACKBONES, IMAGENET_MEAN
from nets.config import NetworkConfig
from nets.torchvision_encoders import weights_url
from nets.unet import build
from utils.core.console import UserError
from utils.images.reading import read_image
from utils.images.writing import write_image
from utils.models.checkpoint import imagenet_weights, load_checkpoint, newest_checkpoint
from utils.voc.folder import VocFolder


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = make_voc(tmp_path / "voc")
    settings = {"backbone": "vgg", "in_channels": 3, "batch_size": 1, "input_shape": (32, 32)}
    return tiny(folder, tmp_path / "logs", epochs=1, **settings)


def imagenet_file(tmp_path, backbone: str = "vgg"):
    """A file under the name of torchvision's weights, with weights of our own drawing."""
    torchvision = pytest.importorskip("torchvision")
    path = tmp_path / "model_data" / weights_url(BACKBONES[backbone].imagenet).rsplit("/", 1)[1]
    path.parent.mkdir(exist_ok=True)
    features = torchvision.models.vgg16().features.state_dict()
    torch.save({f"features.{key}": value for key, value in features.items()}, path)
    return path


def test_weights_in_model_data_are_taken_and_their_normalisation_recorded(tmp_path, config):
    path = imagenet_file(tmp_path)
    train.main(replace(config, lr=1e-12, weight_decay=0.0))
    best = load_checkpoint(tmp_path / "logs" / "run" / "best.pth")
    assert tuple(best.normalisation["mean"]) == IMAGENET_MEAN
    first = torch.load(path, weights_only=True)["features.0.weight"]
    torch.testing.assert_close(best.model["encoder.levels.0.0.weight"], first)


def test_other_channels_take_red_green_and_blue_in_turn_and_their_own_normalisation(tmp_path, config):
    first = torch.load(imagenet_file(tmp_path), weights_only=True)["features.0.weight"]
    folder = VocFolder(config.voc_root)
    for path in [*folder.images.values()]:
        gray = read_image(path)
        write_image(path.with_suffix(".tif"), np.dstack([gray, gray, 255 - gray, gray // 2, gray // 4]))
        path.unlink()
    config = with_settings(config, in_channels=5, lr=1e-12, weight_decay=0.0)
    train.main(config)
    best = load_checkpoint(tmp_path / "logs" / "run" / "best.pth")
    expected = first[:, [0, 1, 2, 0, 1]] * (3 / 5)
    torch.testing.assert_close(best.model["encoder.levels.0.0.weight"], expected)
    mean = best.normalisation["mean"]
    assert mean[0] == mean[1] and mean[2] == pytest.approx(1 - mean[0])


def test_without_file_and_network_the_message_says_which_file_to_put_where(tmp_path, config, monkeypatch):
    def refuse(url, target, **_):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(UserError) as error:
        train.main(config)
    text = str(error.value)
    assert "vgg16-397923af.pth" in text and "--no-pretrained" in text
    assert not list((tmp_path / "model_data").glob("*.writing*")) and not (tmp_path / "logs").exists()


def test_a_download_is_kept(tmp_path, monkeypatch):
    weights = imagenet_file(tmp_path).read_bytes()
    source = tmp_path / f"vgg16-{hashlib.sha256(weights).hexdigest()[:8]}.pth"
    source.write_bytes(weights)
    found = imagenet_weights(source.as_uri(), tmp_path / "model_data")
    assert (tmp_path / "model_data" / source.name).read_bytes() == weights and "features.0.weight" in found


def test_a_download_of_something_else_is_not_kept(tmp_path):
    (tmp_path / "model_data").mkdir()
    page = tmp_path / "vgg16-397923af.pth"
    page.write_text("<html>please log in</html>")
    with pytest.raises(UserError) as error:
        imagenet_weights(page.as_uri(), tmp_path / "model_data")
    assert error.value.code == "imagenet-download"
    assert not list((tmp_path / "model_data").iterdir())


def test_weights_of_another_network_are_refused(tmp_path, config):
    imagenet_file(tmp_path).rename(tmp_path / "model_data" / "resnet50-11ad3fa6.pth")
    with pytest.raises(UserError) as error:
        train.main(with_settings(config, backbone="resnet50"))
    assert error.value.code == "weights-misfit" and "resnet50" in error.value.subject


def test_imagenet_weights_are_no_model(tmp_path):
    imagenet_file(tmp_path)
    with pytest.raises(UserError) as error:
        newest_checkpoint(tmp_path / "logs", tmp_path / "model_data")
    assert error.value.code == "weights-missing"


def test_a_frozen_phase_has_its_own_batch_size_and_rate_and_moves_the_decoder_only(
    tmp_path, config, monkeypatch
):
    rates = {"freeze_lr": 0.05, "lr": 0.01, "encoder_lr_factor": 0.1}
    changes = {"backbone": "plain", "epochs": 3, "freeze_epochs": 2, "freeze_batch_size": 2, **rates}
    seen = []
    original = utils.training.epochs.train_one_epoch

    def spy(trainer, loader, *arguments):
        loss = original(trainer, loader, *arguments)
        weights = {key: value.clone() for key, value in trainer.net.state_dict().items()}
        seen.append((weights, [group["lr"] for group in trainer.optimizer.param_groups], len(loader)))
        return loss

    monkeypatch.setattr(utils.training.epochs, "train_one_epoch", spy)
    train.main(with_settings(config, **changes))
    torch.manual_seed(config.seed)
    start = build(NetworkConfig(3, 3, base_channels=4, depth=2, deep_supervision=True)).state_dict()
    encoder = [key for key in start if key.startswith("encoder.")]
    assert all(torch.equal(seen[1][0][key], start[key]) for key in encoder)
    assert not torch.equal(seen[0][0]["head.weight"], start["head.weight"])
    assert not torch.equal(seen[2][0]["encoder.levels.0.0.weight"], start["encoder.levels.0.0.weight"])
    assert [steps for *_, steps in seen] == [2, 2, 4]
    encoder_lr, _, decoder_lr, _ = seen[2][1]  # each with its norms and biases
    assert encoder_lr == pytest.approx(0.1 * decoder_lr)


def test_weights_of_another_backbone_name_both(tmp_path, config):
    train.main(with_settings(config, backbone="plain"))
    path = tmp_path / "logs" / "run" / "best.pth"
    with pytest.raises(UserError) as error:
        train.main(replace(config, model_path=path, run_name="two"))
    assert error.value.code == "backbone-differs"
    assert "plain" in error.value.found and "vgg" in error.value.expected
