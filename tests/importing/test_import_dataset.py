"""import_dataset.py as users start it."""

import numpy as np
import pytest
from refusal import refused
from scripts import run, save_as

from import_dataset import Config, main

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
MASK = RNG.integers(0, 3, (12, 16), dtype=np.uint8)


@pytest.mark.parametrize(
    ("settings", "subject"),
    [
        ({}, "--images"),
        ({"format": "stack"}, "--images"),
        ({"format": "sbd"}, "--sbd"),
        ({"images": "gone"}, "gone"),
        ({"format": "stack", "images": "gone.tif"}, "gone.tif"),
        ({"format": "sbd", "sbd": "gone"}, "gone/train.txt"),
    ],
)
def test_settings_that_lead_nowhere(tmp_path, settings, subject):
    paths = {key: tmp_path / value if key != "format" else value for key, value in settings.items()}
    (error,) = refused(tmp_path, main, Config(voc_root=tmp_path / "voc", **paths))
    flag = subject.startswith("--")
    assert error.subject == (subject if flag else str(tmp_path / subject))
    assert (error.code == "flag-missing") == flag


def test_from_the_command_line(tmp_path):
    save_as(tmp_path / "my data" / "图 1.bmp", PICTURE)
    save_as(tmp_path / "my data" / "图 1_GT.bmp", MASK)
    result = run("import_dataset.py", "--images", "my data", "--voc-root", "my voc", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == 'next: python voc2unet.py --voc-root "my voc"'
    result = run("import_dataset.py", "--images", "my voc", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
