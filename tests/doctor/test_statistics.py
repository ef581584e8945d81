"""dataset.json: what it says, when it may be trusted, what it proposes; the pictures drawn beside it."""

import json
import math
import os
import re
import shlex

import numpy as np
import pytest
import tyro
from hypothesis import given
from hypothesis import strategies as st
from scripts import make_voc, save_as, snapshot

import train
import voc2unet
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.doctor.examination import Objects, PairReport, examine
from utils.doctor.fitting import Fit
from utils.doctor.originals import RepairedMask
from utils.doctor.pairing import list_pairs
from utils.doctor.repair import RepairSettings, prepare_repair
from utils.doctor.sheets import choose_pairs, draw_statistics
from utils.doctor.statistics import describe
from utils.images.reading import read_image
from utils.images.writing import write_image, write_mask
from utils.training.data import load_data
from utils.training.start import Start
from utils.voc.folder import VocFolder
from utils.voc.survey import PairRecord, read_survey, survey_pairs

NAMES = ["background", "cell", "nucleus"]


def look_at(folder):
    repair = prepare_repair(folder, RepairSettings())
    return examine(list_pairs(folder, repair)[0], repair)


def make_known(root):
    """Two pictures of 4×6 with two cells (of 2 and 3 pixels), one nucleus of 4 and one ignored pixel."""
    folder = VocFolder(root)
    first, second = np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8)
    first[0, :2], first[2, 3:] = 1, 1
    second[:2, :2], second[3, 5] = 2, 255
    for name, mask in (("a 1", first), ("b.图", second)):
        write_image(
            folder.images_dir / f"{name}.png", np.arange(24, dtype=np.uint8).reshape(4, 6) + (name < "b")
        )
        write_mask(folder.mask_path(name), mask)
    write_lines(folder.class_names_path, NAMES)
    folder.write_split("train", ["a 1"])
    folder.write_split("val", ["b.图"])
    return VocFolder(root)


def test_shares_are_drawn_up_to_the_whole(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("utils.doctor.sheets.save_figure", lambda figure, path: figures.append(figure))
    folder = make_known(tmp_path)
    examination = look_at(folder)
    draw_statistics(folder, describe(examination, NAMES), examination, {})
    bars = figures[0].axes[0]
    assert 0 < max(bars.get_xticks()) <= 1 < bars.get_xlim()[1]


def test_known_answers(tmp_path):
    found = describe(look_at(make_known(tmp_path)), NAMES)
    assert (found.pictures, found.ignored_pixels, found.ignored_pictures) == (2, 1, 1)
    assert found.sizes == {"4×6": 2}
    assert found.channels == {"gray": 2}
    assert found.bits == {"8": 2}
    background, cell, nucleus = found.classes
    assert (background.pixels, background.pictures, background.objects) == (38, 2, 0)
    assert background.share == pytest.approx(38 / 47)
    assert (cell.pixels, cell.pictures, cell.objects) == (5, 1, 2)
    assert (cell.object_smallest, cell.object_largest) == (2, 3)
    assert (nucleus.pixels, nucleus.objects, nucleus.object_median) == (4, 1, 4)
    assert found.intensity_percentiles["50"] == 12
    assert sum(found.intensity_histogram) == pytest.approx(1)


def test_16_bit_and_8_bit_pictures_are_counted_on_one_scale(tmp_path):
    folder = make_known(tmp_path)
    save_as(folder.images_dir / "a 1.png", np.full((4, 6), 65535, np.uint16))
    save_as(folder.images_dir / "b.图.png", np.full((4, 6), 10, np.uint8))
    found = describe(look_at(folder), NAMES)
    assert found.bits == {"16": 1, "8": 1}
    assert found.intensity_percentiles["25"] == 2570
    assert found.intensity_percentiles["75"] == 65535


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=60), st.floats(0.01, 1))
def test_quantiles_of_object_sizes(areas, share):
    objects = Objects()
    for part in np.array_split(np.array(areas), min(3, len(areas))):
        objects.add(part)
    exact = np.sort(areas)[int(np.ceil(share * len(areas) - 1e-9)) - 1]
    assert objects.quantile(share) == pytest.approx(exact, rel=0.05)
    assert (objects.count, objects.smallest, objects.largest) == (len(areas), min(areas), max(areas))


def make_fresh(folder):
    voc2unet.main(voc2unet.Config(voc_root=folder.root))
    return VocFolder(folder.root)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return make_fresh(make_known(tmp_path_factory.mktemp("数据 $1$") / "voc.1"))


@pytest.fixture
def folder(tmp_path, without_drawing):
    return make_fresh(make_known(tmp_path))


def test_the_file_holds_what_a_scan_finds(known):
    read, found = (survey(known, ["b.图"], ["a 1"]) for survey in (read_survey, survey_pairs))
    for one, other in zip(read.records, found.records, strict=True):
        assert (one.name, one.size, one.values) == (other.name, other.size, other.values)
        assert (one.gray, one.bits) == (other.gray, other.bits)
    assert read.pictures.normalisation(3) == found.pictures.normalisation(3)
    assert read.pictures.channels == found.pictures.channels
    content = json.loads((known.root / "dataset.json").read_text("utf-8"))
    assert content["pairs"] == {"a 1": "4×6 0:19 1:5", "b.图": "4×6 0:19 2:4 255:1"}
    assert [one["name"] for one in content["classes"]] == NAMES
    assert all(one["flags"] and one["reason"] for one in content["proposals"])


def test_pictures_are_drawn_and_drawn_alike_again(known):
    before = snapshot(known.root)
    assert read_image(known.root / "dataset.png").shape[1] == 1440
    assert read_image(known.root / "contact_sheet.png").shape[1] == 2 * 282
    make_fresh(known)
    assert snapshot(known.root) == before


def test_training_reads_the_file_instead_of_pictures_and_masks(folder, monkeypatch):
    slow = load_data(folder)
    monkeypatch.setattr("utils.training.data.survey_pairs", None)
    (folder.root / "dataset.json").replace(folder.root / "aside.json")
    with pytest.raises(TypeError):
        load_data(folder)
    (folder.root / "aside.json").replace(folder.root / "dataset.json")
    fast = load_data(folder)
    assert fast.class_pixels.tolist() == slow.class_pixels.tolist()
    assert fast.pictures.normalisation(1) == slow.pictures.normalisation(1)
    assert (fast.train_sizes, fast.val_sizes) == (slow.train_sizes, slow.val_sizes)


def test_a_mask_that_changed_is_read_again(folder):
    before = load_data(folder).class_pixels
    mask = np.zeros((4, 6), np.uint8)
    mask[0] = 2
    write_mask(folder.mask_path("a 1"), mask)
    assert before.tolist() == [19, 5, 0]
    assert load_data(VocFolder(folder.root)).class_pixels.tolist() == [18, 0, 6]


RGB_GRAY, COLOUR = (
    (lambda image: np.dstack([image] * 3)),
    (lambda image: np.dstack([image, image, 255 - image])),
)


@pytest.mark.parametrize(
    ("size", "count", "val", "kinds", "expected"),
    [
        (48, 4, 1, [], ((64, 64), 2, 1)),
        # The training pictures decide: small ones beside a large one that validates.
        ([(40, 64)] * 12 + [(300, 700)], 13, 1, [], ((64, 64), 2, 1)),
        ([(600, 700)] * 3 + [(48, 48)], 4, 1, [RGB_GRAY], ((256, 256), 2, 1)),
        (48, 4, 1, [COLOUR], ((64, 64), 2, 3)),
        (48, 4, 1, [None, None, None, COLOUR], ((64, 64), 2, 1)),
    ],
)
def test_training_chooses_what_the_doctor_proposes(
    tmp_path, without_drawing, capsys, size, count, val, kinds, expected
):
    folder = make_voc(tmp_path, count, size, val)
    for index, kind in enumerate(kinds):
        path = folder.image_path(f"cells_{index}")
        if kind:
            write_image(path, kind(read_image(path)))
    make_fresh(folder)
    flags = shlex.split(re.search("next: python train.py (.*)", capsys.readouterr().out)[1])
    content = json.loads((folder.root / "dataset.json").read_text("utf-8"))
    listed = shlex.split(" ".join(one["flags"] for one in content["proposals"]))
    configs = [tyro.cli(train.Config, args=[*flags, *more]) for more in ([], listed)]
    for config in configs:
        data = train.read_data(config)
        network = train.resolve_network(config, data, Start())
        filled = train.resolve_settings(network, data, Start(), 32, math.inf)
        assert (filled.input_shape, filled.batch_size, filled.network.in_channels) == expected
    # The command holds nothing that training chooses itself.
    assert flags[:2] == ["--voc-root", str(folder.root)]
    assert {"--batch-size", "--input-shape", "--in-channels"}.isdisjoint(flags)


def test_values_are_checked_when_read_from_the_file_too(folder):
    write_lines(folder.class_names_path, NAMES[:2])
    assert read_survey(folder, ["a 1"])
    with pytest.raises(UserError, match=r"2 \(4 pixels\)"):
        load_data(folder)


def touch(folder):
    path = folder.mask_path("a 1")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1000))


def rewrite(folder):
    path = folder.images["b.图"]
    times = path.stat()
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def rename(folder):
    folder.images["b.图"].rename(folder.images_dir / "b.图.tif")


@pytest.mark.parametrize(
    "change",
    [
        touch,
        rewrite,
        rename,
        lambda folder: folder.mask_path("b.图").unlink(),
        lambda folder: folder.images["a 1"].unlink(),
        lambda folder: (folder.root / "dataset.json").unlink(),
        lambda folder: (folder.root / "dataset.json").write_text("{", encoding="utf-8"),
        lambda folder: (folder.root / "dataset.json").write_text("[]", encoding="utf-8"),
        lambda folder: (folder.root / "dataset.json").write_text('{"pairs": 3}', encoding="utf-8"),
        lambda folder: (folder.root / "dataset.json").write_bytes(b"\xff\xfe"),
    ],
)
def test_anything_changed_makes_the_file_stale(folder, change):
    assert read_survey(folder, ["a 1", "b.图"])
    change(folder)
    assert read_survey(VocFolder(folder.root), ["a 1", "b.图"]) is None


def test_a_file_of_an_earlier_version_means_one_more_pass(folder):
    path = folder.root / "dataset.json"
    content = json.loads(path.read_text("utf-8"))
    del content["pictures"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_survey(folder, ["a 1"]) is None
    assert load_data(folder).train == ["a 1"]


def test_training_pictures_of_16_bits_are_read_again(folder):
    save_as(folder.images_dir / "a 1.png", np.full((4, 6), 65535, np.uint16))
    make_fresh(folder)
    folder = VocFolder(folder.root)
    assert read_survey(folder, ["a 1"]) is None
    assert read_survey(folder, ["b.图"], ["a 1"])


def test_a_name_that_the_file_does_not_list(folder):
    assert read_survey(folder, ["a 1", "c"]) is None


def report_of(values, name):
    places = np.zeros((len(values), 4, 4))
    record = PairRecord(name, (8, 8), values, True, 1, 8, np.zeros((4, 2)), places)
    return PairReport(record, None, name, b"", RepairedMask((), "", (8, 8), Fit()), None, {})


@given(st.integers(1, 80), st.integers(2, 12))
def test_contact_sheet_shows_every_class(count, classes):
    reports = [report_of({0: 60, index % classes: 4}, str(index)) for index in range(count)]
    chosen = choose_pairs(reports, classes)
    assert len(chosen) == min(count, 24)
    assert chosen == sorted(chosen, key=lambda one: int(one.record.name))
    shown, there = (set().union(*(one.record.values for one in some)) for some in (chosen, reports))
    assert shown == there


def test_statistics_of_drawn_pictures_of_many_sizes(tmp_path):
    folder = make_voc(tmp_path, 3, [(40, 48), (48, 48), (33, 21)])
    found = describe(look_at(folder), NAMES)
    assert found.sizes == {"40×48": 1, "48×48": 1, "33×21": 1}
    assert sum(one.pixels for one in found.classes) == 40 * 48 + 48 * 48 + 33 * 21
