"""Data sets as people have them → VOC folders: pictures with masks beside them, and SBD with VOC2012."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

from utils.console import UserError, note, warn
from utils.images import DECODE_ERRORS, read_image, read_mask, read_size
from utils.palette import IGNORE_INDEX
from utils.transfer import Item, check_all, hard_link, raise_together, transfer
from utils.voc import VocFolder, list_images, read_lines, write_lines

# Longer ones first: `_labels` does not end in `_label`, but `_gt` might one day end another.
MASK_SUFFIXES = ("_annotation", "_labels", "_label", "_mask", "_seg", "_gt")

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
