"""Bad input as people have it: the whole message of each fault, word by word."""

import base64
import re

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scripts import recode, save_as

import voc2unet
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.images.palette import voc_palette
from utils.images.writing import write_image, write_mask
from utils.importing.sbd import read_mat
from utils.importing.stacks import import_stack
from utils.labelme.reading import read_annotation
from utils.training.data import load_data
from utils.voc.folder import VocFolder

MASK = np.array([[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 2, 2]], np.uint8)
INDEX_MASK = "expected: an 8-bit PNG with one channel or a palette, whose pixel values are the class indices"
PICTURE = """expected: a picture: jpg jpeg png tif tiff bmp webp gif ppm pgm
  to do:    open it in an image viewer; export it again as PNG"""
RGB = f"""ROOT/SegmentationClass/b.png
  found:    a mask of RGB colours: 0 0 0 (50.00%), 128 0 0 (33.33%), 0 128 0 (16.67%)
  {INDEX_MASK}
  to do:    DOCTOR --colors colours.txt   after writing colours.txt, a line R G B NAME, in the order of class_names.txt, \
for each of the colours 0 0 0 (50.00%), 128 0 0 (33.33%), 0 128 0 (16.67%)"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pairs a … d of 3×4 pixels, in three classes by name."""
    for name in ("draw_statistics", "draw_contact_sheet"):
        monkeypatch.setattr(voc2unet, name, lambda *_: None)
    folder = VocFolder(tmp_path)
    for name in "abcd":
        write_image(folder.images_dir / f"{name}.png", noise(name))
        write_mask(folder.mask_path(name), MASK)
    write_lines(folder.class_names_path, ["background", "cell", "nucleus"])
    return folder


def noise(name, shape=(3, 4)):
    return np.random.default_rng(ord(name)).integers(0, 256, shape, np.uint8)


def mask_without_a_picture(folder):
    write_mask(folder.mask_path("stray"), MASK)


def name_that_nearly_fits(folder):
    folder.mask_path("b").unlink()
    save_as(folder.masks_dir / "b_GT.bmp", MASK)


def other_size(folder):
    write_mask(folder.mask_path("b"), MASK.T)


def turned_by_exif(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise("b")).save(folder.images_dir / "b.png", exif=exif)


def rgb(folder):
    save_as(folder.mask_path("b"), voc_palette()[MASK])


def rgba(folder):
    save_as(folder.mask_path("b"), np.dstack([voc_palette()[MASK], np.full((3, 4), 255, np.uint8)]))


def jpeg(folder):
    write_image(folder.images_dir / "b.png", noise("b", (24, 32)))
    save_as(folder.mask_path("b"), np.kron(MASK > 0, np.full((8, 8), 255, np.uint8)), "JPEG")


def black_and_white(folder):
    recode(folder, {1: 255, 2: 255})


def codes_with_gaps(folder):
    folder.class_names_path.unlink()
    recode(folder, {1: 38, 2: 75})


def sixteen_bits(folder):
    save_as(folder.mask_path("b"), MASK.astype(np.uint16))


def three_hundred_labels(folder):
    write_image(folder.images_dir / "b.png", noise("b", (15, 20)))
    save_as(folder.mask_path("b"), np.arange(300, dtype=np.uint16).reshape(15, 20))


def value_beyond_the_classes(folder):
    write_mask(folder.mask_path("b"), MASK * 2)


def truncated_picture(folder):
    write_image(folder.images_dir / "b.bmp", noise("b"))
    data = (folder.images_dir / "b.bmp").read_bytes()
    (folder.images_dir / "b.bmp").write_bytes(data[:-5])
    (folder.images_dir / "b.png").unlink()


def truncated_mask(folder):
    data = folder.mask_path("b").read_bytes()
    folder.mask_path("b").write_bytes(data[: len(data) // 2])


def empty_mask(folder):
    folder.mask_path("b").write_bytes(b"")


def no_picture(folder):
    (folder.images_dir / "b.png").write_bytes(b"a picture, they said")


def tiff_with_a_broken_directory(folder):
    (folder.images_dir / "b.png").unlink()
    (folder.images_dir / "b.tif").write_bytes(b"II*\0\xff\xff\0\0")


def two_pictures_that_differ_in_extension_only(folder):
    write_image(folder.images_dir / "b.BMP", noise("b"))


FAULTS = {
    mask_without_a_picture: """ROOT/SegmentationClass/stray.png
  found:    no picture of the same name in JPEGImages
  expected: a picture stray.jpg or .png, …
  to do:    rename or remove it""",
    name_that_nearly_fits: """ROOT/SegmentationClass/b_GT.bmp
  found:    no picture of the same name in JPEGImages (did you mean b?)
  expected: a picture b_GT.jpg or .png, …
  to do:    DOCTOR --fix   (takes it for the mask of b)""",
    other_size: """ROOT/SegmentationClass/b.png
  found:    a mask of 4×3 (height×width)
  expected: the size of its picture b.png: 3×4
  to do:    export the mask in the picture's size; class indices must not be interpolated""",
    turned_by_exif: """ROOT/SegmentationClass/b.png
  found:    a mask of 3×4 (height×width): the picture before its EXIF orientation turns it upright
  expected: the size of its picture b.png: 4×3
  to do:    DOCTOR --fix""",
    rgb: RGB,
    rgba: RGB,
    jpeg: f"""ROOT/SegmentationClass/b.png
  found:    a JPEG (COUNT different gray values: its compression smears class indices)
  {INDEX_MASK}
  to do:    export it as PNG from the program that drew it; where that is lost, take the nearest value or colour: \
DOCTOR --map 0:0,255:1 --nearest 60""",
    black_and_white: """ROOT/SegmentationClass
  found:    only the values 0 (24 pixels) and 255 (24 pixels): masks drawn in black and white. 255 means 'ignore', so \
the network would learn nothing but class 0
  expected: class indices 0, 1, … (255 only where the truth is unknown)
  to do:    DOCTOR --map 0:0,255:1   (white becomes class 1; for black as class 1: --map 0:1,255:0)""",
    codes_with_gaps: """ROOT/SegmentationClass
  found:    the values 0, 38, 75 and no class_names.txt
  expected: class indices 0, 1, 2, … without gaps, or a class_names.txt that names every index
  to do:    DOCTOR --map 0:0,38:1,75:2   (or write class_names.txt)""",
    sixteen_bits: f"""ROOT/SegmentationClass/b.png
  found:    16-bit values: 3 different ones, up to 2
  {INDEX_MASK}
  to do:    DOCTOR --fix""",
    three_hundred_labels: f"""ROOT/SegmentationClass/b.png
  found:    16-bit values: 300 different ones, up to 299
  {INDEX_MASK}
  to do:    say which value is which class (OLD:NEW; * for all others): DOCTOR --map "0:0,*:1"   (numbers of objects, as \
from ImageJ or Cellpose, become one class in this way)""",
    value_beyond_the_classes: """ROOT/SegmentationClass/b.png
  found:    value 4 (2 pixels) in the mask
  expected: values 0 … 2 for the 3 classes (background, cell, nucleus), or 255
  to do:    complete ROOT/class_names.txt, or mend the masks: DOCTOR --map OLD:NEW,…""",
    truncated_picture: """ROOT/JPEGImages/b.bmp
  found:    a damaged or truncated picture (image file is truncated (3 bytes not processed))
  expected: a picture that opens in an image viewer
  to do:    copy or export the file again""",
    truncated_mask: f"""ROOT/SegmentationClass/b.png
  found:    a damaged or truncated mask (Truncated File Read)
  {INDEX_MASK}
  to do:    copy or export it again""",
    empty_mask: """ROOT/SegmentationClass/b.png
  found:    an empty file (zero bytes)
  expected: a mask
  to do:    copy or export the file again""",
    no_picture: f"""ROOT/JPEGImages/b.png
  found:    20 bytes that are no picture (they begin with b'a pictur')
  {PICTURE}""",
    tiff_with_a_broken_directory: rf"""ROOT/JPEGImages/b.tif
  found:    8 bytes that are no picture (they begin with b'II*\x00\xff\xff\x00\x00')
  {PICTURE}""",
    two_pictures_that_differ_in_extension_only: """ROOT/JPEGImages/b.png
  found:    two pictures of one name: b.BMP and b.png
  expected: one picture a name, because a mask belongs to a name
  to do:    rename or remove one of them""",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_fault_of_a_folder(folder, spoil):
    spoil(folder)
    with pytest.raises(UserError) as caught:
        voc2unet.main(voc2unet.Config(voc_root=folder.root))
    expected = FAULTS[spoil].replace("DOCTOR", "python voc2unet.py --voc-root ROOT")
    if "COUNT" in expected:
        expected = expected.replace("COUNT", str(len(np.unique(Image.open(folder.mask_path("b"))))))
    assert str(caught.value) == re.sub(r"ROOT\S*", lambda path: str(folder.root / path[0][5:]), expected)


def picture_without_a_mask(folder):
    folder.mask_path("b").unlink()


def one_class(folder):
    write_mask(folder.mask_path("b"), np.full((3, 4), 2, np.uint8))


def background_only(folder):
    write_mask(folder.mask_path("b"), np.zeros((3, 4), np.uint8))


def copy_in_train_and_val(folder):
    write_image(folder.images_dir / "b.png", noise("a"))
    folder.write_split("train", ["a", "c"])
    folder.write_split("val", ["b", "d"])


def gray_and_colour(folder):
    write_image(folder.images_dir / "b.png", noise("b", (3, 4, 3)))


def two_bit_depths(folder):
    write_image(folder.images_dir / "b.png", noise("b").astype(np.uint16) * 257)


ONE_KIND = "such as b.png; train on one kind, unless prediction will meet both"
WARNINGS = {
    picture_without_a_mask: ["1 picture without a mask is left out, such as b.png"],
    one_class: ["1 mask is all one class, such as b.png"],
    background_only: ["1 mask holds background only, such as b.png"],
    copy_in_train_and_val: [
        "1 picture is the same as another, such as b.png (the same pixels as a.png); remove one of each",
        "1 picture in train and in val, such as a and b: the scores will be too good; --overwrite draws the split anew and "
        "keeps copies together",
    ],
    gray_and_colour: [f"1 picture is in colour, beside 3 that are gray, {ONE_KIND}"],
    two_bit_depths: [f"1 picture is of 16 bits, beside 3 that are of 8 bits, {ONE_KIND}"],
}


@pytest.mark.parametrize("spoil", WARNINGS, ids=lambda spoil: spoil.__name__)
def test_warning_of_a_folder(folder, spoil, capsys):
    spoil(folder)
    voc2unet.main(voc2unet.Config(voc_root=folder.root))
    assert capsys.readouterr().err == "".join(f"warning: {line}\n" for line in WARNINGS[spoil])


def test_names_of_all_kinds_are_no_fault(folder, capsys):
    names = {"a b": ".PNG", "c.d": ".Tif", "细胞 1.v2": ".BMP", "e": ".JPG"}
    for index, (name, ending) in enumerate(names.items()):
        save_as(folder.images_dir / f"{name}{ending}", noise(chr(index)))
        write_mask(folder.mask_path(name), MASK)
    voc2unet.main(voc2unet.Config(voc_root=folder.root))
    assert capsys.readouterr().err == ""
    data = load_data(VocFolder(folder.root))
    assert {*data.train, *data.val} == {*"abcd", *names}


def test_mat_without_the_field(tmp_path):
    savemat(tmp_path / "a.mat", {"GTinst": {"Segmentation": MASK}})
    with pytest.raises(UserError) as caught:
        read_mat(tmp_path / "a.mat")
    assert (
        str(caught.value)
        == f"""{tmp_path / "a.mat"}
  found:    the fields GTinst
  expected: a .mat file of SBD's folder cls, with the field GTcls.Segmentation
  to do:    pass SBD's own folder as --sbd (the folder inst has other fields)"""
    )


def test_stack_with_a_broken_directory(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0\xff\xff\0\0")
    with pytest.raises(UserError) as caught:
        import_stack(VocFolder(tmp_path / "voc"), tmp_path / "a.tif", None)
    assert (
        str(caught.value)
        == f"""{tmp_path / "a.tif"}
  found:    a TIFF that cannot be read (its directory is broken after page 0)
  expected: a TIFF that opens in ImageJ with all its pages
  to do:    copy or export it again, uncompressed"""
    )


LABELME = "expected: a JSON file as labelme writes it, in UTF-8 or GB18030"


@pytest.mark.parametrize(
    ("start", "filling", "end", "message"),
    [
        (b'{"annotations": [', b"12345678, ", b"0]}", f"""
  found:    JSON without a list of shapes
  {LABELME}
  to do:    move files of another kind elsewhere"""),
        (b'{"shapes": [], "imageData": "', base64.b64encode(b"123456789"), b"", f"""
  found:    malformed JSON (Unterminated string starting at: line 1 column 29 (char 28))
  {LABELME}
  to do:    take the file from a backup, or annotate the picture again"""),
        (b'{"shapes": [], "imageData": "', base64.b64encode(b"123456789"), b'"}', f""", imageData
  found:    BYTES bytes that are no picture (they begin with b'12345678')
  {PICTURE}"""),
    ],
    ids=["another kind", "cut off", "no picture"],
)  # fmt: skip
def test_json_of_200_mb(tmp_path, start, filling, end, message):
    path, times = tmp_path / "a.json", 200_000_000 // len(filling)
    path.write_bytes(start + filling * times + end)
    with pytest.raises(UserError) as caught:
        read_annotation(path)
    path.unlink()
    assert str(caught.value) == f"{path}{message.replace('BYTES', str(9 * times))}"
