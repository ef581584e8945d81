"""Write a VOC folder, or masks predicted for its pictures, in formats of other programs: COCO and YOLO."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.core.console import run_script
from utils.core.locks import locked
from utils.exporting.coco import export_coco
from utils.exporting.source import open_source
from utils.exporting.yolo import export_yolo
from utils.voc.folder import VocFolder


@dataclass
class Config:
    voc_root: Path = Path("VOCdevkit/VOC2007")  # VOC folder, with pictures and class names
    format: Literal["coco", "yolo"] = "coco"  # coco: JSON with exact masks; yolo: a polygon per object
    images: Path | None = None  # folder of other pictures, to which --masks belong; None: JPEGImages
    masks: Path | None = None  # folder of masks that predict.py or get_miou.py wrote; None: SegmentationClass
    output: Path = Path("exported")  # folder to write to; nothing in it is written over


def main(config: Config) -> None:
    folder = VocFolder(config.voc_root)
    folder.images_dir = config.images or folder.images_dir
    source = open_source(folder, config.masks)
    source.check()
    export = export_coco if config.format == "coco" else export_yolo
    with locked(config.output):
        lines = export(source, config.output)
    print("\n".join(lines))


if __name__ == "__main__":
    run_script(main, Config, __doc__)
