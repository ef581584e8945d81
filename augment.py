"""Write augmented copies of training pictures, with masks and objects, into a new VOC folder."""

import shutil
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from annotated_types import Ge

from utils.core.console import UserError, counted, progress, quoted, run_script
from utils.core.files import replacing
from utils.core.settings import check_settings
from utils.images.arrays import count_channels, is_photo
from utils.images.masks import write_objects
from utils.images.normalisation import Range, stretch, unstretch
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.training.augmentation import Augmentation, augment, draw_crop, parse_augmentation, resample
from utils.voc.folder import VocFolder
from utils.voc.survey import survey_pairs


@dataclass
class Config:
    """Settings of the copies."""

    voc_root: Path = Path("VOCdevkit/VOC2007")  # VOC folder to read
    output: Path = Path("VOCdevkit/augmented")  # VOC folder to write; must not hold pictures yet
    copies: Annotated[int, Ge(1)] = 3  # augmented copies of each training picture, beside the picture itself
    augmentation: str = "default"  # none, light, default, strong; or with parts: default,rotate=180,elastic=0
    seed: Annotated[int, Ge(0)] = 0  # same seed, same copies


def main(config: Config) -> None:
    check_settings(config)
    augmentation = parse_augmentation(config.augmentation)
    source, target = VocFolder(config.voc_root), VocFolder(config.output)
    if target.images_dir.exists() and any(target.images_dir.iterdir()):
        expected, remedy = "a new or empty folder", "choose another --output"
        raise UserError("output-not-empty", target.images_dir, "pictures", expected, remedy)
    train = source.read_split("train")
    others = {split: names for split in ("val", "test") if (names := source.read_split_if_any(split))}
    trained = set(train)
    rest = [name for name in dict.fromkeys(chain(*others.values())) if name not in trained]
    copies = [f"{name}_aug{copy}" for name in train for copy in range(1, config.copies + 1)]
    for name in set(copies) & {*train, *rest}:
        found, remedy = "a name that a copy would get", "rename this picture"
        raise UserError("copy-name-exists", source.image_path(name), found, "another name", remedy)
    source.read_class_names()
    survey = survey_pairs(source, train, rest)
    for record in progress(survey.records, "copying", "picture"):
        files = [source.image_path(record.name), source.mask_path(record.name)]
        if source.read_objects(record.name, record.size) is not None:
            files.append(source.objects_path(record.name))
        copy_files(source.root, target.root, files)
    texts = source.class_names_path, source.root / "scaling.json"
    copy_files(source.root, target.root, [text for text in texts if text.is_file()])
    for index, name in enumerate(progress(train, "augmenting", "picture")):
        seeds = [(config.seed, copy, index) for copy in range(1, config.copies + 1)]
        write_copies(source, target, name, augmentation, seeds, survey.pictures.range_16bit)
    training = [*train, *copies]
    # Last, so that an interrupted run leaves no folder that looks complete.
    splits = {**others, "train": training, "trainval": [*training, *others.get("val", [])]}
    for split, members in splits.items():
        target.write_split(split, members)
    before = counted(len(train), "training picture")
    print(f"{before} became {len(training)} in {target.root}; the other splits are as they were\n")
    print(f"next: python train.py --voc-root {quoted(target.root)}")


def write_copies(
    source: VocFolder, target: VocFolder, name: str, settings: Augmentation, seeds: list, limits: Range | None
) -> None:
    """Copies NAME_aug1, NAME_aug2, … of a picture, its mask and its objects, one per seed.

    limits: the 16-bit range, stretched as in training: brightness changes made for the full range would
    drown pictures of 12 bits.
    """
    image, mask = stretch(read_image(source.image_path(name)), limits), read_mask(source.mask_path(name))
    objects = source.read_objects(name, mask.shape)
    for copy, seed in enumerate(seeds, 1):
        new_name = f"{name}_aug{copy}"
        new_image, new_mask = augment(image, mask, mask.shape, settings, np.random.default_rng(seed))
        ending = ".png" if is_photo(count_channels(image)) else ".tif"
        write_image(target.images_dir / f"{new_name}{ending}", unstretch(new_image, limits))
        write_mask(target.mask_path(new_name), new_mask)
        if objects is not None:
            # The same seed gives the same warp.
            warp, _ = draw_crop(mask, mask.shape, settings, np.random.default_rng(seed))
            warped = resample(objects, *warp, cv2.INTER_NEAREST, None if settings.mirror else IGNORE_INDEX)
            write_objects(target.objects_path(new_name), warped)


def copy_files(source: Path, target: Path, files: list[Path]) -> None:
    """Copy files of the folder `source` to the same places in `target`."""
    for file in files:
        with replacing(target / file.relative_to(source)) as temporary:
            shutil.copyfile(file, temporary)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
