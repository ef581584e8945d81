"""predict.py --mode dir_predict: faulty files, names, subfolders, tables."""

import numpy as np
import pytest
import tifffile
from cells import GRAY, RGB, counts_in, expected_mask, folder_of, nested, shares_in
from scripts import cut_off, favour, refused, snapshot

from unet import Unet
from utils.core.tables import read_table
from utils.images.reading import read_mask
from utils.images.writing import write_image


def test_folder_with_faulty_files(predict, weights, tmp_path, capsys):
    folder = folder_of(tmp_path, a=RGB, b=GRAY, c=RGB, d=GRAY[:30, :31])
    cut_off(folder / "b.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "words.tif").write_bytes(b"these are words")
    (folder / "notes.txt").write_text("not a picture at all", encoding="utf-8")
    predict(mode="dir_predict", input=folder)
    names = ["a.png", "a_mask.png", "c.png", "c_mask.png", "d.png", "d_mask.png", "order.csv", "summary.csv"]
    assert sorted(snapshot(tmp_path / "out")) == names
    for name in "acd":
        assert np.array_equal(
            read_mask(tmp_path / "out" / f"{name}_mask.png"), expected_mask(weights, folder / f"{name}.png")
        )
    output, warning = capsys.readouterr()
    assert f"3 of 6 pictures → {tmp_path / 'out'}" in output
    assert "warning: left out: 3 pictures" in warning
    for name in ("b.png", "empty.jpg", "words.tif"):
        assert str(folder / name) in warning
    assert "notes.txt" not in warning


def test_counts_of_a_folder_are_summed(predict, weights, tmp_path, capsys):
    folder = folder_of(tmp_path, a=RGB, b=GRAY[:30, :31])
    predict(mode="dir_predict", input=folder, count=True)
    output = capsys.readouterr().out
    counts = counts_in(output)
    assert list(shares_in(output).values()) == [share for _, share in counts.values()]
    masks = [expected_mask(weights, path).ravel() for path in folder.iterdir()]
    assert [pixels for pixels, _ in counts.values()] == np.bincount(
        np.concatenate(masks), minlength=3
    ).tolist()
    assert sum(share for _, share in counts.values()) == pytest.approx(100, abs=0.02)


def test_folder_in_which_one_class_is_found_everywhere(predict, weights, tmp_path, capsys):
    folder = folder_of(tmp_path, a=RGB, b=GRAY)
    predict(
        mode="dir_predict", input=folder, model_path=favour(weights, tmp_path / "cell.pth", background=1e6)
    )
    assert "warning: only one class was found in each of the 2 pictures" in capsys.readouterr().err


def test_folder_in_which_nothing_can_be_read(predict, tmp_path):
    folder = folder_of(tmp_path, a=RGB, b=GRAY)
    for path in folder.iterdir():
        cut_off(path)
    with refused("folder-unreadable", folder) as caught:
        predict(mode="dir_predict", input=folder)
    assert all(str(path) in caught.value.remedy for path in folder.iterdir())


@pytest.mark.parametrize("there", [True, False])
def test_folder_without_pictures(predict, tmp_path, there):
    if there:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "notes.txt").write_text("no picture", encoding="utf-8")
    with refused("folder-without-pictures" if there else "picture-folder-missing", tmp_path / "in"):
        predict(mode="dir_predict", input=tmp_path / "in")


def test_types_that_are_not_read_are_told(predict, tmp_path, capsys):
    folder = folder_of(tmp_path, a=RGB)
    (folder / "below").mkdir()
    (folder / "below" / "b.npy").write_bytes(b"")
    (folder / "c.psd").write_bytes(b"")
    predict(mode="dir_predict", input=folder)
    output, warning = capsys.readouterr()
    assert "1 of 1 picture" in output
    assert "1 NumPy array file, such as b.npy" in warning and "such as c.psd" in warning
    (folder / "a.png").unlink()
    with refused("folder-without-pictures", folder) as caught:
        predict(mode="dir_predict", input=folder)
    assert "b.npy" in caught.value.remedy and "c.psd" in caught.value.remedy


def test_folder_mode_of_a_picture(predict, tmp_path):
    picture = folder_of(tmp_path, a=RGB) / "a.png"
    with refused("picture-folder-missing", picture):
        predict(mode="dir_predict", input=picture)


def test_folder_mode_without_a_folder(predict):
    with refused("input-missing", "--input"):
        predict(mode="dir_predict")


@pytest.mark.parametrize("other", ["a.tif", "a_mask.tif"])
def test_picture_whose_result_would_replace_that_of_another(predict, weights, tmp_path, capsys, other):
    folder = folder_of(tmp_path, a=RGB)
    write_image(folder / other, GRAY)
    predict(mode="dir_predict", input=folder)
    assert sorted(snapshot(tmp_path / "out")) == ["a.png", "a_mask.png", "order.csv", "summary.csv"]
    assert np.array_equal(
        read_mask(tmp_path / "out" / "a_mask.png"), expected_mask(weights, folder / "a.png")
    )
    warning = capsys.readouterr().err
    assert "left out: 1 picture\n" in warning
    assert f"{folder / other}\n" in warning


def test_pixel_size_alone_gives_areas_of_a_folder(predict, tmp_path):
    predict(mode="dir_predict", input=folder_of(tmp_path, a=RGB), pixel_size="0.5um")
    (row,) = read_table(tmp_path / "out" / "summary.csv")
    assert float(row["cell_area_um2"]) == int(row["cell_area_px"]) / 4 > 0


def test_folder_is_listed_from_the_least_to_the_most_certain(predict, weights, tmp_path):
    folder = folder_of(tmp_path, a=RGB, b=GRAY, c=255 - RGB, d=RGB[::-1] // 2)
    predict(mode="dir_predict", input=folder, objects=True)
    rows = read_table(tmp_path / "out" / "order.csv")
    unet = Unet(weights, "cpu", "fp32")
    certainty = {path.name: unet.predict_proba(path).max(0).mean() for path in folder.iterdir()}
    assert [row["picture"] for row in rows] == sorted(certainty, key=certainty.get)
    for row in rows:
        assert float(row["mean_certainty"]) == pytest.approx(certainty[row["picture"]], abs=0.003)
    summary = {row["picture"]: row for row in read_table(tmp_path / "out" / "summary.csv")}
    joined = read_table(tmp_path / "out" / "objects.csv")
    for name in certainty:
        objects = read_table(tmp_path / "out" / f"{name[0]}_objects.csv")
        assert [row for row in joined if row["picture"] == name] == objects
        counted = sum(int(value) for column, value in summary[name].items() if column.endswith("_objects"))
        assert counted == len(objects)
    predict(mode="dir_predict", input=folder, objects=True, overwrite=True)
    assert len(read_table(tmp_path / "out" / "summary.csv")) == 4


def test_tables_of_another_folder_are_kept(predict, tmp_path):
    predict(mode="dir_predict", input=folder_of(tmp_path, a=RGB))
    (tmp_path / "in" / "a.png").rename(tmp_path / "in" / "b.png")
    before = snapshot(tmp_path / "out")
    with refused("result-exists", tmp_path / "out" / "summary.csv"):
        predict(mode="dir_predict", input=tmp_path / "in")
    assert snapshot(tmp_path / "out") == before


def test_subfolders_keep_their_structure(predict, weights, tmp_path):
    folder = nested(tmp_path)
    write_image(folder / "day 0" / "1.png", GRAY)
    output = folder / "out"
    for _ in range(2):
        predict(mode="dir_predict", input=folder, output=output, overwrite=True)
        masks = sorted(name for name in snapshot(output) if name.endswith("_mask.png"))
        assert masks == [f"day {d}/{n}_mask.png" for d, n in [(0, 0), (0, 1), (0, 2), (0, 4), (1, 1), (1, 3)]]
    for name in masks:
        source = folder / name.replace("_mask", "")
        assert np.array_equal(read_mask(output / name), expected_mask(weights, source))


def test_results_that_look_like_parts_of_the_summary_are_kept(predict, tmp_path):
    folder = tmp_path / "in"
    write_image(folder / "summary.1.png", RGB)
    predict(mode="dir_predict", input=folder, objects=True)
    assert (tmp_path / "out" / "summary.1_objects.csv").exists()


def test_a_picture_of_floats_in_a_folder_is_left_out_by_name(predict, tmp_path, capsys, small_is_large):
    folder = folder_of(tmp_path, a=RGB)
    tifffile.imwrite(folder / "b.tif", np.ones((50, 50), np.float32), photometric="minisblack")
    predict(mode="dir_predict", input=folder)
    assert f"{folder / 'b.tif'}\n  found:    floating-point values" in capsys.readouterr().err


def test_deleted_pictures_of_windows_are_passed_over(predict, tmp_path, capsys):
    folder = folder_of(tmp_path, a=RGB)
    write_image(folder / "$RECYCLE.BIN" / "b.png", GRAY)
    predict(mode="dir_predict", input=folder)
    assert "1 of 1 picture" in capsys.readouterr().out


def test_a_picture_whose_result_would_replace_the_copy_of_another(predict, tmp_path, capsys):
    folder = folder_of(tmp_path, a=RGB)
    write_image(folder / "labelme" / "a.png", GRAY)
    predict(mode="dir_predict", input=folder, save_labelme=True)
    assert "has the same name and would share its result a.png" in capsys.readouterr().err
    assert (tmp_path / "out" / "labelme" / "a.png").read_bytes() == (folder / "a.png").read_bytes()


def test_a_copy_of_another_picture_stops_a_folder_before_it_begins(predict, tmp_path):
    folder = folder_of(tmp_path, a=RGB, b=GRAY)
    write_image(tmp_path / "out" / "labelme" / "b.png", RGB)
    before = snapshot(tmp_path)
    with refused("result-exists", tmp_path / "out" / "labelme" / "b.png"):
        predict(mode="dir_predict", input=folder, save_labelme=True)
    assert snapshot(tmp_path) == before
