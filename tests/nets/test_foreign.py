"""Weights of other repositories load as they are, and give the logits that their own networks give."""

import json
import re
import zlib

import numpy as np
import pytest
import torch
from foreign_weights import small_pytorch_unet
from scripts import SHARED, make_voc, run_here

from nets.foreign import recognise
from nets.unet import build
from unet import Unet
from utils.core.console import UserError
from utils.images.reading import read_mask

PEERS = SHARED / "peers"
CASES = {
    "unet_pytorch_vgg": "unet-pytorch (vgg)",
    "unet_pytorch_resnet50": "unet-pytorch (resnet50)",
    "pytorch_unet_transposed": "Pytorch-UNet (transposed)",
    "pytorch_unet_bilinear": "Pytorch-UNet (bilinear)",
}
needs_peers = pytest.mark.skipif(not PEERS.is_dir(), reason="the reference logits are not here")


def formula(key: str, shape: list[int]) -> torch.Tensor:
    """The value of a key in the reference checkpoints, a function of its name and shape alone."""
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    values = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if key.endswith("running_var"):
        values = 1 + 0.1 * np.abs(values)
    elif key.endswith(("running_mean", "bias")):
        values = 0.1 * values
    elif len(shape) == 1:
        values = 1 + 0.1 * values
    else:
        fan_in = shape[0] if len(shape) == 4 and key.endswith("up.weight") else np.prod(shape[1:])
        values = values * np.sqrt(2 / fan_in)
    return torch.from_numpy(values.astype(np.float32))


def reference_weights(case: str) -> dict[str, torch.Tensor]:
    keys = json.loads((PEERS / f"{case}.keys.json").read_text(encoding="utf-8"))
    return {key: formula(key, shape) for key, shape in keys.items()}


@needs_peers
@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_other_repositorys(case):
    weights = recognise(reference_weights(case))
    assert weights.origin == CASES[case]
    net = build(weights.network).eval()
    net.load_state_dict(weights.model)
    expected = np.load(PEERS / f"{case}.logits.npz")["logits"]
    image = np.random.RandomState(7).uniform(0, 1, (1, 3, *expected.shape[2:])).astype(np.float32)
    with torch.inference_mode():
        logits = net(torch.from_numpy(image)).numpy()
    assert np.abs(logits - expected).max() < 1e-3 * np.abs(expected).max()


def logits_of(weights: dict) -> torch.Tensor:
    found = recognise(weights)
    net = build(found.network).eval()
    net.load_state_dict(found.model)
    with torch.inference_mode():
        return net(torch.ones(1, 3, 35, 46))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: {"state_dict": w},
        lambda w: {"model": w, "epoch": 3},
        lambda w: {f"module.{k}": v for k, v in w.items()},
        lambda w: {f"_orig_mod.{k}": v for k, v in w.items()},
        lambda w: {"state_dict": {f"module._orig_mod.{k}": v for k, v in w.items()}},
        lambda w: {**w, "mask_values": [0, 255]},
    ],
)
def test_wrapped_and_prefixed_weights_are_the_same_weights(wrap):
    weights = small_pytorch_unet()
    assert torch.equal(logits_of(wrap(weights)), logits_of(weights))


def test_half_precision_weights_become_float32():
    weights = small_pytorch_unet()
    half = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    assert all(v.dtype == torch.float32 for v in recognise(half).model.values() if v.is_floating_point())
    torch.testing.assert_close(logits_of(half), logits_of(weights), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("transposed", [True, False])
def test_the_predictor_takes_a_foreign_file_as_it_is(tmp_path, transposed, capsys):
    torch.save(
        {**small_pytorch_unet(transposed, classes=3), "mask_values": [0, 128, 255]}, tmp_path / "theirs.pth"
    )
    unet = Unet(tmp_path / "theirs.pth", device="cpu", precision="fp32")
    assert unet.class_names == ["class_0", "class_1", "class_2"]
    assert unet.predict(np.zeros((31, 45, 3), np.uint8)).shape == (31, 45)
    said = capsys.readouterr().err
    assert "Pytorch-UNet" in said and "[0, 128, 255]" in said
    image = np.full((31, 45, 3), 255, np.uint8)
    with torch.inference_mode():
        expected = unet.net(torch.ones(1, 3, 31, 45)).softmax(1)[0].numpy()
    np.testing.assert_allclose(unet.predict_proba(image), expected, atol=1e-5)


def test_class_names_can_be_given(tmp_path):
    torch.save(small_pytorch_unet(), tmp_path / "theirs.pth")
    unet = Unet(tmp_path / "theirs.pth", class_names=["background", "car"])
    assert unet.class_names == ["background", "car"]
    with pytest.raises(UserError) as refused:
        Unet(tmp_path / "theirs.pth", class_names=["background", "car", "road"])
    assert refused.value.code == "class-count"


def test_what_does_not_fit_is_told_as_a_table(tmp_path):
    weights = small_pytorch_unet()
    weights["extra.weight"] = torch.zeros(1)
    weights["down1.maxpool_conv.1.double_conv.0.weight"] = torch.zeros(4, 7, 3, 3)
    for key in [key for key in weights if key.startswith("up1")]:
        del weights[key]
    weights["up1.up.weight"] = torch.zeros(32, 16, 2, 2)
    torch.save(weights, tmp_path / "theirs.pth")
    with pytest.raises(UserError) as error:
        Unet(tmp_path / "theirs.pth")
    text = str(error.value)
    assert "missing (13 in all)" in text and text.count("decoder.steps.0") == 10
    assert "unexpected (1 in all):\n    extra.weight" in text
    assert "other shape (1 in all):\n    encoder.levels.1.0.weight (4, 7, 3, 3) for (4, 2, 3, 3)" in text


def test_a_missing_convolution_does_not_change_what_the_network_is_taken_for(tmp_path):
    weights = small_pytorch_unet(transposed=False)
    del weights["down4.maxpool_conv.1.double_conv.0.weight"]
    torch.save(weights, tmp_path / "theirs.pth")
    with pytest.raises(UserError, match=r"missing \(1 in all\):\n    encoder.levels.4.0.weight$"):
        Unet(tmp_path / "theirs.pth")


def test_weights_without_their_head_are_recognised(tmp_path):
    weights = {key: value for key, value in small_pytorch_unet().items() if not key.startswith("outc")}
    torch.save(weights, tmp_path / "theirs.pth")
    with pytest.raises(UserError, match=r"missing \(2 in all\):\n    head.weight\n    head.bias"):
        Unet(tmp_path / "theirs.pth")
    vgg = {"up_concat4.conv1.weight": torch.zeros(512, 1024, 3, 3)}
    assert recognise(vgg).origin == "unet-pytorch (vgg)"


def test_one_class_of_pytorch_unet_is_told_from_the_rest_by_a_sigmoid(tmp_path):
    weights = small_pytorch_unet(classes=2)
    weights |= {key: value[:1] for key, value in weights.items() if key.startswith("outc.")}
    torch.save(weights, tmp_path / "theirs.pth")
    unet = Unet(tmp_path / "theirs.pth", "cpu", "fp32")
    assert unet.num_classes == 2
    image = np.full((31, 45, 3), 255, np.uint8)
    with torch.inference_mode():
        logit = unet.net(torch.ones(1, 3, 31, 45))[0, 1]
    np.testing.assert_allclose(unet.predict_proba(image)[1], logit.sigmoid().numpy(), atol=1e-5)


def test_the_scripts_take_a_foreign_file(tmp_path, monkeypatch, capsys):
    torch.save(small_pytorch_unet(classes=3), tmp_path / "theirs.pth")
    folder = make_voc(tmp_path / "voc")
    monkeypatch.chdir(tmp_path)
    picture = folder.image_path("cells_0")
    assert run_here(monkeypatch, "predict.py", "--model-path", "theirs.pth", "--input", picture) == 0
    assert set(np.unique(read_mask(tmp_path / "img_out" / "cells_0_mask.png"))) <= {0, 1, 2}
    assert run_here(monkeypatch, "get_miou.py", "--model-path", "theirs.pth", "--voc-root", folder.root) == 0
    assert re.search("^nucleus +[0-9.–]+", capsys.readouterr().out, re.MULTILINE)
    torch.save(small_pytorch_unet(classes=2), tmp_path / "theirs.pth")
    assert run_here(monkeypatch, "get_miou.py", "--model-path", "theirs.pth", "--voc-root", folder.root) == 2
    assert "expected: the classes of theirs.pth: class_0, class_1" in capsys.readouterr().err


def test_other_weights_are_not_recognised():
    assert recognise({"fc.weight": torch.zeros(1)}) is None
    assert recognise({}) is None
