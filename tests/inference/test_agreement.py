"""The expected IoU of an ensemble: agreement of its masks, by hand and through the predictor."""

import numpy as np
import pytest
from scripts import favour, predict_config, save_untrained
from sklearn.metrics import jaccard_score

import get_miou
import predict
from unet import Unet
from utils.core.tables import read_table
from utils.inference.agreement import Agreement
from utils.inference.maps import classes, member_classes, probabilities
from utils.inference.tiling import join
from utils.voc.demo import draw_sample


def test_agreement_by_hand():
    masks = np.array([[[0, 0, 1, 1]], [[0, 1, 1, 1]], [[0, 0, 1, 1]]], np.uint8)
    agreement = Agreement(3, 2)
    agreement.update(masks[..., :1])
    agreement.update(masks[..., 1:])
    # The first and the last agree; the second has 1/2 of 3 pixels and 2/3 of 5 pixels with either.
    assert agreement.expected_iou == pytest.approx((1 + 2 * (3 / 2 + 5 * 2 / 3) / 8) / 3)


def test_a_speck_that_one_network_sees_hardly_counts():
    masks = np.zeros((2, 10, 10), np.uint8)
    masks[0, 0, 0] = 2
    agreement = Agreement(2, 3)
    agreement.update(masks)
    assert agreement.expected_iou == pytest.approx(0.99 * 199 / 200)


@pytest.fixture
def paths(tmp_path):
    first = save_untrained(tmp_path / "first.pth")
    return [first, favour(first, tmp_path / "second.pth", cell=0.3)]


def test_classes_of_each_network_beside_those_of_their_mean(paths, small_is_large):
    picture = draw_sample(0, 48)[0]
    ensemble = Unet(paths, "cpu", "fp32")
    outputs = join(ensemble.bands(picture, classes, member_classes, probabilities), 48, axis=-2)
    assert np.array_equal(outputs[0], ensemble.predict(picture))
    for mask, path in zip(outputs[1], paths, strict=True):
        assert np.array_equal(mask, Unet(path, "cpu", "fp32").predict(picture))
    assert np.allclose(outputs[2], ensemble.predict_proba(picture))


def test_expected_iou_in_the_tables_of_both_scripts(paths, voc_folder, tmp_path):
    folder = voc_folder(count=4, val=3, size=48)
    get_miou.main(
        get_miou.Config(paths, folder.root, output=tmp_path / "scores", device="cpu", precision="fp32")
    )
    rows = read_table(tmp_path / "scores" / "order.csv")
    for row in rows:
        masks = [Unet(path, "cpu", "fp32").predict(folder.image_path(row["picture"])) for path in paths]
        pairs = ((masks[0].ravel(), masks[1].ravel()), (masks[1].ravel(), masks[0].ravel()))
        weighted = [jaccard_score(*pair, average="weighted") for pair in pairs]
        assert float(row["expected_iou"]) == pytest.approx(np.mean(weighted), abs=1e-5)
    order = [float(row["expected_iou"]) for row in rows]
    assert order == sorted(order)
    output = tmp_path / "predicted"
    settings = {"model_path": paths, "input": folder.images_dir, "output": output, "device": "cpu"}
    predict.main(predict_config(mode="dir_predict", **settings))
    predicted = {row["picture"][:-4]: row["expected_iou"] for row in read_table(output / "order.csv")}
    for row in rows:
        assert float(predicted[row["picture"]]) == pytest.approx(float(row["expected_iou"]), abs=1e-2)
    assert list(predicted.values()) == sorted(predicted.values(), key=float)
