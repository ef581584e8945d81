"""The window at work: folders, videos, wrong files, bugs, what is remembered."""

import threading

import cv2
import numpy as np
import pytest
from PyQt5.QtCore import QMimeData, QSize, QUrl
from PyQt5.QtGui import QImage
from PyQt5.QtWidgets import QApplication, QInputDialog
from scripts import cut_off, save_untrained
from videos import make_video
from windows import LocalEngine, measured, open_window, settle, wait

from gui import batch, memory
from gui.tiles import to_array, to_qimage
from unet import Unet
from utils.images.writing import write_image
from utils.voc.demo import draw_sample


def test_a_folder_is_predicted_in_the_background_and_cancelled(shown, pictures, tmp_path, monkeypatch):
    engine = LocalEngine()
    engine.gate.clear()
    monkeypatch.setattr(shown.controller, "make_engine", lambda: engine)
    output = pictures / "img_out"
    shown.batch.predict_folder(pictures, output, {"objects": False, "labelme": False})
    wait(lambda: shown.tasks.isVisible() and "predict_folder" in engine.calls)
    shown.strip.step(1)
    wait(lambda: shown.controller.document.path.name == "p1.png" and measured(shown))
    monkeypatch.setattr(batch, "ask", lambda *_: "")
    assert not shown.close()
    shown.tasks.button.click()
    wait(lambda: not shown.batch.runs)
    assert not shown.tasks.isVisible()
    assert len(list(output.glob("*_mask.png"))) < 3
    engine.gate.set()
    monkeypatch.setattr(batch, "ask", lambda *_: "keep")
    shown.batch.predict_folder(pictures, output, {"objects": False, "labelme": False})
    wait(lambda: not shown.batch.runs and shown.banner.isVisible() and output.exists())
    settle(shown)
    assert len(list(output.glob("*_mask.png"))) == 3
    assert str(output) in shown.banner.label.text()


@pytest.mark.parametrize("seen", [False, True])
def test_a_picture_to_which_one_comes_back_while_it_is_predicted_is_predicted(window, pictures, seen):
    """Its first prediction was given up when another was asked for, but had not ended yet.

    seen: its last tile had come.
    """
    engine = window.controller.model.engine
    engine.gate.clear()
    window.opening.open_paths([pictures])
    wait(lambda: "predict" in engine.calls)
    if seen:
        wait(lambda: window.controller.document.predictions)
    window.strip.step(1)
    window.strip.step(-1)
    engine.gate.set()
    wait(lambda: measured(window), 20)
    assert window.controller.document.path.name == "p0.png"


def test_a_camera_plays_as_a_video_does(window, tmp_path, monkeypatch):
    """The driver of the camera plays a file."""
    clip, capture = make_video(tmp_path / "a.avi", 4, rate=50), cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: capture(str(clip) if number == 2 else ""))
    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: (2, True))
    window.opening.ask_camera()
    wait(lambda: window.player.job is None and window.controller.document)
    assert window.player.label.text().startswith("2: frame ")
    assert window.controller.document.name.startswith("camera 2_")
    assert window.controller.document.segmentation
    assert window.player.save_button.isHidden()
    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: (1, True))
    window.opening.ask_camera()
    wait(window.banner.isVisible)
    assert window.banner.label.text().startswith("camera 1: no camera of this number. Connect it")


def test_a_video_plays_stops_steps_and_is_saved(window, tmp_path):
    clip = make_video(tmp_path / "clips" / "a.avi", 6, rate=50)
    window.opening.open_paths([clip])
    wait(lambda: window.player.job is None and window.controller.document)
    assert "6 / 6" in window.player.label.text()
    assert window.controller.document.segmentation
    window.player.toggle()
    window.player.toggle()
    wait(lambda: measured(window))
    number = window.player.label.text()
    window.player.step()
    wait(lambda: window.player.label.text() != number)
    window.batch.predict_video(clip, tmp_path / "out")
    wait(lambda: not window.batch.runs and (tmp_path / "out" / "a.avi").exists())


def test_a_video_plays_before_the_model_is_there_and_ends_for_good(application, tmp_path, weights):
    window = open_window(tmp_path, weights)
    clip = make_video(tmp_path / "clips" / "a.avi", 2, rate=50)
    window.opening.open_paths([clip])
    wait(lambda: window.player.job is None and window.controller.document)
    assert not window.banner.isVisible()
    window.player.step()
    assert window.player.job is None
    wait(lambda: window.controller.document.segmentation)
    window.close()
    assert not window.bugs


def test_what_is_being_done_is_said_from_the_start_and_in_each_language(application, tmp_path, weights):
    window = open_window(tmp_path, weights)
    assert window.phase.text() == "Loading the model …"
    wait(lambda: window.phase.text() == "Ready")
    window.controller.phased.emit("predicting", 0.3)
    window.set_language("zh")
    assert window.phase.text() == "正在预测…"
    assert window.progress.value() == 30
    window.close()


def test_a_picture_that_opens_earlier_than_the_model_does_not_hide_that_it_is_loaded(
    application, tmp_path, weights, pictures
):
    engine, gate = LocalEngine(), threading.Event()
    call = engine.call

    def late(method, *arguments, **options):
        if method == "open_model":
            gate.wait(60)
        return call(method, *arguments, **options)

    engine.call = late
    window = open_window(tmp_path, weights, lambda: engine)
    window.opening.open_paths([pictures])
    wait(lambda: window.controller.document)
    assert window.phase.text() == "Loading the model …"
    gate.set()
    wait(lambda: measured(window))
    settle(window)
    assert window.phase.text() == "Ready"
    window.close()


def test_there_is_no_folder_to_predict_before_something_is_open(window):
    window.batch.ask_folder()
    assert window.banner.isVisible()
    assert not window.batch.runs


def test_a_picture_that_opens_late_does_not_displace_the_one_chosen_after_it(shown, pictures, monkeypatch):
    gate, begun, open_picture = threading.Event(), threading.Event(), shown.controller.model.open_picture

    def late(path, name=""):
        begun.set()
        gate.wait(60)
        return open_picture(path, name)

    monkeypatch.setattr(shown.controller.model, "open_picture", late)
    shown.controller.show(pictures / "p2.png")
    wait(begun.is_set)
    shown.controller.show(pictures / "p0.png")
    gate.set()
    settle(shown)
    assert shown.controller.document.path == pictures / "p0.png"


def test_a_new_model_does_not_meet_work_of_the_one_before(shown, tmp_path):
    gate = threading.Event()
    shown.jobs.run("refine", lambda _: gate.wait(60))
    shown.choices_box.fill.setChecked(True)
    other = save_untrained(tmp_path / "other" / "best.pth", ["nothing", "one", "two", "three"])
    shown.opening.open_paths([other])
    wait(lambda: shown.legend.rowCount() == 4)
    gate.set()
    settle(shown)
    assert not shown.banner.isVisible()
    assert len(shown.controller.document.segmentation.mask)


@pytest.mark.parametrize(
    "name", ["empty.png", "words.tif", "half.png", "none.png", "bad.pth", "bad.onnx", "bad.mp4"]
)
def test_wrong_files_are_a_sentence_and_the_window_goes_on(shown, pictures, tmp_path, name):
    path = tmp_path / "wrong" / name
    write_image(path.with_suffix(".png"), draw_sample(0, 64)[0])
    path.write_bytes({"empty": b"", "half": path.with_suffix(".png").read_bytes()}.get(path.stem, b"words"))
    if name == "half.png":
        cut_off(path)
    if name == "none.png":
        path.unlink()
    shown.opening.open_paths([path])
    wait(lambda: shown.banner.isVisible())
    assert name in shown.banner.label.text()
    shown.banner.copy.click()
    assert "expected" in QApplication.clipboard().text()
    assert shown.controller.model.card
    shown.opening.open_paths([pictures / "p2.png"])
    wait(lambda: shown.controller.document.path.name == "p2.png" and measured(shown))
    assert not shown.banner.isVisible()


def test_a_message_takes_the_colors_of_the_window(window):
    window.set_look("light")
    window.banner.show_note(lambda: "done", lambda: "details")
    window.banner.more.setChecked(True)
    for look in ("dark", "light"):
        window.set_look(look)
        shade = to_array(window.banner.details.grab().toImage()).mean()
        assert shade < 128 if look == "dark" else shade > 128


def test_empty_places_say_what_will_stand_there(window, pictures):
    def ink(view):
        return to_array(view.viewport().grab().toImage()).std()

    assert ink(window.table) > 1
    window.set_language("zh")
    window.tabs.setCurrentWidget(window.training)
    sheet = window.training.pictures["contact_sheet.png"]
    assert ink(sheet) > 1
    white = np.full((9, 9, 3), 255, np.uint8)
    chinese = [picture.text() for picture in window.training.curves.pictures.values()]
    window.training.curves.show_image("loss", to_qimage(white))
    assert not window.training.curves.pictures["loss"].text()
    window.training.curves.show_image("loss", QImage())
    assert [picture.text() for picture in window.training.curves.pictures.values()] == chinese
    assert not "".join(chinese).isascii()


def test_a_bug_is_shown_with_its_traceback(shown, monkeypatch):
    monkeypatch.setattr("gui.model.postprocess", lambda *_: 1 / 0)
    shown.choices_box.fill.setChecked(True)
    wait(lambda: shown.banner.isVisible())
    assert "ZeroDivisionError" in shown.banner.details.toPlainText()
    monkeypatch.undo()
    shown.choices_box.fill.setChecked(False)
    settle(shown)
    assert measured(shown)


def test_dropped_files_are_opened_and_remembered(window, pictures, tmp_path, weights):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(pictures / "p1.png"))])
    window.opening.drop(data)
    wait(lambda: measured(window))
    assert window.controller.document.path == pictures / "p1.png"
    assert window.opening.recent("recent") == [pictures / "p1.png"]
    window.opacity.setValue(77)
    window.set_mode("side")
    window.viewer.set_divider(0.3)
    window.close()
    settings = window.settings
    settings.sync()
    again = open_window(tmp_path, None)
    assert (again.opacity.value(), again.viewer.mode, again.viewer.divider) == (77, "side", 0.3)
    wait(lambda: again.controller.model and again.controller.model.card)
    assert again.controller.model.card.path == weights
    again.close()


def test_only_what_opened_is_a_recent_file(window, pictures, tmp_path):
    broken, empty, film = pictures / "p0.png", tmp_path / "empty", tmp_path / "broken.mp4"
    empty.mkdir()
    for path in (broken, film):
        path.write_bytes(b"nothing")
    for path in (broken, empty, film):
        window.opening.open_paths([path])
        wait(window.banner.isVisible)
        settle(window)
        window.banner.hide()
    assert window.opening.recent("recent") == []
    # The first of the folder is broken, but the next one is shown.
    window.opening.open_paths([pictures])
    wait(window.banner.isVisible)
    assert window.opening.recent("recent") == []
    window.controller.show(pictures / "p1.png")
    wait(lambda: window.opening.recent("recent") == [pictures])
    film = make_video(tmp_path / "film.avi", 2, rate=50)
    window.opening.open_paths([film])
    wait(lambda: window.opening.recent("recent") == [film, pictures])


@pytest.mark.parametrize(("room", "size"), [((1920, 1040), (1280, 800)), ((1366, 728), (1280, 680))])
def test_the_first_window_fits_on_the_screen(room, size):
    assert memory.first_size(QSize(*room)) == QSize(*size)


def test_a_new_model_predicts_what_is_shown(shown, tmp_path, unet):
    other = save_untrained(tmp_path / "other" / "best.pth", ["nothing", "one", "two", "three"])
    shown.opening.open_paths([other])
    wait(lambda: shown.legend.rowCount() == 4)
    settle(shown)
    mask = Unet(other, "cpu").predict(shown.controller.document.path)
    assert np.array_equal(shown.controller.document.segmentation.mask, mask)


def test_all_texts_change_with_the_language(shown):
    shown.set_language("zh")
    actions = [action.text() for menu in shown.menuBar().actions() for action in menu.menu().actions()]
    named = [text for text in actions if text]
    assert named
    assert all(any(letter >= "\u4e00" for letter in text) for text in named)
    shown.set_language("en")


def test_pictures_survive_the_way_to_qt_and_back():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(to_array(to_qimage(image)), image)
    assert to_qimage(image).format() == QImage.Format_RGB888
