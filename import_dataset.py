"""Turn data sets as people have them into a VOC folder: pass --input FOLDER, and its format is found out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.core.console import UserError, quoted, run_script
from utils.core.locks import locked
from utils.importing.dataset import Request
from utils.importing.formats import FORMATS, recognise
from utils.importing.pairs import import_pairs
from utils.importing.stacks import import_stack
from utils.importing.tree import Tree
from utils.voc.folder import VocFolder
from utils.voc.splits import count_by_source

Name = Literal[
    "auto",
    "coco",
    "coco-panoptic",
    "yolo",
    "cvat",
    "via",
    "label-studio",
    "nnunet",
    "nifti",
    "dicom",
    "objects",
    "cityscapes",
    "camvid",
    "cvat-mask",
    "labelme",
    "sbd",
    "voc",
    "stack",
    "pairs",
]


@dataclass
class Config:
    input: Path | None = None  # folder of a data set, or its file of annotations, such as COCO's JSON
    format: Name = "auto"  # auto: find it out; otherwise what to read the folder as
    images: Path | None = None  # folder of pictures, or stack of them; with --input: more pictures
    masks: Path | None = None  # pairs: folder (None: images/annotations or images); stack: label TIFF
    sbd: Path | None = None  # sbd: the data set's folder with cls, img, train.txt and val.txt
    voc: Path | None = None  # sbd: a VOC2012 folder to join with it; its own masks win
    voc_root: Path = Path("VOCdevkit/VOC2007")  # VOC folder to fill, or to bring up to date
    scaling: Path | None = None  # floats to predict on: scaling.json of the training data
    instances: bool = False  # write SegmentationObject too, where the format tells objects apart
    overwrite: bool = False  # also replace files that no import wrote; copies stay in set_aside
    link: bool = False  # hard links to pictures instead of copies (same disk only)


def main(config: Config) -> None:
    folder = VocFolder(config.voc_root)
    with locked(folder.root):
        name, lines = convert(config, folder)
    print("\n".join(lines))
    with_masks = folder.masks_dir.is_dir()
    print(f"written to {folder.root}: JPEGImages{', SegmentationClass' * with_masks}")
    numbered = "--instances" * (config.instances and name == "pairs")
    doctor = folder.doctor(split_flags(name, folder) or numbered)
    annotate = f"annotate them: python -m gui.labelme {quoted(folder.images_dir)}"
    print(f"next: {doctor if with_masks else annotate}")


def split_flags(name: str, folder: VocFolder) -> str:
    """Neighbouring slices look alike: those of a volume stay on one side, of one volume in one piece."""
    counts = count_by_source(folder, folder.images_if_any())
    volumes = [path for path, count in counts.items() if path and count > 1]
    if name not in ("stack", "nnunet", "nifti", "dicom") or not volumes:
        return ""
    return '--group "^.*_"' if len(counts) > 1 else "--split contiguous"


def convert(config: Config, folder: VocFolder) -> tuple[str, list[str]]:
    """The name of the format, and what was done."""
    source, name = config.input or config.sbd, config.format
    if source is None and config.images is None:
        expected = "a folder with a data set"
        raise UserError("flag-missing", "--input", "not set", expected, "pass --input FOLDER")
    if source is None or config.masks:
        images = config.images or source
        if name in ("auto", "pairs"):
            settings = config.link, config.overwrite, config.scaling
            return "pairs", import_pairs(folder, images, config.masks, *settings)
        if name == "stack":
            return name, import_stack(folder, images, config.masks, config.scaling, config.overwrite)
    if config.masks:
        found, remedy = f"set, but --format {name} brings its own", "leave it out"
        raise UserError("flag-without-effect", "--masks", found, "--format pairs or stack", remedy)
    tree = Tree(source or config.images, config.images)
    name, evidence = recognise(tree, "sbd" if config.sbd and not config.input else name)
    print(f"found in {source or config.images}: {FORMATS[name].title} ({evidence})")
    request = Request(
        folder, tree, config.voc, config.scaling, config.link, config.instances, config.overwrite
    )
    return name, FORMATS[name].convert(request)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
