"""Range checks of settings, declared beside each field: `epochs: Annotated[int, Ge(1)] = 50`.

The limits are those of annotated-types, which imports in 0.02 s. pydantic would check them too, but takes
0.2 s of every start of a script.
"""

import math
import operator
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from utils.core.console import UserError

# Attributes of annotated_types.Ge, Gt, Le, Lt and Interval.
LIMITS = {
    "ge": (operator.ge, "{} or more"),
    "gt": (operator.gt, "more than {}"),
    "le": (operator.le, "at most {}"),
    "lt": (operator.lt, "less than {}"),
}


def check_settings(config: Any) -> None:
    """Raises UserError for the first number that is NaN, infinite, or outside the limits beside its field.

    config: a dataclass instance; fields that are dataclasses themselves are checked too. Limits of a tuple
    hold for each of its numbers. None passes, because the program chooses that value later.
    """
    for name, found, expected in find_faults(config):
        flag = f"--{name.replace('_', '-')}"
        raise UserError("setting-range", flag, found, expected, "choose another value")


def find_faults(config: Any) -> Iterator[tuple[str, str, str]]:
    """(field, value, what is expected) of every number that `check_settings` refuses."""
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        if is_dataclass(value):
            yield from find_faults(value)
        limits = [
            (fits, words, bound)
            for entry in getattr(hint, "__metadata__", ())
            for kind, (fits, words) in LIMITS.items()
            if (bound := getattr(entry, kind, None)) is not None
        ]
        values = value if isinstance(value, tuple) else (value,)
        numbers = [number for number in values if isinstance(number, (int, float))]
        if not all(math.isfinite(x) and all(fits(x, bound) for fits, _, bound in limits) for x in numbers):
            expected = " and ".join(words.format(bound) for _, words, bound in limits) or "a finite number"
            yield name, " ".join(map(str, values)), expected


def given_flags(settings: Any, modes: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every flag that differs from its default, with its modes: its own, those of its group, or `modes`."""
    for each in fields(settings):
        value, allowed = getattr(settings, each.name), each.metadata.get("modes", modes)
        if is_dataclass(value):
            yield from given_flags(value, allowed)
        elif value != each.default:
            yield f"--{each.name.replace('_', '-')}", allowed
