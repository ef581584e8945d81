"""Turn data sets as people have them into a VOC folder: pairs of files, TIFF stacks, or SBD with VOC2012."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.core.console import UserError, quoted, run_script
from utils.importing.pairs import import_pairs
from utils.importing.sbd import import_sbd
from utils.importing.stacks import import_stack
from utils.voc.folder import VocFolder


@dataclass
class Config:
    """Settings of the import. Files in the VOC folder are never overwritten."""

    format: Literal["pairs", "stack", "sbd"] = "pairs"  # folders of files, multi-page TIFF, or .mat files
    images: Path | None = None  # pairs: folder of pictures; stack: the TIFF of the pictures
    masks: Path | None = (
        None  # pairs: folder of masks (None: images/annotations, or images); stack: TIFF of the labels
    )
    sbd: Path | None = None  # sbd: the data set's folder with cls, img, train.txt and val.txt
    voc: Path | None = None  # sbd: a VOC2012 folder to join with it; its own masks win
    voc_root: Path = Path("VOCdevkit/VOC2007")  # VOC folder to fill
    scaling: Path | None = (
        None  # stack of floats to predict on: scaling.json of the training data, taken as it is
    )
    link: bool = False  # hard links to pictures instead of copies (same disk only)


def main(config: Config) -> None:
    folder = VocFolder(config.voc_root)
    match config.format:
        case "pairs":
            lines = import_pairs(folder, given(config, "images"), config.masks, config.link)
        case "stack":
            lines = import_stack(folder, given(config, "images"), config.masks, config.scaling)
        case "sbd":
            lines = import_sbd(folder, given(config, "sbd"), config.voc, config.link)
    print("\n".join(lines))
    with_masks = folder.masks_dir.is_dir()
    print(f"written to {folder.root}: JPEGImages{', SegmentationClass' * with_masks}")
    if with_masks:
        # Neighbouring slices look alike.
        split = "--split contiguous" * (config.format == "stack")
        print(f"next: {folder.doctor(split)}")
    else:
        print(f"next: annotate them: labelme {quoted(folder.images_dir)}")


def given(config: Config, setting: str) -> Path:
    """A path that this format needs. Raises UserError where it is not set."""
    path = getattr(config, setting)
    if path is None:
        found, remedy = f"not set, for --format {config.format}", f"pass --{setting}"
        raise UserError("given", f"--{setting}", found, "what to import from", remedy)
    return path


if __name__ == "__main__":
    run_script(main, Config, __doc__)
