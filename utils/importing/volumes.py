"""NIfTI volumes slice by slice, and nnU-Net's folders, whose files may be NIfTI or pictures.

nnU-Net: https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md. Several files of a
case, CASE_0000, CASE_0001, …, are its channels. The Medical Segmentation Decathlon has them in a fourth axis.
"""

import re
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from utils.core.console import UserError, counted, progress, warn
from utils.core.files import read_record
from utils.core.packages import optional_package
from utils.images.file_types import IMAGE_SUFFIXES
from utils.images.normalisation import floats_to_uint16
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import DECODE_ERRORS, read_image
from utils.importing.dataset import Dataset, Entry, Labels, Request, Size
from utils.importing.drawn_masks import find_drawn_masks, says_labels
from utils.importing.stacks import choose_range, sample_values, usual_range
from utils.importing.tree import Tree
from utils.voc.class_files import find_class_file, read_class_file
from utils.voc.names import core_name, match_names, natural_key

NIFTI = (".nii.gz", ".nii")
FOLDERS = {"imagestr": ("labelstr", "train"), "imagests": ("labelsts", "test")}
CHANNEL = re.compile(r"_(\d{4})$")
_LOCK = threading.Lock()


class Loadable(Protocol):
    """A volume of several files, which `path` stands for in messages. Hashable."""

    path: Path

    def load(self) -> np.ndarray: ...


Volume = Path | Loadable


@dataclass(frozen=True)
class Case:
    """A volume or picture: its channels, in order, its labels if there are any, and its official split."""

    name: str
    channels: tuple[Volume, ...]
    labels: Volume | None
    split: str | None = None


def path_of(volume: Volume) -> Path:
    return volume if isinstance(volume, Path) else volume.path


def stem_of(path: Path) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE) if is_nifti(path) else path.stem


def is_nifti(volume: Volume) -> bool:
    return isinstance(volume, Path) and volume.name.lower().endswith(NIFTI)


def recognise_nnunet(tree: Tree) -> str | None:
    cases = find_nnunet(tree)
    return f"imagesTr and labelsTr, {counted(len(cases), 'case')}" if cases else None


def find_nnunet(tree: Tree) -> list[Case]:
    """Cases of imagesTr and imagesTs that have labels."""
    cases = []
    for path in sorted({path.parent for path in tree.files}):
        other, split = FOLDERS.get(path.name.lower(), ("", None))
        beside = {one.name.lower(): one for one in path.parent.iterdir() if one.is_dir()}
        if other not in beside:
            continue
        files = [one for one in tree.files if is_nifti(one) or one.suffix.lower() in IMAGE_SUFFIXES]
        labels = {stem_of(one): one for one in files if one.parent == beside[other]}
        channels = defaultdict(list)
        for one in files:
            if one.parent == path:
                name = stem_of(one)
                channels[name if name in labels else CHANNEL.sub("", name)].append(one)
        cases += [Case(name, tuple(channels[name]), labels[name], split) for name in labels if channels[name]]
    tested = any(case.split == "test" for case in cases)
    return [case if tested else Case(case.name, case.channels, case.labels) for case in cases]


def recognise_nifti(tree: Tree) -> str | None:
    files = [] if recognise_nnunet(tree) else tree.with_suffix(*NIFTI)
    return f"{counted(len(files), 'volume')}, such as {files[0].name}" if files else None


def find_nifti(tree: Tree) -> list[Case]:
    """Volumes with the labels of their names, such as x.nii.gz and x_seg.nii.gz; without any, all of them."""
    paths = tree.with_suffix(*NIFTI)
    stems = Counter(map(stem_of, paths))
    files = {}
    for path in paths:
        folders = path.relative_to(tree.root).parts[:-1] if stems[stem_of(path)] > 1 else ()
        files["_".join([*folders, stem_of(path)])] = path
    labels = [name for name, path in files.items() if says_labels(path.relative_to(tree.root))]
    pictures = [name for name in files if name not in labels]
    if not labels:
        drawn = find_drawn_masks(tree, files)
        chosen = [name for name in pictures if name in drawn or not drawn]
        warn_of_unlabelled([files[name] for name in pictures if name not in chosen])
        return [Case(name, (files[name],), drawn.get(name)) for name in chosen]
    found = match_names(pictures, labels)
    if not found:
        expected, remedy = "x.nii.gz and x_seg.nii.gz, or images/x.nii.gz and labels/x.nii.gz", "rename them"
        seen = f"no label whose name fits a volume, such as {labels[0]}"
        raise UserError("no-pairs", tree.root, seen, expected, remedy)
    warn_of_unlabelled([files[name] for name in pictures if name not in found.values()])
    names = {core_name(picture): (files[picture], files[label]) for label, picture in found.items()}
    return [
        Case(name, (picture,), label, tree.split_of_picture(picture))
        for name, (picture, label) in names.items()
    ]


def warn_of_unlabelled(paths: list[Path]) -> None:
    if paths:
        warn(f"volumes without labels are left out: {len(paths)}, such as {paths[0]}")


def read_nnunet(request: Request) -> Dataset:
    return read_cases(request, find_nnunet(request.tree))


def read_nifti(request: Request) -> Dataset:
    return read_cases(request, find_nifti(request.tree))


def read_cases(request: Request, cases: list[Case], names: list[str] | None = None) -> Dataset:
    """Slices along the third axis, CASE_000, …; the first axis runs across, the second down.

    names: of the classes, where the labels know them.
    """
    cases = sorted(cases, key=lambda one: natural_key(one.name))
    surveys = [survey_case(case) for case in progress(cases, "reading", "volume")]
    types = {(survey.channels, survey.dtype) for survey in surveys}
    if len(types) > 1:
        found = " and ".join(sorted(f"{channels} channels of {dtype}" for channels, dtype in types))
        expected, remedy = "the same channels and types throughout", "complete or convert the others"
        raise UserError("volume-channels", request.tree.root, found, expected, remedy)
    scales = choose_scales(request, surveys)
    record = {
        f"volumes, channel {n}": {"low": a, "high": b, "to": [0, 65535]} for n, (a, b) in scales.items()
    }
    suffix = ".png" if surveys[0].channels in (1, 3) else ".tif"
    listed, ignored = (names, None) if names else name_classes(request, cases, surveys)
    entries = []
    for case, survey in zip(cases, surveys, strict=True):
        for number in range(survey.depth):
            picture = partial(read_slice, case.channels, scales, number)
            labels = case.labels and partial(read_labels, case.labels, number, ignored)
            flat = survey.depth == 1 and isinstance(case.channels[0], Path) and not is_nifti(case.channels[0])
            name = case.name if flat else f"{case.name}_{number:03d}"
            source, first = path_of(case.labels or case.channels[0]), path_of(case.channels[0])
            entries.append(Entry(name, source, first, labels, picture, suffix, split=case.split))
    remarks = [] if cases[0].labels else ["no labels: pictures only"]
    return Dataset(listed, entries, remarks, record)


class Survey(NamedTuple):
    """dtype: of the values as stored; samples: (n,) values of each channel; labels: those that occur."""

    channels: int
    dtype: np.dtype
    depth: int
    samples: list[np.ndarray]
    labels: set[int]


def survey_case(case: Case) -> Survey:
    """Raises UserError for channels and labels on different grids, and for values that are no labels."""
    volumes = [load(path) for path in case.channels]
    labels = load(case.labels) if case.labels else volumes[0]
    for one, volume in zip((*case.channels, case.labels), (*volumes, labels), strict=True):
        path, first = path_of(one or case.channels[0]), path_of(case.channels[0])
        if volume.shape[:3] != volumes[0].shape[:3]:
            found, expected = f"{shape_text(volume)} voxels", f"{shape_text(volumes[0])}, as {first} has"
            remedy = "pass the files of one case, resampled alike"
            raise UserError("volume-shape", path, found, expected, remedy)
        if is_nifti(path) and is_nifti(first) and axes_of(path) != axes_of(first):
            found, expected = f"axes to {axes_of(path)}", f"{axes_of(first)}, as in {first}"
            raise UserError("volume-axes", path, found, expected, "bring both to one orientation")
    values: set[int] = set()
    if case.labels:
        found = np.unique(labels)
        if labels.shape[3] > 1 or not np.isin(found, np.arange(256)).all():
            seen = f"{labels.shape[3]} channels with values from {found[0]:g} to {found[-1]:g}"
            remedy = "export class indices, not probabilities or a picture"
            raise UserError(
                "label-values", path_of(case.labels), seen, "one channel of whole numbers 0 … 255", remedy
            )
        values = set(found.astype(int).tolist())
    joined = [volume[..., channel] for volume in volumes for channel in range(volume.shape[3])]
    samples = [sample_values(one) for one in joined]
    return Survey(len(joined), np.result_type(*volumes), volumes[0].shape[2], samples, values)


def shape_text(volume: np.ndarray) -> str:
    return "×".join(map(str, volume.shape[:3]))


def name_classes(request: Request, cases: list[Case], surveys: list[Survey]) -> tuple[list[str], int | None]:
    """Names from dataset.json, or by number; and the value that nnU-Net calls `ignore`."""
    folders = [request.tree.root, *(path_of(case.labels).parent.parent for case in cases[:1] if case.labels)]
    listed = find_class_file(folders, ("dataset.json",))
    names = read_class_file(listed) if listed else []
    ignored = next((value for value, name in enumerate(names) if name.lower() == "ignore"), None)
    names = names[:ignored]
    largest = max((value for one in surveys for value in one.labels - {ignored, 255}), default=0)
    return names or ["background", *(f"class_{value}" for value in range(1, max(largest, 1) + 1))], ignored


def choose_scales(request: Request, surveys: list[Survey]) -> dict[int, tuple[float, float]]:
    """Channel → the values that become 0 and 65535; no channel if values are kept as they are.

    Whole numbers of 16 bits with a sign keep their steps. Raises UserError for values beyond scaling.json.
    """
    channels, dtype = surveys[0].channels, surveys[0].dtype
    if dtype in (np.uint8, np.uint16):
        return {}
    if dtype in (np.int8, np.int16):
        return dict.fromkeys(range(channels), (-32768.0, 32767.0))
    path, limits = request.folder.root / "scaling.json", {}
    for channel in range(channels):
        values = np.concatenate([survey.samples[channel] for survey in surveys])
        if not values.size:
            found = "no finite value in any volume"
            raise UserError("no-finite-value", request.tree.root, found, "numbers", "export them again")
        if channels == 1:
            limits[channel] = choose_range(request.tree.root, values, path, request.scaling)
        else:
            known = read_record(request.scaling or path).get(f"volumes, channel {channel}")
            limits[channel] = (known["low"], known["high"]) if known else usual_range(values)
    return limits


def read_slice(
    channels: tuple[Volume, ...], scales: dict[int, tuple[float, float]], number: int
) -> np.ndarray:
    """(H, W) or (H, W, C), uint8 or uint16."""
    planes = [
        volume[:, :, number, channel].T
        for volume in map(load, channels)
        for channel in range(volume.shape[3])
    ]
    if scales:
        planes = [floats_to_uint16(plane, *scales[channel]) for channel, plane in enumerate(planes)]
    return np.ascontiguousarray(planes[0] if len(planes) == 1 else np.dstack(planes))


def read_labels(labels: Volume, number: int, ignored: int | None, size: Size) -> Labels:
    mask = load(labels)[:, :, number, 0].T.astype(np.uint8)
    if ignored is not None:
        mask[mask == ignored] = IGNORE_INDEX
    return Labels(np.ascontiguousarray(mask))


def load(volume: Volume) -> np.ndarray:
    """(X, Y, Z, C) values as stored. A few volumes stay in memory until they change. Raises UserError."""
    with _LOCK:
        return _load(volume, path_of(volume).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load(path: Volume, changed: int) -> np.ndarray:
    if not isinstance(path, Path):
        return path.load()
    if not is_nifti(path):
        picture = read_image(path)
        return picture.reshape(*picture.shape[:2], -1).swapaxes(0, 1)[:, :, None]
    nibabel = optional_package("nibabel", "nibabel", path)
    try:
        values = np.asanyarray(nibabel.load(path).dataobj)
    except (*DECODE_ERRORS, nibabel.filebasedimages.ImageFileError) as error:
        found = f"a damaged file ({str(error).splitlines()[0]})"
        raise UserError("volume-damaged", path, found, "a NIfTI volume", "copy or export it again") from None
    narrower = {np.dtype(np.float64): np.float32, np.dtype(bool): np.uint8}
    values = values.astype(narrower.get(values.dtype, values.dtype), copy=False)
    # Points in time and channels are the fourth and the fifth axis.
    values = values.reshape(*values.shape[:3], -1) if values.ndim >= 3 else values[..., None, None]
    if values.dtype.kind not in "biuf" or values.ndim != 4:
        found = f"shape {values.shape}, type {values.dtype}"
        raise UserError("volume-kind", path, found, "numbers in two to four axes", "export it as gray values")
    return values


def axes_of(path: Path) -> str:
    """Where the axes of a NIfTI volume point: RAS for right, anterior, superior."""
    nibabel = optional_package("nibabel", "nibabel", path)
    return "".join(map(str, nibabel.aff2axcodes(nibabel.load(path).affine)))
