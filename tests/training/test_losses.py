"""Losses against naive one-hot versions in double precision: values, gradients, ignored pixels."""

import math
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from utils.training.border_weights import BorderWeights
from utils.training.losses import Loss, balanced_class_weights, criterion, deep_loss
from utils.voc.demo import draw_sample

CLASSES = 4


def sample(seed: int = 0, ignored: bool = True, absent: bool = False) -> tuple[Tensor, Tensor]:
    """Logits (2, 4, 5, 7) float64 and a target, perhaps with ignored pixels, perhaps without class 3."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, CLASSES, 5, 7, generator=generator, dtype=torch.float64)
    target = torch.randint(0, CLASSES - absent, (2, 5, 7), generator=generator)
    if ignored:
        target[torch.rand(target.shape, generator=generator) < 0.3] = 255
    return logits.requires_grad_(), target


def cross_entropy(logits: Tensor, target: Tensor, *weights: Tensor | None, gamma: float = 0.0) -> Tensor:
    return criterion(logits, target, Loss(dice=0, gamma=gamma), *weights)


def dice_loss(logits: Tensor, target: Tensor, smooth: float = 1.0, beta: float = 1.0) -> Tensor:
    return criterion(logits, target, Loss(pixels=0, smooth=smooth, beta=beta))


def between_strokes(logits: Tensor, target: Tensor, shown: Tensor) -> Tensor:
    return criterion(logits, target, Loss(pixels=0, dice=0), shown=shown)


def border_of(target: Tensor) -> Tensor:
    """Some weights between 0 and 10."""
    return 10 * torch.rand(target.shape, generator=torch.Generator().manual_seed(9)).double()


def pixels(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities and one-hot truth of the pixels that count, (P, C) each."""
    valid = (target != 255).flatten()
    scores = torch.exp(logits.movedim(1, -1).reshape(-1, logits.shape[1])[valid])
    return scores / scores.sum(1, keepdim=True), torch.eye(logits.shape[1]).double()[target.flatten()[valid]]


def naive_cross_entropy(
    logits: Tensor, target: Tensor, class_weights: Tensor | None = None, border: Tensor | float = 0.0
) -> Tensor:
    p, one_hot = pixels(logits, target)
    weights = torch.ones(len(p)).double() if class_weights is None else one_hot @ class_weights.double()
    weights = weights + torch.as_tensor(border).expand(target.shape)[target != 255]
    return -(weights * (one_hot * p.log()).sum(1)).sum() / weights.sum()


def naive_dice_loss(logits: Tensor, target: Tensor, smooth: float = 1.0, beta: float = 1.0) -> Tensor:
    """F-beta of true positives, false negatives and false positives."""
    p, one_hot = pixels(logits, target)
    tp, fn, fp = (p * one_hot).sum(0), ((1 - p) * one_hot).sum(0), (p * (1 - one_hot)).sum(0)
    above = (1 + beta**2) * tp + smooth
    losses = [
        1 - above[c] / (above[c] + beta**2 * fn[c] + fp[c])
        for c in range(logits.shape[1])
        if one_hot[:, c].any()
    ]
    return sum(losses) / len(losses)


def assert_same(loss: Tensor, naive: Tensor, logits: Tensor) -> None:
    """Values and gradients alike."""
    assert loss.item() == pytest.approx(naive.item(), abs=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    (expected,) = torch.autograd.grad(naive, logits)
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-4)


CASES = [
    {"seed": 0, "ignored": False},
    {"seed": 1, "ignored": True},
    {"seed": 2, "ignored": True, "absent": True},
]


@pytest.mark.parametrize("case", CASES)
def test_cross_entropy_equals_the_formula(case):
    logits, target = sample(**case)
    assert_same(cross_entropy(logits, target), naive_cross_entropy(logits, target), logits)


@pytest.mark.parametrize("with_border", [False, True])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.1, 2.0, 5.0, 0.7], dtype=torch.float64)])
@pytest.mark.parametrize("case", CASES)
def test_weighted_cross_entropy_equals_the_formula(case, weights, with_border):
    logits, target = sample(**case)
    border = border_of(target) if with_border else None
    naive = naive_cross_entropy(logits, target, weights, border if with_border else 0.0)
    assert_same(cross_entropy(logits, target, weights, border), naive, logits)


@pytest.mark.parametrize("smooth, beta", [(1.0, 1.0), (0.01, 1.0), (1.0, 2.0), (0.1, 0.5)])
@pytest.mark.parametrize("case", CASES)
def test_dice_loss_equals_the_formula(case, smooth, beta):
    logits, target = sample(**case)
    assert_same(
        dice_loss(logits, target, smooth, beta), naive_dice_loss(logits, target, smooth, beta), logits
    )


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("case", CASES)
def test_focal_loss_equals_the_formula(case, gamma):
    logits, target = sample(**case)
    p, one_hot = pixels(logits, target)
    q = (p * one_hot).sum(1)
    assert_same(cross_entropy(logits, target, gamma=gamma), -((1 - q) ** gamma * q.log()).mean(), logits)


def test_all_of_it_together_has_the_gradient_of_its_value():
    logits, target = sample()
    loss, weights = Loss(dice=0.7, beta=1.5, gamma=2.0), torch.tensor([0.1, 2.0, 5.0, 0.7]).double()
    assert torch.autograd.gradcheck(
        lambda z: 3 * criterion(z, target, loss, weights, border_of(target)), logits
    )


class LargestArrays(TorchDispatchMode):
    """Counts arrays of at least `size` elements that operators allocate, and how many live at once."""

    def __init__(self, size: int):
        super().__init__()
        self.size, self.living, self.most = size, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        known = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for x in tree_leaves(result):
            if (
                isinstance(x, Tensor)
                and x.numel() >= self.size
                and x.untyped_storage().data_ptr() not in known
            ):
                self.living += 1
                self.most = max(self.most, self.living)
                weakref.finalize(x.untyped_storage(), self.forget)
        return result

    def forget(self) -> None:
        self.living -= 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_array_of_the_size_of_the_logits_is_made(layout):
    logits = torch.randn(2, 21, 32, 32).to(memory_format=layout).requires_grad_()
    target = torch.randint(0, 21, (2, 32, 32))
    with LargestArrays(logits.numel()) as arrays:
        criterion(logits, target).backward()
    # The gradient alone; all else is a picture at a time.
    assert arrays.most == 1


SHOWN = torch.tensor([[True, False, True, True], [False, False, False, False]])


def sample_of_strokes(seed: int = 0) -> tuple[Tensor, Tensor]:
    """A sample with some pixels that are ignored, and in its first picture some between strokes."""
    logits, target = sample(seed)
    target[0, ::2] = torch.where(target[0, ::2] == 255, 254, target[0, ::2])
    return logits, target


def without_between(target: Tensor) -> Tensor:
    return torch.where(target == 254, 255, target)


def naive_between_strokes(logits: Tensor, target: Tensor, shown: Tensor) -> Tensor:
    """Pixel by pixel: cross-entropy against the sharpened opinion within the classes shown."""
    costs = []
    for n, y, x in (target == 254).nonzero().tolist():
        log_p = logits[n, :, y, x].log_softmax(0)[shown[n]]
        within = (log_p - log_p.logsumexp(0)).detach().exp()
        weight = max(2 * within.max() - 1, 0)
        wanted = (1 - weight) * within + weight * (within == within.max())
        # Its value is that of the likelihood and the pseudo-label; their difference is a constant.
        constant = (wanted * log_p).sum().detach() - log_p.logsumexp(0).detach()
        constant = constant - weight * within.max().log()
        costs.append(constant - (wanted * log_p).sum())
    return sum(costs) / len(costs)


@pytest.mark.parametrize("seed", range(3))
def test_pixels_between_strokes_equal_the_formula(seed):
    logits, target = sample_of_strokes(seed)
    naive = naive_between_strokes(logits, target, SHOWN)
    assert_same(between_strokes(logits, target, SHOWN), naive, logits)
    both = criterion(logits, target, Loss(between=0.3), shown=SHOWN)
    naive = naive_between_strokes(logits, target, SHOWN)
    assert_same(both, criterion(logits, without_between(target)) + 0.3 * naive, logits)


def test_pixels_between_strokes_by_hand():
    # Probabilities 0.6, 0.2, 0.1, 0.1; the picture shows classes 0 and 1: P = 0.8, q = 0.75, w = 0.5.
    logits = torch.tensor([0.6, 0.2, 0.1, 0.1]).log().view(1, 4, 1, 1).requires_grad_()
    shown = torch.tensor([[True, True, False, False]])
    cost = between_strokes(logits, torch.full((1, 1, 1), 254), shown)
    assert cost.item() == pytest.approx(-math.log(0.8) - 0.5 * math.log(0.75))
    (gradient,) = torch.autograd.grad(cost, logits)
    # The target: 0.5 · (1, 0) + 0.5 · (0.75, 0.25).
    assert gradient.flatten().tolist() == pytest.approx([0.6 - 0.875, 0.2 - 0.125, 0.1, 0.1], abs=1e-6)


def test_undecided_pixels_between_strokes_choose_no_class():
    logits = torch.tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1).requires_grad_()
    cost = between_strokes(logits, torch.full((1, 1, 1), 254), torch.tensor([[True, True, False]]))
    (gradient,) = torch.autograd.grad(cost, logits)
    assert gradient[0, 0] == gradient[0, 1] < 0 < gradient[0, 2]


def test_annotated_and_ignored_pixels_and_pictures_without_strokes_are_not_between_strokes():
    logits, target = sample_of_strokes()
    cost = between_strokes(logits, target, SHOWN)
    (gradient,) = torch.autograd.grad(cost, logits)
    free = target == 254
    assert 0 < free.sum() < (target >= 254).sum()
    assert (gradient.movedim(1, -1)[~free] == 0).all()
    assert (gradient.movedim(1, -1)[free] != 0).any(-1).all()
    assert between_strokes(logits, without_between(target), torch.zeros(2, 4).bool()).item() == 0


@pytest.mark.parametrize("dice_weight", [0.0, 1.0, 0.3])
def test_the_criterion_is_their_sum(dice_weight):
    logits, target = sample()
    naive = naive_cross_entropy(logits, target) + dice_weight * naive_dice_loss(logits, target)
    assert_same(criterion(logits, target, Loss(dice=dice_weight)), naive, logits)


def test_undecided_logits():
    logits, target = torch.zeros(1, CLASSES, 2, 2), torch.tensor([[[0, 1], [2, 3]]])
    assert cross_entropy(logits, target).item() == pytest.approx(math.log(4))
    # Each class: truth 1 pixel, probabilities sum to 1, 1/4 of them in the right place.
    assert dice_loss(logits, target).item() == pytest.approx(1 - (2 / 4 + 1) / (1 + 1 + 1))


@pytest.mark.parametrize("with_border", [False, True])
def test_only_the_proportions_of_the_weights_count(with_border):
    logits, target = sample()
    weights, border = torch.tensor([0.1, 2.0, 5.0, 0.7]).double(), border_of(target)
    losses = [
        cross_entropy(logits, target, scale * weights, scale * border if with_border else None).item()
        for scale in (1.0, 1e-3)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_right_logits_cost_nothing_and_wrong_ones_much():
    target = torch.tensor([[[0, 1, 2, 3, 255]]])
    right = 50 * torch.eye(CLASSES).repeat(1, 2)[:, :5].reshape(1, CLASSES, 1, 5)
    assert criterion(right, target).item() < 1e-4
    assert criterion(-right, target).item() > 10


@pytest.mark.parametrize("loss", [cross_entropy, dice_loss, criterion])
def test_ignored_pixels_have_no_say(loss):
    logits, target = sample()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    ignored = (target == 255).unsqueeze(1).expand_as(logits)
    assert (gradient[ignored] == 0).all()
    assert (gradient[~ignored] != 0).any()
    changed = torch.where(ignored, -logits * 7, logits)
    assert loss(changed, target).item() == pytest.approx(value.item(), abs=1e-9)


@pytest.mark.parametrize("loss", [cross_entropy, dice_loss, criterion])
def test_a_batch_of_ignored_pixels_costs_nothing_and_teaches_nothing(loss):
    logits, _ = sample()
    value = loss(logits, torch.full((2, 5, 7), 255))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.item() == 0
    assert (gradient == 0).all()


def test_a_class_absent_from_the_batch_is_not_pushed_down_by_dice():
    logits, target = sample(absent=True)
    alone = dice_loss(logits[:, :3], target)
    # Class 3 holds no truth: it enters only through the share of probability that it takes from the others.
    tiny = torch.cat((logits[:, :3], torch.full_like(logits[:, 3:], -1e4)), dim=1)
    assert dice_loss(tiny, target).item() == pytest.approx(alone.item(), abs=1e-9)


def test_the_order_of_the_classes_does_not_matter():
    logits, target = sample()
    order = torch.tensor([2, 0, 3, 1])
    renamed = torch.where(target == 255, 255, torch.argsort(order)[target.clamp(max=3)])
    assert criterion(logits[:, order], renamed).item() == pytest.approx(
        criterion(logits, target).item(), abs=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_summed_in_single_precision(dtype):
    # 300 000 pixels: a sum in half precision would overflow or stand still.
    logits = torch.zeros(1, 2, 500, 600, dtype=dtype)
    target = torch.zeros(1, 500, 600, dtype=torch.int64)
    target[..., ::2] = 1
    loss = criterion(logits, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(2) + 0.5, abs=1e-4)


def test_large_logits_stay_finite():
    logits = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1).requires_grad_()
    for target in (0, 1):
        loss = criterion(logits, torch.full((1, 1, 1), target))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert np.isfinite(loss.item())
        assert torch.isfinite(gradient).all()


def test_balanced_class_weights():
    np.testing.assert_allclose(balanced_class_weights(np.array([800, 100, 0, 50])), [100 / 800, 1, 1, 2])


def distance_to(inside: np.ndarray) -> np.ndarray:
    """Of every pixel to the nearest pixel of an object, by trying them all."""
    y, x = np.indices(inside.shape)
    return np.sqrt([(y - row) ** 2 + (x - column) ** 2 for row, column in np.argwhere(inside)]).min(0)


def naive_border(objects: list[np.ndarray], w0: float, sigma: float) -> np.ndarray:
    first, second = np.sort([distance_to(inside) for inside in objects], axis=0)[:2]
    return w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))


def three_objects() -> np.ndarray:
    """Numbered objects: two with a gap of three pixels, one further away."""
    objects = np.zeros((24, 30), np.uint8)
    objects[3:12, 2:8], objects[5:14, 11:18], objects[17:22, 20:28] = 1, 2, 3
    return objects


@pytest.mark.parametrize(("w0", "sigma"), [(10.0, 5.0), (3.0, 2.0)])
@pytest.mark.parametrize("numbered", [True, False])
def test_border_weights_equal_the_formula(numbered, w0, sigma):
    objects = three_objects()
    mask = (objects > 0).astype(np.uint8)
    weights = BorderWeights(w0, sigma)(mask, objects if numbered else None)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, naive_border([objects == k for k in (1, 2, 3)], w0, sigma), atol=1e-3)


def test_border_weights_of_touching_objects_need_their_numbers():
    objects = np.zeros((20, 20), np.uint8)
    objects[:, 4:10], objects[:, 10:16] = 1, 2
    mask = (objects > 0).astype(np.uint8)
    weights = BorderWeights()(mask, objects)
    np.testing.assert_allclose(weights[:, [9, 10]], 10 * math.exp(-1 / 50), rtol=1e-5)
    assert (BorderWeights()(mask) == 0).all()


def test_border_weights_are_between_objects_of_one_class():
    nested = np.zeros((20, 20), np.uint8)
    nested[4:16, 4:16], nested[8:12, 8:12] = 1, 2
    assert (BorderWeights()(nested) == 0).all()
    ignored = np.where(three_objects() > 1, 255, three_objects()).astype(np.uint8)
    assert (BorderWeights()(ignored) == 0).all()


def test_border_weights_are_the_same_every_time():
    _, mask = draw_sample(0, 64)
    first, *others = (BorderWeights()(mask) for _ in range(50))
    assert all(np.array_equal(first, other) for other in others)


def test_deep_supervision_adds_coarser_maps_by_hand():
    """Sum of (logit of class 0 − class index) over the pixels, easy to work out for each level."""
    target = torch.tensor([[[0, 1, 2], [1, 1, 1], [2, 0, 1]]], dtype=torch.uint8)
    full, half = torch.ones(1, 2, 3, 3), torch.full((1, 2, 2, 2), 3.0)

    def toy(logits: Tensor, mask: Tensor) -> Tensor:
        return (logits[:, 0] - mask).sum()

    # Every second pixel of the target: 0 2 / 2 1.
    assert deep_loss(toy, [full], target).item() == 9 - 9
    assert deep_loss(toy, [full, half], target).item() == pytest.approx(0 + 0.4 * (12 - 5))
    assert deep_loss(toy, [full, half, half[..., :1, :1]], target).item() == pytest.approx(
        2.8 + 0.2 * (3 - 0)
    )


def test_deep_supervision_leaves_what_is_said_of_pictures_as_it_is():
    logits, target = sample_of_strokes()
    half = logits.detach()[:, :, ::2, ::2].requires_grad_()
    expected = criterion(logits, target, shown=SHOWN) + 0.4 * criterion(
        half, target[:, ::2, ::2], shown=SHOWN
    )
    found = deep_loss(
        lambda one, mask, shown: criterion(one, mask, shown=shown), [logits, half], target, SHOWN
    )
    assert found.item() == pytest.approx(expected.item())
