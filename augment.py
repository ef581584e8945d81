"""Write augmented copies of the training pictures of a VOC folder, with their masks and objects, into a new VOC folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from utils.core.console import UserError, counted, progress, quoted, run_script
from utils.core.files import replacing
from utils.images.normalisation import stretch, unstretch
from utils.images.palette import IGNORE_INDEX
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.training.augmentation import augment, draw_map, parse_augmentation, resample
from utils.voc.folder import VocFolder
from utils.voc.survey import survey_pairs


@dataclass
class Config:
    """Settings of the copies."""

    voc_root: Path = Path("VOCdevkit/VOC2007")  # VOC folder to read
    output: Path = Path("VOCdevkit/augmented")  # VOC folder to write; must not hold pictures yet
    copies: int = 3  # augmented copies of each training picture, beside the picture itself
    augmentation: str = "default"  # none, light, default, strong; or with parts: default,rotate=180,elastic=0
    seed: int = 0  # same seed, same copies


def main(config: Config) -> None:
    settings = parse_augmentation(config.augmentation)
    if config.copies < 1:
        raise UserError(
            "main", f"--copies {config.copies}", "no copies", "1 or more", "choose another number"
        )
    source, target = VocFolder(config.voc_root), VocFolder(config.output)
    if target.images_dir.exists() and any(target.images_dir.iterdir()):
        raise UserError(
            "main", target.images_dir, "pictures", "a new or empty folder", "choose another --output"
        )
    others = {split: source.read_split_if_any(split) for split in ("val", "test")}
    splits = {
        "train": source.read_split("train"),
        **{split: names for split, names in others.items() if names},
    }
    names = list(dict.fromkeys(name for members in splits.values() for name in members))
    taken = [f"{name}_aug{copy}" for name in splits["train"] for copy in range(1, config.copies + 1)]
    for name in set(taken) & set(names):
        raise UserError(
            "main",
            source.image_path(name),
            "a name that a copy would take",
            "another name",
            "rename this picture",
        )
    source.read_class_names()
    survey = survey_pairs(
        source, splits["train"], [name for name in names if name not in set(splits["train"])]
    )
    for record in progress(survey.records, "copying", "picture"):
        copy_pair(source, target, record.name, record.size)
    for text in (source.class_names_path, source.root / "scaling.json"):
        if text.is_file():
            copy_file(text, target.root / text.name)
    # As in training: changes of brightness that are made for the full range would drown pictures of 12 bits.
    limits = survey.pictures.range_16bit
    for index, name in enumerate(progress(splits["train"], "augmenting", "picture")):
        image, mask = stretch(read_image(source.image_path(name)), limits), read_mask(source.mask_path(name))
        objects = source.read_objects(name, mask.shape)
        for copy in range(1, config.copies + 1):
            seed, new_name = (config.seed, copy, index), f"{name}_aug{copy}"
            new_image, new_mask = augment(image, mask, mask.shape, settings, np.random.default_rng(seed))
            write_image(target.images_dir / f"{new_name}.png", unstretch(new_image, limits))
            write_mask(target.mask_path(new_name), new_mask)
            if objects is not None:
                # The same seed gives the same warp.
                coordinates = draw_map(mask, mask.shape, settings, np.random.default_rng(seed))
                outside = None if settings.mirror else IGNORE_INDEX
                write_mask(
                    target.objects_path(new_name), resample(objects, *coordinates, cv2.INTER_NEAREST, outside)
                )
    training = [*splits["train"], *taken]
    # Last, so that an interrupted run leaves no folder that looks complete.
    for split, members in {
        **splits,
        "train": training,
        "trainval": [*training, *splits.get("val", [])],
    }.items():
        target.write_split(split, members)
    before = counted(len(splits["train"]), "training picture")
    print(f"{before} became {len(training)} in {target.root}; the other splits are as they were\n")
    print(f"next: python train.py --voc-root {quoted(target.root)}")


def copy_pair(source: VocFolder, target: VocFolder, name: str, size: tuple[int, int]) -> None:
    """The files of the picture, the mask and the objects as they are. Raises UserError for objects of another size."""
    image, mask, objects = source.image_path(name), source.mask_path(name), source.objects_path(name)
    pairs = [(image, target.images_dir / image.name), (mask, target.mask_path(name))]
    if source.read_objects(name, size) is not None:
        pairs.append((objects, target.objects_path(name)))
    for old, new in pairs:
        copy_file(old, new)


def copy_file(old: Path, new: Path) -> None:
    with replacing(new) as temporary:
        shutil.copyfile(old, temporary)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
