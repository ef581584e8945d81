"""What all scripts have in common, and one way through them as a user goes it."""

import csv
import importlib
import inspect
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scripts import ROOT, SCRIPTS, flags_of_settings, make_voc, recode, run, run_here, snapshot, start

from utils.core.console import REMEDIES, run_script
from utils.core.files import write_lines
from utils.images.reading import read_mask

SEEDS = ["get_miou.py", "json_to_dataset.py", "predict.py", "train.py", "voc2unet.py"]


def test_scripts_are_found():
    assert set(SEEDS) <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_explains_every_flag(script, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    assert run_here(monkeypatch, script, "--help") == 0
    words = " ".join(capsys.readouterr().out.replace("│", " ").split())
    settings = flags_of_settings(importlib.import_module(Path(script).stem).Config)
    assert settings
    for flag, comment in settings.items():
        assert len(comment) > 3, f"{flag} has no comment"
        assert flag in words
        assert " ".join(comment.split()) in words


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_helps_when_memory_runs_out_is_advice_for_this_script(script, monkeypatch, capsys):
    module = importlib.import_module(Path(script).stem)
    flags = flags_of_settings(module.Config)
    for remedy in getattr(module, "REMEDIES", REMEDIES).values():
        assert set(re.findall(r"(?<!run )--[a-z-]+", remedy)) <= flags.keys()

    def run_out(_):
        raise MemoryError

    call = r"run_script\(main, Config, __doc__(?:, (\w+))?(?:, \w+)?\)"
    used = re.search(call, inspect.getsource(module))[1]
    assert (used == "REMEDIES") == hasattr(module, "REMEDIES")
    monkeypatch.setattr(sys, "argv", [script])
    with pytest.raises(SystemExit) as end:
        run_script(run_out, module.Config, "", *([module.REMEDIES] if used else []))
    assert end.value.code == 2
    expected = getattr(module, "REMEDIES", REMEDIES)["memory"]
    # The memory of the CPU is what ran out.
    assert "--device" not in expected
    assert f"to do:    {expected}\n" in capsys.readouterr().err


def test_importing_does_nothing(tmp_path):
    names = [path.stem for path in ROOT.glob("*.py")]
    result = start(["-c", f"import {', '.join(names)}"], tmp_path)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("arguments", [["--no-such-flag", "1"], ["surplus"]])
def test_wrong_flag(script, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, script, *arguments) == 2
    output, error = capsys.readouterr()
    assert arguments[0] in output + error
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("train.py", ["--voc-root", "gone"]),
        ("train.py", ["--epochs", "0"]),
        ("train.py", ["--model-path", "gone"]),
        ("predict.py", ["--model-path", "gone"]),
        ("predict.py", []),
        ("get_miou.py", ["--model-path", "gone"]),
        ("voc2unet.py", ["--voc-root", "gone"]),
        ("voc2unet.py", ["--val-percent", "100"]),
        ("json_to_dataset.py", ["--input", "gone"]),
    ],
)
def test_mistake_of_the_user_is_a_message_and_status_2(script, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if script == "train.py":
        make_voc(tmp_path / "VOCdevkit" / "demo", count=2, size=32).write_split("test", [])
    before = snapshot(tmp_path)
    assert run_here(monkeypatch, script, *arguments) == 2
    error = capsys.readouterr().err
    assert re.search(r"error: .+\n  found:    .+\n  expected: .+\n  to do:    .+", error)
    assert "Traceback" not in error
    assert snapshot(tmp_path) == before


def interrupt(_):
    raise KeyboardInterrupt


def test_interrupting_a_script_is_no_crash(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("utils.voc.folder.VocFolder.images", property(interrupt))
    make_voc(tmp_path / "voc", count=2, size=32)
    assert run_here(monkeypatch, "voc2unet.py", "--voc-root", tmp_path / "voc") == 130
    assert capsys.readouterr().err == "\ninterrupted\n"


def test_memory_that_runs_out_is_a_message(tmp_path, monkeypatch, capsys):
    """In words of the script: voc2unet.py has no flags of train.py."""
    folder = make_voc(tmp_path / "voc", count=2, size=32)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("utils.voc.folder.VocFolder.images", property(lambda _: np.empty(1 << 60, np.uint8)))
    for script, has_flag in (("voc2unet.py", False), ("train.py", True)):
        assert run_here(monkeypatch, script, "--voc-root", folder.root) == 2
        error = capsys.readouterr().err
        assert re.search(r"error: memory\n  found:    .+\n  expected: .+\n  to do:    .+\n$", error)
        assert ("--batch-size" in error) == has_flag
        assert "Traceback" not in error


def test_a_bug_keeps_its_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "utils.voc.folder.VocFolder.images", property(lambda _: torch.zeros(2) + torch.zeros(3))
    )
    make_voc(tmp_path / "voc", count=2, size=32)
    with pytest.raises(RuntimeError, match="must match the size"):
        run_here(monkeypatch, "voc2unet.py", "--voc-root", tmp_path / "voc")


def command_in(output, script):
    """The arguments of the command that the output suggests for a script, as a shell would read them."""
    found = re.search(rf"python {script} .*", output)
    assert found, output
    # A remark in round brackets may follow the command.
    return shlex.split(found[0].split("   (")[0])[2:]


def test_from_raw_masks_to_a_scored_model(tmp_path):
    """Every command after the first is the one that the command before it has printed."""
    folder = make_voc(tmp_path / "我的 数据" / "VOC 2007", count=6, size=48, val=0)
    for path in folder.splits_dir.iterdir():
        path.unlink()
    recode(folder, {1: 0, 2: 255})
    write_lines(folder.class_names_path, ["cytoplasm", "细胞核"])
    original = snapshot(folder.masks_dir)

    check = run("voc2unet.py", "--voc-root", folder.root.relative_to(tmp_path), cwd=tmp_path)
    assert check.returncode == 2
    assert "black and white masks" in check.stderr
    assert "Traceback" not in check.stderr
    assert not list(folder.splits_dir.iterdir())

    mend = run("voc2unet.py", *command_in(check.stderr, "voc2unet.py"), cwd=tmp_path)
    assert mend.returncode == 0, mend.stderr
    assert snapshot(folder.root / "SegmentationClass.orig") == original
    assert {int(read_mask(path).max()) for path in folder.masks_dir.iterdir()} == {1}

    small = ["--base-channels", "4", "--depth", "2", "--epochs", "3", "--batch-size", "1", "--lr", "0.01"]
    learn = run("train.py", *command_in(mend.stdout, "train.py"), *small, "--device", "cpu", cwd=tmp_path)
    assert learn.returncode == 0, learn.stderr
    (run_dir,) = (tmp_path / "logs").iterdir()
    best = float(re.search(r"best mIoU ([\d.]+)%", learn.stdout)[1]) / 100

    score = run("get_miou.py", *command_in(learn.stdout, "get_miou.py"), "--device", "cpu", cwd=tmp_path)
    assert score.returncode == 0, score.stderr
    with (tmp_path / "miou_out" / "metrics.csv").open(encoding="utf-8-sig", newline="") as file:
        scores = {row["class"]: row["iou"] for row in csv.DictReader(file)}
    assert set(scores) >= {"cytoplasm", "细胞核"}
    assert float(scores["mean"]) == pytest.approx(best, abs=2e-3)

    look = run(
        "predict.py", *command_in(learn.stdout, "predict.py"), "--count", "--device", "cpu", cwd=tmp_path
    )
    assert look.returncode == 0, look.stderr
    name = (folder.splits_dir / "val.txt").read_text("utf-8").split()[0]
    mask = read_mask(tmp_path / "img_out" / f"{name}_mask.png")
    assert np.array_equal(mask, read_mask(tmp_path / "miou_out" / "masks" / f"{name}.png"))
    counts = [int(pixels) for pixels in re.findall(r"(\d+) pixels", look.stdout)]
    assert counts == np.bincount(mask.ravel(), minlength=2).tolist()
    assert (run_dir / "best.pth").is_file()
