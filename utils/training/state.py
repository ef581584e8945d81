"""The state of a training in a last.pth, held against the network and optimizer that go on from it."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn

from utils.models.schema import check_tensor, check_weights
from utils.models.weights import list_misfits
from utils.training.muon import Muon, is_kernel
from utils.training.teaching import Teaching

Count = Annotated[int, Meta(ge=0, le=10**12)]


@dataclass
class Scaler:
    """State of a `torch.amp.GradScaler`."""

    scale: float
    growth_factor: float
    backoff_factor: float
    growth_interval: Count
    _growth_tracker: Count


@dataclass
class Progress:
    """Plain values of the state; those with a default are of later releases."""

    epoch: Count
    best: float
    averaged: Count
    began: Count | None = None
    divisor: Literal[1, 2, 4] | None = None
    spent: Annotated[float, Meta(ge=0)] = 0.0
    sought: list[Count] = field(default_factory=list)
    teaching: Teaching | None = None
    history: list[tuple[Count, float, float, float, float, float, float]] = field(default_factory=list)
    best_matrix: list[list[Count]] | None = None
    best_groups: list[list[list[Count]]] | None = None
    kept: Count | None = None


def check_training(
    training: dict[str, Any], averaged_weights: dict[str, Tensor], net: nn.Module, num_classes: int
) -> None:
    """Raises ValueError for a state that no run of this network can have left, its optimizer aside."""
    check_progress(training, num_classes)
    if absent := [name for name in ("model", "optimizer", "scaler") if name not in training]:
        raise ValueError(f"a state of the training without {', '.join(absent)}")
    own = net.state_dict()
    check_weights(training["model"], "the network in training")
    for weights in (training["model"], averaged_weights):
        if misfits := list_misfits(own, weights):
            raise ValueError(f"weights in training that do not fit the network: {misfits}")
    if scaler := training["scaler"]:
        values = vars(msgspec.convert(scaler, Scaler)).values()
        if not all(math.isfinite(value) for value in values) or scaler["scale"] <= 0:
            raise ValueError("a gradient scaler whose numbers are not finite")
    losses = training.get("losses")
    if losses is not None:
        check_tensor(losses, "losses")
        # A scaler skips steps that overflow; their losses stay in the list.
        if losses.ndim != 1 or not (scaler or losses.isfinite().all()):
            raise ValueError("losses of the epoch under way that are no finite numbers")


def check_progress(training: dict[str, Any], num_classes: int) -> None:
    """Raises ValueError for plain values of other types, or that contradict each other."""
    plain = {name: training[name] for name in Progress.__annotations__ if name in training}
    found = msgspec.convert(plain, Progress)
    matrix = found.best_matrix
    if matrix is not None and {len(matrix), *map(len, matrix)} != {num_classes}:
        raise ValueError(f"a matrix of the best scores that is not one of {num_classes} classes")
    groups = found.best_groups or [[], [], []]
    widths = {len(row) for part in groups for row in part}
    if [len(part) for part in groups] != 3 * [len(groups[0])] or widths - {num_classes}:
        raise ValueError(f"counts of groups of pictures that are not of {num_classes} classes")
    if any(index >= num_classes for index in found.sought):
        raise ValueError("classes to seek that there are not")
    epochs = [row[0] for row in found.history]
    if epochs != sorted({*epochs}):
        raise ValueError("a history whose epochs are not in order")
    if not math.isfinite(found.spent):
        raise ValueError("a time that is not finite")


def fit_optimizer(given: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimizer, each array of it in the memory layout of its parameter.

    Fused kernels trust the arrays: one of another shape would be read beyond its end. The settings are those
    of `optimizer`, but for the rate of the last step. Raises ValueError for a state that does not fit.
    """
    own, parameters = optimizer.state_dict(), [p for group in optimizer.param_groups for p in group["params"]]
    if not isinstance(given, dict) or not isinstance(given.get("state"), dict):
        raise ValueError("an optimizer without its state")
    try:
        groups = [list(group["params"]) for group in given["param_groups"]]
    except (TypeError, KeyError):
        groups = None
    if groups != [group["params"] for group in own["param_groups"]]:
        raise ValueError("an optimizer of other groups of parameters")
    state = {}
    for number, values in given["state"].items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError("an optimizer's state of a parameter that there is not")
        parameter = parameters[number]
        state[number] = fit_moments(values, parameter, moments(optimizer, parameter), number)
    for group, before in zip(own["param_groups"], given["param_groups"], strict=True):
        if type(before.get("lr")) is float and math.isfinite(before["lr"]):
            group["lr"] = before["lr"]
    return {"state": state, "param_groups": own["param_groups"]}


def regroup(given: Any, optimizer: torch.optim.Optimizer, net: nn.Module) -> Any:
    """An optimizer's state from before norms and biases had groups of their own, in today's order.

    Then the groups were the encoder and the rest, as the network lists them. Others stay as they are.
    """
    if not isinstance(given, dict) or not isinstance(given.get("state"), dict):
        return given
    saved = given.get("param_groups")
    if not isinstance(saved, list) or not all(isinstance(group, dict) for group in saved):
        return given
    if len(saved) != 2 or len(optimizer.param_groups) != 4:
        return given
    before = {id(parameter): number for number, parameter in enumerate(net.parameters())}
    order = [before[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    states = given["state"]
    moved = {number: states[old] for number, old in enumerate(order) if old in states}
    groups = [
        group | {"lr": given["param_groups"][0].get("lr")} for group in optimizer.state_dict()["param_groups"]
    ]
    return {"state": moved, "param_groups": groups}


def moments(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> set[str]:
    """What an optimizer keeps of a parameter: arrays of its shape, and perhaps the number of steps."""
    if isinstance(optimizer, torch.optim.SGD):
        return {"momentum_buffer"}
    if isinstance(optimizer, Muon) and is_kernel(parameter):
        return {"momentum_buffer", "step"}
    return {"exp_avg", "exp_avg_sq", "step"}


def fit_moments(values: Any, parameter: nn.Parameter, expected: set[str], number: int) -> dict[str, Tensor]:
    """What an optimizer keeps of a parameter, in its layout; nothing before its first step.

    expected: the names of it; number: of the parameter, for messages. Raises ValueError for anything else.
    """
    if not isinstance(values, dict) or not set(values) <= expected:
        raise ValueError(f"an optimizer's state of parameter {number} with other entries than {expected}")
    kept = {name: value for name, value in values.items() if value is not None}
    if kept and set(kept) != expected:
        raise ValueError(f"an optimizer's state of parameter {number} without some of {expected}")
    fitted = {}
    for name, value in kept.items():
        check_tensor(value, f"{name} of parameter {number}")
        shape = torch.Size() if name == "step" else parameter.shape
        if value.shape != shape or not value.is_floating_point() or not value.isfinite().all():
            raise ValueError(f"{name} of parameter {number} is no finite array of shape {tuple(shape)}")
        if name in ("step", "exp_avg_sq") and (value < 0).any():
            raise ValueError(f"{name} of parameter {number} is negative")
        if name == "step":
            fitted[name] = value.to(torch.float32)
        else:
            fitted[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)
    return fitted
