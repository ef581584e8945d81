"""Importing DICOM; pydicom writes the samples, and brings real ones."""

from copy import deepcopy

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from refusal import refused
from scripts import save_as

from import_dataset import Config, main
from utils.images.reading import read_image, read_mask
from utils.voc.folder import VocFolder

PLACES = [30.0, 10.0, 20.0]  # of the slices, in the order of their files


@pytest.fixture(scope="module")
def scan():
    return pydicom.dcmread(get_testdata_file("CT_small.dcm"))


def write_series(folder, scan):
    """Three slices of a real scan, their files in another order than their places. Returns place → array."""
    folder.mkdir(parents=True)
    slices = {}
    for number, place in enumerate(PLACES):
        one = deepcopy(scan)
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        one.ImagePositionPatient = [0, 0, place]
        one.InstanceNumber = number
        one.PixelData = np.roll(scan.pixel_array, number, axis=0).tobytes()
        one.save_as(folder / f"IM{number}.dcm")
        slices[place] = pydicom.dcmread(folder / f"IM{number}.dcm").pixel_array
    return slices


def write_segmentation(path, scan, frames):
    """frames: (slice, segment, mask). The frame groups are those of DICOM's Segmentation IOD."""
    base = pydicom.dcmread(get_testdata_file("liver_1frame.dcm"))
    entries = []
    for number, segment, _ in frames:
        entry = deepcopy(base.PerFrameFunctionalGroupsSequence[0])
        entry.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = f"1.2.3.{number}"
        entry.SegmentIdentificationSequence[0].ReferencedSegmentNumber = segment
        entries.append(entry)
    base.PerFrameFunctionalGroupsSequence = Sequence(entries)
    segments = []
    for number, label in ((1, "Liver"), (2, "肿瘤")):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, label
        segments.append(segment)
    base.SpecificCharacterSet = "ISO_IR 192"
    base.SegmentSequence = Sequence(segments)
    base.Rows, base.Columns, base.NumberOfFrames = scan.Rows, scan.Columns, len(frames)
    packed = np.packbits(np.stack([mask for _, _, mask in frames]).ravel(), bitorder="little")
    base.PixelData = packed.tobytes()
    base.SOPInstanceUID = generate_uid()
    base.save_as(path)


def convert(tmp_path):
    main(Config(input=tmp_path / "in", voc_root=tmp_path / "voc"))
    return VocFolder(tmp_path / "voc")


def test_series_with_a_segmentation(tmp_path, scan, capsys):
    slices = write_series(tmp_path / "in" / "ct", scan)
    mask = np.zeros((128, 128), np.uint8)
    mask[10:40, 20:50] = 1
    frames = [(1, 1, mask), (1, 2, np.roll(mask, 20, axis=0)), (0, 2, mask)]
    write_segmentation(tmp_path / "in" / "seg.dcm", scan, frames)
    folder = convert(tmp_path)
    assert folder.read_class_names() == ["background", "Liver", "肿瘤"]
    assert sorted(folder.images) == ["ct_000", "ct_001", "ct_002"]
    for number, place in enumerate(sorted(PLACES)):
        values = slices[place].astype(int) * int(scan.RescaleSlope) + int(scan.RescaleIntercept)
        np.testing.assert_array_equal(read_image(folder.images[f"ct_{number:03d}"]) - 32768.0, values)
    expected = mask.copy()
    expected[np.roll(mask, 20, axis=0) > 0] = 2
    np.testing.assert_array_equal(read_mask(folder.mask_path("ct_000")), expected)
    assert not read_mask(folder.mask_path("ct_001")).any()
    np.testing.assert_array_equal(read_mask(folder.mask_path("ct_002")), mask * 2)
    assert "--split contiguous" in capsys.readouterr().out


def test_series_with_masks_of_the_same_names(tmp_path, scan):
    write_series(tmp_path / "in" / "ct", scan)
    for number in range(3):
        save_as(tmp_path / "in" / "masks" / f"IM{number}_mask.png", np.full((128, 128), number, np.uint8))
    folder = convert(tmp_path)
    values = [read_mask(folder.mask_path(f"ct_{number:03d}"))[0, 0] for number in range(3)]
    assert values == [1, 2, 0]  # by place, not by name of the file


def test_series_alone_become_pictures(tmp_path, scan):
    write_series(tmp_path / "in" / "ct", scan)
    one = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    one.SeriesInstanceUID, one.PhotometricInterpretation = generate_uid(), "MONOCHROME1"
    one.save_as(tmp_path / "in" / "ct" / "other")  # without an ending, as scanners write them
    folder = convert(tmp_path)
    assert sorted(folder.images) == ["ct-1_000", "ct-1_001", "ct-1_002", "ct-2_000"]
    assert not folder.masks_dir.exists()
    upright = 32768.0 - read_image(folder.images["ct-2_000"])
    np.testing.assert_array_equal(upright, scan.pixel_array.astype(int) + int(scan.RescaleIntercept))


def test_colors(tmp_path):
    (tmp_path / "in").mkdir()
    color = pydicom.dcmread(get_testdata_file("SC_rgb_small_odd.dcm"))
    color.save_as(tmp_path / "in" / "x.dcm")
    folder = convert(tmp_path)
    np.testing.assert_array_equal(read_image(folder.images["in_000"]), color.pixel_array)


def test_faults_are_named(tmp_path, scan, monkeypatch):
    settings = Config(input=tmp_path / "in", voc_root=tmp_path / "voc")
    write_series(tmp_path / "in", scan)
    path = tmp_path / "in" / "IM1.dcm"
    whole = path.read_bytes()
    path.write_bytes(whole[:-500])
    (error,) = refused(tmp_path, main, settings)
    assert (error.code, error.subject) == ("dicom-pixels", str(path))
    path.write_bytes(b"no DICOM at all")
    (error,) = refused(tmp_path, main, settings)
    assert (error.code, error.subject) == ("dicom-damaged", str(path))
    for number in range(3):
        (tmp_path / "in" / f"IM{number}.dcm").unlink()
    write_segmentation(tmp_path / "in" / "seg.dcm", scan, [(0, 1, np.zeros((128, 128), np.uint8))])
    (error,) = refused(tmp_path, main, settings)
    assert error.code == "no-pictures"
    contours = pydicom.dcmread(tmp_path / "in" / "seg.dcm")
    contours.Modality = "RTSTRUCT"
    del contours.Rows
    contours.save_as(tmp_path / "in" / "seg.dcm")
    (error,) = refused(tmp_path, main, settings)
    assert error.code == "no-pictures" and "3D Slicer" in error.remedy
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    (error,) = refused(tmp_path, main, settings)
    assert (error.code, error.remedy) == ("package-missing", "pip install pydicom")
