"""Fitting whole pictures into one size, and the way back."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scripts import make_voc, tiny

import train
from nets.config import NetworkConfig
from unet import Unet
from utils.images.letterbox import inner_box, letterbox, letterbox_bands, letterbox_mask, undo_letterbox
from utils.images.reading import read_image
from utils.training.engine import Trainer
from utils.training.samples import letterbox_pair


def test_known_boxes():
    assert inner_box((100, 200), (64, 64)) == (16, 0, 32, 64)
    assert inner_box((200, 100), (64, 64)) == (0, 16, 64, 32)
    assert inner_box((32, 32), (64, 128)) == (0, 32, 64, 64)
    assert inner_box((1, 1000), (64, 64)) == (31, 0, 1, 64)


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)), st.tuples(st.integers(16, 96), st.integers(16, 96))
)
def test_the_box_lies_inside_and_touches_two_opposite_sides(picture, size):
    top, left, height, width = inner_box(picture, size)
    assert top >= 0 and left >= 0 and top + height <= size[0] and left + width <= size[1]
    assert height == size[0] or width == size[1]


@pytest.mark.parametrize("dtype, gray", [(torch.uint8, 128), (torch.uint16, 32768), (torch.float32, 0.5)])
def test_bars_are_middle_gray_and_the_type_stays(dtype, gray):
    boxed = letterbox(torch.zeros(1, 3, 20, 40).to(dtype), (40, 40))
    assert boxed.dtype == dtype and boxed.shape == (1, 3, 40, 40)
    assert set(boxed[0, 0, :10].float().unique().tolist()) == {gray}
    assert boxed[..., 10:30, :].float().max() == 0


def test_a_picture_of_the_size_passes_unchanged():
    image = torch.randint(0, 256, (2, 1, 32, 48), dtype=torch.uint8)
    assert torch.equal(letterbox(image, (32, 48)), image)


@pytest.mark.parametrize("shape", [(1, 3, 61, 90), (2, 1, 7, 200), (1, 3, 1, 1), (1, 1, 3000, 2)])
def test_rows_that_are_read_one_after_another_make_the_picture(shape, monkeypatch):
    """As PyTorch scales the whole, and no more than a few rows at once."""
    images, read = torch.randint(0, 256, shape, dtype=torch.uint8), []
    top, left, height, width = inner_box(shape[-2:], (32, 48))
    expected = F.interpolate(images.float(), (height, width), mode="bilinear", antialias=True).round()
    monkeypatch.setattr("utils.images.letterbox.BAND_PIXELS", 1000)
    boxed = letterbox_bands(
        lambda top, bottom: read.append((top, bottom)) or images[..., top:bottom, :], shape[-2:], (32, 48)
    )
    assert torch.equal(boxed[..., top : top + height, left : left + width].float(), expected)
    assert read[0][0] == 0 and read[-1][1] == shape[-2]
    assert all((bottom - top) * shape[-1] <= 1000 for top, bottom in read)


@pytest.mark.parametrize("picture", [(60, 90), (300, 20), (5, 9), (1, 1)])
def test_parts_of_the_way_back_are_parts_of_the_whole(picture):
    logits = torch.randn(2, 3, 32, 48)
    top, left, height, width = inner_box(picture, (32, 48))
    inner = logits[..., top : top + height, left : left + width]
    whole = undo_letterbox(logits, picture)
    torch.testing.assert_close(whole, F.interpolate(inner, picture, mode="bilinear"), atol=1e-4, rtol=0)
    rows, columns = slice(picture[0] // 3, picture[0] // 2 + 1), slice(picture[1] // 4, picture[1])
    assert torch.equal(undo_letterbox(logits, picture, rows, columns), whole[..., rows, columns])


def test_masks_keep_their_classes_and_bars_are_ignored():
    mask = torch.tensor([[0, 1], [2, 255]], dtype=torch.uint8)
    boxed = letterbox_mask(mask, (4, 8))
    assert boxed[:, :2].unique().tolist() == [255] and boxed[:, 6:].unique().tolist() == [255]
    assert torch.equal(boxed[:, 2:6], mask.repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_the_way_back_puts_classes_where_they_were():
    mask = torch.zeros(60, 90, dtype=torch.long)
    mask[20:40, 30:60] = 1
    boxed = letterbox_mask(mask.to(torch.uint8), (96, 96)).long()
    logits = torch.nn.functional.one_hot(boxed.clamp(max=1), 2).permute(2, 0, 1).unsqueeze(0).float()
    back = undo_letterbox(logits, (60, 90))
    assert back.shape == (1, 2, 60, 90)
    assert (back.argmax(1)[0] == mask).float().mean() > 0.99


@pytest.mark.parametrize("shape", [(20, 40), (20, 40, 3)])
def test_pairs_stay_pairs(shape):
    rng = np.random.default_rng(0)
    image, mask = letterbox_pair(
        rng.integers(0, 256, shape, np.uint8), np.zeros(shape[:2], np.uint8), (32, 32)
    )
    assert image.shape == (32, 32, *shape[2:]) and mask.shape == (32, 32)
    assert (image[mask == 255] == 128).all()


def test_a_letterboxed_run_predicts_at_the_pictures_own_size(tmp_path):
    folder = make_voc(tmp_path / "voc", 3, [(40, 60), (61, 33), (48, 48)])
    config = train.Config(
        voc_root=folder.root,
        fit="letterbox",
        input_shape=(32, 48),
        network=NetworkConfig(base_channels=4, depth=2),
        epochs=1,
        save_dir=tmp_path,
        run_name="run",
        device="cpu",
    )
    train.main(config)
    unet = Unet(tmp_path / "run" / "best.pth", device="cpu")
    assert unet.checkpoint.fit == "letterbox" and unet.input_shape == (32, 48)
    for size in ((40, 60), (61, 33), (7, 90)):
        assert unet.predict(np.zeros((*size, 3), np.uint8)).shape == size


def test_a_letterboxed_run_without_padding_trains_at_the_scale_that_it_predicts(tmp_path, monkeypatch):
    folder = make_voc(tmp_path / "voc", 3, [(100, 150), (80, 200), (120, 120)])
    settings = {"fit": "letterbox", "input_shape": (48, 64), "augmentation": "none", "padding": "valid"}
    trained, predicted, step = [], [], Trainer.step

    def record(self, number, batch, criterion):
        trained.extend(batch[0])
        return step(self, number, batch, criterion)

    monkeypatch.setattr(Trainer, "step", record)
    train.main(tiny(folder, tmp_path, epochs=1, **settings))
    unet = Unet(tmp_path / "run" / "best.pth", "cpu", "fp32")
    margin = unet.net.margin
    member = unet.members[0]
    logits = member.logits
    monkeypatch.setattr(member, "logits", lambda images: predicted.extend(images) or logits(images))
    for name in ("cells_0", "cells_1"):
        unet.predict(read_image(folder.image_path(name)))
    assert margin and trained[0].shape[-2:] == (48 + 2 * margin, 64 + 2 * margin)
    inner = [each[:, margin:-margin, margin:-margin] for each in trained]
    assert len(predicted) == len(inner) == 2
    assert all(any(torch.equal(one, seen) for one in inner) for seen in predicted)
