"""Weight files that say or hold what none of ours can: each is refused with a message, at little cost."""

import math
import random
import zipfile

import numpy as np
import psutil
import pytest
import torch
from scripts import refused, save_untrained

from nets.config import NetworkConfig
from nets.unet import build
from utils.core.console import UserError
from utils.core.device import Precision
from utils.images.palette import voc_palette
from utils.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from utils.models.schema import content_digest
from utils.models.weights import open_model, read_model

CPU = Precision(torch.device("cpu"), None)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = save_untrained(tmp_path_factory.mktemp("weights") / "net.pth", names := ["back", "细胞"])
    assert load_checkpoint(path).class_names == names
    return torch.load(path, weights_only=True)


def forged(path, content, **changes):
    """The file with other fields, and without the digest that would tell."""
    torch.save({**{k: v for k, v in content.items() if k != "digest"}, **changes}, path)
    return path


NORMALISATION = {"mean": [0.3] * 3, "std": [0.2] * 3}


@pytest.mark.parametrize(
    "changes",
    [
        {"class_names": None},
        {"class_names": ["back", "\x1b[2Jcell"]},
        {"class_names": ["back", "back"]},
        {"class_names": ["back"]},
        {"class_names": ["back", ""]},
        {"class_names": ["back", 3]},
        {"palette": [[0, 0, 0], [300, 0, 0]]},
        {"palette": [[0, 0, 0], [0, 0]]},
        {"palette": torch.zeros(2, 3)},
        {"normalisation": {"mean": [0.3] * 3, "std": [0.0, 0.2, 0.2]}},
        {"normalisation": {"mean": [0.3] * 3, "std": [math.nan] * 3}},
        {"normalisation": {"mean": [0.3], "std": [0.2]}},
        {"normalisation": {"mean": [math.inf] * 3, "std": [0.2] * 3}},
        {"normalisation": None},
        {"normalisation": {**NORMALISATION, "range_16bit": [5]}},
        {"normalisation": {**NORMALISATION, "range_16bit": [7, 5]}},
        {"normalisation": {**NORMALISATION, "range_16bit": [[0, 5], [0, 5]]}},
        {"normalisation": {**NORMALISATION, "range_float": [0.0, math.nan]}},
        {"input_shape": (0, 64)},
        {"input_shape": (64, 10**9)},
        {"input_shape": "evil"},
        {"fit": "evil"},
        {"scores": ["miou"]},
        {"settings": None},
        {"settings": {"voc_root": 5}},
        {"settings": {"voc_root": "a\0b"}},
        {"settings": {"input_shape": "evil"}},
        {"settings": {"batch_size": "many"}},
        {"settings": {"fold": [1]}},
        {"settings": {"separator": 2}},
        {"settings": {"symmetry": "turn"}},
        {"training": [1]},
        {"trained_on": [None]},
        {"network": None},
        {"network": {"num_classes": 2, "in_channels": 3, "depth": 30}},
        {"network": {"num_classes": 2, "in_channels": 3, "base_channels": 10**9}},
        {"network": {"num_classes": "2", "in_channels": 3}},
        {"network": {"num_classes": 2, "in_channels": 3, "dropout": math.nan}},
        {"model": None},
        {"model": {"head.weight": [1.0]}},
    ],
    ids=str,
)
def test_nonsense_is_refused(tmp_path, content, changes):
    with refused("checkpoint-content"):
        read_model(forged(tmp_path / "net.pth", content, **changes))


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, content, number):
    model = {name: value.clone() for name, value in content["model"].items()}
    model["head.bias"][1] = number
    with refused("weights-not-finite") as caught:
        read_model(forged(tmp_path / "net.pth", content, model=model))
    assert "1 of " in caught.value.found and "head.bias" in caught.value.found
    assert "--lr" in caught.value.remedy


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(2, 4, 1, 1),
        torch.zeros(2, 4, 1, 1, device="meta"),
        torch.zeros(2, 4, 1, 1).to_sparse(),
        torch.zeros(2, 4, 1, 1, dtype=torch.complex64),
    ],
    ids=["repeated", "meta", "sparse", "complex"],
)
def test_tensors_that_are_no_plain_arrays_are_refused(tmp_path, content, tensor):
    with refused("checkpoint-content"):
        read_model(forged(tmp_path / "net.pth", content, model={**content["model"], "head.weight": tensor}))


def test_containers_that_contain_themselves_or_double_at_every_level_are_refused(tmp_path, content):
    circle: list = []
    circle.append(circle)
    doubled: list = [1] * 60
    for _ in range(12):
        doubled = [doubled] * 60
    for settings in ({"a": circle}, {"a": doubled}):
        with refused("checkpoint-content"):
            read_model(forged(tmp_path / "net.pth", content, settings=settings))


def test_a_small_file_takes_little_memory(tmp_path, content):
    """It says that it is a network of 2 GB, once with no weights for it and once with one number for all."""
    network = {"num_classes": 2, "in_channels": 3, "base_channels": 512, "depth": 4}
    with torch.device("meta"):
        large = build(NetworkConfig(**network)).state_dict()
    one = torch.zeros(())
    repeated = {name: one.expand(value.shape) for name, value in large.items()}
    before = psutil.Process().memory_info().rss
    with refused("weights-misfit"):
        open_model(forged(tmp_path / "net.pth", content, network=network), CPU)
    with refused("checkpoint-content"):
        open_model(forged(tmp_path / "net.pth", content, network=network, model=repeated), CPU)
    assert psutil.Process().memory_info().rss - before < 200e6


def test_a_compressed_file_is_not_unpacked(tmp_path, content):
    plain, packed = forged(tmp_path / "a.pth", content), tmp_path / "b.pth"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.infolist():
            target.writestr(part.filename, source.read(part))
    with refused("checkpoint-compressed", packed):
        read_model(packed)


def test_every_changed_weight_is_noticed(tmp_path):
    """Single bits anywhere in the file: it is refused, or what it holds is what was written."""
    path, rng = save_untrained(tmp_path / "net.pth"), random.Random(0)
    data, expected = path.read_bytes(), torch.load(path, weights_only=True)
    refusals = 0
    for _ in range(150):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            found = load_checkpoint(path)
        except UserError:
            refusals += 1
        else:
            assert content_digest(dict(found.model)) == content_digest(dict(expected["model"]))
            assert found.normalisation == expected["normalisation"]
    assert refusals > 100


def test_content_that_was_changed_and_saved_again_is_noticed(tmp_path):
    path = save_untrained(tmp_path / "net.pth")
    content = torch.load(path, weights_only=True)
    content["model"]["head.bias"][0] += 1e-6
    torch.save(content, path)
    with refused("checkpoint-altered", path):
        load_checkpoint(path)


def test_the_digest_depends_on_values_types_shapes_and_order():
    one = torch.arange(6.0).reshape(2, 3)
    others = [
        {"a": one},
        {"a": one.reshape(3, 2)},
        {"a": one.double()},
        {"b": one},
        {"a": one, "b": 1},
        {"b": 1, "a": one},
        {"a": one, "b": True},
        {"a": one, "b": "1"},
        {"a": [one]},
    ]
    assert len({content_digest(other) for other in others}) == len(others)
    last = one[None].expand(2, -1, -1).contiguous(memory_format=torch.contiguous_format)
    pictures = last[None].contiguous(memory_format=torch.channels_last)
    assert content_digest(pictures) == content_digest(last[None])
    with pytest.raises(ValueError, match="float64"):
        content_digest({"miou": np.float64(0.5)})


def test_files_of_255_classes_are_read(tmp_path):
    names = [f"class {number}" for number in range(255)]
    network = NetworkConfig(255, 1, base_channels=4, depth=1)
    scaling = {"mean": [0.5], "std": [0.2], "range_16bit": [3, 900], "range_float": (0.5, 2.0)}
    description = names, voc_palette(255).tolist(), scaling, (32, 32)
    save_checkpoint(tmp_path / "net.pth", Checkpoint(build(network).state_dict(), network, *description))
    assert read_model(tmp_path / "net.pth").class_names == names
