"""Checked data sets and the samples drawn from them: the same for the same seed, whoever loads them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from utils.core.console import UserError
from utils.images.arrays import to_channels
from utils.images.letterbox import letterbox_mask
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.training.augmentation import STRENGTHS
from utils.training.batches import EpochBatches, Key, same_size_batches
from utils.training.border_weights import BorderWeights
from utils.training.data import Data, load_data
from utils.training.samples import SegmentationDataset, collate, make_loader, tiles_of_samples
from utils.voc.folder import VocFolder

CPU = torch.device("cpu")


def crops(folder: VocFolder, names: list[str], seed: int = 0, **options: object) -> SegmentationDataset:
    options = {"crop": (32, 48), "crops_per_picture": 2, "augmentation": STRENGTHS["default"], **options}
    return SegmentationDataset(folder, names, 3, seed=seed, **options)


def assert_same_samples(one: list, other: list) -> None:
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a, b, strict=True):
            assert torch.equal(x, y)


def test_a_data_set_is_read_and_checked(voc_folder):
    folder = voc_folder(count=5, val=2)
    data = load_data(folder)
    assert data.train == ["cells_0", "cells_1", "cells_2"]
    assert data.val == ["cells_3", "cells_4"]
    assert data.class_names == ["background", "cell", "nucleus"]
    assert data.train_sizes == [(64, 64)] * 3
    assert data.val_sizes == [(64, 64)] * 2
    masks = [read_mask(folder.mask_path(name)) for name in data.train]
    assert list(data.class_pixels) == [sum((mask == k).sum() for mask in masks) for k in range(3)]
    values = np.stack([read_image(folder.image_path(name)) for name in data.train]) / 255
    normalisation = data.pictures.normalisation(1)
    assert normalisation.mean == pytest.approx([values.mean()])
    assert normalisation.std == pytest.approx([values.std()])
    assert (data.pictures.channels, data.pictures.range_16bit) == (1, None)
    image, mask = data.read_pair("cells_3")
    np.testing.assert_array_equal(image, read_image(folder.image_path("cells_3")))
    np.testing.assert_array_equal(mask, read_mask(folder.mask_path("cells_3")))


def test_pictures_of_strokes_come_with_the_classes_that_they_show(voc_folder):
    folder = voc_folder(count=5, val=1)
    strokes = {"cells_0": (0, 2), "cells_1": (1,), "cells_2": (0, 1, 2)}
    for name, shown in strokes.items():
        mask = np.full((64, 64), 255, np.uint8)
        mask[: len(shown)] = np.array(shown)[:, None]
        write_mask(folder.mask_path(name), mask)
    data = load_data(folder)
    expected = [[True, False, True], [False, True, False], [True] * 3, [False] * 3]
    assert data.shown_by_strokes.tolist() == expected
    dataset = crops(folder, data.train, shown=data.shown_by_strokes)
    assert [dataset[index][2].tolist() for index in (0, 1, 2, 3, 4, 8)] == [*expected, *expected[:1] * 2]
    assert not dataset[~2][2].any()
    assert [part.shape for part in collate([dataset[0], dataset[1]])[1:]] == [(2, 32, 48), (2, 3)]


@pytest.mark.parametrize("box", [None, (96, 64)])
def test_in_small_crops_strokes_grow_over_pixels_like_their_own(voc_folder, box):
    folder = voc_folder(count=3, val=1)
    image = np.full((64, 64), 30, np.uint8)
    image[:, 20:] = 200
    mask = np.full((64, 64), 255, np.uint8)
    mask[10:50, 4] = 0
    mask[10:50, 40] = 2
    for name in ("cells_0", "cells_1"):
        write_image(folder.image_path(name), image)
    write_mask(folder.mask_path("cells_0"), mask)
    write_mask(folder.mask_path("cells_1"), np.where(mask == 0, mask, 255).astype(np.uint8))
    data, border = load_data(folder), BorderWeights(10, 5)
    whole = {"crop": (96, 64) if box else (64, 64), "augmentation": STRENGTHS["none"], "box": box}
    dataset = crops(folder, data.train, shown=data.shown_by_strokes, border=border, **whole)
    _, grown, weights, shown = dataset[Key(0, 2)]
    bars = 8 if box else 0
    assert grown.shape == weights.shape == (32 + 2 * bars, 32)
    assert (grown[:bars] == 255).all() and (grown[len(grown) - bars :] == 255).all()
    middle = grown[bars : len(grown) - bars]
    assert (middle[:, :9] == 0).all() and (middle[:, 11:] == 2).all()
    assert not weights.any() and not shown.any()
    # One stroke of one class tells nothing of other pixels. In whole crops these are between strokes.
    assert (dataset[Key(1, 2)][1] == 255).float().mean() > 0.9
    assert not (dataset[Key(1)][1] == 254).any()
    _, drawn, _, shown = dataset[Key(0)]
    bars = 16 if box else 0
    assert (drawn[:bars] == 255).all() and (drawn[len(drawn) - bars :] == 255).all()
    assert (drawn[bars : len(drawn) - bars] == 254).float().mean() > 0.9
    assert shown.tolist() == [True, False, True]


@pytest.mark.parametrize("divisor", [1, 2])
def test_what_is_unlike_every_stroke_teaches_nothing(divisor, voc_folder):
    folder = voc_folder(count=2, val=1)
    image, mask = np.full((64, 64), 90, np.uint8), np.full((64, 64), 255, np.uint8)
    image[:, 32:] = 120
    image[36:60, 20:44] = 255
    for row in (2, 12, 22):
        mask[row, 2:28], mask[row, 36:62] = 0, 2
    write_image(folder.image_path("cells_0"), image)
    write_mask(folder.mask_path("cells_0"), mask)
    data = load_data(folder)
    whole = {"crop": (64, 64), "augmentation": STRENGTHS["none"]}
    dataset = crops(folder, data.train, shown=data.shown_by_strokes, **whole)
    ignored = dataset[Key(0, divisor)][1].numpy() == 255
    assert ignored[38 // divisor : 58 // divisor, 22 // divisor : 42 // divisor].all()
    assert not ignored[: 22 // divisor, : 22 // divisor].any()
    # Drawn as it is in a file.
    tiles = tiles_of_samples(dataset, [Key(0, divisor)])
    assert not (tiles[0][1] == 254).any()


def test_outlined_pictures_of_about_so_many_pixels(voc_folder):
    folder = voc_folder(count=6, val=4)
    write_mask(folder.mask_path("cells_2"), np.full((64, 64), 255, np.uint8))
    data = load_data(folder)
    for pixels, names in ((1000, []), (64 * 64 // 4, ["cells_3"]), (64 * 64 + 1, ["cells_3", "cells_4"])):
        found = [image for image, _ in data.outlined_pairs(pixels)]
        assert len(found) == len(names)
        for image, name in zip(found, names, strict=True):
            np.testing.assert_array_equal(image, read_image(folder.image_path(name)))


def test_a_few_strokes_among_dense_masks_say_nothing_of_other_pixels(voc_folder):
    folder = voc_folder(count=5, val=1)
    mask = np.full((64, 64), 255, np.uint8)
    mask[0], mask[1] = 0, 1
    write_mask(folder.mask_path("cells_0"), mask)
    assert load_data(folder).shown_by_strokes is None


def test_a_folder_that_is_not_there_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        load_data(VocFolder(tmp_path / "nowhere"))


@pytest.mark.parametrize("part", ["images_dir", "masks_dir"])
@pytest.mark.parametrize("name", ["cells_0", "cells_3"])
def test_a_fault_in_any_split_is_found(voc_folder, name, part):
    folder = voc_folder()
    path = getattr(folder, part) / f"{name}.png"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=name):
        load_data(folder)


def test_a_value_beyond_the_classes_is_found_in_the_validation_masks_too(voc_folder):
    folder = voc_folder()
    write_mask(folder.mask_path("cells_3"), np.full((64, 64), 9, np.uint8))
    with pytest.raises(UserError, match=r"cells_3\.png") as error:
        load_data(folder)
    assert "9 (4096 pixels)" in error.value.found


def test_a_class_without_training_pixels_is_a_warning(voc_folder, capsys):
    folder = voc_folder()
    for name in ("cells_0", "cells_1", "cells_2"):
        mask = read_mask(folder.mask_path(name))
        write_mask(folder.mask_path(name), np.where(mask == 2, 1, mask))
    assert load_data(folder).class_pixels[2] == 0
    assert "nucleus" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sizes", "wanted", "stride", "expected"),
    [
        ([(64, 64)], (512, 512), 16, (64, 64)),
        ([(1000, 800)], (512, 256), 16, (512, 256)),
        ([(50, 300), (70, 100)], (512, 512), 16, (80, 304)),
        ([(5, 7)], (512, 512), 16, (32, 32)),
        ([(100, 100)], (1, 1), 16, (32, 32)),
    ],
)
def test_crops_are_no_larger_than_the_largest_picture(sizes, wanted, stride, expected):
    data = Data(None, [], [], [], sizes, [], np.zeros(2), None, None, {}, {})
    assert data.fit_crop(wanted, stride) == expected


@pytest.mark.parametrize(
    ("sizes", "crop", "expected"),
    [([(64, 64)], (64, 64), 1), ([(512, 512)], (256, 256), 4), ([(9, 9)], (32, 32), 1)],
)
def test_crops_cover_a_picture_about_once(sizes, crop, expected):
    assert (
        Data(None, [], [], [], sizes, [], np.zeros(2), None, None, {}, {}).crops_per_picture(crop) == expected
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_without_crop_a_sample_is_the_whole_picture(voc_folder, channels):
    folder = voc_folder(count=2)
    dataset = SegmentationDataset(folder, ["cells_1", "cells_0"], channels)
    assert len(dataset) == 2
    image, mask = dataset[1]
    expected = to_channels(read_image(folder.image_path("cells_0")), channels)
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)
    np.testing.assert_array_equal(mask.numpy(), read_mask(folder.mask_path("cells_0")))
    assert image.dtype == mask.dtype == torch.uint8


def test_samples_depend_on_seed_epoch_and_index_alone(voc_folder):
    names = ["cells_0", "cells_1", "cells_2"]
    one, same, other = (crops(voc_folder(), names, seed) for seed in (7, 7, 8))
    assert len(one) == 6
    keys = [0, 5, 3, 6, 17]
    assert_same_samples([one[k] for k in keys], [same[k] for k in reversed(keys)][::-1])
    pictures = [dataset[key][0] for dataset, key in ((one, 0), (one, 3), (one, 6), (one, 12), (other, 0))]
    for i, a in enumerate(pictures):
        assert all(not torch.equal(a, b) for b in pictures[:i])


def test_every_picture_gives_its_share_of_crops(voc_folder):
    folder = voc_folder()
    for index in range(3):
        write_image(folder.images_dir / f"cells_{index}.png", np.full((64, 64), 50 * index, np.uint8))
    dataset = crops(folder, ["cells_0", "cells_1", "cells_2"], augmentation=STRENGTHS["none"])
    for epoch in range(2):
        values = sorted(int(dataset[epoch * 6 + index][0].max()) for index in range(6))
        assert values == [0, 0, 50, 50, 100, 100]


def test_numbered_objects_are_letterboxed_with_their_mask(voc_folder):
    folder = voc_folder()
    mask = read_mask(folder.mask_path("cells_0"))
    numbers = np.where(mask > 0, 1 + (np.arange(mask.shape[1]) > mask.shape[1] // 2), 0).astype(np.uint8)
    write_mask(folder.objects_path("cells_0"), numbers)
    border, size = BorderWeights(w0=4.0, sigma=3.0), (80, 64)
    options = {"augmentation": STRENGTHS["none"], "border": border, "box": size}
    data = SegmentationDataset(folder, ["cells_0"], 3, crop=size, **options)
    boxed = [letterbox_mask(torch.from_numpy(x), size).numpy() for x in (mask, numbers)]
    np.testing.assert_allclose(data[0][2].numpy(), border(*boxed), atol=1e-5)


def test_border_weights_are_computed_once_per_mask(voc_folder, tmp_path):
    computed = []

    class Counting(BorderWeights):
        def __call__(self, mask: np.ndarray, objects: np.ndarray | None = None) -> np.ndarray:
            computed.append(mask)
            return super().__call__(mask, objects)

    folder = voc_folder()
    options = {"border": Counting(w0=4.0, sigma=3.0, store=tmp_path), "cache_bytes": 0}
    # Two processes that share the folder, three epochs each.
    for data in (crops(folder, ["cells_0", "cells_1"], **options) for _ in range(2)):
        _ = [data[key] for key in range(3 * len(data))]
    assert len(computed) == 2
    expected = BorderWeights(w0=4.0, sigma=3.0)(read_mask(folder.mask_path("cells_1")))
    whole = SegmentationDataset(folder, ["cells_0", "cells_1"], 3, **options)
    np.testing.assert_allclose(whole[1][2].numpy(), expected, rtol=1e-3, atol=1e-6)


def test_border_weights_do_without_a_folder_that_cannot_be_written(voc_folder, tmp_path):
    folder = voc_folder()
    there, gone = (
        SegmentationDataset(folder, ["cells_0"], 3, border=BorderWeights(4.0, 3.0, store), cache_bytes=0)
        for store in (tmp_path, tmp_path / "gone")
    )
    assert_same_samples([gone[0]], [there[0]])


def test_border_weights_come_with_the_mask(voc_folder):
    folder = voc_folder()
    border = BorderWeights(w0=4.0, sigma=3.0)
    whole = SegmentationDataset(folder, ["cells_0"], 3, border=border)
    mask = read_mask(folder.mask_path("cells_0"))
    np.testing.assert_array_equal(whole[0][2].numpy(), border(mask))
    _, _, weights = crops(folder, ["cells_0"], border=border)[0]
    assert weights.shape == (32, 48)
    assert weights.dtype == torch.float32


@pytest.mark.parametrize(("workers", "context"), [(2, None), (2, "spawn")])
def test_the_number_of_workers_changes_nothing(voc_folder, workers, context):
    dataset = crops(voc_folder(), ["cells_0", "cells_1", "cells_2"])
    batches = EpochBatches(len(dataset), batch_size=2, seed=0)
    alone, helped = make_loader(dataset, batches, 0, CPU), make_loader(dataset, batches, workers, CPU)
    if context:
        helped = DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=collate,
            multiprocessing_context=context,
        )
    for epoch in range(1 if context else 2):
        batches.epoch = epoch
        assert_same_samples(list(alone), list(helped))


@given(
    length=st.integers(1, 60), batch_size=st.integers(1, 70), seed=st.integers(0, 99), epoch=st.integers(0, 9)
)
def test_an_epoch_visits_every_crop_once_in_even_batches(length, batch_size, seed, epoch):
    batches = EpochBatches(length, batch_size, seed)
    batches.epoch = epoch
    parts = list(batches)
    assert len(parts) == len(batches) == -(-length // batch_size)
    numbers = [key.number for part in parts for key in part]
    assert sorted(numbers) == list(range(epoch * length, (epoch + 1) * length))
    sizes = {len(part) for part in parts}
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert list(batches) == parts


@pytest.mark.parametrize(("divisor", "first", "size"), [(2, 1, (32, 32)), (4, 2, (16, 16))])
def test_small_samples_are_means_of_the_picture_and_every_so_many_th_pixel_of_the_mask(
    voc_folder, divisor, first, size
):
    dataset = crops(voc_folder(), ["cells_0"], crop=(64, 64), augmentation=STRENGTHS["none"])
    image, mask = dataset[0]
    small, small_mask = dataset[Key(0, divisor)]
    means = torch.nn.functional.avg_pool2d(image.float(), divisor)
    assert small.shape[1:] == small_mask.shape == size
    assert (small - means).abs().max() <= 0.5
    assert torch.equal(small_mask, mask[first::divisor, first::divisor])
    assert torch.equal(dataset[0][0], image)


def test_keys_of_small_crops_name_the_divisor():
    batches = EpochBatches(6, 4, seed=0)
    whole = list(batches)
    batches.divisor = 2
    assert list(batches) == [[key._replace(divisor=2) for key in part] for part in whole]


def test_a_sought_class_is_in_the_middle_of_the_crop(voc_folder):
    folder = voc_folder()
    mask = read_mask(folder.mask_path("cells_0"))
    mask[:] = 0
    mask[20:23, 30:33] = 1
    write_mask(folder.mask_path("cells_0"), mask)
    dataset = crops(folder, ["cells_0"], crop=(9, 9), augmentation=STRENGTHS["none"])
    shown = [dataset[Key(0, 1, 1, draw)] for draw in range(5)]
    assert all(crop[4, 4] == 1 for _, crop in shown)
    assert len({crop.numpy().tobytes() for _, crop in shown}) > 1
    assert torch.equal(dataset[Key(0, 1, 2, 0)][1], dataset[Key(0, 1, 2, 0)][1])


def test_epochs_and_seeds_are_shuffled_differently():
    def order(seed: int, epoch: int) -> list[int]:
        batches = EpochBatches(50, 50, seed)
        batches.epoch = epoch
        return [key.number % 50 for key in next(iter(batches))]

    orders = [order(0, 0), order(0, 1), order(1, 0), list(range(50))]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


def test_the_preview_is_the_first_batch(voc_folder):
    dataset = crops(voc_folder(), ["cells_0", "cells_1", "cells_2"])
    batches = EpochBatches(len(dataset), batch_size=2, seed=0)
    shown = tiles_of_samples(dataset, next(iter(batches)))
    images, masks = next(iter(make_loader(dataset, batches, 0, CPU)))
    for index, (image, mask) in enumerate(shown):
        np.testing.assert_array_equal(image, images[index].permute(1, 2, 0).numpy())
        np.testing.assert_array_equal(mask, masks[index].numpy())


@given(
    sizes=st.lists(st.sampled_from([(8, 8), (8, 16), (16, 8), (100, 100)]), max_size=20),
    max_pixels=st.sampled_from([1, 64, 200, 10_000]),
)
def test_validation_batches_hold_pictures_of_one_size(sizes, max_pixels):
    batches = same_size_batches(sizes, max_pixels)
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    for batch in batches:
        assert len({sizes[index] for index in batch}) == 1
        height, width = sizes[batch[0]]
        assert len(batch) == 1 or len(batch) * height * width <= max_pixels


def test_8_bit_pictures_among_16_bit_ones_are_widened_exactly():
    mask = torch.zeros(1, 2, dtype=torch.uint8)
    eight = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    sixteen = torch.tensor([[[7, 65535]]], dtype=torch.int32).to(torch.uint16)
    images, masks = collate([(eight, mask), (sixteen, mask)])
    assert images.dtype == torch.uint16
    np.testing.assert_array_equal(images.numpy().ravel(), [0, 65535, 7, 65535])
    assert masks.shape == (2, 1, 2)
    assert collate([(eight, mask)] * 2)[0].dtype == torch.uint8


def test_pictures_beyond_the_cache_are_read_again(voc_folder):
    folder = voc_folder()
    dataset = SegmentationDataset(folder, ["cells_0", "cells_1"], 3, cache_bytes=64 * 64 * 2)
    before = [dataset[0], dataset[1]]
    write_image(folder.image_path("cells_0"), np.zeros((64, 64), np.uint8))
    write_image(folder.image_path("cells_1"), np.zeros((64, 64), np.uint8))
    assert torch.equal(dataset[0][0], before[0][0])
    assert not dataset[1][0].any()
    fresh = SegmentationDataset(
        folder, ["cells_0"], 3, augmentation=replace(STRENGTHS["none"], left_right=True)
    )
    assert not fresh[0][0].any()


def test_numbered_objects_of_another_size_are_a_user_error(voc_folder):
    folder = voc_folder()
    write_mask(folder.objects_path("cells_0"), np.zeros((30, 30), np.uint8))
    with pytest.raises(UserError, match="a mask of 30×30"):
        SegmentationDataset(folder, ["cells_0"], 3, border=BorderWeights())[0]


@pytest.mark.parametrize(("workers", "context"), [(0, None), (1, None), (1, "spawn")])
def test_a_user_error_of_a_loading_process_is_raised_as_it_is(voc_folder, workers, context):
    folder = voc_folder()
    data = SegmentationDataset(folder, ["cells_0", "cells_1"], 3)
    folder.mask_path("cells_1").write_bytes(b"no picture")
    loader = make_loader(data, [[0], [1]], workers, CPU)
    loader.multiprocessing_context = context
    with pytest.raises(UserError) as error:
        list(loader)
    assert (error.value.code, error.value.subject) == ("picture-format", str(folder.mask_path("cells_1")))
    assert "no picture" in str(error.value)
