"""Names that lists, tables or other systems cannot hold, through each script."""

import csv
import os
import shutil

import pytest
from PIL import Image
from scripts import draw_sample, predict_config, refused, save_untrained, snapshot, tiny

import export_dataset
import get_miou
import import_dataset
import json_to_dataset
import predict
import train
import voc2unet
from utils.core.console import UserError
from utils.voc.folder import VocFolder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
FAULTY = {
    "bytes of GBK": (os.fsdecode(b"b\xcd\xff"), "name-unprintable"),
    "line break": ("a\nb", "name-unprintable"),
    "escape": ("a\x1b[2J", "name-unprintable"),
}
LONG = "图" * 82  # 246 bytes, and 250 with .png
HARMLESS = ["CON", "A", "a", "=cmd()", 'a, "b"', "%s {0}"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("weights") / "best.pth")


def save_pairs(root, names):
    """Pictures and masks; Pillow writes them under any name."""
    for number, name in enumerate(names):
        for part, array in zip(("JPEGImages", "SegmentationClass"), draw_sample(number, 48), strict=True):
            (root / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / part / f"{name}.png")
    (root / "class_names.txt").write_text("background\ncell\nnucleus\n", encoding="utf-8")
    return VocFolder(root)


def predict_folder(weights, folder, output, **settings):
    settings |= {"model_path": [weights], "input": folder, "output": output, "device": "cpu"}
    predict.main(predict_config(mode="dir_predict", **settings))


def import_pairs(folder, root):
    settings = {"images": folder.images_dir, "masks": folder.masks_dir}
    import_dataset.main(import_dataset.Config(voc_root=root, **settings))


@pytest.mark.parametrize(("name", "code"), FAULTY.values(), ids=FAULTY)
def test_names_that_cannot_be_listed_are_refused_or_left_out(weights, tmp_path, capsys, name, code):
    folder = save_pairs(tmp_path / "voc", [name, "good"])
    predict_folder(weights, folder.images_dir, tmp_path / "out", objects=True, save_labelme=True)
    assert ascii(name) in capsys.readouterr().err
    labelme = tmp_path / "out" / "labelme"
    assert {path.name for path in labelme.iterdir()} == {"good.json", "good.png", "labels.txt"}
    with refused(code, folder.images_dir / f"{name}.png"):
        settings = {"model_path": [weights], "output": tmp_path / "one", "device": "cpu"}
        predict.main(predict_config(input=folder.images_dir / f"{name}.png", **settings))
    before = snapshot(folder.root)
    with refused(code):
        voc2unet.main(voc2unet.Config(voc_root=folder.root))
    with refused(code):
        import_pairs(folder, tmp_path / "new")
    shutil.copy(labelme / "good.json", labelme / f"{name}.json")
    with refused(code, labelme / f"{name}.json"):
        json_to_dataset.main(json_to_dataset.Config(input=labelme, voc_root=tmp_path / "new"))
    assert snapshot(folder.root) == before
    assert not (tmp_path / "new").exists() and not (tmp_path / "one").exists()


def test_the_longest_names_that_a_disk_holds(weights, tmp_path, capsys):
    """Training, scores and tables need no longer ones; results of a prediction do."""
    folder = save_pairs(tmp_path / "voc", [LONG, "b", "c", "d"])
    import_pairs(folder, tmp_path / "imported")
    assert snapshot(tmp_path / "imported" / "JPEGImages").keys() == snapshot(folder.images_dir).keys()
    use(folder, weights, tmp_path, [LONG])
    capsys.readouterr()
    predict_folder(weights, folder.images_dir, tmp_path / "out", objects=True)
    told = capsys.readouterr().err
    assert "left out: 1 picture" in told and "a name that is too long" in told
    assert (tmp_path / "out" / "b_mask.png").is_file()
    with refused("name-too-long", folder.images_dir / f"{LONG}.png"):
        settings = {"model_path": [weights], "output": tmp_path / "one", "device": "cpu"}
        predict.main(predict_config(input=folder.images_dir / f"{LONG}.png", objects=True, **settings))


def test_names_that_only_other_systems_refuse(weights, tmp_path, capsys):
    folder = save_pairs(tmp_path / "voc", HARMLESS)
    import_pairs(folder, tmp_path / "imported")
    assert {path.stem for path in (tmp_path / "imported" / "JPEGImages").iterdir()} == set(HARMLESS)
    use(folder, weights, tmp_path, HARMLESS)
    assert "another system cannot hold" in capsys.readouterr().err
    predict_folder(weights, folder.images_dir, tmp_path / "out", objects=True, save_labelme=True)
    # `a` would share its result with `A` on Windows and macOS.
    assert "result-name-twice" in (told := capsys.readouterr().err) or "has the same name" in told
    for name in ("summary.csv", "order.csv", "objects.csv"):
        with (tmp_path / "out" / name).open(encoding="utf-8-sig", newline="") as file:
            cells = [row[0] for row in csv.reader(file)]
        assert "'=cmd().png" in cells and not any(cell.startswith("=") for cell in cells)
    json_to_dataset.main(
        json_to_dataset.Config(input=tmp_path / "out" / "labelme", voc_root=tmp_path / "back")
    )
    assert len(list((tmp_path / "back" / "SegmentationClass").iterdir())) == len(HARMLESS) - 1


def use(folder, weights, tmp_path, val):
    """All scripts that read a checked folder. val: some of its names to validate on."""
    voc2unet.main(voc2unet.Config(voc_root=folder.root))
    folder = VocFolder(folder.root)
    folder.write_split("val", val)
    folder.write_split("train", sorted(set(folder.images) - set(val[1:])))
    for kind in ("coco", "yolo"):
        output = tmp_path / kind
        export_dataset.main(export_dataset.Config(voc_root=folder.root, format=kind, output=output))
    get_miou.main(
        get_miou.Config(voc_root=folder.root, model_path=[weights], output=tmp_path / "scores", device="cpu")
    )
    try:
        train.main(tiny(folder, tmp_path / "logs", epochs=1))
    except UserError as error:
        raise AssertionError(str(error)) from None
    assert (tmp_path / "logs" / "run" / "best.pth").is_file()
