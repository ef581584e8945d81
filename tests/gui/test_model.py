"""What the window shows and saves, without a screen."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from scripts import cut_off, refused, save_untrained
from videos import make_video
from windows import LocalEngine

from gui.card import Choices, FolderJob
from gui.engine import Cancelled
from gui.listing import list_pictures, thumbnail
from gui.model import UNSEEN, Model
from gui.picture import Prediction
from gui.saving import Wanted, save
from unet import Unet
from utils.core.tables import read_table
from utils.images.palette import blend, voc_palette
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image
from utils.inference.objects import measure_objects
from utils.inference.postprocess import Postprocessing, postprocess
from utils.voc.demo import draw_sample

ALL = np.s_[0:64, 0:80]


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "pictures" / "细胞 1.png"
    write_image(path, draw_sample(1, 80)[0][:64])
    return path


@pytest.fixture
def model(weights):
    model = Model(LocalEngine())
    model.open_model(weights, "cpu")
    return model


@pytest.fixture
def shown(model, picture):
    """A picture that is predicted and refined."""
    document = model.open_picture(picture)
    model.predict(document, False)
    model.measure(document, model.refine(document, Choices()))
    return document


def test_frames_are_shown_before_a_model_is_there():
    document = Model(LocalEngine()).segment_frame(draw_sample(0, 64)[0], "frame.png", Choices())
    assert document.size == (64, 64)
    assert document.shown is None


def test_the_mask_is_that_of_the_predictor_and_everything_follows_from_it(model, shown, unet, picture):
    mask = unet.predict(picture)
    segmentation = shown.segmentation
    assert np.array_equal(segmentation.mask, mask)
    assert np.array_equal(segmentation.sure, np.round(unet.predict_proba(picture).max(0) * 255))
    rows = model.legend(segmentation)
    assert [row.name for row in rows] == unet.class_names
    assert [row.pixels for row in rows] == np.bincount(mask.ravel(), minlength=3).tolist()
    assert sum(row.share for row in rows) == pytest.approx(1)
    objects = measure_objects(mask, read_image(picture), segmentation.sure, (1, 2), None)
    assert [row.objects for row in rows] == [None, *(np.sum(objects.columns["class"] == i) for i in (1, 2))]
    y, x = np.argwhere(objects.labels == 1)[0]
    spot = model.spot(shown, x, y)
    assert (spot.name, spot.number) == (unet.class_names[mask[y, x]], 1)
    assert spot.certainty == segmentation.sure[y, x] / 255


def test_check_boxes_act_without_the_network(model, shown):
    raw, calls = shown.predictions[False].mask, list(model.engine.calls)
    cleaning = Postprocessing(fill_holes=True, split_touching=True, min_area=20)
    refined = model.refine(shown, replace(Choices(), cleaning=cleaning))
    assert np.array_equal(refined.mask, postprocess(raw, (1, 2), cleaning))
    assert not np.array_equal(refined.mask, raw)
    assert np.array_equal(model.refine(shown, Choices()).mask, raw)
    assert model.engine.calls == calls


def test_averaging_is_predicted_once_and_kept(model, shown, weights, picture):
    for _ in range(2):
        model.predict(shown, True)
    averaged = model.refine(shown, Choices(tta=True)).mask
    assert np.array_equal(averaged, Unet(weights, "cpu", tta=True).predict(picture))
    assert model.engine.calls.count("predict") == 2
    assert np.array_equal(model.refine(shown, Choices()).mask, shown.predictions[False].mask)


def test_gaps_of_a_separator_are_closed_where_the_predictor_closes_them(tmp_path, picture, monkeypatch):
    path = save_untrained(tmp_path / "gaps.pth", settings={"separator": 2, "gap_depth": 0.15})
    model = Model(LocalEngine())
    assert model.open_model(path, "cpu").separator == 2
    document = model.open_picture(picture)
    model.predict(document, False)
    closed = model.refine(document, Choices()).mask
    assert np.array_equal(closed, Unet(path, "cpu").predict(picture))
    open_ = model.refine(document, Choices(gaps=False)).mask
    assert np.array_equal(open_, Unet(path, "cpu", close_gaps="none").predict(picture))
    assert not np.array_equal(closed, open_)
    assert model.may_close_gaps(document)
    monkeypatch.setattr("utils.inference.gaps.LARGE_PIXELS", document.picture[..., 0].size - 1)
    assert not model.may_close_gaps(document)
    assert np.array_equal(model.refine(document, Choices()).mask, open_)
    assert np.array_equal(Unet(path, "cpu").predict(picture), open_)


def test_tiles_arrive_one_by_one_and_can_be_cancelled(model, picture, monkeypatch):
    monkeypatch.setattr("gui.session.WHOLE_PIXELS", 1000)
    monkeypatch.setattr("gui.session.SIDE", 48)
    image = draw_sample(2, 300)[0]
    document, boxes = model.open_picture(image), []
    model.predict(document, False, lambda prediction, box: boxes.append((prediction.share, box)))
    assert len(boxes) > 1
    assert [share for share, _ in boxes] == sorted(share for share, _ in boxes)
    covered = np.zeros(document.size, int)
    for _, box in boxes:
        covered[box] += 1
    assert (covered == 1).all()
    other = model.open_picture(image)
    with pytest.raises(Cancelled):
        model.predict(other, False, is_cancelled=lambda: bool(other.predictions))
    assert not other.predictions


def test_a_prediction_that_is_given_up_after_its_last_tile_is_kept(model, picture):
    """Who comes back to the picture may be refining it already."""
    document = model.open_picture(picture)
    model.engine.gate.clear()
    with pytest.raises(Cancelled):
        model.predict(document, False, is_cancelled=lambda: model.is_predicted(document, False))
    model.engine.gate.set()
    assert model.is_predicted(document, False)
    assert document.predictions[False].seconds > 0
    expected = Unet(model.card.path, "cpu").predict(picture)
    assert np.array_equal(model.refine(document, Choices()).mask, expected)


def test_layers(model, shown):
    palette, mask, image = voc_palette(), shown.segmentation.mask, shown.pixels(0, ALL)
    assert np.array_equal(model.draw(shown, "picture", 0, ALL, 0.5, frozenset()), image)
    assert np.array_equal(model.draw(shown, "mask", 0, ALL, 0.5, frozenset()), palette[mask])
    drawn = model.draw(shown, "overlay", 0, ALL, 0.3, frozenset())
    assert np.array_equal(drawn, blend(image, mask, palette, 0.3))
    hidden = model.draw(shown, "overlay", 0, ALL, 0.3, frozenset({1}))
    assert np.array_equal(hidden, blend(image, np.where(mask == 1, 0, mask).astype(np.uint8), palette, 0.3))
    part = np.s_[10:20, 30:50]
    assert np.array_equal(model.draw(shown, "overlay", 0, part, 0.3, frozenset()), drawn[part])
    shown.segmentation = None
    shown.predictions = {False: Prediction(np.full((64, 80), 255, np.uint8), mask, None)}
    assert (model.draw(shown, "mask", 0, ALL, 0.5, frozenset()) == UNSEEN).all()


def test_a_large_tiff_is_shown_as_what_it_is(model, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.images.large.LARGE_PIXELS", 1000)
    image = np.random.default_rng(0).integers(0, 256, (1300, 700, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(64, 64), photometric="rgb")
    document, whole = model.open_picture(tmp_path / "a.tif"), model.open_picture(image)
    assert document.is_large
    assert not document.is_reduced
    seen = []
    document.reduce(lambda: seen.append(1))
    assert len(seen) == 2
    assert [level.shape[:2] for level in document.levels] == [document.level_size(1), document.level_size(2)]
    for level in range(3):
        box = np.s_[3 : 300 >> level, 5 : 600 >> level]
        assert np.array_equal(document.pixels(level, box), whole.pixels(level, box))
    means = image.reshape(650, 2, 350, 2, 3).mean((1, 3))
    assert np.abs(document.pixels(1, np.s_[0:650, 0:350]) - means).max() <= 0.5
    assert model.spot(whole, 12, 345).value == tuple(image[345, 12])


def test_outlines_run_around_the_pixels(model, shown):
    objects = shown.segmentation.objects
    number = int(np.argmax(objects.columns["area_px"])) + 1
    outer = model.outlines(objects, number)[0]
    left, top, width, height = (
        objects.columns[f"{n}_px"][number - 1] for n in ("left", "top", "width", "height")
    )
    assert np.allclose(outer.min(0), (left + 0.25, top + 0.25))
    assert np.allclose(outer.max(0), (left + width - 0.25, top + height - 0.25))


def test_saved_files_hold_what_is_shown(model, shown, picture, tmp_path):
    def draw(rows):
        return model.draw(shown, "overlay", 0, (rows, slice(0, 80)), 0.4, frozenset({2}))

    names, output = model.card.class_names, tmp_path / "out"
    everything = Wanted(objects=True, labelme=True)
    paths = save(shown, output, everything, names, draw, overwrite=False)
    mask = read_mask(output / "细胞 1_mask.png")
    assert np.array_equal(mask, shown.segmentation.mask)
    assert np.array_equal(read_image(output / "细胞 1.png"), draw(slice(0, 64)))
    table = read_table(output / "细胞 1_objects.csv")
    assert [float(row["area_px"]) for row in table] == shown.segmentation.objects.columns["area_px"].tolist()
    annotation = json.loads((output / "labelme" / "细胞 1.json").read_text(encoding="utf-8"))
    assert {shape["label"] for shape in annotation["shapes"]} <= {*names, "_background_"}
    assert (output / "labelme" / "细胞 1.png").read_bytes() == picture.read_bytes()
    assert all(path.is_file() for path in paths)
    before = [path.read_bytes() for path in paths]
    with refused("result-exists"):
        save(shown, output, Wanted(), names, draw, overwrite=False)
    with refused("output-among-pictures"):
        save(shown, picture.parent, Wanted(), names, draw, overwrite=True)
    assert [path.read_bytes() for path in paths] == before
    save(shown, output, Wanted(overlay=False), names, draw, overwrite=True)


def test_a_folder_is_predicted_continued_and_cancelled(model, picture, tmp_path):
    for number in range(2):
        write_image(picture.with_name(f"b{number}.png"), draw_sample(number, 64)[0])
    cut_off(picture.with_name("b1.png"))
    job = FolderJob(picture.parent, tmp_path / "out", Choices(), objects=True)

    class Stop(Exception):
        pass

    def stop(done, _total):
        if done:
            raise Stop

    session = model.engine.session
    with pytest.raises(Stop):
        session.predict_folder(job, stop)
    assert len(read_table(tmp_path / "out" / "summary.csv")) == 1
    with refused("result-exists"):
        session.predict_folder(job, lambda *_: None)
    events = []
    report = session.predict_folder(replace(job, existing="keep"), lambda *event: events.append(event))
    assert (report.done, report.kept, report.total, len(report.faults)) == (1, 1, 3, 1)
    assert events[-1] == (2, 2)
    assert len(read_table(tmp_path / "out" / "summary.csv")) == 2


def test_a_video_is_written(model, tmp_path):
    clip = tmp_path / "clip.mp4"
    make_video(clip, 3)
    events = []
    session = model.engine.session
    target = session.predict_video(clip, tmp_path / "out", Choices(), False, lambda *e: events.append(e))
    assert target.is_file()
    assert events
    with refused("result-exists", target):
        session.predict_video(clip, tmp_path / "out", Choices(), False, lambda *_: None)


def test_wrong_files_are_user_errors_and_the_model_stays(model, tmp_path, weights, picture):
    (tmp_path / "bad.pth").write_bytes(b"nothing")
    with refused("not-a-checkpoint"):
        model.open_model(tmp_path / "bad.pth", "cpu")
    assert model.card.path == weights
    with refused("file-missing"):
        model.open_picture(tmp_path / "none.png")
    (tmp_path / "empty").mkdir()
    with refused("folder-without-pictures"):
        list_pictures([tmp_path / "empty"])
    with refused("model-missing"):
        Model(LocalEngine()).predict(model.open_picture(picture), False)


def test_listing_and_thumbnails(picture, tmp_path):
    for name in ("a.png", "c.png"):
        write_image(picture.with_name(name), np.zeros((20, 100), np.uint8))
    names = ["a.png", "c.png", "细胞 1.png"]
    found, first = list_pictures([picture])
    assert ([path.name for path in found], first) == (names, picture)
    assert [path.name for path in list_pictures([picture.parent])[0]] == names
    assert thumbnail(picture.with_name("a.png"), 50).shape == (10, 50, 3)
    assert Image.open(picture).size == (80, 64)
