"""Rows of the catalogue: photographs as masks; masks in alpha channels, of other sizes or several pages."""

import cases as c
import numpy as np
from catalogue_row import OK, Row, says
from doctor_folder import MASK
from scripts import save_as

from utils.images.palette import voc_palette
from utils.images.writing import write_mask

RGB, BINARY = voc_palette()[MASK], (MASK > 0).astype(np.uint8)
AREAS = c.draw_areas(0, 1, 2)
PHOTOGRAPH = c.noise("photograph", 24, 24) % 60
PHOTOGRAPHS = [
    Row(
        "photograph as a mask", lambda f: c.draw(f, {"b": PHOTOGRAPH}), says("mask-photograph", "mask-value")
    ),
    Row(
        "photograph as a mask, no names",
        lambda f: c.draw(f, {"b": PHOTOGRAPH}, names=False),
        says("mask-photograph", OK, "mask-value"),
    ),
    Row(
        "photograph among masks in black and white",
        lambda f: c.draw(f, {**c.every(c.draw_areas(0, 255)), "b": c.noise("x", 24, 24)}),
        says("folder-faults", "mask-value"),
    ),
    Row(
        "color photograph as a mask",
        lambda f: c.draw(f, {"b": c.noise("x", 24, 24, 3)}),
        says("mask-photograph", "mask-channels"),
    ),
    Row(
        "JPEG photograph as a mask",
        lambda f: (c.draw(f, {"b": PHOTOGRAPH}), save_as(f.mask_path("b"), c.noise("x", 24, 24), "JPEG")),
        says("mask-photograph", "mask-jpeg"),
    ),
    Row(
        "one JPEG beside class indices",
        lambda f: (c.draw(f, {"b": AREAS}), save_as(f.mask_path("b"), c.draw_areas(0, 255), "JPEG")),
        says("mask-jpeg"),
    ),
]
WHITE_BELOW = np.where(BINARY[..., None] > 0, RGB, 255)
ALPHAS = [
    Row(
        "gray whose alpha is the mask",
        lambda f: c.draw(f, c.every(np.dstack([0 * MASK, BINARY * 255]))),
        says("masks-black-white", "mask-channels"),
        c.every(BINARY),
    ),
    Row(
        "black whose alpha is the mask",
        lambda f: c.draw(f, c.every(np.dstack([0 * RGB, BINARY * 255]))),
        says("masks-black-white", "mask-channels"),
        c.every(BINARY),
    ),
    Row(
        "cut-out photograph whose alpha is the mask",
        lambda f: c.draw(f, c.every(np.dstack([c.noise("x", 24, 24, 3), c.draw_areas(0, 255)]))),
        says("masks-black-white", "mask-channels"),
        c.every(c.draw_areas(0, 1)),
    ),
    Row(
        "colors on transparent white",
        lambda f: c.draw(f, c.every(np.dstack([WHITE_BELOW, BINARY * 255]).astype(np.uint8))),
        says("mask-colors", "mask-channels"),
        c.every(MASK),
        c.write_colors,
    ),
    Row(
        "indices on transparent white",
        lambda f: c.draw(f, c.every(np.dstack([np.where(BINARY, MASK, 255), BINARY * 255]).astype(np.uint8))),
        says("mask-alpha", "mask-channels"),
        c.every(MASK),
    ),
]
CLASS_PAGES = np.stack([AREAS == 1, AREAS == 2]).astype(np.uint8)
MASK_PAGES = [
    Row(
        "mask of two pages",
        lambda f: (c.draw(f, c.every(AREAS)), c.save_mask_pages(f, "b.tif", CLASS_PAGES)),
        says("mask-pages", "mask-missing"),
    ),
    Row(
        "mask of two pages of 16 bits",
        lambda f: (c.draw(f, c.every(AREAS)), c.save_mask_pages(f, "b.tif", CLASS_PAGES.astype(np.uint16))),
        says("mask-pages", "mask-missing"),
    ),
    Row(
        "mask of two frames in a GIF",
        lambda f: (c.draw(f, c.every(AREAS)), c.save_mask_pages(f, "b.gif", CLASS_PAGES)),
        says("mask-pages", "mask-missing"),
    ),
    Row(
        "mask of two pages by the name of a PNG",
        lambda f: (c.draw(f, c.every(AREAS)), c.save_mask_pages(f, "b.png", CLASS_PAGES)),
        says("mask-pages"),
    ),
]
FITS = [
    Row(
        "turned by 180° under the mask",
        c.turn_scenes(3, 2),
        says("mask-turned", "remark", OK),
        c.every(c.SCENE),
    ),
    Row(
        "turned by 90° under a square mask",
        c.turn_scenes(6, 1),
        says("mask-turned", "remark", OK),
        c.every(c.SCENE),
    ),
    Row("turned with its mask", c.turn_scenes(3, 2, raw_masks=False), says(OK, "remark", OK)),
    Row(
        "turned without a sign of the mask",
        c.turn_scenes(3, 2, flat=True),
        says("mask-turn-unknown", "remark", OK),
    ),
    Row(
        "masks of half the size",
        lambda f: [write_mask(f.mask_path(n), AREAS[::2, ::2]) for n in c.draw(f, c.every(AREAS)) or "abcd"],
        says("mask-size"),
        c.every(AREAS[::2, ::2].repeat(2, 0).repeat(2, 1)),
    ),
    Row(
        "masks a row short",
        lambda f: [write_mask(f.mask_path(n), AREAS[:-1]) for n in c.draw(f, c.every(AREAS)) or "abcd"],
        says("mask-size"),
        c.every(AREAS[(np.arange(24) * 23 + 11) // 24]),
    ),
]
