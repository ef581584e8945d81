"""How the tests of the importing scripts expect errors."""

from collections.abc import Callable
from pathlib import Path

import pytest
from scripts import snapshot

from utils.core.console import UserError


def refused(folder: Path, main: Callable, config: object) -> list[UserError]:
    """The errors with which `main` refuses its settings. It must not change a file below `folder`."""
    before = snapshot(folder)
    with pytest.raises(UserError) as caught:
        main(config)
    assert snapshot(folder) == before
    return getattr(caught.value, "errors", [caught.value])


def codes_and_paths(errors: list[UserError]) -> list[tuple[str, str]]:
    return [(error.code, error.subject) for error in errors]
