"""Rows of the catalogue: masks whose values, palette, alpha channel or size is not what training needs."""

import cases as c
import numpy as np
from catalogue_row import OK, Row, masks, says
from doctor_folder import MASK
from scripts import recode

from utils.images.palette import voc_palette

RGB, BINARY = voc_palette()[MASK], (MASK > 0).astype(np.uint8)
AREAS, SMOOTH = c.draw_areas(0, 1, 2), c.draw_smooth()
BLACK_FIRST, WHITE_FIRST, GREEN = (0, 0, 0, 255, 255, 255), (255, 255, 255, 0, 0, 0), (0, 128, 0)
BLACK_RED, BLACK_GREEN = (0, 0, 0, 128, 0, 0), (0, 0, 0, 0, 128, 0)
OBJECTS = c.number_objects(np.uint16, 5, 9, 7, 12)
SIX = c.number_objects(np.uint16, 6, 6, 6, 6)
MANY = c.number_objects(np.uint16, 300, 280, 320, 12)
NUMBERS = [
    Row(
        "object numbers",
        lambda f: c.draw(f, c.number_objects(np.uint8, 5, 9, 7, 12), names=False),
        says("mask-objects", "remark", "mask-value"),
        {name: mask > 0 for name, mask in OBJECTS.items()},
    ),
    Row(
        "object numbers of 16 bits",
        lambda f: c.draw(f, OBJECTS, names=False),
        says("mask-objects", "mask-channels"),
        {name: mask > 0 for name, mask in OBJECTS.items()},
    ),
    Row(
        "more objects than 8 bits count",
        lambda f: c.draw(f, MANY, names=False),
        says("mask-objects", "mask-channels"),
        {name: mask > 0 for name, mask in MANY.items()},
    ),
    Row(
        "object numbers beside two class names",
        lambda f: (c.draw(f, OBJECTS), c.name_classes("background", "cell")(f)),
        says("mask-objects", "mask-channels"),
        {name: mask > 0 for name, mask in OBJECTS.items()},
    ),
    Row(
        "object numbers in tiles of a large mask",
        lambda f: c.draw(
            f, {n: (m + 13 * i) * (m > 0) for i, (n, m) in enumerate(OBJECTS.items())}, names=False
        ),
        says("mask-objects", "mask-channels"),
        {name: mask > 0 for name, mask in OBJECTS.items()},
    ),
    Row(
        "few objects, which may be classes",
        lambda f: c.draw(f, c.number_objects(np.uint8, 1, 3, 2, 3), names=False),
        says("masks-perhaps-objects", OK, "mask-value"),
    ),
    Row(
        "many classes, few in each picture",
        lambda f: c.draw(f, c.choose_classes((3, 7, 9, 12), (1, 5), (2, 7, 8), (4, 6, 10, 11)), names=False),
        says(OK, "remark", "mask-value"),
    ),
    Row(
        "classes of one part each in all pictures",
        lambda f: c.draw(f, c.number_objects(np.uint8, 6, 6, 6, 6), names=False),
        says("masks-perhaps-objects", OK, "mask-value"),
    ),
    Row(
        "named classes of one part each in all pictures",
        lambda f: (
            c.draw(f, c.number_objects(np.uint8, 6, 6, 6, 6)),
            c.name_classes("background", *"uvwxyz")(f),
        ),
        says(OK, OK, "class-names-differ"),
    ),
    Row(
        "as many objects in every picture, numbered on",
        lambda f: c.draw(
            f, {n: (m + 300 * (i % 2)) * (m > 0) for i, (n, m) in enumerate(SIX.items())}, names=False
        ),
        says("mask-objects", "mask-channels"),
        {name: mask > 0 for name, mask in SIX.items()},
    ),
    Row(
        "a pair added after --instances",
        lambda f: (
            c.draw(f, c.number_objects(np.uint8, 5, 9, 7, 12), names=False),
            c.add_pair(f, c.draw_objects(8).astype(np.uint8), instances=True),
        ),
        says("mask-not-mapped", OK, OK),
        {name: mask > 0 for name, mask in {**OBJECTS, "e": c.draw_objects(8)}.items()},
        unchanged=("voc/JPEGImages", "voc/SegmentationObject/a.png"),
    ),
]
PALETTES = [
    Row(
        "palettes with black first",
        lambda f: c.use_palettes(f, dict.fromkeys("abcd", BLACK_FIRST)),
        says(OK, OK, "class-names-differ"),
    ),
    Row(
        "palettes with white first",
        lambda f: c.use_palettes(f, dict.fromkeys("abcd", WHITE_FIRST)),
        says("palette-order", OK, "class-names-differ"),
        c.every(1 - c.draw_areas(0, 1)),
    ),
    Row(
        "one palette with white first",
        lambda f: c.use_palettes(f, {**dict.fromkeys("acd", BLACK_FIRST), "b": WHITE_FIRST}),
        says("palettes-differ", OK, "class-names-differ"),
        masks(1 - c.draw_areas(0, 1), c.draw_areas(0, 1)),
    ),
    Row(
        "GIF with white first",
        lambda f: c.use_palettes(f, dict.fromkeys("abcd", WHITE_FIRST), ".gif"),
        says("palette-order", "mask-missing"),
        c.every(1 - c.draw_areas(0, 1)),
    ),
    Row(
        "GIF all white",
        lambda f: c.use_palettes(f, {**dict.fromkeys("acd", BLACK_FIRST), "b": [255] * 3}, ".gif"),
        says("palettes-differ", "mask-missing"),
        masks(np.ones((24, 24)), c.draw_areas(0, 1)),
    ),
    Row(
        "white palette beside a drawing in 0 and 255",
        lambda f: (
            c.use_palettes(f, dict.fromkeys("abcd", BLACK_FIRST)),
            c.draw(f, {"b": c.draw_areas(0, 255)}),
        ),
        says("palettes-differ", "masks-mixed", "class-names-differ"),
        c.every(c.draw_areas(0, 1)),
    ),
    Row(
        "palettes of other colors",
        lambda f: c.use_palettes(f, {**dict.fromkeys("acd", BLACK_RED), "b": BLACK_GREEN}, names=3),
        says("palettes-differ", "remark", OK),
        masks(2 * c.draw_areas(0, 1), c.draw_areas(0, 1)),
        c.write_colors,
    ),
    Row(
        "palettes of VOC's colors in another order",
        lambda f: (
            c.use_palettes(f, dict.fromkeys("abcd", (*GREEN, *BLACK_RED))),
            f.class_names_path.unlink(),
        ),
        says("palette-order", OK),
        c.every(np.array([2, 0, 1])[AREAS]),
        unchanged=("voc/JPEGImages",),
    ),
]
LEVELS = [
    Row(
        "smooth edges of 5 levels",
        lambda f: c.draw(f, c.every(SMOOTH), names=False),
        says("mask-smooth-edges", "remark", "mask-value"),
        c.every(SMOOTH > 127),
    ),
    Row(
        "smooth edges of many levels",
        lambda f: c.draw(f, c.every(c.draw_smooth(16)), names=False),
        says("mask-smooth-edges", "remark", "mask-value"),
        c.every(c.draw_smooth(16) > 127),
    ),
    Row(
        "smooth edges whose white is 254",
        lambda f: c.draw(f, c.every(c.draw_smooth(16, 254))),
        says("mask-smooth-edges", "mask-value"),
        c.every(c.draw_smooth(16, 254) > 127),
    ),
    Row(
        "wide smooth edges whose white is 254",
        lambda f: c.draw(f, c.every(c.draw_blurred())),
        says("mask-smooth-edges", "mask-value"),
        c.every(c.draw_blurred() > 127),
    ),
    Row(
        "mostly white",
        lambda f: c.draw(f, c.every(c.draw_areas(255, 0)), names=False),
        says("masks-black-white", "masks-black-white", "masks-black-white"),
        c.every(c.draw_areas(0, 1)),
    ),
    Row(
        "mostly white with smooth edges",
        lambda f: c.draw(f, c.every(255 - SMOOTH)),
        says("mask-smooth-edges", "mask-value"),
        c.every(255 - SMOOTH <= 127),
    ),
    Row(
        "smooth edges beside class names",
        lambda f: (c.draw(f, c.every(SMOOTH)), c.name_classes("background", "cell")(f)),
        says("mask-smooth-edges", "mask-value", "class-names-differ"),
        c.every(SMOOTH > 127),
    ),
    Row(
        "smooth edges of three areas",
        lambda f: c.draw(f, c.every(np.maximum(SMOOTH, np.roll(SMOOTH, 6) // 2)), names=False),
        says("mask-gray-levels", "remark", "mask-value"),
    ),
    Row(
        "heat map",
        lambda f: c.draw(f, c.every(c.draw_heat()), names=False),
        says("mask-gray-levels", "remark", "mask-value"),
    ),
    Row(
        "one thin value between two areas",
        lambda f: c.draw(f, c.every(np.where((SMOOTH > 0) & (SMOOTH < 255), 128, SMOOTH)), names=False),
        says("mask-smooth-edges", "remark", "mask-value"),
    ),
    Row(
        "three gray levels",
        lambda f: c.draw(f, c.every(c.draw_areas(0, 128, 255)), names=False),
        says("mask-gaps", "remark", "mask-value"),
        c.every(AREAS),
    ),
    Row(
        "three gray levels and three class names",
        lambda f: c.draw(f, c.every(c.draw_areas(0, 128, 255))),
        says("mask-gaps", "mask-value"),
        c.every(AREAS),
    ),
    Row(
        "three gray levels and two class names",
        lambda f: (c.draw(f, c.every(c.draw_areas(0, 128, 255))), c.name_classes("background", "cell")(f)),
        says("mask-value", "mask-value", "class-names-differ"),
    ),
    Row(
        "gaps beside 255, which may mean ignored",
        lambda f: c.draw(f, c.every(c.draw_areas(0, 2, 255)), names=False),
        says("mask-gaps", "remark", OK),
    ),
    Row(
        "thin lines of two classes",
        lambda f: c.draw(
            f,
            c.every(
                np.where(np.arange(24) % 6 == 2, 100 * (1 + np.arange(24) // 12), 0)[None]
                .repeat(24, 0)
                .astype(np.uint8)
            ),
            names=False,
        ),
        says("mask-gaps", "remark", "mask-value"),
        c.every(np.where(np.arange(24) % 6 == 2, 1 + np.arange(24) // 12, 0)[None].repeat(24, 0)),
    ),
    Row(
        "values from 1",
        lambda f: c.draw(f, c.every(AREAS + 1), names=False),
        says("mask-gaps", "remark", "mask-value"),
        c.every(AREAS),
    ),
    Row(
        "one value alone",
        lambda f: c.draw(f, c.every(np.full((24, 24), 7, np.uint8)), names=False),
        says("mask-one-value", "remark", "mask-value"),
    ),
    Row(
        "background in all masks",
        lambda f: c.draw(f, c.every(np.zeros((24, 24), np.uint8))),
        says("mask-no-class", "remark", OK),
    ),
    Row("gray of 2 bits", lambda f: c.pack_bits(f, 2), says(OK)),
    Row("gray of 4 bits", lambda f: c.pack_bits(f, 4), says(OK)),
    Row(
        "black and white of 16 bits",
        lambda f: c.draw(f, c.every(c.draw_areas(0, 1).astype(np.uint16) * 65535)),
        says("masks-black-white", "mask-channels"),
        c.every(c.draw_areas(0, 1)),
    ),
    Row(
        "three values of 16 bits",
        lambda f: c.draw(f, c.every(AREAS.astype(np.uint16) * 1000), names=False),
        says("mask-gaps", "mask-channels"),
        c.every(AREAS),
    ),
    Row(
        "a mask in 0 and 255, two classes",
        lambda f: (
            recode(f, {2: 1}),
            c.name_classes("background", "cell")(f),
            c.save_mask(BINARY * np.uint8(255))(f),
        ),
        says("masks-mixed", "masks-mixed", "class-names-differ"),
        masks(BINARY, BINARY),
    ),
    Row(
        "a pair added after --map",
        lambda f: (recode(f, {1: 255, 2: 255}), c.add_pair(f, BINARY * np.uint8(255), map="0:0,255:1")),
        says("mask-not-mapped", "remark", OK),
        {**c.every(BINARY), "e": BINARY},
    ),
    Row(
        "a pair with void beside --map 255:255",
        lambda f: c.add_pair(f, BINARY * np.uint8(255), map="255:255"),
        says("mask-0-255", OK, OK),
    ),
]
