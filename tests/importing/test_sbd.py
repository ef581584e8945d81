"""Importing SBD, with and without VOC2012."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from refusal import codes_and_paths, refused
from scipy.io import savemat
from scripts import save_as

from import_dataset import Config, main
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.images.reading import read_mask
from utils.images.writing import write_mask
from utils.importing.sbd import VOC_CLASSES, read_mat
from utils.voc.folder import VocFolder

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
MASK = RNG.integers(0, 3, (12, 16), dtype=np.uint8)


def make_sbd(tmp_path):
    """SBD: s1 … s3 to train, s4 and v2 to validate. VOC: v1 and s1 to train, v2 and s3 to validate."""
    sbd, voc = tmp_path / "sbd", VocFolder(tmp_path / "VOC2012")
    for name in ("s1", "s2", "s3", "s4", "v2"):
        save_as(sbd / "img" / f"{name}.jpg", PICTURE)
        write_mat(sbd / "cls" / f"{name}.mat", Segmentation=MASK)
    write_lines(sbd / "train.txt", ["s1", "s2 ", "s3"])
    write_lines(sbd / "val.txt", ["s4", "v2"])
    for name in ("v1", "s1", "v2", "s3"):
        save_as(voc.images_dir / f"{name}.jpg", PICTURE[::-1])
        write_mask(voc.mask_path(name), np.where(MASK == 2, 255, MASK))
    voc.write_split("train", ["v1", "s1"])
    voc.write_split("val", ["v2", "s3"])
    return Config(format="sbd", sbd=sbd, voc=voc.root, voc_root=tmp_path / "voc")


def write_mat(path, **fields):
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"GTcls": {"CategoriesPresent": np.array([1, 2]), **fields}})


@pytest.mark.parametrize("link", [False, True])
def test_trainaug(tmp_path, link, capsys):
    config = make_sbd(tmp_path)
    config.link = link
    for _ in range(2):
        main(config)
    folder = VocFolder(config.voc_root)
    assert folder.read_split("train") == ["s1", "s2", "s4", "v1"]
    assert folder.read_split("val") == ["v2", "s3"]
    assert folder.read_class_names() == list(VOC_CLASSES)
    assert len(VOC_CLASSES) == 21
    np.testing.assert_array_equal(read_mask(folder.mask_path("s2")), MASK)
    assert Image.open(folder.mask_path("s2")).mode == "P"
    for name in ("s1", "v1", "v2", "s3"):
        assert folder.mask_path(name).read_bytes() == VocFolder(config.voc).mask_path(name).read_bytes()
        assert folder.image_path(name).samefile(config.voc / "JPEGImages" / f"{name}.jpg") == link
    output = capsys.readouterr().out
    assert "6 pairs, 4 of them VOC's: 16 files written, 0 there already" in output
    assert "6 pairs, 4 of them VOC's: 0 files written, 16 there already" in output
    assert "train 4 (trainaug), val 2" in output
    splits = config.voc_root / "ImageSets" / "Segmentation"
    assert (splits / "trainaug.txt").read_bytes() == (splits / "train.txt").read_bytes()


def test_sbd_alone(tmp_path):
    config = make_sbd(tmp_path)
    config.voc = None
    main(config)
    folder = VocFolder(config.voc_root)
    assert (folder.read_split("train"), folder.read_split("val")) == (["s1", "s2", "s3"], ["s4", "v2"])
    assert len(folder.images) == 5


@pytest.mark.parametrize(
    ("content", "code", "found"),
    [
        (
            {"GTcls": {"Boundaries": MASK, "CategoriesPresent": MASK}},
            "mat-fields",
            "GTcls.Boundaries, GTcls.CategoriesPresent",
        ),
        ({"GTinst": {"Segmentation": MASK}}, "mat-fields", "GTinst"),
        ({"GTcls": MASK}, "mat-fields", "GTcls"),
        ({"GTcls": {"Segmentation": np.zeros((2, 3, 4))}}, "mat-values", "(2, 3, 4)"),
        ({"GTcls": {"Segmentation": MASK + 300.5}}, "mat-values", "float64"),
        ({"GTcls": {"Segmentation": np.where(MASK == 2, 77, MASK)}}, "mask-value", "77"),
        ({"GTcls": {"Segmentation": MASK[1:]}}, "mask-size", "11×16"),
    ],
)
def test_mat_that_does_not_fit(tmp_path, content, code, found):
    config = make_sbd(tmp_path)
    savemat(config.sbd / "cls" / "s2.mat", content)
    (error,) = refused(tmp_path, main, config)
    assert codes_and_paths([error]) == [(code, str(config.sbd / "cls" / "s2.mat"))]
    assert found in error.found


HDF5 = b"MATLAB 7.3 MAT-file" + b" " * 105 + b"\0\x02IM" + b"\x89HDF"


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "mat-damaged"), (b"no mat", "mat-damaged"), (HDF5, "mat-version"), (bytes(200), "mat-damaged")],
)
def test_file_that_is_no_mat(tmp_path, data, code):
    path = tmp_path / "s 2.mat"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_mat(path)
    assert codes_and_paths([caught.value]) == [(code, str(path))]


@settings(max_examples=30)
@given(st.floats(0, 1), st.booleans())
def test_truncated_mat_is_an_error_of_the_user(tmp_path_factory, share, compressed):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, {"GTcls": {"Segmentation": MASK}}, do_compression=compressed)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    try:
        np.testing.assert_array_equal(read_mat(path), MASK)
    except UserError as error:
        assert error.subject == str(path)


@pytest.mark.parametrize("gone", ["cls/s2.mat", "img/s2.jpg", "train.txt"])
def test_missing_parts_of_sbd(tmp_path, gone):
    config = make_sbd(tmp_path)
    (config.sbd / gone).unlink()
    (error,) = refused(tmp_path, main, config)
    assert error.subject == str(config.sbd / gone)


def test_empty_list_and_other_split(tmp_path):
    config = make_sbd(tmp_path)
    write_lines(config.voc_root / "ImageSets" / "Segmentation" / "train.txt", ["s1"])
    train = config.voc_root / "ImageSets" / "Segmentation" / "train.txt"
    assert codes_and_paths(refused(tmp_path, main, config)) == [("content-differs", str(train))]
    write_lines(config.sbd / "val.txt", [""])
    errors = refused(tmp_path, main, config)
    assert codes_and_paths(errors) == [("split-empty", str(config.sbd / "val.txt"))]
