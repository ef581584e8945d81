"""Range checks of settings, declared beside each field: `epochs: Annotated[int, Ge(1)] = 50`.

The limits are those of annotated-types, which imports in 0.02 s. pydantic would check them too, but takes
0.2 s of every start of a script.
"""

import math
import operator
from dataclasses import is_dataclass
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
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        if is_dataclass(value):
            check_settings(value)
        values = value if isinstance(value, tuple) else (value,)
        limits = [
            (*check, bound)
            for entry in getattr(hint, "__metadata__", ())
            for kind, check in LIMITS.items()
            if (bound := getattr(entry, kind, None)) is not None
        ]
        for number in values:
            if isinstance(number, (int, float)) and not (
                math.isfinite(number) and all(fits(number, bound) for fits, _, bound in limits)
            ):
                expected = (
                    " and ".join(words.format(bound) for _, words, bound in limits) or "a finite number"
                )
                flag, found = f"--{name.replace('_', '-')}", " ".join(map(str, values))
                raise UserError("setting-range", flag, found, expected, "choose another value")
