"""Bad input beside VOC folders, whose faults the catalogue lists: SBD, stacks, labelme files; odd names."""

import base64

import pytest
from doctor_folder import MASK, check, make_folder, noise
from scipy.io import savemat
from scripts import save_as

from utils.core.console import UserError
from utils.images.writing import write_mask
from utils.importing.sbd import read_mat
from utils.importing.stacks import import_stack
from utils.labelme.reading import read_annotation
from utils.training.data import load_data
from utils.voc.folder import VocFolder


def test_names_of_all_kinds_are_no_fault(tmp_path, without_drawing, capsys):
    folder = make_folder(tmp_path, "abcd")
    names = {"a b": ".PNG", "c.d": ".Tif", "细胞 1.v2": ".BMP", "e": ".JPG"}
    for name, ending in names.items():
        save_as(folder.images_dir / f"{name}{ending}", noise(name))
        write_mask(folder.mask_path(name), MASK)
    check(folder)
    assert capsys.readouterr().err == ""
    data = load_data(VocFolder(folder.root))
    assert {*data.train, *data.val} == {*"abcd", *names}


def test_mat_without_the_field(tmp_path):
    savemat(tmp_path / "a.mat", {"GTinst": {"Segmentation": MASK}})
    with pytest.raises(UserError) as caught:
        read_mat(tmp_path / "a.mat")
    assert caught.value.subject == str(tmp_path / "a.mat")
    assert "GTinst" in caught.value.found


def test_stack_with_a_broken_directory(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0\xff\xff\0\0")
    with pytest.raises(UserError) as caught:
        import_stack(VocFolder(tmp_path / "voc"), tmp_path / "a.tif", None)
    assert caught.value.subject == str(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("start", "filling", "end", "part"),
    [
        (b'{"annotations": [', b"12345678, ", b"0]}", ""),
        (b'{"shapes": [], "imageData": "', base64.b64encode(b"123456789"), b"", ""),
        (b'{"shapes": [], "imageData": "', base64.b64encode(b"123456789"), b'"}', ", imageData"),
    ],
    ids=["another kind", "cut off", "no picture"],
)
def test_json_of_200_mb(tmp_path, start, filling, end, part):
    path, times = tmp_path / "a.json", 200_000_000 // len(filling)
    path.write_bytes(start + filling * times + end)
    with pytest.raises(UserError) as caught:
        read_annotation(path)
    path.unlink()
    assert caught.value.subject == f"{path}{part}"
    assert len(str(caught.value)) < 1000
