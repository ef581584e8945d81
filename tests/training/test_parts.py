"""A batch in parts, one after another or in two processes, against the whole batch at once."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from nets.config import NetworkConfig
from nets.unet import UNet, build
from utils.core.device import Precision
from utils.training.batches import EpochBatches
from utils.training.engine import Trainer, evaluate, make_optimizer
from utils.training.losses import Loss, make_criterion

CPU = torch.device("cpu")
CLASSES = 3


class Rates:
    def lr(self, step: int) -> float:
        return 0.05

    def total_steps(self, done: int) -> float:
        return 100


def network(**settings: object) -> UNet:
    torch.manual_seed(0)
    return build(NetworkConfig(CLASSES, 3, base_channels=8, depth=1, norm="group", **settings))


def batch(step: int, crops: int = 5) -> list[Tensor]:
    """Pictures, masks with ignored pixels and a class that few crops have, border weights, classes shown."""
    rng = np.random.default_rng(step)
    masks = rng.integers(0, 2, (crops, 16, 16)).astype(np.uint8)
    masks[:2, :3] = 2
    masks[:, -1] = 255
    images = rng.integers(0, 256, (crops, 3, 16, 16)).astype(np.uint8)
    shown = np.array([[True, True, False], [False, False, False]])[np.arange(crops) % 2]
    return list(map(torch.from_numpy, (images, masks, rng.random((crops, 16, 16), np.float32), shown)))


def train(
    net: nn.Module, accumulate: int = 1, rank: int = 0, processes: int = 1, crops: int = 5, name: str = "sgd"
) -> list:
    """Three steps; the weights after them, and the losses."""
    groups = [{"params": list(net.parameters()), "factor": 1.0}]
    optimizer = make_optimizer(name, groups, 0.05, 1e-4, 0.9, CPU)
    fp32 = Precision(CPU, None)
    trainer = Trainer(net, optimizer, Rates(), lambda x: x.float() / 255, fp32, accumulate=accumulate)
    criterion = make_criterion(Loss(gamma=1.0), [0.5, 1.0, 3.0], CPU)
    net.train()
    losses = []
    for step in range(3):
        share = [np.array_split(part, processes)[rank] for part in batch(step, crops)]
        losses.append(trainer.step(step, [torch.as_tensor(part) for part in share], criterion).item())
    return [copy.deepcopy(net.state_dict()), losses]


def assert_equal_training(one: list, other: list, tolerance: float) -> None:
    for name, value in one[0].items():
        torch.testing.assert_close(value, other[0][name], rtol=0, atol=tolerance, msg=name)
    torch.testing.assert_close(one[1], other[1], rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize("parts", [2, 3, 9])
def test_accumulated_steps_equal_steps_of_the_whole_batch(parts):
    before, whole = network().state_dict(), train(network())
    assert (whole[0]["head.weight"] - before["head.weight"]).abs().max() > 1e-2
    assert_equal_training(train(network(), accumulate=parts), whole, 1e-6)


def test_accumulated_steps_of_adamw_differ_by_rounding_alone():
    """It divides gradients by their size, so those near zero follow their last digits."""
    whole, parts = (train(network(), accumulate, name="adamw") for accumulate in (1, 2))
    ordinary = train(network(), name="adamw", crops=4)
    for name, value in whole[0].items():
        near = (value - parts[0][name]).abs()
        assert near.median() < 1e-6 and (near > 1e-4).float().mean() < 0.01
        assert (value - ordinary[0][name]).abs().median() > 1e-4
    torch.testing.assert_close(parts[1], whole[1], rtol=0, atol=1e-5)


def test_parts_of_deep_supervision_add_up_too():
    settings = {"deep_supervision": True}
    assert_equal_training(train(network(**settings), accumulate=2), train(network(**settings)), 1e-6)


def test_dropout_is_the_same_when_a_part_runs_again():
    """With another mask in the second pass the sums would be those of another network."""
    net = network(dropout=0.5)
    masks = []
    net.encoder.dropout.register_forward_hook(lambda *args: masks.append(args[2] == 0))
    train(net, accumulate=2)
    # Of each step: the first part, the second part, the first part again.
    assert all(torch.equal(masks[step], masks[step + 2]) for step in (0, 3, 6))
    assert not torch.equal(masks[1], masks[3][: len(masks[1])])


def test_batch_norm_counts_each_part_once():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, CLASSES, 1))
    train(net, accumulate=5)
    expected = nn.BatchNorm2d(3)
    for step in range(3):
        images = batch(step)[0].float() / 255
        # The last part is the first to run.
        for part in (images[4:], *images[:4].split(1)):
            expected(part)
    torch.testing.assert_close(net[0].running_mean, expected.running_mean)


def in_process(rank: int, folder: str, crops: int) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    results = [train(network(), accumulate, rank, 2, crops) for accumulate in (1, 2)]
    batches = [batch(step)[:2] for step in range(3)][rank::2]
    criterion = make_criterion(Loss(), None, CPU)
    net = network().eval()
    loss, scores = evaluate(lambda x: net(x.float() / 255), batches, criterion, CLASSES, CPU)
    torch.save([results, loss, torch.from_numpy(scores.matrix)], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_train_and_evaluate_as_one(tmp_path: Path):
    mp.spawn(in_process, (str(tmp_path), 5), nprocs=2)
    whole, net = train(network()), network().eval()
    criterion = make_criterion(Loss(), None, CPU)
    batches = [batch(step)[:2] for step in range(3)]
    loss, scores = evaluate(lambda x: net(x.float() / 255), batches, criterion, CLASSES, CPU)
    shares = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for results, their_loss, matrix in shares:
        assert their_loss == pytest.approx(loss, rel=1e-6)
        assert np.array_equal(matrix, scores.matrix)
        for weights, _ in results:
            assert_equal_training([weights, []], [whole[0], []], 1e-5)
    for one, other in zip(shares[0][0], shares[1][0], strict=True):
        assert all(torch.equal(value, other[0][name]) for name, value in one[0].items())
        np.testing.assert_allclose(np.add(one[1], other[1]), whole[1], atol=1e-5)


@pytest.mark.parametrize(("length", "batch_size", "processes"), [(7, 3, 2), (10, 4, 3), (2, 2, 4), (5, 5, 1)])
def test_processes_share_an_epoch(monkeypatch, length, batch_size, processes):
    """Each sample once, the same batches whatever the number of processes, a share for each of them."""
    alone = list(EpochBatches(length, batch_size, seed=3))
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    shares = []
    for rank in range(processes):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(list(EpochBatches(length, batch_size, seed=3)))
    assert all(share for batches in shares for share in batches)
    together = [
        [key for share in parts for key in share if key.number >= 0] for parts in zip(*shares, strict=True)
    ]
    assert together == alone
    assert sorted(key.number for keys in together for key in keys) == list(range(length))
