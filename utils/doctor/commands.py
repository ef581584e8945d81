"""Settings as the flags that give them, for the commands that messages propose."""

import re
from dataclasses import MISSING, fields


def changed_flags(settings: object) -> str:
    """The flags, as they are typed, of all settings in a dataclass that differ from their defaults."""
    words = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        default = field.default if field.default is not MISSING else None
        if value != default:
            words.append(f"--{field.name.replace('_', '-')}")
            words += [] if value is True else [_quote(str(value))]
    return " ".join(words)


def _quote(text: str) -> str:
    # Patterns such as * and ^ mean something to some shells, on Windows too.
    return text if re.fullmatch(r"[\w.,:/\\+=-]+", text) else f'"{text}"'
