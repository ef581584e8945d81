"""Export to ONNX, and ONNX files in the place of checkpoints."""

import json
import logging
import re
import sys

import numpy as np
import pytest
import tifffile
import torch
from scripts import cut_off, predict_config, run, save_untrained

import predict
from nets.config import NetworkConfig
from nets.unet import build
from predict import Config
from unet import Unet
from utils.core.console import UserError
from utils.images.palette import voc_palette
from utils.images.reading import read_mask
from utils.images.writing import write_image
from utils.models.checkpoint import Checkpoint, save_checkpoint
from utils.models.onnx import export_onnx
from utils.voc.demo import draw_sample

pytest.importorskip("onnxscript")
runtime = pytest.importorskip("onnxruntime")

NAMES = ["Hintergrund", "Zelle", "核"]
ALIGNED = {"norm": "none", "upsampling": "aligned"}
SMALL = {"base_channels": 4, "depth": 1}
MEMBERS = {
    "the paper's": {**SMALL, "norm": "none", "padding": "valid", "in_channels": 1},
    "Pytorch-UNet's": {**SMALL, "upsampling": "aligned", "pad_picture": False},
    "unet-pytorch's vgg": {"backbone": "vgg", **ALIGNED},
}
GRAY = draw_sample(0, 64)[0][:45]
RGB = np.stack([GRAY, GRAY // 2, 255 - GRAY], axis=-1)


def exported(folder, argmax=False, fit="crop", range_16bit=None, **network):
    """An untrained network as (Unet of the checkpoint, path of the ONNX file)."""
    torch.manual_seed(0)
    config = NetworkConfig(**{"num_classes": 3, "in_channels": 3, **network})
    channels = config.in_channels
    described = Checkpoint(
        model=build(config).state_dict(),
        network=config,
        class_names=NAMES,
        palette=[[0, 0, 0], [1, 2, 3], [4, 5, 6]],
        normalisation={"mean": [0.3] * channels, "std": [0.2] * channels, "range_16bit": range_16bit},
        input_shape=(32, 48),
        fit=fit,
    )
    save_checkpoint(folder / "net.pth", described)
    unet = Unet(folder / "net.pth", "cpu", "fp32")
    export_onnx(folder / "net.onnx", unet.net, unet.checkpoint, argmax)
    return unet, folder / "net.onnx"


@pytest.fixture(scope="module", autouse=True)
def no_trace():
    """pytest's log capture makes the exporter write its whole trace, which takes longer than the export."""
    logging.getLogger("torch.__trace").setLevel(logging.WARNING)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("plain"), fit="letterbox", **SMALL)


@pytest.mark.parametrize("member", MEMBERS)
def test_onnx_runtime_gives_what_pytorch_gives(tmp_path, member):
    unet, path = exported(tmp_path, **MEMBERS[member])
    other = Unet(path, "cpu")
    for image in (RGB, GRAY[:32, :48], RGB[:1, :1], np.tile(RGB, (3, 1, 1))):
        assert np.abs(other.predict_proba(image) - unet.predict_proba(image)).max() < 1e-5
        assert np.array_equal(other.predict(image), unet.predict(image))
    batch = torch.from_numpy(np.stack([RGB, RGB[::-1]])[..., : unet.checkpoint.network.in_channels]).movedim(
        3, 1
    )
    assert torch.allclose(other.logits(batch), unet.logits(batch), atol=1e-4)


def test_the_file_says_what_a_checkpoint_says(plain):
    unet, path = plain
    other = Unet(path, "cpu")
    assert (other.class_names, other.num_classes) == (NAMES, 3)
    assert (other.input_shape, other.checkpoint.fit, other.backbone) == ((32, 48), "letterbox", "plain")
    assert np.array_equal(other.palette, unet.palette)
    assert np.array_equal(other.palette[3:], voc_palette()[3:])
    assert np.array_equal(other.predict(RGB), unet.predict(RGB))
    assert np.array_equal(np.asarray(other.detect_image(RGB)), np.asarray(unet.detect_image(RGB)))
    assert str(other.precision).startswith("float32")


def test_the_file_alone_suffices_for_other_programs(plain):
    unet, path = plain
    session = runtime.InferenceSession(str(path))
    picture = np.tile(RGB, (2, 1, 1))[:32, :48]  # as large as the network's input: a letterbox without bars
    (logits,) = session.run(None, {"picture": picture.transpose(2, 0, 1)[None]})
    assert np.array_equal(logits[0].argmax(0), unet.predict(picture))
    content = session.get_modelmeta().custom_metadata_map
    assert json.loads(content["class_names"]) == NAMES
    assert json.loads(content["palette"])[2] == [4, 5, 6]
    scale = {"mean": [0.3] * 3, "std": [0.2] * 3, "range_16bit": None, "range_float": None}
    assert json.loads(content["normalisation"]) == scale
    assert (json.loads(content["stride"]), json.loads(content["margin"])) == (2, 0)
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    assert session.get_outputs()[0].shape == ["batch", 3, "height", "width"]


def test_argmax_inside(tmp_path, capsys):
    unet, path = exported(tmp_path, argmax=True, **SMALL)
    (classes,) = runtime.InferenceSession(str(path)).run(None, {"picture": RGB.transpose(2, 0, 1)[None]})
    assert classes.dtype == np.uint8
    assert np.array_equal(classes[0], unet.predict(RGB))
    other = Unet(path, "cpu")
    assert "without probabilities" in capsys.readouterr().err
    assert np.array_equal(other.predict(RGB), unet.predict(RGB))
    assert np.abs(other.predict_proba(RGB).max(0) - 1).max() < 1e-6


def test_classes_of_a_stored_threshold_and_a_separator(tmp_path, capsys):
    """Gaps, which are closed by probabilities, are no difference between the networks."""
    stored = {"threshold": 0.45, "settings": {"separator": 1}}
    weights = save_untrained(tmp_path / "best.pth", ["cell", "membrane"], **stored)
    settings = {"mode": "export_onnx", "output": tmp_path / "a.onnx", "repeats": 1, "device": "cpu"}
    predict.main(predict_config(model_path=weights, argmax=True, **settings))
    output = capsys.readouterr()
    assert "100.0000% of the pixels equal" in output.out
    assert "do not use it" not in output.err
    unet = Unet(weights, "cpu", "fp32", close_gaps="none")
    other = Unet(tmp_path / "a.onnx", "cpu", close_gaps="none")
    assert np.array_equal(other.predict(RGB), unet.predict_proba(RGB)[1] >= 0.45)
    assert unet.has_probabilities and not other.has_probabilities


@pytest.mark.parametrize("range_16bit", [None, [1000, 14000]])
def test_16_bits(tmp_path, plain, range_16bit):
    """A network of 16 bits takes both kinds exactly. For one of 8 bits, 16-bit pictures are rounded."""
    unet, path = exported(tmp_path, range_16bit=range_16bit, **SMALL) if range_16bit else plain
    other = Unet(path, "cpu")
    deep = GRAY.astype(np.uint16) * 60 + np.arange(64, dtype=np.uint16)
    assert np.abs(other.predict_proba(RGB) - unet.predict_proba(RGB)).max() < 1e-5
    difference = np.abs(other.predict_proba(deep) - unet.predict_proba(deep)).max()
    assert difference < (1e-5 if range_16bit else 0.05)


def test_export_says_how_the_file_compares(tmp_path, capsys):
    weights = save_untrained(tmp_path / "best.pth")
    settings = {"mode": "export_onnx", "output": tmp_path / "out", "repeats": 2, "device": "cpu"}
    config = predict_config(model_path=weights, **settings)
    predict.main(config)
    output = capsys.readouterr().out
    path = tmp_path / "out" / "best.onnx"
    assert f"{path}: " in output
    assert float(re.search(r"difference of probabilities ([\d.e-]+)", output)[1]) < 1e-5
    assert "100.0000% of the pixels equal" in output
    assert re.search(r"ONNX Runtime +[\d.]+ ms per picture", output)
    assert re.search(r"PyTorch +[\d.]+ ms per picture", output)
    before = path.read_bytes()
    with pytest.raises(UserError, match="--overwrite"):
        predict.main(config)
    assert path.read_bytes() == before
    with pytest.raises(UserError) as refused:
        predict.main(Config(mode="export_onnx", model_path=path, output=tmp_path / "two", device="cpu"))
    assert refused.value.code == "export-of-onnx"
    with pytest.raises(UserError, match="an ONNX file"):
        predict.main(predict_config(mode="fps", model_path=path, device="cpu", compile=True))


def test_export_compares_a_network_of_floats_on_its_own_pictures(tmp_path, capsys):
    scale = {"mean": [0.3] * 3, "std": [0.2] * 3, "range_16bit": [0, 65535], "range_float": [-2.0, 1.5]}
    weights, floats = save_untrained(tmp_path / "best.pth", normalisation=scale), tmp_path / "floats.tif"
    tifffile.imwrite(floats, (RGB[..., 0] / 100 - 1.5).astype(np.float32))
    settings = {"output": tmp_path / "a.onnx", "repeats": 1, "device": "cpu", "input": floats}
    predict.main(predict_config(mode="export_onnx", model_path=weights, **settings))
    output = capsys.readouterr().out
    assert f"picture of {RGB.shape[0]}×{RGB.shape[1]}" in output
    assert "100.0000% of the pixels equal" in output


def test_predict_takes_an_onnx_file(tmp_path, plain):
    unet, path = plain
    write_image(tmp_path / "in" / "a.png", RGB)
    arguments = (
        "--model-path",
        path,
        "--input",
        tmp_path / "in" / "a.png",
        "--output",
        tmp_path / "out",
        "--device",
        "cpu",
    )
    done = run("predict.py", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(read_mask(tmp_path / "out" / "a_mask.png"), unet.predict(RGB))


@pytest.mark.parametrize("package", ["onnxscript", "onnxruntime"])
def test_packages_that_are_not_there(tmp_path, monkeypatch, plain, package):
    unet, path = plain
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError) as caught:
        if package == "onnxscript":
            export_onnx(tmp_path / "second.onnx", unet.net, unet.checkpoint)
        else:
            Unet(path)
    assert caught.value.code == "package-missing" and package in caught.value.subject
    assert not (tmp_path / "second.onnx").exists()


def missing(path):
    path.unlink()


def words(path):
    path.write_text("an ONNX file, they said", encoding="utf-8")


def of_others(path):
    import onnx

    content = onnx.load(path)
    del content.metadata_props[:]
    onnx.save(content, path)


def test_file_of_an_earlier_release_has_no_threshold(tmp_path, plain):
    import onnx

    content = onnx.load(plain[1])
    kept = [(entry.key, entry.value) for entry in content.metadata_props if entry.key != "threshold"]
    assert len(kept) == len(content.metadata_props) - 1
    onnx.helper.set_model_props(content, dict(kept))
    onnx.save(content, tmp_path / "old.onnx")
    assert Unet(tmp_path / "old.onnx").checkpoint.threshold is None


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (missing, "onnx-missing"),
        (words, "onnx-damaged"),
        (cut_off, "onnx-damaged"),
        (of_others, "onnx-metadata"),
    ],
)
def test_onnx_file_that_is_none(tmp_path, plain, spoil, code):
    path = tmp_path / "net.onnx"
    path.write_bytes(plain[1].read_bytes())
    spoil(path)
    with pytest.raises(UserError) as caught:
        Unet(path)
    assert (caught.value.code, caught.value.subject) == (code, str(path))
    assert "export_onnx" in caught.value.remedy
