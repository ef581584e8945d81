"""Scripts that write to one folder at the same time: the second is told, and changes nothing."""

import pytest
from scripts import draw_sample, make_voc, predict_config, refused, save_untrained, snapshot

import export_dataset
import import_dataset
import json_to_dataset
import predict
import voc2unet
from utils.core.console import UserError
from utils.core.locks import locked, take_lock
from utils.images.writing import write_image, write_mask


def predict_folder(folder, output):
    weights = save_untrained(folder.root.parent / "best.pth")
    settings = {"mode": "dir_predict", "model_path": [weights], "input": folder.images_dir, "device": "cpu"}
    predict.main(predict_config(output=output, **settings))


def import_pairs(folder, output):
    settings = {"images": folder.images_dir, "masks": folder.masks_dir}
    import_dataset.main(import_dataset.Config(voc_root=output, **settings))


def convert_labelme(folder, output):
    json_to_dataset.main(json_to_dataset.Config(input=folder.root, voc_root=output))


def export_coco(folder, output):
    export_dataset.main(export_dataset.Config(voc_root=folder.root, output=output))


def export_yolo(folder, output):
    export_dataset.main(export_dataset.Config(voc_root=folder.root, format="yolo", output=output))


@pytest.mark.parametrize("script", [predict_folder, import_pairs, convert_labelme, export_coco, export_yolo])
def test_the_second_script_is_told_and_changes_nothing(tmp_path, script):
    folder, output = make_voc(tmp_path / "voc"), tmp_path / "out"
    lock = take_lock(output, "")
    before = snapshot(tmp_path / "voc"), snapshot(output)
    with refused("folder-in-use", output):
        script(folder, output)
    assert (snapshot(tmp_path / "voc"), snapshot(output)) == before
    lock.release()
    if script is not convert_labelme:  # the folder has no labelme files
        script(folder, output)
        assert snapshot(output) and not (output / ".lock").exists()


def test_what_is_repaired_was_examined_under_the_same_lock(tmp_path, monkeypatch):
    """Else a second repair would begin with the masks of before the first."""
    folder, examine, others = make_voc(tmp_path / "voc"), voc2unet.examine, []

    def look(*arguments):
        with pytest.raises(UserError) as caught:
            take_lock(folder.root, "")
        others.append(caught.value.code)
        return examine(*arguments)

    monkeypatch.setattr(voc2unet, "examine", look)
    voc2unet.main(voc2unet.Config(voc_root=folder.root))
    assert others == ["folder-in-use"]


def test_a_mistyped_folder_is_not_made(tmp_path):
    with refused("voc-folder-missing", tmp_path / "gone"):
        voc2unet.main(voc2unet.Config(voc_root=tmp_path / "gone"))
    assert not list(tmp_path.iterdir())


def test_a_lock_leaves_no_trace_of_itself(tmp_path):
    folder = tmp_path / "new" / "folder"
    with pytest.raises(ZeroDivisionError), locked(folder):
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())
    with locked(folder):
        write_image(folder / "a.png", draw_sample(0, 16)[0])
    assert snapshot(tmp_path).keys() == {"new/folder/a.png"}
    with locked(folder):
        write_mask(folder / "b.png", draw_sample(0, 16)[1])
    assert snapshot(folder).keys() == {"a.png", "b.png"}
