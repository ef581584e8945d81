"""Several networks that label pictures together: when they do, what they write, and what learns from it."""

import sys
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scripts import make_voc, refused, tiny

from train import main
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.models.checkpoint import load_checkpoint
from utils.training import looks, mixed, pseudo_labels, teaching
from utils.training.augmentation import STRENGTHS
from utils.training.batches import EpochBatches
from utils.training.mixed import Source, add_labelled, find_labelled, paste
from utils.training.pseudo_labels import TEACHERS, find_sure, label_pictures, train_taught
from utils.training.samples import SegmentationDataset, make_loader
from utils.voc.demo import draw_sample
from utils.voc.folder import VocFolder

PIXELS = [1, 1, 1, 1]  # of the classes in annotated masks


@pytest.fixture
def folder(tmp_path):
    return make_voc(tmp_path / "voc", count=5, val=2)


@pytest.fixture
def pool(tmp_path):
    """A folder of seven pictures without annotation."""
    for index in range(7):
        write_image(tmp_path / "pool" / f"other_{index}.png", draw_sample(100 + index, 48)[0])
    return tmp_path / "pool"


class Fixed:
    """Teachers that always say the same: class 1 in the left half, class 0 in the right one."""

    def __init__(self, left, right, size=48):
        self.found, self.certainty = np.zeros((2, size, size), np.uint8)
        self.found[:, : size // 2], self.certainty[:, : size // 2] = 1, left
        self.certainty[:, size // 2 :] = right

    def predict_with_certainty(self, image):
        return self.found, self.certainty


def sources_of(pool):
    return [Source(path) for path in sorted(pool.iterdir())]


@pytest.mark.parametrize(
    ("share", "sure"),
    [
        (0.4, 200),  # the surer half is more than that
        (0.5, 200),
        (0.6, 150),  # takes both halves
    ],
)
def test_sure_is_what_so_many_pixels_are_at_least(share, sure, monkeypatch, tmp_path):
    monkeypatch.setattr(pseudo_labels, "SURE", share)
    assert find_sure(Fixed(left=200, right=150), [tmp_path / "any.png"] * 3) == sure


def test_labels_are_what_the_teachers_are_sure_of(pool, tmp_path, capsys):
    labels = tmp_path / "labels"
    label_pictures(Fixed(left=200, right=150), sources_of(pool), 1, labels, 600, seed=0)
    assert sorted(path.name for path in labels.iterdir()) == [f"other_{index}.png.png" for index in range(7)]
    for path in labels.iterdir():
        mask = read_mask(path)
        assert (mask[:, :24] == 1).all()
        assert (mask[:, 24:] == 255).all()
    said = "labels   of 7 pictures, on 50% of their pixels, of which the teachers are 78% sure or more: "
    assert said in capsys.readouterr().out
    assert find_labelled(pool, labels)[0] == Source(pool / "other_0.png", labels / "other_0.png.png")


def test_teachers_that_know_nothing_label_nothing(pool, tmp_path, capsys):
    labels = tmp_path / "labels"
    assert label_pictures(Fixed(left=84, right=60), sources_of(pool), 1, labels, 600, seed=0) is None
    assert not labels.exists()
    assert "33% sure of the 40%" in capsys.readouterr().err
    assert label_pictures(Fixed(left=86, right=60), sources_of(pool), 1, labels, 600, seed=0) == labels


def test_time_and_number_of_labels_are_limited(pool, tmp_path, monkeypatch):
    label_pictures(Fixed(200, 150), sources_of(pool), 3, tmp_path / "late", 0, seed=0)
    assert len(list((tmp_path / "late").iterdir())) == 1
    monkeypatch.setattr(pseudo_labels, "MOST", 2)
    label_pictures(Fixed(200, 150), sources_of(pool), 3, tmp_path / "few", 600, seed=0)
    assert len(list((tmp_path / "few").iterdir())) == 2 * 3


def test_a_turn_has_every_labelled_picture_once_and_the_annotated_ones_several_times(
    folder, pool, tmp_path, monkeypatch
):
    monkeypatch.setattr(mixed, "STRONG", STRENGTHS["none"])
    monkeypatch.setattr(mixed, "CUT_SHARE", 0)
    monkeypatch.setattr(mixed, "CLASS_SHARE", 0)
    labels = tmp_path / "labels"
    for path in sorted(pool.iterdir())[:6]:
        write_mask(labels / f"{path.name}.png", np.full((48, 48), 2, np.uint8))
    settings = {"crop": (32, 32), "augmentation": STRENGTHS["none"], "crops_per_picture": 2}
    names = folder.read_split("train")[:1]
    dataset = SegmentationDataset(folder, names, 3, **settings)
    loader = make_loader(dataset, EpochBatches(len(dataset), 4, seed=0), 0, torch.device("cpu"))
    both = add_labelled(loader, find_labelled(pool, labels), PIXELS, torch.device("cpu"))
    turn = Counter(both.dataset.name_of(number) for number in range(len(both.dataset)))
    # Half of the samples are annotated.
    assert turn == {names[0]: 6 * 2, **{f"other_{index}": 2 for index in range(6)}}
    keys = [key for batch in both.batch_sampler for key in batch]
    assert sorted(key.number for key in keys) == list(range(24))
    for key in keys:
        image, mask = both.dataset[key]
        assert image.shape == (3, 32, 32)
        assert (mask == 2).all() == (both.dataset.name_of(key) != names[0])
        whole = read_image(both.dataset.path_of(key))
        crops = np.lib.stride_tricks.sliding_window_view(whole, (32, 32))
        assert (crops == image[0].numpy()).all((2, 3)).any()
    # The labelled ones are seen in a stronger view, which is the same each time.
    weak = [both.dataset[key][0] for key in keys]
    monkeypatch.setattr(mixed, "STRONG", STRENGTHS["strong"])
    for key, image in zip(keys, weak, strict=True):
        strong = both.dataset[key][0]
        assert torch.equal(strong, image) == (both.dataset.name_of(key) == names[0])
        assert torch.equal(strong, both.dataset[key][0])


def test_half_of_what_teachers_labelled_has_a_part_of_another_picture(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(mixed, "STRONG", STRENGTHS["none"])
    monkeypatch.setattr(mixed, "CLASS_SHARE", 0)
    for value in range(4):
        write_image(tmp_path / "pool" / f"{value}.png", np.full((48, 48), 50 * value, np.uint8))
        write_mask(tmp_path / "labels" / f"{value}.png.png", np.full((48, 48), value % 3, np.uint8))
    settings = {"crop": (48, 48), "augmentation": STRENGTHS["none"]}
    dataset = SegmentationDataset(folder, folder.read_split("train")[:1], 3, **settings)
    loader = make_loader(dataset, EpochBatches(len(dataset), 2, seed=0), 0, torch.device("cpu"))
    labelled = find_labelled(tmp_path / "pool", tmp_path / "labels")
    both = add_labelled(loader, labelled, PIXELS, torch.device("cpu"))
    shares = []
    for number in range(8 * 40):
        image, mask = both.dataset[number]
        if number % 8 >= 4:
            assert (mask == image[0] // 50 % 3).all()
            own = 50 * int(both.dataset.name_of(number))
            shares.append(float((image[0] != own).float().mean()))
    shares = np.array(shares)
    # Of 160 crops half get a part, a quarter of them one of the same picture.
    assert 0.25 < (shares > 0).mean() < 0.5
    assert 0.15 < shares[shares > 0].min() < shares.max() < 0.51
    # Nothing is pasted into what is kept in memory.
    monkeypatch.setattr(mixed, "CUT_SHARE", 0)
    for number in range(4, 8):
        image, mask = both.dataset[number]
        value = int(both.dataset.name_of(number))
        assert (image == 50 * value).all()
        assert (mask == value % 3).all()


def test_half_of_what_teachers_labelled_has_the_rarer_classes_of_an_annotated_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(mixed, "STRONG", STRENGTHS["none"])
    monkeypatch.setattr(mixed, "CUT_SHARE", 0)
    folder = VocFolder(tmp_path)
    classes = np.repeat(np.array([0, 1, 2, 3, 3, 255], np.uint8), 8)[:, None].repeat(48, 1)
    write_image(folder.images_dir / "drawn.png", classes // 2)
    write_mask(folder.mask_path("drawn"), classes)
    write_image(tmp_path / "pool" / "other.png", np.full((48, 48), 200, np.uint8))
    write_mask(tmp_path / "labels" / "other.png.png", np.full((48, 48), 4, np.uint8))
    settings = {"crop": (48, 48), "augmentation": STRENGTHS["none"]}
    loader = make_loader(
        SegmentationDataset(folder, ["drawn"], 3, **settings),
        EpochBatches(1, 2, seed=0),
        0,
        torch.device("cpu"),
    )
    # Class 1 is the rarest of all, then 3, although this picture shows more of it than of the others.
    labelled = find_labelled(tmp_path / "pool", tmp_path / "labels")
    both = add_labelled(loader, labelled, [90, 10, 60, 50, 0], torch.device("cpu")).dataset
    rare = np.isin(classes, (1, 3))
    mixtures = 0
    for number in range(1, 200, 2):
        image, mask = both[number]
        pasted = bool((mask != 4).any())
        mixtures += pasted
        assert np.array_equal(mask, np.where(rare & pasted, classes, 4))
        assert np.array_equal(image[0], np.where(rare & pasted, classes // 2, 200))
    assert 35 <= mixtures <= 65


def test_of_an_annotated_picture_of_one_class_a_rectangle_is_pasted(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(mixed, "CLASS_SHARE", 1)
    name = folder.read_split("train")[0]
    write_mask(folder.mask_path(name), np.zeros((48, 48), np.uint8))
    write_image(tmp_path / "pool" / "other.png", np.full((48, 48), 200, np.uint8))
    write_mask(tmp_path / "labels" / "other.png.png", np.full((48, 48), 1, np.uint8))
    settings = {"crop": (48, 48), "augmentation": STRENGTHS["none"]}
    dataset = SegmentationDataset(folder, [name], 3, **settings)
    loader = make_loader(dataset, EpochBatches(1, 2, seed=0), 0, torch.device("cpu"))
    labelled = find_labelled(tmp_path / "pool", tmp_path / "labels")
    mask = add_labelled(loader, labelled, PIXELS, torch.device("cpu")).dataset[1][1].numpy()
    rows, columns = np.nonzero(mask == 0)
    assert 0.15 < len(rows) / mask.size < 0.51
    assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_parts_of_8_bit_pictures_are_pasted_into_16_bit_ones():
    dtypes = torch.uint8, torch.uint16
    where = np.array([[True, False]])
    for part, own in ((0, 1), (1, 0), (1, 1)):
        arrays = [torch.tensor([[[200, 100]]]).to(dtypes[one]) for one in (part, own)]
        (image,) = paste(arrays[:1], arrays[1:], where)
        assert image.dtype == torch.uint16
        assert image.int().tolist() == [[[200 * (1 if part else 257), 100 * (1 if own else 257)]]]


def test_weights_of_borders_are_none_in_labels_of_networks(folder, pool, tmp_path):
    labels = tmp_path / "labels"
    write_mask(labels / "other_0.png.png", Fixed(0, 0).found)
    border = SimpleNamespace(of_picture=lambda number, mask, objects: np.ones(mask.shape, np.float32))
    settings = {"crop": (48, 48), "augmentation": STRENGTHS["none"], "border": border}
    dataset = SegmentationDataset(folder, folder.read_split("train")[:1], 3, **settings)
    loader = make_loader(dataset, EpochBatches(len(dataset), 2, seed=0), 0, torch.device("cpu"))
    both = add_labelled(loader, find_labelled(pool, labels), PIXELS, torch.device("cpu")).dataset
    assert [float(both[number][2].mean()) for number in range(2)] == [1.0, 0.0]


def test_labels_and_pictures_that_are_gone_are_mistakes(folder, pool, tmp_path):
    with refused("labels-missing", tmp_path / "labels"):
        find_labelled(pool, tmp_path / "labels")
    write_mask(tmp_path / "labels" / "gone.png.png", Fixed(0, 0).found)
    settings = {"crop": (48, 48), "augmentation": STRENGTHS["none"]}
    dataset = SegmentationDataset(folder, folder.read_split("train")[:1], 3, **settings)
    loader = make_loader(dataset, EpochBatches(len(dataset), 2, seed=0), 0, torch.device("cpu"))
    both = add_labelled(loader, find_labelled(pool, tmp_path / "labels"), PIXELS, torch.device("cpu"))
    with refused("file-missing", pool / "gone.png"):
        list(both)


@pytest.fixture
def runs(monkeypatch):
    """The settings of the runs that were asked for. miou: that each of them gives."""
    asked = SimpleNamespace(runs=[], miou=0.2, labelled=[])

    def train_once(config, names):
        asked.runs.append(config)
        return SimpleNamespace(
            folder=config.save_dir / config.run_name, scores=SimpleNamespace(miou=asked.miou)
        )

    def open_teachers(weights, device, close_gaps):
        assert (device, close_gaps) == ("cpu", "none")
        asked.labelled.append(weights)
        return "teachers"

    asked.train = lambda config: train_taught(train_once, open_teachers, config, None)
    monkeypatch.setattr(pseudo_labels, "label_pictures", lambda *given: given[3])
    monkeypatch.setattr(
        pseudo_labels, "learn_from_looks", lambda teacher, predictor, config, *_: (None, config)
    )
    return asked


def test_where_there_is_no_time_for_looks_several_networks_label_together(
    runs, folder, pool, tmp_path, capsys
):
    runs.train(tiny(folder, tmp_path / "logs", unlabelled=pool, max_minutes=10, seed=7))
    *teachers, last = runs.runs
    assert [run.run_name for run in teachers] == [f"run_teacher{number}" for number in range(1, TEACHERS + 1)]
    assert len({run.seed for run in runs.runs}) == TEACHERS + 1
    assert all(run.unlabelled is None and run.max_minutes == 1 for run in teachers)
    assert runs.labelled == [[tmp_path / "logs" / run.run_name / "best.pth" for run in teachers]]
    assert last.run_name == "run"
    assert last.labels == tmp_path / "logs" / "run" / "labels"
    assert 5.5 < last.max_minutes <= 6
    said = capsys.readouterr()
    assert "may not have helped: mIoU 20.00%, the best teacher's is 20.00%, see " in said.out
    assert "mIoU 20.00%: below 40% a network would teach itself its mistakes" in said.err


def test_where_there_is_time_what_knows_the_looks_labels(runs, folder, pool, tmp_path, monkeypatch):
    weights = tmp_path / "looks.pth"

    def learned(teacher, predictor, config, *_):
        return "probe", replace(config, model_path=weights)

    monkeypatch.setattr(pseudo_labels, "learn_from_looks", learned)
    asked = []
    monkeypatch.setattr(pseudo_labels, "label_pictures", lambda *given: asked.append(given[0]) or given[3])
    runs.train(tiny(folder, tmp_path / "logs", unlabelled=pool, max_minutes=10))
    assert [run.run_name for run in runs.runs] == ["run_teacher1", "run"]
    assert (asked, runs.labelled) == (["probe"], [])
    last = runs.runs[-1]
    assert (last.labels, last.model_path) == (tmp_path / "logs" / "run" / "labels", weights)
    # What was not needed for looks is left.
    assert 8.5 < last.max_minutes <= 9


def test_where_the_teachers_know_nothing_the_run_goes_on_without_labels(
    runs, folder, pool, tmp_path, monkeypatch
):
    monkeypatch.setattr(pseudo_labels, "label_pictures", lambda *_: None)
    runs.train(tiny(folder, tmp_path / "logs", unlabelled=pool, max_minutes=10))
    last = runs.runs[-1]
    assert (len(runs.runs), last.labels, last.unlabelled) == (TEACHERS + 1, None, pool)
    assert last.max_minutes == pytest.approx(6, abs=0.1)


def test_where_one_network_knows_enough_it_teaches_itself(runs, folder, pool, tmp_path):
    runs.miou = teaching.LEAST
    config = tiny(folder, tmp_path / "logs", unlabelled=pool, max_minutes=10)
    runs.train(config)
    (run,) = runs.runs[1:]
    assert 8.5 < run.max_minutes <= 9
    assert run == replace(config, max_minutes=run.max_minutes)


def test_only_runs_against_the_clock_have_teachers(runs, folder, pool, tmp_path):
    plain = tiny(folder, tmp_path / "logs", max_minutes=10)
    for config in (
        plain,
        replace(plain, unlabelled=pool, max_minutes=None),
        replace(plain, unlabelled=pool, resume=tmp_path / "last.pth"),
    ):
        runs.train(config)
    assert [run.unlabelled for run in runs.runs] == [None, pool, pool]
    mask = np.full((48, 48), 255, np.uint8)
    mask[:5], mask[5:9] = 0, 1
    for name in folder.read_split("train"):
        write_mask(folder.mask_path(name), mask)
    runs.train(replace(plain, unlabelled=pool))
    assert len(runs.runs) == 4  # strokes say more than labels of networks


def test_a_run_of_that_name_is_not_overwritten(runs, folder, pool, tmp_path):
    (tmp_path / "logs" / "run").mkdir(parents=True)
    (tmp_path / "logs" / "run" / "last.pth").touch()
    with refused("run-exists", tmp_path / "logs" / "run"):
        runs.train(tiny(folder, tmp_path / "logs", unlabelled=pool, max_minutes=10))
    assert not runs.runs


def test_teachers_that_are_there_go_on(runs, folder, pool, tmp_path):
    last = tmp_path / "logs" / "run_teacher2" / "last.pth"
    last.parent.mkdir(parents=True)
    last.touch()
    runs.train(tiny(folder, tmp_path / "logs", unlabelled=pool, max_minutes=10))
    assert [run.resume for run in runs.runs] == [None, last, None, None, None]


def test_a_run_learns_from_the_labels_and_goes_on_with_them(folder, pool, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(teaching, "LEAST", 1.1)
    monkeypatch.setattr(pseudo_labels, "KNOWING", 0.0)
    monkeypatch.setattr(pseudo_labels, "LABELLING", 1000.0)  # however slow the machine is
    settings = {"unlabelled": pool, "input_shape": (32, 32), "max_minutes": 0.1}
    main(tiny(folder, tmp_path / "logs", **settings))
    run = tmp_path / "logs" / "run"
    said, notes = capsys.readouterr()
    assert "note: only a new plain network of depth 3 or more learns looks, so 4 networks label" in notes
    assert len(list((run / "labels").iterdir())) == 7
    assert "pool     7 pictures labelled by the teachers; 46% of the crops are of annotated ones" in said
    assert said.count("pictures without annotation  ") == 1
    last = load_checkpoint(run / "last.pth")
    assert last.settings["labels"] == str(run / "labels")
    assert "teaching" not in last.training
    monkeypatch.setattr(sys, "argv", ["train.py"])
    main(tiny(folder, tmp_path / "logs", **settings, labels=run / "labels", resume=run / "last.pth"))
    assert "pool     7 pictures labelled" in capsys.readouterr().out


def test_a_run_starts_from_looks_and_learns_from_what_they_tell(folder, pool, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(teaching, "LEAST", 1.1)
    monkeypatch.setattr(pseudo_labels, "KNOWING", 0.0)
    monkeypatch.setattr(pseudo_labels, "LABELLING", 1000.0)  # however slow the machine is
    monkeypatch.setattr(looks, "LEAST_STEPS", 0)
    monkeypatch.setattr(looks, "CROPS", 2)
    logs, settings = tmp_path / "logs", {"unlabelled": pool, "input_shape": (64, 64), "max_minutes": 0.1}
    config = tiny(folder, logs, **settings, depth=4)
    main(config)
    said = capsys.readouterr().out
    assert "looks    of 10 pictures, learned in " in said
    assert f"weights  from {logs / 'run_looks' / 'looks.pth'}" in said
    assert "pool     7 pictures labelled by the teachers" in said
    last = load_checkpoint(logs / "run" / "last.pth")
    assert last.settings["model_path"] == str(logs / "run_looks" / "looks.pth")
    assert last.settings["coarse"] == 0
    assert not (logs / "run_teacher2").exists()
    # A run that was stopped later does not learn the looks again.
    for name in ("last.pth", "best.pth"):
        (logs / "run" / name).unlink()
    main(config)
    said = capsys.readouterr().out
    assert "looks    of " not in said
    assert "pool     7 pictures labelled by the teachers" in said
    # Who has weights to start from keeps them.
    main(tiny(folder, logs, **settings, depth=4, run_name="other", model_path=logs / "run" / "best.pth"))
    assert not (logs / "other_looks").exists()
    assert (logs / "other_teacher4").exists()
    assert "only a new plain network of depth 3 or more learns looks" in capsys.readouterr().err
    # Where the time is too short, too, several networks label.
    monkeypatch.setattr(looks, "LEAST_STEPS", 10**9)
    teacher = SimpleNamespace(folder=logs / "run_teacher1")
    given = replace(config, run_name="short")
    assert pseudo_labels.learn_from_looks(teacher, None, given, None, []) == (None, given)
    assert "note: too little time to learn the looks of the pictures (--max-minutes), so 4" in (
        capsys.readouterr().err
    )
