"""Range checks of settings: limits, values that are refused and accepted, the flag that is named."""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

import pytest
import tyro
from annotated_types import Ge, Gt, Interval, Le, Lt

from utils.core.console import UserError
from utils.core.settings import check_settings


@dataclass
class Inner:
    depth: Annotated[int, Ge(1), Le(8)] = 4


@dataclass
class Config:
    at_least: Annotated[int, Ge(1)] = 1
    above: Annotated[float | None, Gt(0)] = None
    share: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    below: Annotated[float, Lt(3)] = 0.0
    input_shape: Annotated[tuple[int, int] | None, Ge(1)] = None
    free: float = 0.0
    path: Path = Path("x")
    flag: bool = False
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    "settings",
    [{}, {"above": 1e-9}, {"share": 0.99}, {"input_shape": (1, 5)}, {"inner": Inner(8)}, {"free": -1e9}],
)
def test_values_within_their_limits_pass(settings):
    check_settings(Config(**settings))


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"at_least": 0}, "--at-least"),
        ({"above": 0.0}, "--above"),
        ({"above": math.nan}, "--above"),
        ({"above": math.inf}, "--above"),
        ({"share": 1.0}, "--share"),
        ({"share": -0.1}, "--share"),
        ({"below": 3}, "--below"),
        ({"input_shape": (64, 0)}, "--input-shape"),
        ({"free": -math.inf}, "--free"),
        ({"free": math.nan}, "--free"),
        ({"inner": Inner(0)}, "--depth"),
        ({"inner": Inner(9)}, "--depth"),
    ],
)
def test_values_outside_are_refused_by_their_flag(settings, flag):
    with pytest.raises(UserError) as caught:
        check_settings(Config(**settings))
    assert (caught.value.code, caught.value.subject) == ("setting-range", flag)
    assert caught.value.expected


def test_limits_do_not_disturb_the_command_line():
    config = tyro.cli(Config, args=["--input-shape", "3", "4", "--above", "2"])
    assert (config.input_shape, config.above) == ((3, 4), 2.0)
    assert {f.name for f in fields(config)} >= {"share", "free"}
