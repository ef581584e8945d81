"""Muon's steps against PyTorch's own AdamW and Muon, and orthogonal matrices against a decomposition."""

import copy

import pytest
import torch

from utils.training.engine import make_optimizer
from utils.training.muon import BLOCK, FACTOR, orthogonalise, orthogonalise_blocks

CPU = torch.device("cpu")


def step(parameter, grads, optimizer):
    for grad in grads:
        parameter.grad = grad.clone()
        optimizer.step()
    return parameter.detach()


def make(parameter, lr=0.1, weight_decay=0.01):
    return make_optimizer("muon", [{"params": [parameter]}], lr, weight_decay, 0.9, CPU)


@pytest.fixture(params=["highest", "high"])
def precision(request):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("shape", [(3, 16, 144), (2, 64, 16), (1, 8, 8)])
def test_orthogonal_matrices_keep_the_singular_vectors(shape, precision):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, before, vh = torch.linalg.svd(matrices, full_matrices=False)
    found = u.mT @ orthogonalise(matrices) @ vh.mT
    values = found.diagonal(dim1=1, dim2=2)
    assert torch.allclose(found, torch.diag_embed(values), atol=1e-4)
    large = values[before > 0.05 * before.amax(1, keepdim=True)]
    assert large.min() > 0.6 and large.max() < 1.3


def test_a_matrix_of_low_rank_stays_finite(precision):
    generator = torch.Generator().manual_seed(7)
    left, right = (torch.randn(1, *shape, generator=generator) for shape in ((64, 3), (3, 300)))
    values = torch.linalg.svdvals(orthogonalise(left @ right))[0]
    assert values[2] > 0.6 and values[0] < 1.3 and values[3] < 0.01


@pytest.mark.parametrize("turned", [False, True])
def test_wide_matrices_are_orthogonal_in_blocks(turned):
    rows = BLOCK * 3 // 2
    matrices = torch.randn(2, rows, 2 * rows, generator=torch.Generator().manual_seed(8))
    found = orthogonalise_blocks(matrices.mT if turned else matrices)
    halves = [orthogonalise(half) for half in matrices.chunk(2, dim=1)]
    assert torch.allclose(found.mT if turned else found, torch.cat(halves, dim=1), atol=1e-5)


def test_a_gradient_of_zero_moves_nothing():
    assert not orthogonalise(torch.zeros(1, 8, 9)).any()


@pytest.mark.parametrize("shape", [(7,), (2, 3, 3, 3)])
def test_vectors_and_heads_of_few_classes_are_adamws(shape):
    own, other = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
    grads = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2))
    expected = step(other, grads, torch.optim.AdamW([other], lr=0.1, weight_decay=0.01))
    assert torch.allclose(step(own, grads, make(own)), expected)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch has its own Muon since release 2.9")
@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (40, 2, 2, 2)])
def test_kernels_move_as_by_pytorchs_own_muon(shape):
    rows = shape[0]
    start = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    grads = torch.randn(3, *shape, generator=torch.Generator().manual_seed(4))
    own, other = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.view(rows, -1).clone())
    # Its decay goes by its own rate, which is FACTOR times ours.
    torchs = torch.optim.Muon([other], lr=FACTOR * 0.01, weight_decay=0.02 / FACTOR, momentum=0.95)
    expected = step(other, grads.view(3, rows, -1), torchs).view(shape)
    found = step(own, grads, make(own, 0.01, 0.02))
    # It iterates in bfloat16.
    assert (found - expected).norm() < 0.03 * (expected - start).norm()


def test_a_state_goes_on_as_if_it_had_not_been_saved():
    kernel = torch.nn.Parameter(torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(5)))
    grads = torch.randn(4, *kernel.shape, generator=torch.Generator().manual_seed(6))
    whole, parted = copy.deepcopy(kernel), copy.deepcopy(kernel)
    expected = step(whole, grads, make(whole))
    first = make(parted)
    step(parted, grads[:2], first)
    second = make(parted)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(step(parted, grads[2:], second), expected)
