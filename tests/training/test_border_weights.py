"""The paper's weights between touching objects, and class weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt, label
from scripts import make_voc, tiny

import train
from utils.images.masks import write_objects
from utils.images.reading import read_image
from utils.training.border_weights import BorderWeights
from utils.training.data import load_data
from utils.training.losses import Loss, balanced_class_weights, criterion
from utils.training.messages import describe_objects
from utils.voc.demo import draw_sample


def test_values_by_hand():
    mask = np.zeros((3, 9), np.uint8)
    mask[:, :2] = mask[:, 7:] = 1
    # A gap of five columns: distances to the two objects are 1 + 5, 2 + 4, 3 + 3, …; inside an object 0 and
    # 6 or 7.
    weights = BorderWeights(w0=10, sigma=5)(mask)
    between = 10 * np.exp(-(6**2) / 50)
    inside = [10 * np.exp(-(7**2) / 50), 10 * np.exp(-(6**2) / 50)]
    expected = [*inside, *[between] * 5, *inside[::-1]]
    np.testing.assert_allclose(weights, np.tile(expected, (3, 1)), rtol=1e-5)
    assert weights.dtype == np.float32


def slow(mask: np.ndarray, w0: float, sigma: float) -> np.ndarray:
    weights = np.zeros(mask.shape)
    for value in set(np.unique(mask)) - {0, 255}:
        parts, count = label(mask == value, np.ones((3, 3)))
        if count > 1:
            distances = np.sort([distance_transform_edt(parts != k) for k in range(1, count + 1)], axis=0)
            weights = np.maximum(weights, w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2)))
    return weights


@pytest.mark.parametrize("seed, sigma", [(0, 5.0), (1, 2.0), (2, 10.0)])
def test_equals_a_distance_transform_of_every_object(seed, sigma):
    mask = draw_sample(seed, 96)[1]
    mask[:5, :20] = 255
    np.testing.assert_allclose(BorderWeights(10, sigma)(mask), slow(mask, 10, sigma), atol=1e-4)


def test_one_object_has_no_border_to_learn():
    mask = np.zeros((16, 16), np.uint8)
    mask[4:8, 4:8] = 1
    assert not BorderWeights()(mask).any()


def test_labelled_objects_may_touch():
    objects = np.zeros((4, 8), np.uint8)
    objects[:, :4], objects[:, 4:] = 1, 2
    mask = np.ones((4, 8), np.uint8)
    assert not BorderWeights()(mask).any()
    np.testing.assert_allclose(BorderWeights()(mask, objects)[0, 3:5], 10 * np.exp(-1 / 50), rtol=1e-5)


def test_weighted_cross_entropy_by_hand():
    logits = torch.tensor([[[[2.0, 0.0, 1.0]], [[0.0, 0.0, 3.0]]]])
    target = torch.tensor([[[0, 1, 255]]])
    border, classes = torch.tensor([[[3.0, 1.0, 9.0]]]), torch.tensor([1.0, 2.0])
    first, second = np.log(1 + np.exp(-2)), np.log(2)
    expected = (first * (1 + 3) + second * (2 + 1)) / (4 + 3)
    found = criterion(logits, target, Loss(dice=0), classes, border)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_no_border_is_a_border_of_zeros():
    logits, target = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))
    target[0, 0] = 255
    zeros = torch.zeros(2, 8, 8)
    torch.testing.assert_close(criterion(logits, target), criterion(logits, target, border=zeros))
    weights = torch.tensor([0.5, 1.0, 2.0])
    torch.testing.assert_close(
        criterion(logits, target, class_weights=weights),
        criterion(logits, target, class_weights=weights, border=zeros),
    )


def test_balanced_class_weights_by_hand():
    np.testing.assert_allclose(balanced_class_weights(np.array([100, 10, 1, 0])), [0.1, 1, 10, 1])


def test_a_run_with_border_and_class_weights_draws_them(tmp_path, capsys):
    folder = make_voc(tmp_path / "voc")
    config = tiny(folder, tmp_path, border_weight=10, class_weights="balanced", epochs=1)
    plain = replace(config, border_weight=0.0, run_name="plain")
    train.main(config)
    where = folder.objects_dir
    said = f"borders  numbered objects in 0 of 2 masks ({where}): what touches in a mask counts as one object"
    assert said in capsys.readouterr().out
    train.main(plain)
    assert "borders  " not in capsys.readouterr().out
    rows = [len(read_image(tmp_path / name / "train_batch.png")) for name in ("run", "plain")]
    assert rows[0] > 1.9 * rows[1]


def test_how_many_masks_have_numbered_objects_is_said(tmp_path):
    folder = make_voc(tmp_path / "voc", count=4)
    data = load_data(folder)
    for number, name in enumerate(data.train):
        write_objects(folder.objects_path(name), np.ones((48, 48), np.uint16))
        said = describe_objects(data)
        assert said.startswith(f"numbered objects in {number + 1} of 3 masks ({folder.objects_dir})")
        assert ("what touches in the others counts as one" in said) == (number < 2)
