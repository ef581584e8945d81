"""One optimizer step against plain PyTorch, resuming, evaluation of a whole split."""

import copy
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from utils.core.console import UserError
from utils.core.device import Precision, set_determinism
from utils.images.normalisation import Normalisation
from utils.training.engine import Trainer, average_decay, evaluate, make_optimizer, train_one_epoch
from utils.training.losses import criterion

CPU = torch.device("cpu")
FP32 = Precision(CPU, None)
NORMALISE = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
CLASSES = 3


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, CLASSES, 1)
    return nn.Sequential(*layers)


def batches(count: int = 3, size: int = 2, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Pictures whose brightest channel is the class: easy to learn."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        mask = rng.integers(0, CLASSES, (size, 8, 8)).astype(np.uint8)
        image = np.where(mask[:, None] == np.arange(CLASSES)[:, None, None], 200, 50).astype(np.uint8)
        result.append((torch.from_numpy(image), torch.from_numpy(mask)))
    return result


@dataclass
class Rates:
    """A schedule of 100 steps."""

    lr: Callable[[int], float] = lambda step: 0.02 / (step + 1)

    def total_steps(self, done: int) -> float:
        return 100


def trainer_of(
    net: nn.Module, precision: Precision = FP32, lr=None, groups=None, weight_decay=0.01
) -> Trainer:
    groups = groups or [{"params": list(net.parameters()), "factor": 1.0}]
    optimizer = make_optimizer("adamw", groups, 0.02, weight_decay, 0.9, CPU)
    return Trainer(net, optimizer, Rates(lr) if lr else Rates(), NORMALISE, precision)


def assert_same_state(one: dict[str, Tensor], other: dict[str, Tensor], **tolerance: float) -> None:
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], **tolerance)


def test_training_equals_plain_pytorch():
    net = network()
    reference = copy.deepcopy(net).train()
    optimizer = torch.optim.AdamW(reference.parameters(), weight_decay=0.01)
    losses = []
    for step, (images, masks) in enumerate(batches(4), start=5):
        optimizer.param_groups[0]["lr"] = 0.02 / (step + 1)
        loss = criterion(reference((images / 255 - 0.5) / 0.25), masks.long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    epoch = train_one_epoch(trainer_of(net), batches(4), criterion, first_step=5)
    assert epoch.crops == 8
    assert 0 <= epoch.waited <= epoch.seconds
    assert epoch.loss == pytest.approx(np.mean(losses), rel=1e-4)
    assert_same_state(net.state_dict(), reference.state_dict(), atol=1e-4, rtol=1e-3)


def test_the_rate_follows_the_step_and_the_factor_of_the_group():
    net, asked = network(), []

    def lr(step: int) -> float:
        asked.append(step)
        return 0.1

    still, moving = list(net[0].parameters()), list(net[3].parameters())
    groups = [{"params": still, "factor": 0.0}, {"params": moving, "factor": 0.5}]
    trainer = trainer_of(net, lr=lr, groups=groups)
    before = [p.clone() for p in still + moving]
    asked.clear()
    train_one_epoch(trainer, batches(3), criterion, first_step=40)
    assert sorted(set(asked)) == [40, 41, 42]
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.0, 0.05]
    unchanged = [torch.equal(p, old) for p, old in zip(still + moving, before, strict=True)]
    assert unchanged == [True] * len(still) + [False] * len(moving)


def test_apples_gpu_has_no_fused_optimizer():
    group = {"params": [torch.zeros(1, requires_grad=True)]}
    assert make_optimizer("adamw", [group], 1e-3, 1e-2, 0.9, torch.device("mps")).defaults["foreach"] is True
    assert make_optimizer("adamw", [group], 1e-3, 1e-2, 0.9, CPU).defaults["fused"] is True


@pytest.mark.parametrize("precision", [FP32, Precision(CPU, torch.bfloat16)], ids=["fp32", "bf16"])
def test_an_easy_task_is_learnt(precision):
    net = network().eval()
    trainer = trainer_of(net, precision, lr=lambda step: 0.02)
    losses = [
        train_one_epoch(trainer, batches(4), criterion, first_step=4 * epoch).loss for epoch in range(12)
    ]
    assert losses[-1] < 0.2 * losses[0]
    assert net.training


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, 0.1, momentum=0.8, nesterov=True, weight_decay=0.02)),
        ("adam", lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.02)),
        ("adamw", lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.02)),
    ],
)
def test_optimizers_step_as_pytorchs_own_at_the_rate_that_was_typed(name, reference):
    ends = []
    for make in (lambda p: make_optimizer(name, [{"params": p}], 0.1, 0.02, 0.8, CPU), reference):
        torch.manual_seed(0)
        weight = torch.randn(5, 3, requires_grad=True)
        optimizer = make([weight])
        for _ in range(3):
            optimizer.zero_grad()
            (weight**3).sum().backward()
            optimizer.step()
        ends.append(weight.detach())
    torch.testing.assert_close(*ends)


def test_waiting_for_data_is_counted():
    def slow():
        for batch in batches(3):
            time.sleep(0.05)
            yield batch

    epoch = train_one_epoch(trainer_of(network()), slow(), criterion, first_step=0)
    assert 0.15 <= epoch.waited <= epoch.seconds


def test_compiling_leaves_the_weights_alone_and_computes_the_same():
    example, losses = batches(1)[0], []
    for compiled in (False, True):
        trainer = trainer_of(network())
        before = copy.deepcopy(trainer.net.state_dict())
        if compiled:
            if not shutil.which("g++"):
                pytest.skip("needs a C++ compiler")
            assert trainer.compile([len(example[0]), 1], example, criterion) > 0
            assert_same_state(trainer.net.state_dict(), before, atol=0, rtol=0)
            assert all(p.grad is None for p in trainer.net.parameters())
        losses.append([train_one_epoch(trainer, batches(4), criterion, 4 * epoch).loss for epoch in range(2)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_missing_compiler_is_a_user_error(monkeypatch):
    def broken(*_: object, **__: object) -> Callable:
        def forward(*_: object) -> Tensor:
            raise torch._dynamo.exc.TorchDynamoException("No working C++ compiler")

        return forward

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UserError, match="--compile"):
        trainer_of(network()).compile([1], batches(1)[0], criterion)


def test_every_operator_of_a_step_has_a_deterministic_form():
    set_determinism(True)
    try:
        # PyTorch would raise otherwise.
        train_one_epoch(trainer_of(network()), batches(1), criterion, first_step=0)
    finally:
        set_determinism(False)


@pytest.mark.parametrize(("save_memory", "calls"), [(False, [1, 2, 3]), (True, [])])
def test_freed_memory_is_kept_after_the_first_step_and_not_before(monkeypatch, save_memory, calls):
    """The optimizer's state must be there first; a run that saves memory never asks for it."""
    trainer, seen = trainer_of(network()), []
    trainer.save_memory = save_memory
    states = trainer.optimizer.state
    monkeypatch.setattr(
        "utils.training.engine.keep_freed_memory",
        lambda: seen.append(int(states[trainer.net[0].weight]["step"].item())),
    )
    train_one_epoch(trainer, batches(3), criterion, first_step=0)
    assert seen == calls


def test_border_weights_reach_the_loss():
    seen = []

    def loss(logits: Tensor, target: Tensor, border: Tensor) -> Tensor:
        seen.append(border)
        return criterion(logits, target, border=border)

    weights = torch.rand(2, 8, 8)
    train_one_epoch(trainer_of(network()), [(*batches(1)[0], weights)], loss, first_step=0)
    assert torch.equal(seen[0], weights)


def test_a_loss_that_is_no_number_ends_the_training():
    with pytest.raises(UserError) as error:
        train_one_epoch(
            trainer_of(network()), batches(2), lambda x, y: criterion(x, y) * math.nan, first_step=0
        )
    assert error.value.code == "loss-not-finite"


def test_the_average_of_weights_and_statistics_follows_the_formula():
    net = network()
    trainer = trainer_of(net)
    expected = None
    for step, batch in enumerate(batches(5)):
        trainer.net.train()
        trainer.step(step, batch, criterion)
        # The first average is the network itself; then the memory grows up to 10 steps.
        decay = min(0.9, (1 + step) / (10 + step))
        values = {k: v.clone() for k, v in net.state_dict().items() if v.is_floating_point()}
        expected = (
            {k: decay * expected[k] + (1 - decay) * v for k, v in values.items()} if expected else values
        )
    averaged = {k: v for k, v in trainer.average.module.state_dict().items() if v.is_floating_point()}
    assert averaged.keys() == expected.keys()
    assert_same_state(averaged, expected)


@pytest.mark.parametrize(("total", "longest"), [(0, 0.9), (200, 0.9), (4000, 0.995), (10**7, 0.999)])
def test_the_memory_of_the_average_grows_and_is_bounded(total, longest):
    assert average_decay(10**7, total) == pytest.approx(longest)
    assert [average_decay(count, total) for count in (0, 1, 8)] == [0.1, 2 / 11, 0.5]


def test_what_is_typed_for_the_second_part_of_a_run_holds():
    first, net = trainer_of(network()), network()
    groups = [{"params": list(net.parameters()), "factor": 0.3}]
    second = trainer_of(net, groups=groups, weight_decay=0.07)
    train_one_epoch(first, batches(2), criterion, first_step=0)
    state = first.state()
    # As on a card that computes in bfloat16, where the scaler has no state.
    state["scaler"] = {}
    second.load_state(state, first.average.module.state_dict())
    (group,) = second.optimizer.param_groups
    assert (group["factor"], group["weight_decay"]) == (0.3, 0.07)
    moments = [next(iter(each.optimizer.state.values()))["exp_avg"] for each in (first, second)]
    assert torch.equal(*moments)


@pytest.mark.parametrize("precision", [FP32, Precision(CPU, torch.float16)], ids=["fp32", "fp16"])
def test_a_restored_training_goes_on_as_if_never_stopped(tmp_path, precision):
    straight = trainer_of(network(), precision)
    train_one_epoch(straight, batches(3), criterion, first_step=0)
    torch.save((straight.state(), straight.average.module.state_dict()), tmp_path / "state.pth")
    train_one_epoch(straight, batches(3, seed=1), criterion, first_step=3)

    restored = trainer_of(network(seed=99), precision)
    restored.load_state(*torch.load(tmp_path / "state.pth", weights_only=True))
    train_one_epoch(restored, batches(3, seed=1), criterion, first_step=3)
    for one, other in ((straight.net, restored.net), (straight.average.module, restored.average.module)):
        assert_same_state(one.state_dict(), other.state_dict(), atol=0, rtol=0)
    assert restored.scaler.state_dict() == straight.scaler.state_dict()


def to_logits(images: Tensor) -> Tensor:
    """A predictor that finds the brightest channel."""
    return images.float() / 10


def mean_difference(logits: Tensor, target: Tensor) -> Tensor:
    return (logits.argmax(1) != target).float().mean()


@pytest.mark.parametrize("sizes", [[6], [2, 2, 2], [1, 5], [5, 1]])
def test_scores_and_loss_do_not_depend_on_the_batches(sizes):
    (images, masks), *_ = batches(1, size=6)
    masks[0] = (masks[0] + 1) % CLASSES
    masks[1, 0] = 255
    loader = list(zip(images.split(sizes), masks.split(sizes), strict=True))
    loss, scores = evaluate(to_logits, loader, mean_difference, CLASSES, CPU)
    # One of six pictures is all wrong, 8 pixels of another have no truth.
    assert loss == pytest.approx((64 + 8) / (6 * 64))
    assert scores.matrix.sum() == 6 * 64 - 8
    assert scores.accuracy == pytest.approx(1 - 64 / (6 * 64 - 8))


def test_pictures_of_several_sizes_weigh_by_their_pixels():
    small, large = torch.zeros(1, CLASSES, 2, 2), torch.zeros(1, CLASSES, 4, 4)
    loader = [
        (small, torch.ones(1, 2, 2, dtype=torch.uint8)),
        (large, torch.zeros(1, 4, 4, dtype=torch.uint8)),
    ]
    loss, scores = evaluate(to_logits, loader, mean_difference, CLASSES, CPU)
    assert loss == pytest.approx(4 / 20)
    np.testing.assert_array_equal(scores.matrix[:2, 0], [16, 4])


def test_evaluation_needs_no_gradients():
    net = network().eval()
    modes = []

    def predict(images: Tensor) -> Tensor:
        modes.append(torch.is_grad_enabled())
        return net(images.float())

    evaluate(predict, batches(1), criterion, CLASSES, CPU)
    assert modes == [False]
