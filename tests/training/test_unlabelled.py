"""Crops of pictures without annotation: which, in what views, and beside which annotated ones."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scripts import make_voc, refused

from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.training import mixed
from utils.training.augmentation import STRENGTHS
from utils.training.batches import EpochBatches
from utils.training.data import load_data
from utils.training.samples import SegmentationDataset, make_loader
from utils.training.unlabelled import (
    EVERY,
    Crop,
    Source,
    TaughtBatches,
    UnlabelledDataset,
    add_unlabelled,
    describe_sources,
    find_sources,
)
from utils.voc.demo import draw_sample

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    return make_voc(tmp_path / "voc", count=4)


@pytest.fixture
def pool(tmp_path):
    """A folder of five pictures without annotation."""
    for index in range(5):
        write_image(tmp_path / "pool" / f"other_{index}.png", draw_sample(100 + index, 64)[0])
    return tmp_path / "pool"


def dataset_of(folder, sources, seed=0, **settings):
    settings = {"crop": (32, 32), "augmentation": STRENGTHS["default"], "seed": seed} | settings
    return UnlabelledDataset(folder, [one.image.stem for one in sources], 3, sources=sources, **settings)


def annotated_loader(folder, workers=0):
    settings = {"crop": (32, 32), "augmentation": STRENGTHS["default"]}
    dataset = SegmentationDataset(folder, folder.read_split("train"), 3, **settings)
    return make_loader(dataset, EpochBatches(len(dataset), 2, seed=0), workers, CPU)


def test_crops_depend_on_seed_and_number_alone_and_pictures_take_turns(folder, pool):
    sources = find_sources(pool, load_data(folder))
    first, other = dataset_of(folder, sources), dataset_of(folder, sources, seed=1)
    for number in (0, 7, 13):
        again = dataset_of(folder, sources)[Crop(number)]
        assert all(torch.equal(*pair) for pair in zip(first[Crop(number)], again, strict=True))
    assert not torch.equal(first[Crop(0)].weak, other[Crop(0)].weak)
    turns = [[first.path_of(Crop(5 * turn + place)) for place in range(5)] for turn in range(3)]
    assert all(sorted(turn) == sorted(pool.iterdir()) for turn in turns)
    assert any(one != next_one for one, next_one in pairwise(turns))


def test_the_strong_view_is_the_same_crop_in_other_tones(folder, pool, monkeypatch):
    dataset = dataset_of(folder, find_sources(pool, load_data(folder)))
    weak, strong, known = dataset[Crop(3, 2)]
    assert weak.shape == strong.shape == (3, 16, 16)
    assert weak.dtype == strong.dtype == torch.uint8
    assert not torch.equal(weak, strong)
    assert (known == 255).all()
    monkeypatch.setattr(mixed, "STRONG", STRENGTHS["none"])
    assert all(torch.equal(*dataset[Crop(number)][:2]) for number in range(4))


def test_what_is_annotated_of_strokes_comes_with_the_crop(folder):
    """Pictures whose values tell the class of each pixel."""
    path, mask_path = folder.image_path("cells_0"), folder.mask_path("cells_0")
    mask = read_mask(mask_path)
    write_image(path, np.repeat(mask[..., None] * 50, 3, axis=2))
    mask[:, :40] = 255
    write_mask(mask_path, mask)
    plain = replace(STRENGTHS["none"], left_right=True, turn=True)
    dataset = dataset_of(folder, [Source(path, mask_path)], augmentation=plain)
    found = 0
    for number in range(6):
        weak, _, known = dataset[Crop(number)]
        is_known = known != 255
        assert torch.equal(weak[0][is_known], known[is_known] * 50)
        found += is_known.sum().item()
    assert found


def test_every_second_batch_has_as_many_crops_beside_the_annotated_ones():
    plain, taught = EpochBatches(11, 4, seed=0), TaughtBatches(11, 4, seed=0)
    assert list(plain) == list(taught)
    taught.taught = True
    numbers = []
    for epoch in range(3):
        plain.epoch = taught.epoch = epoch
        for step, (keys, both) in enumerate(zip(plain, taught, strict=True), epoch * len(plain)):
            assert both[: len(keys)] == keys
            assert len(both) == len(keys) + (4 if step % EVERY == 0 else 0)
            numbers += [key.number for key in both[len(keys) :]]
    assert numbers == list(range(20))
    # An epoch that an earlier part of the run began goes on with the same crops.
    whole = list(taught)
    taught.first = 2
    assert list(taught) == whole[2:]
    taught.divisor = 2
    assert all(key.divisor == 2 for keys in taught for key in keys)


def test_processes_share_the_crops_evenly(monkeypatch):
    whole = TaughtBatches(11, 5, seed=0)
    whole.taught = True
    shares = []
    for rank in range(2):
        monkeypatch.setattr("utils.training.batches.this_process", lambda rank=rank: (rank, 2))
        batches = TaughtBatches(11, 5, seed=0)
        batches.taught = True
        shares.append([[key for key in keys if isinstance(key, Crop)] for keys in batches])
    for one, other, keys in zip(*shares, whole, strict=True):
        assert len(one) == len(other) == (2 if any(isinstance(key, Crop) for key in keys) else 0)
        assert not set(one) & set(other)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_hold_both_and_the_number_of_workers_changes_nothing(folder, pool, workers):
    sources = find_sources(pool, load_data(folder))
    plain = list(annotated_loader(folder))
    loader = add_unlabelled(annotated_loader(folder, workers), sources, CPU)
    assert [len(batch) for batch in loader] == [2] * len(plain)
    loader.batch_sampler.taught = True
    batches = list(loader)
    for batch, before in zip(batches, plain, strict=True):
        assert all(torch.equal(*pair) for pair in zip(batch, before, strict=False))
    (views,) = [batch[-1] for batch in batches if len(batch) == 3]
    expected = [loader.dataset.unlabelled[Crop(number)] for number in range(2)]
    for part, crops in zip(views, zip(*expected, strict=True), strict=True):
        assert torch.equal(part, torch.stack(crops))
    keys = next(iter(loader.batch_sampler))
    assert str(loader.dataset.unlabelled.path_of(keys[-1])) in map(loader.dataset.name_of, keys)


def test_a_picture_that_was_damaged_meanwhile_is_named(folder, pool):
    loader = add_unlabelled(annotated_loader(folder), find_sources(pool, load_data(folder)), CPU)
    loader.batch_sampler.taught = True
    first = loader.dataset.unlabelled.path_of(Crop(0))
    first.write_bytes(b"no picture")
    with refused("picture-format", first):
        list(loader)


def test_pictures_of_the_splits_are_left_out_by_their_pixels(folder, pool, capsys):
    data = load_data(folder)
    image = read_image(folder.image_path(data.train[0]))
    write_image(pool / "copy_of_train.tif", image)
    write_image(pool / "copy_of_val.png", read_image(folder.image_path(data.val[0])))
    # Another picture that only has the name of one.
    write_image(pool / f"{data.train[1]}.png", 255 - image)
    sources = find_sources(pool, data)
    names = {source.image.name for source in sources}
    assert names == {*(f"other_{index}.png" for index in range(5)), f"{data.train[1]}.png"}
    assert "1 of train, 1 of val" in capsys.readouterr().err
    assert describe_sources(pool, sources).startswith("pool     6 pictures of")


def test_test_pictures_teach_neither(folder, capsys):
    folder.write_split("train", ["cells_0"])
    folder.write_split("val", ["cells_1"])
    folder.write_split("test", ["cells_2"])
    sources = find_sources(folder.images_dir, load_data(folder))
    assert [source.image.stem for source in sources] == ["cells_3"]
    assert "1 of test" in capsys.readouterr().err


def test_strokes_teach_by_what_is_not_annotated_of_them(folder):
    for name in folder.read_split("train"):
        mask = read_mask(folder.mask_path(name))
        mask[:, 12:] = 255
        write_mask(folder.mask_path(name), mask)
    sources = find_sources(folder.images_dir, load_data(folder))
    assert [source.mask for source in sources] == [folder.mask_path(f"cells_{index}") for index in range(3)]
    assert "pool     what is not annotated of 3 pictures" in describe_sources(folder.images_dir, sources)


def test_folders_of_no_use_are_mistakes(folder, pool, tmp_path):
    data = load_data(folder)
    with refused("picture-folder-missing", tmp_path / "nowhere"):
        find_sources(tmp_path / "nowhere", data)
    (tmp_path / "empty").mkdir()
    with refused("folder-without-pictures", tmp_path / "empty"):
        find_sources(tmp_path / "empty", data)
    with refused("unlabelled-none", folder.images_dir):
        find_sources(folder.images_dir, data)
    write_image(pool / "five.tif", np.zeros((20, 20, 5), np.uint8))
    with refused("picture-channels", pool / "five.tif"):
        find_sources(pool, data)
    (pool / "five.tif").write_bytes(b"no picture")
    with refused("picture-format", pool / "five.tif"):
        find_sources(pool, data)
