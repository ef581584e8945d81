"""Builders of the catalogue's faulty VOC folders: each spoils pairs a … d of a good one."""

import contextlib
import io
import shutil
from collections.abc import Callable, Sequence
from unittest import mock

import cv2
import numpy as np
import png
from doctor_folder import MASK, check, draw_objects, noise
from picture_files import tiff
from PIL import Image
from scripts import recode, save_as

from utils.core.files import write_lines
from utils.images.palette import voc_palette
from utils.images.writing import write_image, write_mask
from utils.voc.demo import draw_sample
from utils.voc.folder import VocFolder


def replace_picture(folder: VocFolder, ending: str, content: bytes) -> None:
    (folder.images_dir / "b.png").unlink()
    (folder.images_dir / f"b{ending}").write_bytes(content)


def save_tiff(array: np.ndarray, names: str = "abcd", **options: object) -> Callable[[VocFolder], None]:
    """The pictures of `names` as TIFFs of these samples or pages."""

    def spoil(folder: VocFolder) -> None:
        for name in names:
            (folder.images_dir / f"{name}.png").unlink()
            pixels = np.random.default_rng(ord(name)).permutation(array.ravel()).reshape(array.shape)
            (folder.images_dir / f"{name}.tif").write_bytes(tiff(pixels, **options))

    return spoil


def truncate_picture(folder: VocFolder) -> None:
    save_as(folder.images_dir / "b.bmp", noise("b"))
    replace_picture(folder, ".bmp", (folder.images_dir / "b.bmp").read_bytes()[:-5])


def rename_mask(folder: VocFolder, name: str) -> None:
    folder.mask_path("b").unlink()
    save_as(folder.masks_dir / name, MASK)


def rename_picture(name: str, of: str = "b") -> Callable[[VocFolder], object]:
    return lambda folder: folder.image_path(of).rename(folder.images_dir / name)


def rename_mask_file(folder: VocFolder, name: str) -> None:
    folder.mask_path("b").rename(folder.masks_dir / name)


def move_picture_below(folder: VocFolder) -> None:
    (folder.images_dir / "more").mkdir()
    folder.image_path("b").rename(folder.images_dir / "more" / "b.png")


def turn_by_exif(folder: VocFolder) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise("b")).save(folder.images_dir / "b.png", exif=exif)


def draw_jpeg_masks(folder: VocFolder) -> None:
    for name in "abcd":
        write_image(folder.images_dir / f"{name}.png", noise(name, 24, 32))
        save_as(folder.mask_path(name), np.kron(MASK > 0, np.full((8, 8), 255, np.uint8)), "JPEG")


def draw_jpeg_among_black_white(folder: VocFolder) -> None:
    draw(folder, every(draw_areas(0, 255)))
    folder.mask_path("b").unlink()
    save_as(folder.masks_dir / "b.jpg", draw_areas(0, 255), "JPEG")


def draw(folder: VocFolder, masks: dict[str, np.ndarray], names: bool = True) -> None:
    """Other masks, as they are given, and pictures of their sizes."""
    for name, mask in masks.items():
        write_image(folder.images_dir / f"{name}.png", noise(name, *mask.shape[:2]))
        save_as(folder.mask_path(name), mask)
    if not names:
        folder.class_names_path.unlink()


def number_objects(dtype: type, *counts: int) -> dict[str, np.ndarray]:
    """Masks a … d of so many numbered objects."""
    return {name: draw_objects(count).astype(dtype) for name, count in zip("abcd", counts, strict=True)}


def choose_classes(*classes: Sequence[int]) -> dict[str, np.ndarray]:
    """Masks a … d with one square of each of these classes."""
    table = np.zeros((len(classes), 256), np.uint8)
    for row, chosen in zip(table, classes, strict=True):
        row[1 : len(chosen) + 1] = chosen
    return {name: row[draw_objects(sum(row > 0))] for name, row in zip("abcd", table, strict=True)}


def draw_smooth(levels: int = 4, top: int = 255) -> np.ndarray:
    """A disc (24, 24) uint8 of value `top`, whose smooth edges have up to `levels` − 1 values between."""
    y, x = np.mgrid[:24, : 24 * levels]
    inside = np.hypot(y - 11.5, x / levels - 11.5) < 8
    return (inside.reshape(24, 24, levels).mean(2) * top).astype(np.uint8)


def draw_blurred() -> np.ndarray:
    """Discs (96, 96) uint8 of 0 and 254 under a wide Gaussian filter."""
    y, x = np.mgrid[:96, :96]
    discs = [np.hypot(y - row, x - column) < 12 for row in (24, 70) for column in (26, 66)]
    return cv2.GaussianBlur(np.any(discs, 0) * np.uint8(254), (0, 0), 2)


def save_mask_pages(folder: VocFolder, name: str, pages: np.ndarray) -> None:
    """One page or frame for each (H, W) of `pages`; a name .png holds a TIFF nevertheless."""
    folder.mask_path("b").unlink()
    kind, images = "GIF" if name.endswith(".gif") else "TIFF", [Image.fromarray(page) for page in pages]
    images[0].save(folder.masks_dir / name, kind, save_all=True, append_images=images[1:])


def use_without_names(folder: VocFolder, codes: dict[int, int]) -> None:
    folder.class_names_path.unlink()
    recode(folder, codes)


def end_name_in_blank(folder: VocFolder) -> None:
    folder.image_path("b").rename(folder.images_dir / "b .png")
    folder.mask_path("b").rename(folder.masks_dir / "b .png")


def copy_into_val(folder: VocFolder) -> None:
    write_image(folder.images_dir / "d.png", noise("a"))


def copy_as_jpeg(folder: VocFolder) -> None:
    """Pictures a and d are one photograph: the first trains, the second validates."""
    for name, ending in (("a", "png"), ("d", "jpg")):
        folder.image_path(name).unlink()
        save_as(folder.images_dir / f"{name}.{ending}", draw_sample(0, 64)[0])
        write_mask(folder.mask_path(name), draw_sample(0, 64)[1])


def remove_all_masks(folder: VocFolder) -> None:
    for name in "abcd":
        folder.mask_path(name).unlink()


def spoil_in_many_ways(folder: VocFolder) -> None:
    add_stray_mask(folder)
    save_as(folder.mask_path("a"), voc_palette()[MASK])
    write_mask(folder.mask_path("b"), MASK * 3)
    write_image(folder.images_dir / "c.bmp", noise("c"))


def add_stray_mask(folder: VocFolder) -> None:
    write_mask(folder.mask_path("stray"), MASK)


def save_picture(array: np.ndarray) -> Callable[[VocFolder], None]:
    return lambda folder: write_image(folder.image_path("b"), array)


def fill_mask(value: int) -> Callable[[VocFolder], None]:
    return lambda folder: write_mask(folder.mask_path("b"), np.full((3, 4), value, np.uint8))


def save_mask(array: np.ndarray, image_format: str | None = None) -> Callable[[VocFolder], None]:
    return lambda folder: save_as(folder.mask_path("b"), array, image_format)


def write_split(split: str, content: bytes) -> Callable[[VocFolder], object]:
    return lambda folder: (folder.splits_dir / f"{split}.txt").write_bytes(content)


def name_classes(*names: str) -> Callable[[VocFolder], object]:
    return lambda folder: write_lines(folder.class_names_path, names)


NNUNET = '{"labels": {"background": 0, "cell": 1, "nucleus": 2}}'
ROBOFLOW = "Pixel Value, Class\n0, background\n1, cell\n2, nucleus\n"


def name_by(file: str, content: str) -> Callable[[VocFolder], object]:
    """Class names in the file of another program."""

    def build(folder: VocFolder) -> None:
        folder.class_names_path.unlink()
        (folder.root / file).write_text(content, encoding="utf-8")

    return build


def export_from_cvat(folder: VocFolder) -> None:
    lines = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nx:9,8,7::\ny:1,2,3::\n"
    name_by("labelmap.txt", lines)(folder)
    for name in "abcd":
        save_as(folder.mask_path(name), np.array([[0, 0, 0], [9, 8, 7], [1, 2, 3]], np.uint8)[MASK])


def remove_folder(part: str) -> Callable[[VocFolder], object]:
    return lambda folder: shutil.rmtree(folder.root / part)


def write_colors(folder: VocFolder) -> None:
    """What a user writes who is asked for a color table."""
    lines = ["0 0 0 background", "128 0 0 cell", "0 128 0 nucleus"]
    write_lines(folder.root.parent / "colors.txt", lines)


def draw_heat() -> np.ndarray:
    """A peak (64, 64) uint8 that falls off to a wide background of 0, in 251 values."""
    y, x = np.mgrid[:64, :64]
    return np.clip(250 - 12 * np.hypot(y - 30, x - 33), 0, 250).astype(np.uint8)


def draw_areas(*values: int) -> np.ndarray:
    """Rectangles of these values (24, 24) uint8, the first one around the others."""
    mask = np.full((24, 24), values[0], np.uint8)
    for index, value in enumerate(values[1:]):
        mask[2 + 7 * index : 7 + 7 * index, 3:20] = value
    return mask


def every(mask: np.ndarray) -> dict[str, np.ndarray]:
    """The same mask for all pairs a … d."""
    return dict.fromkeys("abcd", mask)


def use_palettes(
    folder: VocFolder, palettes: dict[str, Sequence[int]], ending: str = ".png", names: int = 2
) -> None:
    """Masks of areas 0, 1, … with a palette each. names: the number of classes."""
    for name, palette in palettes.items():
        mask = draw_areas(*range(len(palette) // 3))
        write_image(folder.images_dir / f"{name}.png", noise(name, 24, 24))
        folder.mask_path(name).unlink()
        image = Image.fromarray(mask, "P")
        image.putpalette(palette)
        image.save(folder.masks_dir / f"{name}{ending}")
    name_classes(*["background", "cell", "nucleus"][:names])(folder)


def draw_scene(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A picture (48, 48) with two bright shapes, none of them in the middle, and its mask."""
    y, x = np.mgrid[:48, :48]
    mask = ((np.hypot(y - 12, x - 14) < 8) | ((y > 26) & (y < 34) & (x > 4) & (x < 40))).astype(np.uint8)
    return (60 + 120 * mask + noise(name, 48, 48) // 6).astype(np.uint8), mask


SCENE = draw_scene("a")[1]


def turn_scenes(orientation: int, turns: int, raw_masks: bool = True, flat: bool = False) -> Callable:
    """Scenes that EXIF turns; their masks are drawn on the pixels as they are stored, or upright.

    turns: by 90° from the upright picture to the stored one. flat: the pictures show nothing of the masks.
    """

    def spoil(folder: VocFolder) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        for name in "abcd":
            picture, mask = draw_scene(name)
            picture = noise(name, 48, 48) if flat else picture
            Image.fromarray(np.rot90(picture, turns)).save(folder.images_dir / f"{name}.png", exif=exif)
            write_mask(folder.mask_path(name), np.rot90(mask, turns) if raw_masks else mask)

    return spoil


def add_pair(folder: VocFolder, mask: np.ndarray, **settings: object) -> None:
    """The README's own way: import, give the masks their classes, and then another pair e, as drawn."""
    run_doctor(folder, **settings)
    write_image(folder.images_dir / "e.png", noise("e", *mask.shape))
    save_as(folder.mask_path("e"), mask)


def run_doctor(folder: VocFolder, **settings: object) -> None:
    drawing = mock.patch.multiple("voc2unet", draw_statistics=mock.DEFAULT, draw_contact_sheet=mock.DEFAULT)
    with drawing, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        check(folder, **settings)


def pack_bits(folder: VocFolder, bits: int) -> None:
    """Masks as gray PNGs of 2 or 4 bits, whose values are the class indices."""
    for name in "abcd":
        with folder.mask_path(name).open("wb") as file:
            png.Writer(4, 3, greyscale=True, bitdepth=bits).write(file, MASK.tolist())
