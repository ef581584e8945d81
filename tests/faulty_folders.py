"""The catalogue of faulty VOC folders: each function spoils one and returns the path the error must name."""

import numpy as np
from scripts import cut_off, recode, save_as

from utils.core.files import write_lines
from utils.images.reading import read_mask
from utils.images.writing import write_mask


def no_folder(folder):
    folder.root.rename(folder.root.with_name("elsewhere"))
    return folder.root


def no_split(folder):
    (folder.splits_dir / "train.txt").unlink()
    return folder.splits_dir / "train.txt"


def empty_split(folder):
    (folder.splits_dir / "val.txt").write_text("\n \n", encoding="utf-8")
    return folder.splits_dir / "val.txt"


def name_without_picture(folder):
    folder.write_split("train", ["cells_0", "cells_77"])
    return folder.images_dir / "cells_77"


def two_pictures_of_a_name(folder):
    save_as(folder.images_dir / "cells_1.bmp", np.zeros((48, 48), np.uint8))
    return folder.images_dir / "cells_1.png"


def truncated_picture(folder):
    cut_off(folder.image_path("cells_1"))
    return folder.image_path("cells_1")


def truncated_validation_picture(folder):
    cut_off(folder.image_path("cells_2"))
    return folder.image_path("cells_2")


def empty_picture(folder):
    folder.image_path("cells_0").write_bytes(b"")
    return folder.image_path("cells_0")


def words_for_a_picture(folder):
    folder.image_path("cells_0").write_text("a picture, they said", encoding="utf-8")
    return folder.image_path("cells_0")


def no_mask(folder):
    folder.mask_path("cells_1").unlink()
    return folder.mask_path("cells_1")


def truncated_mask(folder):
    cut_off(folder.mask_path("cells_2"))
    return folder.mask_path("cells_2")


def mask_of_another_size(folder):
    write_mask(folder.mask_path("cells_1"), np.zeros((48, 47), np.uint8))
    return folder.mask_path("cells_1")


def colour_mask(folder):
    save_as(folder.mask_path("cells_1"), np.zeros((48, 48, 3), np.uint8))
    return folder.mask_path("cells_1")


def jpeg_mask(folder):
    save_as(folder.mask_path("cells_1"), read_mask(folder.mask_path("cells_1")) * 127, "JPEG")
    return folder.mask_path("cells_1")


def mask_of_16_bits(folder):
    save_as(folder.mask_path("cells_1"), np.zeros((48, 48), np.uint16))
    return folder.mask_path("cells_1")


def value_beyond_the_classes(folder):
    mask = read_mask(folder.mask_path("cells_2"))
    mask[0, :5] = 7
    write_mask(folder.mask_path("cells_2"), mask)
    return folder.mask_path("cells_2")


def too_few_class_names(folder):
    write_lines(folder.class_names_path, ["background", "cell"])
    return folder.mask_path("cells_0")


def one_class_name(folder):
    write_lines(folder.class_names_path, ["cell"])
    return folder.class_names_path


def class_names_in_another_code(folder):
    folder.class_names_path.write_bytes("fond\nnaïve\nnoyau\n".encode("latin-1"))
    return folder.class_names_path


def black_and_white(folder):
    recode(folder, {1: 255, 2: 255})
    return folder.masks_dir


FAULTS = [
    no_folder,
    no_split,
    empty_split,
    name_without_picture,
    two_pictures_of_a_name,
    truncated_picture,
    truncated_validation_picture,
    empty_picture,
    words_for_a_picture,
    no_mask,
    truncated_mask,
    mask_of_another_size,
    colour_mask,
    jpeg_mask,
    mask_of_16_bits,
    value_beyond_the_classes,
    too_few_class_names,
    one_class_name,
    class_names_in_another_code,
    black_and_white,
]
