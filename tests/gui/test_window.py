"""The window as a person uses it: open, look, choose, save, cancel, and files that are wrong."""

import numpy as np
import pytest
from PyQt5.QtCore import QEvent, QPoint, QPointF, Qt
from PyQt5.QtGui import QMouseEvent
from PyQt5.QtTest import QTest
from PyQt5.QtWidgets import QApplication
from windows import measured, settle, wait

from gui import dialogs, results
from gui.jobs import Jobs
from gui.layout import Column
from gui.tiles import Key, Tiles, to_array, to_qimage
from unet import Unet
from utils.core.tables import read_table
from utils.images.palette import voc_palette
from utils.images.reading import read_image, read_mask
from utils.voc.demo import draw_sample


def drag(widget, start, way):
    """With the left button; QTest moves no mouse without a screen."""
    QTest.mousePress(widget, Qt.LeftButton, pos=start)
    move = QMouseEvent(QEvent.MouseMove, QPointF(start + way), Qt.NoButton, Qt.LeftButton, Qt.NoModifier)
    QApplication.sendEvent(widget, move)
    QTest.mouseRelease(widget, Qt.LeftButton, pos=start + way)


def seen(window):
    """(H, W, 3) uint8 of the viewer."""
    settle(window)
    return to_array(window.viewer.grab().toImage())


def test_a_folder_is_opened_looked_at_and_walked_through(shown, pictures, unet):
    paths = sorted(pictures.glob("*.png"))
    assert shown.strip.paths == paths
    assert shown.controller.document.path == paths[0]
    mask = unet.predict(paths[0])
    counts = np.bincount(mask.ravel(), minlength=3)
    assert [shown.legend.item(line, 1).text() for line in range(3)] == [f"{count:,}" for count in counts]
    assert shown.table.rows.rowCount() == len(
        shown.controller.document.segmentation.objects.columns["number"]
    )
    assert "best.pth" in shown.model_box.label.text()
    QTest.keyClick(shown, Qt.Key_Right)
    wait(lambda: shown.controller.document.path == paths[1] and measured(shown))
    assert np.array_equal(shown.controller.document.segmentation.mask, unet.predict(paths[1]))
    QTest.keyClick(shown, Qt.Key_Left)
    assert shown.strip.currentRow() == 0
    wait(lambda: shown.controller.document.path == paths[0])
    assert shown.strip.item(2).icon().pixmap(72).toImage() != shown.strip.empty.toImage()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_beside_the_picture_is_cut(shown, language):
    shown.set_language(language)
    shown.resize(1180, 760)
    settle(shown)
    (column,) = shown.findChildren(Column)
    assert column.widget().width() <= column.viewport().width()
    boxes = shown.choices_box
    for box in (boxes.tta, boxes.hull, boxes.least, boxes.opening, boxes.closing):
        assert box.width() >= box.sizeHint().width()


def test_each_view_shows_its_pixels(shown, pictures, unet):
    image, mask = read_image(pictures / "p0.png"), unet.predict(pictures / "p0.png")
    scale = round(shown.viewer.scale)
    assert scale == shown.viewer.scale > 1
    picture, colors = np.repeat(image[..., None], 3, 2), voc_palette()[mask]
    for mode, layer in {"picture": picture, "mask": colors}.items():
        shown.set_mode(mode)
        whole = seen(shown)
        pane = shown.viewer.panes()[0]
        left, top = int(pane.left), int(pane.top)
        large = np.kron(layer, np.ones((scale, scale, 1), np.uint8))
        assert np.array_equal(whole[top:, left:][: len(large), : large.shape[1]], large)
    shown.set_mode("compare")
    middle = seen(shown)
    half = shown.viewer.width() // 2 - 10
    inside = np.s_[top : top + len(large), left:half]
    assert np.array_equal(
        middle[inside], np.kron(picture, np.ones((scale, scale, 1), np.uint8))[:, : half - left]
    )


def test_zoom_keeps_the_pixel_under_the_cursor_and_both_views_move_together(shown):
    viewer = shown.viewer
    shown.set_mode("side")
    at = QPointF(viewer.width() * 0.2, viewer.height() * 0.6)
    before = viewer.picture_point(at)
    for steps in (1, 1, 1, -1):
        viewer.zoom(steps, at)
        assert (viewer.picture_point(at) - before).manhattanLength() < 2 / viewer.scale + 0.05
    left, right = viewer.panes()
    assert left.rect.center().x() - left.left == pytest.approx(right.rect.center().x() - right.left, abs=1.5)
    assert left.top == right.top
    place = QPoint(round(viewer.width() * viewer.divider), 100)
    drag(viewer, place, QPoint(120, 0))
    assert viewer.divider == pytest.approx((place.x() + 120) / viewer.width(), abs=0.01)
    viewer.zoom_to(8)
    center = viewer.center
    drag(viewer, QPoint(30, 60), QPoint(-16, -8))
    moved = (viewer.center - center) * viewer.scale / viewer.devicePixelRatioF()
    assert (moved.x(), moved.y()) == pytest.approx((16, 8))


def test_classes_are_switched_and_opacity_changes(shown):
    before = seen(shown)
    for line in range(1, 3):
        shown.legend.item(line, 0).setCheckState(Qt.Unchecked)
    shown.set_mode("overlay")
    without = seen(shown)
    assert not np.array_equal(before, without)
    shown.set_mode("picture")
    assert np.array_equal(without, seen(shown))
    shown.set_mode("overlay")
    shown.legend.item(1, 0).setCheckState(Qt.Checked)
    half = seen(shown)
    shown.opacity.setValue(90)
    assert not np.array_equal(half, seen(shown))


def test_the_picture_is_not_drawn_again_for_its_classes(shown, monkeypatch):
    shown.set_mode("side")
    before, tiles, drawn = seen(shown), shown.viewer.tiles, []
    draw = tiles.draw
    monkeypatch.setattr(tiles, "draw", lambda layer, *place: drawn.append(layer) or draw(layer, *place))
    shown.opacity.setValue(90)
    assert not np.array_equal(before, seen(shown))
    assert set(drawn) == {"overlay"}
    shown.controller.reduced.emit()
    settle(shown)
    assert "picture" in drawn


def test_a_tile_that_is_wanted_while_its_thread_ends_is_drawn(application):
    jobs, kept = Jobs(), []
    tiles = Tiles(jobs, lambda: kept.append(1))
    tiles.start((1024, 512), 1, lambda _layer, _level, box: np.zeros((512, 512, 3), np.uint8))
    for row in range(2):
        tiles.request([Key("mask", 0, row, 0)])
        # The thread is at its end, but the window has not heard of it.
        jobs.lanes["tiles"].submit(lambda: None).result()
    wait(lambda: len(kept) == 2, 5)
    jobs.end()
    assert len(kept) == 2


def test_an_object_is_picked_in_the_picture_and_in_the_table(shown):
    labels = shown.controller.document.segmentation.objects.labels
    y, x = np.argwhere(labels == 2)[0]
    pane = shown.viewer.panes()[0]
    place = QPoint(
        round(pane.left + (x + 0.5) * pane_scale(shown)), round(pane.top + (y + 0.5) * pane_scale(shown))
    )
    QTest.mouseClick(shown.viewer, Qt.LeftButton, pos=place)
    assert shown.table.selected_numbers() == [2]
    assert shown.viewer.outlines
    shown.viewer.hovered.emit(x, y)
    assert "#2" in shown.spot.text()
    shown.table.selectRow(0)
    box = shown.viewer.outlines[0].boundingRect()
    number = shown.table.number_at(0)
    areas = shown.controller.document.segmentation.objects.columns["area_px"]
    shown.table.sortByColumn(2, Qt.DescendingOrder)
    assert shown.table.number_at(0) == np.argmax(areas) + 1
    assert shown.table.rows.index(0, 2).data() == areas.max()
    assert shown.table.selected_numbers() == [number]
    assert box.left() == pytest.approx(np.argwhere(labels == number)[:, 1].min() + 0.25)


def pane_scale(window):
    return window.viewer.scale / window.viewer.devicePixelRatioF()


def test_check_boxes_act_without_the_network_and_averaging_once(shown, weights, pictures):
    engine = shown.controller.model.engine
    calls = len(engine.calls)
    shown.choices_box.least.setValue(30)
    shown.choices_box.split.setChecked(True)
    settle(shown)
    assert min(shown.controller.document.segmentation.objects.columns["area_px"]) >= 1
    assert len(engine.calls) == calls
    shown.choices_box.split.setChecked(False)
    shown.choices_box.least.setValue(0)
    for on in (True, False, True):
        shown.choices_box.tta.setChecked(on)
        settle(shown)
    assert engine.calls[calls:] == ["predict"]
    averaged = Unet(weights, "cpu", tta=True).predict(pictures / "p0.png")
    assert np.array_equal(shown.controller.document.segmentation.mask, averaged)


def test_averages_are_predicted_ahead_where_nothing_else_is_done(shown):
    document = shown.controller.document
    shown.controller.idle.timeout.emit()
    wait(lambda: document.predictions.get(True))
    settle(shown)
    calls = len(shown.controller.model.engine.calls)
    shown.choices_box.tta.setChecked(True)
    settle(shown)
    assert len(shown.controller.model.engine.calls) == calls


def test_saving_asks_before_it_replaces(shown, tmp_path, monkeypatch):
    output, wanted = tmp_path / "out", {"mask": True, "overlay": True, "objects": True, "labelme": True}
    shown.results.save(output, wanted)
    assert shown.phase.text() == "Saving …"
    wait(lambda: shown.banner.isVisible())
    assert shown.phase.text() == "Ready"
    mask = shown.controller.document.segmentation.mask
    assert np.array_equal(read_mask(output / "p0_mask.png"), mask)
    assert (output / "labelme" / "p0.json").is_file()
    assert len(read_table(output / "p0_objects.csv")) == shown.table.rows.rowCount()
    (output / "p0_mask.png").write_bytes(b"precious")
    answers, asked = ["", "replace"], []
    monkeypatch.setattr(dialogs, "ask", lambda *texts: asked.append(texts) or answers.pop(0))
    shown.results.save(output, wanted)
    wait(lambda: len(asked) == 1)
    settle(shown)
    assert (output / "p0_mask.png").read_bytes() == b"precious"
    shown.results.save(output, wanted)
    wait(lambda: len(asked) == 2)
    settle(shown)
    assert np.array_equal(read_mask(output / "p0_mask.png"), mask)


def test_labelme_opens_polygons_that_are_there_without_writing_them(shown, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("gui.saving.start_labelme", started.append)
    shown.settings.setValue("output", str(tmp_path / "out"))
    shown.results.open_in_labelme()
    wait(lambda: started)
    assert started == [tmp_path / "out" / "labelme" / "p0.json"]
    started[0].write_text("corrected by hand", encoding="utf-8")
    monkeypatch.setattr(results, "ask", lambda *_: "open")
    shown.results.open_in_labelme()
    wait(lambda: len(started) == 2)
    assert started[1].read_text(encoding="utf-8") == "corrected by hand"


def test_the_clipboard_takes_and_gives_pictures(shown, pictures):
    shown.set_mode("picture")
    shown.results.copy()
    settle(shown)
    copied = to_array(QApplication.clipboard().image())
    assert np.array_equal(copied[..., 0], read_image(pictures / "p0.png"))
    pasted = draw_sample(9, 50)[0]
    QApplication.clipboard().setImage(to_qimage(np.repeat(pasted[..., None], 3, 2)))
    shown.opening.paste()
    wait(lambda: shown.controller.document.path is None and measured(shown))
    assert np.array_equal(shown.controller.document.picture[..., 0], pasted)
