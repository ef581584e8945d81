"""The benchmarks: the reference loop by hand-worked values, the scores, and every script run small."""

import contextlib
import io
import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scripts import ROOT, start
from skimage.measure import label
from skimage.metrics import adapted_rand_error
from torch import nn

from utils.images.writing import write_image, write_mask
from utils.scoring.confusion import Scores
from utils.voc.folder import VocFolder

sys.path.insert(0, str(ROOT / "benchmarks"))
import accuracy
import loops
import measuring
import plain_loop
import recipes
import unlabelled

CPU = torch.device("cpu")


def pixels(*logits: tuple[float, ...]) -> torch.Tensor:
    """Logits (1, K, 1, W) of a row of pixels."""
    return torch.tensor(logits, dtype=torch.float32).T[None, :, None]


def one_hot(*classes: int, count: int) -> torch.Tensor:
    return torch.eye(count + 1)[list(classes)][None, None]


def test_loss_of_an_undecided_network():
    # Probabilities ½ everywhere: cross-entropy ln 2; Dice of each class 2·½ / (1 + 1) = ½.
    loss = plain_loop.one_hot_loss(pixels((0, 0), (0, 0)), torch.tensor([[[0, 1]]]), one_hot(0, 1, count=2))
    assert loss.item() == pytest.approx(math.log(2) + 0.5, abs=1e-4)


def test_loss_of_a_leaning_network():
    # Probabilities (¾, ¼) and (½, ½), both pixels of class 0. Hits: 1¼ of class 0, predicted 1¼, true 2;
    # class 1: none.
    logits = pixels((math.log(3), 0), (0, 0))
    loss = plain_loop.one_hot_loss(logits, torch.tensor([[[0, 0]]]), one_hot(0, 0, count=2))
    cross_entropy, dice = -(math.log(0.75) + math.log(0.5)) / 2, 2 * 1.25 / (1.25 + 2)
    assert loss.item() == pytest.approx(cross_entropy + 1 - (dice + 0) / 2, abs=1e-4)


def test_ignored_pixels_count_in_the_references_dice_alone():
    # Class 0: hits ½, predicted 1, true 1: Dice ½. Class 1: predicted 1, nowhere true: Dice 0.
    loss = plain_loop.one_hot_loss(pixels((0, 0), (0, 0)), torch.tensor([[[0, 2]]]), one_hot(0, 2, count=2))
    assert loss.item() == pytest.approx(math.log(2) + 0.75, abs=1e-4)


def test_counts():
    truth, prediction = (
        np.array([[0, 1, 1], [2, 255, 0]], np.uint8),
        np.array([[0, 1, 2], [2, 1, 1]], np.uint8),
    )
    expected = [[1, 1, 0], [0, 1, 1], [0, 0, 1]]
    np.testing.assert_array_equal(plain_loop.count_pixels(truth, prediction, 3), expected)


@pytest.fixture
def squares(tmp_path) -> VocFolder:
    """Two gray pictures of 2×2; class 1 is bright, but for one pixel each and an ignored one."""
    folder = VocFolder(tmp_path / "voc")
    pictures = {
        "a": ([[0, 200], [255, 10]], [[0, 1], [1, 1]]),
        "b": ([[90, 255], [255, 255]], [[1, 255], [1, 1]]),
    }
    for name, (picture, mask) in pictures.items():
        write_image(folder.images_dir / f"{name}.png", np.array(picture, np.uint8))
        write_mask(folder.mask_path(name), np.array(mask, np.uint8))
    return VocFolder(folder.root)


class Threshold(nn.Module):
    """Class 1 where the picture is brighter than a half."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = images.mean(1, keepdim=True) - 0.5
        return torch.cat([-bright, bright], dim=1)


def test_validation_counts_all_pictures(squares):
    counts = plain_loop.validate(Threshold(), squares, ["a", "b"], 2, CPU)
    # a: 0 and 10 are dark, the second of them truly 1; b: 90 is dark and truly 1, one bright pixel is
    # ignored.
    np.testing.assert_array_equal(counts, [[1, 0], [2, 4]])
    assert Scores(counts).miou == pytest.approx((1 / 3 + 4 / 6) / 2)


def test_picture_mask_and_target_are_flipped_together(squares):
    dataset = plain_loop.PlainDataset(squares, ["a"], 2)
    torch.manual_seed(0)
    seen = set()
    for _ in range(40):
        picture, mask, target = dataset[0]
        assert picture.shape == (3, 2, 2)
        assert target.argmax(-1).equal(mask)
        # Brightness and class of the four pixels, by which their places are known.
        pairs = list(
            zip((picture[0] * 255).round().int().flatten().tolist(), mask.flatten().tolist(), strict=True)
        )
        assert sorted(pairs) == [(0, 0), (10, 1), (200, 1), (255, 1)]
        seen.add(tuple(pairs))
    assert len(seen) == 4


def test_ignored_pixels_have_a_class_of_their_own(squares):
    _, mask, target = plain_loop.PlainDataset(squares, ["b"], 2, mode="L")[0]
    assert sorted(mask.flatten().tolist()) == [1, 1, 1, 2]
    assert target.sum(dim=(0, 1)).tolist() == [0, 3, 1]


def test_reference_loop_learns(squares):
    torch.manual_seed(0)
    net = nn.Conv2d(3, 2, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    loader = plain_loop.make_loader(plain_loop.PlainDataset(squares, ["a", "b"], 2), 2, CPU)
    losses = [plain_loop.train_one_epoch(net, optimizer, loader, CPU) for _ in range(20)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ([0, 0, 1, 0, 0], 1.0),
        # Joined: 4·3 ordered pairs predicted, 2·1 + 2·1 true, all of these found: 2·4 / (12 + 4).
        ([0, 0, 0, 0, 0], 0.5),
        # One object cut off as boundary, a region of its own: nothing is lost.
        ([1, 1, 1, 0, 0], 1.0),
        # Half of the second object is boundary: only the first's pairs are found: 2·2 / (2 + 4).
        ([0, 0, 1, 1, 0], 2 / 3),
    ],
)
def test_rand_f_by_hand(prediction, expected):
    truth = np.array([[0, 0, 1, 0, 0]])
    assert accuracy.rand_f(truth, np.array([prediction]), boundary=1) == pytest.approx(expected)


@given(st.integers(0, 10**6), st.floats(0.2, 0.8))
def test_rand_f_equals_scikit_image(seed, share):
    truth, prediction = np.random.default_rng(seed).random((2, 12, 15)) < share
    regions = [label(~mask, connectivity=1) for mask in (truth, prediction)]
    error, _, _ = adapted_rand_error(*regions, ignore_labels=(0,))
    assert accuracy.rand_f(truth, prediction, boundary=True) == pytest.approx(1 - error)


def test_rand_f_is_that_of_the_slices_own_score(shared, tmp_path, monkeypatch):
    rands = []
    for number in (20, 21):
        truth = np.array(accuracy.Image.open(shared / "isbi" / "labels" / f"{number}.png")) == 0
        # Membranes with gaps.
        prediction = truth & (np.random.default_rng(number).random(truth.shape) < 0.98)
        write_mask(tmp_path / f"{number}.png", prediction.astype(np.uint8))
        rands.append(accuracy.rand_f(truth, prediction, boundary=True))
    monkeypatch.setattr(sys, "argv", ["score.py", str(tmp_path), "20", "21"])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(str(shared / "isbi" / "score.py"), run_name="__main__")
    assert float(printed.getvalue().split("V-Rand")[1]) == pytest.approx(np.mean(rands), abs=1e-4)


def test_time_to_a_score():
    run = accuracy.Run("ours", [(0.5, 0.6), (1.0, 0.7), (1.5, 0.65)])
    assert accuracy.minutes_to(run, 0.65) == 1.0
    assert accuracy.minutes_to(run, 0.8) is None


def test_work_of_a_convolution():
    # 3·3 taps of 3 channels for each of 4 maps of 8×8, two operations each.
    assert measuring.forward_flop(lambda: nn.Conv2d(3, 4, 3, padding=1), 8) == 2 * 9 * 3 * 4 * 64


def test_the_clock_stops_once_per_block():
    seconds: list[float] = []
    assert list(measuring.timed(range(7), seconds, CPU, block=3)) == list(range(7))
    assert len(seconds) == 2


def test_rows_that_cannot_be_are_named(monkeypatch):
    assert "no such network" in loops.missing("smp", "plain, 64", CPU)
    monkeypatch.setattr(loops, "find_spec", lambda _: None)
    assert "pip install" in loops.missing("smp", "vgg", CPU)
    monkeypatch.setattr(loops, "which", lambda _: None)
    assert "compiler" in loops.missing("compiled", "vgg", CPU)
    assert loops.missing("ours", "vgg", CPU) is None


def quick(monkeypatch: pytest.MonkeyPatch, script: str, output: Path) -> list[list[str]]:
    """The cells of all tables that `python benchmarks/SCRIPT --quick --output OUTPUT` writes."""
    monkeypatch.setattr(sys, "argv", [script, "--quick", "--output", str(output)])
    runpy.run_path(str(ROOT / "benchmarks" / script), run_name="__main__")
    lines = output.read_text("utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert "PyTorch" in "".join(lines)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def test_speed(tmp_path, monkeypatch):
    header, _, plain, ours, loss_header, _, our_loss, plain_loss = quick(
        monkeypatch, "speed.py", tmp_path / "speed.md"
    )
    assert [plain[1], ours[1]] == ["plain loop", "ours"]
    assert plain[2] == "float32"
    row = dict(zip(header, ours, strict=True))
    names = ("train, s per picture", "predict, s", "validate, s", "peak, GiB")
    # Ratios to the plain loop are those of the numbers beside them.
    for name in names:
        place = header.index(name)
        assert plain[place + 1] == "1.00×"
        assert float(ours[place + 1].rstrip("×")) == pytest.approx(
            float(ours[place]) / float(plain[place])
            if name == "peak, GiB"
            else float(plain[place]) / float(ours[place]),
            rel=0.02,
            abs=0.011,
        )
    assert row["precision"] in ("float32", "bfloat16", "float16")
    assert loss_header[0] == "loss"
    assert [our_loss[0], plain_loss[0]] == ["ours, class indices", "one-hot target"]


def test_memory(tmp_path, monkeypatch):
    _, _, row = quick(monkeypatch, "memory.py", tmp_path / "memory.md")
    assert row[0] == "1 × 64×64"
    # PyTorch alone takes more than 50 MB; the ratios are to the plain loop.
    assert all(float(cell.split()[0]) > 0.05 for cell in row[1:])
    assert "(1.00×)" in row[1]


def test_operations(tmp_path, monkeypatch):
    _, _, *rows = quick(monkeypatch, "operations.py", tmp_path / "operations.md")
    *rows, whole, alone = [
        [row[0], *(float(cell.rstrip("%").replace("–", "0")) for cell in row[1:])] for row in rows
    ]
    shares = {row[0]: row[1:] for row in rows}
    assert all(95 <= sum(column) <= 105 for column in zip(*shares.values(), strict=True))
    assert shares["convolutions, backward"][0] > 0 and shares["convolutions, backward"][1] == 0
    # Of the time that is left without all else, the same work takes a larger share.
    assert all(part <= only for part, only in zip(whole[1:], alone[1:], strict=True))


def test_scoring(tmp_path):
    """As a script, because it starts processes of its own."""
    result = start([str(ROOT / "benchmarks" / "scoring.py"), "--quick", "--output", "scoring.md"], tmp_path)
    assert not result.returncode, result.stderr
    text = (tmp_path / "scoring.md").read_text("utf-8")
    whole = (f"all scores, {part}" for part in ("pictures", "tables", "report"))
    for row in (*whole, "our confusion matrix, pictures", "of scikit-learn, pictures"):
        assert f"{row} | " in text


def test_loader(tmp_path, monkeypatch):
    _, _, *rows = quick(monkeypatch, "loader.py", tmp_path / "loader.md")
    assert {row[0] for row in rows} >= {"ours, none", "ours, default", "plain loop: PIL, flips, one-hot"}
    assert {row[1] for row in rows} >= {"0"}
    assert all(row[2].isdigit() for row in rows)
    assert "of the time is spent waiting for data" in (tmp_path / "loader.md").read_text("utf-8")


def test_start(tmp_path, monkeypatch):
    _, _, *rows = quick(monkeypatch, "start.py", tmp_path / "start.md")
    assert [row[0].split("`")[1] for row in rows] == ["python train.py", "python predict.py --help"]
    assert all(cell.replace(".", "").isdigit() for row in rows for cell in row[1:])


def test_accuracy(tmp_path, monkeypatch):
    _, _, ours, careful, plain = quick(monkeypatch, "accuracy.py", tmp_path / "accuracy.md")
    assert ours[0].startswith("ours") and plain[0].startswith("plain loop")
    assert careful[0] == f"{ours[0]}, `--tta --close-gaps background`"
    for _, epochs, minutes, miou, rand_f, _ in (ours, careful, plain):
        assert int(epochs) >= 1 and float(minutes) < 60
        assert 0 <= float(miou) <= 1 and 0 <= float(rand_f) <= 1
    assert plain[5] != "never"
    assert (tmp_path / "accuracy.png").stat().st_size > 1000


def test_encoders(tmp_path, monkeypatch):
    _, _, ours, *smp = quick(monkeypatch, "encoders.py", tmp_path / "encoders.md")
    assert ours[:2] == ["vgg", "ours"]
    assert all(int(row[3]) >= 1 and 0 <= float(row[4]) <= 1 for row in (ours, *smp))


def test_precision(tmp_path, monkeypatch):
    _, _, *rows = quick(monkeypatch, "precision.py", tmp_path / "precision.md")
    assert [row[1] for row in rows] == ["0", "0"] and rows[1][0] == "float32"
    assert all(0 <= float(row[3]) <= 1 and 0 <= float(row[4].rstrip("%")) <= 100 for row in rows)


@pytest.mark.parametrize("script", ["accuracy.py", "encoders.py", "precision.py"])
def test_a_benchmark_on_real_pictures_asks_for_their_folder(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "benchmarks" / script), run_name="__main__")
    assert end.value.code == 2
    assert "error: --voc-root" in capsys.readouterr().err


def test_a_learning_curve_ends_with_the_time_but_not_before_its_epochs():
    calls = []
    scores = iter((0.3, 0.5, 0.4))
    curve = measuring.learning_curve(lambda: calls.append("train"), lambda: next(scores), minutes=0, least=3)
    assert [score for _, score in curve] == [0.3, 0.5, 0.4]
    assert calls == ["train"] * 3


def test_recipes(tmp_path, monkeypatch):
    _, _, ours, *peers = quick(monkeypatch, "recipes.py", tmp_path / "recipes.md")
    assert all(0 <= float(row[3].split()[0]) <= 1 for row in (ours, *peers))
    assert ours[4:] == ["–", "–"]
    assert peers[0][2] == "plain loop"


def test_pictures_without_annotation(tmp_path, monkeypatch):
    _, _, alone, with_others = quick(monkeypatch, "unlabelled.py", tmp_path / "unlabelled.md")
    assert [row[1:3] for row in (alone, with_others)] == [["2", "alone"], ["2", "with the others"]]
    assert all(0 <= float(row[3].split()[0]) <= 1 for row in (alone, with_others))


def test_pictures_whose_masks_are_not_used_are_in_no_split(tmp_path):
    folder = measuring.draw_folder(tmp_path / "voc", 10, 32)
    names = folder.read_split("train")
    folder.write_split("train", names[:8])
    folder.write_split("val", names[8:])
    few, pool = unlabelled.draw_few(folder, tmp_path, pictures=3, seed=0)
    own = few.read_split("train") + few.read_split("val")
    assert len(own) == 3 and set(own) <= set(names[:8])
    assert few.read_split("test") == names[8:]
    assert {path.stem for path in pool.iterdir()} == set(names[:8]) - set(own)
    assert {path.stem for path in few.images_dir.iterdir()} == {*own, *names[8:]}


def test_pictures_that_are_scored_are_kept_from_the_runs(tmp_path):
    folder = measuring.draw_folder(tmp_path / "voc", 10, 32)
    names = folder.read_split("train")
    folder.write_split("train", names[:8])
    folder.write_split("val", names[8:])
    copied = recipes.hold_out(folder, tmp_path / "copy")
    splits = {split: copied.read_split(split) for split in ("train", "val", "test")}
    assert splits == {"train": [*names[1:6], names[7]], "val": [names[0], names[6]], "test": names[8:]}
    assert sorted(copied.images) == sorted(names) and copied.read_class_names() == folder.read_class_names()
