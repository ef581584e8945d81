"""Data sets that are known by their folders and names of files: DSB2018, Cityscapes, CamVid, CVAT's masks."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from utils.core.console import UserError, counted
from utils.images.masks import number_objects, read_mask_file
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_image
from utils.importing.dataset import Dataset, Entry, Labels, Request, Size, unique_names
from utils.importing.tree import Tree
from utils.voc.class_files import read_labelmap
from utils.voc.colors import BUILT_IN, ColorTable, color_shares, pack
from utils.voc.folder import VocFolder
from utils.voc.names import core_name

# The 19 classes of the benchmark in its order, by the ids of cityscapesScripts/helpers/labels.py.
CITYSCAPES = {
    **{7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light"},
    **{20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car"},
    **{27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"},
}
PICTURE_END, INSTANCE = "_leftImg8bit", 1000  # ids of objects are 1000 · class + number


def find_objects(tree: Tree) -> dict[Path, list[Path]]:
    """Picture → the files of its objects: ID/images/x.png with ID/masks/*.png, or masks/x/*.png."""
    by_folder: dict[Path, list[Path]] = {}
    for path in tree.pictures:
        by_folder.setdefault(path.parent, []).append(path)
    found = {}
    for folder, paths in by_folder.items():
        masks = by_folder.get(folder.with_name("masks"), [])
        if folder.name.lower() == "images" and len(paths) == 1 and masks:
            # One mask of the picture's name holds all objects.
            if len(masks) > 1 or core_name(masks[0].stem) != core_name(paths[0].stem):
                found[paths[0]] = masks
        else:
            nested = {path: by_folder.get(folder.with_name("masks") / path.stem) for path in paths}
            found |= {path: masks for path, masks in nested.items() if masks}
    # A single pair of folders images and masks with one file each is a pair of picture and mask.
    return found if len(found) > 1 or any(len(masks) > 1 for masks in found.values()) else {}


def recognise_objects(tree: Tree) -> str | None:
    found = find_objects(tree)
    files = sum(map(len, found.values()))
    return (
        f"{counted(len(found), 'picture')} with {counted(files, 'file')} of one object each"
        if found
        else None
    )


def read_objects(request: Request) -> Dataset:
    """One class, `object`. Where objects overlap, the later file covers the earlier."""
    found = find_objects(request.tree)
    # Where the folder has the name of the picture, it is no distinction.
    names = unique_names(list(found))
    entries = [
        Entry(
            names[path],
            masks[0].parent,
            path,
            partial(join_objects, masks),
            split=request.tree.split_of_picture(path),
        )
        for path, masks in found.items()
    ]
    single = [path for path in request.tree.pictures if path.parent.name == "images" and path not in found]
    remarks = (
        [f"{counted(len(single), 'picture')} without objects, such as {single[0]}: left out"]
        if single
        else []
    )
    return Dataset(["background", "object"], entries, remarks)


def join_objects(paths: Sequence[Path], size: Size) -> Labels:
    """What is at least half as bright as the brightest value of a file is its object."""
    numbers = np.zeros(size, np.uint16)
    for number, path in enumerate(paths, 1):
        values = read_mask_file(path).values
        values = values.max(axis=2) if values.ndim == 3 else values
        if values.shape != size:
            found = f"{values.shape[0]}×{values.shape[1]} (height×width)"
            expected, remedy = f"{size[0]}×{size[1]}, as its picture has", "export it again"
            raise UserError("mask-size", path, found, expected, remedy)
        numbers[values >= max(1, values.max() / 2)] = number
    return Labels((numbers > 0).astype(np.uint8), number_objects(numbers))


def find_cityscapes(tree: Tree) -> dict[Path, Path]:
    """labelIds of gtFine, or else gtCoarse → picture."""
    pictures = {
        (path.parent.name, path.stem): path for path in tree.pictures if path.stem.endswith(PICTURE_END)
    }
    found = {}
    for kind in ("_gtCoarse_labelIds", "_gtFine_labelIds"):
        for path in tree.pictures:
            key = path.parent.name, path.stem.removesuffix(kind) + PICTURE_END
            if path.stem.endswith(kind) and key in pictures:
                found[pictures[key]] = path
    return {mask: picture for picture, mask in found.items()}


def recognise_cityscapes(tree: Tree) -> str | None:
    found = find_cityscapes(tree)
    return f"{counted(len(found), 'file')} of _labelIds with its {PICTURE_END}" if found else None


def read_cityscapes(request: Request) -> Dataset:
    """The 19 classes of the benchmark; the other ids are ignored (255). The labels of test are not public."""
    lookup = np.full(256, IGNORE_INDEX, np.uint8)
    lookup[list(CITYSCAPES)] = range(len(CITYSCAPES))
    entries, tested = [], 0
    for mask, picture in find_cityscapes(request.tree).items():
        split = request.tree.split_of_picture(mask)
        tested += split == "test"
        name = picture.stem.removesuffix(PICTURE_END)
        if split != "test":
            entries.append(Entry(name, mask, picture, partial(read_ids, mask, lookup), split=split))
    remarks = (
        [f"{counted(tested, 'picture')} of test, whose labels are not public: left out"] if tested else []
    )
    return Dataset(
        list(CITYSCAPES.values()), entries, [*remarks, "ids outside the 19 classes are ignored (255)"]
    )


def read_ids(path: Path, lookup: np.ndarray, size: Size) -> Labels:
    numbered = path.with_name(path.name.replace("_labelIds", "_instanceIds"))
    objects = None
    if numbered.is_file():
        ids = read_mask_file(numbered).values
        objects = number_objects(np.where(ids >= INSTANCE, ids, 0))
    return Labels(lookup[read_mask_file(path).values], objects)


def recognise_camvid(tree: Tree) -> str | None:
    found = find_camvid(tree)
    colored = found and read_mask_file(next(iter(found))).values.ndim == 3
    return f"{counted(len(found), 'colored mask')} named _L" if colored else None


def find_camvid(tree: Tree) -> dict[Path, Path]:
    """Mask x_L → picture x."""
    pictures = {path.stem: path for path in tree.pictures if not path.stem.endswith("_L")}
    masks = (path for path in tree.pictures if path.stem.endswith("_L"))
    return {path: pictures[path.stem[:-2]] for path in masks if path.stem[:-2] in pictures}


def read_camvid(request: Request) -> Dataset:
    table = BUILT_IN["camvid"]
    entries = [
        Entry(
            picture.stem,
            mask,
            picture,
            partial(read_colors, mask, table, None),
            split=request.tree.split_of_picture(mask),
        )
        for mask, picture in find_camvid(request.tree).items()
    ]
    return Dataset(table.class_names, entries, ["its 32 colors are grouped into 11 classes, as usual"])


def find_labelmap(tree: Tree) -> Path | None:
    paths = [
        path for path in tree.with_suffix("labelmap.txt") if (path.parent / "SegmentationClass").is_dir()
    ]
    return paths[0] if paths else None


def recognise_labelmap(tree: Tree) -> str | None:
    path = find_labelmap(tree)
    return "SegmentationClass with the colors of labelmap.txt" if path else None


def read_labelmap_folder(request: Request) -> Dataset:
    """CVAT's `Segmentation mask` and `PASCAL VOC`: colors → classes, and SegmentationObject, if there."""
    path = find_labelmap(request.tree)
    table, source = read_labelmap(path), VocFolder(path.parent)
    splits = {name: split for split in ("train", "val", "test") for name in source.read_split_if_any(split)}
    entries, missing = [], []
    for mask in sorted(source.masks_dir.rglob("*.png")):
        place = mask.relative_to(source.masks_dir)
        pictures = [one for one in request.tree.pictures if "Segmentation" not in one.parent.as_posix()]
        picture = next((one for one in pictures if one.stem == mask.stem), None)
        if picture is None:
            missing.append(mask.name)
            continue
        labels = partial(read_colors, mask, table, source.objects_dir / place)
        entries.append(Entry(mask.stem, mask, picture, labels, split=splits.get(mask.stem)))
    return Dataset(table.class_names, entries, request.tree.describe_missing(missing))


def read_colors(path: Path, table: ColorTable, objects: Path | None, size: Size) -> Labels:
    """Raises UserError for colors without a class. objects: a file in which each has a color."""
    mask, unknown = table.to_indices(to_rgb(path))
    if unknown:
        found = f"colors without a class: {color_shares(unknown, mask.size)}"
        expected = f"the colors of {table.name}"
        raise UserError("mask-color", path, found, expected, "add them to the table, or draw them again")
    numbered = objects is not None and objects.is_file()
    return Labels(mask, number_objects(pack(to_rgb(objects))) if numbered else None)


def to_rgb(path: Path) -> np.ndarray:
    image = read_image(path)
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
