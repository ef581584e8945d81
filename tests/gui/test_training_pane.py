"""The pane of the training, as somebody uses it: choose, check, mend, start, and read what went wrong."""

import shutil

import numpy as np
import pytest
from PyQt5 import sip
from PyQt5.QtCore import QSettings
from PyQt5.QtGui import QImage
from scripts import ROOT, make_voc, recode
from test_training_run import rows
from windows import wait

from gui.curves import CURVES, Style, draw_loss, draw_miou, drawable
from gui.jobs import Jobs
from gui.picture_view import PictureView
from gui.run_view import Words
from gui.training_data import inspect
from gui.training_pane import TABS, TrainingPane
from gui.training_run import ASKED, RunState, TrainingRun, TrainingSettings, list_runs
from gui.translation import set_language
from utils.images.reading import read_mask


@pytest.fixture
def failures():
    return []


@pytest.fixture
def pane(tmp_path, application, failures):
    jobs = Jobs()
    jobs.failed.connect(failures.append)
    settings = QSettings(str(tmp_path / "settings.ini"), QSettings.IniFormat)
    pane = TrainingPane(jobs, settings, tmp_path / "logs")
    pane.show()
    yield pane
    pane.end()
    jobs.end()
    sip.delete(pane)


def shown_tab(pane) -> str:
    return TABS[pane.tabs.currentIndex()]


def test_masks_of_0_and_255_are_mended_by_a_click_and_wrong_flags_are_told(pane, tmp_path, failures):
    folder = make_voc(tmp_path / "new cells ä", 4)
    recode(folder, {1: 255, 2: 255})
    folder.class_names_path.unlink()
    model, form, training = pane.model, pane.data_form, pane.training_form
    pane.choose(folder.root)
    wait(lambda: form.check_button.isEnabled())
    assert not training.start_button.isEnabled()
    form.check_button.click()
    assert form.cancel_button.isVisible()
    assert shown_tab(pane) == "Check"
    wait(lambda: not model.is_checking())
    assert "black and white masks" in failures[0].found
    assert failures[0].remedy == "Choose a proposal under Data"
    assert "--map 0:1,255:0" in str(failures[0])
    assert form.offers.count() == 2
    assert "--map 0:0,255:1" in form.command.text()

    form.offer_button.click()
    wait(lambda: model.report)
    assert {tuple(np.unique(read_mask(path))) for path in folder.masks_dir.glob("*.png")} == {(0, 1)}
    wait(lambda: not pane.pictures["contact_sheet.png"].item.pixmap().isNull())
    assert pane.classes.rowCount() == 2
    assert [pane.classes.item(0, column).text() for column in (3, 4)] == ["–", "–"]
    assert training.start_button.isEnabled()
    assert not form.offer_button.isVisible()

    training.flags.setText("--no-such-flag 3")
    training.name.setText("wrong")
    training.start_button.click()
    assert not training.start_button.isEnabled()
    wait(lambda: shown_tab(pane) == "Curves")
    assert training.start_button.isEnabled()
    assert not training.name.text()
    wait(lambda: model.state and model.state.failure)
    assert "--no-such-flag" in pane.header.status.text()
    assert pane.header.details_button.isVisible()
    assert not pane.header.open_button.isEnabled()
    assert "Unrecognized" in pane.log.toPlainText()

    # What was said of it is past with the next start, under the same name, too.
    said_before = []
    model.began.connect(lambda: said_before.append(len(failures)))
    training.name.setText("wrong")
    training.start_button.click()
    assert said_before == [2]
    wait(lambda: pane.log.toPlainText().count("Unrecognized") == 2)
    assert [run.folder.name for run in list_runs(tmp_path / "logs")] == ["wrong"]


def test_labelme_files_are_converted_beside_their_folder(pane, tmp_path, failures):
    source = tmp_path / "drawn"
    shutil.copytree(ROOT / "datasets" / "before", source)
    before = sorted(path.name for path in source.iterdir())
    pane.choose(source)
    wait(lambda: pane.model.source)
    assert pane.model.source.annotations == 2
    pane.data_form.check_button.click()
    wait(lambda: pane.model.report or failures)
    assert not failures
    assert pane.model.report.root == tmp_path / "drawn_voc"
    assert sorted(path.name for path in source.iterdir()) == before
    assert "drawn_voc" in pane.training_form.command.text()


def test_folders_are_told_apart(tmp_path):
    assert inspect(make_voc(tmp_path / "voc").root).kind == "voc"
    assert inspect(tmp_path / "missing").kind == "missing"
    (tmp_path / "coco").mkdir()
    other = inspect(tmp_path / "coco")
    assert (other.kind, [script for script, _ in other.steps()]) == (
        "other",
        ["import_dataset.py", "voc2unet.py"],
    )


def state(tmp_path, **changes) -> RunState:
    fields = {
        "folder": tmp_path,
        "phase": "running",
        "rows": rows(3),
        "done": 0.3,
        "seconds_left": 240.0,
        "failure": None,
        "ours": True,
        "can_resume": False,
        "checkpoint": None,
        "changed": {},
        "log": "",
    }
    return RunState(**{**fields, **changes})


def test_what_a_run_does_is_said_in_both_languages(pane, tmp_path):
    header = pane.header
    pane.model.state = state(tmp_path)
    header.refresh()
    assert header.status.text() == "Running · epoch 3 · best mIoU 3.00% in epoch 3 · about 4 min left"
    header.stop_button.click()
    header.refresh()  # as soon as the run is seen to end
    assert not header.stop_button.isEnabled()
    wait(header.stop_button.isEnabled)
    assert not header.resume_button.isVisible()
    set_language("zh")
    assert "约剩 4 分钟" in header.status.text()
    set_language("en")
    pane.model.state = state(tmp_path, ours=False, seconds_left=None)
    header.refresh()
    assert header.status.text().endswith("started elsewhere: end it there")
    assert not header.stop_button.isEnabled()
    pane.model.state = state(tmp_path, log=f"$ python train.py\n{ASKED}")
    header.refresh()
    assert header.status.text().startswith("Finishing its step")
    assert header.stop_button.text() == "End at once"
    assert "min left" not in header.status.text()
    checkpoint, opened = tmp_path / "best.pth", []
    stopped = state(tmp_path, phase="stopped", seconds_left=None, can_resume=True, checkpoint=checkpoint)
    pane.model.state = stopped
    header.refresh()
    assert header.resume_button.isVisible()
    assert not header.stop_button.isVisible()
    pane.model_chosen.connect(opened.append)
    header.open_button.click()
    assert opened == [checkpoint]


def test_a_damaged_run_is_told_once_and_a_wrong_name_each_time(pane, tmp_path, failures):
    model, record = pane.model, tmp_path / "run" / "config.json"
    record.parent.mkdir()
    model.timer.stop()

    def look(content: str) -> int:
        record.write_text(content, encoding="utf-8")
        model.look()
        wait(lambda: not model.jobs.running)
        return len(failures)

    record.write_text("words", encoding="utf-8")
    model.open_run(TrainingRun(record.parent))
    assert [look(content) for content in ("words", "words", "{}", "words")] == [1, 1, 1, 2]
    for _ in range(2):
        model.start(TrainingSettings(tmp_path), "a/b")
    wait(lambda: len(failures) == 4)


def test_a_run_that_goes_on_shows_its_curves_and_a_folder_that_is_chosen_its_sheet(pane, tmp_path):
    model, sheet = pane.model, QImage(9, 9, QImage.Format_RGB32)
    model.timer.stop()
    model.run, model.state = TrainingRun(tmp_path), state(tmp_path)
    model.run_changed.emit()
    assert shown_tab(pane) == "Curves"
    model.drawn.emit("contact_sheet.png", sheet)
    assert shown_tab(pane) == "Curves"
    pane.show_tab("Log")
    model.run_changed.emit()
    assert shown_tab(pane) == "Log"
    pane.choose(tmp_path)
    model.drawn.emit("contact_sheet.png", sheet)
    assert shown_tab(pane) == "Contact sheet"


def test_curves_fill_their_place_in_the_colors_of_the_window(application):
    words = tuple(CURVES)
    light, dark = Style(400, 240, 1.0, "#000000", words), Style(800, 480, 2.0, "#ffffff", words)
    for draw in (draw_loss, draw_miou):
        image, large = draw(rows(5), light), draw(rows(5), dark)
        assert (image.width(), image.height()) == (400, 240)
        assert large.size() / large.devicePixelRatio() == image.size()
        assert count_color(image, 0) > 50 < count_color(large, 255)
        assert count_color(image, 255) == count_color(large, 0) == 0


def test_the_model_of_a_training_opens_in_the_viewer(shown, weights, tmp_path):
    other = tmp_path / "run" / "best.pth"
    other.parent.mkdir()
    shutil.copy(weights, other)
    shown.tabs.setCurrentWidget(shown.training)
    shown.training.model_chosen.emit(other)
    wait(lambda: shown.controller.model.card.path == other)
    assert shown.tabs.currentWidget() is shown.halves

    shown.banner.show_note(lambda: "of something else")
    shown.training.choose(tmp_path)
    assert shown.banner.isHidden()


def test_words_without_a_font_are_drawn_in_english(monkeypatch):
    from matplotlib import font_manager

    monkeypatch.setattr(font_manager, "get_font_names", lambda: ["DejaVu Sans"])
    chinese = "损失", "训练", "验证", "轮次", "最高 {score} {epoch}"
    assert drawable(chinese) == CURVES
    assert drawable(("Verlust", "a", "b", "c")) == ("Verlust", "a", "b", "c")
    monkeypatch.setattr(font_manager, "get_font_names", lambda: ["SimHei"])
    assert drawable(chinese)[0] == "损失"


def count_color(image: QImage, gray: int) -> int:
    """Opaque pixels of this gray value."""
    pixels = np.frombuffer(image.constBits().asarray(image.sizeInBytes()), np.uint8).reshape(-1, 4)
    return int((pixels == [gray, gray, gray, 255]).all(1).sum())


def test_words_are_added_to_and_followed_unless_somebody_reads_above(application):
    words = Words("none yet")
    words.resize(300, 100)
    words.show()
    text = "\n".join(map(str, range(100)))
    words.show_text(text)
    bar = words.verticalScrollBar()
    assert bar.value() == bar.maximum() > 0
    words.add("\n100")
    assert bar.value() == bar.maximum()
    bar.setValue(3)
    words.add("\n101")
    assert bar.value() == 3
    assert words.toPlainText() == f"{text}\n100\n101"
    words.add("\n")
    words.add("$ python voc2unet.py\n")
    assert bar.value() == bar.maximum()
    words.resize(300, 60)
    assert bar.value() == bar.maximum()


def test_pictures_fit_and_keep_their_zoom_when_they_are_drawn_again(application):
    view = PictureView("none yet")
    view.resize(200, 200)
    view.show()
    image = QImage(1000, 500, QImage.Format_RGB32)
    view.show_image(image)
    assert view.transform().m11() == pytest.approx(0.2, rel=0.1)
    view.zoom(4)
    zoomed = view.transform().m11()
    view.show_image(image.copy())
    assert view.transform().m11() == zoomed
    view.show_image(QImage(100, 50, QImage.Format_RGB32))
    assert view.transform().m11() == 1
