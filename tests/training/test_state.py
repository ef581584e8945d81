"""Training states that no run has left are refused before they reach the kernels of an optimizer."""

import copy
import math

import pytest
import torch
from torch import nn

from nets.config import NetworkConfig
from nets.unet import build
from utils.training.engine import make_optimizer, parameter_groups
from utils.training.state import check_training, fit_optimizer, regroup

CPU = torch.device("cpu")
ROW = (0.1, 1.0, 1.0, 0.5, 2.0, 3.0)  # of the history, but for the epoch


def trained(name: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    net = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(name, [{"params": list(net.parameters())}], 0.1, 0.01, 0.9, CPU)
    net(torch.rand(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    return net, optimizer


@pytest.mark.parametrize("name", ["muon", "adamw", "adam", "sgd"])
def test_a_state_of_its_own_is_taken_bit_by_bit(name):
    _, optimizer = trained(name)
    state = copy.deepcopy(optimizer.state_dict())
    fitted = fit_optimizer(state, optimizer)
    for number, values in state["state"].items():
        for key, value in values.items():
            assert torch.equal(fitted["state"][number][key], value)
            assert key == "step" or fitted["state"][number][key].stride() == value.stride()
    optimizer.load_state_dict(fitted)
    optimizer.step()


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(1),
        torch.zeros(5, 3, 3, 2),
        torch.zeros(1).expand(5, 3, 3, 3),
        torch.full((5, 3, 3, 3), torch.nan),
        torch.zeros(5, 3, 3, 3, dtype=torch.int64),
        torch.zeros(5, 3, 3, 3, device="meta"),
        torch.zeros(5, 3, 3, 3).to_sparse(),
        "evil",
        None,
        3.0,
    ],
    ids=[
        "one number",
        "shape",
        "repeated",
        "nan",
        "integers",
        "meta",
        "sparse",
        "text",
        "none",
        "plain number",
    ],
)
@pytest.mark.parametrize("key", ["exp_avg", "exp_avg_sq", "step"])
def test_arrays_that_do_not_fit_their_parameter_are_refused(key, value):
    _, optimizer = trained("adamw")
    state = copy.deepcopy(optimizer.state_dict())
    state["state"][0][key] = value
    if key == "step" and isinstance(value, torch.Tensor) and value.shape == (1,):
        value.fill_(-1)
    with pytest.raises(ValueError, match=r"parameter 0|no array|larger than"):
        fit_optimizer(state, optimizer)


def test_other_forms_are_refused():
    _, optimizer = trained("adamw")
    good = optimizer.state_dict()
    groups = [{"params": [0, 1]}]
    for state in (
        None,
        {},
        {"state": []},
        {"state": {}, "param_groups": [{"params": [0]}]},
        {"state": {}, "param_groups": None},
        {"state": {7: good["state"][0]}, "param_groups": groups},
        {"state": {"0": good["state"][0]}, "param_groups": groups},
        {"state": {0: {**good["state"][0], "max_exp_avg_sq": torch.zeros(1)}}, "param_groups": groups},
        {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": groups},
        {"state": {0: [1]}, "param_groups": groups},
    ):
        with pytest.raises(ValueError, match="optimizer"):
            fit_optimizer(state, optimizer)


def test_settings_of_the_file_are_not_taken():
    _, optimizer = trained("adamw")
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0] |= {"weight_decay": 1e9, "amsgrad": True}
    assert fit_optimizer(state, optimizer)["param_groups"][0]["weight_decay"] == 0.01
    assert not fit_optimizer(state, optimizer)["param_groups"][0]["amsgrad"]


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": -1},
        {"epoch": "3"},
        {"best": None},
        {"averaged": 2.5},
        {"history": [(1, 2.0)]},
        {"history": "evil"},
        {"best_matrix": [[1, 2]]},
        {"best_matrix": [[-1]]},
        {"model": {}},
        {"model": None},
        {"scaler": {"scale": float("nan")}},
        {"scaler": {"scale": 0.0}},
        {"losses": torch.zeros(2, 2)},
        {"losses": torch.tensor([torch.inf])},
        {"losses": [1.0]},
        {"best_matrix": [[1, 2], [3, 4]]},
        {"sought": [3]},
        {"history": [(2, *ROW), (1, *ROW)]},
        {"spent": math.inf},
    ],
    ids=str,
)
def test_plain_values_are_held_against_their_types(changes):
    net, _ = trained("sgd")
    weights = net.state_dict()
    good = {"epoch": 3, "best": 0.5, "averaged": 9, "model": weights, "losses": None}
    good |= {"scaler": {}, "optimizer": {}, "history": [(1, *ROW), (3, *ROW)]}
    check_training(good, weights, net, 3)
    with pytest.raises(ValueError, match=r"."):
        check_training({**good, **changes}, weights, net, 3)
    for name in ("epoch", "best", "averaged", "model", "scaler", "optimizer"):
        with pytest.raises(ValueError, match=name):
            check_training({key: value for key, value in good.items() if key != name}, weights, net, 3)


def test_losses_of_steps_that_a_scaler_skipped_are_no_fault():
    net, _ = trained("sgd")
    weights = net.state_dict()
    state = {"epoch": 0, "best": math.nan, "averaged": 1, "model": weights, "optimizer": {}}
    state |= {"losses": torch.tensor([torch.inf]), "scaler": torch.amp.GradScaler("cpu").state_dict()}
    check_training(state, weights, net, 3)
    with pytest.raises(ValueError, match="losses"):
        check_training({**state, "scaler": {}}, weights, net, 3)


def test_a_state_from_before_norms_had_groups_follows_its_parameters():
    net = build(NetworkConfig(3, 1, base_channels=4, depth=2, deep_supervision=True))
    encoder = list(net.encoder.parameters())
    others = [one for one in net.parameters() if not any(one is each for each in encoder)]
    before = [{"params": encoder, "factor": 1.0}, {"params": others, "factor": 1.0}]
    old = make_optimizer("adamw", before, 1e-2, 0.01, 0.9, torch.device("cpu"))
    sum(part.square().mean() for part in net.train()(torch.rand(2, 1, 16, 16))).backward()
    old.step()
    new = make_optimizer("adamw", parameter_groups(net, 1.0), 1e-3, 0.01, 0.9, torch.device("cpu"))
    new.load_state_dict(fit_optimizer(regroup(copy.deepcopy(old.state_dict()), new, net), new))
    for parameter in net.parameters():
        assert torch.equal(new.state[parameter]["exp_avg_sq"], old.state[parameter]["exp_avg_sq"])
    assert [group["weight_decay"] for group in new.param_groups] == [0.01, 0, 0.01, 0]
    assert {group["lr"] for group in new.param_groups} == {1e-2}


@pytest.mark.parametrize(
    "state",
    [
        None,
        {"state": [], "param_groups": [{}, {}]},
        {"state": {}},
        {"state": {}, "param_groups": [{}, 3]},
        {"state": {}, "param_groups": [{}]},
    ],
    ids=["nothing", "list", "no groups", "no dictionary", "one group"],
)
def test_states_that_no_older_release_wrote_stay_as_they_are(state):
    net = build(NetworkConfig(2, 3, base_channels=4, depth=1))
    optimizer = make_optimizer("adamw", parameter_groups(net, 1.0), 0.1, 0.01, 0.9, CPU)
    assert regroup(state, optimizer, net) is state
    with pytest.raises(ValueError, match="optimizer"):
        fit_optimizer(state, optimizer)


def test_the_state_of_todays_groups_stays_as_it_is():
    net, optimizer = trained("adamw")
    state = optimizer.state_dict()
    assert regroup(state, optimizer, net) is state
