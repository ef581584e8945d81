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
    format: Literal["pairs", "stack", "sbd"] = "pairs"  # folders of files, multi-page TIFF, or .mat files
    images: Path | None = None  # pairs: folder of pictures; stack: the TIFF of the pictures
    masks: Path | None = None  # pairs: folder (None: images/annotations or images); stack: label TIFF
    sbd: Path | None = None  # sbd: the data set's folder with cls, img, train.txt and val.txt
    voc: Path | None = None  # sbd: a VOC2012 folder to join with it; its own masks win
    voc_root: Path = Path("VOCdevkit/VOC2007")  # VOC folder to fill; existing files are never overwritten
    scaling: Path | None = None  # stack of floats to predict on: scaling.json of the training data
    link: bool = False  # hard links to pictures instead of copies (same disk only)


def main(config: Config) -> None:
    folder = VocFolder(config.voc_root)
    match config.format:
        case "pairs":
            lines = import_pairs(folder, require(config, "images"), config.masks, config.link)
        case "stack":
            lines = import_stack(folder, require(config, "images"), config.masks, config.scaling)
        case "sbd":
            lines = import_sbd(folder, require(config, "sbd"), config.voc, config.link)
    print("\n".join(lines))
    with_masks = folder.masks_dir.is_dir()
    print(f"written to {folder.root}: JPEGImages{', SegmentationClass' * with_masks}")
    # Neighbouring slices look alike.
    doctor = folder.doctor("--split contiguous" * (config.format == "stack"))
    print(f"next: {doctor if with_masks else f'annotate them: labelme {quoted(folder.images_dir)}'}")


def require(config: Config, setting: str) -> Path:
    """A path that the format needs. Raises UserError where it is not set."""
    path = getattr(config, setting)
    if path is None:
        flag, expected = f"--{setting}", f"the path that --format {config.format} imports from"
        raise UserError("flag-missing", flag, "not set", expected, f"pass {flag}")
    return path


if __name__ == "__main__":
    run_script(main, Config, __doc__)
