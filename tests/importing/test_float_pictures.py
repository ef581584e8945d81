"""import_dataset.py with pictures of floats in files of their own, beside masks."""

import json

import numpy as np
import pytest
import tifffile
from refusal import refused
from scripts import save_as, snapshot

from import_dataset import Config, main
from utils.images.reading import read_image, read_mask
from utils.voc.folder import VocFolder

RNG = np.random.default_rng(0)
MASK = RNG.integers(0, 3, (12, 16), dtype=np.uint8)
FLOATS = {"a": RNG.uniform(0.1, 0.6, (12, 16)), "b": RNG.uniform(0.3, 0.9, (12, 16))}


def draw(tmp_path, kind: type = np.float32, scale: float = 1, **others: np.ndarray) -> Config:
    for name, values in {**FLOATS, **others}.items():
        values = (values * scale).astype(kind) if values.dtype.kind == "f" else values
        save_as(tmp_path / "in" / f"{name}_mask.png", MASK)
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", values)
    return Config(images=tmp_path / "in", voc_root=tmp_path / "voc")


@pytest.mark.parametrize("scale", [1, -4000])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_one_range_for_all(tmp_path, kind, scale, capsys):
    config = draw(tmp_path, kind, scale)
    main(config)
    assert "became 0 … 65535" in capsys.readouterr().out
    stored = np.stack([(values * scale).astype(kind).astype(float) for values in FLOATS.values()])
    low, high = stored.min(), stored.max()
    record = json.loads((tmp_path / "voc" / "scaling.json").read_text(encoding="utf-8"))
    assert record == {"pictures": {"low": low, "high": high, "to": [0, 65535]}}
    folder = VocFolder(config.voc_root)
    for name, values in zip(FLOATS, stored, strict=True):
        expected = np.floor((values - low) / (high - low) * 65535 + 0.5)
        np.testing.assert_array_equal(read_image(folder.images[name]), expected)
        np.testing.assert_array_equal(read_mask(folder.mask_path(name)), MASK)
    before = snapshot(config.voc_root)
    main(config)
    assert snapshot(config.voc_root) == before


def test_the_range_of_the_training_data(tmp_path):
    main(draw(tmp_path))
    known = tmp_path / "voc" / "scaling.json"
    (tmp_path / "new").mkdir()
    save_as(tmp_path / "new" / "in" / "c.tif", FLOATS["a"].astype(np.float32))
    save_as(tmp_path / "new" / "in" / "c_mask.png", MASK)
    main(Config(input=tmp_path / "new" / "in", voc_root=tmp_path / "new" / "voc", scaling=known))
    images = [VocFolder(tmp_path / "voc").images["a"], VocFolder(tmp_path / "new" / "voc").images["c"]]
    np.testing.assert_array_equal(*map(read_image, images))


def test_a_later_import_beyond_the_range(tmp_path):
    main(draw(tmp_path))
    config = draw(tmp_path, c=FLOATS["b"] * 9)
    assert [error.code for error in refused(tmp_path, main, config)] == ["stack-range"]


def test_pictures_that_cannot_be_scaled_alike(tmp_path):
    config = draw(tmp_path, c=MASK)
    assert [error.code for error in refused(tmp_path, main, config)] == ["picture-types"]


def test_no_finite_value(tmp_path):
    config = draw(tmp_path, scale=np.nan)
    assert [error.code for error in refused(tmp_path, main, config)] == ["no-finite-value"]
