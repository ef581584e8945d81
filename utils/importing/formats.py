"""The table of formats that import_dataset.py reads: how each is recognised and converted."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tifffile import TiffFile

from utils.core.console import UserError, counted, quoted
from utils.images.tiff import read_layout
from utils.importing.coco import read_coco, recognise_coco
from utils.importing.cvat import read_cvat, recognise_cvat
from utils.importing.dataset import Dataset, Request, fill
from utils.importing.dicom import read_dicom, recognise_dicom
from utils.importing.label_studio import read_label_studio, recognise_label_studio
from utils.importing.labelme_files import convert_labelme, report_conversion
from utils.importing.layouts import (
    find_labelmap,
    read_camvid,
    read_cityscapes,
    read_labelmap_folder,
    read_objects,
    recognise_camvid,
    recognise_cityscapes,
    recognise_labelmap,
    recognise_objects,
)
from utils.importing.pairs import import_pairs, tell_apart
from utils.importing.panoptic import read_panoptic, recognise_panoptic
from utils.importing.sbd import import_sbd
from utils.importing.stacks import TIFF_ERRORS, import_stack
from utils.importing.tree import Tree
from utils.importing.via import read_via, recognise_via
from utils.importing.volumes import read_nifti, read_nnunet, recognise_nifti, recognise_nnunet
from utils.importing.yolo import read_yolo, recognise_yolo
from utils.voc.folder import VocFolder, is_image
from utils.voc.names import core_name, list_some, match
from utils.voc.strangers import describe_strangers

TOLERANT = ("labelme", "sbd", "pairs")  # report in detail what they miss, if they were chosen
TIFF = (".tif", ".tiff")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z")


@dataclass(frozen=True)
class Format:
    """A row of the table.

    recognise: what betrays the format in a folder, in words, or None. convert: writes the VOC folder and
    returns a summary. weak: other formats, if they are recognised, win.
    """

    title: str
    recognise: Callable[[Tree], str | None]
    convert: Callable[[Request], list[str]]
    weak: bool = False


def reader(read: Callable[[Request], Dataset]) -> Callable[[Request], list[str]]:
    """The conversion of a format whose reader returns a Dataset."""
    return lambda request: fill(request, read(request))


def recognise_labelme(tree: Tree) -> str | None:
    files = [path for path in tree.with_suffix(".json") if path.parent == tree.root]
    content = next((content for path in files[:3] if isinstance(content := tree.read_json(path), dict)), {})
    return f"{counted(len(files), 'labelme file')}, such as {files[0].name}" if "shapes" in content else None


def convert_labelme_files(request: Request) -> list[str]:
    source, folder = request.tree.root, request.folder
    command = f"python json_to_dataset.py --input {quoted(source)} --voc-root {quoted(folder.root)}"
    settings = {"overwrite": request.overwrite, "command": command}
    result = convert_labelme(source, folder, None, request.instances, **settings)
    classes = f"classes: {', '.join(result.classes.names)} (python json_to_dataset.py has more settings)"
    return [*report_conversion(result, source, command), classes]


def recognise_sbd(tree: Tree) -> str | None:
    return "cls with .mat files, img and train.txt" if tree.has("cls", "img", "train.txt") else None


def convert_sbd(request: Request) -> list[str]:
    return import_sbd(request.folder, request.tree.root, request.voc, request.link, request.overwrite)


def recognise_voc(tree: Tree) -> str | None:
    """Where no picture is of a type that is read, such as NIfTI alone, another reader may know them."""
    if not tree.has("JPEGImages", "SegmentationClass") or find_labelmap(tree):
        return None
    files = [path for path in (tree.root / "JPEGImages").rglob("*") if path.is_file()]
    return None if files and not any(map(is_image, files)) else "JPEGImages and SegmentationClass"


def refuse_voc(request: Request) -> list[str]:
    folder = VocFolder(request.tree.root)
    expected = "a data set in another layout"
    raise UserError(
        "voc-already", folder.root, "a VOC folder, which needs no import", expected, folder.doctor()
    )


def find_stacks(tree: Tree) -> list[Path]:
    """TIFFs of several slices directly in the root, or else below it, if all pictures there are such.

    Channels are no slices.
    """
    paths = [path for path in tree.with_suffix(*TIFF) if path.parent == tree.root]
    if stacks := [path for path in paths if has_slices(path)]:
        return stacks
    pictures = [path for path in tree.files if is_image(path)]
    return pictures if all(path.suffix.lower() in TIFF and has_slices(path) for path in pictures) else []


def has_slices(path: Path) -> bool:
    try:
        with TiffFile(path) as file:
            return bool(read_layout(file).left_out)
    except TIFF_ERRORS:
        return False


def recognise_stack(tree: Tree) -> str | None:
    paths = find_stacks(tree)
    return f"TIFF of several pages: {list_some([path.name for path in paths], 4)}" if paths else None


def convert_stacks(request: Request) -> list[str]:
    """Each stack of pictures with the stack of labels of its name, or the only one there is."""
    paths = find_stacks(request.tree)
    pictures, labels = tell_apart(paths, request.tree.root)
    if len(pictures) == len(labels) == 1:
        matched = {pictures[0]: labels[0]}
    else:
        found = match(pictures, labels, [lambda path: core_name(path.stem)])
        matched = {picture: label for label, picture in found.items()}
    if len({path.stem for path in pictures}) < len(pictures) or (labels and len(matched) < len(labels)):
        found = f"{len(pictures)} stacks of pictures and {len(labels)} of labels whose names do not match"
        remedy = "import them one by one: --format stack --images STACK.tif --masks LABELS.tif"
        raise UserError("stack-names", request.tree.root, found, "x.tif and x_labels.tif", remedy)
    lines = []
    for path in pictures:
        lines += import_stack(request.folder, path, matched.get(path), request.scaling, request.overwrite)
    return lines


def recognise_pairs(tree: Tree) -> str | None:
    """Masks by the names of files or folders. A folder of pictures alone is none, nor are masks alone."""
    if tree.annotations or find_stacks(tree):
        return None
    pictures, masks = tell_apart([path for path in tree.files if is_image(path)], tree.root)
    shared = {core_name(path.stem) for path in pictures} & {core_name(path.stem) for path in masks}
    return f"{counted(len(shared), 'picture')} with a mask of the same name" if shared else None


def convert_pairs(request: Request) -> list[str]:
    folder, root = request.folder, request.tree.root
    return import_pairs(folder, root, None, request.link, request.overwrite, request.scaling)


# In the order in which messages list them. The names are those of --format.
FORMATS = {
    "coco": Format("COCO JSON", recognise_coco, reader(read_coco)),
    "coco-panoptic": Format("COCO panoptic", recognise_panoptic, reader(read_panoptic)),
    "yolo": Format("YOLO segmentation text", recognise_yolo, reader(read_yolo)),
    "cvat": Format("CVAT for images 1.1", recognise_cvat, reader(read_cvat)),
    "via": Format("VGG Image Annotator", recognise_via, reader(read_via)),
    "label-studio": Format("Label Studio", recognise_label_studio, reader(read_label_studio)),
    "nnunet": Format("nnU-Net", recognise_nnunet, reader(read_nnunet)),
    "nifti": Format("NIfTI volumes", recognise_nifti, reader(read_nifti)),
    "dicom": Format("DICOM", recognise_dicom, reader(read_dicom)),
    "objects": Format("one file per object", recognise_objects, reader(read_objects)),
    "cityscapes": Format("Cityscapes", recognise_cityscapes, reader(read_cityscapes)),
    "camvid": Format("CamVid", recognise_camvid, reader(read_camvid)),
    "cvat-mask": Format("CVAT masks with labelmap.txt", recognise_labelmap, reader(read_labelmap_folder)),
    "labelme": Format("labelme files", recognise_labelme, convert_labelme_files),
    "sbd": Format("Semantic Boundaries Dataset", recognise_sbd, convert_sbd),
    "voc": Format("VOC folder", recognise_voc, refuse_voc),
    "stack": Format("TIFF stacks", recognise_stack, convert_stacks, weak=True),
    "pairs": Format("pairs of picture and mask", recognise_pairs, convert_pairs, weak=True),
}


def recognise(tree: Tree, name: str = "auto") -> tuple[str, str]:
    """The name of the format in a folder, and what betrays it. Raises UserError for none, and for several.

    name: a format that was chosen; auto: any.
    """
    rows = FORMATS if name == "auto" else {name: FORMATS[name]}
    found = {name: evidence for name, row in rows.items() if (evidence := row.recognise(tree))}
    strong = {name: evidence for name, evidence in found.items() if not FORMATS[name].weak} or found
    if len(strong) == 1:
        return next(iter(strong.items()))
    if name in TOLERANT:
        return name, "as you chose"
    place = tree.annotations or tree.root
    if strong:
        seen = "; ".join(f"{FORMATS[name].title} ({evidence})" for name, evidence in strong.items())
        remedy = f"choose one: {' or '.join(f'--format {name}' for name in strong)}"
        raise UserError("input-ambiguous", place, seen, "one kind of data set", remedy)
    endings = Counter(path.suffix.lower() or "no ending" for path in tree.files).most_common(6)
    seen = ", ".join(f"{count} {ending}" for ending, count in endings) or "no file"
    expected = (
        f"one of: {', '.join(row.title for row in rows.values())}" if len(rows) > 1 else rows[name].title
    )
    remedy = (
        "docs/data.md shows what each looks like; folders of pictures and masks go by --images and --masks"
    )
    if strangers := describe_strangers(tree.files):
        remedy = "; ".join(strangers)
    elif place.suffix.lower() in ARCHIVES:
        remedy = "unpack it, and pass the folder"
    raise UserError("input-unknown", place, seen, expected, remedy)
