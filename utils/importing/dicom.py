"""DICOM: series of slices, with segmentations (SEG) of them, or masks as pictures of the same names."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from utils.core.console import UserError, counted, warn
from utils.core.packages import optional_package
from utils.importing.dataset import Dataset, Request
from utils.importing.drawn_masks import Masks
from utils.importing.tree import Tree
from utils.importing.volumes import Case, read_cases
from utils.voc.folder import is_image
from utils.voc.names import core_name

SUFFIXES = (".dcm", ".dicom", ".ima")
MAGIC, MAGIC_AT = b"DICM", 128
CONTOURS = (
    "Open them with their pictures in 3D Slicer (SlicerRT), and export the segmentation as NIfTI or SEG"
)
# What pydicom raises for files and pixels that it cannot decode.
ERRORS = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    NotImplementedError,
    IndexError,
    OSError,
)


@dataclass(frozen=True)
class Series:
    """The slices of a series in their order in space. uids: their SOPInstanceUIDs."""

    paths: tuple[Path, ...]
    uids: tuple[str, ...]

    @property
    def path(self) -> Path:
        return self.paths[0]

    def load(self) -> np.ndarray:
        """(X, Y, Z, 1 or 3): rescaled values, int16 or uint16 where these hold them, or uint8 colors."""
        slices = [plane for path in self.paths for plane in read_planes(path)]
        if len({plane.shape for plane in slices}) > 1:
            found, expected = "slices of different sizes", "one size in a series"
            raise UserError("volume-shape", self.path.parent, found, expected, "pass the series one by one")
        volume = narrowed(np.stack(slices))
        volume = volume[..., None] if volume.ndim == 3 else volume
        return volume.transpose(2, 1, 0, 3)


@dataclass(frozen=True)
class Segmentation:
    """SEG files of a series: the class of each segment by (file, segment number)."""

    paths: tuple[Path, ...]
    series: Series
    classes: tuple[tuple[Path, int, int], ...]

    @property
    def path(self) -> Path:
        return self.paths[0]

    def load(self) -> np.ndarray:
        """(X, Y, Z, 1) uint8. Later segments cover earlier ones. Raises UserError for other sizes."""
        values = {(path, segment): value for path, segment, value in self.classes}
        places = {uid: number for number, uid in enumerate(self.series.uids)}
        labels = None
        for path in self.paths:
            dataset = read_dataset(path)
            frames = read_frames(dataset, path)
            if labels is None:
                labels = np.zeros((len(places), *frames.shape[1:3]), np.uint8)
            for frame, entry in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
                if labels.shape[1:] != frame.shape:
                    found, expected = f"frames of {frame.shape}", f"{labels.shape[1:]}, as its series has"
                    raise UserError("volume-shape", path, found, expected, "export the segmentation again")
                segment = entry.SegmentIdentificationSequence[0].ReferencedSegmentNumber
                labels[places[source_of(entry)]][frame > 0] = values[path, int(segment)]
        return labels.transpose(2, 1, 0)[..., None]


def find_dicom(tree: Tree) -> list[Path]:
    def is_dicom(path: Path) -> bool:
        return path.suffix.lower() in SUFFIXES or (
            not path.suffix and tree.read_head(path)[MAGIC_AT:].startswith(MAGIC)
        )

    return [path for path in tree.files if is_dicom(path)]


def recognise_dicom(tree: Tree) -> str | None:
    paths = find_dicom(tree)
    return f"{counted(len(paths), 'DICOM file')}, such as {paths[0].name}" if paths else None


def read_dicom(request: Request) -> Dataset:
    tree = request.tree
    headers = {path: read_dataset(path, pixels=False) for path in find_dicom(tree)}
    pictures = {path: one for path, one in headers.items() if "Rows" in one and one.get("Modality") != "SEG"}
    contours = [path for path, one in headers.items() if one.get("Modality") == "RTSTRUCT"]
    if contours:
        found = f"contours (RTSTRUCT) are not read: {counted(len(contours), 'file')}, such as {contours[0]}"
        warn(f"{found}. {CONTOURS}")
    if not pictures:
        kinds = ", ".join(sorted({str(one.get("Modality", "no modality")) for one in headers.values()}))
        expected, remedy = "a series of pictures", "put the pictures into the folder too"
        remedy = f"{remedy}. {CONTOURS}" if contours else remedy
        raise UserError("no-pictures", tree.root, f"DICOM files of {kinds} only", expected, remedy)
    groups = defaultdict(list)
    for path, header in pictures.items():
        groups[path.parent, str(header.get("SeriesInstanceUID", ""))].append(path)
    folders = [folder for folder, _ in groups]
    cases, names = [], ["background"]
    segmentations = {path: one for path, one in headers.items() if one.get("Modality") == "SEG"}
    masks = {core_name(path.stem): path for path in tree.files if is_image(path)}
    for number, ((folder, _), paths) in enumerate(groups.items(), 1):
        paths.sort(key=lambda path: position_of(pictures[path], path))
        series = Series(tuple(paths), tuple(str(pictures[path].SOPInstanceUID) for path in paths))
        name = folder.name if folders.count(folder) == 1 else f"{folder.name}-{number}"
        labels = find_segmentation(series, segmentations, names)
        if labels is None and all(core_name(path.stem) in masks for path in paths):
            labels = Masks(tuple(masks[core_name(path.stem)] for path in paths))
        cases.append(Case(name, (series,), labels, tree.split_of_picture(paths[0])))
    if any(case.labels for case in cases) and (single := [case for case in cases if not case.labels]):
        warn(
            f"series without labels are left out: {len(single)}, such as {single[0].channels[0].path.parent}"
        )
        cases = [case for case in cases if case.labels]
    return read_cases(request, cases, names if len(names) > 1 else None)


def find_segmentation(series: Series, headers: dict[Path, object], names: list[str]) -> Segmentation | None:
    """The SEG files of a series. Adds their labels to the names of the classes."""
    paths, classes = [], []
    for path, header in headers.items():
        entries = header.get("PerFrameFunctionalGroupsSequence", [])
        if not any(source_of(entry) in series.uids for entry in entries):
            continue
        paths.append(path)
        for segment in header.SegmentSequence:
            label = str(segment.SegmentLabel).strip()
            names += [] if label in names else [label]
            classes.append((path, int(segment.SegmentNumber), names.index(label)))
    return Segmentation(tuple(paths), series, tuple(classes)) if paths else None


def source_of(entry: object) -> str:
    """The SOPInstanceUID of the slice that a frame of a SEG file was drawn on; "" if it names none."""
    derivation = next(iter(entry.get("DerivationImageSequence", [])), {})
    source = next(iter(derivation.get("SourceImageSequence", [])), {})
    return str(source.get("ReferencedSOPInstanceUID", ""))


def position_of(header: object, path: Path) -> tuple[float, float, str]:
    """Along the normal of the slices, else by number, else by name."""
    place, direction = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    along = 0.0
    if place and direction and len(place) == 3 and len(direction) == 6:
        normal = np.cross(np.array(direction[:3], float), np.array(direction[3:], float))
        along = float(normal @ np.array(place, float))
    return along, float(header.get("InstanceNumber") or 0), path.name


def pydicom_of(path: Path) -> ModuleType:
    return optional_package("pydicom", "pydicom", path)


def read_dataset(path: Path, pixels: bool = True) -> object:
    pydicom = pydicom_of(path)
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except (pydicom.errors.InvalidDicomError, *ERRORS) as error:
        found = f"a damaged file ({str(error).splitlines()[0]})"
        raise UserError("dicom-damaged", path, found, "DICOM", "copy or export it again") from None


def read_frames(dataset: object, path: Path) -> np.ndarray:
    """(frames, H, W[, 3]) as stored. Raises UserError, which names the package that a compression needs."""
    try:
        pixels = dataset.pixel_array
    except ERRORS as error:
        found = f"pixels that cannot be decoded ({' '.join(str(error).split())[:200]})"
        expected, remedy = (
            "uncompressed DICOM, or a decoder",
            "pip install pylibjpeg[all], or export it uncompressed",
        )
        raise UserError("dicom-pixels", path, found, expected, remedy) from None
    frames = int(dataset.get("NumberOfFrames") or 1)
    return pixels if frames > 1 else pixels[None]


def read_planes(path: Path) -> list[np.ndarray]:
    """Frames as a viewer shows them: rescaled, inverted gray turned, colors in RGB."""
    dataset = read_dataset(path)
    frames = read_frames(dataset, path)
    if frames.ndim == 4:
        return list(frames)
    planes = optional_package("pydicom.pixels", "pydicom", path).apply_modality_lut(frames, dataset)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    return list(-planes.astype(np.float32) if inverted else planes)


def narrowed(values: np.ndarray) -> np.ndarray:
    """Whole numbers as int16 or uint16 if they fit, others as float32. uint8 stays."""
    if values.dtype == np.uint8 or (values.dtype.kind == "f" and not (values == values.round()).all()):
        return values if values.dtype == np.uint8 else values.astype(np.float32)
    for dtype in (np.int16, np.uint16):
        if np.iinfo(dtype).min <= values.min() and values.max() <= np.iinfo(dtype).max:
            return values.astype(dtype)
    return values.astype(np.float32)
