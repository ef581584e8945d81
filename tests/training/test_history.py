"""The log of a run and the pictures drawn for people."""

import csv
import math

import numpy as np
import pytest
from matplotlib.text import Text

from utils.core.console import UserError
from utils.images import plots
from utils.images.palette import voc_palette
from utils.images.plots import (
    class_bars,
    confusion_figure,
    curves_figure,
    draw_curves,
    draw_samples,
    montage,
    overlay_tile,
    save_figure,
)
from utils.images.reading import read_image
from utils.training.history import History, Row, best_row, read_history


def row(epoch: int, miou: float = 0.5) -> Row:
    return Row(epoch, 0.001 / epoch, 1 / epoch, 1.2 / epoch, miou, 12.5, 3.25)


def test_rows_are_read_back_after_every_epoch(tmp_path):
    path = tmp_path / "history.csv"
    history = History(path)
    for epoch in (1, 2, 3):
        history.add(row(epoch))
        saved = read_history(path)
        assert [r.epoch for r in saved] == list(range(1, epoch + 1))
        for number, r in enumerate(saved, start=1):
            assert vars(r) == pytest.approx(vars(row(number)), rel=1e-5)


def test_the_columns_are_those_of_the_documentation(tmp_path):
    History(tmp_path / "history.csv").add(row(1))
    with (tmp_path / "history.csv").open(newline="") as file:
        header, values = csv.reader(file)
    assert header == ["epoch", "lr", "train_loss", "val_loss", "miou", "seconds", "images_per_second"]
    assert [float(value) for value in values] == [1, 0.001, 1, 1.2, 0.5, 12.5, 3.25]


def test_a_resumed_run_keeps_what_came_before_its_checkpoint(tmp_path):
    path = tmp_path / "history.csv"
    resumed = History(path, [row(1), row(2)])
    resumed.add(row(3, miou=0.9))
    assert [(r.epoch, r.miou) for r in read_history(path)] == [(1, 0.5), (2, 0.5), (3, 0.9)]


@pytest.mark.parametrize(
    ("mious", "best"), [([0.3, 0.8, math.nan, 0.8], 2), ([math.nan, 0.1], 2), ([math.nan, math.nan], 1)]
)
def test_the_best_epoch_has_the_highest_score(mious, best):
    assert best_row([row(epoch, miou) for epoch, miou in enumerate(mious, 1)]).epoch == best


def test_a_new_run_starts_empty(tmp_path):
    History(tmp_path / "history.csv").add(row(7))
    History(tmp_path / "history.csv").add(row(1))
    assert [r.epoch for r in read_history(tmp_path / "history.csv")] == [1]
    assert read_history(tmp_path / "nothing.csv") == []


def test_a_locked_file_does_not_end_the_training(tmp_path, capsys):
    (tmp_path / "run").write_text("in the way")
    history = History(tmp_path / "run" / "history.csv")
    history.add(row(1))
    assert "history.csv" in capsys.readouterr().err
    (tmp_path / "run").unlink()
    history.add(row(2))
    assert [r.epoch for r in read_history(tmp_path / "run" / "history.csv")] == [1, 2]


@pytest.mark.parametrize("scores", [[0.3], [0.3, 0.7, 0.5], [math.nan, 0.5], [math.nan]])
def test_curves_are_drawn_from_the_first_epoch_on(tmp_path, scores):
    history = History(tmp_path / "history.csv")
    for epoch, miou in enumerate(scores, start=1):
        history.add(row(epoch, miou))
    history.draw()
    for name in ("loss.png", "miou.png"):
        assert np.ptp(read_image(tmp_path / name)) > 100


def test_curves_show_their_values(tmp_path):
    def drawn(values: list[float], name: str) -> np.ndarray:
        draw_curves(tmp_path / name, [1, 2, 3], {"validation": values}, "mIoU", top=1.0)
        return read_image(tmp_path / name)

    assert (drawn([0.1, 0.5, 0.9], "a.png") == drawn([0.1, 0.5, 0.9], "b.png")).all()
    assert (drawn([0.1, 0.5, 0.9], "a.png") != drawn([0.9, 0.5, 0.1], "b.png")).any()


def test_bars_show_their_values(tmp_path):
    def drawn(values: list[float]) -> np.ndarray:
        save_figure(class_bars(["background", "cell"], np.array(values), "IoU"), tmp_path / "bars.png")
        return read_image(tmp_path / "bars.png")

    # The bars are the only blue: their length is the value.
    long, short, absent = (
        int((p[..., 2].astype(int) - p[..., 0] > 60).sum())
        for p in (drawn([0.8, 0.8]), drawn([0.4, 0.4]), drawn([math.nan] * 2))
    )
    assert long == pytest.approx(2 * short, rel=0.05)
    assert absent == 0


def test_the_confusion_matrix_shows_shares_of_the_truth(tmp_path):
    def drawn(matrix: list[list[int]]) -> np.ndarray:
        figure = confusion_figure(["background", "cell"], np.array(matrix))
        save_figure(figure, tmp_path / "matrix.png")
        return read_image(tmp_path / "matrix.png")

    right = drawn([[1, 0], [0, 1]])
    assert (right == drawn([[1000, 0], [0, 7]])).all()
    assert (right != drawn([[1, 0], [0, 0]])).any()


@pytest.mark.parametrize(
    "damage", ["epoch\n1,2,3\n", "epoch,lr\n1\n", "lr\n1\n", "epoch;lr\n1;0,1\n", "\xff\n1"]
)
def test_a_damaged_history_is_told(tmp_path, damage):
    (tmp_path / "history.csv").write_bytes(damage.encode("latin-1"))
    with pytest.raises(UserError) as error:
        read_history(tmp_path / "history.csv")
    assert error.value.code == "history-damaged"


def test_a_class_without_truth_has_no_shares():
    figure = confusion_figure(["background", "cell"], np.array([[3, 1], [0, 0]]))
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.75", "0.25", "–", "–"]


@pytest.mark.parametrize(
    ("losses", "scale"), [([60, 2, 0.5], "log"), ([2, 1, 0.5], "linear"), ([np.nan], "linear")]
)
def test_a_large_first_loss_does_not_flatten_the_others(losses, scale):
    figure = curves_figure(range(len(losses)), {"validation": losses}, "loss")
    assert figure.axes[0].get_yscale() == scale
    figure.draw_without_rendering()
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels(which="both")]
    assert not any("10" in tick and "^" in tick for tick in ticks)


@pytest.mark.parametrize("count", [1, 4, 20, 300])
def test_epochs_are_whole_numbers(count):
    figure = curves_figure(range(1, count + 1), {"validation": [1.0] * count}, "loss")
    ticks = figure.axes[0].get_xticks()
    assert np.array_equal(ticks, ticks.round())


def test_the_confusion_matrix_of_many_classes(tmp_path):
    for count in (26, 150):
        names = [f"class {k}" for k in range(count)]
        save_figure(confusion_figure(names, np.eye(count, dtype=np.int64)), tmp_path / "matrix.png")
        image = read_image(tmp_path / "matrix.png")
        assert np.ptp(image) > 100
        assert max(image.shape) <= 4200


@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")
def test_chinese_class_names_and_paths(tmp_path):
    save_figure(class_bars(["背景", "细胞"], np.array([0.5, 0.25]), "IoU"), tmp_path / "条 形.png")
    figure = confusion_figure(["背景", "细胞"], np.eye(2, dtype=np.int64))
    save_figure(figure, tmp_path / "矩 阵.png")
    assert read_image(tmp_path / "条 形.png").ndim == read_image(tmp_path / "矩 阵.png").ndim == 3


def test_texts_that_were_made_before_are_drawn_in_the_font_for_chinese(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "CJK_FONTS", ("DejaVu Sans Mono",))
    figure = class_bars(["背景", "细胞"], np.array([0.5, 0.25]), "IoU")
    save_figure(figure, tmp_path / "bars.png")
    assert all("DejaVu Sans Mono" in text.get_family() for text in figure.findobj(Text))


def test_a_tile_keeps_the_proportions_on_white():
    tile = overlay_tile(np.full((10, 40), 90, np.uint8), None, side=80)
    assert tile.shape == (80, 80, 3)
    assert (tile[30:50] == 90).all()
    assert (tile[:30] == 255).all()
    assert (tile[50:] == 255).all()


def test_a_tile_shows_the_classes():
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30], mask[0, 0] = 1, 255
    tile = overlay_tile(np.full((40, 40, 3), 100, np.uint8), mask, side=40)
    assert (tile[35, 35] == 100).all()
    red, green, blue = tile[20, 20].astype(int)
    assert red > 105
    assert green == blue < 90
    for y, x in ((20, 29), (20, 10), (10, 20), (29, 20)):
        np.testing.assert_array_equal(tile[y, x], voc_palette()[1])
    assert (tile[9, 20] == 100).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (700, 2), (600, 600, 3)])
def test_tiles_of_any_picture(shape):
    image = np.zeros(shape, np.uint16)
    assert overlay_tile(image, np.ones(shape[:2], np.uint8), side=64).shape == (64, 64, 3)


def test_a_montage_puts_tiles_in_rows():
    tiles = [np.full((5, 5, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = montage(tiles, columns=2, gap=1)
    assert sheet.shape == (11, 11, 3)
    assert (sheet[:5, :5] == 10).all()
    assert (sheet[:5, 6:] == 20).all()
    assert (sheet[6:, :5] == 30).all()
    assert (sheet[5] == 255).all()
    assert (sheet[6:, 6:] == 255).all()


def test_titles_stand_above_the_columns(tmp_path):
    samples = [(np.full((20, 20), 100, np.uint8), None)] * 4
    draw_samples(tmp_path / "plain.png", samples, columns=2)
    draw_samples(tmp_path / "titled.png", samples, columns=2, titles=["picture", "truth"])
    plain, titled = read_image(tmp_path / "plain.png"), read_image(tmp_path / "titled.png")
    above = len(titled) - len(plain)
    np.testing.assert_array_equal(titled[above:], plain)
    assert above > 0
    left, right = np.array_split(titled[:above], 2, axis=1)
    assert left.min() < 100
    assert right.min() < 100


def test_samples_with_and_without_masks(tmp_path):
    image, mask = np.full((20, 20), 100, np.uint8), np.ones((20, 20), np.uint8)
    draw_samples(tmp_path / "batch.png", [(image, None), (image, mask), (image, mask)], columns=3)
    sheet = read_image(tmp_path / "batch.png")
    height, width = sheet.shape[:2]
    assert width > 2.9 * height
    assert (sheet[height // 2, height // 2] == 100).all()
    assert sheet[height // 2, width // 2, 0] > sheet[height // 2, width // 2, 1]
