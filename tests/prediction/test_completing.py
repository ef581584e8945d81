"""predict.py --mode dir_predict: runs that are completed later, or shared by processes."""

import pytest
from cells import GRAY, RGB, folder_of, nested
from scripts import ROOT, cut_off, refused, snapshot, start

from unet import Unet
from utils.core.tables import read_table


def test_resuming_does_only_what_is_missing(predict, tmp_path, capsys):
    folder = nested(tmp_path)
    predict(mode="dir_predict", input=folder)
    before = snapshot(tmp_path / "out")
    (tmp_path / "out" / "day 1" / "3_mask.png").unlink()
    with refused("result-exists"):
        predict(mode="dir_predict", input=folder)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*_mask.png")}
    capsys.readouterr()
    predict(mode="dir_predict", input=folder, skip_existing=True)
    assert "1 of 5 pictures" in capsys.readouterr().out
    assert snapshot(tmp_path / "out").keys() == before.keys()
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert len((tmp_path / "out" / "order.csv").read_text("utf-8").splitlines()) == 1 + 5
    predict(mode="dir_predict", input=folder, skip_existing=True)
    assert "0 of 5 pictures" in capsys.readouterr().out


def test_an_interrupted_run_names_the_way_on(predict, tmp_path, capsys, monkeypatch):
    folder, bands, opened = folder_of(tmp_path, a=GRAY, b=GRAY), Unet.bands, []

    def interrupted(*arguments, **settings):
        opened.append(arguments)
        if len(opened) == 2:
            raise KeyboardInterrupt
        return bands(*arguments, **settings)

    monkeypatch.setattr(Unet, "bands", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(mode="dir_predict", input=folder)
    assert "--skip-existing" in capsys.readouterr().err
    predict(mode="dir_predict", input=folder, skip_existing=True)
    assert "1 of 2 pictures" in capsys.readouterr().out


def predict_in_two(script, tmp_path, *arguments):
    """A script that runs predict.py's main, started by torchrun."""
    launch = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        str(script),
        "--mode",
        "dir_predict",
    ]
    done = start([*launch, "--device", "cpu", "--precision", "fp32", *map(str, arguments)], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done


def test_processes_share_a_folder(weights, predict, tmp_path):
    folder, shared = nested(tmp_path), tmp_path / "shared"
    cut_off(folder / "day 1" / "3.png")
    arguments = ["--input", folder, "--output", shared, "--model-path", weights]
    done = predict_in_two(ROOT / "predict.py", tmp_path, *arguments)
    assert "shared by 2 processes: 2, 2 pictures" in done.stdout or "3, 1" in done.stdout
    assert done.stdout.count("4 of 5 pictures") == 1
    assert done.stderr.count("left out: 1 picture\n") == 1
    predict(mode="dir_predict", input=folder)
    alone, together = snapshot(tmp_path / "out"), snapshot(shared)
    assert alone.keys() == together.keys()
    assert all(
        alone[name] == together[name] for name in alone if name.endswith(".png") or name == "order.csv"
    )


def test_processes_that_resume_share_one_list(weights, predict, tmp_path):
    """Though one of them looks later at what is done, none is left out and none done twice."""
    folder, out = nested(tmp_path, 6), tmp_path / "out"
    predict(mode="dir_predict", input=folder, objects=True)
    before = snapshot(out)
    for name in ("day 0/0", "day 0/2", "day 1/3", "day 1/5"):
        (out / f"{name}_mask.png").unlink()
    late = tmp_path / "late.py"
    late.write_text(
        "import os, time, predict\n"
        "from utils.core.console import run_script\n"
        "look = predict.ResultWriter.is_done\n"
        "late = lambda *of: (time.sleep(0.2 * int(os.environ['RANK'])), look(*of))[1]\n"
        "predict.ResultWriter.is_done = late\n"
        "if __name__ == '__main__':\n"
        "    run_script(predict.main, predict.Config, '')\n",
        encoding="utf-8",
    )
    done = predict_in_two(
        late, tmp_path, "--input", folder, "--output", out, "--model-path", weights, "--objects", "--resume"
    )
    assert "4 of 6 pictures" in done.stdout
    assert "shared by 2 processes: 2, 2 pictures" in done.stdout
    after = snapshot(out)
    assert all(after[name] == before[name] for name in before if name != "summary.csv")
    assert after.keys() == before.keys()
    # Four were done again; each picture has one row.
    rows = [row["picture"] for row in read_table(out / "summary.csv")]
    assert sorted(rows) == sorted(row["picture"] for row in read_table(out / "order.csv")) and len(rows) == 6


def test_a_single_picture_is_not_resumed_but_kept(predict, tmp_path):
    path = folder_of(tmp_path, a=RGB) / "a.png"
    predict(input=path)
    with refused("result-exists"):
        predict(input=path)
    with refused("flag-without-effect", "--skip-existing"):
        predict(input=path, skip_existing=True)


def test_resuming_keeps_polygons_that_were_corrected_by_hand(predict, tmp_path):
    folder = folder_of(tmp_path, a=RGB, b=GRAY)
    predict(mode="dir_predict", input=folder, save_labelme=True)
    corrected = tmp_path / "out" / "labelme" / "a.json"
    corrected.write_text(corrected.read_text("utf-8").replace('"cell"', '"nucleus"') + "\n", encoding="utf-8")
    before = corrected.read_bytes()
    predict(mode="dir_predict", input=folder, save_labelme=True, save_uncertainty=True, skip_existing=True)
    assert (tmp_path / "out" / "a_uncertainty.png").exists()
    assert corrected.read_bytes() == before


def test_overwriting_renews_the_list_of_labels(predict, tmp_path):
    folder, labels = folder_of(tmp_path, a=RGB), tmp_path / "out" / "labelme" / "labels.txt"
    predict(mode="dir_predict", input=folder, save_labelme=True)
    wanted = labels.read_text(encoding="utf-8")
    labels.write_text("__ignore__\n_background_\nother\n", encoding="utf-8")
    predict(mode="dir_predict", input=folder, save_labelme=True, overwrite=True)
    assert labels.read_text(encoding="utf-8") == wanted
