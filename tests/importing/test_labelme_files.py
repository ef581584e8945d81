"""json_to_dataset.py: what arrives in the VOC folder, from every kind of labelme file and in both layouts."""

import json
import pkgutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from labelme_content import HEIGHT, WIDTH, box, labelme_content, picture_bytes, shape_entry, write_json
from scripts import ROOT, run

from json_to_dataset import Config, main
from utils.images.reading import read_image, read_mask
from utils.importing.labelme_record import RECORD_NAME
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL
from utils.labelme.reading import read_annotation
from utils.voc.folder import VocFolder

SAMPLES = ROOT / "datasets" / "before"


def convert(tmp_path, **settings) -> VocFolder:
    """tmp_path/in → tmp_path/voc."""
    main(Config(**{"input": tmp_path / "in", "voc_root": tmp_path / "voc", **settings}))
    return VocFolder(tmp_path / "voc")


def files_and_times(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files
    }


def warnings_of(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]


def test_line_breaks_and_controls_in_a_label_are_spaces(tmp_path):
    label = "red\r\nblood\u2028\x1b\ud800cell\n"
    path = write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry("cell")))
    path.write_text(path.read_text("utf-8").replace('"cell"', json.dumps(label)), encoding="utf-8")
    assert convert(tmp_path).read_class_names() == ["_background_", "red blood cell"]


@pytest.mark.parametrize(
    ("file_format", "suffix"),
    [("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "tif"), ("BMP", "bmp"), ("WEBP", "webp"), ("GIF", "png")],
)
def test_picture_is_kept_under_the_right_ending(tmp_path, file_format, suffix):
    """GIF, which may hold several frames, becomes the one picture that was annotated."""
    data = picture_bytes(file_format)
    content = labelme_content(shape_entry(), imagePath="misnamed.jpg", imageData=None)
    path = write_json(tmp_path / "in" / "a.json", content)
    (tmp_path / "in" / "misnamed.jpg").write_bytes(data)
    (written,) = convert(tmp_path).images_dir.iterdir()
    assert written.name == f"a.{suffix}"
    assert (written.read_bytes() == data) == (file_format != "GIF")
    np.testing.assert_array_equal(read_image(written), read_annotation(path).image)


@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_picture_file_is_annotated_upright(tmp_path, orientation):
    """labelme turns picture files upright before showing them."""
    data = picture_bytes("JPEG", (HEIGHT, WIDTH) if orientation == 3 else (WIDTH, HEIGHT), orientation)
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry(), imagePath="a.jpg", imageData=None))
    (tmp_path / "in" / "a.jpg").write_bytes(data)
    folder = convert(tmp_path)
    assert folder.image_path("a").read_bytes() == data
    mask = read_mask(folder.mask_path("a"))
    assert mask.shape == read_image(folder.image_path("a")).shape[:2] == (HEIGHT, WIDTH)
    assert mask[20, 20] == 1


@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_embedded_picture_is_written_as_annotated(tmp_path, orientation, capsys):
    data = picture_bytes("JPEG", orientation=orientation)
    path = write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry(), image=data))
    folder = convert(tmp_path)
    np.testing.assert_array_equal(read_image(folder.images["a"]), read_annotation(path).image)
    assert folder.images["a"].suffix == ".png"
    assert read_mask(folder.mask_path("a")).shape == (HEIGHT, WIDTH)
    assert len(warnings_of(capsys)) == 1


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """The shipped samples, converted into a folder with Chinese characters and blanks in its name."""
    voc_root = tmp_path_factory.mktemp("数据 集") / "VOC 2007"
    return voc_root, run("json_to_dataset.py", "--input", SAMPLES, "--voc-root", voc_root, cwd=ROOT)


def test_samples_end_to_end(converted):
    voc_root, result = converted
    assert result.returncode == 0, result.stderr
    folder = VocFolder(voc_root)
    assert folder.read_class_names() == ["_background_", "cup", "apple", "orange", "carton", "banana"]
    masks = {}
    for name in ("fruit_1", "fruit_2"):
        picture = folder.images_dir / f"{name}.jpg"
        assert picture.read_bytes() == (SAMPLES / f"{name}.jpg").read_bytes()
        masks[name] = read_mask(folder.mask_path(name))
        assert masks[name].shape == read_image(picture).shape[:2]
    assert set(np.unique(masks["fruit_1"])) == {0, 1, 2, 3, 255}
    assert set(np.unique(masks["fruit_2"])) == {0, 2, 3, 4, 5, 255}
    # The cup's body, the hole in its handle, the handle, the red apple, the orange, the crumbs.
    places = [(185, 70), (212, 70), (223, 70), (66, 95), (122, 118), (10, 180)]
    assert [masks["fruit_1"][y, x] for x, y in places] == [1, 0, 1, 2, 3, 255]


def test_samples_end_to_end_output(converted):
    voc_root, result = converted
    lines = result.stdout.splitlines()
    assert lines[0] == "2 labelme files: 2 added, 0 updated, 0 unchanged"
    assert lines[-1] == f'next: python voc2unet.py --voc-root "{voc_root}"'
    rows = {line.split()[4]: line.split()[:3] for line in lines if line.strip()[:1].isdigit() and "%" in line}
    masks = np.stack([read_mask(path) for path in sorted((voc_root / "SegmentationClass").iterdir())])
    pixels = np.bincount(masks.ravel(), minlength=256)
    assert rows["orange"] == ["3", "3", str(pixels[3])]
    assert rows["__ignore__"] == ["255", "2", str(pixels[255])]
    assert sum(int(row[2]) for row in rows.values()) == masks.size


def test_twice_is_once(converted):
    voc_root, _ = converted
    before = files_and_times(voc_root)
    main(Config(input=SAMPLES, voc_root=voc_root))
    assert len(before) == 6
    assert files_and_times(voc_root) == before


def count_calls(monkeypatch, name: str) -> list[tuple]:
    """The arguments of all calls of a function, which still does its work."""
    function, calls = pkgutil.resolve_name(name), []

    def call(*arguments, **options):
        calls.append(arguments)
        return function(*arguments, **options)

    monkeypatch.setattr(name, call)
    return calls


def test_files_are_read_and_pictures_decoded_once(tmp_path, monkeypatch):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    write_json(tmp_path / "in" / "b.json", labelme_content(shape_entry(), imageData=None))
    (tmp_path / "in" / "a.png").write_bytes(picture_bytes())
    parsed = count_calls(monkeypatch, "utils.importing.labelme_files.read_annotation")
    embedded = count_calls(monkeypatch, "utils.labelme.reading.decode_image")
    beside = count_calls(monkeypatch, "utils.labelme.reading.read_image")
    compared = count_calls(monkeypatch, "utils.importing.labelme_update.has_pixels")
    for run_number in (1, 2):
        convert(tmp_path, instances=True)
        assert (len(parsed), len(embedded), len(beside)) == (2 * run_number, run_number, run_number)
    # Pictures of the same bytes are not decoded to be compared; the four masks are.
    assert len(compared) == 4


def test_chinese_input_folder_labels_and_names(tmp_path):
    write_json(tmp_path / "标注 一" / "图 1.json", labelme_content(shape_entry("土石")), "gb18030")
    main(Config(input=tmp_path / "标注 一", voc_root=tmp_path / "数据"))
    assert (tmp_path / "数据" / "class_names.txt").read_text(encoding="utf-8") == "_background_\n土石\n"
    assert (tmp_path / "数据" / "JPEGImages" / "图 1.png").read_bytes() == picture_bytes()
    assert (read_mask(tmp_path / "数据" / "SegmentationClass" / "图 1.png") == 1).sum() == 21 * 21


def test_existing_class_names_keep_their_order(tmp_path, capsys):
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "class_names.txt").write_text("background\ncell\n", encoding="utf-8")
    boxes = {"nucleus": (10, 30), "cell": (0, 4), BACKGROUND_LABEL: (12, 14), "background": (17, 19)}
    shapes = [box(label, low, high) for label, (low, high) in boxes.items()]
    write_json(tmp_path / "in" / "a.json", labelme_content(*shapes))
    folder = convert(tmp_path)
    assert folder.read_class_names() == ["background", "cell", "nucleus"]
    mask = read_mask(folder.mask_path("a"))
    assert (mask[2, 2], mask[20, 20], mask[13, 13], mask[18, 18]) == (1, 2, 0, 0)
    rows = [line.split()[:3] for line in capsys.readouterr().out.splitlines()]
    assert ["0", "2", str((mask == 0).sum())] in rows


def test_labels_file_fixes_the_order(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("__ignore__\n_background_\nnucleus\nnever used\ncell\n", encoding="utf-8")
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry("cell")))
    folder = convert(tmp_path, labels=labels)
    assert folder.read_class_names() == ["_background_", "nucleus", "never used", "cell"]
    assert read_mask(folder.mask_path("a")).max() == 3


def test_empty_list_of_shapes_is_background_with_a_warning(tmp_path, capsys):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    write_json(tmp_path / "in" / "b.json", labelme_content())
    assert not read_mask(convert(tmp_path).mask_path("b")).any()
    (warning,) = warnings_of(capsys)
    assert "b.json" in warning


def test_same_remark_on_many_files_is_one_warning(tmp_path, capsys):
    for name in "abcdefgh":
        content = labelme_content(shape_entry(), imagePath="moved.png", imageData=None)
        (write_json(tmp_path / "in" / f"{name}.json", content).with_suffix(".png")).write_bytes(
            picture_bytes()
        )
    convert(tmp_path)
    (warning,) = warnings_of(capsys)
    assert "8 files" in warning
    assert "a.json" in warning


def test_class_without_pixels_is_pointed_out(tmp_path, capsys):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry("nucleus"), shape_entry("cell")))
    convert(tmp_path)
    (warning,) = warnings_of(capsys)
    assert "nucleus" in warning


def test_missing_half_of_a_pair_is_added(tmp_path):
    write_json(tmp_path / "in" / "a.json", labelme_content(shape_entry()))
    mask_path = convert(tmp_path).mask_path("a")
    mask_bytes = mask_path.read_bytes()
    mask_path.unlink()
    convert(tmp_path)
    assert mask_path.read_bytes() == mask_bytes


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_picture_annotated_in_place_need_not_equal_the_embedded_one(tmp_path, kind):
    """labelme may have encoded what it embedded anew."""
    path = write_json(tmp_path / "voc" / "JPEGImages" / "a.json", labelme_content(shape_entry()))
    path.with_suffix(".jpg").write_bytes(picture_bytes(kind))
    convert(tmp_path, input=path.parent)
    assert {file.name for file in path.parent.iterdir()} == {"a.json", "a.jpg"}


# Objects


def test_objects_are_numbered_as_first_drawn(tmp_path):
    shapes = [
        box("cell", 0, 3),
        box("nucleus", 5, 8, group_id=1),
        box("cell", 10, 13, group_id=1),
        box("nucleus", 15, 18, group_id=1),
        box(BACKGROUND_LABEL, 6, 7),
        box("cell", 20, 23),
        box(IGNORE_LABEL, 25, 28),
    ]
    write_json(tmp_path / "in" / "a.json", labelme_content(*shapes))
    folder = convert(tmp_path, instances=True)
    objects = folder.read_objects("a", (HEIGHT, WIDTH))
    assert [objects[y, y] for y in (2, 5, 6, 12, 17, 22, 27, 35)] == [1, 2, 0, 3, 2, 4, 255, 0]
    np.testing.assert_array_equal(objects == 0, read_mask(folder.mask_path("a")) == 0)
    before = files_and_times(folder.root)
    convert(tmp_path, instances=True)
    assert files_and_times(folder.root) == before


def test_other_name_of_the_background_is_no_object(tmp_path):
    write_json(tmp_path / "in" / "a.json", labelme_content(box("grass", 0, 30), box("cell", 5, 8)))
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "class_names.txt").write_text("grass\ncell\n", encoding="utf-8")
    folder = convert(tmp_path, instances=True)
    assert set(np.unique(folder.read_objects("a", (HEIGHT, WIDTH)))) == {0, 1}


# PaddleSeg's layout


def test_layout_of_paddleseg_in_place(tmp_path, capsys):
    pictures = {"a": picture_bytes("JPEG"), "b": picture_bytes()}
    for name, ending in (("a", "jpg"), ("b", "png")):
        content = labelme_content(box("细胞", 0, 9), imageData=None, imagePath=f"{name}.{ending}")
        write_json(tmp_path / "in" / f"{name}.json", content)
        (tmp_path / "in" / f"{name}.{ending}").write_bytes(pictures[name])
    write_json(tmp_path / "in" / "c.json", labelme_content(box("nucleus", 0, 9)))
    convert(tmp_path, layout="paddleseg", instances=True)
    written = sorted(set(files_and_times(tmp_path / "in")) - {"a.json", "b.json", "c.json", "a.jpg", "b.png"})
    masks = [f"{part}/{name}.png" for part in ("SegmentationObject", "annotations") for name in "abc"]
    assert written == [*masks, "c.png", "class_names.txt", RECORD_NAME]
    names = (tmp_path / "in" / "class_names.txt").read_text(encoding="utf-8")
    assert names == "_background_\n细胞\nnucleus\n"
    assert (read_mask(tmp_path / "in" / "annotations" / "c.png") == 2).sum() == 100
    folders = f"--images {tmp_path / 'in'} --voc-root {tmp_path / 'voc'}"
    assert capsys.readouterr().out.endswith(f"next: python import_dataset.py {folders}\n")
    assert not (tmp_path / "voc").exists()
    before = files_and_times(tmp_path / "in")
    convert(tmp_path, layout="paddleseg", instances=True)
    assert files_and_times(tmp_path / "in") == before
