"""Importing NIfTI volumes and nnU-Net's folders; nibabel writes the samples."""

import json

import nibabel
import numpy as np
import pytest
from doctor_folder import check
from refusal import refused
from scripts import save_as

from import_dataset import Config, main
from utils.images.reading import read_image, read_mask
from utils.voc.folder import VocFolder

RNG = np.random.default_rng(0)
HU = RNG.integers(-1000, 1500, (16, 12, 3), dtype=np.int16)
LABELS = RNG.integers(0, 3, (16, 12, 3), dtype=np.uint8)


def save(path, values, affine=np.eye(4)):  # noqa: B008
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def write_labels(root, labels, **more):
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps({"labels": labels, **more}), encoding="utf-8")


def convert(tmp_path, **settings):
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc", **settings))
    return VocFolder(tmp_path / "voc")


def test_nnunet_as_nibabel_reads_it(tmp_path, capsys):
    for case in ("liver_2", "liver_10"):
        save(tmp_path / "in" / "imagesTr" / f"{case}_0000.nii.gz", HU + len(case))
        save(tmp_path / "in" / "labelsTr" / f"{case}.nii.gz", LABELS)
    save(tmp_path / "in" / "imagesTs" / "liver_3_0000.nii.gz", HU)
    write_labels(tmp_path / "in", {"background": 0, "肝": 1, "tumor": 2})
    for _ in range(2):
        folder = convert(tmp_path)
    assert folder.read_class_names() == ["background", "肝", "tumor"]
    assert sorted(folder.images) == [
        f"liver_{case}_{number:03d}" for case in ("10", "2") for number in range(3)
    ]
    foreign = nibabel.load(tmp_path / "in" / "imagesTr" / "liver_10_0000.nii.gz").get_fdata()
    labels = nibabel.load(tmp_path / "in" / "labelsTr" / "liver_10.nii.gz").get_fdata()
    for number in range(3):
        picture = read_image(folder.images[f"liver_10_{number:03d}"])
        assert picture.dtype == np.uint16
        np.testing.assert_array_equal(picture.astype(float) - 32768, foreign[..., number].T)
        np.testing.assert_array_equal(
            read_mask(folder.mask_path(f"liver_10_{number:03d}")), labels[..., number].T
        )
    assert not folder.splits_dir.exists()
    output = capsys.readouterr().out
    assert "6 pictures: 0 files written, 13 there already" in output
    assert '--group "^.*_"' in output


def test_slices_of_one_volume_are_not_split_at_random_without_a_word(tmp_path, capsys):
    save(tmp_path / "in" / "scan.nii.gz", np.tile(HU, (1, 1, 2)))
    save(tmp_path / "in" / "scan_seg.nii.gz", np.tile(LABELS, (1, 1, 2)))
    folder = convert(tmp_path)
    capsys.readouterr()
    check(folder)
    said = capsys.readouterr().err
    assert "slices of one volume (scan.nii.gz)" in said
    assert "--split contiguous --overwrite" in said
    check(folder, split_by="contiguous", overwrite=True)
    assert "one volume" not in capsys.readouterr().err
    assert folder.read_split("val") == ["scan_005"]


def test_official_test_cases_stay_apart(tmp_path):
    for part, case in {"Tr": "a", "Ts": "b"}.items():
        save(tmp_path / "in" / f"images{part}" / f"{case}_0000.nii.gz", HU)
        save(tmp_path / "in" / f"labels{part}" / f"{case}.nii.gz", LABELS)
    folder = convert(tmp_path)
    assert folder.read_split("test") == ["b_000", "b_001", "b_002"]
    assert folder.read_class_names() == ["background", "class_1", "class_2"]


def test_two_dimensional_nnunet_with_an_ignored_label(tmp_path, capsys):
    picture = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    for name in ("cell_1", "cell_2"):
        save_as(tmp_path / "in" / "imagesTr" / f"{name}_0000.png", picture)
        save_as(tmp_path / "in" / "labelsTr" / f"{name}.png", LABELS[..., 0].T.copy())
    write_labels(tmp_path / "in", {"background": 0, "cell": 1, "ignore": 2}, file_ending=".png")
    folder = convert(tmp_path)
    np.testing.assert_array_equal(read_image(folder.images["cell_1"]), picture)
    np.testing.assert_array_equal(
        read_mask(folder.mask_path("cell_1")), np.array([0, 1, 255], np.uint8)[LABELS[..., 0].T]
    )
    assert folder.read_class_names() == ["background", "cell"]
    # Pictures of their own, no slices.
    assert capsys.readouterr().out.rstrip().endswith(f"next: {folder.doctor('')}".rstrip())


def test_flat_volumes_are_pictures_of_their_own_unless_one_has_slices(tmp_path, capsys):
    for name in "ab":
        save(tmp_path / "in" / "imagesTr" / f"{name}_0000.nii.gz", HU[..., :1])
        save(tmp_path / "in" / "labelsTr" / f"{name}.nii.gz", LABELS[..., :1])
    convert(tmp_path)
    assert "--split" not in (output := capsys.readouterr().out) and "--group" not in output
    save(tmp_path / "in" / "imagesTr" / "c_0000.nii.gz", HU)
    save(tmp_path / "in" / "labelsTr" / "c.nii.gz", LABELS)
    convert(tmp_path)
    assert '--group "^.*_"' in capsys.readouterr().out


@pytest.mark.parametrize("names", [("x.nii", "x_seg.nii"), ("images/x.nii.gz", "labels/x.nii.gz")])
def test_pairs_of_volumes(tmp_path, names):
    floats = RNG.normal(0, 1, (16, 12, 3))
    save(tmp_path / "in" / names[0], floats)
    save(tmp_path / "in" / names[1], LABELS.astype(np.float64))
    folder = convert(tmp_path)
    assert sorted(folder.images) == ["x_000", "x_001", "x_002"]
    record = json.loads((tmp_path / "voc" / "scaling.json").read_text(encoding="utf-8"))
    (limits,) = record.values()
    picture = read_image(folder.images["x_001"]) / 65535 * (limits["high"] - limits["low"]) + limits["low"]
    np.testing.assert_allclose(picture, floats[..., 1].T, atol=1e-3)
    np.testing.assert_array_equal(read_mask(folder.mask_path("x_001")), LABELS[..., 1].T)
    # A second volume, beyond the range of the first.
    save(tmp_path / "in" / names[0], floats * 1000)
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert error.code == "stack-range"


@pytest.mark.parametrize("decathlon", [False, True])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_channels(tmp_path, decathlon, dtype):
    """Two files of a case, or a fourth axis: pictures of two channels, each with its own range of floats."""
    channels = [HU.astype(dtype), (HU // 7).astype(dtype)]
    if decathlon:
        save(tmp_path / "in" / "imagesTr" / "a.nii.gz", np.stack(channels, axis=3))
    else:
        for number, values in enumerate(channels):
            save(tmp_path / "in" / "imagesTr" / f"a_{number:04d}.nii.gz", values)
    save(tmp_path / "in" / "labelsTr" / "a.nii.gz", LABELS)
    for _ in range(2):
        folder = convert(tmp_path)
    assert folder.images["a_002"].suffix == ".tif"
    picture = read_image(folder.images["a_002"])
    assert (picture.shape, picture.dtype) == ((12, 16, 2), np.uint16)
    record = json.loads((tmp_path / "voc" / "scaling.json").read_text(encoding="utf-8"))
    for number, (limits, values) in enumerate(zip(record.values(), channels, strict=True)):
        back = picture[..., number] / 65535 * (limits["high"] - limits["low"]) + limits["low"]
        np.testing.assert_allclose(back, values[..., 2].T, atol=0.1)


def test_volumes_alone_become_pictures(tmp_path, capsys):
    save(tmp_path / "in" / "x.nii.gz", HU.astype(np.uint16))
    folder = convert(tmp_path)
    np.testing.assert_array_equal(read_image(folder.images["x_000"]), HU.astype(np.uint16)[..., 0].T)
    assert not folder.masks_dir.exists()
    assert "annotate them: python -m gui.labelme" in capsys.readouterr().out


FLIPPED = np.diag([-1.0, 1, 1, 1])


@pytest.mark.parametrize(
    ("labels", "affine", "code"),
    [
        (LABELS[1:], np.eye(4), "volume-shape"),
        (LABELS, FLIPPED, "volume-axes"),
        (LABELS + 0.5, np.eye(4), "label-values"),
        (LABELS.astype(np.int16) * 200, np.eye(4), "label-values"),
        (LABELS + np.uint8(5), np.eye(4), "mask-value"),
    ],
)
def test_faults_of_volumes(tmp_path, labels, affine, code):
    save(tmp_path / "in" / "imagesTr" / "a_0000.nii.gz", HU)
    save(tmp_path / "in" / "labelsTr" / "a.nii.gz", labels, affine)
    write_labels(tmp_path / "in", {"0": "background", "1": "a", "2": "b"})
    errors = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert {error.code for error in errors} == {code}


def test_damaged_volume_and_missing_package(tmp_path, monkeypatch):
    save(tmp_path / "in" / "x.nii.gz", HU)
    path = tmp_path / "in" / "x.nii.gz"
    path.write_bytes(path.read_bytes()[:300])
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert (error.code, error.subject) == ("volume-damaged", str(path))
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert (error.code, error.remedy) == ("package-missing", "pip install nibabel")


@pytest.mark.parametrize("places", [("images", "masks"), ("JPEGImages", "SegmentationClass")])
def test_masks_drawn_as_pictures(tmp_path, places, capsys):
    pictures, masks = (tmp_path / "in" / place for place in places)
    save(pictures / "deep.nii.gz", HU)
    save(pictures / "flat_1.nii", HU[..., 0])
    save(pictures / "single.nii", HU)
    for number in range(3):
        save_as(masks / f"deep_{number:03d}.png", LABELS[..., number].T)
    save_as(masks / "flat_1.png", LABELS[..., 1].T)
    folder = convert(tmp_path)
    assert sorted(folder.images) == ["deep_000", "deep_001", "deep_002", "flat_1_000"]
    drawn = {f"deep_00{number}": LABELS[..., number].T for number in range(3)}
    for name, mask in (drawn | {"flat_1_000": LABELS[..., 1].T}).items():
        np.testing.assert_array_equal(read_mask(folder.mask_path(name)), mask)
    assert "volumes without labels are left out: 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "mask", "code"),
    [
        ("other.png", LABELS[..., 0], "no-pairs"),
        ("x.png", np.dstack([LABELS[..., 0].T] * 3) * 100, "mask-channels"),
        ("x.png", LABELS[..., 0], "volume-shape"),
    ],
)
def test_faults_of_masks_drawn_as_pictures(tmp_path, name, mask, code):
    save(tmp_path / "in" / "images" / "x.nii.gz", HU[..., :1])
    save_as(tmp_path / "in" / "masks" / name, mask)
    (error,) = refused(tmp_path, main, Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    assert error.code == code
